"""Ensembles: models that differ in nothing but chance, trained and asked together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.checks import check_count
from bagwise.errors import BagwiseError
from bagwise.methods.asked import Asked, ask
from bagwise.text import kind_of

if TYPE_CHECKING:
    from bagwise.methods.ensemble_estimator import Ensemble
    from bagwise.methods.neural import NeuralMIL
    from bagwise.training.engine import OnEpoch

__all__ = ["EnsemblePrediction", "check_neural", "fit_ensemble", "members_of", "predict_ensemble"]

Model = TypeVar("Model", bound=Asked)


@dataclass(frozen=True, eq=False)
class EnsemblePrediction:
    """What an ensemble says of bags.

    Attributes
    ----------
    members
        Probabilities that each member gives, shape (K, B, number of classes).

    Examples
    --------
    >>> said = EnsemblePrediction(np.array([[[0.25, 0.75]], [[0.75, 0.25]]]))
    >>> said.probabilities.tolist(), said.spread.round(2).tolist()
    ([[0.5, 0.5]], [[0.35, 0.35]])
    """

    members: NDArray[np.floating]

    @property
    def probabilities(self) -> NDArray[np.floating]:
        """Mean over the members, shape (B, number of classes); rows sum to 1."""
        mean: NDArray[np.floating] = self.members.mean(axis=0)
        return mean

    @property
    def spread(self) -> NDArray[np.floating]:
        """Standard deviation over the members, shape (B, number of classes); 0 where there is one."""
        if len(self.members) == 1:
            return np.zeros_like(self.members[0])
        spread: NDArray[np.floating] = self.members.std(axis=0, ddof=1)
        return spread


def fit_ensemble(
    model: "NeuralMIL",
    X: BagsLike,
    size: int,
    y: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    validation: ArrayLike | Bags | None = None,
    n_jobs: int | None = 1,
    checkpoints: Path | None = None,
    verbose: bool = False,
    on_epoch: "OnEpoch | None" = None,
) -> "Ensemble":
    """Fit members that differ in their initial weights and in dropout, all in one training.

    The first ends as ``clone(model).fit(bags)`` would, to the last bit; they see the bags in the same order.

    Parameters
    ----------
    model
        A neural method to fit copies of; it is not changed.
    X
        `Bags`, or a list with one array a bag.
    size
        K, the number of members.
    y
        One label a bag. None takes those of the `Bags`.
    sample_weight
        One weight a bag, as `NeuralMIL.fit` takes it.
    validation
        Bags that decide when to stop, as `NeuralMIL.fit` takes them.
    n_jobs, checkpoints, verbose, on_epoch
        As in `bagwise.training.engine.train`.

    Returns
    -------
    Ensemble
        Fitted: an estimator, and a sequence of its members.

    Raises
    ------
    BagwiseError
        If the data or a parameter will not do.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]], [[0.1]], [[0.9]]], labels=[0, 1, 0, 1])
    >>> members = fit_ensemble(bw.AttentionMIL(epochs=1, random_state=0), bags, 3)
    >>> predict_ensemble(members, bags).members.shape
    (3, 4, 2)
    """
    from bagwise.methods.ensemble_estimator import Ensemble  # and with it all that trains

    check_neural(model, "fit_ensemble")
    check_count("the size of the ensemble", size)
    return Ensemble(model, size).fit(
        X,
        y,
        sample_weight,
        validation=validation,
        n_jobs=n_jobs,
        checkpoints=checkpoints,
        verbose=verbose,
        on_epoch=on_epoch,
    )


def predict_ensemble(models: Asked | Sequence[Asked], X: BagsLike) -> EnsemblePrediction:
    """Ask all members in one pass over the bags.

    Parameters
    ----------
    models
        As `fit_ensemble` gives them, or others of the same labels, classical ones among them; one is an ensemble too.
    X
        `Bags`, or a list with one array a bag.

    Returns
    -------
    EnsemblePrediction
        The members' mean probabilities, and how much the members differ.

    Raises
    ------
    BagwiseError
        If the bags are not like those learnt from, or a model is no method of Bagwise.
    """
    members, bags = members_of(models, "predict_ensemble"), as_bags(X)
    return EnsemblePrediction(np.stack([said.answers for said in ask(members, bags)]))


def members_of(models: Model | Sequence[Model], asked_by: str) -> list[Model]:
    """Give the members of an ensemble, which one model is, too.

    Parameters
    ----------
    models
        Fitted.
    asked_by
        What needs them, for messages.

    Returns
    -------
    list of estimators

    Raises
    ------
    BagwiseError
        If there are none, one is no method of Bagwise, or they learnt different classes.

    Examples
    --------
    >>> members_of([], "explain")
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: explain got no model: give at least one
    """
    members: list[Any] = list(models) if isinstance(models, Sequence) else [models]
    if not members:
        raise BagwiseError(f"{asked_by} got no model: give at least one")
    for model in members:
        if not isinstance(model, Asked):
            # One of a class of the user's own, built on BagEstimator.
            if not isinstance(model, type) and hasattr(model, "_learnt_target"):
                raise BagwiseError(
                    f"{kind_of(model)} is a method of your own, and {asked_by} knows not what it learnt: keep what it"
                    " needs yourself, ask it itself, or use one of bagwise.METHODS"
                )
            raise BagwiseError(
                f"{asked_by} needs a method of Bagwise, such as bagwise.make('attention'), not {kind_of(model)}"
            )
        model._check_fitted()
        if model.target_ != members[0].target_:
            raise BagwiseError(
                f"the models learnt different labels, {members[0].target_} and {model.target_}: {asked_by} takes models"
                " of the same"
            )
    return members


def check_neural(model: Any, asked_by: str) -> None:
    """Raise a BagwiseError unless a model is a neural method."""
    from bagwise.methods.fitted import Fitted  # loads PyTorch

    if not isinstance(model, Fitted):
        raise BagwiseError(
            f"{asked_by} needs a neural method of Bagwise, such as bagwise.make('attention'), not {kind_of(model)}"
        )
