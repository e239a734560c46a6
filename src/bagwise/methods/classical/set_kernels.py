"""Support vector machines on bags, with kernels between sets of instances: MI-Kernel and mi-Graph."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from bagwise.methods.classical.base import ClassicalMIL, Grid, Learner, Packed
from bagwise.parameters import Positive

__all__ = ["GraphKernelSVM", "SetKernelSVM", "graph_weights", "set_kernel"]

_BLOCK_ROWS = 1024


def set_kernel(
    one: Packed,
    other: Packed,
    gamma: float,
    weights: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> NDArray[np.float64]:
    """Sum a Gaussian kernel over all pairs of instances of two bags, for every pair of bags.

    k(A, B) = sum over a in A and b in B of w_a w_b exp(-gamma |a - b|^2), as block matrix products that are summed
    over segments: memory grows with the instances of `other` alone.

    Parameters
    ----------
    one, other
        The bags.
    gamma
        The sharpness of the Gaussian.
    weights
        Of the instances of `one` and of `other`; None weighs each 1.

    Returns
    -------
    array
        Shape (bags of `one`, bags of `other`).

    References
    ----------
    T. Gaertner, P. Flach, A. Kowalczyk, A. Smola: Multi-Instance Kernels. ICML 2002.

    Examples
    --------
    >>> bags = Packed(np.array([[0.0], [0.0], [1.0]]), np.array([0, 2, 3]))
    >>> set_kernel(bags, bags, gamma=np.log(2)).round(9).tolist()
    [[4.0, 1.0], [1.0, 1.0]]
    """
    result = np.empty((len(one.sizes), len(other.sizes)))
    begin = 0
    while begin < len(one.sizes):
        # As many whole bags as fit into a block; one that is larger than a block stands alone.
        fitting = int(np.searchsorted(one.offsets, one.offsets[begin] + _BLOCK_ROWS, side="right")) - 1
        end = max(begin + 1, min(fitting, len(one.sizes)))
        rows = slice(one.offsets[begin], one.offsets[end])
        kernel = rbf_kernel(one.instances[rows], other.instances, gamma=gamma)
        if weights is not None:
            kernel *= weights[0][rows, None]
            kernel *= weights[1]
        summed = np.add.reduceat(kernel, one.offsets[begin:end] - one.offsets[begin], axis=0)
        result[begin:end] = np.add.reduceat(summed, other.offsets[:-1], axis=1)
        begin = end
    return result


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


class _Weighed(NamedTuple):
    """Bags with all that a kernel between them needs."""

    bags: Packed
    weights: NDArray[np.float64]
    norms: NDArray[np.float64]


@dataclass
class _KernelSVM(Learner):
    """An SVM on bags, with the training bags that it compares others with."""

    svm: SVC
    training: _Weighed
    weigh: Callable[[Packed], _Weighed]
    gamma: float

    def decide(self, bags: Packed) -> NDArray[np.float64]:
        decisions: NDArray[np.float64] = self.svm.decision_function(
            _kernel(self.weigh(bags), self.training, self.gamma)
        )
        return decisions


def _kernel(one: _Weighed, other: _Weighed, gamma: float) -> NDArray[np.float64]:
    kernel = set_kernel(one.bags, other.bags, gamma, (one.weights, other.weights))
    kernel /= one.norms[:, None] * other.norms
    return kernel


def _weigh(weights_of: Callable[[Packed], NDArray[np.float64]], normalize: str, gamma: float, bags: Packed) -> _Weighed:
    weights = weights_of(bags)
    if normalize == "mean":
        return _Weighed(bags, weights, bags.sums(weights))
    norms = np.empty(len(bags.sizes))
    for place, (begin, end) in enumerate(zip(bags.offsets[:-1], bags.offsets[1:], strict=True)):
        part = weights[begin:end]
        norms[place] = np.sqrt(part @ rbf_kernel(bags.instances[begin:end], gamma=gamma) @ part)
    return _Weighed(bags, weights, norms)


@dataclass(kw_only=True, eq=False, repr=False)
class _SVMOnBags(ClassicalMIL):
    """What MI-Kernel and mi-Graph share."""

    GRID: ClassVar[Grid] = tuple({"gamma": gamma, "C": 10.0} for gamma in (1.0, 0.25, 4.0))

    normalize: Literal["root", "mean"] = "root"
    gamma: Positive | None = None
    C: Positive | None = None

    @staticmethod
    @abstractmethod
    def _weights_of(bags: Packed) -> NDArray[np.float64]:
        """Weigh the instances."""

    def _learn(
        self,
        bags: Packed,
        positive: NDArray[np.bool_],
        parameters: Mapping[str, Any],
        seed: int,  # noqa: ARG002
    ) -> Learner:
        gamma = parameters["gamma"] / (bags.instances.shape[1] * (bags.instances.var() or 1.0))
        weigh = partial(_weigh, self._weights_of, self.normalize, gamma)
        training = weigh(bags)
        kernel = _kernel(training, training, gamma)
        svm = SVC(kernel="precomputed", C=parameters["C"] / np.diag(kernel).mean()).fit(kernel, positive, bags.weights)
        return _KernelSVM(svm, training, weigh, gamma)


@dataclass(kw_only=True, eq=False, repr=False)
class SetKernelSVM(_SVMOnBags):
    """MI-Kernel: an SVM whose kernel sums a Gaussian over all pairs of instances of two bags (Gaertner et al., 2002).

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
        k(A, A) is brought to 1; None takes 10.
    random_state
        As in `ClassicalMIL`.

    References
    ----------
    T. Gaertner, P. Flach, A. Kowalczyk, A. Smola: Multi-Instance Kernels. ICML 2002.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("MI-Kernel", random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    @staticmethod
    def _weights_of(bags: Packed) -> NDArray[np.float64]:
        return np.ones(len(bags.instances))


@dataclass(kw_only=True, eq=False, repr=False)
class GraphKernelSVM(_SVMOnBags):
    """mi-Graph: as MI-Kernel, with less weight for instances that have like ones in their bag (Zhou et al., 2009).

    Parameters
    ----------
    normalize
        ``"mean"`` divides by the sums of the weights, as in the paper; ``"root"`` as in `SetKernelSVM`.
    gamma, C, random_state
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

    normalize: Literal["root", "mean"] = "mean"

    @staticmethod
    def _weights_of(bags: Packed) -> NDArray[np.float64]:
        return graph_weights(bags)
