"""A set of bags as one packed array."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise import checks
from bagwise.errors import BagwiseError
from bagwise.feature_columns import Column, Wanted, recoded
from bagwise.frames import as_pandas, in_one_order, packed_parts
from bagwise.label_columns import LabelColumns
from bagwise.labels import summed_up, valid_label_names, valid_labels
from bagwise.order import told_again
from bagwise.stored import StoredInstances

__all__ = ["Bag", "Bags", "BagsLike", "as_bags", "in_feature_order", "like_learnt"]


@dataclass(frozen=True, eq=False)
class Bag:
    """One bag, as `Bags` gives it when indexed by a number or iterated.

    Attributes
    ----------
    name
        The bag's name.
    instances
        Array of shape (K, ...).
    label
        The bag's label, or None.
    group
        The bag's group (patient, tissue block, ...), or None.
    instance_labels
        Array of shape (K,), or None.
    coordinates
        Array of shape (K, C), or None.
    instance_names
        Array of shape (K,), or None.
    sources
        Array of shape (K,), or None.

    Examples
    --------
    >>> import bagwise as bw
    >>> bag = bw.Bags.from_arrays([[[0.0], [1.0]], [[2.0]]], labels=["no", "yes"])[1]
    >>> bag.name, str(bag.label), len(bag)
    ('1', 'yes', 1)
    """

    name: str
    instances: NDArray[Any]
    label: Any = None
    group: Any = None
    instance_labels: NDArray[Any] | None = None
    coordinates: NDArray[Any] | None = None
    instance_names: NDArray[np.object_] | None = None
    sources: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.instances)


@dataclass(frozen=True, eq=False, repr=False)
class Bags:
    """Bags of instances with a label each, packed one bag after the other into one array.

    Bag ``b`` is ``instances[offsets[b]:offsets[b + 1]]``. Nothing is padded. A `Bags` never changes: indexing gives a
    new one, and each bag keeps its name, label, group and whatever else belongs to it. It has the `shape` ``(B,)``, so
    scikit-learn's `cross_val_score`, `GridSearchCV` and the like take it as ``X``.

    Parameters
    ----------
    instances
        Array of shape (N, ...): numbers (features of any shape; images as (N, H, W) or (N, H, W, 3)). Not copied.
        Or `bagwise.stored.StoredInstances`, which stay in files until a bag is looked at.
    offsets
        Where each bag begins and the last one ends: B + 1 whole numbers that rise from 0 to N.
    labels
        One label a bag: classes (whole numbers, booleans, strings), real numbers, or scikit-survival's structured array
        of event and time; or several, shape (B, L): numbers, or 0 and 1 with NaN where that is not known
        (`bagwise.labels.valid_labels`).
    names
        One name a bag, each only once. By default the bag's position, ``"0"``, ``"1"``, ... Half a surrogate pair, as
        Python makes it of a file's name that is no UTF-8, becomes the escape that Python prints for it.
    groups
        What a bag belongs to (patient, tissue block): bags of one group never end up on both sides of a split.
    instance_labels
        One label an instance. Never used in training; evaluation compares instance weights and scores with them.
    coordinates
        Where an instance was, shape (N, C).
    feature_names
        One name a feature, for instances that are vectors.
    instance_names
        What an instance is called; names may stand more than once.
    sources
        Which file an instance is from: a slide of a patient has a map of its own. Bags from a folder know it.
    label_names
        What each of several labels is called, where labels have shape (B, L).
    columns
        What the numbers of each feature stand for (`bagwise.feature_columns.Column`), where they are not all numbers
        without gaps. Instances are then raw: a category is a code, a date seconds, and what is missing NaN; each model
        learns from its own training bags what it is shown of them (`bagwise.encoding`). Bags from a table know it.

    Raises
    ------
    BagwiseError
        If there are no bags, a bag is empty, a value is NaN or infinite, or the parts do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> import bagwise as bw
    >>> bags = bw.Bags(np.arange(10.0).reshape(5, 2), offsets=[0, 2, 5], labels=[0, 1], names=["a", "b"])
    >>> bags
    <Bags: 2 bags of 2 to 3 instances (5 in all), each of shape (2,) float64; labels 0: 1, 1: 1>
    >>> bags[1].instances.shape
    (3, 2)
    >>> bags[[1, 0]].names.tolist()
    ['b', 'a']
    """

    instances: NDArray[Any] | StoredInstances
    offsets: NDArray[np.int64]
    labels: NDArray[Any] | None = None
    names: NDArray[np.object_] = None  # type: ignore[assignment]  # filled in below
    groups: NDArray[Any] | None = None
    instance_labels: NDArray[Any] | None = None
    coordinates: NDArray[Any] | None = None
    feature_names: tuple[str, ...] | None = None
    instance_names: NDArray[np.object_] | None = None
    sources: NDArray[np.object_] | None = None
    label_names: tuple[str, ...] | None = None
    columns: tuple[Column, ...] | None = None

    def __post_init__(self) -> None:
        parts: dict[str, Any] = {"offsets": checks.valid_offsets(self.offsets)}
        count = len(parts["offsets"]) - 1
        parts["names"] = checks.valid_names(self.names, count)
        if isinstance(self.instances, StoredInstances):
            checks.check_extent(self.instances.shape, parts["offsets"], parts["names"])
        else:
            parts["instances"] = checks.valid_instances(
                self.instances, parts["offsets"], parts["names"], gaps=self.columns is not None
            )
        instances = parts.get("instances", self.instances)
        rows = len(instances)
        if self.labels is not None:
            parts["labels"] = valid_labels(self.labels, parts["names"])
        if self.label_names is not None:
            parts["label_names"] = valid_label_names(self.label_names, parts.get("labels"))
        if self.groups is not None:
            parts["groups"] = checks.of_one_kind(self.groups, parts["names"], "group")
        if self.instance_labels is not None:
            parts["instance_labels"] = checks.of_length(self.instance_labels, rows, "instance_labels", "instance")
        if self.coordinates is not None:
            parts["coordinates"] = checks.valid_coordinates(self.coordinates, parts["offsets"], parts["names"])
        if self.feature_names is not None:
            parts["feature_names"] = checks.valid_feature_names(self.feature_names, instances.shape[1:])
        if self.columns is not None:
            parts["columns"] = tuple(self.columns)
            named = tuple(column.name for column in parts["columns"])
            parts["feature_names"] = checks.valid_feature_names(named, instances.shape[1:])
        for what in ("instance_names", "sources"):
            if getattr(self, what) is not None:
                given = checks.of_length(getattr(self, what), rows, what, "instance")
                parts[what] = checks.as_names(given)
        self._set(parts)

    # ---- other ways in ------------------------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls,
        arrays: Sequence[ArrayLike],
        labels: ArrayLike | None = None,
        *,
        names: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        instance_labels: Sequence[ArrayLike] | None = None,
        coordinates: Sequence[ArrayLike] | None = None,
        feature_names: Sequence[str] | None = None,
        instance_names: Sequence[ArrayLike] | None = None,
        label_names: Sequence[str] | None = None,
    ) -> "Bags":
        """Pack a list with one array a bag.

        Parameters
        ----------
        arrays
            One array a bag, each of shape (K, ...): K may differ from bag to bag, the rest may not. Of tables (pandas,
            polars, Arrow) the columns' names become the features', and all are brought into the order of the first.
        labels, names, groups
            One value a bag, as in `Bags`.
        instance_labels, coordinates, instance_names
            One array a bag, of shape (K,), (K, C) and (K,).
        feature_names
            One name a feature. None takes the names of columns, where all of `arrays` are tables.
        label_names
            As in `Bags`.

        Returns
        -------
        Bags
            The bags, in the order of `arrays`.

        Raises
        ------
        BagwiseError
            As `Bags` does, and if the bags' instances differ in shape.

        Examples
        --------
        >>> import bagwise as bw
        >>> bw.Bags.from_arrays([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]], labels=["cat", "dog"])
        <Bags: 2 bags of 1 to 2 instances (3 in all), each of shape (2,) float64; labels cat: 1, dog: 1>
        """
        if not hasattr(arrays, "__len__"):
            raise BagwiseError(f"arrays is of type {type(arrays).__name__}: give a list with one array a bag")
        if len(arrays) == 0:
            raise BagwiseError("there are no bags: give at least one")
        if feature_names is None:
            arrays, feature_names = in_one_order(arrays)
        bag_names = checks.valid_names(names, len(arrays))
        parts = [checks.numeric(array, f"bag {name!r}") for array, name in zip(arrays, bag_names, strict=True)]
        for part, name in zip(parts, bag_names, strict=True):
            if part.size == 0 and part.shape[:1] == (0,):
                raise BagwiseError(f"bag {name!r} is empty: leave it out, or give it at least one instance")
            if part.ndim < 2:
                raise BagwiseError(
                    f"bag {name!r} has shape {part.shape}: a bag is an array of shape (instances, features)"
                )
            if part.shape[1:] != parts[0].shape[1:]:
                raise BagwiseError(
                    f"the instances of bag {name!r} have shape {part.shape[1:]}, those of bag {bag_names[0]!r}"
                    f" {parts[0].shape[1:]}: all bags need instances of one shape"
                )
        offsets = np.cumsum([0, *(len(part) for part in parts)])
        return cls(
            np.concatenate(parts),
            offsets,
            labels,  # type: ignore[arg-type]  # __post_init__ turns all of these into arrays
            bag_names,
            groups,  # type: ignore[arg-type]
            checks.joined(instance_labels, parts, bag_names, "instance_labels"),
            checks.joined(coordinates, parts, bag_names, "coordinates"),
            feature_names,  # type: ignore[arg-type]
            checks.joined(instance_names, parts, bag_names, "instance_names"),
            label_names=label_names,  # type: ignore[arg-type]
        )

    @classmethod
    def from_table(
        cls,
        frame: Any,
        bag: str,
        label: str | Sequence[str] | None = None,
        *,
        event: str | None = None,
        time: str | None = None,
        features: Sequence[str] | None = None,
        drop: Sequence[str] = (),
        categorical: Sequence[str] = (),
        date: Sequence[str] = (),
        order: str | None = None,
        bag_features: Sequence[str] = (),
        like: Sequence[Column] | None = None,
        group: str | None = None,
        instance_label: str | None = None,
        instance: str | None = None,
        coordinates: Sequence[str] = (),
    ) -> "Bags":
        """Read bags from a table whose rows are instances.

        Rows of a bag need not stand together. Bags keep the order in which they first appear, and rows their order
        within the bag. Features may be of all kinds, as `bagwise.read_table` says.

        Parameters
        ----------
        frame
            A pandas or polars DataFrame, an Arrow table, or whatever else has Arrow's method ``__arrow_c_stream__``.
        bag
            The column that says which bag a row belongs to.
        label
            The column with the bag's label, the same in all rows of a bag; or a list of several, of 0 and 1 (nothing
            where that is not known) or of numbers. Without it the bags have no labels.
        event, time
            In the place of `label`, the columns that say whether a bag's event was seen (0, 1, true, false), and when
            it came or until when the bag was seen.
        features
            The columns that describe an instance, by their names or by patterns such as ``"red_*"``. By default all
            columns that nothing else here names.
        drop
            Names or patterns of columns that would be features, and are not.
        categorical
            Names or patterns of features that are categories, whatever they hold: numbers that name something, or
            texts that would be left out.
        date, order, bag_features
            As in `bagwise.read_table`: columns that are dates, though they are text or numbers; the column that puts
            the instances of a bag in an order; and columns that belong to the bag.
        like
            What features stood for in the bags that a model learnt from, its ``columns_``: these columns are read, as
            that. None: all features, as what they hold.
        group
            The column with the bag's group (patient, ...), the same in all rows of a bag.
        instance_label
            The column with labels of instances, for evaluation only.
        instance
            The column with names of instances.
        coordinates
            The columns that say where an instance was.

        Returns
        -------
        Bags
            The bags, in the order in which they first appear.

        Raises
        ------
        BagwiseError
            If this is no table, if a column is missing or holds what no model can take, or if a bag's rows disagree
            about its label or group.

        Examples
        --------
        >>> import pandas as pd
        >>> import bagwise as bw
        >>> frame = pd.DataFrame(
        ...     {"molecule": ["a", "b", "a"], "active": [1, 0, 1], "width": [1.0, 2.0, 3.0], "height": [4.0, 5.0, 6.0]}
        ... )
        >>> bags = bw.Bags.from_table(frame, bag="molecule", label="active")
        >>> bags.feature_names, bags[0].instances.tolist()
        (('width', 'height'), [[1.0, 4.0], [3.0, 6.0]])
        """
        return cls(
            **packed_parts(
                as_pandas(frame),
                bag,
                LabelColumns.of(label, event, time),
                wanted=Wanted(features, drop, categorical, date, order, bag_features)
                if like is None
                else Wanted.as_learnt(like),
                group=group,
                instance_label=instance_label,
                instance=instance,
                coordinates=coordinates,
            )
        )

    @classmethod
    def concat(cls, parts: Sequence["Bags"]) -> "Bags":
        """Put several sets of bags one after the other.

        Parameters
        ----------
        parts
            The sets, all with instances of one shape, and all with or all without labels, groups and so on.

        Returns
        -------
        Bags
            All bags, those of the first part first.

        Raises
        ------
        BagwiseError
            If the sets do not fit together.

        Examples
        --------
        >>> import bagwise as bw
        >>> bags = bw.Bags.from_arrays([[[1.0]], [[2.0], [3.0]]], labels=[0, 1])
        >>> len(bw.Bags.concat([bags, bags[1:]]))
        3
        """
        if not parts:
            raise BagwiseError("there is nothing to concatenate: give at least one set of bags")
        head = parts[0]
        joined: dict[str, Any] = {name: getattr(head, name) for name in ("feature_names", "label_names", "columns")}
        for number, part in enumerate(parts):
            if part.instances.shape[1:] != head.instances.shape[1:]:
                raise BagwiseError(
                    f"set {number} has instances of shape {part.instances.shape[1:]}, set 0 of shape"
                    f" {head.instances.shape[1:]}: all need one shape"
                )
            for of, one, other in (
                ("feature", part.feature_names, head.feature_names),
                ("label", part.label_names, head.label_names),
            ):
                if one != other:
                    raise BagwiseError(f"the {of} names of set {number} differ from those of set 0")
            if part.columns != head.columns:
                raise BagwiseError(
                    f"the columns of set {number} hold other categories or kinds than those of set 0: read them as one"
                    " table"
                )
        for name in ("instances", "labels", "names", "groups", "instance_labels", "coordinates", "instance_names"):
            pieces = [getattr(part, name) for part in parts]
            if all(piece is None for piece in pieces):
                continue
            if any(piece is None for piece in pieces):
                raise BagwiseError(f"some of the sets have {name} and some have not: give all of them {name}, or none")
            for number, piece in enumerate(pieces):
                if checks.kind(piece) != checks.kind(pieces[0]) or piece.shape[1:] != pieces[0].shape[1:]:
                    raise BagwiseError(
                        f"the {name} of set {number} are {piece.dtype} of shape {piece.shape[1:]}, those of set 0"
                        f" {pieces[0].dtype} of shape {pieces[0].shape[1:]}: all sets need the same"
                    )
            joined[name] = np.concatenate(pieces)
        if all(part.sources is not None for part in parts):  # what was in memory is from no file
            joined["sources"] = np.concatenate([part.sources for part in parts])
        joined["offsets"] = np.concatenate([[0], np.cumsum(np.concatenate([part.sizes for part in parts]))])
        return cls._unchecked(joined)

    def with_labels(self, labels: ArrayLike | None, label_names: Sequence[str] | None = None) -> "Bags":
        """Give the same bags with other labels, or with none.

        Parameters
        ----------
        labels
            One label a bag, or None.
        label_names
            What each of several labels is called.

        Returns
        -------
        Bags
            New bags, which share everything else with these.

        Raises
        ------
        BagwiseError
            If there is not one label for each bag.

        Examples
        --------
        >>> import bagwise as bw
        >>> bw.Bags.from_arrays([[[1.0]], [[2.0]]]).with_labels(["a", "b"]).labels.tolist()
        ['a', 'b']
        """
        checked = None if labels is None else valid_labels(labels, self.names)
        named = None if label_names is None else valid_label_names(label_names, checked)
        return self._unchecked({**self._parts(), "labels": checked, "label_names": named})

    # ---- what it holds ------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int]:
        """``(number of bags,)``: what scikit-learn indexes by."""
        return (len(self),)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of instances of each bag, shape (B,)."""
        return np.diff(self.offsets)

    @property
    def instance_shape(self) -> tuple[int, ...]:
        """Shape of one instance: ``(D,)`` for vectors, ``(H, W)`` or ``(H, W, 3)`` for images."""
        return self.instances.shape[1:]

    @property
    def bag_features(self) -> NDArray[np.float64] | None:
        """What belongs to bags, shape (B, F), as raw as instances, which have it too (`columns` with a role ``"bag"``).

        None where nothing does.
        """
        places = [number for number, column in enumerate(self.columns or ()) if column.role == "bag"]
        return np.asarray(self.instances)[self.offsets[:-1, None], places] if places else None

    @property
    def keys(self) -> NDArray[np.uint64]:
        """A number a bag, shape (B,), made from its name alone.

        Everything random in training that concerns a bag depends on its key and on a seed, so it does not depend on the
        bag's position or on which other bags there are.
        """
        digests = (blake2b(name.encode(), digest_size=8).digest() for name in self.names)
        return np.fromiter((int.from_bytes(digest) for digest in digests), np.uint64, len(self))

    def digest(self) -> bytes:
        """Sum up names and instances, so that a training is only ever gone on with on the same data.

        Of bags in files it counts which files they are and when these were changed.

        Returns
        -------
        bytes

        Examples
        --------
        >>> Bags.from_arrays([[[1.0]]]).digest() == Bags.from_arrays([[[2.0]]]).digest()
        False
        """
        digest = blake2b(self.keys.tobytes() + self.offsets.tobytes())
        digest.update(b"" if self.columns is None else repr(self.columns).encode())
        if isinstance(self.instances, StoredInstances):
            digest.update(self.instances.identity.encode())
            return digest.digest()
        for bag in self:
            digest.update(np.ascontiguousarray(bag.instances).data)
        return digest.digest()

    def rows(self, positions: ArrayLike) -> NDArray[np.int64]:
        """Give where the instances of some bags lie in `instances`.

        Parameters
        ----------
        positions
            Of the bags.

        Returns
        -------
        array
            Row numbers, one bag after the other.

        Examples
        --------
        >>> import bagwise as bw
        >>> bw.Bags.from_arrays([[[1.0], [2.0]], [[3.0]], [[4.0], [5.0]]]).rows([2, 0]).tolist()
        [3, 4, 0, 1]
        """
        chosen = np.asarray(positions)
        sizes = self.sizes[chosen]
        ends = np.cumsum(sizes)
        return np.repeat(self.offsets[chosen] - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, key: int | np.integer[Any]) -> Bag: ...
    @overload
    def __getitem__(self, key: Any) -> "Bags": ...
    def __getitem__(self, key: Any) -> "Bag | Bags":
        # scikit-learn writes X[key, ...] for whatever has a shape.
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:
            key = key[0]
        if isinstance(key, int | np.integer):
            return self._bag(int(key))
        return self._take(checks.positions(key, len(self)))

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        # What scikit-learn calls where it wants a table; of a sequence it would make an array of objects.
        raise BagwiseError(
            "bags are no table, which StandardScaler, SelectKBest, permutation_importance and their like want:"
            " leave a scaler out, since methods standardise features themselves (standardize), and see"
            " bagwise.explain.contrast for the features that count; bags.instances is the array of all instances"
        )

    def __iter__(self) -> Iterator[Bag]:
        return (self._bag(position) for position in range(len(self)))

    def __repr__(self) -> str:
        sizes = self.sizes
        spread = f"{sizes.min()}" if sizes.min() == sizes.max() else f"{sizes.min()} to {sizes.max()}"
        text = (
            f"<Bags: {len(self)} bag{'s' * (len(self) != 1)} of {spread} instances ({len(self.instances)} in all),"
            f" each of shape {self.instance_shape} {self.instances.dtype}"
        )
        if self.labels is None:
            return text + "; no labels>"
        return f"{text}; labels {summed_up(self.labels)}>"

    # ---- how it is made -----------------------------------------------------------------------------

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(state)

    def _set(self, parts: dict[str, Any]) -> None:
        for name, value in parts.items():
            if isinstance(value, np.ndarray):
                value = value.view()
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    def _parts(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def _unchecked(cls, parts: dict[str, Any]) -> "Bags":
        bags = object.__new__(cls)
        bags._set(parts)
        return bags

    def _bag(self, position: int) -> Bag:
        if not -len(self) <= position < len(self):
            raise IndexError(f"there is no bag {position}: there are {len(self)}")
        position %= len(self)
        rows = slice(*self.offsets[position : position + 2])

        def at(values: NDArray[Any] | None, key: Any) -> Any:
            return None if values is None else values[key]

        return Bag(
            name=self.names[position],
            instances=self.instances[rows],
            label=at(self.labels, position),
            group=at(self.groups, position),
            instance_labels=at(self.instance_labels, rows),
            coordinates=at(self.coordinates, rows),
            instance_names=at(self.instance_names, rows),
            sources=at(self.sources, rows),
        )

    def _take(self, positions: NDArray[np.int64]) -> "Bags":
        if len(positions) == 0:
            raise BagwiseError("the selection holds no bag: select at least one")
        offsets = np.concatenate([[0], np.cumsum(self.sizes[positions])])
        rows: Any
        if np.all(np.diff(positions) == 1):
            rows = slice(self.offsets[positions[0]], self.offsets[positions[-1] + 1])  # neighbours: a view, no copy
        else:
            rows = self.rows(positions)

        def take(values: NDArray[Any] | None, key: Any) -> NDArray[Any] | None:
            return None if values is None else values[key]

        if isinstance(self.instances, StoredInstances):
            runs = [(int(self.offsets[position]), int(self.offsets[position + 1])) for position in positions]
            instances: NDArray[Any] | StoredInstances = self.instances.select(runs)
        else:
            instances = self.instances[rows]
        return self._unchecked(
            {
                "instances": instances,
                "offsets": offsets,
                "labels": take(self.labels, positions),
                "names": self.names[positions],
                "groups": take(self.groups, positions),
                "instance_labels": take(self.instance_labels, rows),
                "coordinates": take(self.coordinates, rows),
                "feature_names": self.feature_names,
                "instance_names": take(self.instance_names, rows),
                "sources": take(self.sources, rows),
                "label_names": self.label_names,
                "columns": self.columns,
            }
        )


BagsLike = Bags | Sequence[ArrayLike]


def as_bags(X: BagsLike, y: ArrayLike | None = None) -> Bags:
    """Turn what a user passes as ``X`` and ``y`` into `Bags`.

    Parameters
    ----------
    X
        `Bags`, or a list with one array of shape (instances, ...) a bag.
    y
        One label a bag. None keeps the labels that `X` has.

    Returns
    -------
    Bags
        `X` itself, where it is `Bags` and `y` is None.

    Raises
    ------
    BagwiseError
        If `X` is something else, or its parts do not fit together.

    Examples
    --------
    >>> as_bags([[[1.0], [2.0]], [[3.0]]], y=[0, 1])
    <Bags: 2 bags of 1 to 2 instances (3 in all), each of shape (1,) float64; labels 0: 1, 1: 1>
    """
    if isinstance(X, Bags):
        return X if y is None else X.with_labels(y)
    if isinstance(X, list | tuple):
        if any(isinstance(one, Bag) for one in X):
            raise BagwiseError(
                "X is a list of Bag objects: give the Bags that they are from; bags[[0, 2]] is some of them"
            )
        return Bags.from_arrays(X, y)
    told = "give Bags, or a list with one array of shape (instances, features) a bag"
    if hasattr(X, "columns"):
        told = "which rows are of one bag, it does not say: make Bags of it, Bags.from_table(X, bag=..., label=...)"
    elif isinstance(X, np.ndarray) and X.ndim == 2:
        told = "which rows are of one bag, it does not say: make Bags of it, Bags(X, offsets, labels)"
    elif isinstance(X, np.ndarray):
        told = "if its first axis counts bags, give list(X); if instances, Bags(X, offsets, labels)"
    elif isinstance(X, Bag):
        told = "give Bags: bags[[3]] are bags of which there is one"
    shape = f" and shape {X.shape}" if isinstance(X, np.ndarray) else ""
    raise BagwiseError(f"X is of type {type(X).__name__}{shape}: {told}")


def in_feature_order(bags: Bags, names: Sequence[str]) -> Bags:
    """Put the features of bags, which have names, into another order.

    Parameters
    ----------
    bags
        Bags of vectors with `feature_names`.
    names
        Of the features, in the order wanted.

    Returns
    -------
    Bags
        The very same, where the order is that already.

    Raises
    ------
    BagwiseError
        If the bags lack one of the features or have another.

    Examples
    --------
    >>> bags = Bags([[1.0, 2.0]], [0, 1], feature_names=["width", "height"])
    >>> in_feature_order(bags, ["height", "width"]).instances.tolist()
    [[2.0, 1.0]]
    """
    assert bags.feature_names is not None
    given = list(bags.feature_names)
    if given == list(names):
        return bags
    place = {name: number for number, name in enumerate(given)}
    for name in names:
        if name not in place:
            close = " or ".join(map(repr, get_close_matches(name, given)))
            raise BagwiseError(
                f"the bags have no feature {name!r}, which the model learnt from"
                + (f": is it {close}?" if close else "")
            )
    for name in set(given).difference(names):
        raise BagwiseError(f"the bags have a feature {name!r}, which the model did not learn from: leave it out")
    if len(place) < len(given) or len(given) != len(names) or isinstance(bags.instances, StoredInstances):
        raise BagwiseError(
            "the bags have other features than the model learnt from, or in another order: give the same"
        )
    order = [place[name] for name in names]
    columns = None if bags.columns is None else tuple(bags.columns[number] for number in order)
    return replace(bags, instances=bags.instances[:, order], feature_names=tuple(names), columns=columns)


def like_learnt(
    bags: Bags, shape: Sequence[int], names: Sequence[str] | None, columns: Sequence[Column] | None = None
) -> Bags:
    """Give bags with their features in the order that a model learnt from, where names are known.

    Parameters
    ----------
    bags
        The bags.
    shape
        Of an instance learnt from.
    names
        Of the features learnt from; None where they had none.
    columns
        What these stood for, where not all were numbers.

    Returns
    -------
    Bags
        The very same, where the order is that already, and categories have the same codes.

    Raises
    ------
    BagwiseError
        If the bags have other features, or instances of another shape.

    Examples
    --------
    >>> bags = Bags([[1.0, 2.0]], [0, 1])
    >>> like_learnt(bags, (2,), None) is bags
    True
    """
    if bags.feature_names is not None and names is not None:
        bags = in_feature_order(bags, names)
    if bags.instance_shape != tuple(shape):
        raise BagwiseError(
            f"the instances have shape {bags.instance_shape}, but the model learnt from instances of shape"
            f" {tuple(shape)}: give it the same features in the same order"
        )
    if columns is None and bags.columns is not None:
        _check_plain(bags)
        return replace(bags, columns=None)
    if columns is None or bags.columns == tuple(columns):
        return bags
    if bags.feature_names is None:
        raise BagwiseError("the bags have features without names, and the model learnt from columns of a table")
    assert isinstance(bags.instances, np.ndarray)
    codes = told_again(recoded(bags.instances, bags.columns, bags.feature_names, columns), columns, bags.offsets)
    return replace(bags, instances=codes, columns=tuple(columns))


def _check_plain(bags: Bags) -> None:
    """Refuse what is no number, or missing, where a model learnt from numbers without gaps."""
    assert bags.columns is not None
    assert isinstance(bags.instances, np.ndarray)
    for number, column in enumerate(bags.columns):
        if column.kind != "number":
            raise BagwiseError(f"the feature {column.name!r} is a {column.kind}, and the model learnt from numbers")
        gaps = np.isnan(bags.instances[:, number])
        if gaps.any():
            bag = bags.names[np.searchsorted(bags.offsets, np.argmax(gaps), side="right") - 1]
            raise BagwiseError(
                f"the feature {column.name!r} has a gap in bag {bag!r}, and had none where the model learnt: fill it in"
            )
