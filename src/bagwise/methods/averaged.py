"""Unlike methods that have learnt the same bags, averaged by shares."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metaestimators import available_if

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.errors import BagwiseError
from bagwise.methods.asked import Asked, Said, ask, common_contributions
from bagwise.methods.base import BagEstimator
from bagwise.methods.ensemble import members_of
from bagwise.targets.classes import ClassTarget

__all__ = ["Averaged"]


class Averaged(BagEstimator, Asked):
    """The weighted mean of what several methods say, neural or classical.

    Scores of instances are averaged over the members that have some, and weights over those that have one an instance.
    Where none has scores, what `bagwise explain` tells is averaged over the members that are asked about a bag without
    an instance. Contributions are averaged where all members have some.
    It is what `bagwise.AutoMIL` finds, and what a file holds of it; by itself it learns nothing.

    Attributes
    ----------
    members_ : list of estimators
        Fitted, on the same labels.
    shares_ : array
        Of the members, shape (K,), of sum 1.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]]] * 5, labels=[0, 1] * 5)
    >>> members = [bw.make(name, random_state=0).fit(bags) for name in ("MI-SVM", "mean-logistic")]
    >>> Averaged.of(members, [0.25, 0.75]).predict(bags[:2]).tolist()
    [0, 1]
    """

    members_: list[Any]
    shares_: NDArray[np.float64]

    @classmethod
    def of(cls, members: Sequence[Any], shares: ArrayLike, threshold: Any = None) -> Self:
        """Average members.

        Parameters
        ----------
        members
            Fitted estimators.
        shares
            Of each, of sum 1.
        threshold
            Of classes, from where on which is predicted, as `bagwise.targets.classes.ClassTarget` takes it; None: from
            one half on, or the likeliest.

        Returns
        -------
        Averaged
        """
        made = cls()
        made._gather(members, shares, threshold)
        return made

    def _gather(self, members: Sequence[Any], shares: ArrayLike, threshold: Any) -> None:
        self.members_, self.shares_ = members_of(members, "an average"), np.asarray(shares, dtype=np.float64)
        target = members[0].target_
        self._remember_target(target.deciding(threshold) if isinstance(target, ClassTarget) else target)
        for name in ("instance_shape_", "n_features_in_", "feature_names_in_", "columns_"):
            self.__dict__.pop(name, None)
            if hasattr(members[0], name):
                setattr(self, name, getattr(members[0], name))

    @property
    def _called(self) -> str:
        """What it averages, by name."""
        return f"the average of {' and '.join(member._called for member in self.members_)}"

    @property
    def SCORES_INSTANCES(self) -> bool:  # type: ignore[override]  # noqa: N802
        """Whether one of the members does."""
        return any(member.SCORES_INSTANCES for member in self.members_)

    @property
    def LEAVES_OUT(self) -> bool:  # type: ignore[override]  # noqa: N802
        """Whether one of the members says by how much its answer falls without an instance, and none says more."""
        return not self.SCORES_INSTANCES and any(member.LEAVES_OUT for member in self.members_)

    @property
    def _wants_coordinates(self) -> bool:
        return any(member._wants_coordinates for member in self.members_)

    def _compute(self, device: str, dtype: str | None) -> None:
        neural = [member for member in self.members_ if hasattr(member, "plan_")]
        for member in neural or self.members_:
            member._compute(device, dtype)

    @classmethod
    def _say(cls, members: Sequence[Self], bags: Bags, *, instances: bool) -> list[Said]:
        return [one._says(bags, instances=instances) for one in members]

    def _says(self, bags: Bags, *, instances: bool) -> Said:
        scores = self.SCORES_INSTANCES
        scoring = [instances and (member.SCORES_INSTANCES if scores else member.LEAVES_OUT) for member in self.members_]
        found: dict[int, Said] = {}
        for wanted in (True, False):
            places = [place for place, one in enumerate(scoring) if one is wanted]
            asked = [self.members_[place] for place in places]
            found |= zip(places, ask(asked, bags, instances=wanted) if asked else [], strict=True)
        said = [found[place] for place in range(len(scoring))]
        answers = self.target_.averaged(np.stack([one.answers for one in said]), self.shares_)
        weights, found_scores = (self._mean([getattr(one, name) for one in said]) for name in ("weights", "scores"))
        axes = {one.weight_axis for one in said if one.weights is not None and one.weights.ndim == 2}
        return Said(
            answers,
            weights,
            found_scores,
            "classes" if axes == {"classes"} else "heads",
            alone=scores,
            contributions=common_contributions(said, self.shares_),
        )

    def _mean(self, parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
        """Average what some members give, of one shape."""
        shapes = [part.shape for part in parts if part is not None and part.ndim == 1]
        shapes = shapes or [part.shape for part in parts if part is not None]
        given = [place for place, part in enumerate(parts) if part is not None and part.shape == shapes[0]]
        if not given:
            return None
        mean: NDArray[Any] = np.average(
            [np.asarray(parts[place]) for place in given], axis=0, weights=self.shares_[given]
        )
        return mean

    def answers(self, X: BagsLike) -> NDArray[Any]:
        """Average what the members say of each bag, as `BagEstimator.answers` gives it."""
        self._check_fitted()
        return self._says(as_bags(X), instances=False).answers

    def _survival(self, X: BagsLike, times: ArrayLike | None) -> NDArray[Any]:
        self._check_fitted()
        each = [member._survival(X, times) for member in self.members_]
        mean: NDArray[Any] = np.average(each, axis=0, weights=self.shares_)
        return mean

    @available_if(lambda self: self.SCORES_INSTANCES)  # type: ignore[untyped-decorator]
    def instance_scores(self, X: BagsLike) -> NDArray[Any]:
        """Average the scores of each instance over the members that have some.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            As `NeuralMIL.instance_scores` gives it.
        """
        self._check_fitted()
        scores = self._says(as_bags(X), instances=True).scores
        assert scores is not None
        return scores

    def _may_contribute(self) -> bool:
        return all(hasattr(member, "contributions") for member in self.members_)

    @available_if(lambda self: self._may_contribute())  # type: ignore[untyped-decorator]
    def contributions(self, X: BagsLike) -> NDArray[Any]:
        """Average what each instance adds to what the members say of its bag, where all are sums over instances.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            As `NeuralMIL.contributions` gives it. Its sum over a bag is the mean, by shares, of what members sum to: of
            classes, of their log-odds or logits, while `answers` averages their probabilities, whose log-odds lie near
            to that mean.

        Raises
        ------
        BagwiseError
            If a member that is a user's own gives none.
        """
        self._check_fitted()
        found = self._says(as_bags(X), instances=False).contributions
        if found is None:
            raise BagwiseError("not all members give contributions of instances: ask for instance_scores")
        return found
