"""What the paper says of MNIST-bags (section 4.2), as statements that can be tested."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_1samp

from bagwise.experiments.mnist_bags import ENSEMBLE

__all__ = ["ALPHA", "CLOSE", "findings"]

ALPHA = 0.05
CLOSE = 0.02  # methods whose AUC differ by less are as good as each other

_OTHERS = ("embedding-max", "embedding-mean", "instance-max", "instance-mean", "MI-SVM")
_NEURAL = ("attention", "gated-attention", "embedding-max", "embedding-mean", "instance-max", "instance-mean")


def _few(size: int, bags: int) -> bool:
    return (size == 10 and bags <= 150) or (size == 50 and bags <= 100)


class _Statement(NamedTuple):
    """A statement about pairs of methods: each first is above its second by more than a margin, where it is asked."""

    says: str
    pairs: Sequence[tuple[str, str]]
    where: Callable[[int, int], bool]
    margin: float = 0.0


_STATEMENTS = {
    "attention-with-few-bags": _Statement(
        "attention is above every other approach with few bags (mean size 10: to 150, 50: to 100)",
        [("attention", other) for other in _OTHERS],
        _few,
    ),
    "gated-with-few-bags": _Statement(
        "gated attention is above every other approach with few bags",
        [("gated-attention", other) for other in _OTHERS],
        _few,
    ),
    "embedding-above-instance": _Statement(
        "the embedding level is above the instance level, with max and with mean",
        [("embedding-max", "instance-max"), ("embedding-mean", "instance-mean")],
        lambda *_: True,
    ),
    "max-above-mean": _Statement(
        "max is above mean, at the embedding and at the instance level",
        [("embedding-max", "embedding-mean"), ("instance-max", "instance-mean")],
        lambda *_: True,
    ),
    "all-close-with-many-bags": _Statement(
        f"with 500 bags of mean size 10 no neural method is {CLOSE} or more below attention",
        [(method, "attention") for method in _NEURAL if method != "attention"],
        lambda size, bags: size == 10 and bags == 500,
        -CLOSE,
    ),
    "embedding-mean-in-the-end": _Statement(
        f"with 500 bags of mean size 10 embedding-mean is not {CLOSE} or more below embedding-max",
        [("embedding-mean", "embedding-max")],
        lambda size, bags: size == 10 and bags == 500,
        -CLOSE,
    ),
    "attention-above-svm": _Statement(
        "attention is above MI-SVM at mean sizes 10 and 50",
        [("attention", "MI-SVM")],
        lambda size, _: size <= 50,
    ),
    "svm-in-large-bags": _Statement(
        "MI-SVM is above attention at mean size 100",
        [("MI-SVM", "attention")],
        lambda size, _: size == 100,
    ),
    "ensemble": _Statement(
        "attention-ensemble is above every method of the paper at mean size 10",
        [(ENSEMBLE, method) for method in (*_NEURAL, "MI-SVM")],
        lambda size, _: size == 10,
    ),
}


def findings(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Test the paper's statements, and one of ours, on measured AUC.

    Each pair of methods is compared on the training and test bags that both have seen: a one-sided t-test of the
    differences, one a draw of bags. A statement about several pairs holds where all of them do, so its p-value is the
    largest of theirs, and its difference is that pair's. It holds where p < `ALPHA`.

    Parameters
    ----------
    rows
        As `bagwise.experiments.mnist_figures.run_mnist_bags` gives them; statements about cells that are not among them
        are left out.

    Returns
    -------
    list of dict
        ``finding``, ``says``, ``holds``, ``p_value``, ``difference``, ``weakest`` (the pair with the largest p-value)
        and ``draws``, how many that pair was compared on.

    Examples
    --------
    >>> rows = [
    ...     {"mean_bag_size": 10, "training_bags": 500, "method": method, "metric": "auc", "values": values}
    ...     for method, values in [("embedding-max", [0.98, 0.97, 0.99]), ("embedding-mean", [0.979, 0.972, 0.988])]
    ... ]
    >>> [(found["finding"], found["holds"]) for found in findings(rows) if found["draws"] == 3]
    [('embedding-mean-in-the-end', True)]
    """
    measured: dict[tuple[int, int], dict[str, list[float]]] = {}
    for row in rows:
        if row["metric"] == "auc":
            measured.setdefault((row["mean_bag_size"], row["training_bags"]), {})[row["method"]] = row["values"]
    listed = []
    for name, statement in _STATEMENTS.items():
        asked = [methods for place, methods in measured.items() if statement.where(*place)]
        compared = [(pair, _differences(asked, *pair)) for pair in statement.pairs]
        if any(len(differences) < 2 for _, differences in compared):
            continue
        tested = [(_p_value(differences, statement.margin), pair, differences) for pair, differences in compared]
        p_value, (first, second), differences = max(tested, key=lambda one: one[0])
        listed.append(
            {
                "finding": name,
                "says": statement.says,
                "holds": p_value < ALPHA,
                "p_value": p_value,
                "difference": float(differences.mean()),
                "weakest": f"{first} and {second}",
                "draws": len(differences),
            }
        )
    return listed


def _differences(asked: Sequence[Mapping[str, Sequence[float]]], first: str, second: str) -> NDArray[np.float64]:
    pairs = [
        one - other
        for methods in asked
        if first in methods and second in methods
        for one, other in zip(methods[first], methods[second], strict=False)  # MI-SVM has fewer repetitions
    ]
    return np.array(pairs, np.float64)


def _p_value(differences: NDArray[np.float64], margin: float) -> float:
    if np.ptp(differences) == 0:  # no spread to compare with: the limit of the test
        return 0.0 if differences[0] > margin else 1.0
    return float(ttest_1samp(differences, margin, alternative="greater").pvalue)
