"""A model that predicts one class whatever it is shown is told of."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.errors import BagwiseWarning
from bagwise.methods.fitted import Fitted, bag_answers, predict_members
from bagwise.targets.classes import ClassTarget

__all__ = ["warn_of_one_class"]

_LOOKED_AT = 8  # bags of each class, before all are asked about: two predictions that differ are enough


Predict = Callable[[Sequence[Any], Bags, Sequence[NDArray[np.int64]]], list[NDArray[Any]]]


def _by_models(models: Sequence[Fitted], bags: Bags, subsets: Sequence[NDArray[np.int64]]) -> list[NDArray[Any]]:
    predictions = predict_members(models, bags, subsets)
    return [model.target_.predicted(bag_answers(model, said)) for model, said in zip(models, predictions, strict=True)]


def warn_of_one_class(
    models: Sequence[Any], bags: Bags, trains: Sequence[NDArray[np.int64]], predict: Predict = _by_models
) -> None:
    """Warn where models predict one class for all bags that they learnt from, which are of two or more.

    Parameters
    ----------
    models
        Fitted, of one target.
    bags
        Bags with labels.
    trains
        For each model the positions of those learnt from.
    predict
        What models predict for these and other positions; as it comes, of neural models.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]]], labels=["normal", "cancer"])
    >>> model = bw.AttentionMIL(epochs=1, threshold=0.001).fit(bags[[0, 1]])
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     warn_of_one_class([model], bags, [np.arange(2)])
    >>> str(told[0].message).partition(":")[0]
    'AttentionMIL predicts cancer for all 2 bags that it learnt from'
    """
    if not isinstance(models[0].target_, ClassTarget):
        return
    assert bags.labels is not None
    few = [_few(train, bags.labels[train]) for train in trains]
    suspected = [number for number, said in enumerate(predict(models, bags, few)) if _of_one(said)]
    asked = [models[number] for number in suspected], bags, [trains[number] for number in suspected]
    found = [said for said in (predict(*asked) if suspected else []) if _of_one(said)]
    if not found:
        return
    who = f"{models[0]._called} predicts {found[0][0]} for all {len(found[0])} bags that it learnt from"
    if len(models) > 1:
        who = f"{len(found)} of {len(models)} models predict one class for all bags that they learnt from"
    advice = "train longer, give a threshold, or see whether the features tell the classes apart"
    warnings.warn(f"{who}: {advice}", BagwiseWarning, stacklevel=2)


def _of_one(predicted: NDArray[Any]) -> bool:
    return len(np.unique(predicted)) == 1


def _few(train: NDArray[np.int64], labels: NDArray[Any]) -> NDArray[np.int64]:
    """Take a few bags of each class, in their order."""
    taken = np.concatenate([np.flatnonzero(labels == name)[:_LOOKED_AT] for name in np.unique(labels)])
    few: NDArray[np.int64] = train[np.sort(taken)]
    return few
