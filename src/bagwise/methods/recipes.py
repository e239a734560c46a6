"""The settings a model has unless the user gives others: a function of what is known of the bags it learns from."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.methods.validation import share_of
from bagwise.models.encoders import EncoderSpec
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.training.cost import LARGE_BAG
from bagwise.training.members import Settings

__all__ = ["LOOSE", "PAPER", "QUICK", "RECIPES", "SEVERAL", "Facts", "Recipe", "is_open", "recipe_for"]

PARTS = 5  # of which one decides when to stop
# From so many bags on, and so many of a class, that is done; fewer would choose by noise and learn from less.
ENOUGH_TO_VALIDATE, ENOUGH_OF_A_CLASS = 300, 20
# Large bags overfit long before all epochs, and their loss tells it from fewer (docs/defaults.md).
ENOUGH_LARGE, ENOUGH_LARGE_OF_A_CLASS = 60, 10
PATIENCE, MOST_EPOCHS = 10, 200
# 50 epochs of fewer than forty bags are too few steps to learn from (docs/defaults.md).
FEWEST_STEPS = 2_000
# The l2 for many bags of columns of all kinds: with that of few bags no network learns what several columns must say
# together of a rare instance (examples/make_payments.py).
LOOSE = 5e-4
# The learning rate for these of poolings that count, four times that of others: with it the number of instances is
# found before patience ends (docs/defaults.md).
QUICK = 2e-3
# What enough small bags of vectors are learnt with, by methods whose step is not compiled: several bags a step take
# hardly longer than one, and as much is learnt from as many passes (docs/defaults.md).
SEVERAL: Mapping[str, Any] = MappingProxyType({"optimizer": "adam", "learning_rate": 1e-3, "bags_per_step": 8})
_LARGE = "vectors in large bags"

# What the paper's protocol says of what a recipe would decide otherwise; experiments that keep to it give this.
PAPER: Mapping[str, Any] = MappingProxyType({"class_weight": None, "patience": None})


@dataclass(frozen=True)
class Facts:
    """What a recipe depends on, which is known before anything is learnt.

    Attributes
    ----------
    instance_shape
        ``(D,)`` for vectors, ``(28, 28)`` for digits, ``(H, W, 3)`` for patches of tissue.
    bags
        The number of bags to learn from.
    median_size
        Of these bags, in instances.
    alike
        How many of them there are of each class, or of each kind that validation bags are to have their share of.
    classes
        Whether labels are classes.
    groups
        The number of groups; None where bags have none.
    validation
        The number of bags that are given to decide when to stop.
    columns
        Whether instances have columns of all kinds.
    places
        Whether instances have coordinates.

    Examples
    --------
    >>> from bagwise.targets.registry import target_of
    >>> bags = Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]]], labels=["no", "yes", "no"])
    >>> facts = Facts.of(bags, np.arange(3), ClassTarget.of(bags.labels))
    >>> facts.bags, facts.median_size, facts.alike
    (3, 1.0, (2, 1))
    """

    instance_shape: tuple[int, ...]
    bags: int = 1
    median_size: float = 1.0
    alike: tuple[int, ...] = ()
    classes: bool = True
    groups: int | None = None
    validation: int = 0
    columns: bool = False
    places: bool = False

    @classmethod
    def of(cls, bags: Bags, subset: NDArray[np.int64], target: Target, validation: int = 0) -> Self:
        """Look at the bags of a subset.

        Parameters
        ----------
        bags
            Bags with labels.
        subset
            Positions of those to learn from.
        target
            What their labels are.
        validation
            The number of bags that are given to decide when to stop.

        Returns
        -------
        Facts
        """
        assert bags.labels is not None
        return cls(
            tuple(bags.instance_shape),
            len(subset),
            float(np.median(bags.sizes[subset])),
            tuple(np.bincount(target.strata(bags.labels[subset], PARTS)).tolist()),
            isinstance(target, ClassTarget),
            None if bags.groups is None else len(np.unique(bags.groups[subset])),
            validation,
            bags.columns is not None,
            bags.coordinates is not None,
        )

    @property
    def kind(self) -> str:
        """Which of the `RECIPES` it is."""
        shape = self.instance_shape
        if len(shape) == 1:
            return _LARGE if self.median_size > LARGE_BAG else "vectors"
        if shape in [(28, 28), (28, 28, 1)]:
            return "digits"
        return "colour images" if len(shape) == 3 and shape[2] == 3 else "other images"

    @property
    def too_few(self) -> str:
        """What there is too little of to choose when to stop, in words; empty where there is enough of all."""
        enough, of_a_class = ENOUGH_TO_VALIDATE, ENOUGH_OF_A_CLASS
        if self.kind == _LARGE:
            enough, of_a_class = ENOUGH_LARGE, ENOUGH_LARGE_OF_A_CLASS
        if self.validation:
            return f"{self.validation} bags for validation are" * (self.validation < enough // PARTS)
        rarest = min(self.alike, default=0)
        if self.bags < enough:
            return f"{self.bags} bags are"
        if rarest < (of_a_class if self.classes else PARTS):
            return f"{rarest} bags {'of a class' if self.classes else 'alike'} are"
        return "" if self.groups is None or self.groups >= PARTS else f"{self.groups} groups are"


@dataclass(frozen=True)
class Recipe:
    """Defaults that work on the first try.

    Attributes
    ----------
    encoder
        What encodes instances; None where the user has to give it.
    hidden
        L of the attention poolings.
    settings
        Hyper-parameters, but for the weights of classes.
    chunk
        Instances above which a step is encoded in chunks.
    gated
        Whether attention is gated.
    standardize
        How vectors are scaled, as a neural method takes it.
    class_weight
        How classes are weighed, as a neural method takes it.
    why
        How long it trains and why, to follow "the number of epochs was".
    places
        Whether instances have coordinates.
    width
        Of the layers of a transformer.
    bags_per_step
        How many bags make a step at most; None: one.

    Examples
    --------
    >>> recipe_for(Facts((166,), bags=90)).why
    'fixed in advance, because 90 bags are too few to choose by'
    """

    encoder: EncoderSpec | None
    hidden: int
    settings: Settings
    chunk: int
    gated: bool = False
    standardize: bool | Literal["log"] = False
    class_weight: str | Mapping[Any, float] | None = None
    why: str = "fixed in advance"
    places: bool = False
    width: int = 64
    bags_per_step: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """What parameters of a neural method are, by name, that nobody gives."""
        own = {name: getattr(self, name) for name in ("encoder", "hidden", "gated", "standardize", "class_weight")}
        own |= {} if self.bags_per_step is None else {"bags_per_step": self.bags_per_step}
        return own | {name: value for name, value in vars(self.settings).items() if name != "class_weights"}

    def having(self, given: Mapping[str, Any]) -> "Recipe":
        """Take what is given in the place of its own.

        Parameters
        ----------
        given
            Values by name, as in `values`.

        Returns
        -------
        Recipe
        """
        hyper = {field.name for field in fields(Settings)}
        settings = replace(self.settings, **{name: value for name, value in given.items() if name in hyper})
        known = {*self.values, "bags_per_step"} - hyper
        own = {name: value for name, value in given.items() if name in known}
        return replace(self, settings=settings, **own)


# Wang et al. (2016), whose settings the paper takes over (section 4.1), in the number of epochs that the paper's
# authors state.
_VECTORS = Settings("sgd", 5e-4, epochs=50, momentum=0.9, decay=1e-4, l2=0.005, dropout=0.5)
_SLIDES = Settings("adam", 2e-4, epochs=50, l2=5e-6, dropout=0.5, stop_by="loss")
RECIPES = {
    # Logarithms of long tails were chosen on development sets (docs/defaults.md).
    "vectors": Recipe("mi-net", 64, _VECTORS, chunk=8192, standardize="log"),
    # Chosen beside a plain loop over made slides (docs/defaults.md).
    _LARGE: Recipe("wide", 128, _SLIDES, chunk=8192, gated=True, standardize=True, width=512),
    # Section 4.2. An optimiser's weight decay of 1e-4 is an l2 of half of that.
    "digits": Recipe("lenet5", 128, Settings("adam", 5e-4, epochs=40, l2=5e-5), chunk=1024),
    # Section 4.3.
    "colour images": Recipe("cell-cnn", 128, Settings("adam", 1e-4, epochs=40, l2=2.5e-4, dropout=0.5), chunk=1024),
    "other images": Recipe(None, 128, Settings("adam", 1e-4, epochs=40, l2=5e-5), chunk=1024),
}


def is_open(name: str, value: Any) -> bool:
    """Say whether a parameter leaves to the recipe what it is.

    Parameters
    ----------
    name
        Of the parameter.
    value
        What it was given; None says something of its own for a few, which have ``"auto"`` for this.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_open("epochs", None), is_open("patience", None), is_open("patience", "auto")
    (True, False, True)
    """
    return (value is None and name not in PAPER) or (isinstance(value, str) and value == "auto")


def recipe_for(facts: Facts, given: Mapping[str, Any] = MappingProxyType({}), *, several: bool = False) -> Recipe:
    """Give what a neural method trains with.

    Parameters
    ----------
    facts
        What is known of the bags.
    given
        What the user or the method decides, by the name of the parameter; the recipe decides the rest.
    several
        Whether a step may take several small bags, because it is not compiled.

    Returns
    -------
    Recipe

    Examples
    --------
    >>> recipe_for(Facts((28, 28))).encoder, recipe_for(Facts((32, 32, 3))).encoder, recipe_for(Facts((5, 5))).encoder
    ('lenet5', 'cell-cnn', None)
    >>> recipe_for(Facts((166,), bags=500, alike=(400, 100))).why
    'chosen on a fifth of the bags, which were not learnt from: stopped after 10 without progress'
    >>> recipe_for(Facts((166,)), {"patience": 3, "validation_fraction": 0.3}).why.partition(",")[0]
    'chosen on 3 in 10 of the bags'
    >>> recipe_for(Facts((166,), bags=500, alike=(400, 100)), {"epochs": 20}).settings.patience is None
    True
    """
    recipe = RECIPES[facts.kind]
    if several and facts.kind == "vectors" and not facts.too_few:
        recipe = recipe.having(SEVERAL)
    if facts.columns and not facts.too_few:
        counts = given.get("counting") or given.get("pooling") == "sum"
        recipe = recipe.having({"l2": LOOSE, **({"learning_rate": QUICK} if counts else {})})
    asked = "epochs" in given or "patience" in given
    if not asked and not facts.too_few:
        recipe = recipe.having({"epochs": MOST_EPOCHS, "patience": PATIENCE})
    elif facts.kind == "vectors":
        recipe = recipe.having({"epochs": max(recipe.settings.epochs, -(-FEWEST_STEPS // facts.bags))})
    recipe = recipe.having({"class_weight": "balanced" if facts.classes else None, **given})
    patience = recipe.settings.patience
    if patience is None:
        why = "fixed in advance" + ("" if asked else f", because {facts.too_few} too few to choose by")
        why += f"; the {facts.validation} bags for validation decided nothing" * bool(facts.validation)
    else:
        whole = "groups" if facts.groups is not None else "bags"
        share = share_of(given.get("validation_fraction", 0.2))
        part = "a fifth" if share == Fraction(1, 5) else f"{share.numerator} in {share.denominator}"
        of = f"the {facts.validation} bags for validation" if facts.validation else f"{part} of the {whole}"
        why = f"chosen on {of}, which were not learnt from: stopped after {patience} without progress"
    return replace(recipe, why=why, places=facts.places)
