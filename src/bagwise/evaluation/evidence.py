"""How well values of instances, such as contributions, tell what speaks for a class from what speaks against it."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.evaluation.key_instances import average_precision

__all__ = ["EVIDENCE_METRICS", "evidence_metrics"]

EVIDENCE_METRICS = ("auprc_2", "auprc_2_chance")


def evidence_metrics(bags: Bags, values: NDArray[Any], evidence: NDArray[Any]) -> dict[str, float]:
    r"""Measure how well values of instances rank evidence for a class first and evidence against it last (AUPRC-2).

    Of a bag and a class, let $A_+$ be the average precision with which falling values find what speaks for the class,
    and $A_-$ that with which rising values find what speaks against it; each is defined where some instances of the bag
    do and some do not. AUPRC-2 is $(A_+ + A_-) / 2$, or the one that is defined, and then the mean over all pairs of a
    bag and a class that have one, as the code of xMIL measures it over all classes (Hense et al., 2024, arXiv
    2406.04280). Values drawn by chance have, where $k$ of $n$ instances count,

    $$E[A] = \frac{1}{n}\left(H_n + (n - H_n)\,\frac{k - 1}{n - 1}\right), \qquad H_n = \sum_{i=1}^{n} \frac{1}{i}$$

    Parameters
    ----------
    bags
        The bags.
    values
        For each class, packed like the instances, shape (N, C); or the same for every class, shape (N,), as weights
        without classes are.
    evidence
        1 for, -1 against, 0 neither, shape (N, C), as `bagwise.datasets.evidence` gives it.

    Returns
    -------
    dict
        `EVIDENCE_METRICS`, in [0, 1]: ``auprc_2``, and ``auprc_2_chance``, what values drawn by chance get in the mean.

    Raises
    ------
    BagwiseError
        If shapes do not fit together, or no bag holds evidence beside instances that are none.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[1.0], [2.0], [3.0]]])
    >>> evidence_metrics(bags, np.array([0.2, 0.7, -0.4]), np.array([[0], [1], [-1]]))
    {'auprc_2': 1.0, 'auprc_2_chance': 0.611111111111111}
    """
    values = np.asarray(values)
    if (
        evidence.ndim != 2
        or len(evidence) != bags.offsets[-1]
        or values.shape not in (evidence.shape, evidence.shape[:1])
    ):
        raise BagwiseError(
            f"values have shape {values.shape} and evidence {evidence.shape}: evidence needs a row for each of the"
            f" {bags.offsets[-1]} instances and a column for each class, and values the same shape, or one number a row"
        )
    values = np.broadcast_to(values if values.ndim == 2 else values[:, None], evidence.shape)
    found, chance = [], []
    for start, end in pairwise(bags.offsets):
        for given, speaks in zip(values[start:end].T, evidence[start:end].T, strict=True):
            sides = [(given, speaks > 0), (-given, speaks < 0)]
            defined = [(one, truth) for one, truth in sides if truth.any() and not truth.all()]
            if defined:
                found.append(np.mean([average_precision(truth, one) for one, truth in defined]))
                chance.append(np.mean([_by_chance(int(truth.sum()), len(truth)) for _, truth in defined]))
    if not found:
        raise BagwiseError("none of these bags holds evidence beside instances that are none: there is nothing to rank")
    return dict(zip(EVIDENCE_METRICS, (float(np.mean(found)), float(np.mean(chance))), strict=True))


def _by_chance(matter: int, size: int) -> float:
    harmonic = (1 / np.arange(1, size + 1)).sum()
    return float((harmonic + (size - harmonic) * (matter - 1) / (size - 1)) / size)
