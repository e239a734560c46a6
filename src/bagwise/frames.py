"""What a table in memory, whose rows are instances, says of bags."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bagwise.checks import check_no_gap, is_missing
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.feature_columns import Column, Wanted
from bagwise.label_columns import LabelColumns

if TYPE_CHECKING:
    import pandas as pd

    from bagwise.kinds import Kind

__all__ = ["as_pandas", "in_one_order", "packed_parts"]

_SHOWN = 20
_ROW_NUMBERS = "__index_level_"  # what pandas calls row numbers in Arrow: as a feature they would tell the bags apart


def as_pandas(frame: Any) -> "pd.DataFrame":
    """Turn a table of any library that speaks Arrow into pandas' own.

    Parameters
    ----------
    frame
        A pandas DataFrame, or what has Arrow's method ``__arrow_c_stream__`` and holds columns with names.

    Returns
    -------
    DataFrame
        The very same, where it is one.

    Raises
    ------
    BagwiseError
        If it is something else; the message says what to call.

    Examples
    --------
    >>> import pyarrow as pa
    >>> as_pandas(pa.table({"bag": ["a"], "width": [1.0]})).columns.tolist()
    ['bag', 'width']
    """
    import pandas as pd

    if isinstance(frame, pd.DataFrame):
        return frame
    if hasattr(frame, "__arrow_c_stream__"):
        import pyarrow as pa

        try:
            table = pa.table(frame)
            kept = [place for place, name in enumerate(table.column_names) if not name.startswith(_ROW_NUMBERS)]
            plain: pd.DataFrame = table.select(kept).to_pandas(ignore_metadata=True)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise BagwiseError(f"the {type(frame).__name__} is no table that Arrow can read: {error}") from error
        return plain
    if isinstance(frame, str) or hasattr(frame, "__fspath__"):
        raise BagwiseError(f"{str(frame)!r} is a path and no table: bagwise.read_table reads files")
    told = "a pandas or polars DataFrame or an Arrow table; a list of arrays goes to Bags.from_arrays"
    for method in ("compute", "collect", "to_pandas"):
        if hasattr(frame, method):
            told = f"what its {method}() gives"
    raise BagwiseError(f"a table is wanted, not a {type(frame).__name__}: give {told}")


def in_one_order(arrays: Sequence[Any]) -> tuple[Sequence[Any], list[str] | None]:
    """Bring the columns of tables, one a bag, into the order of the first's; arrays without names stay as they are.

    Parameters
    ----------
    arrays
        Arrays or tables, one a bag.

    Returns
    -------
    tuple
        Them, and the names of the columns, where all are tables.

    Raises
    ------
    BagwiseError
        If two tables have different columns.

    Examples
    --------
    >>> import pandas as pd
    >>> tables = [pd.DataFrame({"a": [1.0], "b": [2.0]}), pd.DataFrame({"b": [4.0], "a": [3.0]})]
    >>> [table.values.tolist() for table in in_one_order(tables)[0]]
    [[[1.0, 2.0]], [[3.0, 4.0]]]
    """
    if not all(hasattr(array, "columns") for array in arrays):
        return arrays, None
    frames = [as_pandas(array) for array in arrays]
    names = list(frames[0].columns)
    for place, frame in enumerate(frames):
        for name in frame.columns.symmetric_difference(names):
            lacking, having = (place, 0) if name in names else (0, place)
            raise BagwiseError(f"table {lacking} has no column {name!r}, table {having} has: all need the same")
        _check_columns(frame, names)
    return [frame[names] for frame in frames], [str(name) for name in names]


def packed_parts(
    frame: "pd.DataFrame",
    bag: str,
    label: LabelColumns,
    *,
    wanted: Wanted,
    group: str | None,
    instance_label: str | None,
    instance: str | None,
    coordinates: Sequence[str],
) -> dict[str, Any]:
    """Bring the rows of each bag together, and check what the columns say.

    Parameters
    ----------
    label
        The columns of labels.
    wanted
        Which columns are features, and as what they are read.
    frame, bag, group, instance_label, instance, coordinates
        As in `bagwise.Bags.from_table`.

    Returns
    -------
    dict
        What `bagwise.Bags` takes.

    Raises
    ------
    BagwiseError
        As `bagwise.Bags.from_table` does.

    Examples
    --------
    >>> import pandas as pd
    >>> nothing = dict.fromkeys(("group", "instance_label", "instance"))
    >>> frame = pd.DataFrame({"bag": ["a", "b", "a"], "width": [1.0, 2.0, 3.0]})
    >>> packed_parts(frame, "bag", LabelColumns(), wanted=Wanted(), coordinates=(), **nothing)["instances"].tolist()
    [[1.0], [3.0], [2.0]]
    """
    listed = ("features", "drop", "categorical", "date", "bag_features")
    for use, several in {**{use: getattr(wanted, use) for use in listed}, "coordinates": coordinates}.items():
        if isinstance(several, str):
            raise BagwiseError(f"{use} is {several!r}: give a list of names of columns")
    spoken_for = [bag, *label.names, group, instance_label, instance, *coordinates]
    _check_columns(frame, [column for column in spoken_for if column is not None])
    if len(frame) == 0:
        raise BagwiseError("the table has no rows: a bag needs at least one")
    for column in set(spoken_for).intersection(wanted.features or ()):
        raise BagwiseError(f"column {column!r} is given two uses: give each use a column of its own")
    wanted = wanted.among([column for column in frame.columns if column not in spoken_for])
    codes, values = frame[bag].factorize()
    check_no_gap(codes, bag)
    order = np.argsort(codes, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(codes))])
    names = np.array([str(value) for value in values], dtype=object)
    bag_of_row = names[codes]
    names_of_features, parts, columns = _features(frame, wanted, bag_of_row, codes, names)
    instances = np.column_stack(parts)
    if (np.diff(order) != 1).any():  # else the copy would cost as much as all the rest
        instances = instances[order]
    first = order[offsets[:-1]]

    def of_bag(column: str | None) -> NDArray[Any] | None:
        if column is None:
            return None
        _check_constant(frame, column, codes, first, names)
        return np.asarray(frame[column].to_numpy()[first])

    def labels() -> NDArray[Any]:
        if len(label.names) == 1:
            return np.asarray(of_bag(label.names[0]))
        told = [_values(frame, column, codes, first, names) for column in label.names]
        joined = label.joined(told, lambda place: f"in row {first[place]} (bag {names[place]!r})")
        if None in joined:
            place = joined.index(None)
            raise BagwiseError(
                f"{label} are empty in row {first[place]}: bag {names[place]!r} has no label, so give it one, or leave"
                " it out"
            )
        return label.array(joined)

    where = [_numbers(frame, column, bag_of_row) for column in coordinates]
    return {
        "instances": instances,
        "offsets": offsets,
        "labels": labels() if label else None,
        "label_names": label.label_names,
        "names": names,
        "groups": of_bag(group),
        "instance_labels": None if instance_label is None else np.asarray(frame[instance_label].to_numpy())[order],
        "coordinates": np.column_stack(where)[order] if where else None,
        "feature_names": names_of_features,
        "columns": columns,
        "instance_names": None if instance is None else np.asarray(frame[instance].to_numpy(dtype=object))[order],
    }


def _check_columns(frame: "pd.DataFrame", columns: Sequence[str]) -> None:
    duplicate = frame.columns[frame.columns.duplicated()]
    if len(duplicate):
        raise BagwiseError(f"the table has two columns {duplicate[0]!r}: give each column a name of its own")
    for column in columns:
        if isinstance(column, list | dict | set):
            raise BagwiseError(f"{column!r} is given for a column: give one name")
    for column, uses in Counter(columns).items():
        if column not in frame.columns:
            known = [str(name) for name in frame.columns]
            close = " or ".join(map(repr, get_close_matches(str(column), known)))
            listed = ", ".join(known[:_SHOWN]) + ", ..." * (len(known) > _SHOWN)
            raise BagwiseError(
                f"the table has no column {column!r}: " + (f"did you mean {close}?" if close else f"it has {listed}")
            )
        if uses > 1:
            raise BagwiseError(f"column {column!r} is given two uses: give each use a column of its own")


def _values(
    frame: "pd.DataFrame", column: str, bag_of_row: NDArray[Any], first: NDArray[Any], names: NDArray[np.object_]
) -> list[Any]:
    """Give what a column says of each bag, None where it says nothing."""
    _check_constant(frame, column, bag_of_row, first, names, gaps=True)
    chosen = frame[column].iloc[first]
    return [None if gap else value for value, gap in zip(chosen.tolist(), chosen.isna(), strict=True)]


def _check_constant(
    frame: "pd.DataFrame",
    column: str,
    bag_of_row: NDArray[Any],
    first: NDArray[Any],
    names: NDArray[np.object_],
    *,
    gaps: bool = False,
) -> None:
    codes, values = frame[column].factorize()
    if not gaps:
        check_no_gap(codes, column)
    differs = codes != codes[first][bag_of_row]
    if differs.any():
        row = int(np.argmax(differs))
        bag = int(bag_of_row[row])
        one, other = (
            f"{'nothing' if codes[place] < 0 else values[codes[place]]} in row {place}" for place in (first[bag], row)
        )
        raise BagwiseError(
            f"column {column!r} differs within bag {names[bag]!r}: {one}, {other}; all rows of a bag need the same"
            " value"
        )


def _features(
    frame: "pd.DataFrame",
    wanted: Wanted,
    bag_of_row: NDArray[Any],
    codes: NDArray[np.int64],
    names: NDArray[np.object_],
) -> tuple[list[str], Sequence[NDArray[Any]], tuple[Column, ...] | None]:
    """Give names and values of features, and what these stand for where they are not all numbers without gaps."""
    given = list(wanted.features or ())
    if wanted.plain and all(frame[column].dtype.kind in "biuf" for column in given):
        parts = [_floats(frame, column, bag_of_row) for column in given]
        if all(np.isfinite(values).all() for values in parts):
            return [str(column) for column in given], parts, None
    from bagwise.mixed import read_mixed  # which loads Arrow

    mixed = read_mixed(_Rows(frame, bag_of_row), wanted, codes, names)
    sentences = mixed.told()
    if not mixed.columns:
        raise BagwiseError(f"the table has no feature columns: {sentences[0]}")
    for sentence in sentences:
        warnings.warn(sentence, BagwiseWarning, stacklevel=4)
    return mixed.names, mixed.parts, None if mixed.plain and wanted.like is None else tuple(mixed.columns)


@dataclass(frozen=True, eq=False)
class _Rows:
    """A frame whose columns are read as `bagwise.mixed.Rows` says."""

    frame: "pd.DataFrame"
    bag_of_row: NDArray[Any]

    def kind(self, column: str) -> "Kind":
        from bagwise.kinds import kind_of

        return kind_of(self._arrow(column))

    def floats(self, column: str) -> NDArray[Any]:
        return _floats(self.frame, column, self.bag_of_row)

    def texts(self, column: str) -> tuple[NDArray[np.int64], list[str | None]]:
        codes, values = self.frame[column].factorize()
        return codes, [str(int(one)) if isinstance(one, float) and one.is_integer() else str(one) for one in values]

    def seconds(self, column: str) -> NDArray[np.float64]:
        from bagwise.kinds import seconds_of

        if not self.temporal(column):
            raise BagwiseError(
                f"column {column!r} is not a date or time, as what the model learnt from was: make it one with"
                " pandas.to_datetime"
            )
        seconds: NDArray[np.float64] = seconds_of(self._arrow(column))
        return seconds

    def row(self, position: int) -> int:
        return int(position)

    def temporal(self, column: str) -> bool:
        import pyarrow as pa

        kind = self._arrow(column).type
        return pa.types.is_null(kind) or (pa.types.is_temporal(kind) and not pa.types.is_duration(kind))

    def wrong(self, column: str, row: int, has: str, cure: str) -> BagwiseError:
        return BagwiseError(f"column {column!r} has {has} in row {row} (bag {self.bag_of_row[row]!r}): {cure}")

    def _arrow(self, column: str) -> Any:
        import pyarrow as pa

        try:
            return pa.chunked_array(pa.Array.from_pandas(self.frame[column]))
        except (pa.ArrowException, TypeError):  # numbers of several types, or what are none
            return pa.chunked_array([self.floats(column)])


def _numbers(frame: "pd.DataFrame", column: str, bag_of_row: NDArray[np.object_]) -> NDArray[Any]:
    values = _floats(frame, column, bag_of_row)
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argmin(finite))
        raise BagwiseError(
            f"column {column!r} has a NaN or an infinity in row {row} (bag {bag_of_row[row]!r}):"
            " fill it in, or leave the row out"
        )
    return values


def _floats(frame: "pd.DataFrame", column: str, bag_of_row: NDArray[np.object_]) -> NDArray[Any]:
    series = frame[column]
    if series.dtype.kind == "m":
        return np.asarray(series.dt.total_seconds())
    if series.dtype.kind not in "biuf":
        for row, value in enumerate(series):
            if series.dtype != object or not (isinstance(value, Real | Decimal) or is_missing(value)):
                raise BagwiseError(
                    f"column {column!r} is not numeric: row {row} (bag {bag_of_row[row]!r}) holds {value!r};"
                    " leave the column out, or turn it into numbers"
                )
    values: NDArray[Any] = series.to_numpy(
        dtype=np.float32 if series.dtype == np.float32 else np.float64, na_value=np.nan
    )
    return values
