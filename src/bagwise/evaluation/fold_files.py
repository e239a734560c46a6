"""Folds in files: read as users, challenges and CLAM keep them, and told so that they can be given again."""

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.evaluation.divisions import in_rounds, warn_of_groups
from bagwise.evaluation.protocol import Division, Split, splits_of
from bagwise.io.columns import Table
from bagwise.io.listing import natural
from bagwise.io.problems import some

__all__ = ["PARTS", "folds_table", "part_named", "read_folds"]

PARTS = ("train", "test", "val")
_SPELLINGS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
}
_CLAM = re.compile(r"splits_\d+\.csv")


def read_folds(path: str | Path, bags: Bags) -> Division:
    r"""Read folds from a table, or from CLAM's.

    Parameters
    ----------
    path
        A table of any kind that `bagwise.read_table` takes, in one of two layouts:

        - ``bag,fold[,repeat]``, a row a bag and repetition: the fold that tests the bag, a whole number, or -1 for a
          bag that is never tested. With a fourth column ``part`` (train, val or test) a row says what the bag is in
          that fold, and what is not listed takes no part in it;
        - ``train,val,test``, CLAM's: lists of bags, of which ``val`` may be missing.

        Or a folder with CLAM's ``splits_0.csv``, ``splits_1.csv``, ..., a fold each.
    bags
        The bags.

    Returns
    -------
    Division

    Raises
    ------
    BagwiseError
        If a file cannot be read, has neither layout, or has a bag that is not in the data or the same one twice; if a
        bag has no fold, or one that is no number; or if the folds will not do, as `Division` says.

    Warns
    -----
    BagwiseWarning
        If a group is on both sides, or bags are in no part of any fold.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "folds.csv"
    >>> _ = path.write_text("bag,fold\nb,0\na,1\n")
    >>> read_folds(path, Bags.from_arrays([[[0.0]]] * 2, names=["a", "b"])).assignment.tolist()
    [[1, 0]]
    """
    path = Path(path)
    if path.is_dir():
        files = sorted((file for file in path.iterdir() if _CLAM.fullmatch(file.name)), key=natural)
        if not files:
            raise BagwiseError(f"{path} holds no splits_0.csv, splits_1.csv, ...: give the folder that has them")
        splits = in_rounds([_listed(file, bags) for file in files])
    elif not path.exists():
        raise BagwiseError(f"there is no file {path} to read folds from: check the path, or give a number, or 'group'")
    else:
        header = Table.read(path, only=[]).header
        splits = [_listed(path, bags)] if "fold" not in header and "train" in header else _numbered(path, header, bags)
    try:
        division = Division(bags, splits)
    except BagwiseError as error:
        raise BagwiseError(f"{path}: {error}") from None
    warn_of_groups(division, bags)
    part = np.zeros(len(bags), bool)
    for split in division.splits:
        part[np.concatenate(split[2:])] = True
    if not part.all():
        out = bags.names[~part].tolist()
        told = "1 bag is" if len(out) == 1 else f"{len(out):,} bags are"
        warnings.warn(f"{path}: {told} in no fold and left out ({some(out)})", BagwiseWarning, stacklevel=2)
    return division


def folds_table(division: Division, bags: Bags) -> pd.DataFrame:
    """Tell a division, so that `read_folds` gives it back.

    Parameters
    ----------
    division
        The division.
    bags
        Its bags.

    Returns
    -------
    DataFrame
        ``bag, fold, repeat`` where every fold learns from all bags that it does not test, with -1 where a repetition
        does not test a bag; else a row for each bag that takes part in a fold, with a column ``part``.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]]] * 3, names=["a", "b", "c"])
    >>> folds_table(Division(bags, splits_of(np.array([[0, 1, -1]]))), bags).to_csv(index=False).split()
    ['bag,fold,repeat', 'a,0,0', 'b,1,0', 'c,-1,0']
    """
    if division.is_complementary:
        repeats = np.repeat(np.arange(division.repeats), len(bags))
        names = np.tile(bags.names, division.repeats)
        return pd.DataFrame({"bag": names, "fold": division.assignment.ravel(), "repeat": repeats})
    rows: list[pd.DataFrame] = []
    for split in division.splits:
        for part, positions in zip(PARTS, split[2:], strict=True):
            named = {"bag": bags.names[positions], "fold": split.fold, "repeat": split.repeat, "part": part}
            rows.append(pd.DataFrame(named))
    return pd.concat(rows)


def part_named(text: str) -> str | None:
    """Say which part of a division a word means.

    Parameters
    ----------
    text
        As it is written.

    Returns
    -------
    str or None
        One of `PARTS`.

    Examples
    --------
    >>> part_named("Validation"), part_named("fold 3")
    ('val', None)
    """
    return _SPELLINGS.get(text.strip().lower())


class _Rows:
    """A table whose rows are about bags."""

    def __init__(self, path: Path, columns: Sequence[str], bags: Bags) -> None:
        self.table = Table.read(path, columns, columns)
        self.table.check_columns(columns)
        self.texts = {name: self.table.names(name) for name in columns}
        self.place = {name: place for place, name in enumerate(bags.names)}

    def bag(self, column: str, row: int) -> int | None:
        """Give the position of a bag; None where nothing stands there."""
        name = self.texts[column].value(row)
        if name is not None and name not in self.place:
            raise self.wrong(row, f"bag {name!r} is not in the data: take it out, or give the data that have it")
        return None if name is None else self.place[name]

    def number(self, column: str, row: int, least: int, told: str) -> int:
        text = self.texts[column].value(row)
        if text is None:
            raise self.wrong(row, f"there is no {column}: {told}")
        if not re.fullmatch(r"-?\d{1,9}(\.0*)?", text) or int(float(text)) < least:
            raise self.wrong(row, f"the {column} is {text!r}: {told}")
        return int(float(text))

    def wrong(self, row: int, sentence: str) -> BagwiseError:
        return BagwiseError(f"{self.table.path}: in row {self.table.row(row)} {sentence}")


def _listed(path: Path, bags: Bags) -> Split:
    """Read CLAM's layout."""
    header = Table.read(path, only=[]).header
    columns = [name for name in PARTS if name in header or name != "val"]
    rows = _Rows(path, columns, bags)
    parts: dict[str, dict[int, int]] = {name: {} for name in PARTS}
    for name in columns:
        for row in range(len(rows.table)):
            place = rows.bag(name, row)
            if place is not None:
                if place in parts[name]:
                    raise rows.wrong(
                        row, f"bag {bags.names[place]!r} is listed a second time in {name!r}: once will do"
                    )
                parts[name][place] = row
    return Split(0, 0, *(np.array(list(parts[name]), dtype=np.int64) for name in PARTS))


def _numbered(path: Path, header: Sequence[str], bags: Bags) -> list[Split]:
    if not {"bag", "fold"} <= set(header):
        raise BagwiseError(
            f"{path} holds no folds: it needs the columns bag and fold, and repeat and part if wanted, or CLAM's train,"
            " val and test"
        )
    with_part, with_repeat = "part" in header, "repeat" in header
    columns = ["bag", "fold", *["repeat"] * with_repeat, *["part"] * with_part]
    rows = _Rows(path, columns, bags)
    least = 0 if with_part else -1
    told = "folds are whole numbers from 0 on" + ("" if with_part else ", or -1 for a bag that is never tested")
    met: dict[tuple[int, ...], int] = {}
    found = np.empty((len(rows.table), 3), dtype=np.int64)  # repeat, fold, bag
    for row in range(len(rows.table)):
        place = rows.bag("bag", row)
        if place is None:
            raise rows.wrong(row, "there is no bag: fill it in")
        fold = rows.number("fold", row, least, told)
        repeat = rows.number("repeat", row, 0, "repetitions are whole numbers from 0 on") if with_repeat else 0
        key = (repeat, place, fold) if with_part else (repeat, place)
        if key in met:
            raise rows.wrong(
                row,
                f"bag {bags.names[place]!r} stands a second time, as in row {rows.table.row(met[key])}"
                + (f", in fold {fold}" if with_part else "")
                + (f" of repetition {repeat}" if with_repeat else "")
                + ": leave one of the two out",
            )
        met[key] = row
        found[row] = repeat, fold, place
    _, found[:, 0] = np.unique(found[:, 0], return_inverse=True)
    if with_part:
        return list(_parted(rows, found))
    assignment = np.full((found[:, 0].max() + 1, len(bags)), -2)
    assignment[found[:, 0], found[:, 2]] = found[:, 1]
    for repeat, place in np.argwhere(assignment == -2)[:1]:
        of = f" in repetition {repeat}" if len(assignment) > 1 else ""
        raise BagwiseError(
            f"{path}: bag {bags.names[place]!r} has no fold{of}: give it one, or -1 if it shall never be tested"
        )
    return list(splits_of(assignment))


def _parted(rows: _Rows, found: NDArray[np.int64]) -> Iterator[Split]:
    parts: list[str] = []
    for row in range(len(rows.table)):
        text = rows.texts["part"].value(row)
        part = None if text is None else part_named(text)
        if part is None:
            raise rows.wrong(row, f"the part is {text!r}: it must be train, val or test")
        parts.append(part)
    named: Any = np.array(parts)
    for repeat in range(found[:, 0].max() + 1):
        of_repeat = found[:, 0] == repeat
        for fold, number in enumerate(np.unique(found[of_repeat, 1])):
            own = of_repeat & (found[:, 1] == number)
            yield Split(repeat, fold, *(found[own & (named == part), 2] for part in PARTS))
