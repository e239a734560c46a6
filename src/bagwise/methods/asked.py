"""What all methods that have learnt can be asked, and how: loads neither PyTorch nor scikit-learn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target

__all__ = ["Asked", "Decides", "Said", "ask", "common_contributions", "common_target", "of_neural_methods"]


@dataclass(frozen=True, eq=False)
class Said:
    """What one model says of bags.

    Attributes
    ----------
    answers
        Of each bag, shape (B, A), as `BagEstimator.answers` gives them.
    weights
        Of instances, packed, as `NeuralMIL.attention` gives them; None where there are none.
    scores
        Of instances, packed, as ``instance_scores`` gives them; None where nobody asked for instances.
    weight_axis
        What columns of weights are of, as a model says it.
    alone
        Whether scores are what each instance, alone, would give its bag; else they are by how much the answer falls
        without it.
    contributions
        What instances add to the answers' logits, packed, as `NeuralMIL.contributions` gives them; None where there are
        none.
    """

    answers: NDArray[Any]
    weights: NDArray[Any] | None = None
    scores: NDArray[Any] | None = None
    weight_axis: Literal["heads", "classes"] = "heads"
    alone: bool = True
    contributions: NDArray[Any] | None = None


class Decides:
    """What has learnt what labels are, and how to decide between classes.

    Attributes
    ----------
    target_
        Of it.
    """

    target_: Target

    @property
    def threshold_(self) -> float | Sequence[float] | None:
        """Above which probability the positive of two classes is predicted.

        Of more classes of which one is rare, what the probability of each is divided by before the largest wins.
        """
        target = self.target_
        if not isinstance(target, ClassTarget):
            return None
        return 0.5 if target.threshold is None and target.positive is not None else target.threshold


class Asked(Decides):
    """A method that has learnt: a neural or a classical estimator, or what a file holds of one.

    Attributes
    ----------
    target_
        What the labels are.
    instance_shape_
        Shape of an instance learnt from.
    """

    SCORES_INSTANCES: ClassVar[bool] = True  # else it says nothing of single ones alone
    LEAVES_OUT: ClassVar[bool] = False  # whether it says then by how much its answer falls without an instance

    instance_shape_: tuple[int, ...]

    @property
    def _called(self) -> str:
        """The name of the estimator's class."""
        return type(self).__name__

    @property
    def _wants_coordinates(self) -> bool:
        """Whether it looks at where instances are."""
        return False

    def _check_fitted(self) -> None:
        """Raise unless it has learnt."""
        raise NotImplementedError

    def _compute(self, device: str, dtype: str | None) -> None:
        """Compute where and in what is said, wherever it learnt."""
        raise NotImplementedError

    @classmethod
    def _say(cls, members: Sequence[Self], bags: Bags, *, instances: bool) -> list[Said]:
        """Ask members of one family, in as few passes over the bags as it takes."""
        raise NotImplementedError


def ask(members: Sequence[Asked], bags: Bags, *, instances: bool = False) -> list[Said]:
    """Ask several methods about bags, those that can together.

    Parameters
    ----------
    members
        Fitted.
    bags
        The bags.
    instances
        Whether to ask for scores of instances, too, of methods that leave instances out for how the answer falls then.

    Returns
    -------
    list of Said
        In the order of the members.

    Raises
    ------
    BagwiseError
        If the bags are not like those learnt from, or a method says nothing of instances that is asked for them.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]], [[0.1]], [[0.9]]], labels=[0, 1, 0, 1])
    >>> models = [bw.make(name, random_state=0).fit(bags) for name in ("attention", "MI-SVM")]
    >>> [said.answers.shape for said in ask(models, bags)]
    [(4, 2), (4, 2)]
    """
    for member in members:
        if instances and not member.SCORES_INSTANCES and not member.LEAVES_OUT:
            raise BagwiseError(
                f"{member._called} looks at whole bags and says nothing of single instances: ask a method that does,"
                " such as attention or mi-SVM"
            )
    families: dict[Callable[..., Any], list[int]] = {}
    for place, member in enumerate(members):
        families.setdefault(member._say.__func__, []).append(place)  # type: ignore[attr-defined]
    said: dict[int, Said] = {}
    for places in families.values():
        family = [members[place] for place in places]
        said |= zip(places, family[0]._say(family, bags, instances=instances), strict=True)
    return [said[place] for place in range(len(members))]


def of_neural_methods(called: str, option: str) -> BagwiseError:
    """Say that a method has no such option.

    Parameters
    ----------
    called
        The method.
    option
        As it is spelt, such as ``"--dtype"``.

    Returns
    -------
    BagwiseError
    """
    return BagwiseError(f"{called} has no {option}, which is of neural methods: leave it out")


def common_target(models: Sequence[Asked]) -> Target:
    """Give what labels are of models that answer together, and how they decide: as answers average, so do thresholds.

    Parameters
    ----------
    models
        Fitted, on the same labels.

    Returns
    -------
    Target

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]]], labels=["normal", "cancer"])
    >>> models = [bw.AttentionMIL(epochs=1, threshold=value).fit(bags) for value in (0.25, 0.75)]
    >>> common_target(models).threshold
    0.5
    """
    target, targets = models[0].target_, [model.target_ for model in models]
    if not isinstance(target, ClassTarget) or len(models) == 1:
        return target
    given = [one.threshold for one in targets if isinstance(one, ClassTarget)]
    if all(threshold is None for threshold in given):
        return target
    even = np.full(() if target.positive is not None else len(target.names), 1 / len(target.names))
    mean = np.mean([even if threshold is None else np.array(threshold) for threshold in given], axis=0)
    return target.deciding(mean.tolist())


def common_contributions(said: Sequence[Said], shares: NDArray[np.float64] | None = None) -> NDArray[Any] | None:
    """Give what instances contribute, averaged over models that answer together, where all tell it.

    Parameters
    ----------
    said
        By each model of the same bags.
    shares
        Of the models, shape (K,); None: they count the same.

    Returns
    -------
    array or None
        As `NeuralMIL.contributions` gives it. Its sums over bags are the means of what the models say before that
        becomes answers, which for classes are log-odds or logits; the mean of probabilities is near to what these
        become, and not the same. None where some model is no sum over instances: without its part, the rest would
        explain another answer.

    Examples
    --------
    >>> half = np.array([0.5])
    >>> said = [Said(half, contributions=np.array([1.0, -3.0])), Said(half, contributions=np.array([2.0, 0.0]))]
    >>> common_contributions(said, np.array([0.25, 0.75])).tolist()
    [1.75, -0.75]
    >>> common_contributions([*said, Said(half)]) is None
    True
    """
    given = [one.contributions for one in said if one.contributions is not None]
    if len(given) < len(said) or len({one.shape for one in given}) > 1:
        return None
    mean: NDArray[Any] = np.average(given, axis=0, weights=shares)
    return mean
