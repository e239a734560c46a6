"""Computing row by row, a part of the rows at a time."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["in_parts"]

_ROWS_AT_ONCE = 1 << 14


def in_parts(function: Callable[[Tensor], Tensor], rows: Tensor, columns: int) -> Tensor:
    """Compute without ever holding a hidden layer for a bag of millions, which is larger than its embeddings.

    Parameters
    ----------
    function
        Of rows, each by itself.
    rows
        Shape (N, M).
    columns
        K, how many columns it gives.

    Returns
    -------
    Tensor
        Shape (N, K).

    Examples
    --------
    >>> in_parts(lambda rows: rows.sum(1, keepdim=True), torch.ones(3, 2), columns=1).tolist()
    [[2.0], [2.0], [2.0]]
    """
    if torch.compiler.is_exporting() or len(rows) <= _ROWS_AT_ONCE:
        return function(rows)
    found = rows.new_empty(len(rows), columns)
    # Written where they stay: a list of small results would lie between the freed large ones and keep them apart.
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        found[begin : begin + _ROWS_AT_ONCE] = function(rows[begin : begin + _ROWS_AT_ONCE])
    return found
