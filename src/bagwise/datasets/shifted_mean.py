r"""Bags whose best classifier is known: noise, and in positive bags a few neighbours whose mean is shifted.

The problem of Harvey, Loevlie and Hughes, "Synthetic Data Reveals Generalization Gaps in Correlated Multiple Instance
Learning" (arXiv 2510.25759, 2025; as its public code and torchmil have it): a bag of $S$ instances in a row has
$h_{jm} \sim N(0, 1)$, and in a positive bag the first $K$ of the $M$ features of $R$ instances in a row, which begin
anywhere, are higher by $\Delta$. With the ratio of likelihoods of one instance

$$w_j = \exp \sum_{k \le K} (\Delta h_{jk} - \Delta^2 / 2)$$

whoever knows the problem says that a bag is positive with probability $q / (1 + q)$, where half of all bags are and

$$q = \frac{1}{S - R + 1} \sum_{u=0}^{S-R} \prod_{j=u}^{u+R-1} w_j$$

The best that can be said without the order, by any function of the bag as a set, averages over all choices of $R$
instances, not only over those in a row: $q$ is then the elementary symmetric polynomial of degree $R$ of the $w_j$,
over the number of choices.
"""

from itertools import pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

from bagwise.bags import Bags
from bagwise.checks import check_count, check_seed
from bagwise.errors import BagwiseError

__all__ = ["shifted_mean_bags", "shifted_mean_posterior"]


def shifted_mean_bags(
    count: int = 1000,
    *,
    run: int = 3,
    shifted: int = 1,
    features: int = 20,
    shift: float = 2.0,
    sizes: tuple[int, int] = (30, 30),
    seed: int = 0,
) -> Bags:
    r"""Draw shifted-mean bags (`bagwise.datasets.shifted_mean`).

    Parameters
    ----------
    count
        Number of bags; positive and negative ones alternate, so that both are there however few there are.
    run
        $R$: how many instances in a row are shifted in a positive bag.
    shifted
        $K$: how many features of theirs are.
    features
        $M$: how many features an instance has.
    shift
        $\Delta$, in standard deviations.
    sizes
        The smallest and the largest bag; sizes are drawn evenly. The paper has 15 to 45, 768 features and a shift of 1.
    seed
        Decides everything that is drawn.

    Returns
    -------
    Bags
        With labels 0 and 1, 1 for shifted instances as `instance_labels`, and the place in the row as `coordinates`,
        shape (N, 1).

    Raises
    ------
    BagwiseError
        If a parameter is out of its range.

    Examples
    --------
    >>> bags = shifted_mean_bags(4)
    >>> bags.labels.tolist(), [int(bag.instance_labels.sum()) for bag in bags]
    ([1, 0, 1, 0], [3, 0, 3, 0])
    """
    check_seed(seed)
    for name, value in (("count", count), ("run", run), ("shifted", shifted), ("features", features)):
        check_count(name, value)
    smallest, largest = sizes
    if not run <= smallest <= largest:
        raise BagwiseError(f"sizes is {sizes!r}: it must be two numbers that rise, the first no less than a run, {run}")
    if shifted > features:
        raise BagwiseError(f"shifted is {shifted}: it must be at most the number of features, {features}")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(smallest, largest + 1, size=count)
    offsets = np.cumsum([0, *drawn])
    instances = rng.standard_normal((offsets[-1], features))
    labels = 1 - np.arange(count) % 2
    begins = offsets[:-1] + rng.integers(drawn - run + 1)
    rows = (begins[labels == 1, None] + np.arange(run)).ravel()
    instances[rows, :shifted] += shift
    matters = np.zeros(offsets[-1], np.int64)
    matters[rows] = 1
    places = np.arange(offsets[-1]) - offsets[:-1].repeat(drawn)
    return Bags(instances, offsets, labels, instance_labels=matters, coordinates=places[:, None].astype(np.float64))


def shifted_mean_posterior(
    bags: Bags, *, run: int = 3, shifted: int = 1, shift: float = 2.0, order: bool = True
) -> NDArray[np.float64]:
    """Give the probability that a shifted-mean bag is positive: no method can rank such bags better, but by luck.

    Parameters
    ----------
    bags
        As `shifted_mean_bags` draws them.
    run, shifted, shift
        What they were drawn with.
    order
        Whether the order of the instances is known. Without it this is the best of what treats a bag as a set.

    Returns
    -------
    array
        Shape (B,). With the defaults the AUC is about .947 with the order and .899 without.

    Examples
    --------
    >>> bags = shifted_mean_bags(2000)
    >>> right = [(shifted_mean_posterior(bags, order=order) > 0.5) == bags.labels for order in (True, False)]
    >>> [round(float(one.mean()), 2) for one in right]
    [0.88, 0.81]
    """
    shown = np.asarray(bags.instances)[:, :shifted]
    logs = (shift * shown - shift**2 / 2).sum(axis=1)
    mean = _log_mean_of_runs if order else _log_mean_of_choices
    posterior: NDArray[np.float64] = expit([mean(logs[start:end], run) for start, end in pairwise(bags.offsets)])
    return posterior


def _log_mean_of_runs(logs: NDArray[np.float64], run: int) -> float:
    """Average the products of so many ratios in a row."""
    products = np.lib.stride_tricks.sliding_window_view(logs, run).sum(axis=1)
    return float(logsumexp(products) - np.log(len(products)))


def _log_mean_of_choices(logs: NDArray[np.float64], run: int) -> float:
    """Average the products of all choices of so many ratios."""
    sums = np.zeros(run + 1)
    sums[0] = 1
    for ratio in np.exp(logs - logs.max()):
        sums[1:] += ratio * sums[:-1]
    return float(np.log(sums[run]) + run * logs.max() - np.log(comb(len(logs), run)))
