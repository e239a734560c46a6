"""A labelled cohort, read as a run reads what it is asked about: bags, labels, groups, patients and columns."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.commands.data import DataSource, digest_of_labelled, in_memory_if_small
from bagwise.commands.division import parts_of
from bagwise.commands.known import find_known
from bagwise.commands.runs import Run
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.evaluation.divisions import connected_groups
from bagwise.io.problems import left_out, some
from bagwise.label_columns import LABEL, LabelColumns
from bagwise.methods.asked import common_target

__all__ = ["ReadCohort", "read_cohort"]

_MOST_SUBGROUPS = 50


@dataclass(frozen=True, eq=False)
class ReadCohort:
    """What was read.

    Attributes
    ----------
    bags
        Those that have a label, with it.
    weights
        How much each counts, shape (B,), or None.
    groups
        Of each bag its group, shape (B,), or None. Bags of a patient are always in one.
    patients
        Of each bag its patient, shape (B,), or None where nobody asked.
    columns
        By the name of a column that makes subgroups, what it says of each bag.
    left_out
        How many bags were left out, without a label or for learning.
    learnt_from
        Whether these are the very bags that the run learnt from.
    """

    bags: Bags
    weights: NDArray[np.float64] | None
    groups: NDArray[np.object_] | None
    patients: NDArray[np.object_] | None
    columns: Mapping[str, Sequence[str | None]]
    left_out: int
    learnt_from: bool


def read_cohort(run: Run, source: DataSource, by: Sequence[str] = (), patient: str | None = None) -> ReadCohort:
    """Read bags with labels to measure a run by.

    Parameters
    ----------
    run
        The run, which says what labels there are and what features are called.
    source
        The data. Where they have the column that divided the bags of the run (``--split``), those for test are taken.
    by
        Columns that make subgroups.
    patient
        The column that says whose a bag is.

    Returns
    -------
    ReadCohort

    Raises
    ------
    BagwiseError
        If no bag has a label, a label is none that the run learnt, a column is not there or not the same in all rows of
        a bag, or the data will not do.
    """
    path = source.path
    if path is not None and path.is_dir() and source.labels is None:
        raise BagwiseError(f"{path} is a folder: say with --labels which table has the label of each bag")
    source = _with_columns_that_are_there(run, source)
    for column in (*by, patient):
        if column is not None and path is not None and not source.has(column):
            raise BagwiseError(f"{source.labels or path}: there is no column {column!r}: name one that is there")
    bags = in_memory_if_small(source.read_like(run.feature_names, *by, patient, coordinates=True, like=run.columns))
    known = find_known(source, bags.names, common_target(run.models))
    if not len(known.bags):
        columns = source.label_columns or LabelColumns((LABEL,))
        raise BagwiseError(
            f"{source.labels or source.data} has a label of no bag in {columns}: name the column with --label; without"
            " labels, bagwise predict asks the run"
        )
    kept = np.ones(len(known.bags), bool)
    labelled = bags[known.bags].with_labels(known.labels, common_target(run.models).label_names)
    learnt_from = digest_of_labelled(labelled, known.weights) == run.asked.get("digest") and source.split is None
    if len(labelled) < len(bags):
        lacking = np.delete(bags.names, known.bags)
        warnings.warn(left_out(lacking.tolist()), BagwiseWarning, stacklevel=2)
    if source.split is not None:
        kept = np.array([part == "test" for part in parts_of(labelled, source)])
        if not kept.any():
            raise BagwiseError(f"column {source.split!r} says of no bag that it is for test: there must be some")
    labelled = labelled[kept]
    patients = None if patient is None else _patients(source, labelled, patient)
    columns_of_bags = {column: _subgroups(source, labelled, column) for column in by}
    return ReadCohort(
        bags=labelled,
        weights=None if known.weights is None else known.weights[kept],
        groups=_groups(source, labelled, patients),
        patients=patients,
        columns=columns_of_bags,
        left_out=len(bags) - len(labelled),
        learnt_from=learnt_from,
    )


def _with_columns_that_are_there(run: Run, source: DataSource) -> DataSource:
    """Leave out what the run knows of bags and new data need not have: groups, which is told, and a division."""
    if source.path is None:
        return replace(source, group=())
    learnt: Any = run.asked["data"].get("group") or ()
    learnt = (learnt,) if isinstance(learnt, str) else tuple(learnt)
    missing = [column for column in source.group if not source.has(column)]
    for column in missing:
        where = source.labels or source.data
        if column not in learnt:
            raise BagwiseError(f"{where}: there is no column {column!r}, which --group names: name one that is there")
        told = f"{where} has no column {column!r} with the group of a bag: intervals take each bag for itself"
        warnings.warn(told, BagwiseWarning, stacklevel=3)
    divided = source.split is not None and run.asked.get("division") and source.has(source.split)
    return replace(
        source, group=tuple(c for c in source.group if c not in missing), split=source.split if divided else None
    )


def _patients(source: DataSource, bags: Bags, column: str) -> NDArray[np.object_]:
    found = np.array(source.values(bags.names, column), dtype=object)
    for name, patient in zip(bags.names, found, strict=True):
        if patient is None:
            raise BagwiseError(
                f"column {column!r} has nothing for bag {name!r}: give it a patient, or leave the bag out"
            )
    return found


def _groups(source: DataSource, bags: Bags, patients: NDArray[np.object_] | None) -> NDArray[np.object_] | None:
    of_columns = source.groups(bags.names) if source.group else bags.groups
    columns: list[Any] = [column for column in (of_columns, patients) if column is not None]
    return connected_groups(*columns) if columns else None


def _subgroups(source: DataSource, bags: Bags, column: str) -> list[str | None]:
    values = source.values(bags.names, column)
    kinds = {value for value in values if value is not None}
    if not kinds or len(kinds) > _MOST_SUBGROUPS:
        told = f"has {len(kinds):,} values" if kinds else "is empty"
        raise BagwiseError(
            f"column {column!r} {told}, and --by takes one of 1 to {_MOST_SUBGROUPS}: give a column of few, such as"
            " sites"
        )
    lacking = [str(name) for name, value in zip(bags.names, values, strict=True) if value is None]
    if lacking:
        have = "1 bag has" if len(lacking) == 1 else f"{len(lacking):,} bags have"
        told = f"{have} nothing in column {column!r} and count in no subgroup of it ({some(lacking)})"
        warnings.warn(told, BagwiseWarning, stacklevel=3)
    return values
