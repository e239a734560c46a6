"""The pages about a run, an evaluation and an explanation: what was learnt from, how, and which instances count."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.commands.bag_views import bag_views, choose
from bagwise.commands.features import features_table
from bagwise.commands.known import Known
from bagwise.commands.relying_report import measured_held_out, reliance_facts, reliance_tables
from bagwise.commands.report_facts import data_facts, model_facts
from bagwise.commands.report_tables import measured_tables, spread_told, title_of
from bagwise.commands.verdicts import verdicts_of, verdicts_of_known
from bagwise.commands.within import in_columns
from bagwise.evaluation.metrics import METRICS, measure
from bagwise.evaluation.summary import divided_told
from bagwise.explain import Explanation, columns_of, evidence_in_one, explain, weights_in_one
from bagwise.methods.asked import Asked, common_target
from bagwise.reports import Figure, Metric, Report, Table
from bagwise.targets.contract import Target

if TYPE_CHECKING:
    from bagwise.evaluation.cross_validation import CrossValidation
    from bagwise.trust.reliance import Reliance

__all__ = ["evaluation_report", "explanation_report", "training_report"]

_PROTOCOLS = {
    "default": " with as much of each class; bags have no groups",
    "grouped": " with as much of each class; no group on both sides of a split",
    "leave-one-group-out": ": each group is tested by what was learnt from all others",
    "expanding-windows": ": bags are tested by what was learnt from earlier ones",
    "given": ", as they were given",
}
_HEADLINES = {"auc": "How well the bags of a fold are ranked.", "accuracy": "Share predicted rightly."}
_LEARNT = {
    "auc": "How well the bags learnt from are ranked; new bags will do worse.",
    "accuracy": "Share of the bags learnt from that are predicted rightly.",
}
_HEADLINES_OF_KNOWN = {"auc": "How well bags are ranked.", "accuracy": "Share predicted rightly."}
_NO_INSTANCES = "This method looks at whole bags and says nothing of single instances."
_NO_WEIGHTS = "This method has no weights of instances: the page shows each instance's share of the scores."
_LEFT_OUT = (
    "This method looks at whole bags: what the page shows of an instance is by how much the answer falls without it, as"
    " a share."
)


def training_report(
    models: Sequence[Asked],
    bags: Bags,
    answers: NDArray[np.floating],
    metrics: Mapping[str, Any],
    data: str,
    epochs_were: str | None,
    weight: str | None = None,
    relied: "Reliance | None" = None,
) -> Report:
    """Put together what the page of a run says.

    Parameters
    ----------
    models
        The members.
    bags
        The bags learnt from, with labels.
    answers
        What the models say of them, shape (B, A).
    metrics
        As ``metrics.json`` has them.
    data
        What the user calls the data.
    epochs_were
        How the number of epochs came about; None of a method that has none.
    weight
        The column that says how much bags count; None: all count the same.
    relied
        What was learnt from bags held out; the answers are told by it. None where nothing was.

    Returns
    -------
    Report
    """
    model = models[0]
    assert bags.labels is not None
    target = common_target(models) if relied is None else relied.deciding()
    verdicts = verdicts_of(target, bags.labels, answers)
    chosen = choose(verdicts)
    shown = bags[chosen]
    found = explain(models, shown) if model.SCORES_INSTANCES else None
    notes = [
        "The bags on this page were learnt from, so its predictions are better than those for new bags will be;"
        " bagwise evaluate measures how good these are."
    ]
    if weight is not None:
        notes.append(f"Column {weight!r} says how much each bag counted, in learning and in the measures.")
    if found is None:
        notes.append(_NO_INSTANCES)
    else:
        notes += _unweighed(found)
    return Report(
        title=f"{data}: what decided",
        summary=f"{_counted(bags)} were learnt from.",
        metrics=[
            *_held_out(relied, _headlines(target)),
            *(
                Metric(
                    f"Training {title_of(metric)}",
                    _number(metrics[f"training_{metric}"]),
                    _LEARNT.get(metric) or f"{METRICS[metric].what} Of the bags learnt from; new bags will do worse.",
                )
                for metric in _headlines(target)
            ),
        ],
        tables=[] if relied is None else reliance_tables(relied, bags.labels),
        data=data_facts(bags, target),
        facts=[
            *model_facts(models, epochs_were),
            *([] if relied is None else reliance_facts(relied)),
            ("Time", f"{metrics['seconds']:.0f} s"),
        ],
        history=getattr(model, "history_", ()),
        bags=bag_views(
            shown,
            *verdicts.take(chosen)[:3],
            None if found is None else found.importance,
            columns={} if found is None else in_columns(shown, found.importance, models),
            evidence=None if found is None else found.evidence(shown),
        ),
        notes=notes + _left_out(shown, bags),
    )


def evaluation_report(
    found: Mapping[str, "CrossValidation"],
    bags: Bags,
    results: Mapping[str, Any],
    figures: Sequence[Figure],
    data: str,
    more_tables: Sequence[Table] = (),
) -> Report:
    """Put together what the page of an evaluation says.

    Parameters
    ----------
    found
        Of each method, what its cross-validation found.
    bags
        The bags, with labels.
    results
        As ``results.json`` has them.
    figures
        Of the out-of-fold predictions.
    data
        What the user calls the data.
    more_tables
        Of the out-of-fold predictions, beside the one of how good the methods are.

    Returns
    -------
    Report
        Its bags are those of the first method that has weights of instances, else of the first.
    """
    asked = results["asked"]
    several = results["rows"][0]["repeats"] > 1
    weighing = [name for name, one in found.items() if one.attention is not None]
    shown_method = [*weighing, *found][0]
    one = found[shown_method]
    tested = np.flatnonzero((one.assignment >= 0).any(axis=0))
    repeat = (one.assignment[:, tested] >= 0).argmax(axis=0)  # the first that tests it
    answers = one.answers[repeat, tested]
    decided = None if one.decided is None else one.decided[repeat, tested]
    verdicts = verdicts_of(one.target, one.labels[tested], answers, decided)
    chosen = choose(verdicts)
    shown = bags[tested[chosen]]
    weights = evidence = None
    columns = one.target.chosen(answers[chosen], None if decided is None else decided[chosen])
    rows = np.repeat(repeat[chosen], shown.sizes), bags.rows(tested[chosen])
    if one.contributions is not None:
        evidence = evidence_in_one(one.contributions[rows], one.target, columns, shown.sizes)
    if one.attention is not None:
        given = one.attention[rows]
        axis = columns_of(given, one.weight_axis, one.target.kind, answers)
        weights = np.abs(weights_in_one(given, axis, columns, shown.sizes))
    by_cell = {(row["method"], row["metric"]): row for row in results["rows"]}
    seconds = {row["method"]: f"{row['seconds']:,.0f}" for row in results["rows"]}
    of = "of the first repetition " if several else ""
    notes = [
        f"The bags on this page are judged by {shown_method}, each by the model {of}that did not learn from it: its"
        " prediction and what is said of its instances are out-of-fold. Models of different folds are different models."
    ]
    if one.sample_weight is not None:
        notes.append(
            f"Column {asked['data']['weight']!r} says how much each bag counted, in learning and in the measures; in"
            " figures all count the same."
        )
    if len(one.untested):
        notes.append(f"{len(one.untested):,} of the {len(bags):,} bags are in no test, so nothing is said of them.")
    if results["baselines"]:
        notes += [f"{name} is not measured beside: {why}." for name, why in results["baselines"]["left_out"].items()]
    return Report(
        title=f"{data}: how good predictions are",
        summary=f"{_counted(bags)}, "
        + ("each" if len(tested) == len(bags) else f"{len(tested):,} of them")
        + " predicted by models that did not learn from it.",
        metrics=[
            Metric(
                f"{title_of(metric)}, {shown_method}",
                _number(by_cell[shown_method, metric]["mean"]),
                f"{_HEADLINES.get(metric) or METRICS[metric].what} {spread_told(by_cell[shown_method, metric])}",
            )
            for metric in _headlines(one.target)
        ],
        tables=[*measured_tables(results, grouped=one.groups is not None), *more_tables],
        figures=figures,
        data=data_facts(bags, one.target),
        facts=[
            (
                "Protocol",
                divided_told(results["rows"][0]) + _PROTOCOLS.get(one.protocol, f", divided by {one.protocol}"),
            ),
            ("Learnt in each fold", "Weights, scaler and class weights, from the training bags of the fold alone"),
            ("Class weights", asked["class_weight"] or ("balanced" if one.target.kind == "classes" else "none")),
            *([("Epochs", results["epochs_were"])] if results["epochs_were"] else []),
            ("Seed", str(asked["seed"])),
            ("Time", ", ".join(f"{name}: {seconds[name]} s" for name in found)),
        ],
        history=[],
        bags=bag_views(
            shown,
            *verdicts.take(chosen)[:3],
            weights,
            columns={} if weights is None else in_columns(shown, weights),
            evidence=evidence,
        ),
        notes=notes + _left_out(shown, bags),
    )


def explanation_report(
    models: Sequence[Asked],
    bags: Bags,
    known: Known,
    found: Explanation,
    features: pd.DataFrame | None,
    data: str,
    run: str,
) -> Report:
    """Put together what the page of an explanation says.

    Parameters
    ----------
    models
        The members of the run.
    bags
        The bags explained.
    known
        The labels that are known of the bags.
    found
        What the models say of them.
    features
        As `bagwise.explain.contrast` gives them; None where instances are no vectors.
    data
        What the user calls the data.
    run
        What the user calls the run.

    Returns
    -------
    Report
    """
    verdicts = verdicts_of_known(found.target, known.bags, known.labels, found.answers)
    chosen = choose(verdicts)
    shown, unknown = bags[chosen], len(bags) - len(known.bags)
    rows, evidence = bags.rows(chosen), found.evidence(bags)
    importance = found.importance[rows]
    columns = in_columns(shown, importance, models, () if features is None else features["feature"].tolist())
    notes = ["If the run learnt from some of these bags, its predictions for those are better than for new ones."]
    if equal := int(found.equal(bags).sum()):
        notes.append(f"In {equal:,} of the {len(bags):,} bags all instances count the same: none is a key instance.")
    if unknown:
        notes.append(f"The label is not known here of {unknown:,} of the {len(bags):,} bags.")
    return Report(
        title=f"{data}: what decided",
        summary=f"{_counted(bags)}, judged by the run {run}.",
        metrics=_judged(known, found) if len(known.bags) else [],
        tables=[] if features is None else [features_table(features)],
        data=data_facts(bags, found.target),
        facts=model_facts(models),
        history=getattr(models[0], "history_", ()),
        bags=bag_views(
            shown,
            *verdicts.take(chosen)[:3],
            importance,
            columns=columns,
            evidence=None if evidence is None else evidence[rows],
        ),
        notes=[*notes, *_unweighed(found), *_left_out(shown, bags)],
    )


def _headlines(target: Target) -> tuple[str, ...]:
    """Name the two metrics, or the one, with which a page begins."""
    return ("auc", "accuracy") if target.kind == "classes" else target.metrics[:2]


def _judged(known: Known, found: Explanation) -> list[Metric]:
    answers, headlines = found.answers[known.bags], _headlines(found.target)
    measured = measure(found.target, known.labels, answers, scoring=headlines, weights=known.weights)
    weighed = "" if known.weights is None else ", each counted by its weight"
    of = f"Of the {len(known.bags):,} bags whose label is known{weighed}."
    return [
        Metric(title_of(metric), value, f"{_HEADLINES_OF_KNOWN.get(metric) or METRICS[metric].what} {of}")
        for metric, value in measured.items()
    ]


def _held_out(relied: "Reliance | None", headlines: Sequence[str]) -> list[Metric]:
    """Put first what can be expected of new bags, where training bags were held out."""
    if relied is None or relied.kept is None:
        return []
    return [
        Metric(
            f"{title_of(metric)}, held out",
            one.value,
            _HEADLINES_OF_KNOWN.get(metric, METRICS[metric].what)
            + " By models that did not learn from the bag"
            + ("." if one.interval is None else f"; 95 % interval {one.interval}."),
        )
        for metric, one in measured_held_out(relied, relied.kept, headlines).items()
    ]


def _counted(bags: Bags) -> str:
    return f"{len(bags):,} bags with {len(bags.instances):,} instances"


def _unweighed(found: Explanation) -> list[str]:
    return [] if found.weights is not None else [_NO_WEIGHTS if found.alone else _LEFT_OUT]


def _left_out(shown: Bags, bags: Bags) -> list[str]:
    return [f"The page shows {len(shown)} of the {len(bags):,} bags."] if len(shown) < len(bags) else []


def _number(value: float | None) -> float:
    return np.nan if value is None else value
