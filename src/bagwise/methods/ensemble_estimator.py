"""An ensemble as one estimator."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.errors import BagwiseError
from bagwise.methods.asked import ask, common_contributions, common_target
from bagwise.methods.base import BagEstimator, clone_with_seed
from bagwise.methods.joint import fit_members
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.validation import set_apart
from bagwise.parameters import Count
from bagwise.training.engine import OnEpoch

__all__ = ["Ensemble"]


@dataclass(eq=False, repr=False)
class Ensemble(BagEstimator, Sequence[NeuralMIL]):
    """Members that differ in their initial weights and in dropout, trained together, which answer with their mean.

    It is a sequence of its members, too: whatever takes several models (`predict_ensemble`, `bagwise.explain.explain`,
    `save_models`) takes it.

    Parameters
    ----------
    method
        A neural method to fit copies of; it is not changed.
    size
        K, the number of members.

    Attributes
    ----------
    members_ : list of NeuralMIL
        Fitted. The first ends as ``clone(method).fit(bags)`` would, to the last bit.
    target_, classes_, positive_
        As in `NeuralMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]], [[0.1]], [[0.9]]], labels=[0, 1, 0, 1])
    >>> model = bw.Ensemble(bw.AttentionMIL(epochs=1, random_state=0), 3).fit(bags)
    >>> len(model), model.predict_proba(bags).shape, model.attention(bags).tolist()
    (3, (4, 2), [1.0, 1.0, 1.0, 1.0])
    """

    method: NeuralMIL
    size: Count = 5

    @classmethod
    def of(cls, members: Sequence[NeuralMIL]) -> Self:
        """Make one of members that have learnt the same labels.

        Parameters
        ----------
        members
            Fitted.

        Returns
        -------
        Ensemble
            Fitted.
        """
        ensemble = cls(clone(members[0]), len(members))
        ensemble._gather(members)
        return ensemble

    @property
    def target(self) -> str:  # type: ignore[override]
        """What labels are, as the method takes it."""
        return self.method.target

    def __len__(self) -> int:
        """Count the members; there are none before it has learnt."""
        return len(getattr(self, "members_", ()))

    def __getitem__(self, place: Any) -> Any:
        """Give a member, or a list of some."""
        check_is_fitted(self)
        return self.members_[place]

    def fit(
        self,
        X: BagsLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        validation: ArrayLike | Bags | None = None,
        n_jobs: int | None = 1,
        checkpoints: Path | None = None,
        verbose: bool = False,
        on_epoch: OnEpoch | None = None,
    ) -> Self:
        """Learn from bags, all members in one training, which see the bags in the same order.

        Parameters
        ----------
        X, y, sample_weight, validation
            As `NeuralMIL.fit` takes them.
        n_jobs, checkpoints, verbose, on_epoch
            As in `bagwise.training.engine.train`.

        Returns
        -------
        Self
            The estimator itself.
        """
        apart = set_apart(as_bags(X, y), validation, sample_weight)
        alike = clone_with_seed(self.method)
        members = fit_members(
            [clone(alike) for _ in range(self.size)],
            apart.bags,
            [apart.train] * self.size,
            places=range(self.size),
            validations=[apart.validation] * self.size,
            sample_weight=apart.sample_weight,
            n_jobs=n_jobs,
            checkpoints=checkpoints,
            verbose=verbose,
            on_epoch=on_epoch,
        )
        self._gather(members)
        return self

    def _gather(self, members: Sequence[NeuralMIL]) -> None:
        self.members_ = list(members)
        self._remember_target(common_target(members))
        for name in ("instance_shape_", "n_features_in_", "feature_names_in_", "columns_"):
            self.__dict__.pop(name, None)
            if hasattr(members[0], name):
                setattr(self, name, getattr(members[0], name))

    def answers(self, X: BagsLike) -> NDArray[Any]:
        """Give the mean of what the members say of each bag, as `BagEstimator.answers` does."""
        check_is_fitted(self)
        mean: NDArray[Any] = np.mean([said.answers for said in ask(self.members_, as_bags(X))], axis=0)
        return mean

    def _survival(self, X: BagsLike, times: ArrayLike | None) -> NDArray[Any]:
        check_is_fitted(self)
        mean: NDArray[Any] = np.mean([member._survival(X, times) for member in self.members_], axis=0)
        return mean

    def instance_scores(self, X: BagsLike) -> NDArray[Any]:
        """Give the mean of the members' scores of each instance.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            As `NeuralMIL.instance_scores` gives it.
        """
        check_is_fitted(self)
        said = ask(self.members_, as_bags(X), instances=True)
        mean: NDArray[Any] = np.mean([one.scores for one in said if one.scores is not None], axis=0)
        return mean

    @available_if(lambda self: hasattr(self.method, "attention"))  # type: ignore[untyped-decorator]
    def attention(self, X: BagsLike) -> NDArray[Any]:
        """Give the mean of the members' weights of each instance in its bag, where the method has weights.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            As `NeuralMIL.attention` gives it; the heads of one member are not those of another, so that means of
            several heads say little.

        Raises
        ------
        BagwiseError
            If a model or pooling of your own gives none.
        """
        check_is_fitted(self)
        weights = [one.weights for one in ask(self.members_, as_bags(X)) if one.weights is not None]
        if not weights:
            raise BagwiseError("the model gives no weights of instances: ask for instance_scores")
        mean: NDArray[Any] = np.mean(weights, axis=0)
        return mean

    @available_if(lambda self: hasattr(self.method, "contributions"))  # type: ignore[untyped-decorator]
    def contributions(self, X: BagsLike) -> NDArray[Any]:
        """Give the mean of what each instance adds to what the members say of its bag, where that is a sum.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            As `NeuralMIL.contributions` gives it. Its sum over a bag is the mean of what members sum to: of classes,
            of their log-odds or logits, while `answers` averages their probabilities, whose log-odds lie near to that
            mean.

        Raises
        ------
        BagwiseError
            If a model of your own gives none.
        """
        check_is_fitted(self)
        found = common_contributions(ask(self.members_, as_bags(X)))
        if found is None:
            raise BagwiseError("the model gives no contributions of instances: ask for instance_scores or attention")
        return found
