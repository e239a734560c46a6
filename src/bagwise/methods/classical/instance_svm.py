"""Support vector machines on instances whose labels are found on the way: mi-SVM and MI-SVM."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

from bagwise.methods.classical.base import Grid, Learner, ScoresInstances
from bagwise.methods.classical.machines import Machine, frozen
from bagwise.methods.classical.packed import Packed
from bagwise.parameters import Positive

__all__ = ["ROUNDS", "BagMarginSVM", "InstanceLabelSVM", "InstanceSVM"]

ROUNDS = 10
_CACHE_MIB = 500


@dataclass(frozen=True, eq=False)
class InstanceSVM(Learner):
    """An SVM on instances, and what it ended with.

    Attributes
    ----------
    svm
        Decides about instances.
    chosen
        Rows, shape (number of them,): mi-SVM: of the training instances that were labelled positive last. MI-SVM: of
        those that stood for the positive bags last.
    settled
        Whether the last round changed nothing.
    """

    svm: Machine
    chosen: Annotated[NDArray[np.int64], "R"]
    settled: bool

    def decide(self, bags: Packed) -> NDArray[np.float64]:
        """Give the highest decision in each bag."""
        return bags.highest(self.svm.decide(bags.instances))

    def check(self, width: int) -> int:
        """One column, where the machine takes the instances."""
        self.svm.check(width)
        return 1


@dataclass(kw_only=True, eq=False, repr=False)
class _SVMOnInstances(ScoresInstances):
    """What mi-SVM and MI-SVM share."""

    GRID: ClassVar[Grid] = (
        {"kernel": "linear", "C": 0.01, "gamma": 1.0},
        *({"kernel": "rbf", "C": 10.0, "gamma": gamma} for gamma in (0.25, 1.0, 4.0)),
    )

    kernel: Literal["linear", "rbf"] | None = None
    C: Positive | None = None
    gamma: Positive | None = None

    @staticmethod
    def _svm(parameters: Mapping[str, Any], instances: NDArray[np.float64]) -> SVC:
        gamma = parameters["gamma"] / (instances.shape[1] * (instances.var() or 1.0))
        return SVC(kernel=parameters["kernel"], C=parameters["C"], gamma=gamma, cache_size=_CACHE_MIB)


@dataclass(kw_only=True, eq=False, repr=False)
class InstanceLabelSVM(_SVMOnInstances):
    r"""mi-SVM: find labels of instances and a maximum margin between them at once (Andrews et al., 2003).

    $$\min_{y} \min_{w, b, \xi} \frac{1}{2} \lVert w \rVert^2 + C \sum_i \xi_i, \qquad
    y_i (\langle w, x_i \rangle + b) \ge 1 - \xi_i, \quad \xi_i \ge 0, \quad y_i \in \{-1, 1\}$$

    The labels $y_i$ of instances are -1 in a negative bag, and not all -1 in a positive one; of a kernel,
    $\langle w, x \rangle$ is in its space. Steps look for the minimum, and need not find it. The instances of positive
    bags start as positive. An SVM is trained, the instances of positive bags get the sign of its decision, the highest
    of a bag where none is positive, and so on until nothing changes or `ROUNDS` have passed. A bag's decision is the
    highest of its instances'.

    Parameters
    ----------
    kernel
        ``"linear"`` or ``"rbf"``; None chooses.
    C
        The price of a training instance on the wrong side of the margin; None chooses.
    gamma
        The sharpness of the Gaussian kernel, in units of one over the number of features times their variance; None
        chooses.
    random_state
        As in `ClassicalMIL`.

    References
    ----------
    S. Andrews, I. Tsochantaridis, T. Hofmann: Support Vector Machines for Multiple-Instance Learning. NIPS 2003.

    Examples
    --------
    >>> import bagwise as bw
    >>> arrays = [[[0.0], [0.3]], [[5.0], [0.1]], [[0.2], [0.1]], [[4.8]]]
    >>> bags = bw.Bags.from_arrays(arrays * 3, labels=[0, 1, 0, 1] * 3)
    >>> model = bw.make("mi-SVM", random_state=0).fit(bags)
    >>> model.predict(bags[:4]).tolist(), (model.instance_scores(bags[:2]) > 0.5).tolist()
    ([0, 1, 0, 1], [False, False, True, False])
    """

    def _learn(
        self,
        bags: Packed,
        positive: NDArray[np.bool_],
        parameters: Mapping[str, Any],
        seed: int,  # noqa: ARG002
    ) -> Learner:
        in_positive, weights = np.repeat(positive, bags.sizes), np.repeat(bags.weights, bags.sizes)
        labels = in_positive
        for _ in range(ROUNDS):
            svm = self._svm(parameters, bags.instances).fit(bags.instances, labels, weights)
            decisions = svm.decision_function(bags.instances)
            relabelled = in_positive & (decisions > 0)
            relabelled[bags.where_highest(decisions)[positive]] = True
            settled = np.array_equal(relabelled, labels)
            if settled:
                break
            labels = relabelled
        return InstanceSVM(frozen(svm), np.flatnonzero(relabelled), settled)


@dataclass(kw_only=True, eq=False, repr=False)
class BagMarginSVM(_SVMOnInstances):
    r"""MI-SVM: a maximum margin between the bags, each positive one represented by one instance (Andrews et al., 2003).

    $$\min_{s} \min_{w, b, \xi} \frac{1}{2} \lVert w \rVert^2 + C \left(\sum_I \xi_I + \sum_i \xi_i\right), \qquad
    \langle w, x_{s(I)} \rangle + b \ge 1 - \xi_I, \quad -\langle w, x_i \rangle - b \ge 1 - \xi_i$$

    Here $s(I)$ is the instance that represents the positive bag $I$, $i$ is any instance of a negative bag, and no
    $\xi$ is below 0. Steps look for the minimum, and need not find it. A positive bag is first represented by the mean
    of its instances; all instances of the other bags are negative. An SVM is trained, each positive bag is represented
    by the instance with its highest decision, and so on until nothing changes or `ROUNDS` have passed. A bag's decision
    is the highest of its instances'.

    Parameters
    ----------
    kernel, C, gamma, random_state
        As in `InstanceLabelSVM`.

    References
    ----------
    S. Andrews, I. Tsochantaridis, T. Hofmann: Support Vector Machines for Multiple-Instance Learning. NIPS 2003.

    Examples
    --------
    >>> import bagwise as bw
    >>> arrays = [[[0.0], [0.3]], [[5.0], [0.1]], [[0.2], [0.1]], [[4.8]]]
    >>> bags = bw.Bags.from_arrays(arrays * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("MI-SVM", random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    def _learn(
        self,
        bags: Packed,
        positive: NDArray[np.bool_],
        parameters: Mapping[str, Any],
        seed: int,  # noqa: ARG002
    ) -> Learner:
        negative = ~np.repeat(positive, bags.sizes)
        negatives = bags.instances[negative]
        weights = np.concatenate([bags.weights[positive], np.repeat(bags.weights, bags.sizes)[negative]])
        labels = np.repeat([True, False], [int(positive.sum()), len(negatives)])
        representatives = (bags.sums(bags.instances) / bags.sizes[:, None])[positive]
        rows: NDArray[np.int64] | None = None
        for _ in range(ROUNDS):
            chosen = np.concatenate([representatives, negatives])
            svm = self._svm(parameters, bags.instances).fit(chosen, labels, weights)
            highest = bags.where_highest(svm.decision_function(bags.instances))[positive]
            settled = rows is not None and np.array_equal(highest, rows)
            if settled:
                break
            rows = highest
            representatives = bags.instances[rows]
        return InstanceSVM(frozen(svm), highest, settled)
