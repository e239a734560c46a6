"""Which bags a page shows, and how."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.commands.verdicts import Verdicts
from bagwise.reports import BagView, InColumn

__all__ = ["as_texts", "bag_views", "choose", "choose_bags"]

_MOST_BAGS = 200


def as_texts(labels: Iterable[Any]) -> NDArray[np.object_]:
    """Give labels as texts, and None as it is.

    Parameters
    ----------
    labels
        One a bag.

    Returns
    -------
    array
        Shape (B,).

    Examples
    --------
    >>> as_texts([1, None]).tolist()
    ['1', None]
    """
    return np.array([None if label is None else str(label) for label in labels], dtype=object)


def choose_bags(
    labels: NDArray[np.object_], predicted: NDArray[np.object_], probabilities: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Choose at most 200 bags to show.

    Up to a half are wrong predictions, the surest of them. The rest are as many of each class as there is room for: the
    first that are right, or the surest where no label is known.

    Parameters
    ----------
    labels
        Of each bag its label as text, or None where it is unknown.
    predicted
        Of each bag the predicted class as text.
    probabilities
        Of each bag, shape (B, number of classes).

    Returns
    -------
    array
        Rising positions of bags.

    Examples
    --------
    >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> choose_bags(as_texts([0, 0]), as_texts([0, 1]), probabilities).tolist()
    [0, 1]
    """
    unknown = pd.isna(labels)
    surest = np.argsort(-probabilities.max(axis=1), kind="stable")
    order = surest if unknown.all() else np.arange(len(labels))
    kinds = np.where(unknown, predicted, labels)
    wrong = kinds != predicted
    chosen = [surest[wrong[surest]][: _MOST_BAGS // 2]]
    present = np.unique(kinds)
    room = max(1, (_MOST_BAGS - len(chosen[0])) // len(present))
    chosen += [order[~wrong[order] & (kinds[order] == kind)][:room] for kind in present]
    return np.sort(np.concatenate(chosen))


def choose(verdicts: Verdicts) -> NDArray[np.int64]:
    """Choose at most 200 bags to show: as `choose_bags` does, or of numbers those that are furthest off.

    Parameters
    ----------
    verdicts
        What the page says of all bags.

    Returns
    -------
    array
        Rising positions of bags; of numbers those furthest off come first.

    Examples
    --------
    >>> texts = as_texts([1, 2, 3])
    >>> choose(Verdicts(texts, texts, None, np.array([0.1, 3.0, 2.0]))).tolist()
    [1, 2, 0]
    """
    if verdicts.probabilities is None:
        assert verdicts.off is not None
        return np.argsort(-verdicts.off, kind="stable")[:_MOST_BAGS].astype(np.int64)
    return choose_bags(verdicts.labels, verdicts.predicted, verdicts.probabilities[:, None])


def bag_views(
    bags: Bags,
    labels: NDArray[np.object_],
    predicted: NDArray[np.object_],
    probabilities: NDArray[np.floating] | None,
    importance: NDArray[np.floating] | None,
    key: NDArray[np.bool_] | None = None,
    columns: Mapping[int, Sequence[InColumn]] = MappingProxyType({}),
    evidence: NDArray[np.floating] | None = None,
) -> list[BagView]:
    """Show bags as a page does.

    Parameters
    ----------
    bags
        The bags.
    labels
        Of each bag its label as text, or None where it is unknown.
    predicted
        Of each bag the predicted class as text.
    probabilities
        Of each bag, shape (B, number of classes), or (B,), of what is predicted; None where predictions are numbers.
    importance
        What instances are ranked by, packed, shape (N,); None where there is nothing.
    key
        Which instances are known to decide, packed, shape (N,).
    columns
        What to say of the columns of some instances, by their positions.
    evidence
        How much instances speak for what is predicted, and below 0 against it, packed, shape (N,); None: unknown.

    Returns
    -------
    list of BagView

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0], [1.0]]])
    >>> label, probabilities, importance = as_texts(["ill"]), np.array([[0.9, 0.1]]), np.array([3, 1])
    >>> (view,) = bag_views(bags, label, label, probabilities, importance)
    >>> view.verdict, view.weights.tolist()
    ('right', [0.75, 0.25])
    """
    pixels = len(bags.instance_shape) > 1
    pictures = pixels and bags.instances.dtype == np.uint8
    placed = bags.coordinates is not None and bags.coordinates.shape[1] > 1
    shares = None if importance is None else _shares(importance, bags)
    views = []
    for position, name in enumerate(bags.names):
        rows = slice(*bags.offsets[position : position + 2].tolist())
        corners = bags.coordinates[rows, :2] if bags.coordinates is not None and placed else None
        names = None if bags.instance_names is None else list(bags.instance_names[rows])
        files = _files(bags, rows)
        if names is None and corners is not None:
            names = [f"x {x:g}, y {y:g}" for x, y in corners]
            if files is not None:
                names = [f"{name}, {file}" for name, file in zip(names, files, strict=True)]
        views.append(
            BagView(
                name=name,
                label=labels[position],
                predicted=predicted[position],
                probability=None if probabilities is None else float(probabilities[position].max()),
                weights=None if shares is None else shares[rows],
                images=bags[position : position + 1].instances if pictures else None,
                instance_names=names,
                key=None if key is None else key[rows],
                corners=corners,
                files=files,
                side=float(bags.instance_shape[0]) if pixels else None,
                columns={row - rows.start: columns[row] for row in range(rows.start, rows.stop) if row in columns},
                evidence=None if evidence is None else evidence[rows],
            )
        )
    return views


def _files(bags: Bags, rows: slice) -> list[str] | None:
    """Give the files of instances, where a bag has several."""
    files = [] if bags.sources is None else bags.sources[rows].tolist()
    return files if len(set(files)) > 1 else None


def _shares(importance: NDArray[np.floating], bags: Bags) -> NDArray[np.float64]:
    """Give importance a sum of 1 in each bag, which scores do not have; scores that are all zero count alike."""
    exact = importance.astype(np.float64)
    lowest = np.minimum(np.minimum.reduceat(exact, bags.offsets[:-1]), 0.0)  # of numbers, below 0
    exact -= np.repeat(lowest, bags.sizes)
    totals = np.add.reduceat(exact, bags.offsets[:-1])
    exact = np.where(np.repeat(totals > 0, bags.sizes), exact, 1.0)
    shares: NDArray[np.float64] = exact / np.repeat(np.where(totals > 0, totals, bags.sizes), bags.sizes)
    return shares
