"""Support vector machines on bags, with kernels between sets of instances: MI-Kernel and mi-Graph."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator
from sklearn.svm import SVC, SVR

from bagwise.bags import Bags
from bagwise.methods.classical.base import Grid
from bagwise.methods.classical.machines import Linear, Machine
from bagwise.methods.classical.packed import Packed
from bagwise.methods.classical.whole_bags import View, Views, WholeBagMIL, WholeBags
from bagwise.parameters import NonNegative, Positive
from bagwise.targets.contract import Target
from bagwise.targets.numbers import RealTarget

__all__ = ["GraphKernelSVM", "SetKernelSVM", "SupportBags", "graph_weights", "own_kernels", "set_kernels"]

_BLOCK_ROWS = 256  # squared, in double precision, a share of the processor's second cache


def set_kernels(
    one: Packed,
    other: Packed | None,
    gammas: Sequence[float],
    weights: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> NDArray[np.float64]:
    """Sum Gaussian kernels over all pairs of instances of two bags, for every pair of bags.

    k(A, B) = sum over a in A and b in B of w_a w_b exp(-gamma |a - b|^2), as matrix products of blocks of instances
    that are summed over segments. All gammas share the distances, and bags among themselves need half of them.

    Parameters
    ----------
    one
        The bags.
    other
        Those that they are compared with; None compares them among themselves.
    gammas
        The sharpness of each Gaussian.
    weights
        Of the instances of `one` and of `other`; None weighs each 1.

    Returns
    -------
    array
        Shape (number of gammas, bags of `one`, bags of `other`).

    References
    ----------
    T. Gaertner, P. Flach, A. Kowalczyk, A. Smola: Multi-Instance Kernels. ICML 2002.

    Examples
    --------
    >>> bags = Packed(np.array([[0.0], [0.0], [1.0]]), np.array([0, 2, 3]))
    >>> set_kernels(bags, None, [np.log(2)]).round(9).tolist()
    [[[4.0, 1.0], [1.0, 1.0]]]
    """
    symmetric, other = other is None, one if other is None else other
    of_one, of_other = _squares(one), _squares(other)
    result = np.zeros((len(gammas), len(one.sizes), len(other.sizes)))
    columns = [*_blocks(other)]
    for number, (rows, bags, starts) in enumerate(_blocks(one)):
        for place, (across, others, begins) in enumerate(columns):
            if symmetric and place < number:
                continue
            distances = one.instances[rows] @ (-2 * other.instances[across]).T
            distances += of_one[rows, None]
            distances += of_other[across]
            np.maximum(distances, 0, out=distances)
            for gamma, kernel in zip(gammas, result, strict=True):
                values = distances * -gamma
                np.exp(values, out=values)
                if weights is not None:
                    values *= weights[1][across]
                sums = np.add.reduceat(values, begins, axis=1)
                if weights is not None:
                    sums *= weights[0][rows, None]
                sums = np.add.reduceat(sums, starts, axis=0)
                kernel[bags, others] += sums
                if symmetric and place > number:
                    kernel[others, bags] += sums.T
    return result


def _squares(bags: Packed) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("nd,nd->n", bags.instances, bags.instances)
    return squares


def _blocks(bags: Packed) -> Iterator[tuple[slice, slice, NDArray[np.int64]]]:
    """Give blocks of rows, of the bags that have any in them, and where in the block these begin."""
    for begin in range(0, len(bags.instances), _BLOCK_ROWS):
        end = min(begin + _BLOCK_ROWS, len(bags.instances))
        first = int(np.searchsorted(bags.offsets, begin, side="right")) - 1
        last = int(np.searchsorted(bags.offsets, end, side="left"))
        yield slice(begin, end), slice(first, last), np.maximum(bags.offsets[first:last] - begin, 0)


def own_kernels(bags: Packed, gammas: Sequence[float], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the kernel of each bag with itself, as `set_kernels` does for all pairs.

    Parameters
    ----------
    bags
        The bags.
    gammas
        The sharpness of each Gaussian.
    weights
        Of the instances.

    Returns
    -------
    array
        Shape (number of gammas, B).

    Examples
    --------
    >>> bags = Packed(np.array([[0.0], [0.0], [1.0]]), np.array([0, 2, 3]))
    >>> own_kernels(bags, [1.0], np.ones(3)).tolist()
    [[4.0, 1.0]]
    """
    found = np.empty((len(gammas), len(bags.sizes)))
    begin = 0
    while begin < len(bags.sizes):
        # As many whole bags as fit into a block; one that is larger than a block stands alone.
        fitting = int(np.searchsorted(bags.offsets, bags.offsets[begin] + _BLOCK_ROWS, side="right")) - 1
        end = max(begin + 1, fitting)
        rows = slice(bags.offsets[begin], bags.offsets[end])
        few = Packed(bags.instances[rows], bags.offsets[begin : end + 1] - bags.offsets[begin])
        kernels = set_kernels(few, None, gammas, (weights[rows], weights[rows]))
        found[:, begin:end] = np.diagonal(kernels, axis1=1, axis2=2)
        begin = end
    return found


def graph_weights(bags: Packed) -> NDArray[np.float64]:
    """Weigh each instance by how few others of its bag are near: one over its degree in the bag's graph.

    Two instances of a bag are joined where their distance is at most the mean distance over all pairs of the bag, an
    instance paired with itself among them. So groups of like instances count together as much as one that is alone.

    Parameters
    ----------
    bags
        The bags.

    Returns
    -------
    array
        Shape (N,), in (0, 1].

    References
    ----------
    Z.-H. Zhou, Y.-Y. Sun, Y.-F. Li: Multi-Instance Learning by Treating Instances As Non-I.I.D. Samples. ICML 2009.

    Examples
    --------
    >>> graph_weights(Packed(np.array([[0.0], [0.1], [9.0]]), np.array([0, 3]))).tolist()
    [0.5, 0.5, 1.0]
    """
    weights = np.empty(len(bags.instances))
    for begin, end in zip(bags.offsets[:-1], bags.offsets[1:], strict=True):
        distances = cdist(bags.instances[begin:end], bags.instances[begin:end])
        weights[begin:end] = 1 / (distances <= distances.mean()).sum(axis=1)
    return weights


def _weights_of(bags: Packed, *, graph: bool) -> NDArray[np.float64]:
    return graph_weights(bags) if graph else np.ones(len(bags.instances))


@dataclass(frozen=True, eq=False)
class SupportBags(View):
    """Training bags that count, and what compares other bags with them.

    Attributes
    ----------
    instances
        Theirs, shape (N, D).
    offsets
        Where bags begin and the last one ends, shape (V + 1,).
    weights
        Of the instances, shape (N,).
    norms
        What the kernel of each bag is divided by, shape (V,).
    gamma
        The sharpness of the Gaussian.
    by_root, graph
        Whether kernels are divided by their roots, and instances are weighed by the graph of their bag.
    """

    instances: Annotated[NDArray[np.float64], "N D"]
    offsets: Annotated[NDArray[np.int64], "E"]
    weights: Annotated[NDArray[np.float64], "N"]
    norms: Annotated[NDArray[np.float64], "V"]
    gamma: float
    by_root: bool
    graph: bool

    def of(self, bags: Packed) -> NDArray[np.float64]:
        """Give the kernels between bags and these, shape (B, V)."""
        weights = _weights_of(bags, graph=self.graph)
        norms = np.sqrt(own_kernels(bags, [self.gamma], weights)[0]) if self.by_root else bags.sums(weights)
        known = Packed(self.instances, self.offsets)
        kernels: NDArray[np.float64] = set_kernels(bags, known, [self.gamma], (weights, self.weights))[0]
        return kernels / (norms[:, None] * self.norms)

    def check(self, width: int) -> int:
        """One number a bag."""
        ends = np.append(self.offsets[:1], self.offsets[-1:]).tolist()
        if ends != [0, len(self.instances)] or not (np.diff(self.offsets) > 0).all():
            raise ValueError("its bags do not divide its instances")
        if len(self.offsets) != len(self.norms) + 1 or self.instances.shape[1] != width:
            raise ValueError("its bags are others than its norms, or than those asked about")
        if self.gamma <= 0 or not (self.norms > 0).all() or not (self.weights > 0).all():
            raise ValueError("its kernel is none")
        return len(self.norms)


class _Kernels(Views):
    """Kernels between training bags, one a point of the grid, and what compares other bags with them."""

    def __init__(self, training: Packed, gammas: Sequence[float], *, graph: bool, by_root: bool) -> None:
        self.bags, self.graph, self.by_root = training, graph, by_root
        self.gammas = [*dict.fromkeys(gammas)]
        self.places = [self.gammas.index(gamma) for gamma in gammas]
        self.weights = _weights_of(training, graph=graph)
        kernels = set_kernels(training, None, self.gammas, (self.weights, self.weights))
        with_itself = np.diagonal(kernels, axis1=1, axis2=2)
        self.norms = np.sqrt(with_itself) if by_root else self._sums(training, self.weights)
        self.training = self._normalized(kernels, self.norms)

    def of(self, bags: Packed) -> list[NDArray[np.float64]]:
        """Compare bags with those of training, shape (B, training bags)."""
        weights = _weights_of(bags, graph=self.graph)
        norms = np.sqrt(own_kernels(bags, self.gammas, weights)) if self.by_root else self._sums(bags, weights)
        return self._normalized(set_kernels(bags, self.bags, self.gammas, (weights, self.weights)), norms)

    def learner(self, machines: Sequence[Machine]) -> WholeBags:
        """Keep the training bags that count in a machine, since the others say nothing."""
        linear = [machine for machine in machines if isinstance(machine, Linear)]
        counts = np.any([machine.weights != 0 for machine in linear], axis=0)
        counts[0] |= not counts.any()  # at least one, or there is nothing to compare with
        rows = np.repeat(counts, self.bags.sizes)
        view = SupportBags(
            self.bags.instances[rows],
            np.cumsum([0, *self.bags.sizes[counts]]),
            self.weights[rows],
            self.norms[0, counts],
            self.gammas[0],
            self.by_root,
            self.graph,
        )
        return WholeBags(view, tuple(Linear(machine.weights[counts], machine.intercept) for machine in linear))

    def _sums(self, bags: Packed, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.tile(bags.sums(weights), (len(self.gammas), 1))

    def _normalized(self, kernels: NDArray[np.float64], norms: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        kernels /= norms[:, :, None] * self.norms[:, None]
        return [kernels[place] for place in self.places]


@dataclass(kw_only=True, eq=False, repr=False)
class _OnKernels(WholeBagMIL):
    """What MI-Kernel and mi-Graph share."""

    GRID: ClassVar[Grid] = tuple({"gamma": gamma, "C": 10.0} for gamma in (1.0, 0.25, 4.0))
    GRAPH: ClassVar[bool] = False  # whether instances are weighed by the graph of their bag
    GRID_OF_NUMBERS: ClassVar[Grid] = tuple({**point, "C": C} for point in GRID for C in (10.0, 1.0, 100.0))

    normalize: Literal["root", "mean"] = "root"
    gamma: Positive | None = None
    epsilon: NonNegative = 0.1

    def _holds(self, bags: Bags, others: int) -> dict[str, int]:
        # Of each gamma the kernel and, while it is made, what it is divided by.
        kernels = 2 * len(self.GRID) * 8 * len(bags) * others
        return {**super()._holds(bags, others), "kernels between all bags": kernels}

    def _grid(self, target: Target) -> Grid:
        return self.GRID_OF_NUMBERS if target.kind == RealTarget.kind else self.GRID

    def _views(self, bags: Packed, points: Sequence[Mapping[str, Any]], seed: int) -> Views:  # noqa: ARG002
        unit = bags.instances.shape[1] * (bags.instances.var() or 1.0)
        gammas = [point["gamma"] / unit for point in points]
        return _Kernels(bags, gammas, graph=self.GRAPH, by_root=self.normalize == "root")

    def _machine(self, seen: NDArray[np.float64], C: float, *, of_numbers: bool) -> BaseEstimator:
        price = C / np.diag(seen).mean()
        if of_numbers:
            return SVR(kernel="precomputed", C=price, epsilon=self.epsilon)
        return SVC(kernel="precomputed", C=price)


@dataclass(kw_only=True, eq=False, repr=False)
class SetKernelSVM(_OnKernels):
    r"""MI-Kernel: an SVM whose kernel sums a Gaussian over all pairs of instances of two bags (Gaertner et al., 2002).

    $$k(A, B) = \sum_{x \in A} \sum_{y \in B} \exp(-\gamma \lVert x - y \rVert^2)$$

    The kernel's power p of the original is part of `gamma`: a Gaussian to the power p is a Gaussian that is p times as
    sharp.

    Parameters
    ----------
    normalize
        ``"root"`` divides k(A, B) by the root of k(A, A) k(B, B), ``"mean"`` by |A| |B|.
    gamma
        The sharpness of the Gaussian, in units of one over the number of features times their variance; None chooses.
    C
        The price of a training bag on the wrong side of the margin, for a kernel whose mean over training bags of
        k(A, A) is brought to 1. Of numbers, which support vector regression learns, the price of each spread of the
        training labels beyond `epsilon`. None takes 10, and for numbers chooses.
    epsilon
        By how many spreads of the training labels a number may be missed at no price.
    target, positive, threshold, standardize, random_state
        As in `ClassicalMIL`.

    References
    ----------
    T. Gaertner, P. Flach, A. Kowalczyk, A. Smola: Multi-Instance Kernels. ICML 2002. Of numbers: H. Drucker, C. Burges,
    L. Kaufman, A. Smola, V. Vapnik: Support Vector Regression Machines. NIPS 1996.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("MI-Kernel", random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """


@dataclass(kw_only=True, eq=False, repr=False)
class GraphKernelSVM(_OnKernels):
    r"""mi-Graph: as MI-Kernel, with less weight for instances that have like ones in their bag (Zhou et al., 2009).

    $$k(A, B) = \sum_{x \in A} \sum_{y \in B} w_x w_y \exp(-\gamma \lVert x - y \rVert^2)$$

    $w_x$ is one over the number of instances of the bag, $x$ itself among them, that are no further from $x$ than all
    pairs are in the mean.

    Parameters
    ----------
    normalize
        ``"mean"`` divides by the sums of the weights, as in the paper; ``"root"`` as in `SetKernelSVM`.
    gamma, C, epsilon, target, positive, threshold, standardize, random_state
        As in `SetKernelSVM`.

    References
    ----------
    Z.-H. Zhou, Y.-Y. Sun, Y.-F. Li: Multi-Instance Learning by Treating Instances As Non-I.I.D. Samples. ICML 2009.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("mi-Graph", random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    GRAPH: ClassVar[bool] = True

    normalize: Literal["root", "mean"] = "mean"

    def _holds(self, bags: Bags, others: int) -> dict[str, int]:
        largest = int(np.argmax(bags.sizes))
        size, name = int(bags.sizes[largest]), str(bags.names[largest])
        told = f"the distances between all {size} instances of bag {name!r}"
        return {**super()._holds(bags, others), told: (8 + 1) * size**2}  # and whether each is near
