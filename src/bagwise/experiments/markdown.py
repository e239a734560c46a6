"""Results as Markdown: tables, and numbers as papers print them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["intervals_table", "markdown_table", "means_table", "short", "signed", "table_of", "with_error"]


def markdown_table(heads: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Write a table.

    Parameters
    ----------
    heads
        Of the columns.
    rows
        As many cells each.

    Returns
    -------
    str
        Markdown, a line a row.

    Examples
    --------
    >>> print(markdown_table(["method", "AUC"], [["attention", ".97"]]))
    | method | AUC |
    |---|---|
    | attention | .97 |
    <BLANKLINE>
    """
    lines = [f"| {' | '.join(map(str, cells))} |\n" for cells in (heads, *rows)]
    lines.insert(1, "|---" * len(heads) + "|\n")
    return "".join(lines)


def table_of(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Callable[[Mapping[str, Any]], object]]) -> str:
    """Write a table with a line a row of results.

    Parameters
    ----------
    rows
        The results.
    columns
        What stands in each column of a row, by its head.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> print(table_of([{"auc": 0.97}], {"AUC": lambda row: short(row["auc"])}))
    | AUC |
    |---|
    | .970 |
    <BLANKLINE>
    """
    return markdown_table([*columns], [[cell(row) for cell in columns.values()] for row in rows])


def means_table(title: str, names: Sequence[str], means: Mapping[tuple[str, str], float | None]) -> str:
    """Write what names have on data sets, and their mean over these where they have all of them.

    Parameters
    ----------
    title
        What the numbers are.
    names
        In which order.
    means
        By name and data set; None where there is nothing to tell.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> print(means_table("AUC", ["attention"], {("attention", "fox"): 0.6, ("attention", "tiger"): 0.8}))
    | AUC | fox | tiger | mean |
    |---|---|---|---|
    | attention | .600 | .800 | .700 |
    <BLANKLINE>
    """
    datasets = list(dict.fromkeys(dataset for _, dataset in means))
    lines = []
    for name in names:
        found = [means.get((name, dataset)) for dataset in datasets]
        known = [value for value in found if value is not None]
        mean = float(np.mean(known)) if len(known) == len(datasets) else None
        lines.append([name, *map(short, [*found, mean])])
    return markdown_table([title, *datasets, "mean"], lines)


def intervals_table(title: str, rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """Write what all out-of-fold answers come to together, and how far that may be off.

    Parameters
    ----------
    title
        What the numbers are.
    rows
        Rows of results by what stands at the left and at the head; those that no `Pooled` was told in are left out,
        and so are columns without any.

    Returns
    -------
    str
        Markdown, empty where no row has an interval.

    Examples
    --------
    >>> row = {"pooled": 0.58, "pooled_low": 0.51, "pooled_high": 0.65}
    >>> print(intervals_table("pooled accuracy", {("attention", "fox"): row, ("attention", "tiger"): {}}))
    | pooled accuracy | fox |
    |---|---|
    | attention | .580 [.510, .650] |
    <BLANKLINE>
    >>> intervals_table("pooled accuracy", {("attention", "tiger"): {}})
    ''
    """
    known = {key: row for key, row in rows.items() if row.get("pooled_low") is not None}
    if not known:
        return ""
    heads, names = (list(dict.fromkeys(key[place] for key in known)) for place in (1, 0))
    told = {
        key: f"{short(row['pooled'])} [{short(row['pooled_low'])}, {short(row['pooled_high'])}]"
        for key, row in known.items()
    }
    lines = [[name, *(told.get((name, head), "-") for head in heads)] for name in names]
    return markdown_table([title, *(head.replace("_", " ") for head in heads)], lines)


def short(value: float | None, digits: int = 3) -> str:
    """Write a number without the 0 before the point.

    Parameters
    ----------
    value
        None where there is nothing to tell.
    digits
        Behind the point.

    Returns
    -------
    str

    Examples
    --------
    >>> short(0.9684), short(1.0), short(None)
    ('.968', '1.000', '-')
    """
    return "-" if value is None else f"{value:.{digits}f}".replace("0.", ".", 1)


def signed(value: float) -> str:
    """Write a difference.

    Parameters
    ----------
    value
        Positive or negative.

    Returns
    -------
    str

    Examples
    --------
    >>> signed(0.0123), signed(-0.25)
    ('+.012', '-.250')
    """
    return f"{value:+.3f}".replace("0.", ".", 1)


def with_error(value: float, error: float | None) -> str:
    r"""Write a mean and its standard error, which stay on one line.

    Parameters
    ----------
    value
        The mean.
    error
        None or NaN where it is the mean of a single value.

    Returns
    -------
    str

    Examples
    --------
    >>> with_error(0.9684, 0.0021).replace("\N{NO-BREAK SPACE}", " "), with_error(0.9684, None)
    ('.968 ± .002', '.968')
    """
    told = [short(value)] if error is None or np.isnan(error) else [short(value), "±", short(error)]
    return "\N{NO-BREAK SPACE}".join(told)
