"""Fitted methods on disk: one file of tensors and a description in JSON, which cannot run code."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from bagwise._version import __version__
from bagwise.errors import BagwiseError
from bagwise.files import plain
from bagwise.methods.asked import Asked
from bagwise.methods.base import BagEstimator
from bagwise.methods.classical.base import ClassicalMIL
from bagwise.methods.classical.files import describe_classical, read_classical, save_classical
from bagwise.methods.ensemble import check_neural, members_of
from bagwise.methods.ensemble_estimator import Ensemble
from bagwise.methods.formats import FILE, FORMAT, UNFIT, as_written, check_format, is_classical, reason
from bagwise.methods.learnt import Learnt, learnt_of, rebuilt
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.parts import CLASSES, TO_LEARN, Absent, check_handed_in, design_of, own_parts, says_the_same
from bagwise.targets.classes import ClassTarget
from bagwise.tensorfiles import read_tensors, write_tensors
from bagwise.text import called
from bagwise.training.members import Plan, Settings

__all__ = [
    "describe",
    "estimator_of",
    "load_described",
    "load_model",
    "load_models",
    "save_model",
    "save_models",
]

_OTHERWISE = "keep model_.state_dict() with torch.save"


def save_model(model: NeuralMIL | ClassicalMIL | Ensemble, folder: str | Path) -> None:
    """Write a fitted method to a folder, as `model.safetensors`.

    Nothing is written that `load_model` would not read: the model is first rebuilt from what the file will hold. Of an
    encoder, a pooling, a model or a class of the user's own it holds the weights, the configuration and the name;
    `load_model` is handed the part itself.

    Parameters
    ----------
    model
        A fitted estimator: a neural one, an ensemble of such, or a classical method or baseline of Bagwise's. What a
        method learns that compares bags with those it learnt from (MI-Kernel, mi-Graph), or instances (an SVM with a
        Gaussian kernel), has some of these in it, and so has the file.
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
    save_models(model if isinstance(model, Ensemble) else [model], folder)


def save_models(models: Sequence[NeuralMIL | ClassicalMIL], folder: str | Path) -> None:
    """Write the members of an ensemble to a folder, as one `model.safetensors`.

    Parameters
    ----------
    models
        Fitted estimators that differ in what they learnt alone, as `bagwise.methods.ensemble.fit_ensemble` gives them,
        or one, of any method.
    folder
        As in `save_model`.

    Raises
    ------
    BagwiseError
        As `save_model` does.
    """
    if len(models) == 1 and isinstance(models[0], ClassicalMIL):
        save_classical(models[0], folder)
        return
    members = _neural_members(models, "save_models")
    config = describe(members)
    learnt = [{"history": model.history_, "best_epoch": model.best_epoch_, **_of_classes(model)} for model in members]
    tensors = {
        f"{number}.{name}": value for number, model in enumerate(members) for name, value in _state(model).items()
    }
    description = {"config": config, "learnt": learnt}
    _check_comes_back(members, tensors, description)
    write_tensors(Path(folder) / FILE, tensors, description)


def describe(models: Sequence[NeuralMIL | ClassicalMIL]) -> dict[str, Any]:
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
    if len(models) == 1 and isinstance(models[0], ClassicalMIL):
        return describe_classical(models[0])
    members = _neural_members(models, "save_model")
    model = members[0]
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
        "settings": [_described_settings(member.settings_) for member in members],
        "target": plan.target.kind,
        **plan.target.facts(),
        "instance_shape": model.instance_shape_,
        "feature_names": None if names is None else names.tolist(),
    }


def _neural_members(models: Sequence[Any], asked_by: str) -> list[NeuralMIL]:
    members = members_of(models, asked_by)
    for model in members:
        check_neural(model, asked_by)
    return members


def load_model(folder: str | Path, **parts: Any) -> NeuralMIL | ClassicalMIL | Ensemble:
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
        Fitted; it predicts what the saved one did, to the last bit. Of several members it is an `Ensemble`.

    Raises
    ------
    BagwiseError
        If the folder does not hold a model that this version can read, or needs another part; it says which.
    """
    models = load_models(folder, **parts)
    return models[0] if len(models) == 1 else Ensemble.of(cast(list[NeuralMIL], models))


def load_models(folder: str | Path, **parts: Any) -> list[NeuralMIL] | list[ClassicalMIL]:
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


def load_described(folder: str | Path, **parts: Any) -> tuple[list[NeuralMIL] | list[ClassicalMIL], dict[str, Any]]:
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
    path = Path(folder) / FILE
    tensors, description = read_tensors(path)
    config = description.get("config") if isinstance(description, dict) else None
    needed: dict[str, str] = {}
    if isinstance(config, dict):
        check_format(path, config)
        needed = _needed(path, config)
        check_handed_in(path, needed, parts)
    if is_classical(config):
        model, config = read_classical(folder)
        return [model], config
    try:
        return _rebuilt(tensors, description, parts), description["config"]
    except UNFIT as error:
        if parts:
            raise BagwiseError(
                f"{path} does not go with the {' and '.join(parts)} handed in ({reason(error)}): hand in what it was"
                f" trained with, {' and '.join(needed[name] for name in parts)}"
            ) from error
        raise as_written(path, error) from error


def _needed(path: Path, config: Mapping[str, Any]) -> dict[str, str]:
    needed: Any = config.get("own", {})  # of no older format
    if not isinstance(needed, dict) or not all(isinstance(name, str) for name in needed.values()):
        raise BagwiseError(f"{path} says that it needs {needed!r}: it was edited, so put the old file back")
    return needed


def _state(model: NeuralMIL) -> dict[str, Tensor]:
    """Give the tensors of a model, each by itself, whatever a module of the user's own shares."""
    state = model.model_.state_dict()
    return {name: value.cpu().clone() if model.plan_.own else value.cpu() for name, value in state.items()}


def _of_classes(model: NeuralMIL) -> dict[str, Any]:
    """Give what a member learnt of classes besides its weights."""
    shares = model.class_shares_
    threshold = model.target_.threshold if isinstance(model.target_, ClassTarget) else None
    return {"class_shares": None if shares is None else shares.tolist(), "threshold": threshold}


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
    except UNFIT as error:
        raise BagwiseError(
            f"this {name} cannot be saved, since it could not be loaded again ({reason(error)}): {_OTHERWISE}"
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
        "shares of classes, or threshold": _of_classes(model),
        "hyper-parameters": (_as_json(_described(model.plan_)), _as_json(_described_settings(model.settings_))),
        "features": (model.instance_shape_, [*getattr(model, "feature_names_in_", ())]),
        "layers": [*map(type, model.model_.modules())],
    }


def _as_json(content: Mapping[str, Any]) -> str:
    """Write what is compared as it is saved: JSON knows no tuples."""
    return json.dumps(content, default=plain)


def _rebuilt(tensors: Mapping[str, Tensor], description: dict[str, Any], parts: Mapping[str, Any]) -> list[NeuralMIL]:
    def one(config: dict[str, Any], number: int, learnt: dict[str, Any], state: dict[str, Tensor]) -> NeuralMIL:
        needed = config.get("own", {})
        own: dict[str, Any] = {name: Absent(name, needed[name]) for name in TO_LEARN if name in needed}
        own |= parts
        kind: type[NeuralMIL] = own.pop("method", None) or CLASSES[config["class"]]
        model = kind(**config["parameters"] | own)
        model.instance_shape_ = tuple(config["instance_shape"])
        design = design_of(model, config["plan"]["architecture"], own)
        return _as_estimator(model, learnt_of(config, number, learnt, state, design, own))

    return rebuilt(tensors, description, one)


def estimator_of(model: Asked) -> BagEstimator:
    """Make the estimator that a model was.

    Parameters
    ----------
    model
        As `bagwise.methods.learnt.read_learnt` gives it, or an estimator.

    Returns
    -------
    estimator
        Fitted; it shares the model. An estimator is given back.

    Raises
    ------
    BagwiseError
        If there is no such class, or it takes other parameters.
    """
    if isinstance(model, BagEstimator):
        return model
    assert isinstance(model, Learnt)
    try:
        return _as_estimator(CLASSES[model.called](**model.parameters), model)
    except UNFIT as error:
        raise BagwiseError(f"{model.called} cannot be made as it was ({reason(error)}): train it again") from error


def _as_estimator(model: NeuralMIL, learnt: Learnt) -> NeuralMIL:
    if (model.precision, model.device) != (learnt.plan_.precision, learnt.plan_.device):
        raise ValueError("its parameters are not those of its plan")
    if isinstance(model.class_weight, list):
        model.class_weight = dict(map(tuple, model.class_weight))
    model._remember_target(learnt.target_)
    for name in ("instance_shape_", "plan_", "settings_", "history_", "best_epoch_", "class_shares_", "model_"):
        setattr(model, name, getattr(learnt, name))
    if len(learnt.instance_shape_) == 1:
        model.n_features_in_ = learnt.instance_shape_[0]
    if learnt.feature_names_in_ is not None:
        model.feature_names_in_ = learnt.feature_names_in_
    return model
