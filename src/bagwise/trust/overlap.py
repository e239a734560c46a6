"""Which bags have the very features of others: of these a run keeps digests, from which no feature can be read."""

from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags, like_learnt
from bagwise.methods.asked import Asked

__all__ = ["bag_digests"]


def bag_digests(model: Asked, bags: Bags) -> NDArray[np.uint64]:
    """Sum up the features of each bag, in whatever order its instances come.

    Features are taken in the order that the model learnt from, and in single precision, so that files of other kinds
    that hold the same bags give the same. Neither names nor labels count.

    Parameters
    ----------
    model
        Which learnt from such bags.
    bags
        The bags.

    Returns
    -------
    array
        Shape (B,), 8 bytes a bag.

    Raises
    ------
    BagwiseError
        If the bags have other features.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[1.0], [2.0]], [[2.0], [1.0]], [[1.0], [3.0]]], labels=[0, 1, 0])
    >>> first, second, third = bag_digests(bw.make("mean-logistic").fit(bags), bags)
    >>> first == second, first == third
    (np.True_, np.False_)
    """
    names = getattr(model, "feature_names_in_", None)
    like = like_learnt(
        bags, model.instance_shape_, None if names is None else list(names), getattr(model, "columns_", None)
    )
    found = np.empty(len(bags), np.uint64)
    for place, (begin, end) in enumerate(pairwise(like.offsets.tolist())):
        with np.errstate(over="ignore"):
            rows = np.asarray(like.instances[begin:end]).reshape(end - begin, -1).astype(np.float32)
        rows[rows == 0] = 0.0  # which may have a sign
        rows[np.isnan(rows)] = np.nan  # of which there are many kinds
        whole = np.sort(rows.view(f"V{rows.itemsize * rows.shape[1]}")[:, 0])
        found[place] = int.from_bytes(blake2b(whole.tobytes(), digest_size=8).digest(), "little")
    return found
