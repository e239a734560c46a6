"""The gradients of losses at the outputs of one head, for the compiled step.

As in `bagwise.training.kernels`, numba looks at this file alone to see whether what it kept is still true, so all that
they use is here. The tests hold them against torch's own differentiation of the losses.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.compiled import Gradient, compiled, summing

__all__ = ["of_bernoulli", "of_categories", "of_counts", "of_hazards", "of_huber", "of_squares"]

Array = NDArray[np.floating[Any]]


@Gradient
def of_bernoulli(logits: Array, wanted: Array, gradient: Array) -> None:
    """Of independent Bernoulli variables; what is not known (NaN) counts nothing."""
    for c in range(len(logits)):
        p = math.exp(_log_sigmoid(logits[c]))
        gradient[c] = p - wanted[c] if wanted[c] == wanted[c] else p - p


@Gradient
def of_categories(logits: Array, wanted: Array, gradient: Array) -> None:
    """Of one categorical variable, of which `wanted` is the number."""
    _softmax(logits, gradient)
    gradient[int(wanted[0])] -= 1


@Gradient
def of_squares(outputs: Array, wanted: Array, gradient: Array) -> None:
    """Of half the squared distance."""
    for c in range(len(outputs)):
        gradient[c] = outputs[c] - wanted[c]


@Gradient
def of_huber(outputs: Array, wanted: Array, gradient: Array) -> None:
    """Of half the squared distance up to 1, and what grows evenly beyond."""
    for c in range(len(outputs)):
        gradient[c] = min(max(outputs[c] - wanted[c], outputs[c] - outputs[c] - 1), outputs[c] - outputs[c] + 1)


@Gradient
def of_counts(outputs: Array, wanted: Array, gradient: Array) -> None:
    """Of a Poisson variable, of whose mean the output is the logarithm."""
    gradient[0] = math.exp(outputs[0]) - wanted[0]


@Gradient
def of_hazards(logits: Array, wanted: Array, gradient: Array) -> None:
    """Of a time in intervals: so many are survived, and in the one after them is an event or it is not known."""
    for c in range(len(logits)):
        p = math.exp(_log_sigmoid(logits[c]))
        if c < wanted[0]:
            gradient[c] = p
        elif c == wanted[0] and wanted[1] > 0:
            gradient[c] = p - 1
        else:
            gradient[c] = p - p


@compiled
def _softmax(x: Array, a: Array) -> None:
    highest = x[0]
    for k in range(1, len(x)):
        highest = max(highest, x[k])
    for k in range(len(x)):
        a[k] = math.exp(x[k] - highest)
    total = _sum(a)
    for k in range(len(x)):
        a[k] /= total


@summing
def _sum(x: Array) -> Any:
    total = x.dtype.type(0)
    for m in range(len(x)):
        total += x[m]
    return total


@compiled
def _log_sigmoid(x: Any) -> Any:
    return min(x, x - x) - math.log1p(math.exp(-abs(x)))
