"""How good predictions of bags are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score

from bagwise.classes import Classes, positive_of

__all__ = ["METRICS", "bag_metrics"]

METRICS = ("accuracy", "precision", "recall", "fscore", "auc")


def bag_metrics(
    labels: NDArray[Any], probabilities: NDArray[Any], classes: NDArray[Any], positive: Any = None
) -> dict[str, float]:
    """Measure predictions of bags.

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
        `METRICS`, fractions in [0, 1]. With more than two classes precision, recall and F-score are averaged over the
        classes, and the AUC over each class against the rest. A metric is NaN where these bags leave it undefined.

    Examples
    --------
    >>> labels, classes = np.array(["no", "yes", "yes"]), np.array(["no", "yes"])
    >>> bag_metrics(labels, np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), classes)["auc"]
    1.0
    """
    told = Classes(classes, positive_of(classes, positive))
    predicted = told.predicted(probabilities)
    precision, recall, fscore, _ = precision_recall_fscore_support(
        labels,
        predicted,
        labels=classes if told.column is None else [told.positive],
        average="macro",
        zero_division=np.nan,
    )
    present = [c for c in range(len(classes)) if 0 < np.sum(labels == classes[c]) < len(labels)]
    columns = [c for c in present if told.column in (None, c)]
    areas = [roc_auc_score(labels == classes[c], probabilities[:, c]) for c in columns]
    values = (accuracy_score(labels, predicted), precision, recall, fscore, np.mean(areas) if areas else np.nan)
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}
