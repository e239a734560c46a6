"""What a file holds of trained models, read without the estimators that they were: all that predicting needs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.bags import Bags, like_learnt
from bagwise.checks import is_count
from bagwise.errors import BagwiseError
from bagwise.feature_columns import Column
from bagwise.methods.fitted import Fitted
from bagwise.methods.formats import FILE, UNFIT, as_written, check_format, columns_in, deciding, target_in
from bagwise.models.architecture import Architecture, Design
from bagwise.models.model import MILModel
from bagwise.models.shown_columns import encoding_in, tensors_of
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.tensorfiles import read_tensors
from bagwise.training.members import Plan, Settings

__all__ = ["Learnt", "learnt_of", "read_learnt", "rebuilt"]

Model = TypeVar("Model")


@dataclass(eq=False)
class Learnt(Fitted):
    """A neural method as a file holds it: it answers as the estimator did, but learns no more.

    Attributes
    ----------
    called
        The estimator's class.
    parameters
        Its parameters.
    feature_names_in_
        Of the features, in the order learnt from; None where they had none.
    columns_
        What they stood for, where not all were numbers.
    plan_, settings_, ...
        As `bagwise.methods.fitted.Fitted` has them.
    """

    called: str
    parameters: Mapping[str, Any]
    plan_: Plan
    settings_: Settings
    target_: Target
    model_: MILModel
    history_: list[dict[str, float]]
    best_epoch_: int
    instance_shape_: tuple[int, ...]
    class_shares_: NDArray[np.float64] | None
    feature_names_in_: NDArray[np.object_] | None
    columns_: tuple[Column, ...] | None
    device: str
    precision: str

    @property
    def _called(self) -> str:
        return self.called

    def _check_fitted(self) -> None:
        """Find nothing wrong: what is in a file has learnt."""

    def _like_learnt(self, bags: Bags) -> Bags:
        names = self.feature_names_in_
        return like_learnt(bags, self.instance_shape_, None if names is None else names.tolist(), self.columns_)


def read_learnt(folder: str | Path) -> tuple[list[Learnt], dict[str, Any]]:
    """Read models that have no part of a user's own.

    Parameters
    ----------
    folder
        Where `bagwise.methods.persistence.save_models` wrote them.

    Returns
    -------
    tuple
        The models, and the description that lies in the file.

    Raises
    ------
    BagwiseError
        If the folder does not hold such models, as `bagwise.methods.persistence.load_models` says it.

    Examples
    --------
    >>> import tempfile
    >>> import bagwise as bw
    >>> folder = tempfile.mkdtemp()
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]]], labels=["no", "yes"])
    >>> bw.save_model(bw.AttentionMIL(epochs=1, random_state=0).fit(bags), folder)
    >>> (model,), _ = read_learnt(folder)
    >>> model.called, bw.predict_ensemble(model, bags).probabilities.shape
    ('AttentionMIL', (2, 2))
    """
    path = Path(folder) / FILE
    tensors, description = read_tensors(path)
    config = description.get("config") if isinstance(description, dict) else None
    if isinstance(config, dict):
        check_format(path, config)
        if config.get("own"):
            raise BagwiseError(f"{path} holds a model with parts of your own: load it with bagwise.load_models")
    try:
        return rebuilt(tensors, description, _learnt), description["config"]
    except UNFIT as error:
        raise as_written(path, error) from error


def rebuilt(
    tensors: Mapping[str, Tensor],
    description: Mapping[str, Any],
    one: Callable[[dict[str, Any], int, dict[str, Any], dict[str, Tensor]], Model],
) -> list[Model]:
    """Make the models that a file describes.

    Parameters
    ----------
    tensors, description
        What the file holds.
    one
        Makes a model of the description, its number, what it learnt besides weights, and its weights.

    Returns
    -------
    list

    Raises
    ------
    ValueError
        If there are other members than settings, or what `one` raises.
    """
    config, learnt = description["config"], description["learnt"]
    if len(learnt) != len(config["settings"]) or not learnt:
        raise ValueError("it has other members than settings")
    states: list[dict[str, Tensor]] = [{} for _ in learnt]
    for whole_name, value in tensors.items():
        number, name = whole_name.split(".", 1)
        states[int(number)][name] = value
    return [one(config, number, learnt[number], state) for number, state in enumerate(states)]


def _learnt(config: dict[str, Any], number: int, learnt: dict[str, Any], state: dict[str, Tensor]) -> Learnt:
    return learnt_of(config, number, learnt, state, Architecture(**config["plan"]["architecture"]))


def learnt_of(
    config: Mapping[str, Any],
    number: int,
    learnt: Mapping[str, Any],
    state: Mapping[str, Tensor],
    design: Design,
    own: Mapping[str, Any] | None = None,
) -> Learnt:
    """Make a model of what a file says.

    Parameters
    ----------
    config
        The description.
    number
        Of the model.
    learnt
        Its history, the epoch that its weights are from, the shares of the classes that its answers are for, and how it
        decides.
    state
        Its weights.
    design
        Its architecture.
    own
        What of the user's own stands in the place of ``loss``, ``optimizer`` and ``scheduler``.

    Returns
    -------
    Learnt

    Raises
    ------
    ValueError, TypeError, ...
        If it does not fit together (`UNFIT`).
    """
    own = own or {}
    plan, settings, parameters = dict(config["plan"]), dict(config["settings"][number]), config["parameters"]
    del plan["architecture"]
    weights, target = settings.get("class_weights"), _target(config, plan)
    plan |= {name: own[name] for name in ("loss",) if name in own}
    settings |= {name: own[name] for name in ("optimizer", "scheduler") if name in own}
    settings["class_weights"] = None if weights is None else tuple(weights)
    made, shape = Plan(design, target, **plan), tuple(config["instance_shape"])
    names = config["feature_names"]
    if names is not None and np.shape(names) != shape:
        raise ValueError("it has other feature names than features")
    if any(parameters.get(name, getattr(made, name)) != getattr(made, name) for name in ("precision", "device")):
        raise ValueError("its parameters are not those of its plan")
    if not all(map(is_count, shape)):
        raise ValueError(f"an instance has the shape {shape}")
    _check_history(learnt["history"], learnt["best_epoch"])
    chosen, columns = Settings(**settings), columns_in(config)
    if (columns is None) is (made.scaling == "columns") or (made.encoded is None) is not (columns is None):
        raise ValueError("its columns are not those of its plan")
    _check_tensors(made, shape, number, state)
    model = made.rebuilt(shape, state, chosen.dropout)
    return Learnt(
        called=config["class"],
        parameters=parameters,
        plan_=made,
        settings_=chosen,
        target_=deciding(target, learnt.get("threshold")),
        model_=model,
        history_=learnt["history"],
        best_epoch_=learnt["best_epoch"],
        instance_shape_=shape,
        class_shares_=_class_shares(learnt.get("class_shares"), target),
        feature_names_in_=None if names is None else np.array(names, dtype=object),
        columns_=columns,
        device=made.device,
        precision=made.precision,
    )


def _target(config: Mapping[str, Any], plan: dict[str, Any]) -> Target:
    """Rebuild what labels were; at first there were only classes, and of two the last by name was positive."""
    outputs = plan.pop("outputs", None)
    facts = dict(config)
    if "format" not in config:
        facts["positive"] = config["classes"][-1] if len(config["classes"]) == 2 else None
    target = target_in(facts)
    if outputs not in (None, target.outputs):
        raise ValueError("it has other classes than outputs")
    return target


def _check_history(history: Any, best_epoch: Any) -> None:
    numbers = all(isinstance(value, Real) for entry in history for value in entry.values())
    if not numbers or not all({"epoch", "loss"} <= entry.keys() for entry in history):
        raise ValueError("its history is none")
    if not is_count(best_epoch) or best_epoch > len(history):
        raise ValueError(f"its best epoch is {best_epoch!r}")


def _class_shares(told: Any, target: Target) -> NDArray[np.float64] | None:
    if told is None:  # of training that was not balanced, or of before format 4
        return None
    shares = np.array(told, np.float64)
    if not isinstance(target, ClassTarget) or shares.shape != target.names.shape or not (shares > 0).all():
        raise ValueError(f"the shares of its classes are {told}")
    if abs(shares.sum() - 1) > 1e-9:
        raise ValueError(f"the shares of its classes are {told}")
    return shares


def _check_tensors(plan: Plan, shape: tuple[int, ...], number: int, state: Mapping[str, Tensor]) -> None:
    """See that tensors are of the model's types and shapes, and numbers, before any is made or copied."""
    one = shape if plan.standardizes else (1,)
    own: dict[str, tuple[torch.dtype, tuple[int, ...], bool]] = {}
    if plan.encoded is not None:
        encoding = encoding_in(state)
        if encoding is None:
            raise ValueError(f"the tensor {number}.scaler.places is missing")
        encoding.check(*shape)
        if (encoding.width, encoding.beside) != (plan.encoded, plan.beside or 0):
            raise ValueError(f"its encoding gives {encoding.width} numbers, and its models take {plan.encoded}")
        own = {name: (dtype, sides, False) for name, (dtype, sides) in tensors_of(encoding, plan.dtype).items()}
    wanted = {
        "scaler.shift": (torch.float64, one, False),
        "scaler.factor": (plan.dtype, one, False),
        "scaler.limit": (plan.dtype, (), False),
        **own,
        **({"learnt": (torch.float64, (plan.target.learns,), False)} if plan.target.learns else {}),
        **_tensors_of_parts(plan, shape),
    }
    if missing := wanted.keys() ^ state.keys():
        raise ValueError(f"the tensor {number}.{min(missing)} is there without need, or is missing")
    for name, (dtype, sides, anything) in wanted.items():
        value = state[name]
        if (value.dtype, tuple(value.shape)) != (dtype, sides):
            raise ValueError(
                f"the tensor {number}.{name} is {_told(value.dtype, value.shape)}, and the model's is"
                f" {_told(dtype, sides)}"
            )
        limit = name.endswith(".limit") and bool(value > 0)  # infinite where nothing is limited
        if not anything and not limit and not torch.isfinite(value).all():
            raise ValueError(f"the tensor {number}.{name} holds a NaN or an infinity")


def _tensors_of_parts(plan: Plan, shape: tuple[int, ...]) -> dict[str, tuple[torch.dtype, tuple[int, ...], bool]]:
    """Give type and shape of a model's tensors but for the scaler's, and whether they may hold what is no number.

    The user's own code alone knows what it makes, and what its buffers are.
    """
    if not plan.own:
        shapes = plan.architecture.shapes(plan.shown(shape), plan.target.outputs, plan.beside or 0)
        doubles = {name: torch.float64 for name in shapes if name.startswith("beside.")}
        return {name: (doubles.get(name, plan.dtype), sides, False) for name, sides in shapes.items()}
    made = plan.architecture.build(plan.shown(shape), plan.target.outputs, seed=0, dtype=plan.dtype)
    buffers = dict(made.named_buffers())
    return {
        name: (value.dtype, tuple(value.shape), name in buffers)
        for name, value in made.state_dict().items()
        if not name.startswith("scaler.")
    }


def _told(dtype: torch.dtype, shape: Sequence[int]) -> str:
    return f"{str(dtype).removeprefix('torch.')} of shape {tuple(shape)}"
