"""What an encoder, a pooling or a model of a user's own must keep to, tried on made-up bags when a model is built."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bagwise.errors import BagwiseError
from bagwise.models.model import Output
from bagwise.models.neighbours import Neighbourhood, nearest
from bagwise.models.pooling import Pooled, Pooling

__all__ = ["check_encoder", "check_model", "check_pooling", "embedding_width", "refuse_layers"]

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
        what = f"the encoder {type(encoder).__name__}"
        _check_alone(tried, tried, what, _instances(4, instance_shape, encoder))


def check_pooling(pooling: Pooling, width: int, outputs: int = 1, *, anew: bool = True) -> int:
    """See that a pooling gives what a model can go on with, and pools each bag by itself.

    Parameters
    ----------
    pooling
        As it was made; it stays as it is.
    width
        Number of columns that it was made for.
    outputs
        Number of outputs of a bag, by which weights of classes are counted.
    anew
        Whether bag vectors may have another width.

    Returns
    -------
    int
        The width of its bag vectors.

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
    bagwise.errors.BagwiseError: the pooling Sum gives bags of shape (3,), and (3, any) was expected of 3 bags of...
    """
    what = f"the pooling {type(pooling).__name__}"
    refuse_layers(pooling, what)
    wide = None if anew else width

    def pooled(tried: nn.Module, values: Tensor, places: Tensor | None, offsets: Sequence[int]) -> dict[str, Tensor]:
        rows, bags = len(values), len(offsets) - 1
        whole = f"{bags} bags of width {width}" if bags > 1 else f"a bag of width {width}"
        said = _said(what, whole, rows, lambda: tried(values.clone(), torch.tensor(offsets), places))
        if not isinstance(said, Pooled):
            raise BagwiseError(f"{what} gives a {type(said).__name__}: let it give bagwise.models.pooling.Pooled")
        _check_shape(what, "bags", said.bags, [(bags, wide)], whole)
        return {"bags": said.bags} | _checked_weights(what, said.weights, rows, outputs, pooling.weight_axis)

    values = torch.randn(_OFFSETS[-1], width, generator=torch.Generator().manual_seed(0)).to(_parameter(pooling))
    for tried in _in_both_modes(pooling):
        said = _check_bags_apart(tried, what, pooled, values, _wanted(pooling))
    return said["bags"].shape[1]


def check_model(model: Any, instance_shape: Sequence[int], outputs: int) -> None:
    """See that a model of a user's own gives what can be gone on with, and looks at each bag by itself.

    Parameters
    ----------
    model
        As it was made; it stays as it is.
    instance_shape
        Shape of one instance.
    outputs
        Number of outputs of a bag.

    Raises
    ------
    BagwiseError
        If it is no module with ``encode`` and ``aggregate``, holds a BatchNorm in training mode, fails, gives something
        of another kind or shape, ties instances together while it encodes them, or bags while it aggregates them.

    Examples
    --------
    >>> check_model(nn.Linear(3, 1), (3,), outputs=1)
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: the model Linear has no method encode: a model is a torch.nn.Module with...
    """
    what = f"the model {type(model).__name__}"
    if not isinstance(model, nn.Module):
        raise BagwiseError(f"what makes the model gives a {type(model).__name__}: let it make a torch.nn.Module")
    for method in ("encode", "aggregate"):
        if not callable(getattr(model, method, None)):
            raise BagwiseError(
                f"{what} has no method {method}: a model is a torch.nn.Module with encode(instances) and"
                " aggregate(embeddings, offsets)"
            )
    axis = getattr(model, "weight_axis", "heads")
    if axis not in ("heads", "classes"):
        raise BagwiseError(f"{what} has {axis!r} as weight_axis: it must be 'heads' or 'classes'")
    refuse_layers(model, what)

    def aggregated(tried: Any, values: Tensor, places: Tensor | None, offsets: Sequence[int]) -> dict[str, Tensor]:
        rows, bags = len(values), len(offsets) - 1
        whole = f"{bags} bags" if bags > 1 else "a bag"
        wanted = [] if places is None else [places]
        said = _said(what, whole, rows, lambda: tried.aggregate(values.clone(), torch.tensor(offsets), *wanted))
        if not isinstance(said, Output):
            raise BagwiseError(f"aggregate of {what} gives a {type(said).__name__}: let it give bagwise.Output")
        _check_shape(what, "logits", said.logits, [(bags, outputs), (None, bags, outputs)], whole)
        checked = {"logits": said.logits.movedim(-2, 0)}
        checked |= _checked_weights(what, said.weights, rows, outputs, axis)
        if said.scores is not None:
            _check_shape(what, "scores", said.scores, [(rows, outputs)], f"{rows} instances")
            checked["scores"] = said.scores
        if said.extras is not None and not isinstance(said.extras, Mapping):
            raise BagwiseError(f"{what} gives extras that are a {type(said.extras).__name__}: give tensors by name")
        return checked

    for tried in _in_both_modes(model):
        encode: Any = tried.encode
        values = _check_alone(tried, encode, what, _instances(_OFFSETS[-1], instance_shape, model))
        _check_bags_apart(tried, what, aggregated, values, _wanted(model))


def refuse_layers(module: nn.Module, what: str) -> None:
    """Refuse layers that cannot be trained bag by bag, or kept.

    Parameters
    ----------
    module
        Of a user's own.
    what
        What it is, for the message.

    Raises
    ------
    BagwiseError
        If one of its layers is a BatchNorm in training mode, or without statistics of its own, or has state beside its
        parameters and buffers (`torch.nn.Module.get_extra_state`).

    Examples
    --------
    >>> refuse_layers(nn.BatchNorm1d(3).eval(), "the encoder")
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None):
            raise BagwiseError(
                f"{what} holds a BatchNorm in training mode or without statistics of its own, {name!r}, which ties"
                " instances and bags of a step together: freeze it with .eval() where it is made, or use LayerNorm or"
                " GroupNorm"
            )
        if type(layer).get_extra_state is not nn.Module.get_extra_state:
            raise BagwiseError(
                f"{what} has state of its own in get_extra_state, {name or type(layer).__name__!r}, and parameters and"
                " buffers alone are trained and kept: make a buffer of it"
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


def _instances(count: int, shape: Sequence[int], module: nn.Module) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0)).to(_parameter(module))


def _in_both_modes(module: nn.Module) -> Iterator[nn.Module]:
    """Give a copy in prediction mode, then in training mode, but for what is frozen; draws change no generator."""
    tried = copy.deepcopy(module)
    modes = {part: part.training for part in tried.modules()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for training in (False, True):
            for part, mode in modes.items():
                part.training = mode and training
            yield tried


def _check_alone(tried: nn.Module, encode: Callable[[Tensor], Any], what: str, instances: Tensor) -> Tensor:
    """See that each instance is encoded by itself, and give the embeddings."""
    try:
        together, again, half = encode(instances), encode(instances), encode(instances[:2])
    except Exception as error:  # whatever a user's own code may raise
        shape = tuple(instances.shape[1:])
        raise BagwiseError(f"{what} fails on instances of shape {shape}: {_told(error)}") from error
    if not isinstance(together, Tensor) or together.ndim < 2 or len(together) != len(instances):
        shape = tuple(getattr(together, "shape", ()))
        raise BagwiseError(
            f"{what} encodes {len(instances)} instances as a result of shape {shape}: it must give one row of numbers"
            " for each"
        )
    if not _close(together, again):
        _refuse_chance(tried, what)
    # What it draws at random, such as dropout, cannot be told from a tie.
    if _close(together, again) and not _close(half, together[:2]):
        raise BagwiseError(
            f"{what} ties instances together: what it gives for one changes with the others beside it, so let it encode"
            " each by itself"
        )
    return together


def _check_bags_apart(
    tried: nn.Module,
    what: str,
    ask: Callable[[nn.Module, Tensor, Tensor | None, Sequence[int]], dict[str, Tensor]],
    values: Tensor,
    wanted: Literal["coordinates"] | Neighbourhood | None,
) -> dict[str, Tensor]:
    """See that what is said of each bag is said of it alone, too, and give what is said of all."""
    places = None
    drawn = torch.rand(len(values), 2, generator=torch.Generator().manual_seed(1))
    if wanted == "coordinates":
        places = drawn.to(values)
    elif wanted is not None:
        near = [torch.from_numpy(nearest(drawn[begin:end].numpy(), wanted.count)) for begin, end in pairwise(_OFFSETS)]
        places = torch.cat([one.long() + begin for one, begin in zip(near, _OFFSETS, strict=False)])
    before = torch.get_rng_state()
    together, again = ask(tried, values, places, _OFFSETS), ask(tried, values, places, _OFFSETS)
    first = next(iter(together))
    if not _close(together[first], again[first]):
        _refuse_chance(tried, what)
    # What is drawn at random cannot be told from a tie.
    if not torch.equal(torch.get_rng_state(), before) or not _close(together[first], again[first]):
        return together
    for number, (begin, end) in enumerate(pairwise(_OFFSETS)):
        own = None if places is None else places[begin:end]
        if own is not None and wanted != "coordinates":
            own = own - begin
        alone = ask(tried, values[begin:end], own, (0, end - begin))
        for name, said in together.items():
            part = said[number : number + 1] if name == first else said[begin:end]
            if name in alone and not _close(alone[name], part):
                raise BagwiseError(
                    f"{what} ties bags together: what it gives for one changes with the others of a step, so let it"
                    " look at nothing but the bag's own instances"
                )
    return together


def _wanted(module: nn.Module) -> Literal["coordinates"] | Neighbourhood | None:
    """Say what a part of a user's own takes as a third argument."""
    neighbours = getattr(module, "wants_neighbours", None)
    if neighbours is not None and not isinstance(neighbours, Neighbourhood):
        raise BagwiseError(
            f"{type(module).__name__} has {neighbours!r} as wants_neighbours: give"
            " bagwise.models.neighbours.Neighbourhood(8, 'features'), or None"
        )
    return "coordinates" if getattr(module, "wants_coordinates", False) else neighbours


def _refuse_chance(tried: nn.Module, what: str) -> None:
    """Refuse what answers the same question in two ways, unless a part of it is learning."""
    if not any(part.training for part in tried.modules()):
        raise BagwiseError(
            f"{what} answers the same instances in two ways in prediction mode: let it draw nothing at random, and keep"
            " nothing from one call to the next, unless self.training"
        )


def _said(what: str, whole: str, rows: int, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:  # whatever a user's own code may raise
        raise BagwiseError(f"{what} fails on {whole} with {rows} instances in all: {_told(error)}") from error


def _checked_weights(what: str, weights: Any, rows: int, outputs: int, axis: str) -> dict[str, Tensor]:
    if weights is None:
        return {}
    columns = max(2, outputs) if axis == "classes" else None
    _check_shape(what, "weights", weights, [(rows,), (rows, columns)], f"{rows} instances and columns that are {axis}")
    return {"weights": weights}


def _check_shape(what: str, name: str, given: Any, wanted: Sequence[tuple[int | None, ...]], of: str) -> None:
    """See that a tensor has one of some shapes; None is any number."""
    shape = tuple(given.shape) if isinstance(given, Tensor) else None
    for one in wanted:
        fits = shape is not None and len(shape) == len(one)
        if fits and all(size == side or side is None for size, side in zip(shape or (), one, strict=True)):
            return
    told = f"that are a {type(given).__name__}" if shape is None else f"of shape {shape}"
    listed = " or ".join(
        f"({', '.join('any' if n is None else str(n) for n in one)}{',' * (len(one) == 1)})" for one in wanted
    )
    raise BagwiseError(f"{what} gives {name} {told}, and {listed} was expected of {of}")


def _told(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _close(one: Tensor, other: Tensor) -> bool:
    """Compare by half of the digits, the largest number being 1."""
    if one.shape != other.shape:
        return False
    if not one.dtype.is_floating_point:
        return torch.equal(one, other)
    tolerance = torch.finfo(one.dtype).eps ** 0.5
    largest = float(other.abs().nan_to_num(posinf=1.0).amax()) if other.numel() else 1.0
    return torch.allclose(one, other, tolerance, tolerance * max(largest, 1.0), equal_nan=True)
