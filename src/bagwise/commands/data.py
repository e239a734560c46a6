"""What a user calls data on the command line, and how it becomes bags."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import valid_weights
from bagwise.commands.options import Data
from bagwise.datasets import list_datasets, load_dataset
from bagwise.errors import BagwiseError
from bagwise.evaluation.divisions import connected_groups
from bagwise.feature_columns import Column, Wanted
from bagwise.io.bag_tables import BagTable
from bagwise.io.folders import read_folder
from bagwise.io.images import Grid, Points, holds_images, read_images
from bagwise.io.labels import known_values, known_weights
from bagwise.io.points import read_points
from bagwise.io.problems import Problem, listed, tell
from bagwise.io.streamed import stream_table
from bagwise.io.tables import number_columns, read_table, table_columns
from bagwise.label_columns import LABEL, LabelColumns
from bagwise.stored import StoredInstances

__all__ = ["DataSource", "digest_of_labelled", "in_memory_if_small"]

# Of the machine's memory: training holds a copy in float32 and what goes through the network besides.
_SHARE_OF_MEMORY = 0.25
_LARGE = 8 << 20  # of a table's file, in bytes; smaller ones are read at once


@dataclass(frozen=True)
class DataSource(Data):
    """A table, a folder of feature files or of images, or a data set by name, which can be read.

    Its fields are those of `bagwise.commands.options.Data`. Columns are of the table itself, or of the table of labels;
    a `patch` of None is 32 on a grid and 27 around points.

    Examples
    --------
    >>> DataSource("nowhere.csv", bag="slide", label="tumour").read()
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: there is no file or folder 'nowhere.csv': check the path
    """

    @classmethod
    def of(cls, data: Data) -> Self:
        """Make data that can be read of what was said of them."""
        return cls(**vars(data))

    @property
    def path(self) -> Path | None:
        """Where the data are; None where they are a data set by name."""
        path = Path(self.data)
        if not path.exists():
            if path.suffix or len(path.parts) > 1:
                raise BagwiseError(f"there is no file or folder {self.data!r}: check the path")
            names = [known.name for known in list_datasets()]
            if self.data not in names:
                raise BagwiseError(
                    f"there is no file, folder or data set {self.data!r}: give a path, or one of {', '.join(names)}"
                )
        if self.skip_missing and (self.labels is None or not path.is_dir()):
            raise BagwiseError(
                f"--skip-missing is for a folder with a table of --labels, and {self.data} is none: drop it"
            )
        for field in fields(self.wanted):
            if getattr(self.wanted, field.name) and not path.is_file():
                flag = Data.options()[field.name].flag
                raise BagwiseError(f"{flag} is for columns of a table, and {self.data} is none: drop it")
        return path if path.exists() else None

    def check_there(self) -> None:
        """Refuse what is no data, before anything is loaded that learns from them or asks a model of them.

        Raises
        ------
        BagwiseError
            If there is no such file, folder or data set.
        """
        _ = self.path

    def patches(self, folder: Path) -> Grid | Points | None:
        """Say where images are cut.

        Parameters
        ----------
        folder
            Where the data are.

        Returns
        -------
        Grid, Points or None
            None where the folder holds feature files.

        Raises
        ------
        BagwiseError
            If patches were asked for and there are no images, or the points cannot be read.
        """
        if not holds_images(folder):
            for option, value in (("--patch", self.patch), ("--points", self.points)):
                if value is not None:
                    raise BagwiseError(f"{option} is for folders of images, and {folder} holds none: drop it")
            return None
        if self.points is None:
            return Grid() if self.patch is None else Grid(self.patch)
        table = read_points(self.points, self.bag or "bag")
        return Points(table) if self.patch is None else Points(table, self.patch)

    @property
    def wanted(self) -> Wanted:
        """Which columns of a table are features, and as what they are read."""
        return Wanted(self.features or None, self.drop, self.categorical, self.date, self.order, self.bag_features)

    @property
    def label_columns(self) -> LabelColumns:
        """What labels are made of, where they were named."""
        return LabelColumns.of(self.label, self.event, self.time)

    @property
    def label_columns_apart(self) -> LabelColumns:
        """What labels are made of in a table beside a folder, where one has a name without being told."""
        columns = self.label_columns
        if not columns and self.labels is not None and LABEL not in table_columns(self.labels):
            raise BagwiseError(
                f"{self.labels}: there is no column {LABEL!r}: name the one with the label of the bag with --label, or"
                f" those of an event and its time with --event and --time; {_columns(self.labels)}"
            )
        return columns or LabelColumns((LABEL,))

    @property
    def first_group(self) -> str | None:
        """The column of the group, or of the first of several."""
        return self.group[0] if self.group else None

    def read(self, *apart: str | None) -> Bags:
        """Read bags with labels, to learn from. Of a folder only the heads of the files are read.

        Parameters
        ----------
        *apart
            Columns that say something of bags, and so are no features.

        Returns
        -------
        Bags

        Raises
        ------
        BagwiseError
            If there are no labels, or the data will not do.
        """
        bags = self._read(apart)
        return bags if len(self.group) < 2 else replace(bags, groups=self.groups(bags.names))

    def groups(self, names: Sequence[str] | NDArray[np.object_]) -> NDArray[np.object_]:
        """Join several groups, so that bags that share one of them are of one group.

        Parameters
        ----------
        names
            Of the bags.

        Returns
        -------
        array
            Shape (B,).

        Raises
        ------
        BagwiseError
            If a bag has none.
        """
        columns = [self.values(names, column) for column in self.group]
        for column, values in zip(self.group, columns, strict=True):
            for name, value in zip(names, values, strict=True):
                if value is None:
                    raise BagwiseError(
                        f"column {column!r} has nothing for bag {name!r}: give it a group, or leave the bag out"
                    )
        return connected_groups(*columns)

    def _read(self, apart: Sequence[str | None]) -> Bags:
        path = self.path
        if path is None:
            return self.of_data_set()
        if path.is_dir():
            if self.labels is None:
                raise BagwiseError(
                    f"{path} is a folder: say with --labels which table has the label of each bag; tables are read one"
                    " at a time, so join several into one"
                )
            patches = self.patches(path)
            if patches is not None:
                return read_images(path, self.labels, patches, **self._columns_of_labels())
            return read_folder(path, self.labels, coordinates=True, **self._columns_of_labels())
        columns = self.label_columns
        if not columns:
            raise BagwiseError(
                f"{path} needs --label, the column with the label of the bag, or --event and --time: {_columns(path)}"
            )
        return read_table(
            path,
            bag=self._bag(path),
            label=columns.label,
            event=columns.event,
            time=columns.time,
            group=self.first_group,
            instance=self.instance,
            coordinates=self.coordinates,
            features=self.features or None,
            drop=self.drop,
            categorical=self.categorical,
            date=self.date,
            order=self.order,
            bag_features=self.bag_features,
            labels=self.labels,
            others=self.beside_in(path, self.weight, self.split, *self.group[1:], *apart),
        )

    def weights(self, bags: Bags) -> NDArray[np.float64] | None:
        """Read how much bags count, as `fit` takes it in ``sample_weight``.

        Parameters
        ----------
        bags
            What `read` gave.

        Returns
        -------
        array or None
            Of each bag its weight, shape (B,), float64; None where no column was named.

        Raises
        ------
        BagwiseError
            If the rows of a bag disagree, a bag has no weight, or one is no number of 0 or more.
        """
        if self.weight is None:
            return None
        weights, problems = self.known_weights(list(bags.names))
        tell(problems)
        return valid_weights([weights[name] for name in bags.names], bags.names)

    def known_weights(self, names: Sequence[str]) -> tuple[dict[str, float], list[Problem]]:
        """Look up the weights of bags, and say what is wrong with them.

        Parameters
        ----------
        names
            Of the bags.

        Returns
        -------
        tuple
            Of each bag that has one its weight, and what is wrong.

        Raises
        ------
        BagwiseError
            If the column is nowhere, or the file cannot be read.
        """
        assert self.weight is not None
        path = self.path
        assert path is not None  # a data set by name has none
        return known_weights(self._with(path, self.weight), self.bag or "bag", self.weight, names)

    def values(self, names: Sequence[str] | NDArray[np.object_], column: str) -> list[str | None]:
        """Read what a column says of bags, as text.

        Parameters
        ----------
        names
            Of the bags.
        column
            Of the table, or of the table of labels.

        Returns
        -------
        list
            Of each bag its value, or None where it has none.

        Raises
        ------
        BagwiseError
            If there is no such column, or the rows of a bag disagree.
        """
        path = self.path
        if path is None:
            raise BagwiseError(f"the data set {self.data!r} has no column {column!r}: drop the option that names it")
        if path.is_dir() and self.labels is None:
            raise BagwiseError(f"{path} is a folder: say with --labels which table has the column {column!r}")
        known = known_values(self._with(path, column), self.bag or "bag", column)
        return [known.get(name) for name in names]

    def has(self, column: str) -> bool:
        """Say whether there is a column of that name, in the table or in that of labels."""
        path = self.path
        tables = [self.labels, None if path is None or path.is_dir() else path]
        return any(column in table_columns(table) for table in tables if table is not None)

    def labels_there(self) -> LabelColumns | None:
        """Give the columns of labels where the data have all of them; of a data set by name None."""
        columns = self.label_columns or LabelColumns((LABEL,))
        return columns if all(self.has(name) for name in columns.names) else None

    def beside_in(self, table: Path, *columns: str | None) -> list[str]:
        """Give those of some columns that are in the table of instances, and not in that of labels."""
        found = []
        for column in columns:
            if column is None or table.is_dir():
                continue
            if self.labels is None or column not in table_columns(self.labels):
                found.append(column)
            elif column in table_columns(table):
                raise BagwiseError(
                    f"{table}: column {column!r} is in {self.labels} too: leave it out of one of the two files"
                )
        return found

    def _with(self, path: Path, column: str) -> Path:
        """Give the file that says a column of bags."""
        return path if self.labels is None or self.beside_in(path, column) else self.labels

    def read_like(
        self,
        features: Sequence[str] | None,
        *apart: str | None,
        coordinates: bool = False,
        like: Sequence[Column] | None = None,
        streamed: bool = False,
    ) -> Bags:
        """Read bags to predict, whose labels do not matter and may be missing.

        Parameters
        ----------
        features
            The names of the features that the model learnt from, in its order; None where they had no names. A table
            must have these columns; others of numbers it may only have if this source names them.
        *apart
            Columns that say something of bags, and so are no features unless the model learnt from them.
        coordinates
            Read the coordinates that are in the files of a folder, too.
        like
            What features stood for, where not all were numbers: columns are read as that, and others not at all.
        streamed
            Leave the instances of a large table in their file (`bagwise.io.streamed`), without names and coordinates.

        Returns
        -------
        Bags
            Without labels.

        Raises
        ------
        BagwiseError
            If the features are others, or the data will not do.
        """
        path = self.path
        if path is None:
            return self.of_data_set().with_labels(None)
        if path.is_dir():
            patches, bag = self.patches(path), self.bag or "bag"
            if patches is not None:
                return read_images(path, self.labels, patches, bag=bag, label=None, skip_missing=self.skip_missing)
            return read_folder(
                path, self.labels, bag=bag, label=None, coordinates=coordinates, skip_missing=self.skip_missing
            )
        columns = table_columns(path)
        bag = self._bag(path)
        roles = [bag, *self.label_columns.names, *self.group, self.weight, self.split, self.instance, *self.coordinates]
        roles += apart
        beside = None
        if like is not None:
            learnt = Wanted.as_learnt(like)
            beside = BagTable.of(self.labels, learnt.bag_features)
            features = [name for name in learnt.columns if beside is None or name not in beside.columns]
        elif features is None:
            features = [name for name in columns if name not in roles]
        if bag in columns:
            there, known = set(columns), {*features, *roles, *self._left_out(columns, roles)}
            lacking = [name for name in features if name not in there]
            others = [name for name in columns if name not in known] if like is None else []
            strange = number_columns(path, others) if others else []
            for these, what, cure in (
                (lacking, "lacks", "which the model learnt from: add them"),
                (strange, "has", "which the model did not learn from: leave them out"),
            ):
                if these:
                    raise BagwiseError(f"{path} {what} the features {listed(these, 12)}, {cure}")
        if streamed and path.stat().st_size > _LARGE:
            beside_it = None if beside is None else self.labels
            found = stream_table(path, bag=bag, features=features, like=like, labels=beside_it)
            if found is not None:
                return found
        present = [name for name in self.coordinates if name in columns]
        return read_table(
            path,
            bag=bag,
            group=None,
            instance=self.instance if self.instance in columns else None,
            coordinates=present if len(present) == len(self.coordinates) else (),
            features=features if like is None else None,
            labels=None if beside is None else self.labels,
            like=like,
        )

    def _left_out(self, columns: Sequence[str], roles: Collection[str | None]) -> set[str]:
        """Give the columns that are no features because the user said so."""
        free = [name for name in columns if name not in roles]
        dropped = {name for name in free if any(fnmatchcase(name, pattern) for pattern in self.drop)} | {*self.drop}
        return {*free} if self.features else dropped

    def of_data_set(self) -> Bags:
        """Read a data set by name."""
        for name in ("bag", "label", "event", "time", "labels", "weight", "split"):
            if getattr(self, name):
                option = f"--{name}"
                raise BagwiseError(f"{option} is of no use with the data set {self.data!r}, which has its own: drop it")
        return load_dataset(self.data, self.data_dir)

    def _columns_of_labels(self) -> dict[str, Any]:
        columns = self.label_columns_apart
        return {
            "bag": self.bag or "bag",
            "label": columns.label,
            "event": columns.event,
            "time": columns.time,
            "group": self.first_group,
            "skip_missing": self.skip_missing,
        }

    def _bag(self, path: Path) -> str:
        if self.bag is None:
            raise BagwiseError(f"{path} needs --bag, the column that says which bag a row belongs to: {_columns(path)}")
        return self.bag


def digest_of_labelled(bags: Bags, weights: NDArray[np.float64] | None = None) -> str:
    """Sum up names, instances, labels and weights, so that a run is only ever resumed on the same data.

    Parameters
    ----------
    bags
        Bags with labels.
    weights
        Of the bags, if they have any.

    Returns
    -------
    str
        A hash in hexadecimal.

    Examples
    --------
    >>> one, other = (Bags.from_arrays([[[1.0]]], labels=[label]) for label in (0, 1))
    >>> digest_of_labelled(one) == digest_of_labelled(other)
    False
    """
    assert bags.labels is not None
    counted = b"" if weights is None else weights.tobytes()
    return blake2b(bags.digest() + repr(bags.labels.tolist()).encode() + counted, digest_size=16).hexdigest()


def in_memory_if_small(bags: Bags) -> Bags:
    """Read bags that are in files into memory where they take little of it; training on them is quicker there.

    Parameters
    ----------
    bags
        Any.

    Returns
    -------
    Bags
        The same, or still in their files.
    """
    if not isinstance(bags.instances, StoredInstances):
        return bags
    values = bags.instances
    # Half precision is a way to store numbers, slow to compute with.
    dtype = np.dtype(np.float32) if values.dtype == np.float16 else values.dtype
    size = prod(values.shape) * max(4, dtype.itemsize)
    if size > _SHARE_OF_MEMORY * psutil.virtual_memory().total:
        return bags
    return replace(bags, instances=values[:].astype(dtype, copy=False))


def _columns(path: Path) -> str:
    return f"its columns are {listed(table_columns(path), 12)}"
