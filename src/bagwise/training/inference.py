"""Predicting bags of any size and number with a trained model."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.models.model import MILModel, Output
from bagwise.training.data import PackedTensors
from bagwise.training.device import autocast, one_thread
from bagwise.training.schedule import batches

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True)
class Prediction:
    """What a model says about bags, on the CPU.

    Attributes
    ----------
    logits
        Shape (H, B, C), as in `bagwise.models.model.Output`.
    weights
        Instance weights, shape (N,), or None.
    scores
        Instance logits, shape (N, C), or None.

    Examples
    --------
    >>> Prediction(torch.zeros(1, 2, 1), None, None).weights is None
    True
    """

    logits: Tensor
    weights: Tensor | None
    scores: Tensor | None


def predict(
    model: MILModel,
    packed: PackedTensors,
    positions: NDArray[np.int64],
    *,
    device: torch.device,
    chunk: int,
    precision: str = "float32",
) -> Prediction:
    """Predict some bags; small ones together, large ones encoded in chunks.

    Parameters
    ----------
    model
        On `device`; it is left in prediction mode.
    packed
        The bags.
    positions
        Which of them, in the order wanted.
    device, precision
        Where and in what to compute.
    chunk
        The most instances to encode at once.

    Returns
    -------
    Prediction

    Examples
    --------
    >>> from bagwise.bags import Bags
    >>> from bagwise.models.architecture import Architecture
    >>> model = Architecture("embedding", "attention", "mi-net").build((2,), outputs=1, seed=0)
    >>> packed = PackedTensors(Bags.from_arrays([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]))
    >>> prediction = predict(model, packed, np.arange(2), device=torch.device("cpu"), chunk=100)
    >>> prediction.logits.shape, prediction.weights.shape
    (torch.Size([1, 2, 1]), torch.Size([3]))
    """
    model.eval()
    outputs: list[Output] = []
    with torch.inference_mode(), one_thread():
        for batch in batches(positions, packed.sizes, chunk):
            instances, offsets, _ = packed.batch(batch, device)
            with autocast(device, precision):
                outputs.append(model.aggregate(model.encode_in_chunks(instances, chunk), offsets))

    def joined(parts: list[Tensor | None], dim: int = 0) -> Tensor | None:
        found = [part.float() if part.dtype == torch.bfloat16 else part for part in parts if part is not None]
        return torch.cat(found, dim).cpu() if found else None

    logits = joined([output.logits for output in outputs], dim=1)
    assert logits is not None
    return Prediction(
        logits, joined([output.weights for output in outputs]), joined([output.scores for output in outputs])
    )
