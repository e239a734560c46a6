"""A point in feature space that all positive bags come near to and no other bag does: EM-DD."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bagwise.methods.classical.base import Grid, Learner, ScoresInstances
from bagwise.methods.classical.machines import Machine, frozen
from bagwise.methods.classical.packed import Packed
from bagwise.parameters import Count, Positive

__all__ = ["BAGS_TO_START_FROM", "MOST_STARTS", "ROUNDS", "Concept", "DiverseDensity", "Hypotheses", "maximise"]

BAGS_TO_START_FROM = 5
MOST_STARTS = 64
ROUNDS = 10
_MEMORY = 6
_LEAST_GAIN = 1e-6  # relative: a round that gains less is the last
_NEAREST = 1e-12  # an instance of a negative bag on the very point has likelihood 0, whose logarithm is none

_Objective = Callable[[NDArray[np.float64], NDArray[np.int64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


class Hypotheses(NamedTuple):
    """Several guesses of where the point is, and of how much each feature counts, as `DiverseDensity` has them.

    Attributes
    ----------
    points
        $t$, shape (S, D).
    scales
        $s$, shape (S, D).
    """

    points: Annotated[NDArray[np.float64], "S D"]
    scales: Annotated[NDArray[np.float64], "S D"]

    def distances(self, instances: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Give $-\log P(x)$, shape (N, S)."""
        squares = self.scales**2
        far = instances**2 @ squares.T - 2 * instances @ (squares * self.points).T + (squares * self.points**2).sum(1)
        distances: NDArray[np.float64] = np.maximum(far, 0.0)
        return distances

    def losses(self, bags: Packed, positive: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Give the negative log-likelihood of the labels of bags under each hypothesis, shape (S,)."""
        nearest = np.minimum.reduceat(self.distances(bags.instances), bags.offsets[:-1])
        return _losses(nearest, positive, bags.weights)[0]


def maximise(
    start: Hypotheses, bags: Packed, positive: NDArray[np.bool_], steps: int = 3
) -> tuple[Hypotheses, list[NDArray[np.float64]]]:
    """Improve hypotheses by expectation and maximisation, all of them at once.

    E: the most probable instance stands for its bag. M: the likelihood of the labels, given these instances, is
    maximised over t and s by quasi-Newton steps (L-BFGS). A hypothesis whose likelihood does not rise stays as it was
    before that round, and is done.

    Parameters
    ----------
    start
        Where to begin.
    bags
        The training bags.
    positive
        Which of them are positive, shape (B,).
    steps
        Number of quasi-Newton steps of each M at most.

    Returns
    -------
    hypotheses
        As many as at the start.
    losses
        The negative log-likelihood of each at the start and after each round, each of shape (S,).

    References
    ----------
    Q. Zhang, S. Goldman: EM-DD: An Improved Multiple-Instance Learning Technique. NIPS 2001.

    Examples
    --------
    >>> bags = Packed(np.array([[0.0], [1.0], [0.1]]), np.array([0, 1, 3]))
    >>> found, losses = maximise(Hypotheses(np.ones((1, 1)), np.ones((1, 1))), bags, np.array([False, True]))
    >>> bool(losses[-1][0] < losses[0][0])
    True
    """
    points, scales = start.points.copy(), start.scales.copy()
    losses = [start.losses(bags, positive)]
    running = np.arange(len(points))
    for _ in range(ROUNDS):
        current = Hypotheses(points[running], scales[running])
        distances = current.distances(bags.instances)
        nearest = np.stack([bags.where_highest(-column) for column in distances.T])
        rows, places = np.unique(nearest, return_inverse=True)
        objective = _given_instances(bags.instances[rows], places.reshape(nearest.shape), positive, bags.weights)
        improved = _lbfgs(objective, np.concatenate([current.points, current.scales], axis=1), steps)
        candidate = Hypotheses(*np.split(improved, 2, axis=1))
        after, before = candidate.losses(bags, positive), losses[-1][running]
        gained = after < before - _LEAST_GAIN * np.abs(before)
        running = running[gained]
        points[running], scales[running] = candidate.points[gained], candidate.scales[gained]
        losses.append(losses[-1].copy())
        losses[-1][running] = after[gained]
        if not len(running):
            break
    return Hypotheses(points, scales), losses


def _losses(
    distances: NDArray[np.float64], positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give losses, shape (S,), of distances of bags, shape (B, S), and their slopes, shape (B, S)."""
    far = np.maximum(distances, _NEAREST)
    with np.errstate(over="ignore"):  # far away the slope is 0
        slopes = np.where(positive[:, None], 1.0, -1 / np.expm1(far))
    losses = np.where(positive[:, None], distances, -np.log(-np.expm1(-far)))
    return (losses * weights[:, None]).sum(axis=0), slopes * weights[:, None]


def _given_instances(
    instances: NDArray[np.float64],
    places: NDArray[np.int64],
    positive: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> _Objective:
    """Give the loss where it is known which instance stands for each bag, `places` of shape (S, B)."""
    squares = instances**2

    def objective(x: NDArray[np.float64], which: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        guess = Hypotheses(*np.split(x, 2, axis=1))
        chosen = places[which]
        column = np.arange(len(which))[:, None]
        losses, slopes = _losses(guess.distances(instances)[chosen, column].T, positive, weights)
        # A hypothesis chooses one instance a bag, and none twice: bags have no instance in common.
        slope_of = np.zeros((len(which), len(instances)))
        slope_of[column, chosen] = slopes.T
        first, second, total = slope_of @ instances, slope_of @ squares, slope_of.sum(axis=1, keepdims=True)
        by_point = 2 * guess.scales**2 * (total * guess.points - first)
        by_scale = 2 * guess.scales * (second - 2 * guess.points * first + total * guess.points**2)
        return losses, np.concatenate([by_point, by_scale], axis=1)

    return objective


def _lbfgs(objective: _Objective, x: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Minimise several functions at once by L-BFGS, each with step lengths of its own (Nocedal & Wright, chapter 7)."""
    active = np.arange(len(x))
    value, gradient = objective(x, active)
    history: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]] = []
    for _ in range(steps):
        direction = -_quasi_newton(gradient, history)
        slope = _dot(direction, gradient)
        uphill = slope >= 0
        direction[uphill] = -gradient[uphill]
        slope[uphill] = -_dot(gradient[uphill], gradient[uphill])
        # The first step has no curvature to go by: it is one unit long.
        length = np.ones(len(x)) if history else 1 / np.maximum(1.0, np.sqrt(_dot(gradient, gradient)))
        new_x, new_value, new_gradient = x.copy(), value.copy(), gradient.copy()
        waiting = active
        for _ in range(20):
            trial = x[waiting] + length[waiting, None] * direction[waiting]
            trial_value, trial_gradient = objective(trial, waiting)
            enough = trial_value <= value[waiting] + 1e-4 * length[waiting] * slope[waiting]
            done = waiting[enough]
            new_x[done], new_value[done], new_gradient[done] = (
                trial[enough],
                trial_value[enough],
                trial_gradient[enough],
            )
            waiting = waiting[~enough]
            if not len(waiting):
                break
            length[waiting] /= 3
        moved, turned = new_x - x, new_gradient - gradient
        curvature = _dot(moved, turned)
        usable = curvature > 1e-10 * _dot(turned, turned)
        history = [*history[-_MEMORY + 1 :], (moved, turned, np.where(usable, 1 / np.where(usable, curvature, 1), 0.0))]
        active = active[(value - new_value > 1e-7 * np.abs(value))[active]]
        x, value, gradient = new_x, new_value, new_gradient
        if not len(active):
            break
    return x


def _quasi_newton(
    gradient: NDArray[np.float64], history: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """Multiply gradients with the inverse curvature that the last steps showed; a step that showed none is left out."""
    result = gradient.copy()
    shares = []
    for moved, turned, inverse in reversed(history):
        shares.append(inverse * _dot(moved, result))
        result -= shares[-1][:, None] * turned
    if history:
        moved, turned, inverse = history[-1]
        scale = np.where(inverse > 0, _dot(moved, turned) / np.maximum(_dot(turned, turned), 1e-300), 1.0)
        result *= scale[:, None]
    for (moved, turned, inverse), share in zip(history, reversed(shares), strict=True):
        result += (share - inverse * _dot(turned, result))[:, None] * moved
    return result


def _dot(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = np.einsum("sp,sp->s", one, other)
    return product


@dataclass(frozen=True, eq=False)
class Concept(Learner):
    """The best hypothesis, and how likely a bag at some distance from it is positive.

    Attributes
    ----------
    hypothesis
        One.
    losses
        Of all there were, at the start and after each round, shape (rounds, S).
    logistic
        Of how close a bag comes.
    """

    hypothesis: Hypotheses
    losses: Annotated[NDArray[np.float64], "R S"]
    logistic: Machine

    def decide(self, bags: Packed) -> NDArray[np.float64]:
        """Give the log-odds of how close each bag comes."""
        closeness = bags.highest(-self.hypothesis.distances(bags.instances))
        return self.logistic.decide(closeness)

    def check(self, width: int) -> int:
        """One column, where the point is one of the instances' space."""
        if self.hypothesis.points.shape != (1, width):
            raise ValueError("its point is none")
        self.logistic.check(1)
        return 1


@dataclass(kw_only=True, eq=False, repr=False)
class DiverseDensity(ScoresInstances):
    r"""EM-DD: find the point, and the scales of the features, that best tell the bags apart (Zhang & Goldman, 2001).

    $$P(x) = \exp\left(-\sum_d (s_d (x_d - t_d))^2\right)$$

    This is how much the instance $x$ belongs to the point $t$ with the scales $s$; the nearest one speaks for its bag.

    Starts from the instances of up to `BAGS_TO_START_FROM` positive bags, at most `MOST_STARTS`, both drawn at random,
    improves all of them at once by at most `ROUNDS` rounds of expectation and maximisation, and keeps the one with the
    best likelihood on the training bags. (The original kept the best on test bags.) How close a bag must come to count
    as positive is found by a logistic regression on the training bags.

    Parameters
    ----------
    scale
        What each $s_d$ starts with, in units of one over the root of the number of features times their variance; None
        chooses.
    steps
        Number of quasi-Newton steps of each maximisation at most. Few are better than many: two numbers a feature
        follow the noise of a hundred bags.
    random_state
        As in `ClassicalMIL`.

    References
    ----------
    Q. Zhang, S. Goldman: EM-DD: An Improved Multiple-Instance Learning Technique. NIPS 2001.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> model = bw.make("EM-DD", random_state=0).fit(bags)
    >>> model.predict(bags[:4]).tolist(), (model.instance_scores(bags[:2]) > 0.5).tolist()
    ([0, 1, 0, 1], [False, True, False])
    """

    GRID: ClassVar[Grid] = tuple({"scale": scale} for scale in (1.0, 0.5, 0.25))

    scale: Positive | None = None
    steps: Count = 3

    def _learn(self, bags: Packed, positive: NDArray[np.bool_], parameters: Mapping[str, Any], seed: int) -> Learner:
        rng = np.random.default_rng(seed)
        begun = rng.permutation(np.flatnonzero(positive))[:BAGS_TO_START_FROM]
        candidates = np.concatenate([np.arange(*bags.offsets[place : place + 2]) for place in begun])
        points = bags.instances[np.sort(rng.permutation(candidates)[:MOST_STARTS])]
        first = parameters["scale"] / np.sqrt(bags.instances.shape[1] * (bags.instances.var() or 1.0))
        found, losses = maximise(Hypotheses(points, np.full(points.shape, first)), bags, positive, self.steps)
        best = int(losses[-1].argmin())
        chosen = Hypotheses(found.points[[best]], found.scales[[best]])
        closeness = bags.highest(-chosen.distances(bags.instances))
        logistic = LogisticRegression().fit(closeness, positive, bags.weights)
        return Concept(chosen, np.stack(losses), frozen(logistic))
