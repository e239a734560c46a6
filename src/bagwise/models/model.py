"""What a model of the bag's label is, and what it says (paper, section 2.2)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bagwise.models.beside import Beside
from bagwise.models.neighbours import Neighbourhood
from bagwise.models.pooling import Pooling
from bagwise.models.scaling import Scaler

__all__ = ["Dropout", "MILModel", "Output", "keep_mask"]


class Output(NamedTuple):
    """What a model says about packed bags.

    Attributes
    ----------
    logits
        Shape (H, B, C): H heads (1 but under deep supervision), C = 1 for two classes and else one a class.
    weights
        Instance weights, shape (N,), that sum to 1 over each bag, or (N, K), a column a head or class
        (`MILModel.weight_axis`); None where the model has none.
    scores
        Instance logits, shape (N, C); None where the model does not score instances.
    extras
        Whatever else a loss of the user's own should see, tensors by name, such as embeddings; None: nothing.
    contributions
        What each instance adds to the logits of its bag, which are the sum, shape (N, C); None where these are no sum.

    Examples
    --------
    >>> Output(torch.zeros(1, 2, 1)).weights is None
    True
    """

    logits: Tensor
    weights: Tensor | None = None
    scores: Tensor | None = None
    extras: Mapping[str, Tensor] | None = None
    contributions: Tensor | None = None


class Dropout(nn.Module):
    """Drop units in training, and scale the rest up to keep the mean.

    Parameters
    ----------
    rate
        Share of units to drop, from 0 to below 1.

    Attributes
    ----------
    generator : torch.Generator or None
        What decides which units are dropped, on the CPU; None is torch's default generator.
    scales : Tensor or None
        What values are multiplied with in training, where somebody drew that beforehand.

    Examples
    --------
    >>> Dropout(0.5).eval()(torch.ones(2, 2)).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.generator: torch.Generator | None = None
        self.scales: Tensor | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Drop in training, pass on in prediction.

        Parameters
        ----------
        values
            Any shape.

        Returns
        -------
        Tensor
            The same shape.
        """
        if not self.training:
            return values
        if self.scales is not None:
            return values * self.scales
        if self.rate == 0:
            return values
        mask = keep_mask(values.shape, self.rate, self.generator, values.dtype, pinned=values.is_cuda)
        return values * mask.to(values.device, non_blocking=True)


def keep_mask(
    shape: Sequence[int],
    rate: float,
    generator: torch.Generator | None,
    dtype: torch.dtype = torch.float32,
    *,
    pinned: bool = False,
) -> Tensor:
    """Draw which units stay.

    Every executor draws with this function, and always on the CPU, where one large draw is the same as several small
    ones: so a member drops the same units whatever else is computed, and wherever.

    Parameters
    ----------
    shape
        Of the units.
    rate
        Share of units to drop.
    generator
        On the CPU; None is torch's default generator.
    dtype
        Of the result.
    pinned
        Whether to draw into pinned memory, which a CUDA device reads while the processor goes on.

    Returns
    -------
    Tensor
        0 where a unit is dropped, 1 / (1 - rate) where it stays.

    Examples
    --------
    >>> keep_mask((2,), rate=0.0, generator=None).tolist()
    [1.0, 1.0]
    """
    return torch.rand(shape, dtype=dtype, generator=generator, pin_memory=pinned).ge_(rate).mul_(1 / (1 - rate))


class MILModel(nn.Module):
    """A model in two steps: `encode` treats each instance alone, `aggregate` treats bags.

    The cut between the two is what lets a bag larger than memory be encoded in chunks.

    Parameters
    ----------
    scaler
        Brings instances to a common scale.
    encoder
        Instances, shape (N, ...), to embeddings, shape (N, M).
    dropout
        Share of the embedding dropped in training.
    beside
        What the classifier of a bag is told beside the bag's vector; None: nothing.

    Attributes
    ----------
    wants_coordinates : bool
        Whether `aggregate` needs the coordinates of instances.
    wants_neighbours : Neighbourhood or None
        Which neighbours of instances it needs in their place; None: none.
    ties_instances : bool
        Whether in `aggregate` instances of a bag see each other, before they are pooled, by other than operations on
        segments: then models are computed one at a time, and no ONNX file can hold them.
    weight_axis : str
        What the columns of weights of shape (N, K) are: ``"heads"``, or ``"classes"``, of two the positive one last.
    learnt : Tensor
        What was learnt of the labels of training bags, shape (S,), float64.

    Examples
    --------
    >>> from bagwise.models.architecture import Architecture
    >>> model = Architecture("embedding", "attention", "mi-net").build((10,), outputs=1, seed=0)
    >>> model(torch.zeros(5, 10), torch.tensor([0, 2, 5])).logits.shape
    torch.Size([1, 2, 1])
    """

    wants_coordinates: bool = False
    wants_neighbours: Neighbourhood | None = None
    ties_instances: bool = False
    weight_axis: Literal["heads", "classes"] = "heads"
    learnt: Tensor

    def __init__(self, scaler: Scaler, encoder: nn.Module, dropout: float, beside: Beside | None = None) -> None:
        super().__init__()
        self.scaler = scaler
        self.encoder = encoder
        self.dropout = Dropout(dropout)
        self.beside = beside
        self.learn_of_labels(np.zeros(0))

    def learn_of_labels(self, learnt: NDArray[np.float64]) -> None:
        """Hold what was learnt of labels, where there is something, as a part of the state.

        Parameters
        ----------
        learnt
            Shape (S,), as `bagwise.targets.contract.Target.learn` gives it.
        """
        self.register_buffer("learnt", torch.from_numpy(learnt.copy()), persistent=len(learnt) > 0)

    def learn_of_sizes(self, sizes: NDArray[np.int64]) -> None:
        """Take note of how many instances the bags have that will be learnt from, as a part of the state.

        Parameters
        ----------
        sizes
            Shape (B,).
        """
        for module in self.modules():
            if isinstance(module, Pooling | Beside):
                module.learn_of_sizes(sizes)

    def show(self, instances: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Say what the encoder is shown of packed instances, and what the classifier is told beside bag vectors.

        Parameters
        ----------
        instances
            Shape (N, ...), as `Bags` holds them.
        offsets
            Shape (B + 1,), int64.

        Returns
        -------
        tuple
            What the scaler gives of instances, shape (N, ...), and what `beside` says, shape (B, G), or None.
        """
        return self._apart(self.scaler(instances), offsets)

    def _apart(self, values: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Part what instances have of their own, shape (N, ...), from what the classifier is told of their bags."""
        if self.beside is None:
            return values, None
        own, told = self.beside.cut(values)
        return own.contiguous(), self.beside(offsets, told)

    @property
    def loss(self) -> Callable[..., Tensor] | None:
        """What stands in the place of the target's loss (`bagwise.training.losses`); None: nothing does."""
        return None

    @property
    def classifier(self) -> nn.Module | None:
        """The part that is given vectors of bags; None where there is none."""
        return None

    def encode(self, instances: Tensor) -> Tensor:
        """Turn packed instances into embeddings.

        Parameters
        ----------
        instances
            Shape (N, ...), as `Bags` holds them.

        Returns
        -------
        Tensor
            Shape (N, M); and last, what they say of their bags.
        """
        return self.embed(self.scaler(instances))

    def embed(self, shown: Tensor) -> Tensor:
        """Turn what the scaler makes of instances into embeddings.

        Parameters
        ----------
        shown
            Shape (N, ...), as `scaler` gives it.

        Returns
        -------
        Tensor
            Shape (N, M); and last, what they say of their bags.
        """
        own, told = (shown, None) if self.beside is None else self.beside.cut(shown)
        embeddings: Tensor = self.encoder(own)
        return embeddings if told is None else torch.cat([embeddings, told], dim=1)

    def encode_in_chunks(self, instances: Tensor, chunk: int) -> Tensor:
        """Encode without a graph, some instances at a time, so that memory holds one chunk and all embeddings.

        Parameters
        ----------
        instances
            Shape (N, ...).
        chunk
            How many at a time.

        Returns
        -------
        Tensor
            Shape (N, M).
        """
        with torch.no_grad():
            first = self.encode(instances[:chunk])
            if len(instances) <= chunk:
                return first
            embeddings = first.new_empty(len(instances), *first.shape[1:])
            embeddings[:chunk] = first
            for begin in range(chunk, len(instances), chunk):
                embeddings[begin : begin + chunk] = self.encode(instances[begin : begin + chunk])
            return embeddings

    def aggregate(self, embeddings: Tensor, offsets: Tensor, where: Tensor | None = None) -> Output:
        """Turn embeddings of packed bags into logits.

        Parameters
        ----------
        embeddings
            Shape (N, M).
        offsets
            Shape (B + 1,), int64.
        where
            Coordinates of the instances, shape (N, 2) or (N, 3), if `wants_coordinates`; their neighbours as positions
            among the N, shape (N, k), int64, if `wants_neighbours`.

        Returns
        -------
        Output
        """
        raise NotImplementedError

    def __call__(self, instances: Tensor, offsets: Tensor, where: Tensor | None = None) -> Output:
        """Encode and aggregate, as `forward` says."""
        output: Output = super().__call__(instances, offsets, where)
        return output

    def forward(self, instances: Tensor, offsets: Tensor, where: Tensor | None = None) -> Output:
        """Encode and aggregate.

        Parameters
        ----------
        instances
            Shape (N, ...).
        offsets
            Shape (B + 1,), int64.
        where
            As in `aggregate`.

        Returns
        -------
        Output
        """
        return self.aggregate(self.encode(instances), offsets, where)

    def cast(self, dtype: torch.dtype) -> "MILModel":
        """Let the model compute in another type.

        Parameters
        ----------
        dtype
            Floating point.

        Returns
        -------
        MILModel
            Itself.
        """
        self.scaler.cast(dtype)
        # The scaler minds its own types, and what bags are told beside keeps double precision.
        for name, part in self.named_children():
            if name not in ("scaler", "beside"):
                part.to(dtype)
        for own in self.parameters(recurse=False):
            own.data = own.data.to(dtype)
        return self

    def train(self, mode: bool = True) -> "MILModel":
        """Switch between training and prediction; a BatchNorm, which can only be here frozen, stays frozen.

        Parameters
        ----------
        mode
            True for training.

        Returns
        -------
        MILModel
            Itself.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self
