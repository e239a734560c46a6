"""How good answers about bags are: a line a metric, for the kinds of target that it fits."""

from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics as sk

from bagwise.checks import check_names, valid_weights
from bagwise.classes import Classes, positive_of
from bagwise.errors import BagwiseError
from bagwise.evaluation.judged import Event, Judged, Told
from bagwise.survival import concordance
from bagwise.targets.classes import ClassTarget

__all__ = ["CLASS_METRICS", "METRICS", "Metric", "Scorer", "bag_metrics", "mean_defined", "measure", "scorers"]

Scorer = Callable[[NDArray[Any], NDArray[Any]], float]

CLASS_METRICS = ClassTarget.metrics


# ---- metrics ----------------------------------------------------------------------------------------------


def mean_defined(values: Iterable[float]) -> float:
    """Average over the classes, labels, numbers or repetitions that define a metric; NaN where none does."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else np.nan


def _accuracy(judged: Judged) -> float:
    if judged.target.kind == "multi-label":
        return mean_defined(
            sk.accuracy_score(event.outcomes, event.predicted, sample_weight=event.weights)
            for event in judged.events
            if len(event.outcomes)
        )
    return float(sk.accuracy_score(judged.labels, judged.predicted, sample_weight=judged.weights))


def _recalls(outcomes: NDArray[Any], predicted: NDArray[Any], weights: NDArray[np.float64] | None) -> float:
    """Average the recall of what there is."""
    right = outcomes == predicted
    shares = [
        np.average(right[of], weights=None if weights is None else weights[of])
        for of in (outcomes == value for value in np.unique(outcomes))
    ]
    return mean_defined(shares)


def _balanced_accuracy(judged: Judged) -> float:
    if judged.target.kind == "multi-label":
        return mean_defined(_recalls(e.outcomes, e.predicted, e.weights) for e in judged.events if e.differs)
    return _recalls(judged.codes, judged.predicted_codes, judged.weights)


def _of_precision_recall_fscore(place: int) -> Callable[[Judged], float]:
    def function(judged: Judged) -> float:
        if judged.target.kind == "classes":
            return float(judged.precision_recall_fscore[place])
        return mean_defined(
            sk.precision_recall_fscore_support(
                event.outcomes,
                event.predicted,
                labels=[True],
                average="macro",
                zero_division=np.nan,
                sample_weight=event.weights,
            )[place]
            for event in judged.events
            if len(event.outcomes)
        )

    return function


def _specificity(judged: Judged) -> float:
    def of(event: Event) -> float:
        others = ~event.outcomes
        return float(
            np.average(~event.predicted[others], weights=None if event.weights is None else event.weights[others])
        )

    return mean_defined(of(event) for event in judged.events if not event.outcomes.all())


def _auc(judged: Judged) -> float:
    return mean_defined(
        sk.roc_auc_score(event.outcomes, event.probabilities, sample_weight=event.weights)
        for event in judged.events
        if event.differs
    )


def _average_precision(judged: Judged) -> float:
    return mean_defined(
        sk.average_precision_score(event.outcomes, event.probabilities, sample_weight=event.weights)
        for event in judged.events
        if event.differs
    )


def _brier(judged: Judged) -> float:
    """Average over labels; of several classes add up, as scikit-learn does."""
    each = [
        np.average((event.probabilities - event.outcomes) ** 2, weights=event.weights)
        for event in judged.events
        if len(event.outcomes)
    ]
    return mean_defined(each) if judged.target.kind == "multi-label" else float(np.sum(each))


def _log_loss(judged: Judged) -> float:
    if judged.target.kind == "multi-label":
        known = [event for event in judged.events if len(event.outcomes)]
        return mean_defined(
            _surprise(np.where(e.outcomes, e.probabilities, 1 - e.probabilities), e.weights) for e in known
        )
    likely = judged.answers[np.arange(len(judged.codes)), judged.codes]
    return _surprise(np.where(judged.codes < 0, 0, likely), judged.weights)


def _surprise(likely: NDArray[np.float64], weights: NDArray[np.float64] | None) -> float:
    least = np.finfo(np.float64).eps  # what scikit-learn takes for none
    return float(np.average(-np.log(np.clip(likely, least, 1)), weights=weights))


def _exact_match(judged: Judged) -> float:
    """Give the share of bags of which all known labels are predicted."""
    known = ~np.isnan(judged.labels)
    right = np.all((judged.labels == judged.predicted) | ~known, axis=1)
    some = known.any(axis=1)
    weights = None if judged.weights is None else judged.weights[some]
    return float(np.average(right[some], weights=weights)) if some.any() else np.nan


def _kappa(judged: Judged) -> float:
    if len(np.unique([judged.codes, judged.predicted_codes])) < 2:
        return np.nan
    weighted = "quadratic" if judged.target.kind == "ordinal" else None
    every = np.arange(-1, len(judged.names))
    return float(
        sk.cohen_kappa_score(
            judged.codes, judged.predicted_codes, labels=every, weights=weighted, sample_weight=judged.weights
        )
    )


def _mae(judged: Judged) -> float:
    if judged.target.kind == "ordinal":
        return float(np.average(np.abs(judged.codes - judged.predicted_codes), weights=judged.weights))
    return mean_defined(sk.mean_absolute_error(*pair, sample_weight=judged.weights) for pair in judged.numbers)


def _rmse(judged: Judged) -> float:
    return mean_defined(sk.root_mean_squared_error(*pair, sample_weight=judged.weights) for pair in judged.numbers)


def _r2(judged: Judged) -> float:
    return mean_defined(
        sk.r2_score(*pair, sample_weight=judged.weights) for pair in judged.numbers if len(np.unique(pair[0])) > 1
    )


def _c_index(judged: Judged) -> float:
    event, time = (judged.labels[name] for name in judged.labels.dtype.names or ())
    return concordance(event, time, judged.answers[:, 0], judged.weights)


class Metric(NamedTuple):
    """A way to measure answers.

    Attributes
    ----------
    title
        Its name as tables show it.
    kinds
        Of the targets that it fits.
    function
        Gives the metric of `Judged`; NaN where these bags leave it undefined.
    what
        What it says, for pages and help.
    higher
        Whether more is better.
    bounds
        The least that it can be, and the most.

    Examples
    --------
    >>> METRICS["mae"].kinds, METRICS["mae"].higher, METRICS["mae"].bounds
    (('real', 'count', 'ordinal'), False, (0.0, inf))
    """

    title: str
    kinds: tuple[str, ...]
    function: Callable[[Judged], float]
    what: str
    higher: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)


_OF_CLASSES = ("classes", "multi-label", "ordinal")
_OF_EVENTS = ("classes", "multi-label")
_OF_NUMBERS = ("real", "count")

# Of several classes, precision to average precision are means over each class against the rest; of several labels all
# are means over labels, each over the bags in which it is known; of several numbers, means over the numbers. What a
# class, label or number leaves undefined stays out of the mean.
METRICS: dict[str, Metric] = {
    "accuracy": Metric("Accuracy", _OF_CLASSES, _accuracy, "Share predicted rightly."),
    "precision": Metric(
        "Precision", _OF_EVENTS, _of_precision_recall_fscore(0), "Share of what is called positive that is."
    ),
    "recall": Metric("Recall", _OF_EVENTS, _of_precision_recall_fscore(1), "Share of what is positive that is found."),
    "specificity": Metric(
        "Specificity", _OF_EVENTS, _specificity, "Share of what is not positive that is not called so."
    ),
    "fscore": Metric("F-score", _OF_EVENTS, _of_precision_recall_fscore(2), "Harmonic mean of precision and recall."),
    "auc": Metric("AUC", _OF_EVENTS, _auc, "How well bags are ranked; undefined where all are of one class."),
    "balanced_accuracy": Metric(
        "Balanced accuracy", _OF_CLASSES, _balanced_accuracy, "Mean over the classes of the share predicted rightly."
    ),
    "average_precision": Metric(
        "Average precision", _OF_EVENTS, _average_precision, "Area under the curve of precision over recall."
    ),
    "brier": Metric(
        "Brier",
        _OF_CLASSES,
        _brier,
        "Mean squared error of the probabilities; of three classes or more, their sum.",
        False,
        (0.0, 2.0),
    ),
    "log_loss": Metric(
        "Log-loss",
        _OF_CLASSES,
        _log_loss,
        "Mean of minus the logarithm of what the truth was given.",
        False,
        (0.0, np.inf),
    ),
    "exact_match": Metric(
        "Exact match", ("multi-label",), _exact_match, "Share of bags of which all known labels are predicted."
    ),
    "kappa": Metric(
        "Kappa",
        ("classes", "ordinal"),
        _kappa,
        "Agreement beyond chance (Cohen); of grades, errors count as the square of their distance.",
        bounds=(-1.0, 1.0),
    ),
    "mae": Metric(
        "MAE",
        (*_OF_NUMBERS, "ordinal"),
        _mae,
        "Mean absolute error, in the unit of the labels; of grades, in steps.",
        False,
        (0.0, np.inf),
    ),
    "rmse": Metric(
        "RMSE",
        _OF_NUMBERS,
        _rmse,
        "Root of the mean squared error, in the unit of the labels.",
        False,
        (0.0, np.inf),
    ),
    "r2": Metric(
        "R²",
        _OF_NUMBERS,
        _r2,
        "Share of the variance explained; undefined where all labels are equal.",
        bounds=(-np.inf, 1.0),
    ),
    "c_index": Metric(
        "C-index", ("survival",), _c_index, "Share of comparable pairs of which who died first had the higher risk."
    ),
}


# ---- measuring --------------------------------------------------------------------------------------------


def scorers(target: Told, scoring: Any = None) -> dict[str, str | Scorer]:
    """Say what is to be measured, and check that it fits.

    Parameters
    ----------
    target
        What labels are.
    scoring
        The name of a metric, a function ``(labels, answers) -> float``, a list of both, or a mapping from what each is
        to be called. None: ``target.metrics``.

    Returns
    -------
    dict
        For each name, a name of `METRICS` or a function.

    Raises
    ------
    BagwiseError
        If there is no such metric, it does not fit the target, or a name is missing or given twice.

    Examples
    --------
    >>> def at_most_one(labels, answers):
    ...     return float(np.mean(answers.sum(axis=1) <= 1))
    >>> list(scorers(ClassTarget.of([0, 1]), ["auc", at_most_one]))
    ['auc', 'at_most_one']
    """
    if scoring is None:
        scoring = target.metrics
    if isinstance(scoring, Mapping):
        named = list(scoring.items())
    else:
        listed = [scoring] if isinstance(scoring, str) or callable(scoring) else scoring
        if not isinstance(listed, Iterable):
            raise BagwiseError(f"scoring is {scoring!r}: give names of metrics, or functions of (labels, answers)")
        named = [(_name_of(one), one) for one in listed]
    if not named:
        raise BagwiseError("scoring is empty: name one metric or more")
    check_names([name for name, _ in named], "metric")
    for _, one in named:
        if isinstance(one, str):
            _check_fits(one, target)
        elif not callable(one):
            raise BagwiseError(f"scoring holds {one!r}: give names of metrics, or functions of (labels, answers)")
    return dict(named)


def _name_of(one: Any) -> str:
    name = one if isinstance(one, str) else getattr(one, "__name__", None)
    if not isinstance(name, str):
        raise BagwiseError(f"scoring holds {one!r}, which has no name: give it one, as in scoring={{'name': function}}")
    return name


def _check_fits(name: str, target: Told) -> None:
    """Refuse what is no metric, or none of this kind nor one that the target itself names."""
    kind = target.kind
    fitting = ", ".join(known for known, metric in METRICS.items() if kind in metric.kinds or known in target.metrics)
    if name not in METRICS:
        raise BagwiseError(f"there is no metric {name!r}: of {kind} targets there are {fitting}")
    if kind not in METRICS[name].kinds and name not in target.metrics:
        of = " and ".join(METRICS[name].kinds)
        raise BagwiseError(f"the metric {name!r} is one of {of} targets, and this one is {kind}: choose of {fitting}")


def measure(
    target: Told,
    labels: NDArray[Any],
    answers: NDArray[Any],
    *,
    scoring: Any = None,
    weights: ArrayLike | None = None,
    decided: NDArray[Any] | None = None,
) -> dict[str, float]:
    """Measure answers about bags.

    Parameters
    ----------
    target
        What labels are.
    labels
        True labels, as the target has them, shape (B, ...), B at least 1.
    answers
        What a model says of the bags, shape (B, A): probabilities, values, or risks first.
    scoring
        As in `scorers`.
    weights
        What each bag counts, shape (B,), not negative: one of weight 2 is like two bags. By default all count the same.
        Functions of the user's own do not see them, nor bags of weight 0.
    decided
        What the model predicts, as labels are, shape (B, ...); None: what the target makes of the answers.

    Returns
    -------
    dict
        For each name a float; NaN where these bags leave a metric undefined.

    Raises
    ------
    BagwiseError
        If `scoring` or the weights will not do, or a function of the user's own gives no number.

    Examples
    --------
    >>> target = ClassTarget.of(["no", "yes"])
    >>> answers = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> measure(target, np.array(["no", "yes", "yes"]), answers, scoring=["auc", "recall"])
    {'auc': 1.0, 'recall': 0.5}
    """
    asked = scorers(target, scoring)
    weight = None
    if weights is not None:
        weight = np.asarray(valid_weights(weights, np.arange(len(labels)).astype(object)), np.float64)
        kept = weight > 0  # a bag that does not count is none
        labels, answers, weight = labels[kept], answers[kept], weight[kept]
        decided = None if decided is None else decided[kept]
        if (weight == weight[0]).all():  # and then sums have the bits that they have without
            weight = None
    judged = Judged(target, labels, answers, weight, decided)
    found: dict[str, float] = {}
    for name, one in asked.items():
        value = METRICS[one].function(judged) if isinstance(one, str) else one(labels, answers)
        if not isinstance(value, Real):
            raise BagwiseError(f"the metric {name!r} gave {value!r}: it must return one number")
        found[name] = float(value)
    return found


def bag_metrics(
    labels: NDArray[Any], probabilities: NDArray[Any], classes: NDArray[Any], positive: Any = None
) -> dict[str, float]:
    """Measure predictions of classes, where there is no target but the names of the classes.

    Parameters
    ----------
    labels
        True labels, shape (B,).
    probabilities
        Predicted probabilities, shape (B, number of classes).
    classes
        The classes, in the order of the columns.
    positive
        With two classes, the one whose precision, recall, F-score and AUC these are; None chooses as
        `bagwise.classes.positive_of` does.

    Returns
    -------
    dict
        `CLASS_METRICS`, as `measure` gives them.

    Examples
    --------
    >>> labels, classes = np.array(["no", "yes", "yes"]), np.array(["no", "yes"])
    >>> bag_metrics(labels, np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), classes)["auc"]
    1.0
    """
    return measure(ClassTarget(Classes(classes, positive_of(classes, positive))), labels, probabilities)
