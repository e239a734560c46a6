"""Whether a method keeps the MIL assumption: an instance can make its bag positive, and nothing can take that back.

After Raff & Holt (2023): small made-up problems whose training bags offer a shortcut that the assumption forbids, and
whose test bags turn the shortcut round. A method that keeps the assumption cannot take it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bagwise.bags import Bags
from bagwise.methods.base import BagEstimator, clone_with_seed

__all__ = ["PROBLEMS", "AssumptionTest", "Problem", "check_assumption"]

_FEATURES = 8
_CONCEPT = np.array([3.0, 3.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0])
_TELLTALE = np.array([0.0, 0.0, 0.0, -6.0, -6.0, -6.0, 0.0, 0.0])
_PASSING = 0.9


@dataclass(frozen=True)
class Problem:
    """A made-up problem with a shortcut.

    Attributes
    ----------
    name
        What results call it.
    shortcut
        The rule that training bags offer and the assumption forbids.
    training, test
        Each makes a bag from a generator and its label.
    """

    name: str
    shortcut: str
    training: Callable[[np.random.Generator, bool], NDArray[np.float64]]
    test: Callable[[np.random.Generator, bool], NDArray[np.float64]]

    def make(self, seed: int, training_bags: int = 100, test_bags: int = 200) -> tuple[Bags, Bags]:
        """Make training and test bags, half of them positive.

        Parameters
        ----------
        seed
            Decides the instances.
        training_bags, test_bags
            How many.

        Returns
        -------
        tuple of Bags
            The training bags and the test bags.

        Examples
        --------
        >>> training, test = PROBLEMS[0].make(seed=0)
        >>> len(training), len(test)
        (100, 200)
        """
        rng = np.random.default_rng(seed)

        def bags(of: Callable[[np.random.Generator, bool], NDArray[np.float64]], count: int) -> Bags:
            labels = np.arange(count) % 2
            return Bags.from_arrays([of(rng, bool(label)) for label in labels], labels)

        return bags(self.training, training_bags), bags(self.test, test_bags)


@dataclass(frozen=True)
class AssumptionTest:
    """How a method did on a problem.

    Attributes
    ----------
    problem
        Its name.
    training_auc
        Area under the ROC curve on the training bags, for each seed.
    test_auc
        On the test bags; far below 1/2 where the method took the shortcut.

    Examples
    --------
    >>> AssumptionTest("absence", (1.0,), (0.1,)).verdict
    'fails'
    """

    problem: str
    training_auc: tuple[float, ...]
    test_auc: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """Say ``"passes"``, ``"fails"``, or ``"learns nothing"`` where not even training bags are told apart."""
        if np.mean(self.training_auc) < _PASSING:
            return "learns nothing"
        return "passes" if np.mean(self.test_auc) >= _PASSING else "fails"


def check_assumption(model: BagEstimator, problem: Problem, seeds: int = 3) -> AssumptionTest:
    """Train a method on a problem and see whether it took the shortcut.

    Parameters
    ----------
    model
        An estimator; it is not changed.
    problem
        One of `PROBLEMS`.
    seeds
        How often to make the problem anew.

    Returns
    -------
    AssumptionTest
        The AUC on training and on test bags, for each seed.

    References
    ----------
    E. Raff, J. Holt: Reproducibility in Multiple Instance Learning: A Case For Algorithmic Unit Tests. NeurIPS 2023.

    Examples
    --------
    >>> import bagwise as bw
    >>> check_assumption(bw.make("mi-SVM"), PROBLEMS[0], seeds=1).verdict
    'passes'
    """
    areas = []
    for seed in range(seeds):
        training, test = problem.make(seed)
        fresh = clone_with_seed(model).set_params(random_state=seed)
        fresh.positive = None  # of the user's classes, which are not those of the problem
        fitted = fresh.fit(training)
        areas.append([roc_auc_score(bags.labels, fitted.decision_function(bags)) for bags in (training, test)])
    learnt, kept = np.transpose(areas).tolist()
    return AssumptionTest(problem.name, tuple(learnt), tuple(kept))


def _bag(
    rng: np.random.Generator, concepts: int, telltales: int, background: tuple[int, int] = (5, 16)
) -> NDArray[np.float64]:
    """Make a bag of background, instances of the concept that makes a bag positive, and others that mean nothing."""
    parts = [rng.normal(size=(rng.integers(*background), _FEATURES))]
    for centre, count in ((_CONCEPT, concepts), (_TELLTALE, telltales)):
        parts.append(rng.normal(centre, 0.5, size=(count, _FEATURES)))
    return np.concatenate(parts)


PROBLEMS = (
    Problem(
        "absence",
        "a bag without a telltale instance is positive",
        lambda rng, positive: _bag(rng, int(positive), int(not positive)),
        lambda rng, positive: _bag(rng, int(positive), int(positive)),
    ),
    Problem(
        "frequency",
        "a bag with few telltale instances is positive",
        lambda rng, positive: _bag(rng, int(positive), 1 if positive else 8),
        lambda rng, positive: _bag(rng, int(positive), 8 if positive else 1),
    ),
    Problem(
        "dilution",
        "a bag is positive where a large share of it is",
        lambda rng, positive: _bag(rng, int(positive), 0),
        lambda rng, positive: _bag(rng, int(positive), 0, (200, 201)),
    ),
)
