"""Parts of a user's own in saved models: a file names them, and who reads it hands them in again.

A file of data cannot hold code, and nothing is imported because a file says so. What a file has of such a model is its
weights, its configuration and the names of what else it needs: ``method``, a class of estimator, and ``encoder``,
``pooling``, ``model``, ``loss``, ``optimizer`` or ``scheduler``, as the estimator takes them. The last three only
learning needs, so that a model predicts without them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.files import plain
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.recipes import Facts
from bagwise.methods.registry import METHODS
from bagwise.models.architecture import LEVELS, Architecture, Design
from bagwise.models.own import OwnArchitecture
from bagwise.training.data import PackedTensors

__all__ = [
    "CLASSES",
    "TO_LEARN",
    "Absent",
    "check_handed_in",
    "design_of",
    "made_up_bags",
    "own_parts",
    "says_the_same",
]

CLASSES: dict[str, type[NeuralMIL]] = {"NeuralMIL": NeuralMIL}
CLASSES |= {kind.__name__: kind for kind, _ in METHODS.values() if issubclass(kind, NeuralMIL)}
TO_LEARN = ("loss", "optimizer", "scheduler")


@dataclass(frozen=True)
class Absent:
    """Stands for a part that was not handed in, and that only learning needs.

    Attributes
    ----------
    part
        What it is.
    stands_for
        Where its code is, as `bagwise.text.called` says it.
    """

    part: str
    stands_for: str

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Say what is missing."""
        told = f"{_a(self.part)} of your own, {self.stands_for}"
        raise BagwiseError(f"the model learnt with {told}: load it with {self.part}= to let it learn again")


def own_parts(model: NeuralMIL) -> dict[str, Any]:
    """Give what a file of a model cannot hold, as `bagwise.methods.persistence.load_model` takes it.

    Parameters
    ----------
    model
        Fitted.

    Returns
    -------
    dict
        By the name of the part.
    """
    found = {} if type(model) in CLASSES.values() else {"method": type(model)}
    given = model.get_params(deep=False)
    parts = [*model.plan_.own, *(name for name in TO_LEARN if callable(getattr(model.settings_, name, None)))]
    return found | {name: given[name] for name in parts if not isinstance(given.get(name), str | None)}


def check_handed_in(path: Path, needed: Mapping[str, str], parts: Mapping[str, Any]) -> None:
    """See that the parts that a file names are there, and no others.

    Parameters
    ----------
    path
        The file, for messages.
    needed
        Their names.
    parts
        What was handed in.

    Raises
    ------
    BagwiseError
        If one is missing that predicting needs, one is too many, or of the wrong kind.

    Examples
    --------
    >>> check_handed_in(Path("run/model.safetensors"), {"encoder": "nets.Small"}, {})
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: run/model.safetensors holds a model with an encoder of your own, nets.Small, which a...
    """
    if missing := [name for name in needed if name not in parts and name not in TO_LEARN]:
        told = " and ".join(f"{_a(name)} of your own, {needed[name]}" for name in missing)
        asked = ", ".join(f"{name}={needed[name].partition('(')[0].rpartition('.')[2]}" for name in missing)
        raise BagwiseError(
            f"{path} holds a model with {told}, which a file of data cannot hold: import it in Python, and load the"
            f" model with bagwise.load_models({str(path.parent)!r}, {asked})"
        )
    for name, part in parts.items():
        if name not in needed:
            known = "only " + " and ".join(needed) if needed else "nothing"
            raise BagwiseError(f"{path} needs {known} of your own: leave {name}= out")
        if name == "method" and not (isinstance(part, type) and issubclass(part, NeuralMIL)):
            raise BagwiseError(f"method is {part!r}: it must be a class that follows bagwise.NeuralMIL, {needed[name]}")


def design_of(model: NeuralMIL, described: Mapping[str, Any], parts: Mapping[str, Any]) -> Design:
    """Make the design that a file describes, with the parts that it cannot hold.

    Parameters
    ----------
    model
        Not fitted, but for its `instance_shape_`. A method of a user's own knows its parts itself.
    described
        The fields of the design; None in the place of what is a user's own.
    parts
        What was handed in; if the estimator is to take something else for it, that is put there.

    Returns
    -------
    Design

    Raises
    ------
    BagwiseError
        If a part will not do.
    ValueError
        If the design needs another part, or is that of another class.
    """
    fields = dict(described)
    kind = Architecture if "level" in fields else OwnArchitecture
    level = LEVELS.get(str(fields.get("level")))
    pooled = ["pooling"] if level is None or level.POOLINGS else []  # some have none to choose
    for name in ("encoder", *pooled, "model"):
        if name in fields and fields[name] is None:
            fields[name] = parts[name] if name in parts else _of_method(model)[name]
    if kind is OwnArchitecture:
        given, options = OwnArchitecture.of(fields["model"]), fields["options"]
        if given.options and json.dumps(given.options, default=plain) != json.dumps(options):
            raise ValueError(f"the model was trained with {options}")
        fields |= {"model": given.model, "options": given.options or options}
        if "model" in parts and options and not given.options:
            model.model = partial(given.model, **options)
    if fields.get("level", "own") != model.level:
        raise ValueError("its architecture is that of another class")
    return kind(**fields)


def _a(part: str) -> str:
    return f"{'an' if part[0] in 'eo' else 'a'} {part}"


def _of_method(model: NeuralMIL) -> dict[str, Any]:
    if type(model) in CLASSES.values():
        raise ValueError("it lacks a part")
    return model._design(model.instance_shape_, model._recipe(Facts(model.instance_shape_))).own


def made_up_bags(model: NeuralMIL, sizes: Sequence[int]) -> Bags:
    """Make bags of instances like those learnt from, as the model's scaler tells what these were like.

    Parameters
    ----------
    model
        Fitted.
    sizes
        Of the bags.

    Returns
    -------
    Bags
        With coordinates; always the same.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0, 3.0]], [[1.0, 2.0]]], labels=["no", "yes"])
    >>> made_up_bags(bw.AttentionMIL(encoder="identity", epochs=1).fit(bags), (3, 1)).instances.shape
    (4, 2)
    """
    rng = np.random.default_rng(0)
    offsets = np.cumsum([0, *sizes])
    shape = (int(offsets[-1]), *model.instance_shape_)
    scaler = model.model_.scaler
    instances = scaler.shift.numpy(force=True) + rng.normal(size=shape) / scaler.factor.numpy(force=True)
    if model.plan_.scaling == "pixels":
        instances = rng.integers(0, 256, shape, dtype=np.uint8)
    return Bags(instances, offsets, coordinates=rng.integers(0, 9, (shape[0], 2)).astype(np.float64))


def says_the_same(one: NeuralMIL, other: NeuralMIL) -> bool:
    """Try two models on made-up bags.

    Parameters
    ----------
    one, other
        Fitted; they are left on the CPU.

    Returns
    -------
    bool
        Whether they say the same, to the last bit.
    """
    bags = made_up_bags(one, (1, 4, 2))
    instances, offsets = torch.from_numpy(np.asarray(bags.instances)), torch.from_numpy(bags.offsets)
    packed, said = PackedTensors(bags), []
    with torch.no_grad():
        for model in (one.model_.cpu().eval(), other.model_.cpu().eval()):
            where = packed.where(model, np.arange(len(bags)), torch.device("cpu"))
            output = model(instances, offsets, where)
            said.append([value for value in output[:3] if value is not None])
    same = (torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(*said, strict=False))
    return len(said[0]) == len(said[1]) and all(same)
