"""Whether what a model is said to decide by is what it decides by: bags without their most important instances."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.checks import check_count

__all__ = ["deletion_curves"]


def deletion_curves(
    predict_proba: Callable[[Bags], NDArray[np.floating]], bags: BagsLike, importance: NDArray[np.floating], most: int
) -> NDArray[np.floating]:
    """Ask a model about bags again and again, with ever more of their most important instances removed.

    Where importance is faithful, the probability of the class that the instances spoke for falls faster than with
    instances removed at random (give random numbers as the importance to see that).

    Parameters
    ----------
    predict_proba
        Bags to probabilities, shape (B, number of classes): the method of a fitted estimator, or any function.
    bags
        The bags; all that they hold, and its shortened copies, must fit into memory.
    importance
        Of each instance, packed, shape (N,): weights or scores.
    most
        How many instances to remove in the end; one of each bag always stays.

    Returns
    -------
    array
        Probabilities with 0, 1, ..., `most` instances removed, shape (B, most + 1, number of classes).

    Raises
    ------
    BagwiseError
        If `most` is no whole number from 1 on, or the model cannot predict these bags.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[1.0], [5.0], [2.0]]])
    >>> highest = lambda bags: np.array([[10 - bag.instances.max(), bag.instances.max()] for bag in bags]) / 10
    >>> deletion_curves(highest, bags, bags.instances[:, 0], most=2)[0, :, 1].tolist()
    [0.5, 0.2, 0.1]
    """
    check_count("most", most)
    bags = as_bags(bags)
    kept = []
    for position in range(len(bags)):
        begin, end = bags.offsets[position : position + 2]
        order = begin + np.argsort(-importance[begin:end], kind="stable")
        # What stays keeps its order in the bag.
        kept += [np.sort(order[min(removed, len(order) - 1) :]) for removed in range(most + 1)]
    offsets = np.cumsum([0, *(len(rows) for rows in kept)])
    instances = bags.instances[:][np.concatenate(kept)]
    shortened = Bags(instances, offsets, feature_names=bags.feature_names, columns=bags.columns)
    probabilities = predict_proba(shortened)
    return probabilities.reshape(len(bags), most + 1, -1)
