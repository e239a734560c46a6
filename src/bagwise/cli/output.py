"""How a command tells its results and its troubles: as tables and sentences for people, or as JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from bagwise.cli.streams import discard
from bagwise.text import printable

__all__ = ["MOST_ROWS", "print_json", "print_line", "print_positive", "print_table", "say", "told"]

MOST_ROWS = 50


def told(value: Any) -> str:
    """Say a value as a cell of a table.

    Parameters
    ----------
    value
        Numbers, text, None, or a list or a mapping of them.

    Returns
    -------
    str

    Examples
    --------
    >>> told(0.12345), told(12345), told(None), told(["a", "b"])
    ('0.123', '12,345', '-', 'a, b')
    """
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value is None else str(value)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output.

    Parameters
    ----------
    title
        The line above it.
    columns
        Their names.
    rows
        Of cells.
    """
    table = Table()
    for number, name in enumerate(columns):
        justify: Literal["left", "right"] = "right" if number and number == len(columns) - 1 else "left"
        table.add_column(
            printable(name), justify=justify, overflow="fold"
        )  # nothing is cut: what is long goes on below
    for row in rows:
        table.add_row(*map(printable, row))
    print_line(title)  # a table's own title breaks at its width
    Console(markup=False, emoji=False).print(table)


def print_line(text: str) -> None:
    """Print a line on standard output.

    Parameters
    ----------
    text
        What it says.
    """
    print(printable(text))


def print_positive(positive: object, *, to_be_named: bool = False) -> None:
    """Say which of two classes is positive.

    Parameters
    ----------
    positive
        That class; None where there is none.
    to_be_named
        Whether it can still be chosen, which is said.
    """
    if positive is not None:
        from bagwise.classes import ASSUMPTION

        cure = "; --positive names another" if to_be_named else ""
        print_line(f"The positive class is {positive}: {ASSUMPTION}{cure}.")


def print_json(content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print JSON on standard output, on one line of ASCII.

    Parameters
    ----------
    content
        What JSON can hold; other things are printed as text.
    """
    # Of ASCII, json leaves one control character as it is.
    print(json.dumps(content, default=str).replace("\x7f", "\\u007f"))


def say(sentence: str) -> None:
    """Say something on standard error; where that takes nothing, it is lost.

    Parameters
    ----------
    sentence
        What to say.
    """
    try:
        print(f"bagwise: {printable(sentence)}", file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)
