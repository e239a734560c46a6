"""What every method has in common, neural or classical: scikit-learn's manners on bags."""

from collections.abc import Callable, Mapping
from functools import cache, wraps
from inspect import getattr_static
from typing import Annotated, Any, ClassVar, Concatenate, ParamSpec, Self, TypeVar

import numpy as np
from annotated_types import Interval
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils import ClassifierTags, RegressorTags, Tags, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from bagwise.bags import Bags, BagsLike, as_bags, like_learnt
from bagwise.checks import valid_weights
from bagwise.classes import Classes
from bagwise.errors import BagwiseError
from bagwise.feature_columns import Column
from bagwise.methods.asked import Decides
from bagwise.parameters import Rule, annotations_of, check_parameters, rule_of
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.targets.registry import TARGETS, resolve, target_of
from bagwise.targets.survival import SurvivalTarget

__all__ = ["BagEstimator", "RandomState", "clone_with_seed", "drawn_seed", "rules_for"]

Estimator = TypeVar("Estimator", bound="BagEstimator")
_Given = ParamSpec("_Given")
_Seed = Annotated[int, Interval(ge=0, lt=2**32), "a whole number from 0 to 2**32 - 1"]
RandomState = _Seed | np.random.RandomState | None


def _chooses(model: "BagEstimator") -> bool:
    """Say whether a method answers with probabilities, for `available_if`."""
    target = getattr(model, "target_", None)
    if target is None:
        kind = TARGETS.get(str(model.target).partition(":")[0])
        return kind is None or kind.estimator_type == "classifier"
    return target.names is not None


def _survives(model: "BagEstimator") -> bool:
    target = getattr(model, "target_", None)
    return str(model.target) == SurvivalTarget.kind if target is None else isinstance(target, SurvivalTarget)


class BagEstimator(BaseEstimator, Decides):  # type: ignore[misc]  # scikit-learn has no types
    """A method that learns from bags and answers for bags; use one of the classes that build on it.

    The constructor only stores, `fit` learns, learnt attributes end in an underscore, and `clone`, `cross_val_score`,
    `GridSearchCV` and `Pipeline` work on them. Its annotation says what a parameter may be (`bagwise.parameters`),
    and every `fit`, also that of a class of your own, begins by looking whether it is. `X` is `Bags`, or a list with
    one array of shape (instances, features) a bag; `y` is one label a bag, and may be left out where the `Bags` have
    labels.

    To scikit-learn it is a classifier or a regressor as its ``target`` is; with ``"auto"``, which looks at the labels,
    it is a classifier until it is fitted.

    Attributes
    ----------
    target_ : Target
        What the labels are.
    classes_ : array
        What `predict` chooses from, in the order of the columns of `predict_proba`: the classes, sorted, or the grades.
        Not there where labels are numbers or times.
    positive_ : object
        Of two classes the one that the standard MIL assumption is about: a bag is positive if it holds a positive
        instance. None with more than two.
    threshold_ : float, list of float, or None
        What `predict` decides by, of classes.
    """

    SEES_INSTANCES: ClassVar[bool] = True  # else only what sums up those of a bag, so that it assumes nothing of them

    # For classes of a user's own that do not have them as parameters.
    target: str = "auto"
    positive: Any = None
    target_: Target
    classes_: NDArray[Any]
    positive_: Any
    columns_: tuple[Column, ...] | None = None  # what features stood for, where not all were numbers

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        if "fit" in vars(cls):
            cls.fit = _parameters_first(cls.fit)  # type: ignore[method-assign]

    @classmethod
    def _annotations(cls) -> dict[str, Any]:
        """Give the annotation of each parameter."""
        return annotations_of(cls)

    @classmethod
    def _left_open(cls) -> Mapping[str, Mapping[str, Any] | tuple[Any, ...]]:
        """Give what parameters become whose defaults leave them open: by the kind of data, or those to choose from."""
        return {}

    def _validate_params(self) -> None:  # scikit-learn's name for it
        """Refuse parameters that are not what they must be."""
        kind: Any = type(self)
        check_parameters(self, rules_for(kind))

    def fit(self, X: BagsLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from bags.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.
        y
            One label a bag. None takes those of the `Bags`.
        sample_weight
            One weight a bag: what its part of the loss is multiplied with, on top of a class weight. A bag of weight 0
            is left out, so that all is as if it were not there. None: all are 1.

        Returns
        -------
        Self
            The estimator itself.

        Raises
        ------
        BagwiseError
            If the data or a parameter will not do.
        """
        raise NotImplementedError

    @available_if(_chooses)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: BagsLike) -> NDArray[Any]:
        """Give the probability of each class, grade or label for each bag.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Shape (B, number of classes), columns as in `classes_`; rows sum to 1, but where a bag may have several
            labels.

        Raises
        ------
        BagwiseError
            If the instances have another shape than those learnt from.
        """
        return self.answers(X)

    def answers(self, X: BagsLike) -> NDArray[Any]:
        """Give all that the method says of each bag, in numbers.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Shape (B, A): the probabilities of classes, grades or labels; the number or numbers; the expected count; or
            the risk and then the survival function at the target's times.

        Raises
        ------
        BagwiseError
            If the instances have another shape than those learnt from.
        """
        # A method of a user's own that learns classes need have nothing but `predict_proba`.
        if getattr_static(type(self), "predict_proba") is getattr_static(BagEstimator, "predict_proba"):
            raise NotImplementedError
        probabilities: NDArray[Any] = self.predict_proba(X)
        return probabilities

    def predict(self, X: BagsLike) -> NDArray[Any]:
        """Give for each bag what its label is likeliest to be.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Shape (B,): the most probable of `classes_`, where two classes are equally probable the negative one; the
            number; the expected count; the risk, which is higher for who has the event earlier. Shape (B, L) where a
            label has L parts.
        """
        answers = self.answers(X)  # first, because it sees whether the method is fitted
        return self._learnt_target.predicted(answers)

    @available_if(_survives)  # type: ignore[untyped-decorator]
    def predict_survival(self, X: BagsLike, times: ArrayLike | None = None) -> NDArray[Any]:
        """Give the share of bags like each that have had no event yet.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.
        times
            When, rising. None takes those of the target, which are quantiles of the events that were learnt from.

        Returns
        -------
        array
            Shape (B, number of times), falling along the times.
        """
        return self._survival(X, times)

    def _survival(self, X: BagsLike, times: ArrayLike | None) -> NDArray[Any]:
        """Give the survival function, for methods that learn it."""
        raise NotImplementedError

    def score(self, X: BagsLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float:
        """Give the accuracy of classes, grades or labels, R squared of numbers, or the concordance index of risks.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.
        y
            One label a bag. None takes those of the `Bags`.
        sample_weight
            Weights of the bags.

        Returns
        -------
        float
            At most 1. Of several labels it is the share of bags of which all that is known is predicted rightly.

        Raises
        ------
        BagwiseError
            If there are no labels.
        """
        bags = as_bags(X, y)
        if bags.labels is None:
            raise BagwiseError("the bags have no labels to compare with: give y")
        weights = None if sample_weight is None else valid_weights(sample_weight, bags.names)
        answers = self.answers(bags)
        return self._learnt_target.score(bags.labels, answers, weights)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        target = getattr(self, "target_", TARGETS.get(str(self.target).partition(":")[0]))
        tags.estimator_type = "classifier" if target is None else target.estimator_type
        tags.classifier_tags = ClassifierTags() if tags.estimator_type == "classifier" else None
        tags.regressor_tags = RegressorTags() if tags.estimator_type == "regressor" else None
        tags.target_tags.required = True
        return tags

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text: str = super().__repr__(N_CHAR_MAX)
        positive = getattr(self, "positive_", None)
        return text if positive is None else f"{text}, fitted; positive class {positive}"

    @property
    def _learnt_target(self) -> Target:
        check_is_fitted(self)
        if hasattr(self, "target_"):
            return self.target_
        return ClassTarget(Classes(self.classes_, getattr(self, "positive_", None)))  # of a method of a user's own

    @property
    def _classes(self) -> Classes:
        target = self._learnt_target
        assert isinstance(target, ClassTarget)
        return target.classes

    def _target_of(self, bags: Bags, subset: NDArray[np.int64]) -> Target:
        """Find the target of training bags: its kind by all bags, its facts by those learnt from."""
        assert bags.labels is not None
        if not len(subset):
            raise BagwiseError("no training bag has a weight above 0: at least one must count")
        kind = resolve(self.target, bags.labels, names=bags.names, label_names=bags.label_names)
        given = {"names": bags.names[subset], "label_names": bags.label_names, "positive": self.positive}
        return target_of(kind, bags.labels[subset], **given)

    def _remember(self, bags: Bags, target: Target) -> None:
        """Keep what later bags are compared with."""
        self._remember_target(target)
        self.instance_shape_, self.columns_ = bags.instance_shape, bags.columns
        for learnt_before in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(learnt_before, None)
        if len(bags.instance_shape) == 1:
            self.n_features_in_ = bags.instance_shape[0]
        if bags.feature_names is not None:
            self.feature_names_in_ = np.array(bags.feature_names, dtype=object)

    def _remember_target(self, target: Target) -> None:
        self.target_ = target
        for learnt_before in ("classes_", "positive_"):
            self.__dict__.pop(learnt_before, None)
        if target.names is not None:
            self.classes_, self.positive_ = target.names, target.positive

    def _check_fitted(self) -> None:
        check_is_fitted(self)

    def _like_learnt(self, bags: Bags) -> Bags:
        """Give bags with their features in the order learnt from, where names are known; refuse those with others."""
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        return like_learnt(bags, self.instance_shape_, None if names is None else names.tolist(), self.columns_)


@cache
def rules_for(kind: Any) -> dict[str, Rule]:
    """Give what each parameter of a method must be.

    Parameters
    ----------
    kind
        Its class.

    Returns
    -------
    dict
        By name.

    Examples
    --------
    >>> import bagwise as bw
    >>> rules_for(bw.AttentionMIL)["epochs"].said
    'a whole number from 1 on, or None'
    """
    return {name: rule_of(annotation) for name, annotation in kind._annotations().items()}


def _parameters_first(fit: Callable[Concatenate[Estimator, _Given], Estimator]) -> Callable[..., Estimator]:
    @wraps(fit)
    def checked(self: Estimator, *given: _Given.args, **named: _Given.kwargs) -> Estimator:
        self._validate_params()
        return fit(self, *given, **named)

    return checked


def drawn_seed(random_state: Any) -> int:
    """Give the seed that a random state stands for, drawn from it where it is no number.

    Parameters
    ----------
    random_state
        As estimators take it.

    Returns
    -------
    int

    Examples
    --------
    >>> drawn_seed(7)
    7
    """
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def clone_with_seed(model: Estimator) -> Estimator:
    """Clone an estimator, and draw its random state if it is no number: once for all that train together.

    Parameters
    ----------
    model
        An estimator; it is not changed.

    Returns
    -------
    estimator
        Not fitted; all clones of it share their order of bags.

    Examples
    --------
    >>> import bagwise as bw
    >>> isinstance(clone_with_seed(bw.AttentionMIL()).random_state, int)
    True
    """
    copy: Estimator = clone(model)
    if hasattr(copy, "random_state"):  # a class of the user's own need not have one
        copy.random_state = drawn_seed(copy.random_state)
    return copy
