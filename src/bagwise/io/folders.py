"""A folder with one file or more a bag, and the table of their labels."""

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.io.features import SUFFIXES, FeatureInfo, open_features, peek_features
from bagwise.io.sources import sources_of
from bagwise.stored import Part, StoredInstances
from bagwise.text import encodable

__all__ = ["FEATURE_FILES", "BagFiles", "FileKind", "Matched", "check_widths", "match_files", "read_folder"]

FILE = "file"  # the column that says which file a row is about


class FileKind(NamedTuple):
    """What files a folder holds.

    Attributes
    ----------
    word
        What messages call one.
    suffixes
        What their names end in, in small letters.

    Examples
    --------
    >>> FileKind("image", (".png",)).word
    'image'
    """

    word: str
    suffixes: tuple[str, ...]


FEATURE_FILES = FileKind("feature file", SUFFIXES)


@dataclass(frozen=True)
class BagFiles:
    """A bag and the files that hold its instances.

    Attributes
    ----------
    name
        The bag's name.
    label
        Its label: a whole number if all labels of the table are, else the text of the table; None without a table.
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
    label: int | str | None
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
    label: str | None = "label",
    group: str | None = None,
    missing: bool = False,
    kind: FileKind = FEATURE_FILES,
) -> Matched:
    r"""Find the files of each bag: feature files, or images.

    Without a table every feature file in the folder and the folders below is a bag, named by its path there without
    the ending. Hidden files and folders are left out, and of a file that links make appear twice only one is taken.

    With a table a bag's file is its name with any ending that `read_features` knows, or, where the table has a column
    ``file``, what stands there, relative to the folder; several rows may then name the files of one bag, such as the
    slides of a patient. Rows may stand in any order, a row that stands twice counts once, and other columns are left
    alone.

    Links to folders are not followed. A link that leaves the folder or leads nowhere is refused, because a table must
    not choose files elsewhere, and a missing slide must not go unnoticed.

    Parameters
    ----------
    folder
        Where the feature files are.
    labels
        A CSV file, UTF-8 with commas, with the columns that follow.
    bag
        The column with the bag's name.
    label
        The column with its label; None where labels do not matter.
    group
        The column with its group, if any.
    missing
        Leave bags out that have no feature file, and say which; else they are refused.
    kind
        Which files are meant.

    Returns
    -------
    Matched

    Raises
    ------
    BagwiseError
        If the folder holds no feature files, a label has no file or two, a file belongs to two bags or lies elsewhere,
        rows of a bag disagree, or the table has gaps, lacks a column or is no CSV.

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
    >>> matched = match_files(folder, table, bag="slide", label="tumour")
    >>> [(bag.name, bag.label, bag.files[0].name) for bag in matched.bags]
    [('slide 10', 1, 'slide 10.pt'), ('slide 2', 0, 'slide 2.h5')]
    >>> [file.name for file in matched.files_without_label]
    ['slide 1.h5']
    """
    folder = Path(folder)
    files = _files_of_kind(folder, kind)
    own = _by_real_path(folder, files)
    if labels is None:
        by_name = _by_name(sorted(own.values(), key=_natural))
        bags = [BagFiles(name, None, None, (_only(folder, name, found),)) for name, found in by_name.items()]
        return Matched(tuple(bags), ())
    table = Path(labels)
    rows = _rows(table, bag, label, group)
    lacking: list[str] = []
    if missing and not rows[0].file:
        by_name = _by_name(files)
        lacking = list(dict.fromkeys(row.bag for row in rows if row.bag not in by_name))
        rows = [row for row in rows if row.bag in by_name]
    if not rows:
        return Matched((), tuple(folder / file for file in sorted(files, key=_natural)), tuple(lacking))
    if rows[0].file:
        found = [_file_of_row(folder, table, row, kind) for row in rows]
    else:
        found = _files(folder, files, table, rows, kind)
    matched, used = _bags(table, rows, found)
    others = sorted((file for real, file in own.items() if real not in used), key=_natural)
    return Matched(tuple(matched), tuple(folder / file for file in others), tuple(lacking))


def check_widths(matched: Matched) -> dict[Path, FeatureInfo]:
    """Look at the head of each file, and see that all of them fit together.

    Parameters
    ----------
    matched
        What `match_files` found. Files without a label are not looked at.

    Returns
    -------
    dict
        For each file, in the order of the bags, what `peek_features` says of it.

    Raises
    ------
    BagwiseError
        If a file cannot be read, or if two files differ in width or one holds whole numbers and another floats.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "a.npy", np.zeros((5, 3)))
    >>> np.save(folder / "b.npy", np.zeros((7, 3)))
    >>> [info.count for info in check_widths(match_files(folder)).values()]
    [5, 7]
    """
    infos = {file: peek_features(file) for bag in matched.bags for file in bag.files}
    first, model = next(iter(infos.items()))
    for file, info in infos.items():
        if info.width != model.width:
            raise BagwiseError(
                f"{first} has {model.width} features an instance, {file} has {info.width}: all files need the same, so"
                " extract them with one encoder"
            )
        if (info.dtype.kind == "f") != (model.dtype.kind == "f"):
            raise BagwiseError(
                f"{first} holds {model.dtype} features, {file} {info.dtype}: all files need floats, or all"
                " whole numbers"
            )
    return infos


def read_folder(
    folder: str | Path,
    labels: str | Path | None = None,
    *,
    bag: str = "bag",
    label: str | None = "label",
    group: str | None = None,
    coordinates: bool = False,
) -> Bags:
    """Read bags whose instances stay in their feature files until somebody looks at them.

    Of the files only the heads are read. Several files of a bag are put one after the other.

    Parameters
    ----------
    folder, labels, bag, label, group
        As in `match_files`. Without a table, or with a `label` of None, bags have no labels.
    coordinates
        Read where the instances were, if all files say so.

    Returns
    -------
    Bags
        Their `instances` are `bagwise.stored.StoredInstances`; their `sources` are paths in the folder.

    Raises
    ------
    BagwiseError
        As `match_files` and `check_widths` do.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "a.npy", np.zeros((5, 3)))
    >>> np.save(folder / "b.npy", np.ones((7, 3)))
    >>> bags = read_folder(folder)
    >>> bags
    <Bags: 2 bags of 5 to 7 instances (12 in all), each of shape (3,) float64; no labels>
    >>> bags[1].instances.sum()
    np.float64(21.0)
    """
    matched = match_files(folder, labels, bag=bag, label=label, group=group)
    infos = check_widths(matched)
    parts, sizes = [], []
    for one in matched.bags:
        sources = [_FileSource.of(file, infos[file]) for file in one.files]
        parts += [Part(source, 0, source.shape[0]) for source in sources]
        sizes.append(sum(source.shape[0] for source in sources))
    where = None
    if coordinates and all(info.has_coordinates for info in infos.values()):
        places = [_coordinates(file) for one in matched.bags for file in one.files]
        # A third axis counts where all files have one.
        where = np.concatenate([place[:, : min(place.shape[1] for place in places)] for place in places])
    return Bags(
        StoredInstances(parts),
        np.cumsum([0, *sizes]),
        labels=None if matched.bags[0].label is None else np.array([one.label for one in matched.bags]),
        names=np.array([one.name for one in matched.bags], dtype=object),
        groups=None if matched.bags[0].group is None else np.array([one.group for one in matched.bags]),
        coordinates=where,
        sources=sources_of(folder, [Path(part.source.name) for part in parts], [part.end for part in parts]),
    )


@dataclass(frozen=True)
class _FileSource:
    """A feature file as a source of instances."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    identity: str

    @classmethod
    def of(cls, file: Path, info: FeatureInfo) -> "_FileSource":
        held = file.stat()
        identity = f"{file.resolve()} {held.st_size} {held.st_mtime_ns}"
        return cls(str(file), (info.count, info.width), info.dtype, identity)

    def read(self, begin: int, end: int) -> NDArray[Any]:
        with open_features(self.name) as file:
            if file.shape != self.shape:
                raise BagwiseError(f"{self.name} changed while it was in use: leave it alone, and begin again")
            return file[begin:end]


def _coordinates(file: Path) -> NDArray[Any]:
    with open_features(file) as opened:
        assert opened.coordinates is not None
        return opened.coordinates


# ---- the folder --------------------------------------------------------------------------------------------------


def _files_of_kind(folder: Path, kind: FileKind) -> list[Path]:
    """Give the files, relative to the folder."""

    def fail(error: OSError) -> None:
        raise BagwiseError(
            f"cannot read the folder {error.filename}: {error.strerror}; give a folder that is there and may be read"
        ) from error

    files = []
    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = [name for name in names if not name.startswith(".") and Path(name).suffix.lower() in kind.suffixes]
        for name in [*folders, *here]:
            _check_link(folder, Path(place, name))
        files += [Path(place, name).relative_to(folder) for name in here]
    if not files:
        raise BagwiseError(f"{folder} holds no {kind.word}s: their names end in one of {', '.join(kind.suffixes)}")
    return files


def _check_link(folder: Path, path: Path) -> None:
    if not path.is_symlink():
        return
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        raise BagwiseError(f"{path} is a link that leads nowhere: mend or remove it") from error
    if not _is_within(target, folder):
        raise BagwiseError(
            f"{path} is a link to {target}, which is not in {folder}: give the folder that holds the files themselves"
        )


def _is_within(path: str, folder: Path) -> bool:
    return Path(path).is_relative_to(os.path.realpath(folder))


def _natural(file: Path) -> tuple[list[str | int], str]:
    # Text and numbers take turns, so that a number is only ever compared with a number.
    pieces = re.split(r"([0-9]+)", file.as_posix())
    return [int(piece) if turn % 2 else piece for turn, piece in enumerate(pieces)], file.as_posix()


def _by_real_path(folder: Path, files: Sequence[Path]) -> dict[str, Path]:
    """Give each file once, and under its own name where that is among them."""
    own: dict[str, Path] = {}
    for file in sorted(files, key=_natural):
        real = os.path.realpath(folder / file)
        if real not in own or not (folder / file).is_symlink():
            own[real] = file
    return own


def _by_name(files: Sequence[Path]) -> dict[str, list[Path]]:
    by_name: dict[str, list[Path]] = {}
    for file in files:
        by_name.setdefault(encodable(file.with_suffix("").as_posix()), []).append(file)
    return by_name


def _only(folder: Path, name: str, files: Sequence[Path]) -> Path:
    if len(files) > 1:
        raise BagwiseError(f"bag {name!r} has two files, {folder / files[0]} and {folder / files[1]}: keep one of them")
    return folder / files[0]


# ---- the table ---------------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    line: int
    bag: str
    label: int | str | None
    group: str | None
    file: str | None


def _rows(table: Path, bag: str, label: str | None, group: str | None) -> list[_Row]:
    lines, header = _read_csv(table)
    uses = [column for column in (bag, label, group) if column is not None]
    for column in uses:
        if column not in header:
            close = get_close_matches(column, header, n=1)
            hint = f"did you mean {close[0]!r}" if close else "name the column that is meant"
            raise BagwiseError(f"{table} has no column {column!r}, only {', '.join(map(repr, header))}: {hint}")
        if uses.count(column) > 1:
            raise BagwiseError(f"column {column!r} of {table} is given two uses: give each use a column of its own")
    file = FILE if FILE in header and FILE not in uses else None
    wanted = [*uses, *([file] if file else [])]
    for line, cells in lines:
        for column in wanted:
            if not cells[column].strip():
                raise BagwiseError(
                    f"{table} has nothing in column {column!r} of line {line}: fill it in, or drop the row"
                )
    whole = label is not None and all(_is_whole(cells[label]) for _, cells in lines)
    return [
        _Row(
            line,
            cells[bag],
            None if label is None else int(cells[label]) if whole else cells[label],
            cells[group] if group is not None else None,
            cells[file] if file else None,
        )
        for line, cells in lines
    ]


def _is_whole(text: str) -> bool:
    # "01" is the name of a class, and may stand beside "1".
    return re.fullmatch(r"0|-?[1-9][0-9]{0,17}", text) is not None


def _read_csv(table: Path) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    """Give the rows with the lines they end in, and the names of the columns."""
    lines = []
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            for cells in reader:
                if cells and len(cells) != len(header):
                    raise BagwiseError(
                        f"{table} has {len(cells)} cells in line {reader.line_num}, but {len(header)} columns: quote"
                        " cells that hold commas"
                    )
                if cells:
                    lines.append((reader.line_num, dict(zip(header, cells, strict=True))))
    except OSError as error:
        raise BagwiseError(
            f"cannot read {table}: {error.strerror}; give a CSV file that is there and may be read"
        ) from error
    except UnicodeDecodeError as error:
        raise BagwiseError(f"{table} is not UTF-8 at byte {error.start}: save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise BagwiseError(f"{table} is no CSV file in line {reader.line_num} ({error}): mend the line") from error
    for column in header:
        if header.count(column) > 1:
            raise BagwiseError(f"{table} has two columns {column!r}: give each column a name of its own")
    if not lines:
        raise BagwiseError(f"{table} has no rows: give the columns a line, and each bag one")
    return lines, header


def _files(folder: Path, files: Sequence[Path], table: Path, rows: Sequence[_Row], kind: FileKind) -> list[Path]:
    """Find each row's file by the name of its bag."""
    by_name = _by_name(files)
    missing = [row for row in rows if row.bag not in by_name]
    if missing:
        close = get_close_matches(missing[0].bag, by_name, n=1)
        hint = f"did you mean {close[0]!r}" if close else "add the file, or drop the row"
        others = f" (nor have {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise BagwiseError(
            f"bag {missing[0].bag!r} in line {missing[0].line} of {table} has no {kind.word} in {folder}{others}:"
            f" {hint}"
        )
    return [_only(folder, row.bag, by_name[row.bag]) for row in rows]


def _file_of_row(folder: Path, table: Path, row: _Row, kind: FileKind) -> Path:
    """Find the file that a row names, which is what someone else wrote and may not lead anywhere."""
    path = folder / str(row.file)
    place = f"{row.file!r} in line {row.line} of {table}"
    if path.suffix.lower() not in kind.suffixes:
        raise BagwiseError(f"{place} is not {_a(kind.word)}: its name must end in one of {', '.join(kind.suffixes)}")
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises on names that are too long
        raise BagwiseError(f"{place} is not a file in {folder}: paths are relative to that folder, so mend it there")
    if not _is_within(os.path.realpath(path), folder):
        raise BagwiseError(f"{place} leads out of {folder}: give the folder that holds all files")
    return path


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _bags(table: Path, rows: Sequence[_Row], found: Sequence[Path]) -> tuple[list[BagFiles], set[str]]:
    """Join the rows of each bag; also give the real paths of the files that they use."""
    first: dict[str, _Row] = {}
    owner: dict[str, _Row] = {}
    files: dict[str, list[Path]] = {}
    for row, file in zip(rows, found, strict=True):
        known = first.setdefault(row.bag, row)
        for column in ("label", "group"):
            one, other = getattr(known, column), getattr(row, column)
            if one != other:
                raise BagwiseError(
                    f"bag {row.bag!r} has the {column} {one!r} in line {known.line} of {table}, but {other!r} in line"
                    f" {row.line}: all rows of a bag need the same"
                )
        real = os.path.realpath(file)
        user = owner.setdefault(real, row)
        if user.bag != row.bag:
            raise BagwiseError(
                f"bags {user.bag!r} and {row.bag!r} in lines {user.line} and {row.line} of {table} have the same file"
                f" {file}: give each a file of its own"
            )
        if user is row:
            files.setdefault(row.bag, []).append(file)
    return [BagFiles(name, row.label, row.group, tuple(files[name])) for name, row in first.items()], set(owner)
