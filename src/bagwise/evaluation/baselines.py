"""Whether methods are better than simple ones, measured on the same folds."""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import NamedTuple

import numpy as np

from bagwise.errors import BagwiseError
from bagwise.evaluation.cross_validation import CrossValidation
from bagwise.evaluation.delong import AreaDifference, auc_difference
from bagwise.evaluation.metrics import METRICS
from bagwise.evaluation.significance import corrected_interval, corrected_t_test
from bagwise.evaluation.summary import summary
from bagwise.targets.contract import Target

__all__ = ["BASELINES", "Verdict", "headline", "one_test_difference", "verdicts"]

# With what each is measured where nobody asked for it. A hundred trees that nothing is chosen of rank bags nearly as
# well as two times 250 with a choice between them do, in a tenth of the time.
BASELINES: dict[str, tuple[str, ...]] = {"summary-forest": ("trees=100", "leaf=1"), "mean-logistic": ()}

_SURE = 0.05


class Verdict(NamedTuple):
    """Whether a method is better than a baseline.

    Attributes
    ----------
    method, baseline
        Their names.
    metric
        What is compared.
    difference, low, high
        By how much the method's is higher, and the 95 % interval of that; NaN where fewer than two folds define it.
    p_value
        Of the corrected resampled t-test; where there is one test alone, of DeLong's for two areas on the same bags.
    told
        A sentence.

    Examples
    --------
    >>> Verdict("attention", "mean-logistic", "auc", 0.1, 0.05, 0.15, 0.001, "attention is better").difference
    0.1
    """

    method: str
    baseline: str
    metric: str
    difference: float
    low: float
    high: float
    p_value: float
    told: str


def headline(target: Target) -> str:
    """Name the one metric by which methods are compared: AUC, or where the target has none the first of its metrics.

    Parameters
    ----------
    target
        What labels are.

    Returns
    -------
    str

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> headline(ClassTarget.of([0, 1]))
    'auc'
    """
    return "auc" if "auc" in target.metrics else target.metrics[0]


def verdicts(
    found: Mapping[str, CrossValidation], methods: Iterable[str], baselines: Iterable[str], *, test_share: float
) -> list[Verdict]:
    """Compare each method with each baseline, two baselines with each other once.

    Parameters
    ----------
    found
        Of all of them by name, what a cross-validation on the same folds found.
    methods, baselines
        Which to compare.
    test_share
        As in `corrected_t_test`.

    Returns
    -------
    list of Verdict
        Each pair is judged by itself: the p-values are not corrected for how many there are. A method that is better
        than each of two baselines is better than the best of them at the same level.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(12)], labels=[0, 1] * 6)
    >>> names = ["miVLAD", "mean-logistic"]
    >>> found = {name: bw.cross_validate(bw.make(name, random_state=0), bags, folds=3, n_jobs=1) for name in names}
    >>> print(verdicts(found, names[:1], names[1:], test_share=1 / 3)[0].told)
    miVLAD (AUC 1.000 ± 0.000) is not shown to be better than mean-logistic (1.000; difference +0.000, 95 % interval +0.000 to +0.000, p = 1.000): the baseline may do.
    """  # noqa: E501
    pairs = {frozenset(pair): pair for pair in product(methods, baselines) if pair[0] != pair[1]}
    return [_verdict(method, baseline, found, test_share) for method, baseline in pairs.values()]


def one_test_difference(one: CrossValidation, other: CrossValidation) -> AreaDifference | None:
    """Compare the AUC of two models on the one test that there is, by DeLong's test.

    Parameters
    ----------
    one, other
        What cross-validations on the same folds found.

    Returns
    -------
    AreaDifference or None
        Of the first model less the second, groups kept together; None where there are several tests, whose folds say
        how models differ, where there are not two classes, or where all tested bags have one.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(12)], labels=[0, 1] * 6)
    >>> split = [(range(6), range(6, 12))]
    >>> found = [bw.cross_validate(bw.make("miVLAD", random_state=0), bags, folds=split, n_jobs=1) for _ in "ab"]
    >>> one_test_difference(*found).difference
    0.0
    """
    if one.scores[next(iter(one.scores))].size > 1 or one.positive is None:
        return None
    tested = one.assignment[0] >= 0
    weights = None if one.sample_weight is None else one.sample_weight[tested]
    outcomes = one.labels[tested] == one.positive
    counts = outcomes if weights is None else outcomes[weights > 0]
    if counts.all() or not counts.any():
        return None
    column = list(np.asarray(one.target.names).tolist()).index(one.positive)
    return auc_difference(
        outcomes,
        *(found.answers[0, tested, column] for found in (one, other)),
        groups=None if one.groups is None else one.groups[tested],
        weights=weights,
    )


def _verdict(method: str, baseline: str, found: Mapping[str, CrossValidation], test_share: float) -> Verdict:
    metric = headline(found[method].target)
    title = METRICS[metric].title
    one, other = found[method].scores[metric], found[baseline].scores[metric]
    mine, its = summary(one), summary(other)
    area = one_test_difference(found[method], found[baseline]) if metric == "auc" else None
    spread, of_what = "", ""
    if area is not None:
        difference, _, low, high, p_value = area
        of_what = " of two models on one test"
    else:
        try:
            difference, _, p_value, _ = corrected_t_test(one, other, test_share=test_share)
            low, high = corrected_interval(one, other, test_share=test_share)
        except BagwiseError:
            unknown = float("nan")
            told = f"{method} cannot be compared with {baseline}: fewer than two folds define the {title} of both."
            return Verdict(method, baseline, metric, unknown, unknown, unknown, unknown, told)
        spread = f" ± {mine['sd_folds']:.3f}"
    says, then = "is not shown to be better than", ": the baseline may do"
    if p_value < _SURE:
        says, then = ("is better than", "") if difference > 0 else ("is worse than", ": take the baseline")
    chance = f"p = {p_value:.3f}" if p_value >= 0.0005 else "p < 0.001"
    told = (
        f"{method} ({title} {mine['mean']:.3f}{spread}) {says} {baseline} ({its['mean']:.3f};"
        f" difference {difference:+.3f}, 95 % interval{of_what} {low:+.3f} to {high:+.3f}, {chance}){then}."
    )
    return Verdict(method, baseline, metric, difference, low, high, p_value, told)
