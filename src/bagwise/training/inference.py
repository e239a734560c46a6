"""Predicting bags of any size and number with a trained model."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.errors import BagwiseError
from bagwise.models.model import MILModel, Output
from bagwise.models.neighbours import alone as own_neighbours
from bagwise.models.scaling import RangeError
from bagwise.training.data import PackedTensors
from bagwise.training.device import autocast, memory_told, one_thread
from bagwise.training.schedule import batches

__all__ = ["Prediction", "gathered", "predict"]


@dataclass(frozen=True)
class Prediction:
    """What a model says about bags, on the CPU.

    Attributes
    ----------
    logits
        Shape (H, B, C), as in `bagwise.models.model.Output`.
    weights
        Instance weights, shape (N,) or (N, K), or None.
    scores
        Instance logits, shape (N, C), or None.
    alone
        Logits of each instance as a bag of its own, shape (H, N, C), where they were asked for and there are no
        `scores`; else None.
    contributions
        What each instance adds to the logits of its bag, shape (N, C), or None.

    Examples
    --------
    >>> Prediction(torch.zeros(1, 2, 1), None, None).weights is None
    True
    """

    logits: Tensor
    weights: Tensor | None
    scores: Tensor | None
    alone: Tensor | None = None
    contributions: Tensor | None = None


def predict(
    models: Sequence[MILModel],
    packed: PackedTensors,
    wanted: Sequence[NDArray[np.int64]],
    *,
    device: torch.device,
    chunk: int,
    precision: str = "float32",
    alone: bool = False,
    batching: Callable[[NDArray[np.int64]], Iterable[NDArray[np.int64]]] | None = None,
    seen: Callable[[int, NDArray[np.int64], Output], None] | None = None,
) -> list[Prediction]:
    """Predict bags with several models in one pass over the bags; small ones together, large ones encoded in chunks.

    Parameters
    ----------
    models
        On `device`; they are left in prediction mode.
    packed
        The bags.
    wanted
        For each model the positions of the bags to predict, in the order wanted. What one model says does not depend,
        to the last bit, on the others.
    device, precision
        Where and in what to compute.
    chunk
        The most instances to encode at once.
    alone
        Ask each model without instance scores what it says of each instance alone, too.
    batching
        How to cut bags into batches; None cuts them by `chunk`.
    seen
        Is called with the number of the model, the bags of a batch and all that the model says of them: the way to its
        extras, of which nothing is kept.

    Returns
    -------
    list of Prediction
        One a model.

    Raises
    ------
    BagwiseError
        If a value of a bag is out of range once it is scaled, or what a model says of a bag is no number.

    Examples
    --------
    >>> from bagwise.bags import Bags
    >>> from bagwise.models.architecture import Architecture
    >>> model = Architecture("embedding", "attention", "mi-net").build((2,), outputs=1, seed=0)
    >>> packed = PackedTensors(Bags.from_arrays([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]))
    >>> (prediction,) = predict([model], packed, [np.arange(2)], device=torch.device("cpu"), chunk=100)
    >>> prediction.logits.shape, prediction.weights.shape
    (torch.Size([1, 2, 1]), torch.Size([3]))
    """
    outputs: list[dict[int, Output]] = [{} for _ in models]
    apart: list[dict[int, Tensor]] = [{} for _ in models]

    def by_size(positions: NDArray[np.int64]) -> Iterable[NDArray[np.int64]]:
        return batches(positions, packed.sizes, chunk)

    visits = [
        (batch, (number, place))
        for number, positions in enumerate(wanted)
        for place, batch in enumerate((batching or by_size)(positions))
    ]
    # Models that want one bag take turns at it, so that it is read once.
    visits.sort(key=lambda visit: int(visit[0][0]))
    with torch.inference_mode(), one_thread(), memory_told(device), autocast(device, precision):
        for batch, (number, place) in packed.turn(visits, device):
            instances, offsets = packed.batch(batch, device)
            model = models[number].eval()
            try:
                embeddings = model.encode_in_chunks(instances, chunk)
            except RangeError:
                packed.check_range(batch, model.scaler)
                raise
            where = packed.where(model, batch, device)
            output = model.aggregate(embeddings, offsets, where)
            if seen is not None:
                seen(number, batch, output)
            outputs[number][place] = output._replace(extras=None)
            if alone and output.scores is None:
                places = [None] * -(-len(embeddings) // chunk) if where is None else where.split(chunk)
                parts = zip(embeddings.split(chunk), places, strict=True)
                apart[number][place] = torch.cat([_alone(model, *part) for part in parts], dim=1)
    predictions = []
    for found, single, positions in zip(outputs, apart, wanted, strict=True):
        said = _joined([found[place] for place in sorted(found)], [single[place] for place in sorted(single)])
        _check_numbers(said, packed, positions)
        predictions.append(said)
    return predictions


def gathered(
    bags: Sequence[NDArray[np.int64]],
    outputs: list[Output],
    apart: list[Tensor],
    packed: PackedTensors,
    positions: NDArray[np.int64],
) -> Prediction:
    """Put together what a model said of batches, in the order in which bags are wanted.

    Parameters
    ----------
    bags
        Of each batch; together each bag that is wanted once.
    outputs
        Of each batch.
    apart
        Of each batch the logits of instances as bags of their own, shape (H, N, C); or none.
    packed
        The bags.
    positions
        Which bags are wanted.

    Returns
    -------
    Prediction

    Raises
    ------
    BagwiseError
        If it is no numbers.
    """
    said, asked = _joined(outputs, apart), np.concatenate(bags)
    if not np.array_equal(asked, positions):
        place = np.empty(len(packed.sizes), np.int64)
        place[asked] = np.arange(len(asked))
        order = place[positions]
        begins, sizes = np.cumsum(packed.sizes[asked]) - packed.sizes[asked], packed.sizes[positions]
        rows = np.concatenate([np.arange(size) + begin for begin, size in zip(begins[order], sizes, strict=True)])
        said = Prediction(
            said.logits[:, order],
            None if said.weights is None else said.weights[rows],
            None if said.scores is None else said.scores[rows],
            None if said.alone is None else said.alone[:, rows],
            None if said.contributions is None else said.contributions[rows],
        )
    _check_numbers(said, packed, positions)
    return said


def _alone(model: MILModel, embeddings: Tensor, where: Tensor | None) -> Tensor:
    offsets = torch.arange(len(embeddings) + 1, device=embeddings.device)
    if where is not None and model.wants_neighbours is not None:
        where = own_neighbours(where)
    return model.aggregate(embeddings, offsets, where).logits


def _joined(outputs: list[Output], apart: list[Tensor]) -> Prediction:
    def cat(parts: Sequence[Tensor | None], dim: int = 0) -> Tensor | None:
        found = [part.float() if part.dtype == torch.bfloat16 else part for part in parts if part is not None]
        return torch.cat(found, dim).cpu() if found else None

    logits = cat([output.logits for output in outputs], dim=1)
    assert logits is not None
    weights, scores, contributions = (
        cat([getattr(output, name) for output in outputs]) for name in ("weights", "scores", "contributions")
    )
    return Prediction(logits, weights, scores, cat(apart, dim=1), contributions)


def _check_numbers(said: Prediction, packed: PackedTensors, positions: NDArray[np.int64]) -> None:
    """Refuse what is no number, before an index of the highest or a comparison makes an answer of it."""
    bag_of_row = np.repeat(positions, packed.sizes[positions])
    for what, values, bag, axes in (
        ("logits", said.logits, positions, (0, 2)),
        ("weights", said.weights, bag_of_row, tuple(range(1, 1 if said.weights is None else said.weights.ndim))),
        ("scores", said.scores, bag_of_row, (1,)),
        ("logits of instances", said.alone, bag_of_row, (0, 2)),
        ("contributions", said.contributions, bag_of_row, (1,)),
    ):
        if values is None or torch.isfinite(values).all():
            continue
        bad = ~np.isfinite(values.numpy()).all(axis=axes)
        raise BagwiseError(
            f"the model has no answer for bag {packed.names[bag[np.argmax(bad)]]!r}, because its {what} are no numbers:"
            " look for extreme values in the bag, or into an encoder, a pooling or a model of your own"
        )
