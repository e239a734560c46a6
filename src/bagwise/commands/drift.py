"""`bagwise drift`: whether what a run says of later bags is spread as it was of earlier ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagwise.commands.predict import holds_predictions
from bagwise.errors import BagwiseError
from bagwise.inputs import check_regular, check_size
from bagwise.trust.drift import Shift, shifts
from bagwise.trust.holding import Held
from bagwise.trust.strangers import RARE

__all__ = ["run_drift"]

_NUMBERS = ("probability_", "value", "risk", "stranger")
_DECISIONS = ("predicted", "grade")
_SURELY = 0.05


def run_drift(first: Path, second: Path) -> dict[str, Any]:
    """Compare two tables that `bagwise predict` wrote.

    Parameters
    ----------
    first, second
        The earlier one, and the later one, by the same run.

    Returns
    -------
    dict
        ``bags`` of each and how many are ``in_both``; ``columns``, as `bagwise.trust.drift.Shift` has them;
        ``decisions`` and ``strangers``, shares with intervals; and ``told``, sentences.

    Raises
    ------
    BagwiseError
        If one is no such table, or they have other columns.
    """
    before, now = _read(first), _read(second)
    numbers = _columns(before, _NUMBERS)
    if numbers != _columns(now, _NUMBERS):
        raise BagwiseError(f"{first} and {second} have other columns of answers: give predictions of one run")
    if len([name for name in numbers if name.startswith("probability_")]) == 2 and "predicted" in before:
        numbers = numbers[1:]  # of two classes each says what the other does
    found = shifts({name: before[name] for name in numbers}, {name: now[name] for name in numbers})
    both = len(set(before["bag"]) & set(now["bag"]))
    return {
        "bags": [len(before), len(now)],
        "in_both": both,
        "columns": [one._asdict() for one in found],
        "decisions": [
            {"column": column, "decision": value, **_shares(before[column] == value, now[column] == value)}
            for column in _columns(before, _DECISIONS)
            for value in sorted({*before[column], *now[column]} - {""})  # of which nothing was decided
        ],
        "strangers": _shares(before["stranger"] <= RARE, now["stranger"] <= RARE) if "stranger" in numbers else None,
        "told": _told(found, both),
    }


def _read(path: Path) -> pd.DataFrame:
    check_size(path, check_regular(path))
    if not holds_predictions(path):
        raise BagwiseError(f"{path} holds no predictions: give a table that bagwise predict --out wrote")
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)  # a class may be called NA
        for column in _columns(frame, _NUMBERS):
            frame[column] = pd.to_numeric(frame[column]).astype(np.float64)
            if not np.isfinite(frame[column]).all():
                raise ValueError(f"column {column!r} holds what is no number")
        for column in ("bag", *_columns(frame, _DECISIONS)):
            frame[column] = frame[column].map(str, na_action="ignore").fillna("")
    except (OSError, ValueError, TypeError) as error:
        raise BagwiseError(f"{path} is damaged ({next(iter(str(error).splitlines()), '')}): predict again") from error
    if not len(frame):
        raise BagwiseError(f"{path} says nothing of any bag: predict some")
    for bag in frame["bag"][frame["bag"].duplicated()][:1]:
        raise BagwiseError(f"{path} tells of the bag {bag!r} twice, which would count twice: leave one of them")
    return frame


def _columns(frame: pd.DataFrame, kinds: tuple[str, ...]) -> list[str]:
    return [name for name in map(str, frame) if name.startswith(kinds)]


def _shares(first: pd.Series, second: pd.Series) -> dict[str, Any]:
    both = (Held.of(one.to_numpy(bool), None, None).told() for one in (first, second))
    return dict(zip(("first", "second"), both, strict=True))


def _told(found: Sequence[Shift], both: int) -> list[str]:
    moved = [f"{one.column} (p {one.corrected:.2g})" for one in found if one.corrected < _SURELY]
    told = [
        f"These have moved, by more than is to be expected of chance: {', '.join(moved)}. Whether answers are still"
        " right, bagwise validate says, of bags with labels."
        if moved
        else "Nothing has moved by more than is to be expected of chance, which a few bags could not show.",
        "P-values are Holm's, for all columns together, and take bags for independent.",
    ]
    return told + ([f"{both:,} bags are in both."] if both else [])
