"""Ensembles: models that differ in nothing but chance, trained and asked together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from bagwise.bags import Bags
from bagwise.checks import check_count
from bagwise.methods.base import clone_with_seed
from bagwise.methods.neural import NeuralMIL, bag_probabilities, fit_members, predict_members

__all__ = ["EnsemblePrediction", "fit_ensemble", "predict_ensemble"]

Estimator = TypeVar("Estimator", bound=NeuralMIL)


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
    model: Estimator,
    bags: Bags,
    size: int,
    *,
    n_jobs: int | None = 1,
    checkpoints: Path | None = None,
    verbose: bool = False,
) -> list[Estimator]:
    """Fit members that differ in their initial weights and in dropout, all in one training.

    The first ends as ``clone(model).fit(bags)`` would, to the last bit; they see the bags in the same order.

    Parameters
    ----------
    model
        What to fit copies of; it is not changed.
    bags
        Bags with labels.
    size
        K, the number of members.
    n_jobs, checkpoints, verbose
        As in `bagwise.training.engine.train`.

    Returns
    -------
    list of estimators
        Fitted.

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
    check_count("the size of the ensemble", size)
    alike = clone_with_seed(model)
    return fit_members(
        [clone(alike) for _ in range(size)],
        bags,
        [np.arange(len(bags))] * size,
        places=range(size),
        n_jobs=n_jobs,
        checkpoints=checkpoints,
        verbose=verbose,
    )


def predict_ensemble(models: Sequence[NeuralMIL], bags: Bags) -> EnsemblePrediction:
    """Ask all members in one pass over the bags.

    Parameters
    ----------
    models
        As `fit_ensemble` gives them; one is an ensemble too.
    bags
        The bags.

    Returns
    -------
    EnsemblePrediction
        The members' mean probabilities, and how much the members differ.

    Raises
    ------
    BagwiseError
        If the bags are not like those learnt from.
    """
    predictions = predict_members(models, bags, [np.arange(len(bags))] * len(models))
    told = [bag_probabilities(model, said) for model, said in zip(models, predictions, strict=True)]
    return EnsemblePrediction(np.stack(told))
