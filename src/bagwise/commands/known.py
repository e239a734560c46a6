"""Labels that are known of bags which a run answers for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.checks import valid_weights
from bagwise.commands.data import DataSource
from bagwise.errors import BagwiseError
from bagwise.io.labels import known_labels
from bagwise.io.problems import tell
from bagwise.io.spellings import match_classes
from bagwise.label_columns import LABEL, LabelColumns
from bagwise.labels import EVENT_AND_TIME
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.targets.grades import OrdinalTarget
from bagwise.targets.several import MultiLabelTarget
from bagwise.targets.survival import SurvivalTarget

__all__ = ["Known", "find_known"]


class Known(NamedTuple):
    """The labels of the bags that have one.

    Attributes
    ----------
    bags
        Their positions, rising, shape (K,).
    labels
        Theirs, as the target has them, shape (K, ...).
    weights
        How much each counts in measures, shape (K,); None: all alike.

    Examples
    --------
    >>> len(Known(np.array([2]), np.array(["ill"])).bags)
    1
    """

    bags: NDArray[np.int64]
    labels: NDArray[Any]
    weights: NDArray[np.float64] | None = None


def find_known(source: DataSource, names: Iterable[str], target: Target) -> Known:
    """Look up the labels of bags that `DataSource.read_like` gave.

    Parameters
    ----------
    source
        The data; columns are called as in training.
    names
        Of the bags.
    target
        What the run learnt. Classes and grades may be written in another way (`bagwise.io.spellings.match_classes`).

    Returns
    -------
    Known

    Raises
    ------
    BagwiseError
        If a table of labels cannot be read, a label is none that the run could have learnt, or a weight is none.
    """
    chosen = isinstance(target, ClassTarget | OrdinalTarget)
    columns = source.label_columns or LabelColumns((LABEL,))
    path, found = source.path, {}
    if path is None:
        bags = source.of_data_set()
        found = {} if bags.labels is None else dict(zip(bags.names, bags.labels.tolist(), strict=True))
    elif source.labels is not None or not path.is_dir():
        found = known_labels(source.labels or path, source.bag or "bag", columns, as_written=chosen)
    asked, where = list(names), str(source.labels or source.data)
    given: Mapping[str, Any] = {name: found[name] for name in asked if name in found}
    if chosen:
        assert target.names is not None
        given = match_classes(given, target.names, where)
    labels = np.array(list(given.values())) if path is None or chosen else columns.array(list(given.values()))
    if len(given) and not _fit(labels, target):
        raise BagwiseError(
            f"{where}: {columns} holds no labels of the kind that the run learnt ({target.kind}): give such, or leave"
            " them empty"
        )
    return Known(np.flatnonzero([name in given for name in asked]), labels, _weights(source, list(given)))


def _weights(source: DataSource, names: Sequence[str]) -> NDArray[np.float64] | None:
    """Look up how much bags count, where the run learnt so and the data say it of all of them."""
    if source.weight is None or source.path is None or not names:
        return None
    try:
        found, problems = source.known_weights(names)
    except BagwiseError:  # there is no such column, which new data need not have
        return None
    tell(problems)
    if not found.keys() >= set(names):
        return None
    return valid_weights([found[name] for name in names], np.array(names, object))


def _fit(labels: NDArray[Any], target: Target) -> bool:
    """Say whether labels of numbers, of 0 and 1, or of lives are such."""
    if isinstance(target, ClassTarget | OrdinalTarget):
        return True
    if isinstance(target, SurvivalTarget):
        return labels.dtype == EVENT_AND_TIME
    if isinstance(target, MultiLabelTarget):
        either = labels.ndim == 2 and ((labels == 0) | (labels == 1) | (labels != labels)).all()
        return bool(either) and labels.shape[1] == target.labels
    several = target.label_names
    return labels.dtype.kind in "biuf" and labels.shape[1:] == (() if several is None else (len(several),))
