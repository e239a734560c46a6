"""What `bagwise evaluate --curve` says: whether more bags would help, and how many show what."""

import tempfile
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.commands.held_out import finite
from bagwise.errors import BagwiseError
from bagwise.evaluation.baselines import headline
from bagwise.evaluation.cross_validation import CrossValidation
from bagwise.evaluation.delong import auc_areas
from bagwise.evaluation.learning_curve import LearningCurve, learning_curve
from bagwise.evaluation.metrics import METRICS
from bagwise.evaluation.planning import bags_for_auc, bags_for_share, likeness_in_auc, likeness_in_share
from bagwise.evaluation.protocol import Division
from bagwise.evaluation.significance import smallest_difference
from bagwise.methods.base import BagEstimator
from bagwise.reports import Figure, Table
from bagwise.reports.curves import Curve, draw_curves

__all__ = ["curve_figure", "curve_table", "measured_curves"]

HALF_WIDTH = 0.05
_DRAWN = ("bags", "mean", "sd_folds")
_CALLED, _COUNTED = {"auc": "the AUC"}, {"sensitivity": "positive", "specificity": "negative"}


def measured_curves(
    made: Mapping[str, BagEstimator],
    plain: Mapping[str, CrossValidation],
    found: Mapping[str, CrossValidation],
    bags: Bags,
    division: Division,
    *,
    weights: NDArray[np.float64] | None,
    seed: int,
    jobs: int,
    checkpoints: Path,
    verbose: bool,
) -> dict[str, Any]:
    """Let methods learn from parts of the training bags, and say what that and the whole tell.

    Parameters
    ----------
    made
        The methods asked for.
    plain
        What was found of these on all training bags, as they learn them.
    found
        The same of these, and of others, with what makes their answers such as were asked for: thresholds, calibration.
    bags, division, weights
        What they learnt from, and how.
    seed
        Decides which bags are in a part.
    jobs, checkpoints, verbose
        As `bagwise.evaluation.learning_curve.learning_curve` takes them; each method has a folder of its own.

    Returns
    -------
    dict
        What ``results.json`` has in ``curve``: ``rows`` (one a method, share and metric), ``gains`` (one a method),
        ``smallest`` (one a pair of methods), ``cohorts`` (one a method and metric), and ``told``, all of it in
        sentences.
    """
    rows, gains, told = [], [], []
    for number, (name, model) in enumerate(made.items()):
        try:
            curve = learning_curve(
                model,
                bags,
                whole=plain[name],
                sample_weight=weights,
                folds=division,
                seed=seed,
                n_jobs=jobs,
                checkpoints=checkpoints / f"curve-{number}",
                verbose=verbose,
            )
        except BagwiseError as error:  # what parts of the bags are too few for is no fault of the whole
            told.append(f"{name} has no learning curve: {error}.")
            continue
        rows += [{"method": name, **finite(row)} for row in curve.rows()]
        gain = curve.gain()
        gains.append({"method": name, **finite(gain._asdict())})
        told.append(f"{name}: {gain.told}{_left_out(curve)}")
    smallest = _smallest(found, division.test_share)
    cohorts = [row for name in made for row in _cohorts(name, found[name], bags)]
    told += _smallest_told(smallest, len(bags)) + _cohorts_told(cohorts, grouped=bags.groups is not None)
    return {"rows": rows, "gains": gains, "smallest": smallest, "cohorts": cohorts, "told": told}


def curve_table(curve: Mapping[str, Any]) -> Table:
    """Show what methods reach with how many bags, and what follows.

    Parameters
    ----------
    curve
        As `measured_curves` gives it.

    Returns
    -------
    Table
    """
    metrics = list(dict.fromkeys(row["metric"] for row in curve["rows"]))
    cells: dict[tuple[str, float, float], dict[str, str]] = {}
    for row in curve["rows"]:
        spread = "" if row["sd_folds"] is None else f" ± {row['sd_folds']:.3f}"
        value = "–" if row["mean"] is None else f"{row['mean']:.3f}{spread}"
        cells.setdefault((row["method"], row["share"], row["bags"]), {})[row["metric"]] = value
    return Table(
        "Would more bags help?",
        ["Method", "Training bags", *(METRICS[metric].title if metric in METRICS else metric for metric in metrics)],
        [
            [method, f"{share:.0%}, {bags:.0f}", *(of[metric] for metric in metrics)]
            for (method, share, bags), of in cells.items()
        ],
        "Mean over folds ± standard deviation over folds, on the same tests, of what learnt from parts of the training"
        f" bags. {' '.join(curve['told'])}",
    )


def curve_figure(curve: Mapping[str, Any], out: Path) -> Figure | None:
    """Draw the curves as a file of its own, ``learning_curve.png``, and give them as the report shows them.

    Parameters
    ----------
    curve
        As `measured_curves` gives it.
    out
        The folder.

    Returns
    -------
    Figure or None
        None where no method has a curve.
    """
    if not curve["gains"]:
        return None
    metric = curve["gains"][0]["metric"]
    lines = {}
    for method in dict.fromkeys(row["method"] for row in curve["rows"]):
        points = [row for row in curve["rows"] if (row["method"], row["metric"]) == (method, metric)]
        numbers = [[np.nan if row[name] is None else row[name] for row in points] for name in _DRAWN]
        lines[method] = Curve(*numbers)
    labels = {"x_label": "training bags", "y_label": METRICS[metric].title if metric in METRICS else metric}
    draw_curves(out / "learning_curve.png", {"": lines}, **labels)
    with tempfile.TemporaryDirectory() as folder:
        draw_curves(drawn := Path(folder) / "learning_curve.svg", {"": lines}, **labels)
        svg = drawn.read_text(encoding="utf-8")
    described = f"{labels['y_label']} by the number of training bags, mean over folds with its standard deviation, of"
    return Figure("Learning curve", svg, f"{described} {', '.join(lines)}")


def _left_out(curve: LearningCurve) -> str:
    if not curve.left_out:
        return ""
    shares = ", ".join(f"{share:.0%}" for share in curve.left_out)
    return f" Of {shares} of the training bags nothing is learnt, because a fold would have too few of a class."


def _smallest(found: Mapping[str, CrossValidation], test_share: float) -> list[dict[str, Any]]:
    rows = []
    for (first, one), (second, other) in combinations(found.items(), 2):
        metric = headline(one.target)
        try:
            least = smallest_difference(one.scores[metric], other.scores[metric], test_share=test_share)
        except BagwiseError:  # fewer than two folds define it for both
            continue
        rows.append({"first": first, "second": second, "metric": metric, "difference": least})
    return rows


def _smallest_told(smallest: Sequence[Mapping[str, Any]], bags: int) -> list[str]:
    if not smallest:
        return []
    metric = METRICS[smallest[0]["metric"]].title
    least, most = (f"{edge(row['difference'] for row in smallest):.3f}" for edge in (min, max))
    between = f"{least} to {most}, by the pair" if least != most else least
    return [
        f"The smallest difference in {metric} between two methods that these {bags:,} bags and folds would show, four"
        f" times in five at a level of 5 %, is {between}."
    ]


def _cohorts(method: str, found: CrossValidation, bags: Bags) -> list[dict[str, Any]]:
    """Say how large a cohort shows each metric within `HALF_WIDTH`, were it what was found here."""
    if found.target.kind != "classes":
        return []
    tested = np.flatnonzero(found.assignment[0] >= 0)
    labels, predicted = found.labels[tested], found.predicted[0, tested]
    groups = None if bags.groups is None else bags.groups[tested]

    def of_share(metric: str, of: NDArray[np.bool_]) -> dict[str, Any]:
        """Of those bags that a share is of there must be so many; of all bags more."""
        right = np.asarray(predicted[of] == labels[of], bool)
        likeness = likeness_in_share(right, None if groups is None else groups[of])
        counted = bags_for_share(float(right.mean()), HALF_WIDTH, likeness=likeness)
        whole = ceil(counted / of.mean())
        return {"method": method, "metric": metric, "expected": float(right.mean()), "bags": whole, "counted": counted}

    positive = None if found.positive is None else np.asarray(labels == found.positive, bool)
    if positive is None or positive.all() or not positive.any():
        return [of_share("accuracy", np.ones(len(labels), bool))]
    scores = found.answers[0, tested, np.asarray(found.target.names).tolist().index(found.positive)]
    area = max(0.5, float(auc_areas(positive, scores).areas[0]))
    size = bags_for_auc(area, float(positive.mean()), HALF_WIDTH, likeness=likeness_in_auc(positive, scores, groups))
    return [
        {"method": method, "metric": "auc", "expected": area, "bags": size, "counted": size},
        of_share("sensitivity", positive),
        of_share("specificity", ~positive),
    ]


def _cohorts_told(cohorts: Sequence[Mapping[str, Any]], *, grouped: bool) -> list[str]:
    told = []
    for method in dict.fromkeys(row["method"] for row in cohorts):
        needed = [
            f"{row['bags']:,} for {_CALLED.get(row['metric'], row['metric'])}"
            + (f" ({row['counted']:,} of them {_COUNTED[row['metric']]})" if row["metric"] in _COUNTED else "")
            for row in cohorts
            if row["method"] == method
        ]
        told.append(
            f"To measure {method} to ± {HALF_WIDTH} (95 % interval), were it as good as here, a validation cohort of"
            f" such bags{' in such groups' * grouped} must have {', '.join(needed)}."
        )
    return told
