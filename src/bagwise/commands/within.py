"""What a page says of the columns of instances."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.explain import (
    as_text,
    can_be_told,
    columns_shown,
    contributions,
    leading_in_bags,
    rescaled_in_bags,
    values_of,
)
from bagwise.methods.asked import Asked
from bagwise.reports import InColumn

__all__ = ["in_columns"]

_MOST_INSTANCES = 3  # of a bag
_LEAST = 0.1  # of the importance of the first
_MOST_COLUMNS = 6  # of an instance


def in_columns(
    bags: Bags, importance: NDArray[np.floating], models: Sequence[Asked] = (), first: Sequence[str] = ()
) -> Mapping[int, list[InColumn]]:
    """Say what stands in columns of the instances of each bag that count most.

    These are at most three, whose rescaled importance is a tenth or more, and at most six columns of each.

    Parameters
    ----------
    bags
        Any; of those without names of features nothing is said.
    importance
        What instances are ranked by, packed, shape (N,).
    models
        Whose scores columns contribute to, where that can be told; the columns that contribute most are shown.
    first
        Else the columns to show first.

    Returns
    -------
    dict
        Of each instance, by its position.

    Examples
    --------
    >>> bags = Bags(np.array([[0.5], [1.5]]), [0, 2], feature_names=["size"])
    >>> in_columns(bags, np.array([0.25, 0.75]))[1]
    [InColumn(column='size', value='1.5', part=None)]
    """
    rows = leading_in_bags(importance, bags.offsets, _MOST_INSTANCES)
    rows = rows[rescaled_in_bags(importance, bags.offsets)[rows] >= _LEAST]
    told = contributions(models, bags, rows) if models and can_be_told(models, bags) else None
    names = columns_shown(bags, first)[:_MOST_COLUMNS] if told is None else list(told.columns)
    if not names:
        return {}
    values = values_of(bags, rows, names).astype(object).to_numpy()
    found = {}
    for number, row in enumerate(rows.tolist()):
        parts = [None] * len(names) if told is None else told.parts[number].tolist()
        order = sorted(range(len(names)), key=lambda place: -abs(parts[place] or 0.0))[:_MOST_COLUMNS]
        found[row] = [InColumn(as_text(names[place]), as_text(values[number, place]), parts[place]) for place in order]
    return found
