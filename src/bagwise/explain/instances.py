"""What each instance counts in its bag."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bagwise.bags import BagsLike, as_bags
from bagwise.checks import check_count
from bagwise.errors import BagwiseError
from bagwise.explain.rescaling import equal_in_bags, leading_in_bags, ranks_in_bags, rescaled_in_bags
from bagwise.explain.values import columns_shown, values_of
from bagwise.explain.weights import (
    CHOOSING,
    columns_by_name,
    columns_of,
    evidence_in_one,
    names_of_columns,
    weights_in_one,
)
from bagwise.methods.asked import Asked, ask, common_contributions, common_target
from bagwise.methods.ensemble import members_of
from bagwise.targets.contract import Target

__all__ = ["Explanation", "explain", "key_instances", "key_rows"]

_AXES = ("x", "y", "z")


@dataclass(frozen=True, eq=False)
class Explanation:
    """What models say of bags and of their instances; of several members, on average.

    Attributes
    ----------
    target
        What the labels are.
    answers
        What is said of each bag, shape (B, A): probabilities, numbers, or a risk and a survival function.
    weights
        Of the instances in their bag, packed, shape (N,), as `NeuralMIL.attention` gives them; None where the method
        has none. Of a method with several heads their mean; of one with weights for each class those for the class
        that the bag is taken for, or their mean where it is taken for none.
    scores
        What each instance, were it alone, would give its bag (`NeuralMIL.instance_scores`): the probability of the
        positive class, the number or the risk, shape (N,); with more than two classes shape (N, number of classes). Of
        a baseline, which looks at whole bags, by how much that falls in its bag without the instance
        (`bagwise.methods.classical.baselines.SummaryMIL.without_instance`); NaN where no other is in the bag.
    alone
        Whether scores are of instances alone.
    weights_by
        Where the method has several heads, the weights of each, shape (N,), by its number from 1; where it has weights
        for each class or label, those, by its name. Else empty. The heads of one model are not those of another, so
        that means over members say little.
    contributions
        What each instance adds to what is said of its bag (`NeuralMIL.contributions`), shape (N,), or (N, C) where that
        is several numbers; None where some method has none.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=[0, 1, 0, 1])
    >>> found = explain([bw.AttentionMIL(epochs=2, random_state=0).fit(bags)], bags)
    >>> found.weights.shape, found.rescaled(bags).max(), found.ranks(bags).tolist()[0]
    ((5,), np.float64(1.0), 1)
    """

    target: Target
    answers: NDArray[np.floating]
    weights: NDArray[np.floating] | None
    scores: NDArray[np.floating]
    weights_by: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    alone: bool = True
    contributions: NDArray[np.floating] | None = None

    @property
    def classes(self) -> NDArray[Any] | None:
        """The classes, sorted, the grades or the labels, in the order of the columns; None of numbers and lives."""
        return self.target.names

    @property
    def probabilities(self) -> NDArray[np.floating]:
        """The answers, of classes, grades or labels: probabilities, shape (B, number of classes)."""
        if self.target.names is None:
            raise BagwiseError(f"there are no probabilities of a {self.target.kind} target: look at answers")
        return self.answers

    @property
    def positive(self) -> Any:
        """Of two classes the one that the standard MIL assumption is about, else None."""
        return self.target.positive

    @property
    def predicted(self) -> NDArray[Any]:
        """The likeliest class of each bag, the number or the risk, shape (B,); of several labels (B, L)."""
        return self.target.predicted(self.answers)

    @property
    def probability(self) -> NDArray[np.floating]:
        """That of what is predicted, of classes and grades, shape (B,)."""
        return self.answers[np.arange(len(self.answers)), self.target.chosen(self.answers)]

    @property
    def _names(self) -> Sequence[Any]:
        return names_of_columns(self.target, self.answers)

    @property
    def _score(self) -> str:
        return "score" if self.alone else "fall"

    @property
    def importance(self) -> NDArray[np.floating]:
        """What instances are ranked by, shape (N,): weights without sign, else scores of the class each is most for."""
        if self.weights is not None:
            unsigned: NDArray[np.floating] = np.abs(self.weights)
            return unsigned
        scores: NDArray[Any] = np.nan_to_num(self.scores)  # which are unknown of one that is alone in its bag
        return scores if scores.ndim == 1 else scores.max(axis=1)

    def evidence(self, bags: BagsLike) -> NDArray[np.floating] | None:
        """Say how much each instance speaks for what its bag is taken for, and below 0 how much against it.

        Parameters
        ----------
        bags
            The bags that were explained.

        Returns
        -------
        array or None
            Shape (N,): contributions to the class that is predicted, to the number or to the risk. None where there are
            no contributions, or a bag is taken for several things.

        Examples
        --------
        >>> from bagwise.targets.classes import ClassTarget
        >>> answers, parts = np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([-2.0, 0.5, 1.0])
        >>> found = Explanation(ClassTarget.of([0, 1]), answers, None, parts, contributions=parts)
        >>> found.evidence([[[0.0], [1.0]], [[2.0]]]).tolist()
        [2.0, -0.5, 1.0]
        """
        if self.contributions is None:
            return None
        return evidence_in_one(self.contributions, self.target, self.target.chosen(self.answers), as_bags(bags).sizes)

    def rescaled(self, bags: BagsLike) -> NDArray[np.float64]:
        """Bring the importance in each bag to 0..1, as the paper's figures do (section 4.3).

        Parameters
        ----------
        bags
            The bags that were explained.

        Returns
        -------
        array
            Shape (N,); see `rescaled_in_bags`.
        """
        return rescaled_in_bags(self.importance, as_bags(bags).offsets)

    def equal(self, bags: BagsLike) -> NDArray[np.bool_]:
        """Say in which bags all instances count the same, so that none of them is a key instance.

        Parameters
        ----------
        bags
            The bags that were explained.

        Returns
        -------
        array
            Shape (B,); see `equal_in_bags`.
        """
        return equal_in_bags(self.importance, as_bags(bags).offsets)

    def title(self, bags: BagsLike, position: int) -> str:
        """Say in a line what a bag was taken for, and whether all of its instances count the same.

        Parameters
        ----------
        bags
            The bags that were explained.
        position
            Of the bag.

        Returns
        -------
        str
        """
        bags = as_bags(bags)
        likeliest = _texts(self.predicted[position : position + 1])[0]
        told = f"{bags.names[position]}: {likeliest}"
        if self.target.kind in CHOOSING:
            told += f" {self.probability[position]:.2f}"
        begin, end = bags.offsets[position : position + 2]
        equal = equal_in_bags(self.importance[begin:end], np.array([0, end - begin])).all()
        called = "weights" if self.weights is not None else f"{self._score}s"
        return f"{told}, all {called} are equal" if equal else told

    def ranks(self, bags: BagsLike) -> NDArray[np.int64]:
        """Rank the instances of each bag by importance.

        Parameters
        ----------
        bags
            The bags that were explained.

        Returns
        -------
        array
            Shape (N,), from 1; see `ranks_in_bags`.
        """
        return ranks_in_bags(self.importance, as_bags(bags).offsets)

    def table(self, bags: BagsLike) -> pd.DataFrame:
        """Put all of it into a table.

        Parameters
        ----------
        bags
            The bags that were explained.

        Returns
        -------
        DataFrame
            One row an instance, in the order of the bags: ``bag``, ``instance`` (its name, else its number in the bag
            from 0), ``file`` where the bags know it (`Bags.sources`), ``x``, ``y`` (and ``z``) where there are
            coordinates, ``weight`` where the method has weights, ``weight_HEAD`` (from 1) or ``weight_CLASS`` where it
            has several (`weights_by`), ``contribution`` or ``contribution_CLASS`` where the method has contributions,
            ``rescaled_weight``, ``rank``, and ``score`` or ``score_CLASS``, or of what is left out ``fall`` or
            ``fall_CLASS``.
        """
        bags = as_bags(bags)
        bag = np.repeat(np.arange(len(bags)), bags.sizes)
        numbers = np.arange(len(bag)) - bags.offsets[:-1][bag]
        columns: dict[str, Any] = {
            "bag": bags.names[bag],
            "instance": numbers if bags.instance_names is None else bags.instance_names,
        }
        if bags.sources is not None:
            columns["file"] = bags.sources
        if bags.coordinates is not None:
            columns |= dict(zip(_AXES, bags.coordinates.T, strict=False))
        if self.weights is not None:
            columns["weight"] = self.weights
            columns |= {f"weight_{name}": weights for name, weights in self.weights_by.items()}
        if self.contributions is not None:
            columns |= columns_by_name("contribution", self.contributions, self._names)
        columns |= {"rescaled_weight": self.rescaled(bags), "rank": self.ranks(bags)}
        return pd.DataFrame(columns | columns_by_name(self._score, self.scores, self._names))


def _texts(predicted: NDArray[Any]) -> list[str]:
    """Say predictions in a few words."""
    rows = predicted.reshape(len(predicted), -1).tolist()
    return [", ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row) for row in rows]


def explain(models: Asked | Sequence[Asked], X: BagsLike) -> Explanation:
    """Ask models what each instance counts.

    Parameters
    ----------
    models
        Fitted methods that say something of instances, neural ones or mi-SVM, MI-SVM and EM-DD, or baselines: one, or
        the members of an ensemble.
    X
        `Bags`, or a list with one array a bag. Of bags in files one is in memory at a time.

    Returns
    -------
    Explanation
        Probabilities of bags, and weights and scores of instances; means over the models.

    Raises
    ------
    BagwiseError
        If the bags are not like those learnt from, a method looks at whole bags alone, or some methods say what
        instances give alone and others what a bag is without them.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> explain(bw.make("summary-logistic", random_state=0).fit(bags), bags[1:2]).scores.round(1).tolist()
    [0.8, 0.2]
    """
    members, bags = members_of(models, "explain"), as_bags(X)
    said = ask(members, bags, instances=True)
    if len({one.alone for one in said}) > 1:
        raise BagwiseError(
            "some of the models say what instances give alone, and others by how much the answer falls without them:"
            " explain them one by one"
        )
    explanation = Explanation(
        target=common_target(members),
        answers=np.mean([one.answers for one in said], axis=0),
        weights=None,
        scores=np.mean([one.scores for one in said if one.scores is not None], axis=0),
        alone=said[0].alone,
        contributions=common_contributions(said),
    )
    mean = _mean([one.weights for one in said])
    if mean is None:
        return explanation
    axis = columns_of(mean, said[0].weight_axis, explanation.target.kind, explanation.answers)
    named = said[0].weight_axis == "classes" and mean.shape[1:] == (len(explanation._names),)
    names = explanation._names if named else range(1, 1 + mean.shape[-1])
    predicted = explanation.target.chosen(explanation.answers)
    return replace(
        explanation,
        weights=weights_in_one(mean, axis, predicted, bags.sizes),
        weights_by={str(name): mean[:, place] for place, name in enumerate(names)} if mean.ndim == 2 else {},
    )


def _mean(parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """Average what all members give, of one shape."""
    given = [part for part in parts if part is not None]
    alike = len(given) == len(parts) and len({part.shape for part in given}) == 1
    return np.asarray(np.mean(given, axis=0)) if alike else None


def key_rows(explanation: Explanation, bags: BagsLike, count: int) -> NDArray[np.int64]:
    """Find the instances that count most in each bag: where they have contributions, those most for and most against.

    Parameters
    ----------
    explanation, bags
        The bags, and what was found of them.
    count
        How many of each bag, or for and against each; more where the last of them has equals, and none of a bag whose
        instances all count the same.

    Returns
    -------
    array
        Their positions, by bag.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> parts = np.array([2.0, 0.5, -1.0])
    >>> found = Explanation(ClassTarget.of([0, 1]), np.array([[0.3, 0.7]]), None, parts, contributions=parts)
    >>> key_rows(found, [[[0.0], [1.0], [2.0]]], 1).tolist()
    [0, 2]
    """
    offsets, evidence = as_bags(bags).offsets, explanation.evidence(bags)
    if evidence is None:
        return leading_in_bags(explanation.importance, offsets, count)
    most = [leading_in_bags(sign * evidence, offsets, count) for sign in (1, -1)]
    chosen = np.concatenate([rows[sign * evidence[rows] > 0] for sign, rows in zip((1, -1), most, strict=True)])
    bag = np.searchsorted(offsets, chosen, side="right")
    return chosen[np.lexsort((-evidence[chosen], bag))]


def key_instances(explanation: Explanation, bags: BagsLike, count: int = 5, first: Sequence[str] = ()) -> pd.DataFrame:
    """Give the instances that count most in each bag, and what stands in their columns.

    Parameters
    ----------
    explanation, bags
        The bags, and what was found of them.
    count
        How many of each bag; of a smaller bag, all. Where instances have contributions (`Explanation.evidence`), so
        many of those most for what the bag is taken for, and of those most against it. More where the last of them has
        equals, and none of a bag whose instances all count the same, because any choice would be arbitrary.
    first
        Columns of the table to show first, as `contrast` orders them; of the rest the first ones, 30 in all.

    Returns
    -------
    DataFrame
        As `Explanation.table`, by rank within each bag or from most for to most against, with ``predicted`` and, of
        classes and grades, its ``probability``, and ``label`` where the bags have one each; and of bags of a table the
        columns of instances
        (`bagwise.explain.values.values_of`), as ``value of NAME`` where something else has the name.

    Raises
    ------
    BagwiseError
        If `count` is no whole number from 1 on.
    """
    check_count("the number of key instances", count)
    bags = as_bags(bags)
    chosen = key_rows(explanation, bags, count)
    bag = np.repeat(np.arange(len(bags)), bags.sizes)[chosen]
    table = explanation.table(bags).iloc[chosen].reset_index(drop=True)
    told: dict[str, NDArray[Any]] = {"predicted": explanation.predicted}
    if told["predicted"].ndim > 1:
        told["predicted"] = np.array(_texts(told["predicted"]), dtype=object)
    if explanation.target.kind in CHOOSING:
        told["probability"] = explanation.probability
    if bags.labels is not None and bags.labels.ndim == 1 and bags.labels.dtype.names is None:
        told["label"] = bags.labels
    for place, (name, values) in enumerate(told.items(), start=1):
        table.insert(place, name, values[bag])
    shown = values_of(bags, chosen, columns_shown(bags, first))
    return pd.concat(
        [table, shown.rename(columns={name: f"value of {name}" for name in shown if name in table})], axis=1
    )
