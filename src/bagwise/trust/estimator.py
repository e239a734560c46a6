"""A method whose probabilities are calibrated, and decided as is wished, as one estimator."""

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from bagwise.bags import BagsLike, as_bags
from bagwise.checks import valid_weights
from bagwise.errors import BagwiseError
from bagwise.methods.base import BagEstimator, clone_with_seed
from bagwise.trust.aims import Aim
from bagwise.trust.calibrating import check_kind
from bagwise.trust.held_out import FOLDS, hold_out
from bagwise.trust.reliance import Reliance, check_aim

__all__ = ["Calibrated"]

_Between = Annotated[float, Interval(gt=0, lt=1)] | None


@dataclass(eq=False, repr=False)
class Calibrated(BagEstimator):
    """A method that is also fitted to parts of the bags, so that what it says of the rest calibrates what it says.

    What is learnt of that, and by which rule, is told by `bagwise.trust.calibrating.choose_calibration`. At most one of
    the last five parameters says from which probability on a bag is positive.

    Parameters
    ----------
    method
        Which; it is not changed.
    folds
        In how many parts bags are held out in turn, at most.
    threshold
        Bags with a larger probability are positive.
    cost
        What mistakes cost, as ``"missed=10,false=1"``.
    sensitivity, specificity
        The share of positive bags, or of negative ones, that are to be called so.
    precision
        The share of those called positive that are to be so.

    Attributes
    ----------
    method_ : estimator
        Fitted to all bags: what it says is not calibrated.
    reliance_ : Reliance
        The calibration, the threshold, and what was said of bags held out.
    target_, classes_, positive_
        As in `NeuralMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> rng = np.random.default_rng(0)
    >>> arrays = [rng.normal(size=(3, 2)) + bag % 2 for bag in range(80)]
    >>> bags = bw.Bags.from_arrays(arrays, labels=[0, 1] * 40)
    >>> model = Calibrated(bw.make("mean-logistic", random_state=0), sensitivity=0.9).fit(bags)
    >>> model.predict_proba(bags).sum(axis=1).round(6).min(), round(model.reliance_.operating().sensitivity, 3)
    (np.float64(1.0), 0.925)
    """

    method: BagEstimator
    folds: Annotated[int, Ge(2)] = FOLDS
    threshold: _Between = None
    cost: str | None = None
    sensitivity: _Between = None
    specificity: _Between = None
    precision: _Between = None

    @property
    def target(self) -> str:  # type: ignore[override]
        """What labels are, as the method takes it."""
        return self.method.target

    def fit(
        self,
        X: BagsLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        n_jobs: int | None = 1,
        verbose: bool = False,
    ) -> Self:
        """Learn from bags, and from what is said of each by what learnt from others.

        Parameters
        ----------
        X, y, sample_weight
            As `BagEstimator.fit` takes them.
        n_jobs, verbose
            As in `bagwise.cross_validate`.

        Returns
        -------
        Self
            The estimator itself.

        Raises
        ------
        BagwiseError
            If the data or a parameter will not do, answers are no probabilities of labels, or there are too few bags
            for what is to be reached.
        """
        aim = Aim.of(self.threshold, self.cost, self.sensitivity, self.specificity, self.precision)
        bags = as_bags(X, y)
        if bags.labels is None:
            raise BagwiseError("the bags have no labels to learn from: give y, or bags with labels")
        weights = None if sample_weight is None else valid_weights(sample_weight, bags.names)
        target = self.method._target_of(bags, np.arange(len(bags)))
        check_kind(target)
        check_aim(target, aim)
        method = clone_with_seed(self.method)
        held_out = hold_out(method, bags, folds=self.folds, sample_weight=weights, n_jobs=n_jobs, verbose=verbose)
        self.method_ = clone(method).fit(bags, **({} if weights is None else {"sample_weight": weights}))
        self.reliance_ = Reliance.of(
            self.method_._learnt_target, bags.labels, weights=weights, held_out=held_out, aim=aim
        )
        self._remember(bags, self.reliance_.deciding())
        return self

    def answers(self, X: BagsLike) -> NDArray[Any]:
        """Give calibrated probabilities, as `BagEstimator.answers` does."""
        check_is_fitted(self)
        return self.reliance_.answers(self.method_.answers(X))
