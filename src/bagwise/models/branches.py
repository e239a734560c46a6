"""What models with several attention weights an instance are made of, and what they draw."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bagwise.checks import is_count
from bagwise.errors import BagwiseError
from bagwise.models.model import Dropout
from bagwise.segments import segment_weighted_sum

__all__ = ["GatedBranches", "drawn", "weighted_sums"]


class GatedBranches(nn.Module):
    r"""Gated attention (paper, equation 9) with a score for each of several branches, as CLAM has it.

    The scores of instance $k$, whose softmax over the bag is what it weighs in each branch:

    $$e_k = W (\tanh(V h_k + a) \odot \mathrm{sigm}(U h_k + b)) + c$$

    Parameters
    ----------
    linear
        Makes the layers (`bagwise.models.levels.Parts.linear`).
    width
        Number of columns M of the embeddings.
    hidden
        L, the number of rows of V and of U.
    branches
        K, the number of rows of W.

    Raises
    ------
    BagwiseError
        If `hidden` or `branches` is no whole number from 1 on.

    Examples
    --------
    >>> GatedBranches(nn.Linear, 3, hidden=4, branches=2)(torch.randn(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(self, linear: Callable[[int, int], nn.Linear], width: int, hidden: int, branches: int = 1) -> None:
        super().__init__()
        for name, count in (("hidden", hidden), ("branches", branches)):
            if not is_count(count):
                raise BagwiseError(f"{name} is {count!r}: it must be a whole number from 1 on")
        self.V, self.U, self.W = linear(width, hidden), linear(width, hidden), linear(hidden, branches)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Score instances.

        Parameters
        ----------
        embeddings
            Shape (N, M).

        Returns
        -------
        Tensor
            Shape (N, K).
        """
        scores: Tensor = self.W(self.V(embeddings).tanh() * self.U(embeddings).sigmoid())
        return scores


def weighted_sums(weights: Tensor, values: Tensor, offsets: Tensor) -> Tensor:
    """Add up the instances of each bag by each of several weights.

    Parameters
    ----------
    weights
        Shape (N, K).
    values
        Shape (N, M).
    offsets
        Shape (B + 1,), int64.

    Returns
    -------
    Tensor
        Shape (B, K, M).

    Examples
    --------
    >>> weighted_sums(torch.ones(5, 2), torch.ones(5, 3), torch.tensor([0, 2, 5]))[:, 0, 0].tolist()
    [2.0, 3.0]
    """
    columns = [segment_weighted_sum(column.unsqueeze(1), values, offsets) for column in weights.unbind(1)]
    return torch.stack(columns, dim=1)


def drawn(dropout: Dropout, shape: Sequence[int]) -> NDArray[np.float64]:
    """Draw numbers from 0 to 1 by the generator of a model's dropout, so for each member and epoch anew.

    Parameters
    ----------
    dropout
        Of the model.
    shape
        Of the numbers; what is drawn for many rows is what is drawn for some after others.

    Returns
    -------
    array

    Raises
    ------
    BagwiseError
        If models are computed side by side, where each would have to draw for itself.

    Examples
    --------
    >>> drawn(Dropout(0.0), (2, 3)).shape
    (2, 3)
    """
    numbers = torch.rand(*shape, generator=dropout.generator, dtype=torch.float64)
    try:
        return cast(NDArray[np.float64], numbers.numpy())
    except RuntimeError as error:  # vmap's tensors hold no numbers
        raise BagwiseError("each model draws by chance of its own, so they train one after the other") from error
