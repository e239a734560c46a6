"""How a command tells its results: as tables for people, or as JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import typer
from rich.console import Console
from rich.table import Table

__all__ = ["MOST_ROWS", "print_json", "print_table", "told"]

MOST_ROWS = 50


def told(value: Any) -> str:
    """Say a value as a cell of a table.

    Parameters
    ----------
    value
        Numbers, text, None, or a list of them.

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
        table.add_column(name, justify=justify, overflow="fold")  # nothing is cut: what is long goes on below
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(title, markup=False, highlight=False, soft_wrap=True)  # a table's own title breaks at its width
    console.print(table, markup=False)


def print_json(content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print JSON on standard output, on one line.

    Parameters
    ----------
    content
        What JSON can hold; other things are printed as text.
    """
    typer.echo(json.dumps(content, default=str))
