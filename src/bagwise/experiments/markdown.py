"""Results as Markdown: tables, and numbers as papers print them."""

from collections.abc import Sequence

import numpy as np

__all__ = ["markdown_table", "short", "signed", "with_error"]


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
