"""Trained models on disk: one file of weights and a description in JSON, which cannot run code."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bagwise._version import __version__
from bagwise.checks import is_count
from bagwise.errors import BagwiseError
from bagwise.methods.ensemble import members_of
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.parts import CLASSES, TO_LEARN, Absent, check_handed_in, design_of, own_parts, says_the_same
from bagwise.targets.contract import Target
from bagwise.targets.registry import TARGETS
from bagwise.tensorfiles import plain, read_tensors, write_tensors
from bagwise.text import called
from bagwise.training.members import Plan, Settings

__all__ = [
    "FORMAT",
    "check_format",
    "describe",
    "load_described",
    "load_model",
    "load_models",
    "save_model",
    "save_models",
]

FORMAT = 3  # of what is written here; 0.1 wrote format 1, and no number; in 3 models may have parts of a user's own
_FILE = "model.safetensors"
_OTHERWISE = "keep model_.state_dict() with torch.save"
# What a description or tensors that were edited may raise when a model is made of them.
_UNFIT = (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError, RuntimeError)


def save_model(model: NeuralMIL, folder: str | Path) -> None:
    """Write a fitted model to a folder, as `model.safetensors`.

    Nothing is written that `load_model` would not read: the model is first rebuilt from what the file will hold. Of an
    encoder, a pooling, a model or a class of the user's own it holds the weights, the configuration and the name;
    `load_model` is handed the part itself.

    Parameters
    ----------
    model
        A fitted neural estimator.
    folder
        Where to; made if it is missing. A model of Bagwise's that is there is replaced; another file is left alone.

    Raises
    ------
    BagwiseError
        If the model was changed after it was fitted, holds what is no number, has a part of the user's own that keeps
        more than weights, or parameters that JSON cannot hold; or if the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]]], labels=["no", "yes"])
    >>> folder = tempfile.mkdtemp()
    >>> save_model(bw.AttentionMIL(epochs=1, random_state=0).fit(bags), folder)
    >>> load_model(folder).classes_.tolist()
    ['no', 'yes']
    """
    save_models([model], folder)


def save_models(models: Sequence[NeuralMIL], folder: str | Path) -> None:
    """Write the members of an ensemble to a folder, as one `model.safetensors`.

    Parameters
    ----------
    models
        Fitted estimators that differ in what they learnt alone, as `bagwise.methods.ensemble.fit_ensemble` gives them.
    folder
        As in `save_model`.

    Raises
    ------
    BagwiseError
        As `save_model` does.
    """
    models = members_of(models, "save_models")
    config = describe(models)
    learnt = [{"history": model.history_, "best_epoch": model.best_epoch_} for model in models]
    tensors = {
        f"{number}.{name}": value for number, model in enumerate(models) for name, value in _state(model).items()
    }
    description = {"config": config, "learnt": learnt}
    _check_comes_back(models, tensors, description)
    write_tensors(Path(folder) / _FILE, tensors, description)


def describe(models: Sequence[NeuralMIL]) -> dict[str, Any]:
    """Say all that is needed to rebuild models, but for their weights.

    Parameters
    ----------
    models
        As in `save_models`.

    Returns
    -------
    dict
        What JSON can hold, numbers of numpy aside.

    Raises
    ------
    BagwiseError
        If there are none, or they learnt different classes.
    """
    models = members_of(models, "save_model")
    model = models[0]
    plan = model.plan_
    parameters = _parameters(model)
    names = getattr(model, "feature_names_in_", None)
    return {
        "bagwise": __version__,
        "format": FORMAT,
        "class": type(model).__name__,
        "own": {name: called(part) for name, part in own_parts(model).items()},
        "parameters": parameters | {"random_state": plan.order_seed},
        "plan": _described(plan),
        "settings": [_described_settings(member.settings_) for member in models],
        "target": plan.target.kind,
        **plan.target.facts(),
        "instance_shape": model.instance_shape_,
        "feature_names": None if names is None else names.tolist(),
    }


def load_model(folder: str | Path, **parts: Any) -> NeuralMIL:
    """Read a model that `save_model` wrote; nothing in the files is run, and nothing imported.

    Parameters
    ----------
    folder
        Where the model is.
    **parts
        What the model has of your own, as it was trained with: ``model``, ``encoder``, ``pooling``, ``loss``,
        ``optimizer`` or ``scheduler``, as the estimator takes them, and ``method``, a class of your own that follows
        `NeuralMIL`. A part whose weights are in the file may be a class or a function that makes it, or one that was
        made. Without ``loss``, ``optimizer`` and ``scheduler`` the model predicts, but learns no more.

    Returns
    -------
    estimator
        Fitted; it predicts what the saved one did, to the last bit.

    Raises
    ------
    BagwiseError
        If the folder does not hold a model that this version can read, or needs another part; it says which.
    """
    models = load_models(folder, **parts)
    if len(models) > 1:
        raise BagwiseError(f"{folder} holds an ensemble of {len(models)} models: read it with load_models")
    return models[0]


def load_models(folder: str | Path, **parts: Any) -> list[NeuralMIL]:
    """Read what `save_models` or `save_model` wrote; nothing in the files is run, and nothing imported.

    Parameters
    ----------
    folder
        Where the models are.
    **parts
        As in `load_model`.

    Returns
    -------
    list of estimators
        Fitted; they predict what the saved ones did, to the last bit.

    Raises
    ------
    BagwiseError
        If the folder does not hold models that this version can read: the file was written by a later one, edited or
        damaged, a tensor in it has another type or shape than the model or holds what is no number, or a part is
        missing.
    """
    return load_described(folder, **parts)[0]


def load_described(folder: str | Path, **parts: Any) -> tuple[list[NeuralMIL], dict[str, Any]]:
    """Read what `save_models` wrote, and the description that lies in the file.

    Parameters
    ----------
    folder
        Where the models are.
    **parts
        As in `load_model`.

    Returns
    -------
    tuple
        What `load_models` gives, and what `describe` gave when they were written.

    Raises
    ------
    BagwiseError
        As `load_models` does.
    """
    path = Path(folder) / _FILE
    tensors, description = read_tensors(path)
    config = description.get("config") if isinstance(description, dict) else None
    needed: dict[str, str] = {}
    if isinstance(config, dict):
        check_format(path, config)
        needed = _needed(path, config)
        check_handed_in(path, needed, parts)
    try:
        return _rebuilt(tensors, description, parts), description["config"]
    except _UNFIT as error:
        if parts:
            raise BagwiseError(
                f"{path} does not go with the {' and '.join(parts)} handed in ({_reason(error)}): hand in what it was"
                f" trained with, {' and '.join(needed[name] for name in parts)}"
            ) from error
        raise BagwiseError(
            f"{path} does not hold a model as it was written ({_reason(error)}): put the old file back, or train the"
            " model again"
        ) from error


def check_format(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse what a later version wrote, in a format of which this one knows nothing.

    Parameters
    ----------
    path
        Where the description is, for the message.
    config
        What `describe` gave.

    Raises
    ------
    BagwiseError
        If its format is later than `FORMAT`.

    Examples
    --------
    >>> check_format(Path("config.json"), {"bagwise": "0.1.0"})
    """
    number = config.get("format", 1)
    if not is_count(number) or number is True:
        raise BagwiseError(f"{path} says that its format is {number!r}: it was edited, so put the old file back")
    if number > FORMAT:
        raise BagwiseError(
            f"{path} was written by Bagwise {config.get('bagwise')} in format {number}, and this is Bagwise"
            f" {__version__}, which reads formats up to {FORMAT}: read it with that version or a later one"
        )


def _needed(path: Path, config: Mapping[str, Any]) -> dict[str, str]:
    needed: Any = config.get("own", {})  # of no older format
    if not isinstance(needed, dict) or not all(isinstance(name, str) for name in needed.values()):
        raise BagwiseError(f"{path} says that it needs {needed!r}: it was edited, so put the old file back")
    return needed


def _state(model: NeuralMIL) -> dict[str, Tensor]:
    """Give the tensors of a model, each by itself, whatever a module of the user's own shares."""
    state = model.model_.state_dict()
    return {name: value.cpu().clone() if model.plan_.own else value.cpu() for name, value in state.items()}


def _parameters(model: NeuralMIL) -> dict[str, Any]:
    """Give the parameters of an estimator, but for the seed; None in the place of what is the user's own."""
    own = dict.fromkeys(own_parts(model))
    found = {name: own.get(name, value) for name, value in model.get_params().items() if name != "random_state"}
    weights = found.get("class_weight")
    if isinstance(weights, Mapping):
        found["class_weight"] = list(weights.items())  # JSON has no keys but text
    return found


def _described(plan: Plan) -> dict[str, Any]:
    """Give the fields of a plan, with None in the place of what is the user's own."""
    whole, design = _fields(plan), _fields(plan.architecture)
    del whole["target"]  # which has a place of its own
    return {
        **{name: None if name in plan.own else value for name, value in whole.items()},
        "architecture": {name: None if name in plan.own else value for name, value in design.items()},
    }


def _described_settings(settings: Settings) -> dict[str, Any]:
    """Give hyper-parameters, with None in the place of what is the user's own."""
    return {name: None if callable(value) else value for name, value in _fields(settings).items()}


def _fields(holder: Any) -> dict[str, Any]:
    return {field.name: getattr(holder, field.name) for field in fields(holder)}


def _check_comes_back(
    models: Sequence[NeuralMIL], tensors: Mapping[str, Tensor], description: Mapping[str, Any]
) -> None:
    """See that models can be rebuilt from what is about to be written, and are what they were."""
    name, parts = type(models[0]).__name__, own_parts(models[0])
    try:
        again = _rebuilt(tensors, json.loads(json.dumps(description, default=plain)), parts)
    except _UNFIT as error:
        raise BagwiseError(
            f"this {name} cannot be saved, since it could not be loaded again ({_reason(error)}): {_OTHERWISE}"
        ) from error
    for model, other in zip(models, again, strict=True):
        now, then = _facts(model), _facts(other)
        for what in now:
            if now[what] != then[what]:
                raise BagwiseError(
                    f"this {name} cannot be saved, since it would come back with other {what}, which were changed after"
                    f" it was fitted: {_OTHERWISE}"
                )
        if parts and not says_the_same(model, other):
            raise BagwiseError(
                f"this {name} cannot be saved, since it would come back with other answers; a part of your own may keep"
                f" more than parameters and buffers: {_OTHERWISE}"
            )


def _facts(model: NeuralMIL) -> dict[str, Any]:
    """Say what must be the same again, but for the weights, which were copied."""
    return {
        "parameters": _as_json(_parameters(model)),
        "target": model.target_,
        "hyper-parameters": (_as_json(_described(model.plan_)), _as_json(_described_settings(model.settings_))),
        "features": (model.instance_shape_, [*getattr(model, "feature_names_in_", ())]),
        "layers": [*map(type, model.model_.modules())],
    }


def _reason(error: BaseException) -> str:
    told = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    return (told or type(error).__name__).splitlines()[0]


def _as_json(content: Mapping[str, Any]) -> str:
    """Write what is compared as it is saved: JSON knows no tuples."""
    return json.dumps(content, default=plain)


def _rebuilt(tensors: Mapping[str, Tensor], description: dict[str, Any], parts: Mapping[str, Any]) -> list[NeuralMIL]:
    config, learnt = description["config"], description["learnt"]
    if len(learnt) != len(config["settings"]) or not learnt:
        raise ValueError("it has other members than settings")
    states: list[dict[str, Tensor]] = [{} for _ in learnt]
    for whole_name, value in tensors.items():
        number, name = whole_name.split(".", 1)
        states[int(number)][name] = value
    return [_restored(config, number, learnt[number], state, parts) for number, state in enumerate(states)]


def _restored(
    config: dict[str, Any], number: int, learnt: dict[str, Any], state: dict[str, Tensor], parts: Mapping[str, Any]
) -> NeuralMIL:
    plan, settings = dict(config["plan"]), dict(config["settings"][number])
    needed = config.get("own", {})
    own: dict[str, Any] = {name: Absent(name, needed[name]) for name in TO_LEARN if name in needed}
    own |= parts
    kind: type[NeuralMIL] = own.pop("method", None) or CLASSES[config["class"]]
    model = kind(**config["parameters"] | own)
    if isinstance(model.class_weight, list):
        model.class_weight = dict(map(tuple, model.class_weight))
    model.instance_shape_ = tuple(config["instance_shape"])
    architecture, weights = design_of(model, plan.pop("architecture"), own), settings.get("class_weights")
    target = _target(config, plan)
    model.plan_ = Plan(architecture, target, **plan | {name: own[name] for name in ("loss",) if name in own})
    settings |= {name: own[name] for name in ("optimizer", "scheduler") if name in own}
    model.settings_ = Settings(**settings | {"class_weights": None if weights is None else tuple(weights)})
    model._remember_target(target)
    model.history_, model.best_epoch_ = learnt["history"], learnt["best_epoch"]
    if len(model.instance_shape_) == 1:
        model.n_features_in_ = model.instance_shape_[0]
    if config["feature_names"] is not None:
        model.feature_names_in_ = np.array(config["feature_names"], dtype=object)
        if model.feature_names_in_.shape != model.instance_shape_:
            raise ValueError("it has other feature names than features")
    if (model.precision, model.device) != (model.plan_.precision, model.plan_.device):
        raise ValueError("its parameters are not those of its plan")
    if not all(map(is_count, model.instance_shape_)):
        raise ValueError(f"an instance has the shape {model.instance_shape_}")
    _check_history(model.history_, model.best_epoch_)
    _check_tensors(model, number, state)
    target, dropout, dtype = model.plan_.target, model.settings_.dropout, model.plan_.dtype
    model.model_ = architecture.rebuild(model.instance_shape_, target.outputs, state, dropout=dropout, dtype=dtype)
    return model


def _target(config: Mapping[str, Any], plan: dict[str, Any]) -> Target:
    """Rebuild what labels were; at first there were only classes, and of two the last by name was positive."""
    outputs = plan.pop("outputs", None)
    facts = dict(config)
    if "format" not in config:
        facts["positive"] = config["classes"][-1] if len(config["classes"]) == 2 else None
    target = TARGETS[config.get("target", "classes")].from_facts(facts)
    if target.names is not None and (target.names.dtype.kind not in "biufU" or target.names.ndim != 1):
        raise ValueError("its classes are none")
    if outputs not in (None, target.outputs):
        raise ValueError("it has other classes than outputs")
    return target


def _check_history(history: Any, best_epoch: Any) -> None:
    numbers = all(isinstance(value, Real) for entry in history for value in entry.values())
    if not numbers or not all({"epoch", "loss"} <= entry.keys() for entry in history):
        raise ValueError("its history is none")
    if not is_count(best_epoch) or best_epoch > len(history):
        raise ValueError(f"its best epoch is {best_epoch!r}")


def _check_tensors(model: NeuralMIL, number: int, state: Mapping[str, Tensor]) -> None:
    """See that tensors are of the model's types and shapes, and numbers, before any is made or copied."""
    plan = model.plan_
    one = model.instance_shape_ if plan.scaling == "standardize" else (1,)
    wanted = {
        "scaler.shift": (torch.float64, one, False),
        "scaler.factor": (plan.dtype, one, False),
        "scaler.limit": (plan.dtype, (), False),
        **({"learnt": (torch.float64, (plan.target.learns,), False)} if plan.target.learns else {}),
        **_tensors_of_parts(model),
    }
    if missing := wanted.keys() ^ state.keys():
        raise ValueError(f"the tensor {number}.{min(missing)} is there without need, or is missing")
    for name, (dtype, shape, anything) in wanted.items():
        value = state[name]
        if (value.dtype, tuple(value.shape)) != (dtype, shape):
            raise ValueError(
                f"the tensor {number}.{name} is {_told(value.dtype, value.shape)}, and the model's is"
                f" {_told(dtype, shape)}"
            )
        limit = name == "scaler.limit" and bool(value > 0)  # infinite where nothing is limited
        if not anything and not limit and not torch.isfinite(value).all():
            raise ValueError(f"the tensor {number}.{name} holds a NaN or an infinity")


def _tensors_of_parts(model: NeuralMIL) -> dict[str, tuple[torch.dtype, tuple[int, ...], bool]]:
    """Give type and shape of a model's tensors but for the scaler's, and whether they may hold what is no number.

    The user's own code alone knows what it makes, and what its buffers are.
    """
    plan, shape = model.plan_, model.instance_shape_
    if not plan.own:
        shapes = plan.architecture.shapes(shape, plan.target.outputs)
        return {name: (plan.dtype, shape, False) for name, shape in shapes.items()}
    made = plan.architecture.build(shape, plan.target.outputs, seed=0, dtype=plan.dtype)
    buffers = dict(made.named_buffers())
    return {
        name: (value.dtype, tuple(value.shape), name in buffers)
        for name, value in made.state_dict().items()
        if not name.startswith("scaler.")
    }


def _told(dtype: torch.dtype, shape: Sequence[int]) -> str:
    return f"{str(dtype).removeprefix('torch.')} of shape {tuple(shape)}"
