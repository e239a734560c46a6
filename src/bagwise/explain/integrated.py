"""What decided within an instance: the part of each column of a table in the instance's score."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.errors import BagwiseError
from bagwise.explain.values import instances_at, values_of
from bagwise.methods.asked import Asked, ask, common_target
from bagwise.methods.averaged import Averaged
from bagwise.methods.ensemble import members_of
from bagwise.methods.fitted import Fitted
from bagwise.models.model import MILModel
from bagwise.models.own import OwnModel
from bagwise.models.shown_columns import encoding_in
from bagwise.training.data import as_tensor
from bagwise.training.device import one_thread, resolve_device

__all__ = ["Contributions", "can_be_told", "contributions"]

_POINTS = (16, 64, 256)  # on the way from the baseline: as many as it takes
_EXACT = 5e-4  # by so much of the largest difference of scores may the parts of a column be off
_AT_ONCE = 1 << 14  # points that are looked at together


@dataclass(frozen=True, eq=False)
class Contributions:
    """What columns contribute to the scores of instances; over several models, on average.

    Attributes
    ----------
    rows
        Positions of the instances, shape (n,).
    columns
        Of the table, or names of features.
    parts
        Of each instance and column, shape (n, number of columns): they sum to `scores` less `baseline`.
    scores
        Of the instances, shape (n,), as `bagwise.explain.Explanation` has them; where an instance has several, the one
        of the class that its bag is taken for.
    baseline
        Scores of an instance of which a model is shown nothing but zeros: all numbers are what they are in the middle
        of the training instances, nothing is missing, and there is neither a date nor a value of a category. Shape
        (n,), for different classes have different ones.

    Examples
    --------
    >>> found = Contributions(np.array([4]), ("size",), np.array([[0.5]]), np.array([0.75]), np.array([0.25]))
    >>> found.table(Bags(np.arange(5.0)[:, None], [0, 3, 5], feature_names=["size"])).values.tolist()
    [['1', 1, 'size', 4.0, 0.5, 0.25]]
    """

    rows: NDArray[np.int64]
    columns: tuple[str, ...]
    parts: NDArray[np.float64]
    scores: NDArray[np.float64]
    baseline: NDArray[np.float64]

    def table(self, bags: BagsLike) -> pd.DataFrame:
        """Put them into a table.

        Parameters
        ----------
        bags
            Those that were asked about.

        Returns
        -------
        DataFrame
            One row an instance and column, those that contribute most first: ``bag``, ``instance``, ``column``,
            ``value``, ``contribution``, and ``baseline``, which with the contributions of an instance sums to its
            score.
        """
        bags = as_bags(bags)
        bag = np.searchsorted(bags.offsets, self.rows, side="right") - 1
        names = self.rows - bags.offsets[bag] if bags.instance_names is None else bags.instance_names[self.rows]
        order = np.argsort(-np.abs(self.parts), axis=1, kind="stable")
        values = values_of(bags, self.rows, self.columns).astype(object).to_numpy()
        each = len(self.columns)
        return pd.DataFrame(
            {
                "bag": np.repeat(bags.names[bag], each),
                "instance": np.repeat(names, each),
                "column": np.array(self.columns, dtype=object)[order].ravel(),
                "value": np.take_along_axis(values, order, axis=1).ravel(),
                "contribution": np.take_along_axis(self.parts, order, axis=1).ravel(),
                "baseline": np.repeat(self.baseline, each),
            }
        )


def can_be_told(models: Asked | Sequence[Asked], bags: BagsLike) -> bool:
    """Say whether `contributions` can answer.

    Parameters
    ----------
    models
        Fitted methods.
    bags
        The bags.

    Returns
    -------
    bool
        True for neural methods, or averages of these, and instances that are vectors with names. Those that look at
        coordinates, and models of a user's own in which instances have neighbours, cannot be told of.
    """
    bags = as_bags(bags)
    named = len(bags.instance_shape) == 1 and bags.feature_names is not None
    found = [member for member, _ in _neural(members_of(models, "contributions"))]  # none of baselines alone
    return named and bool(found) and None not in found


def contributions(models: Asked | Sequence[Asked], X: BagsLike, rows: Any = None) -> Contributions:
    """Say how much each column contributes to the score of an instance, by integrated gradients.

    The gradient of the score, at what a model is shown of columns, is averaged over the way from a baseline of zeros to
    the instance and multiplied with the instance ("Axiomatic Attribution for Deep Networks", Sundararajan, Taly and
    Yan, 2017, equation 1). All that a model is shown of a column of the table, such as a place for each value of a
    category, is summed. So the parts add up to the score less that of the baseline (completeness, proposition 1), and
    where the score is linear they are its terms.

    The score is that of the instance alone, as `NeuralMIL.instance_scores` gives it, so where instances have neighbours
    each is its own.

    Parameters
    ----------
    models
        Fitted neural methods: one, or the members of an ensemble.
    X
        `Bags` of vectors with names, or what makes such.
    rows
        Positions of instances, packed as in ``bags.instances``. None: all.

    Returns
    -------
    Contributions

    Raises
    ------
    BagwiseError
        If a method is not neural or `can_be_told` knows another reason, or instances are no vectors with names.

    Examples
    --------
    >>> import bagwise as bw
    >>> arrays = [[[0.0, 1.0]], [[5.0, 1.0], [0.0, 0.0]], [[0.1, 0.0]], [[5.0, 0.0]]] * 5
    >>> bags = bw.Bags.from_arrays(arrays, labels=[0, 1, 0, 1] * 5, feature_names=["size", "noise"])
    >>> found = contributions(bw.AttentionMIL(random_state=0).fit(bags), bags, [1])
    >>> found.columns[abs(found.parts[0]).argmax()], bool(found.parts[0, 0] > 0)
    ('size', True)
    """
    members, bags = members_of(models, "contributions"), as_bags(X)
    if not can_be_told(members, bags):
        raise BagwiseError(
            "contributions of columns are told of neural methods that look at no coordinates (of your own: at no"
            " neighbours) and of tables: give models such as attention, and bags of vectors with names of their"
            " features"
        )
    asked = np.arange(len(bags.instances)) if rows is None else np.asarray(rows, np.int64)
    names = bags.feature_names or ()
    source_of = {column.name: column.source for column in bags.columns or ()} or {name: name for name in names}
    columns = tuple(dict.fromkeys(source_of.values()))
    places = {name: columns.index(source) for name, source in source_of.items()}
    total = Contributions(asked, columns, np.zeros((len(asked), len(columns))), *np.zeros((2, len(asked))))
    if not len(asked):
        return total
    classes = _classes(members, bags, asked)
    for model, share in _neural(members):
        own = model._like_learnt(bags)
        parts, scores, baseline = _of_one(model, instances_at(own, asked), classes)
        for name, part in zip(own.feature_names or (), parts.T, strict=True):
            total.parts[:, places[name]] += share * part
        total.scores[:] += share * scores
        total.baseline[:] += share * baseline
    return total


def _neural(members: Sequence[Asked]) -> Iterator[tuple[Any, float]]:
    """Give the models whose mean is what members say of instances, and the share of each; None for one of no use."""
    for member in members:
        scoring = [(member, 1.0)]
        if isinstance(member, Averaged):
            scoring = [
                one for one in zip(member.members_, member.shares_.tolist(), strict=True) if one[0].SCORES_INSTANCES
            ]
        whole = sum(share for _, share in scoring) * len(members)
        for model, share in scoring:
            yield model if isinstance(model, Fitted) and _scores_alone(model.model_) else None, share / whole


def _scores_alone(model: MILModel) -> bool:
    """Whether scores of instances are known to be functions of what one instance is."""
    return not model.wants_coordinates and not (isinstance(model, OwnModel) and model.ties_instances)


def _classes(members: Sequence[Asked], bags: Bags, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give of each instance the column of what its bag is taken for; 0 where scores have one."""
    target = common_target(members)
    bag = np.searchsorted(bags.offsets, rows, side="right") - 1
    asked, place = np.unique(bag, return_inverse=True)
    if target.of_instances(ask(members, bags[:1])[0].answers).ndim == 1:
        return np.zeros(len(rows), np.int64)
    answers = np.mean([said.answers for said in ask(members, bags[asked])], axis=0)
    return target.chosen(answers)[place]


def _of_one(
    model: Fitted, raw: NDArray[Any], classes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Give parts of features, shape (n, D), and the scores of instances and of the baseline, shape (n,) each."""
    device = resolve_device(model.device, model.precision)
    net = model.model_.to(device).eval()
    column = torch.from_numpy(classes).to(device)

    def score(shown: Tensor, column: Tensor) -> Tensor:
        apart = torch.arange(len(shown) + 1, device=device)
        wanted = net.wants_neighbours
        near = None if wanted is None else apart[:-1, None].expand(-1, wanted.count)  # each its own
        said = net.aggregate(net.embed(shown), apart, near)
        if said.scores is not None:
            found: Tensor = model.target_.scores(said.scores, net.learnt)
        else:
            found = model.target_.of_instances(model.target_.answers(said.logits, net.learnt))
        return found if found.ndim == 1 else found.gather(1, column[:, None])[:, 0]

    with one_thread():
        with torch.no_grad():
            shown = torch.cat([net.scaler(part) for part in as_tensor(raw).to(device).split(_AT_ONCE)])
            scores, baseline = (
                torch.cat([score(*part) for part in zip(at.split(_AT_ONCE), column.split(_AT_ONCE), strict=True)])
                for at in (shown, torch.zeros_like(shown))
            )
        difference = scores - baseline
        parts, left = torch.zeros_like(shown), torch.arange(len(shown), device=device)
        for points in _POINTS:
            for some in left.split(max(1, _AT_ONCE // points)):
                parts[some] = _integrated(score, shown[some], column[some], points)
            off = (parts[left].sum(dim=1) - difference[left]).abs()
            left = left[off > _EXACT * difference.abs().max()]
    encoding = encoding_in(net.state_dict())
    origins = np.arange(raw.shape[1]) if encoding is None else encoding.origins
    told = np.zeros((len(raw), raw.shape[1]))
    for origin, part in zip(origins.tolist(), parts.double().cpu().numpy().T, strict=True):
        if origin >= 0:
            told[:, origin] += part
    return told, scores.double().cpu().numpy(), baseline.double().cpu().numpy()


def _integrated(score: Callable[[Tensor, Tensor], Tensor], shown: Tensor, column: Tensor, points: int) -> Tensor:
    """Integrate the gradient along straight ways from zero, by the rule of Gauss and Legendre."""
    nodes, weights = (torch.from_numpy(each / 2).to(shown) for each in np.polynomial.legendre.leggauss(points))
    way = (nodes + 0.5)[:, None, None] * shown
    at = way.flatten(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(score(at, column.repeat(points)).sum(), at)
    return shown * torch.einsum("p,pnw->nw", weights, gradient.view_as(way))
