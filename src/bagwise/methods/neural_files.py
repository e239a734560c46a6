"""Neural methods on disk: their weights, and a description in JSON that all is rebuilt from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from torch import Tensor

from bagwise._version import __version__
from bagwise.errors import BagwiseError
from bagwise.files import plain
from bagwise.methods.asked import Asked
from bagwise.methods.base import BagEstimator
from bagwise.methods.formats import FORMAT, UNFIT, columns_told, reason
from bagwise.methods.learnt import Learnt, learnt_of, rebuilt
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.parts import CLASSES, TO_LEARN, Absent, design_of, own_parts, says_the_same
from bagwise.targets.classes import ClassTarget
from bagwise.text import called
from bagwise.training.members import Plan, Settings

__all__ = ["contents_of_neural", "describe_neural", "estimator_of", "neural_of"]

_OTHERWISE = "keep model_.state_dict() with torch.save"


def describe_neural(members: Sequence[NeuralMIL]) -> dict[str, Any]:
    """Say all that is needed to rebuild models, but for their weights.

    Parameters
    ----------
    members
        Fitted, that differ in what they learnt alone.

    Returns
    -------
    dict
        What JSON can hold, numbers of numpy aside.
    """
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
        "columns": columns_told(model.columns_),
    }


def contents_of_neural(members: Sequence[NeuralMIL]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Give what a file is to hold of models, after it was seen that they can be rebuilt from it.

    Parameters
    ----------
    members
        As in `describe_neural`.

    Returns
    -------
    tuple
        Tensors, and their description.

    Raises
    ------
    BagwiseError
        As `bagwise.methods.persistence.save_model` says.
    """
    learnt = [{"history": model.history_, "best_epoch": model.best_epoch_, **_of_classes(model)} for model in members]
    tensors = {
        f"{number}.{name}": value for number, model in enumerate(members) for name, value in _state(model).items()
    }
    description = {"config": describe_neural(members), "learnt": learnt}
    _check_comes_back(members, tensors, description)
    return tensors, description


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
        again = neural_of(tensors, json.loads(json.dumps(description, default=plain)), parts)
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
        "features": (model.instance_shape_, [*getattr(model, "feature_names_in_", ())], model.columns_),
        "layers": [*map(type, model.model_.modules())],
    }


def _as_json(content: Mapping[str, Any]) -> str:
    """Write what is compared as it is saved: JSON knows no tuples."""
    return json.dumps(content, default=plain)


def neural_of(
    tensors: Mapping[str, Tensor], description: Mapping[str, Any], parts: Mapping[str, Any]
) -> list[NeuralMIL]:
    """Make the estimators that a file describes.

    Parameters
    ----------
    tensors, description
        What it holds.
    parts
        What of the user's own is handed in, as `bagwise.methods.persistence.load_model` takes it.

    Returns
    -------
    list of estimators
        Fitted.

    Raises
    ------
    ValueError, TypeError, ...
        If something is not what it must be (`bagwise.methods.formats.UNFIT`).
    """

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
    if model.get_params()["clip"] == "auto":  # which formats up to 6 could say, and was None
        model.clip = None
    if isinstance(model.class_weight, list):
        model.class_weight = dict(map(tuple, model.class_weight))
    model._remember_target(learnt.target_)
    learnt_names = ("instance_shape_", "columns_", "plan_", "settings_", "history_", "best_epoch_", "class_shares_")
    for name in (*learnt_names, "model_"):
        setattr(model, name, getattr(learnt, name))
    if len(learnt.instance_shape_) == 1:
        model.n_features_in_ = learnt.instance_shape_[0]
    if learnt.feature_names_in_ is not None:
        model.feature_names_in_ = learnt.feature_names_in_
    return model
