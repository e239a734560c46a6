"""The tables of an evaluation: means over folds, all answers together, and whether methods differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from bagwise.evaluation.metrics import METRICS
from bagwise.evaluation.pooled import RANKS
from bagwise.evaluation.summary import folds_told
from bagwise.reports import Table

__all__ = ["measured_tables", "spread_told", "title_of"]

_UNDEFINED = " A fold without test bags of a class leaves some measures undefined; means are of the other folds."


def measured_tables(results: Mapping[str, Any], *, grouped: bool) -> list[Table]:
    """Show what was measured.

    Parameters
    ----------
    results
        As ``results.json`` has them.
    grouped
        Whether bags have groups.

    Returns
    -------
    list of Table
    """
    rows = results["rows"]
    tables = [_means(rows), _pooled(rows, grouped=grouped)]
    if results["differences"]:
        tables.append(_differences(results["differences"], list(dict.fromkeys(row["metric"] for row in rows))))
    if results["baselines"]:
        tables += _against(results["baselines"]["verdicts"])
    return tables


def spread_told(row: Mapping[str, Any]) -> str:
    """Say how far a mean may be off: its spread over folds, and the interval of all answers together.

    Parameters
    ----------
    row
        Of ``results.json``.

    Returns
    -------
    str
    """
    interval = ""
    if row["pooled_low"] is not None:
        interval = f"95 % interval {_said(row['pooled_low'])} to {_said(row['pooled_high'])}."
    if _one_test(row):
        return f"One model, tested once. {interval}".strip()
    text = f"Mean of folds, SD {_said(row['sd_folds'])}" + (f", of {folds_told(row)}" if folds_told(row) else "")
    if row["se_repeats"] is not None:
        text += f", SE over repetitions {_said(row['se_repeats'])}"
    return f"{text}. Pooled {_said(row['pooled'])}, {interval}" if interval else f"{text}."


def title_of(metric: str) -> str:
    """Give the name of a metric as tables show it.

    Parameters
    ----------
    metric
        Its name, or what the user calls a function.

    Returns
    -------
    str
    """
    return METRICS[metric].title if metric in METRICS else metric


def _means(rows: Sequence[Mapping[str, Any]]) -> Table:
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        cells.setdefault(row["method"], {})[row["metric"]] = _with_spread(row)
    seconds = {row["method"]: f"{row['seconds']:,.0f}" for row in rows}
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    return Table(
        "How good the methods are",
        ["Method", *map(title_of, metrics), "Seconds"],
        [[method, *(of[metric] for metric in metrics), seconds[method]] for method, of in cells.items()],
        "Mean over folds ± standard deviation over folds, each fold by its own model"
        + (" (standard error of the mean over repetitions)." if rows[0]["repeats"] > 1 else ".")
        + (_UNDEFINED if any(folds_told(row) for row in rows) else ""),
    )


def _one_test(row: Mapping[str, Any]) -> bool:
    return bool(row["folds"] * row["repeats"] == 1)


def _said(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else f"{value:{form}}"


def _with_spread(row: Mapping[str, Any]) -> str:
    if row["mean"] is None:
        return "–"
    text = f"{_said(row['mean'])} ± {_said(row['sd_folds'])}"
    text = text if row["se_repeats"] is None else f"{text} ({_said(row['se_repeats'])})"
    return f"{text}, {folds_told(row)}" if folds_told(row) else text


def _pooled(rows: Sequence[Mapping[str, Any]], *, grouped: bool) -> Table:
    """Show metrics of all answers together, and say what is different about them."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        ends = "" if row["pooled_low"] is None else f" [{_said(row['pooled_low'])}, {_said(row['pooled_high'])}]"
        cells.setdefault(row["method"], {})[row["metric"]] = f"{_said(row['pooled'])}{ends}"
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    told = ["95 % intervals by the luck of the bags" + (", of a group together." if grouped else ".")]
    if _one_test(rows[0]):
        told.append("They are those of one model on one test: models that learn anew differ, too.")
    else:
        told.append("Models that learn anew differ, too: how much, the spread over folds and repetitions shows.")
        ranks = [title_of(metric) for metric in metrics if metric in RANKS]
        if ranks:
            told.append(
                f"What ranks bags ({', '.join(ranks)}) also compares bags of different folds here, by what different"
                " models say of them, whose scales may differ."
            )
    told += [f"Of the intervals: {one}." for one in dict.fromkeys(row["pooled_warning"] for row in rows) if one]
    return Table(
        "One test" if _one_test(rows[0]) else "Pooled: the answers of all folds together",
        ["Method", *map(title_of, metrics)],
        [[method, *(of.get(metric, "–") for metric in metrics)] for method, of in cells.items()],
        " ".join(told),
    )


def _differences(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> Table:
    pairs: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        cell = f"{_said(row['difference'], '+.3f')}, p {_said(row['p_value'])}"
        pairs.setdefault((row["first"], row["second"]), {})[row["metric"]] = cell
    return Table(
        "Whether the methods differ",
        ["First less second", *map(title_of, metrics)],
        [
            [f"{first} less {second}", *(cells.get(metric, "–") for metric in metrics)]
            for (first, second), cells in pairs.items()
        ],
        (
            "The difference of two models on one test, and the p-value of DeLong's test."
            if rows[0].get("test") == "DeLong"
            else "Mean difference over the same folds, and the p-value of the corrected resampled t-test (Nadeau and"
            " Bengio)."
        )
        + " The p-values are not corrected for how many there are.",
    )


def _against(verdicts: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Say whether methods are better than simple ones."""
    if not verdicts:
        return []
    return [
        Table(
            "Whether the methods are better than baselines",
            ["Method", "Baseline", f"{title_of(verdicts[0]['metric'])}, difference", "95 % interval", "p"],
            [
                [
                    *(row["method"], row["baseline"], _said(row["difference"], "+.3f")),
                    f"{_said(row['low'], '+.3f')} to {_said(row['high'], '+.3f')}",
                    _said(row["p_value"]),
                ]
                for row in verdicts
            ],
            " ".join(row["told"] for row in verdicts),
        )
    ]
