"""What all neural methods have in common, as a scikit-learn estimator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from annotated_types import Interval
from numpy.typing import ArrayLike, NDArray

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.encoding import Encoding
from bagwise.errors import BagwiseError
from bagwise.methods.base import RandomState
from bagwise.methods.class_weights import balanced_shares, class_weights
from bagwise.methods.fitted_estimator import FittedEstimator
from bagwise.methods.joint import fit_members
from bagwise.methods.recipes import (
    FEWEST_STEPS,
    LOOSE,
    MOST_EPOCHS,
    PATIENCE,
    QUICK,
    RECIPES,
    SEVERAL,
    Facts,
    Recipe,
    is_open,
    recipe_for,
)
from bagwise.methods.threshold import Deciding, Threshold
from bagwise.methods.validation import set_apart, validation_split
from bagwise.models.architecture import Architecture, Design
from bagwise.models.encoders import EncoderSpec
from bagwise.models.own import ModelSpec, OwnArchitecture
from bagwise.models.pooling import PoolingSpec
from bagwise.parameters import Count, annotations_of
from bagwise.targets.contract import Target
from bagwise.training.engine import OnEpoch
from bagwise.training.losses import Loss
from bagwise.training.members import LEFT_TO_THE_OPTIMIZER, Member, Plan, Settings, Trained
from bagwise.training.randomness import seed_from

__all__ = ["NeuralMIL"]


# A dataclass's constructor only stores, and subclasses inherit its parameters, as scikit-learn wants; identity stays
# scikit-learn's.
@dataclass(kw_only=True, eq=False, repr=False)
class NeuralMIL(FittedEstimator):
    """A neural method around a model of your own, and what all neural methods have in common.

    It follows scikit-learn, as `BagEstimator` says. A subclass with parameters of its own is a dataclass, too, and
    gives the model in `make_model`.

    Parameters
    ----------
    model
        What makes the model: a class, or a function, that takes the shape of an instance and the number of outputs of a
        bag (1 for two classes, else one a class) and gives a `torch.nn.Module` with ``encode(instances)`` and
        ``aggregate(embeddings, offsets)`` (`bagwise.models.own`); `functools.partial` binds what else it takes, by
        name. Or a module, which is copied, so that training starts from its weights. None where the class has a model.
    loss
        In the place of the target's loss and of one that the model has, a function of what the model says of the bags
        of a step, an `Output`, and of `bagwise.training.losses.LossTargets`, which has the target's own as a part. It
        gives a number a bag, shape (B,), of which the mean, weighted, is learnt from, or one for all. None: neither.
    target
        What labels are: a name in `bagwise.targets.registry.TARGETS`, so ``"classes"``, ``"multi-label"``, ``"real"``,
        ``"count"``, ``"ordinal"`` or ``"survival"``; for grades that are strings with their order, as ``"ordinal: low
        < high"``; for numbers of which some lie far from the rest ``"real: huber"``, whose loss grows evenly beyond one
        spread of the training labels. ``"auto"`` looks at the labels: strings, booleans and whole numbers are classes,
        other numbers real, columns of 0 and 1 several labels, and a structured array of event and time survival.
    positive
        Of two classes the one that the standard MIL assumption is about. None takes the one that is not called by a
        word for what is normal, else the last by name, and the larger of two numbers
        (`bagwise.classes.positive_of`).
    encoder
        ``"mi-net"`` (fully connected), ``"wide"`` (one layer of 256 units), ``"lenet5"``, ``"cell-cnn"``,
        ``"identity"``, a function without arguments that makes a `torch.nn.Module`, or a module from whose weights
        training starts. ``"auto"`` chooses by the shape of the instances, and for vectors by the size of the bags. A
        model of your own has its own.
    epochs, optimizer, learning_rate, momentum, decay, l2, dropout, patience, warmup, scheduler, clip_gradient
        As in `bagwise.training.members.Settings`. None takes the recipe's value for this kind of bags
        (`bagwise.methods.recipes`), or leaves it to an `optimizer` of your own; a `dropout` of None drops nothing
        between the two halves of a model of your own. A `patience` of None trains a number of epochs that was fixed in
        advance; ``"auto"``, where `epochs` are None, stops by a fifth of the bags where these are enough to choose by.
    validation_fraction
        With a `patience`: the share of the training bags (whole groups, where bags have groups) that decides when to
        stop.
    class_weight
        ``"balanced"`` gives all classes the same share in the loss, however many bags they have and whatever these
        weigh; what is learnt is then corrected to the shares that they have, so that answers are probabilities of bags
        like those learnt from. A mapping from label to weight is what mistakes cost, and answers are left with it; None
        lets each bag count the same; ``"auto"`` balances classes. The loss that decides when to stop weighs classes as
        the training's does. Scores and weights of instances are never corrected.
    threshold
        Of two classes, the probability above which the positive one is predicted. ``"auto"`` is one half where both are
        common. Where one has less than a quarter of the bags, what is probable is rarely more so than not, and the
        threshold with the best balanced accuracy is chosen, on bags that were not learnt from: on those for
        validation if there are twenty of the rare class among them, else in three inner folds of the training bags,
        whose models are further members of the same training. By fewer than twenty nothing can be chosen, and the
        threshold is the share of the positive class, which is best if probabilities are right. Of more than two
        balanced classes, one of them with less than half of an even share, the class wins whose probability is largest
        beside its share. Where `class_weight` is a mapping, which says what mistakes cost, the likeliest is predicted.
    sample
        In training, at most this many instances of a bag a step, drawn anew every time: for bags of thousands, of which
        a part will do. Prediction always looks at all. None learns from all.
    instance_budget
        Several bags make one step while they hold at most this many instances. None: one bag a step, as in the paper,
        or what `bags_per_step` says.
    bags_per_step
        Several bags make one step while they are at most this many, and down the gradient of their mean loss; the last
        step of an epoch takes what is left. With an `instance_budget` both hold. None takes the recipe's value: one bag
        a step, or as many as the budget allows; where a step is not compiled and there are enough small bags of vectors
        to choose by, eight.
    standardize
        True brings each feature of vectors to mean 0 and spread 1, learnt on training instances; ``"log"`` does
        so too, and beyond 4 spreads from the mean z is shown as 4 + log |z / 4|, with its sign: a feature that is
        nearly always 0 has standardised values of 30 and more where it is not. False leaves instances as they are;
        ``"auto"`` takes the recipe's value.
    clip
        What is further from 0 than this, after scaling, is brought there. None leaves it.
    augmentation
        How image instances are changed whenever they are learnt from; in prediction they are as they are. ``"affine"``
        turns, scales, shears and shifts them a little, ``"tissue"`` is for stained tissue of 8 bits a channel
        (`bagwise.training.augmentation`). None leaves them.
    crop
        Side of the square in the middle of an image that the model is shown; augmentation moves it about. None shows
        all of the image.
    size
        Tell the classifier that follows the pooling the number of instances, too: its logarithm, on a scale that the
        training bags give. Not for methods that pool answers of instances, nor for a model of your own, which is given
        the offsets. What a model says of one instance is then what it says of a bag of one.
    precision
        ``"float32"``, ``"float64"``, or ``"mixed"`` (CUDA only).
    device
        ``"auto"`` takes CUDA where there is one.
    random_state
        A whole number makes results the same every time, to the last bit. It decides the order of the bags and,
        together with which bags there are, the initial weights and dropout.
    verbose
        Show a progress bar.

    Attributes
    ----------
    classes_ : array
        The labels, sorted; the last axis of `predict_proba` follows it.
    positive_ : object
        Of two classes the positive one; None with more than two.
    history_ : list of dict
        A mapping an epoch: ``epoch``, ``loss`` and, with a patience, ``validation_loss`` and ``validation_error``.
    best_epoch_ : int
        The epoch that the weights are from.
    class_shares_ : array
        With balanced weights, the share of each of `classes_` among the bags learnt from, as they weigh; else None.
    threshold_ : float, list of float, or None
        Above which probability `predict` says `positive_`; of more than two classes, what the probability of each is
        divided by before the largest wins, or None where the largest wins as it is.
    model_ : torch.nn.Module
        The trained model.
    plan_ : Plan
        What was trained, with all defaults filled in.
    settings_ : Settings
        The hyper-parameters, with all defaults filled in.

    Examples
    --------
    >>> import bagwise as bw, torch
    >>> from bagwise.segments import segment_mean
    >>> class Linear(torch.nn.Module):
    ...     def __init__(self, instance_shape, outputs):
    ...         super().__init__()
    ...         self.layer = torch.nn.Linear(*instance_shape, outputs)
    ...     def encode(self, instances):
    ...         return instances
    ...     def aggregate(self, embeddings, offsets):
    ...         return bw.Output(self.layer(segment_mean(embeddings, offsets)))
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.NeuralMIL(model=Linear, epochs=2, random_state=0).fit(bags).predict_proba(bags).shape
    (4, 2)
    """

    level: ClassVar[str] = "own"
    # What of a bag it looks at, beyond which instances there are and how often.
    looks_at: ClassVar[Literal["neighbours", "order"] | None] = None
    auto_encoder: ClassVar[str | None] = None  # what "auto" means, where the method and not the instance decides
    several: ClassVar[bool] = False  # whether a step may take several small bags, because it is not compiled

    model: Annotated[ModelSpec, "a module, or a class or function that makes one"] | None = None
    loss: Loss | None = None
    target: str = "auto"
    positive: Any = None
    encoder: EncoderSpec = "auto"
    # What Settings and Plan have too must be what they say, or None for the recipe's: `_annotations`.
    epochs: int | None = None
    optimizer: str | Callable[..., Any] | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    decay: float | None = None
    l2: float | None = None
    dropout: float | None = None
    patience: int | Literal["auto"] | None = "auto"
    warmup: float | None = None
    scheduler: str | Callable[..., Any] | None = None
    clip_gradient: float | None = None
    validation_fraction: Annotated[float, Interval(gt=0, le=0.5)] = 0.2
    class_weight: (
        Literal["balanced", "auto"] | Annotated[Mapping[Any, Any], "a mapping from label to weight"] | None
    ) = "auto"
    threshold: Threshold = "auto"
    sample: int | None = None
    instance_budget: int | None = None
    bags_per_step: int | None = None
    standardize: Literal["auto", "log"] | bool = "auto"
    clip: float | None = None
    augmentation: str | None = None
    crop: Count | None = None
    size: bool = False
    precision: str = "float32"
    device: str = "auto"
    random_state: RandomState = None
    verbose: bool = False

    @classmethod
    def _annotations(cls) -> dict[str, Any]:
        own = super()._annotations()
        settings = {name: annotation | None for name, annotation in annotations_of(Settings).items()}
        shared = annotations_of(Plan) | settings
        shared["patience"] = Literal["auto"] | shared["patience"]
        shared = {name: annotation for name, annotation in shared.items() if name in own}
        return own | shared | {"target": own["target"]}  # of a plan it is no name

    @classmethod
    def _left_open(cls) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for kind, recipe in RECIPES.items():
            values = recipe.having(cls._own_recipe()).values
            for name in cls._get_param_names():
                if name in values and (name, values[name]) != ("encoder", None):  # there the user has to give one
                    found.setdefault(name, {})[kind] = values[name]
        found["epochs"]["enough bags, at most"] = MOST_EPOCHS
        found["epochs"]["steps of few bags of vectors, at least"] = FEWEST_STEPS
        found["l2"]["columns of all kinds, of enough bags"] = LOOSE
        if {"counting", "pooling"} & {*cls._get_param_names()}:
            found["learning_rate"]["of these, where the pooling counts"] = QUICK
        if cls.several:
            for name, value in SEVERAL.items():
                found.setdefault(name, {})["enough small bags of vectors"] = value
        found["patience"] = {"few bags": None, "enough bags": PATIENCE}
        found["class_weight"] = {"classes": "balanced", "other targets": None}
        return found

    @classmethod
    def _own_recipe(cls) -> dict[str, Any]:
        """Say what the method decides itself: a model of one's own encodes instances, and says what it drops."""
        if cls.level == "own":
            return {"encoder": None, "dropout": 0.0}
        return {} if cls.auto_encoder is None else {"encoder": cls.auto_encoder}

    def __sklearn_clone__(self) -> Self:
        """Clone, but share what is a user's own, which models copy when they are made: so clones train together."""
        copy: Self = super().__sklearn_clone__()
        for name, value in self.get_params(deep=False).items():
            if callable(value):
                setattr(copy, name, value)
        return copy

    # ---- learning -----------------------------------------------------------------------------------

    def fit(
        self,
        X: BagsLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        validation: ArrayLike | Bags | None = None,
        checkpoints: str | Path | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Self:
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
        validation
            Bags that are not learnt from and decide when to stop, where there is a `patience`: their positions in `X`,
            or other `Bags`, with labels. Without a patience they are only measured, for `history_`. None splits them
            off, by `validation_fraction`.
        checkpoints
            A folder to keep progress in. A fit that was stopped goes on from it and ends with the same weights.
        on_epoch
            Called after each epoch with what was measured in it: a mapping of ``"member"`` (0) and what an entry of
            `history_` holds. What it raises ends the fit.

        Returns
        -------
        Self
            The estimator itself.

        Raises
        ------
        BagwiseError
            If the data or a parameter will not do.
        """
        folder = None if checkpoints is None else Path(checkpoints)
        apart = set_apart(as_bags(X, y), validation, sample_weight)
        return fit_members(
            [self],
            apart.bags,
            [apart.train],
            validations=[apart.validation],
            sample_weight=apart.sample_weight,
            checkpoints=folder,
            verbose=self.verbose,
            on_epoch=on_epoch,
        )[0]

    def _recipe(self, facts: Facts) -> Recipe:
        """Say what is trained on bags of which this is known, with all that is left open filled in."""
        given = self._own_recipe() | (LEFT_TO_THE_OPTIMIZER if callable(self.optimizer) else {})
        asked = {name: value for name, value in self.get_params(deep=False).items() if not is_open(name, value)}
        return recipe_for(facts, given | asked, several=self.several)

    def _plan(
        self, bags: Bags, target: Target, order_seed: int, recipe: Recipe, subset: NDArray[np.int64] | None = None
    ) -> Plan:
        _check_augmentation(self.augmentation, bags)
        return Plan(
            self._design(bags.instance_shape, recipe),
            target,
            order_seed=order_seed,
            scaling=_scaling(bags, recipe.standardize),
            clip=self.clip,
            augmentation=self.augmentation,
            sample=self.sample,
            instance_budget=self.instance_budget,
            bags_per_step=recipe.bags_per_step if self.instance_budget is None else self.bags_per_step,
            chunk=recipe.chunk,
            precision=self.precision,
            device=self.device,
            loss=self.loss,
            **_widths(bags, subset),
        )

    def make_model(self) -> ModelSpec | None:
        """Give what makes the model, `model` if a subclass does not say otherwise.

        Returns
        -------
        class, function, module or None
            As `model` takes it; a subclass binds its own parameters, as in ``partial(MyModel, heads=self.heads)``.
        """
        return self.model

    def _design(self, instance_shape: tuple[int, ...], recipe: Recipe) -> Design:
        model, name = self.make_model(), type(self).__name__
        if self.level == "own":
            if model is None:
                raise BagwiseError(f"{name} needs a model: give model=, or use a method that has one, as AttentionMIL")
            if not isinstance(self.encoder, str) or self.encoder != "auto":
                raise BagwiseError("a model of your own encodes instances itself: leave encoder out")
            if self.size:
                raise BagwiseError("a model of your own counts instances itself, from the offsets: leave size False")
            return OwnArchitecture.of(model, self.crop)
        if model is not None:
            raise BagwiseError(f"{name} has a model of its own: give yours to bagwise.NeuralMIL")
        if recipe.encoder is None:
            raise BagwiseError(
                f"there is no default encoder for instances of shape {instance_shape}: give one of your own, a"
                " torch.nn.Module"
            )
        pooling, options = self._pooling(recipe)
        context, context_options = self._context(recipe)
        return Architecture(
            self.level,
            pooling,
            recipe.encoder,
            options,
            crop=self.crop,
            size=self.size,
            level_options=self._level_options(recipe),
            context=context,
            context_options=context_options,
        )

    def _pooling(self, recipe: Recipe) -> tuple[PoolingSpec | None, dict[str, Any]]:
        """Name the pooling and its options, where the class has a model whose pooling can be chosen."""
        raise NotImplementedError

    def _level_options(self, recipe: Recipe) -> dict[str, Any]:  # noqa: ARG002
        """Say what else decides how the parts of the model compose."""
        return {}

    def _context(self, recipe: Recipe) -> tuple[str | None, dict[str, Any]]:  # noqa: ARG002
        """Name where instances see each other before they are pooled, and its options."""
        return None, {}

    def _member(
        self,
        bags: Bags,
        subset: NDArray[np.int64],
        target: Target,
        encoded: NDArray[np.float64],
        seed: int,
        recipe: Recipe,
        place: int = 0,
        apart: NDArray[np.int64] | None = None,
        sample_weight: NDArray[np.float64] | None = None,
    ) -> Member:
        settings = recipe.settings
        # Which bags there are takes part in the seed: the folds of a cross-validation begin with weights of their own.
        member_seed = seed_from(seed, bags.keys[subset], *([place] if place else []))
        train, validation = subset, subset[:0] if apart is None else apart
        if settings.patience is not None and apart is None:
            groups = None if bags.groups is None else bags.groups[subset]
            assert bags.labels is not None
            parts = validation_split(self.validation_fraction, target, bags.labels[subset], groups, seed)
            train, validation = (subset[part] for part in parts)
        own = None if sample_weight is None else sample_weight[train]
        weights = class_weights(recipe.class_weight, target, encoded[train], own)
        return Member(member_seed, train, replace(settings, class_weights=weights), validation)

    def _learnt(self, plan: Plan, member: Member, trained: Trained, bags: Bags) -> None:
        self._remember(bags, plan.target)
        self.plan_ = plan
        self.settings_ = member.settings
        self.history_ = trained.history
        self.best_epoch_ = trained.best_epoch
        self.class_shares_ = balanced_shares(self.class_weight, plan.target, member.settings.class_weights)
        self.model_ = plan.rebuilt(bags.instance_shape, trained.state, member.settings.dropout)

    def _deciding(
        self,
        train: NDArray[np.int64],
        target: Target,
        encoded: NDArray[np.float64],
        sample_weight: NDArray[np.float64] | None,
    ) -> Deciding:
        balanced = None if isinstance(self.class_weight, Mapping) else self.class_weight is not None
        return Deciding.of(target, self.threshold, encoded, train, sample_weight, balanced=balanced)


def _scaling(bags: Bags, standardize: bool | str) -> Literal["standardize", "log", "pixels", "none", "columns"]:
    if bags.columns is not None:
        if not standardize:
            raise BagwiseError("standardize=False leaves columns of all kinds as no model can take them: use 'auto'")
        return "columns"
    vectors = len(bags.instance_shape) == 1
    if standardize and not vectors:
        raise BagwiseError(
            f"standardize={standardize!r} needs vectors, not instances of shape {bags.instance_shape}: use 'auto'"
        )
    if vectors:
        return "log" if standardize == "log" else "standardize" if standardize else "none"
    return "pixels" if bags.instances.dtype == np.uint8 else "none"


def _widths(bags: Bags, subset: NDArray[np.int64] | None) -> dict[str, int | None]:
    """Say how many numbers a model is shown of columns of all kinds, by the training bags alone.

    In steps of eight, so that models whose bags differ by a rare category train side by side.
    """
    if bags.columns is None:
        return {}
    train = np.arange(len(bags)) if subset is None else subset
    found = Encoding.learn(bags.columns, np.asarray(bags.instances), bags.offsets, train)
    own, beside = (-(-width // 8) * 8 for width in (found.width - found.beside, found.beside))
    return {"encoded": own + beside, "beside": beside or None}


def _check_augmentation(augmentation: str | None, bags: Bags) -> None:
    shape, dtype = bags.instance_shape, bags.instances.dtype
    if augmentation is not None and len(shape) < 2:
        raise BagwiseError(
            f"augmentation is {augmentation!r} and the instances have shape {shape}: only images can be augmented, so"
            " leave it None"
        )
    if augmentation == "tissue" and (shape[2:] != (3,) or dtype != np.uint8):
        raise BagwiseError(
            f"augmentation is 'tissue' and the instances have shape {shape} and type {dtype}: it takes colour images of"
            " 8 bits a channel"
        )
