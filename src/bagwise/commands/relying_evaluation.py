"""What aims and calibration come to on bags that nobody chose by: both are learnt within each fold's training bags."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bagwise.bags import Bags
from bagwise.commands.options import Trust
from bagwise.commands.relying import Relying, times_of
from bagwise.errors import BagwiseError
from bagwise.evaluation.cross_validation import CrossValidation, gathered
from bagwise.evaluation.out_of_fold import Said
from bagwise.evaluation.protocol import Division
from bagwise.methods.base import BagEstimator
from bagwise.reports.view import Table
from bagwise.targets.classes import ClassTarget
from bagwise.trust.aims import Aim, Operating, decision_curve, operating_at
from bagwise.trust.calibrating import CALIBRATED, too_few
from bagwise.trust.held_out import divided, hold_out_parts
from bagwise.trust.reliance import Reliance

__all__ = ["aim_tables", "aims_found", "relied_upon"]

_ODDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of a decision curve


def relied_upon(
    found: CrossValidation,
    model: BagEstimator,
    bags: Bags,
    division: Division,
    trust: Trust,
    *,
    seed: int = 0,
    n_jobs: int | None = -1,
    checkpoints: Path | None = None,
    verbose: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> CrossValidation:
    """Calibrate and decide as `bagwise fit` would with the training bags of each fold.

    Parameters
    ----------
    found
        What models said of the bags that they did not learn from.
    model
        How they learnt.
    bags, division
        The bags, and the folds.
    trust
        What was asked for.
    seed
        Decides how training bags are divided again.
    n_jobs, checkpoints, verbose
        As in `bagwise.cross_validate`.
    tell
        Is told, before it begins, what it costs.

    Returns
    -------
    CrossValidation
        The same where nothing was asked for. Else with calibrated answers, and what is decided and measured by them.

    Raises
    ------
    BagwiseError
        If what was asked for cannot be in a fold.
    """
    relying = Relying(trust)
    if not relying.in_folds:
        return found
    splits, weights = division.splits, found.sample_weight
    parts = [split.train for split in splits]
    held_out: Sequence[Any] = [None] * len(splits)
    if relying.holds_out:
        inner = divided(bags[parts[0]], model.target, seed=seed)
        times = times_of(model, bags, parts[0], inner)
        tell(
            f"What is aimed at is learnt within each fold by {len(inner)} further models: about {times:.1f} times the"
            " work of the evaluation without."
        )
        held_out = hold_out_parts(
            model,
            bags,
            parts,
            validations=[split.validation if len(split.validation) else None for split in splits],
            sample_weight=weights,
            seed=seed,
            n_jobs=n_jobs,
            checkpoints=checkpoints,
            verbose=verbose,
        )
    said = []
    for split, one in zip(splits, held_out, strict=True):
        target = found.target
        if isinstance(target, ClassTarget) and found.thresholds is not None:
            target = target.deciding(found.thresholds[split.repeat][split.fold])
        counted = None if weights is None else weights[split.train]
        labels = found.labels[split.train]
        counts = slice(None) if counted is None else counted > 0
        few = target.kind not in CALIBRATED or too_few(target, target.encoded(labels[counts])) is not None
        try:
            if one is not None and one.target != target:
                raise BagwiseError("its training bags have not all classes, and --calibrate and aims need them")
            relied = Reliance.of(
                target,
                labels,
                weights=counted,
                held_out=one,
                calibrate=relying.calibrates and not few,
                aim=relying.aim,
            )
        except BagwiseError as error:
            raise BagwiseError(f"{division.called(split)}: {error}") from error
        answers = relied.answers(found.answers[split.repeat, split.test])
        decides = relied.deciding()
        threshold = getattr(decides, "threshold", None)
        decided = None if threshold is None else decides.predicted(answers)
        said.append(Said(target.names, answers, None, decided=decided, threshold=threshold))
    told = gathered(division, bags, found.target, said, scoring=list(found.scores), sample_weight=found.sample_weight)
    of_instances = {name: getattr(found, name) for name in ("attention", "weight_axis", "contributions")}
    return replace(told, **of_instances, protocol=found.protocol)


def aims_found(found: Mapping[str, CrossValidation], trust: Trust) -> dict[str, Any] | None:
    """Say what an aim comes to on the bags that nobody chose by.

    Parameters
    ----------
    found
        Of each method, what its cross-validation found, as `relied_upon` gives it.
    trust
        What was asked for.

    Returns
    -------
    dict
        ``aim``, and ``methods``: of each method, a list a repetition, the ``lowest`` and ``highest`` threshold of its
        folds, what they do to all bags that were tested (`bagwise.trust.aims.Operating`), the ``cost`` of a bag where
        costs are asked for, and the ``decision_curve``. None where there is no aim.
    """
    aim = Relying(trust).aim
    if aim is None:
        return None
    return {"aim": aim.told, "methods": {name: _of_method(one, aim) for name, one in found.items()}}


def _of_method(one: CrossValidation, aim: Aim) -> list[dict[str, Any]]:
    assert isinstance(one.target, ClassTarget)
    column = one.target.classes.column
    assert column is not None
    rows = []
    for repeat, folds in enumerate(one.assignment):
        tested = folds >= 0
        weights = None if one.sample_weight is None else one.sample_weight[tested]
        positive = one.labels[tested] == one.positive
        done: Operating = operating_at(positive, one.predicted[repeat, tested] == one.positive, weights=weights)
        numbers = {name: None if np.isnan(value) else value for name, value in done._asdict().items()}
        del numbers["threshold"]
        cuts = [0.5 if cut is None else cut for cut in (one.thresholds or [[None]] * (repeat + 1))[repeat]]
        share = float(np.average(positive, weights=weights))
        curve = decision_curve(positive, one.answers[repeat, tested, column], np.array(_ODDS), weights)
        rows.append(
            {
                "lowest": min(cuts),
                "highest": max(cuts),
                **numbers,
                **({"cost": done.cost(aim, share)} if aim.kind == "cost" else {}),
                "decision_curve": {
                    "thresholds": list(_ODDS),
                    **{name: values.tolist() for name, values in curve.items()},
                },
            }
        )
    return rows


def aim_tables(aims: Mapping[str, Any]) -> list[Table]:
    """Show what `aims_found` says, of the first repetition.

    Parameters
    ----------
    aims
        As `aims_found` gives it.

    Returns
    -------
    list of Table
    """
    first = {name: repeats[0] for name, repeats in aims["methods"].items()}
    costs = "cost" in next(iter(first.values()))
    titles = {
        "sensitivity": "Sensitivity",
        "specificity": "Specificity",
        "precision": "Precision",
        "negative_value": "Negative value",
        "called_positive": "Called positive",
        **({"cost": "Cost of a bag"} if costs else {}),
    }

    def said(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    does = Table(
        f"What the threshold does to bags that nobody chose by ({aims['aim']})",
        ["Method", "Thresholds", *titles.values()],
        [
            [name, f"{one['lowest']:.3f} to {one['highest']:.3f}", *(said(one[measure]) for measure in titles)]
            for name, one in first.items()
        ],
        "Each fold's threshold was chosen within its training bags; the numbers are of all tested bags together, of the"
        " first repetition.",
    )
    curves = {name: one["decision_curve"] for name, one in first.items()}
    everything = next(iter(curves.values()))
    curve = Table(
        "Decision curve: net benefit",
        ["Threshold", *curves, "Call all positive"],
        [
            [
                f"{cut:.2f}",
                *(f"{one['model'][place]:.3f}" for one in curves.values()),
                f"{everything['all'][place]:.3f}",
            ]
            for place, cut in enumerate(everything["thresholds"])
        ],
        "True positives a bag, less false ones times the odds of the threshold (Vickers and Elkin): for whoever takes"
        " so many false alarms for one positive bag found. Calling none positive has 0.",
    )
    return [does, curve]
