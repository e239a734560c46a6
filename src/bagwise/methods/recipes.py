"""The settings a model has unless the user gives others: the paper's, by the kind of data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bagwise.training.members import Settings

__all__ = ["RECIPES", "Recipe", "recipe_for"]


@dataclass(frozen=True)
class Recipe:
    """Defaults that work on the first try for one kind of instance.

    Attributes
    ----------
    encoder
        Name of the encoder; None where the user has to give one.
    hidden
        L of the attention poolings.
    settings
        Hyper-parameters.
    chunk
        Instances above which a step is encoded in chunks.

    Examples
    --------
    >>> recipe_for((166,)).settings.optimizer
    'sgd'
    """

    encoder: str | None
    hidden: int
    settings: Settings
    chunk: int

    @property
    def values(self) -> dict[str, Any]:
        """What parameters of a neural method are, by name, that nobody gives."""
        return {"encoder": self.encoder, "hidden": self.hidden, **vars(self.settings)}


RECIPES = {
    # Wang et al. (2016), whose settings the paper takes over (section 4.1), in the number of epochs that the paper's
    # authors state.
    "vectors": Recipe(
        "mi-net", 64, Settings("sgd", 5e-4, epochs=50, momentum=0.9, decay=1e-4, l2=0.005, dropout=0.5), chunk=8192
    ),
    # Section 4.2. An optimiser's weight decay of 1e-4 is an l2 of half of that.
    "digits": Recipe("lenet5", 128, Settings("adam", 5e-4, epochs=40, l2=5e-5), chunk=1024),
    # Section 4.3.
    "colour images": Recipe("cell-cnn", 128, Settings("adam", 1e-4, epochs=40, l2=2.5e-4, dropout=0.5), chunk=1024),
    "other images": Recipe(None, 128, Settings("adam", 1e-4, epochs=40, l2=5e-5), chunk=1024),
}


def recipe_for(instance_shape: Sequence[int]) -> Recipe:
    """Give the defaults for instances of a shape.

    Parameters
    ----------
    instance_shape
        ``(D,)`` for vectors, ``(28, 28)`` for digits, ``(H, W, 3)`` for patches of tissue.

    Returns
    -------
    Recipe

    Examples
    --------
    >>> recipe_for((28, 28)).encoder, recipe_for((32, 32, 3)).encoder, recipe_for((5, 5, 5)).encoder
    ('lenet5', 'cell-cnn', None)
    """
    shape = tuple(instance_shape)
    if len(shape) == 1:
        return RECIPES["vectors"]
    if shape in [(28, 28), (28, 28, 1)]:
        return RECIPES["digits"]
    if len(shape) == 3 and shape[2] == 3:
        return RECIPES["colour images"]
    return RECIPES["other images"]
