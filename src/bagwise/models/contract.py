"""What an encoder or a pooling of a user's own must keep to, tried out on made-up bags when a model is built."""

import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bagwise.errors import BagwiseError
from bagwise.models.pooling import Pooled, Pooling

__all__ = ["check_encoder", "check_pooling", "embedding_width"]

# A bag of one instance, between others of different sizes.
_OFFSETS = (0, 3, 4, 9)


def check_encoder(encoder: nn.Module, instance_shape: Sequence[int]) -> None:
    """See that an encoder looks at each instance by itself.

    Parameters
    ----------
    encoder
        As it was made; it stays as it is.
    instance_shape
        Shape of one instance.

    Raises
    ------
    BagwiseError
        If what it gives for an instance changes with the others beside it.

    Examples
    --------
    >>> class Centred(nn.Module):
    ...     def forward(self, values):
    ...         return values - values.mean(0)
    >>> check_encoder(Centred(), (3,))
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: the encoder Centred ties instances together: what it gives for one changes with...
    """
    for tried in _in_both_modes(encoder):
        probe = torch.rand(4, *instance_shape, generator=torch.Generator().manual_seed(0)).to(_parameter(encoder))
        try:
            together, again, half = tried(probe), tried(probe), tried(probe[:2])
        except Exception as error:  # whatever a user's own code may raise
            raise BagwiseError(
                f"the encoder fails on instances of shape {tuple(instance_shape)}: {_told(error)}"
            ) from error
        # What it draws at random, such as dropout, cannot be told from a tie.
        if _close(together, again) and not _close(half, together[:2]):
            raise BagwiseError(
                f"the encoder {type(encoder).__name__} ties instances together: what it gives for one changes with the"
                " others beside it, so let it look at each by itself"
            )


def check_pooling(pooling: Pooling, width: int) -> None:
    """See that a pooling gives what a model can go on with, and pools each bag by itself.

    Parameters
    ----------
    pooling
        As it was made; it stays as it is.
    width
        Number of columns that it was made for.

    Raises
    ------
    BagwiseError
        If it holds a BatchNorm in training mode, fails, gives something of another kind or shape, or lets bags that are
        pooled together change each other.

    Examples
    --------
    >>> from bagwise.segments import segment_sum
    >>> class Sum(Pooling):
    ...     def forward(self, values, offsets):
    ...         return Pooled(segment_sum(values, offsets).sum(1))
    >>> check_pooling(Sum(4), 4)
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: the pooling Sum gives bags of shape (3,), and (3, 4) was expected of 3 bags of width 4
    """
    kind = type(pooling).__name__
    for name, module in pooling.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            raise BagwiseError(
                f"the pooling {kind} holds a BatchNorm in training mode or without statistics of its own, {name!r},"
                " which ties the bags of a step together: freeze it with .eval() where it is made, or use LayerNorm"
            )
    for tried in _in_both_modes(pooling):
        values = torch.randn(_OFFSETS[-1], width, generator=torch.Generator().manual_seed(0))
        together, again = _pooled(tried, values, _OFFSETS), _pooled(tried, values, _OFFSETS)
        if not _close(together.bags, again.bags):  # as in `check_encoder`
            continue
        for number, (begin, end) in enumerate(pairwise(_OFFSETS)):
            alone = _pooled(tried, values[begin:end], (0, end - begin))
            same = _close(alone.bags, together.bags[number : number + 1])
            if alone.weights is not None and together.weights is not None:
                same = same and _close(alone.weights, together.weights[begin:end])
            if not same:
                raise BagwiseError(
                    f"the pooling {kind} ties bags together: what it gives for one changes with the others of a step,"
                    " so let it look at nothing but the bag's own instances"
                )


def embedding_width(encoder: nn.Module, instance_shape: Sequence[int]) -> int:
    """Find out how many numbers an encoder makes of an instance.

    Parameters
    ----------
    encoder
        It stays as it is.
    instance_shape
        Shape of one instance.

    Returns
    -------
    int

    Raises
    ------
    BagwiseError
        If it fails on such instances, or gives anything but a row of numbers for each.

    Examples
    --------
    >>> embedding_width(nn.Linear(3, 5), (3,))
    5
    """
    parameter = _parameter(encoder)
    if parameter.is_meta:  # to compute there, torch would load its compiler; only Bagwise's own encoders are made so
        layers = [module for module in encoder.modules() if isinstance(module, nn.Linear)]
        return layers[-1].out_features if layers else instance_shape[0]
    was_training = {module: module.training for module in encoder.modules()}
    try:
        with torch.no_grad():
            probe = torch.zeros(2, *instance_shape, dtype=parameter.dtype, device=parameter.device)
            embeddings = encoder.eval()(probe)
    except Exception as error:  # whatever a user's own code may raise
        raise BagwiseError(
            f"the encoder fails on instances of shape {tuple(instance_shape)}: {_told(error)}"
        ) from error
    finally:
        for module, training in was_training.items():
            module.training = training
    if not isinstance(embeddings, torch.Tensor) or embeddings.ndim != 2 or len(embeddings) != 2:
        shape = tuple(getattr(embeddings, "shape", ()))
        raise BagwiseError(
            f"the encoder turns 2 instances into a result of shape {shape}: it must give one row of numbers for each"
        )
    return embeddings.shape[1]


def _parameter(module: nn.Module) -> Tensor:
    return next(module.parameters(), torch.zeros(0))


def _in_both_modes(module: nn.Module) -> Iterator[nn.Module]:
    """Give a copy in prediction mode, then in training mode, but for what is frozen; draws change no generator."""
    tried = copy.deepcopy(module)
    modes = {part: part.training for part in tried.modules()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for training in (False, True):
            for part, mode in modes.items():
                part.training = mode and training
            yield tried


def _pooled(pooling: nn.Module, values: Tensor, offsets: Sequence[int]) -> Pooled:
    kind, rows, bags, width = type(pooling).__name__, len(values), len(offsets) - 1, values.shape[1]
    whole = f"{bags} bags of width {width}" if bags > 1 else f"a bag of width {width}"
    try:
        pooled = pooling(values.clone(), torch.tensor(offsets))
    except Exception as error:  # whatever a user's own code may raise
        raise BagwiseError(
            f"the pooling {kind} fails on {whole} with {rows} instances in all: {_told(error)}"
        ) from error
    if not isinstance(pooled, Pooled):
        raise BagwiseError(
            f"the pooling {kind} gives a {type(pooled).__name__}: let it give bagwise.models.pooling.Pooled"
        )
    for what, given, wanted, of in (
        ("bags", pooled.bags, (bags, width), whole),
        ("weights", pooled.weights, (rows,), f"{rows} instances"),
    ):
        shape = tuple(given.shape) if isinstance(given, Tensor) else None
        if shape != wanted and not (what == "weights" and given is None):
            told = f"that are a {type(given).__name__}" if shape is None else f"of shape {shape}"
            raise BagwiseError(f"the pooling {kind} gives {what} {told}, and {wanted} was expected of {of}")
    return pooled


def _told(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _close(one: Tensor, other: Tensor) -> bool:
    """Compare by half of the digits, the largest number being 1."""
    if not one.dtype.is_floating_point:
        return torch.equal(one, other)
    tolerance = torch.finfo(one.dtype).eps ** 0.5
    largest = float(other.abs().nan_to_num(posinf=1.0).amax()) if other.numel() else 1.0
    return torch.allclose(one, other, tolerance, tolerance * max(largest, 1.0), equal_nan=True)
