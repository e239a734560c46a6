"""What every part of `reproduce trust` has: a promise of Bagwise's, held against what is true."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bagwise.experiments.options import Promises

__all__ = ["Found", "Part", "Question", "Row"]

Question = Mapping[str, Any]
Found = Mapping[str, Any]
Row = Mapping[str, Any]


def _nothing(_: Sequence[Row]) -> list[dict[str, Any]]:
    return []


class Part(NamedTuple):
    """One promise, and how it is measured.

    Attributes
    ----------
    name
        By which it is asked for; rows say it as their ``part``.
    title
        What is measured, as a heading.
    questions
        Gives the cells that are asked for; each says whose ``part`` finds its answer, so that parts can share cells,
        and in which ``setting``.
    answer
        Finds the answer to one, in a data directory: what a cell holds, with ``seconds``.
    of_setting
        Makes rows of the questions of one setting, and their answers.
    table
        Shows rows as Markdown.
    over_all
        Makes further rows of those of all settings, with a ``setting`` of their own.

    Examples
    --------
    >>> count = Part("count", "How many", lambda _: [], dict, lambda asked, _: [{"cells": len(asked)}], str)
    >>> count.rows([{"setting": "few"}, {"setting": "many"}, {"setting": "many"}], [{}, {}, {}])[1]
    {'part': 'count', 'setting': 'many', 'cells': 2}
    """

    name: str
    title: str
    questions: Callable[[Promises], Iterable[dict[str, Any]]]
    answer: Callable[[Question, Path | None], dict[str, Any]]
    of_setting: Callable[[Sequence[Question], Sequence[Found]], Sequence[Row]]
    table: Callable[[Sequence[Row]], str]
    over_all: Callable[[Sequence[Row]], Sequence[Row]] = _nothing

    def rows(self, asked: Sequence[Question], answers: Sequence[Found]) -> list[dict[str, Any]]:
        """Make rows of ``trust.json``, setting after setting.

        Parameters
        ----------
        asked, answers
            The questions, and what was found.

        Returns
        -------
        list of dict
        """
        pairs: dict[str, list[tuple[Question, Found]]] = {}
        for pair in zip(asked, answers, strict=True):
            pairs.setdefault(pair[0]["setting"], []).append(pair)
        found = [
            {"setting": setting, **row}
            for setting, own in pairs.items()
            for row in self.of_setting([one for one, _ in own], [one for _, one in own])
        ]
        return [{"part": self.name, **row} for row in (*found, *self.over_all(found))]
