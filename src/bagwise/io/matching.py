"""Which files are a bag's: by their names, or by a table of labels."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bagwise.errors import BagwiseError
from bagwise.io.columns import Table
from bagwise.io.features import SUFFIXES
from bagwise.io.labels import BagRows, labels_apart, spaces
from bagwise.io.listing import FileKind, by_name, by_real_path, files_of_kind, is_within, natural
from bagwise.io.problems import Problem, some, tell
from bagwise.label_columns import LABEL, LabelColumns

__all__ = ["FEATURE_FILES", "BagFiles", "Matched", "match_files"]

_WITHOUT_FILE = "labels-without-features"
FILE = "file"  # the column that says which file a row is about
FEATURE_FILES = FileKind("feature file", SUFFIXES)
_BY_DEFAULT = LabelColumns((LABEL,))


@dataclass(frozen=True)
class BagFiles:
    """A bag and the files that hold its instances.

    Attributes
    ----------
    name
        The bag's name.
    label
        Its label as `LabelColumns.joined` gives it, a number, a truth value or a text, as all labels of the table are,
        or several; None without a table.
    group
        Its group (patient, ...), or None.
    files
        Its files, in the order of the table.

    Examples
    --------
    >>> BagFiles("patient 7", "tumour", None, (Path("a.h5"), Path("b.h5"))).files[1].name
    'b.h5'
    """

    name: str
    label: Any
    group: str | None
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Matched:
    """What `match_files` found.

    Attributes
    ----------
    bags
        The bags, in the order of the table, or of their names where there is none.
    files_without_label
        Feature files in the folder that no row of the table is about.
    bags_without_file
        Bags of the table that are left out because they have no feature file.

    Examples
    --------
    >>> Matched((BagFiles("a", 1, None, (Path("a.h5"),)),), (Path("b.h5"),)).files_without_label[0].name
    'b.h5'
    """

    bags: tuple[BagFiles, ...]
    files_without_label: tuple[Path, ...]
    bags_without_file: tuple[str, ...] = ()


def match_files(
    folder: str | Path,
    labels: str | Path | None = None,
    *,
    bag: str = "bag",
    label: LabelColumns = _BY_DEFAULT,
    group: str | None = None,
    skip_missing: bool = False,
    kind: FileKind = FEATURE_FILES,
    problems: list[Problem] | None = None,
) -> Matched:
    r"""Find the files of each bag: feature files, or images.

    Without a table every feature file in the folder and the folders below is a bag, named by its path there without
    the ending. Hidden files and folders are left out, and of a file that links make appear twice only one is taken.

    With a table a bag's file is its name with any ending that `read_features` knows, or, where the table has a column
    ``file``, what stands there, relative to the folder; several rows may then name the files of one bag, such as the
    slides of a patient. Rows may stand in any order, a row that stands twice counts once, and other columns are left
    alone. Labels and groups are read as `bagwise.read_table` reads them: bags without a label are left out, and so are
    files that no row is about.

    Links to folders are not followed. A link that leaves the folder or leads nowhere is refused, because a table must
    not choose files elsewhere, and a missing slide must not go unnoticed.

    Parameters
    ----------
    folder
        Where the feature files are.
    labels
        A table in a file, of any kind that `bagwise.read_table` takes, with the columns that follow.
    bag
        The column with the bag's name.
    label
        The columns with its label; none where labels do not matter.
    group
        The column with its group, if any.
    skip_missing
        Leave rows of the table out that have no file, and say how many; else they are refused.
    kind
        Which files are meant.
    problems
        Where to put what is wrong with labels and groups, and what is left out; with None the first error is raised,
        and the rest are `BagwiseWarning`.

    Returns
    -------
    Matched

    Raises
    ------
    BagwiseError
        If the folder holds no feature files, a label has no file or two, a file belongs to two bags or lies elsewhere,
        rows of a bag disagree, a bag has no group, or the table lacks a column or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("slide 1.h5", "slide 2.h5", "slide 10.pt"):
    ...     (folder / name).touch()
    >>> [bag.name for bag in match_files(folder).bags]
    ['slide 1', 'slide 2', 'slide 10']
    >>> table = folder / "labels.csv"
    >>> _ = table.write_text("slide,tumour\nslide 10,1\nslide 2,0\n")
    >>> matched = match_files(folder, table, bag="slide", label=LabelColumns(("tumour",)), problems=[])
    >>> [(bag.name, bag.label, bag.files[0].name) for bag in matched.bags]
    [('slide 10', 1, 'slide 10.pt'), ('slide 2', 0, 'slide 2.h5')]
    >>> [file.name for file in matched.files_without_label]
    ['slide 1.h5']
    """
    folder = Path(folder)
    files = files_of_kind(folder, kind)
    own = by_real_path(folder, files)
    if labels is None:
        named = by_name(sorted(own.values(), key=natural))
        bags = [BagFiles(name, None, None, (_only(folder, name, found),)) for name, found in named.items()]
        return Matched(tuple(bags), ())
    about = labels_apart(Path(labels), bag, label, group, [FILE])
    about.table.check_columns([] if group is None else [group])
    told = list(about.problems)
    rows = _rows(about, (bag, *label.names, group))
    by_file = any(row.file is not None for row in rows)
    apart = set(about.left_out)
    unlabelled, rows = [row for row in rows if row.bag in apart], [row for row in rows if row.bag not in apart]
    named = by_name(files)
    lacking: tuple[str, ...] = ()
    if skip_missing or problems is not None:
        there = {row for row in rows if _is_there(folder, row, named)}
        if missing := [row for row in rows if row not in there]:
            told.append(_without_file(folder, about.table.path, missing, kind, skip_missing))
        rows = [row for row in rows if row in there]
        left = {row.bag for row in rows}
        lacking = tuple(dict.fromkeys(row.bag for row in missing if row.bag not in left))
        if not rows and problems is None:
            raise BagwiseError(
                f"{about.table.path}: no bag has {_a(kind.word)} in {folder}: give the folder that has them"
            )
    told += spaces(about.table)
    if problems is None:  # what is wrong with labels comes before what is wrong with files
        tell(problem for problem in told if problem.severity == "error")
    if by_file:
        found = [_file_of_row(folder, about.table, row, kind) for row in rows]
        without = [Path(folder, row.file or "") for row in unlabelled]
    else:
        found = _files(folder, files, about.table, rows, kind)
        without = [folder / file for row in unlabelled for file in named.get(row.bag, ())]
    of_bags, used = _files_of_bags(about.table, rows, found)
    used |= {os.path.realpath(file) for file in without}
    others = [folder / own[real] for real in own if real not in used]
    others.sort(key=lambda file: natural(file.relative_to(folder)))
    if others and label:
        told.append(_files_left_out(folder, about.table.path, [file.name for file in others], kind))
    if problems is None:
        tell(told)
    else:
        problems += told
    bags = [BagFiles(name, about.labels.get(name), about.groups.get(name), tuple(of)) for name, of in of_bags.items()]
    return Matched(tuple(bags), tuple(others), lacking)


def _is_there(folder: Path, row: "_Row", named: Mapping[str, Sequence[Path]]) -> bool:
    if row.file is None:
        return row.bag in named
    return os.path.isfile(folder / row.file)  # noqa: PTH113 - Path.is_file raises on names that are too long


def _without_file(folder: Path, table: Path, rows: Sequence["_Row"], kind: FileKind, skipped: bool) -> Problem:
    what, names = "bags have no", list(dict.fromkeys(row.bag for row in rows))
    if rows[0].file is not None:
        what, names = "rows name no", [row.file or "" for row in rows]
    what = what if len(names) > 1 else {"bags have no": "bag has no", "rows name no": "row names no"}[what]
    told = f"{table}: {len(names):,} {what} {kind.word} in {folder} ({some(names)})"
    if skipped:
        return Problem.of("warning", _WITHOUT_FILE, f"{told} and {'are' if len(names) > 1 else 'is'} left out", names)
    return Problem.of(
        "error", _WITHOUT_FILE, f"{told}: add the files, or leave such rows out with --skip-missing", names
    )


def _files_left_out(folder: Path, table: Path, names: Sequence[str], kind: FileKind) -> Problem:
    have = f"1 {kind.word} of {folder} has" if len(names) == 1 else f"{len(names):,} {kind.word}s of {folder} have"
    are = "is" if len(names) == 1 else "are"
    told = f"{table}: {have} no row here and {are} left out ({some(names)})"
    return Problem.of("warning", "features-without-labels", told, names)


class _Row(NamedTuple):
    position: int
    bag: str
    file: str | None


def _rows(about: BagRows, uses: Collection[str | None]) -> list[_Row]:
    """Give the rows that have a bag, and the file that they name, if the table has a column for it."""
    table, names = about.table, about.bags.values
    if FILE not in table.header or FILE in uses:
        return [_Row(n, names[code], None) for n, code in enumerate(about.bags.codes.tolist()) if code >= 0]
    files = table.names(FILE)
    gaps = files.codes < 0
    if gaps.any():
        row = table.row(int(np.argmax(gaps)))
        raise BagwiseError(f"{table.path}: column {FILE!r} is empty in row {row}: fill it in")
    both = zip(about.bags.codes.tolist(), files.codes.tolist(), strict=True)
    return [_Row(n, names[code], files.values[file]) for n, (code, file) in enumerate(both) if code >= 0]


def _files(folder: Path, files: Sequence[Path], table: Table, rows: Sequence[_Row], kind: FileKind) -> list[Path]:
    """Find each row's file by the name of its bag."""
    named = by_name(files)
    missing = [row for row in rows if row.bag not in named]
    if missing:
        others = f" (nor have {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise BagwiseError(
            f"{table.path}: bag {missing[0].bag!r} in row {table.row(missing[0].position)} has no {kind.word} in"
            f" {folder}{others}: add the file, or leave such rows out with --skip-missing"
        )
    return [_only(folder, row.bag, named[row.bag]) for row in rows]


def _file_of_row(folder: Path, table: Table, row: _Row, kind: FileKind) -> Path:
    """Find the file that a row names, which is what someone else wrote and may not lead anywhere."""
    path = folder / str(row.file)

    def place() -> str:
        return f"{table.path}: {row.file!r} in row {table.row(row.position)}"

    if path.suffix.lower() not in kind.suffixes:
        raise BagwiseError(f"{place()} is not {_a(kind.word)}: its name must end in one of {', '.join(kind.suffixes)}")
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises on names that are too long
        raise BagwiseError(
            f"{place()} is not a file in {folder}: paths are relative to that folder, so mend it"
            " there, or leave such rows out with --skip-missing"
        )
    if not is_within(os.path.realpath(path), folder):
        raise BagwiseError(f"{place()} leads out of {folder}: give the folder that holds all files")
    return path


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _files_of_bags(table: Table, rows: Sequence[_Row], found: Sequence[Path]) -> tuple[dict[str, list[Path]], set[str]]:
    """Join the rows of each bag; also give the real paths of the files that they use."""
    owner: dict[str, _Row] = {}
    files: dict[str, list[Path]] = {}
    for row, file in zip(rows, found, strict=True):
        real = os.path.realpath(file)
        user = owner.setdefault(real, row)
        if user.bag != row.bag:
            raise BagwiseError(
                f"{table.path}: bags {user.bag!r} and {row.bag!r} in rows {table.row(user.position)} and"
                f" {table.row(row.position)} have the same file {file}: give each a file of its own"
            )
        if user is row:
            files.setdefault(row.bag, []).append(file)
    return files, set(owner)


def _only(folder: Path, name: str, files: Sequence[Path]) -> Path:
    if len(files) > 1:
        raise BagwiseError(
            f"bag {name!r} has two files, {folder / files[0]} and {folder / files[1]}: say which is"
            " meant in a table of labels with the column 'file', or move the other one elsewhere"
        )
    return folder / files[0]
