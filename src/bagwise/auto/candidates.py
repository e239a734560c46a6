"""What may be tried: the families of methods as they come, then drawn settings of those that have many."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from bagwise.bags import Bags
from bagwise.methods.base import BagEstimator
from bagwise.methods.classical.base import ClassicalMIL
from bagwise.methods.recipes import LOOSE, Facts, recipe_for
from bagwise.methods.registry import find, make
from bagwise.targets.contract import Target

__all__ = ["PORTFOLIO", "Candidate", "candidates", "left_out", "too_large"]

# What takes time that grows with the square of its bags, or learns again and again from all instances.
_MOST_BAGS = {"mi-Graph": 1_000, "MI-Kernel": 1_000, "summary-SVM": 5_000, "MI-SVM": 2_000, "mi-SVM": 1_000}
_MOST_INSTANCES = {"mi-Graph": 20_000, "MI-Kernel": 20_000, "MI-SVM": 50_000, "mi-SVM": 10_000}
_MOST_NUMBERS = {"miFV": 1 << 26, "miVLAD": 1 << 26}
_GROWING = {
    "MI-SVM": "learns from all instances again and again",
    "mi-SVM": "learns from all instances again and again",
    "miFV": "holds all instances in double precision",
    "miVLAD": "holds all instances in double precision",
}
_DRAWN = ("attention", "gated-attention", "MI-Net-DS", "embedding-max", "embedding-mean")
_SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "epochs": (25, 50, 100, 200),
    "optimizer": ("sgd", "adam"),
    "learning_rate": (1e-4, 2e-4, 5e-4, 1e-3),
    "l2": (5e-5, 5e-4, 5e-3, 2e-2),
    "dropout": (0.0, 0.25, 0.5),
}


@dataclass(frozen=True)
class Candidate:
    """A method with some of its parameters.

    Attributes
    ----------
    method
        Its name in the registry.
    parameters
        What is set, by name; the rest is as it comes.
    drawn
        Whether chance has set them.

    Examples
    --------
    >>> candidate = Candidate("attention", {"epochs": 25})
    >>> candidate.called, candidate.made(random_state=0)
    ('attention (epochs 25)', AttentionMIL(epochs=25, random_state=0))
    """

    method: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    drawn: bool = False

    @property
    def called(self) -> str:
        """What people read."""
        told = ", ".join(f"{name} {value}" for name, value in self.parameters.items())
        return f"{self.method} ({told})" if told else self.method

    def made(self, **given: Any) -> BagEstimator:
        """Make the estimator; what a method does not know of `given` is left out."""
        known = find(self.method)[0]._get_param_names()
        return make(self.method, **self.parameters, **{name: value for name, value in given.items() if name in known})


# The first is what all others must beat, the third what a user gets who asks for nothing. Then one of each family that
# the development sets have seen win, those that were in the best averages first.
PORTFOLIO = (
    Candidate("summary-forest", {"trees": 100, "leaf": 1}),
    Candidate("mean-logistic"),
    Candidate("attention"),
    Candidate("MI-Net-DS"),
    Candidate("mi-Graph"),
    Candidate("miFV"),
    Candidate("summary-SVM"),
    Candidate("MI-SVM"),
    Candidate("embedding-max"),
    Candidate("MI-Kernel"),
    Candidate("summary-logistic"),
    Candidate("miVLAD"),
    Candidate("sum-attention"),
    Candidate("attention", {"size": True}),
    Candidate("summary-boosting"),
    Candidate("mi-SVM"),
)


def candidates(bags: Bags, target: Target, seed: int) -> Iterator[Candidate]:
    """Give what may be tried on some bags, without end where a method has settings to draw.

    Parameters
    ----------
    bags
        To learn from.
    target
        What labels are.
    seed
        Decides what is drawn.

    Yields
    ------
    Candidate
        Each once.

    Examples
    --------
    >>> from itertools import islice
    >>> from bagwise.targets.classes import ClassTarget
    >>> bags = Bags.from_arrays([[[0.0]], [[1.0]]], labels=[0, 1])
    >>> [one.called for one in islice(candidates(bags, ClassTarget.of([0, 1]), seed=0), 3)]
    ['summary-forest (trees 100, leaf 1)', 'mean-logistic', 'attention']
    """
    ordered = (*PORTFOLIO[:3], *_for_many(bags, target), *PORTFOLIO[3:])
    for candidate in {one.called: one for one in ordered}.values():
        if _learns(candidate.method, bags, target) and too_large(candidate, bags) is None:
            yield candidate
    chance = np.random.default_rng(seed)
    seen: set[tuple[Any, ...]] = set()
    most = len(_DRAWN) * int(np.prod([len(values) for values in _SETTINGS.values()]))
    while _DRAWN and len(seen) < most:
        method = _DRAWN[chance.integers(len(_DRAWN))]
        drawn = {name: values[chance.integers(len(values))] for name, values in _SETTINGS.items()}
        key = (method, *drawn.values())
        if key not in seen:
            seen.add(key)
            if _learns(method, bags, target):
                yield Candidate(method, drawn, drawn=True)


def _for_many(bags: Bags, target: Target) -> list[Candidate]:
    """Say what comes before other families where bags are many: networks that count, and a small penalty.

    The penalty that few bags need keeps a network from learning what several features must say together of a rare
    instance.
    """
    facts = Facts.of(bags, np.arange(len(bags)), target)
    if facts.too_few:
        return []
    loose = {"l2": LOOSE} if recipe_for(facts).settings.l2 > LOOSE else {}
    return [
        Candidate("attention", loose),
        Candidate("sum-attention", loose),
        Candidate("attention", {"size": True, **loose}),
    ]


def left_out(bags: Bags, target: Target) -> list[tuple[Candidate, str]]:
    """Give what could learn from some bags, were they fewer.

    Parameters
    ----------
    bags, target
        As in `candidates`.

    Returns
    -------
    list of tuple
        Candidates, and for each a sentence why it is not tried.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> bags = Bags.from_arrays([[[0.0]], [[1.0]]] * 2_000, labels=[0, 1] * 2_000)
    >>> print(left_out(bags, ClassTarget.of([0, 1]))[0][1])
    takes at most 1,000 bags: it compares all pairs of bags
    """
    suited = [candidate for candidate in PORTFOLIO if _learns(candidate.method, bags, target)]
    return [(candidate, why) for candidate in suited if (why := too_large(candidate, bags)) is not None]


def too_large(candidate: Candidate, bags: Bags) -> str | None:
    """Say in a sentence why bags are too many or too large for a candidate; None where they are not.

    Parameters
    ----------
    candidate
        Of the portfolio.
    bags
        To learn from.

    Returns
    -------
    str or None

    Examples
    --------
    >>> too_large(Candidate("mi-Graph"), Bags.from_arrays([[[0.0]], [[1.0]]])) is None
    True
    """
    method, instances = candidate.method, len(bags.instances)
    for most, count, what in (
        (_MOST_BAGS, len(bags), "bags"),
        (_MOST_INSTANCES, instances, "instances"),
        (_MOST_NUMBERS, instances * prod(bags.instance_shape), "numbers"),
    ):
        if count > most.get(method, count):
            return f"takes at most {most[method]:,} {what}: it {_GROWING.get(method, 'compares all pairs of bags')}"
    return None


def _learns(method: str, bags: Bags, target: Target) -> bool:
    kind = find(method)[0]
    vectors = len(bags.instance_shape) == 1
    if issubclass(kind, ClassicalMIL):
        return vectors and target.kind in kind.KINDS
    return vectors or method != "MI-Net-DS"  # whose encoder is of vectors
