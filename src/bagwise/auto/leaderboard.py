"""What a search found of each candidate, in numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.auto.ranking import Ranking, deciding
from bagwise.auto.search import Found
from bagwise.bags import Bags
from bagwise.evaluation.metrics import measure
from bagwise.evaluation.summary import summary
from bagwise.targets.contract import Target

__all__ = ["leaderboard"]


def leaderboard(
    found: Found, bags: Bags, target: Target, weights: NDArray[np.float64] | None = None
) -> list[dict[str, Any]]:
    """Give a row a candidate, best first.

    What each predicts is decided as the average decides: where one of two classes is rare, by the threshold that suits
    its own answers best.

    Parameters
    ----------
    found
        What a search found.
    bags
        In which.
    target
        What labels are.
    weights
        What each bag counts, shape (B,), or None.

    Returns
    -------
    list of dict
        As `bagwise.AutoMIL` has them.

    Examples
    --------
    >>> from bagwise.auto.budget import Budget
    >>> from bagwise.auto.search import search
    >>> from bagwise.targets.classes import ClassTarget
    >>> bags = Bags.from_arrays([[[float(bag % 2)]] for bag in range(20)], labels=[0, 1] * 10)
    >>> target = ClassTarget.of(bags.labels)
    >>> row = leaderboard(search(bags, target, Budget(trials=1, seconds=None)), bags, target)[0]
    >>> row["candidate"], row["accuracy"], row["folds"]
    ('summary-forest (trees 100, leaf 1)', 1.0, 5)
    """
    assert bags.labels is not None
    ranking = Ranking.of(target, bags.labels, weights)
    shares = {id(candidate): share for candidate, share in found.chosen}
    rows = []
    for trial in found.trials:
        each: dict[str, list[float]] = {"misfit": []}
        decides = target
        if trial.answers:
            asked = np.concatenate([found.splits[fold].test for fold in trial.answers])
            said = np.concatenate([*trial.answers.values()])
            decides = deciding(target, bags.labels[asked], said, None if weights is None else weights[asked])
        for fold, answers in trial.answers.items():
            test = found.splits[fold].test
            counted = None if weights is None else weights[test]
            each["misfit"].append(ranking.misfit(bags.labels[test], answers, counted))
            for metric, value in measure(decides, bags.labels[test], answers, weights=counted).items():
                each.setdefault(metric, []).append(value)
        means = {name: summary(np.array([values]))["mean"] if values else np.nan for name, values in each.items()}
        rows.append(
            {
                "candidate": trial.candidate.called,
                **means,
                "folds": trial.folds,
                "share": shares.get(id(trial.candidate), 0.0),
                "seconds": round(trial.seconds, 1),
                "failure": trial.failure or trial.left_out,
            }
        )
    return sorted(rows, key=lambda row: (-row["folds"], row["misfit"]))
