"""What every method has in common, neural or classical: scikit-learn's manners on bags."""

from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Annotated, Any, Concatenate, ParamSpec, Self, TypeVar

import numpy as np
from annotated_types import Interval
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from bagwise.bags import Bags, BagsLike, as_bags, in_feature_order
from bagwise.classes import Classes
from bagwise.errors import BagwiseError
from bagwise.parameters import Rule, annotations_of, check_parameters, rule_of

__all__ = ["BagClassifier", "RandomState", "clone_with_seed", "drawn_seed", "kind_of", "rules_for"]

Estimator = TypeVar("Estimator", bound="BagClassifier")
_Given = ParamSpec("_Given")
_Seed = Annotated[int, Interval(ge=0, lt=2**32), "a whole number from 0 to 2**32 - 1"]
RandomState = _Seed | np.random.RandomState | None


class BagClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A method that learns from bags and answers for bags; use one of the classes that build on it.

    The constructor only stores, `fit` learns, learnt attributes end in an underscore, and `clone`, `cross_val_score`,
    `GridSearchCV` and `Pipeline` work on them. Its annotation says what a parameter may be (`bagwise.parameters`),
    and every `fit`, also that of a class of your own, begins by looking whether it is. `X` is `Bags`, or a list with
    one array of shape (instances, features) a bag; `y` is one label a bag, and may be left out where the `Bags` have
    labels.

    Attributes
    ----------
    classes_ : array
        The labels, sorted; the last axis of `predict_proba` follows it.
    positive_ : object
        Of two classes the one that the standard MIL assumption is about: a bag is positive if it holds a positive
        instance. None with more than two.
    """

    positive: Any = None  # for classes of a user's own that do not have it as a parameter
    classes_: NDArray[Any]
    positive_: Any

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

    def predict_proba(self, X: BagsLike) -> NDArray[Any]:
        """Give the probability of each class for each bag.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Shape (B, number of classes), columns as in `classes_`; rows sum to 1.

        Raises
        ------
        BagwiseError
            If the instances have another shape than those learnt from.
        """
        raise NotImplementedError

    def predict(self, X: BagsLike) -> NDArray[Any]:
        """Give the most probable class of each bag; where two are equally probable, the negative one.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Shape (B,), values of `classes_`.
        """
        probabilities = self.predict_proba(X)
        return self._classes.predicted(probabilities)

    def score(self, X: BagsLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float:
        """Give the accuracy.

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
            The share of bags predicted rightly.

        Raises
        ------
        BagwiseError
            If there are no labels.
        """
        bags = as_bags(X, y)
        if bags.labels is None:
            raise BagwiseError("the bags have no labels to compare with: give y")
        return float(accuracy_score(bags.labels, self.predict(bags), sample_weight=sample_weight))

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text: str = super().__repr__(N_CHAR_MAX)
        positive = getattr(self, "positive_", None)
        return text if positive is None else f"{text}, fitted; positive class {positive}"

    @property
    def _classes(self) -> Classes:
        check_is_fitted(self)
        return Classes(self.classes_, getattr(self, "positive_", None))

    def _classes_of(self, labels: NDArray[Any]) -> Classes:
        """Find the classes of training bags."""
        names = np.unique(labels)
        if not len(names):
            raise BagwiseError("no training bag has a weight above 0: at least one must count")
        if len(names) < 2:
            raise BagwiseError(f"all training bags have the label {names[0]!s}: there must be two classes or more")
        return Classes.of(names, self.positive)

    def _remember(self, bags: Bags, classes: Classes) -> None:
        """Keep what later bags are compared with."""
        self.classes_, self.positive_ = classes.names, classes.positive
        self.instance_shape_ = bags.instance_shape
        for learnt_before in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(learnt_before, None)
        if len(bags.instance_shape) == 1:
            self.n_features_in_ = bags.instance_shape[0]
        if bags.feature_names is not None:
            self.feature_names_in_ = np.array(bags.feature_names, dtype=object)

    def _like_learnt(self, bags: Bags) -> Bags:
        """Give bags with their features in the order learnt from, where names are known; refuse those with others."""
        check_is_fitted(self)
        if bags.feature_names is not None and hasattr(self, "feature_names_in_"):
            bags = in_feature_order(bags, self.feature_names_in_.tolist())
        if bags.instance_shape != self.instance_shape_:
            raise BagwiseError(
                f"the instances have shape {bags.instance_shape}, but the model learnt from instances of shape"
                f" {self.instance_shape_}: give it the same features in the same order"
            )
        return bags


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


def kind_of(model: Any) -> str:
    """Say what was given for a method, for a message.

    Parameters
    ----------
    model
        Anything.

    Returns
    -------
    str

    Examples
    --------
    >>> kind_of(3), kind_of(int)
    ('an object of type int', 'the class int itself')
    """
    if isinstance(model, type):
        return f"the class {model.__name__} itself"
    return f"an object of type {type(model).__name__}"
