"""Trained models on disk: one file of weights and a description in JSON, which cannot run code."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from bagwise._version import __version__
from bagwise.errors import BagwiseError
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.registry import METHODS
from bagwise.models.architecture import Architecture
from bagwise.tensorfiles import read_tensors, write_tensors
from bagwise.training.members import Plan, Settings

__all__ = ["describe", "load_model", "load_models", "save_model", "save_models"]

_FILE = "model.safetensors"


def save_model(model: NeuralMIL, folder: str | Path) -> None:
    """Write a fitted model to a folder, as `model.safetensors`.

    Parameters
    ----------
    model
        A fitted neural estimator with one of Bagwise's own encoders and poolings.
    folder
        Where to; made if it is missing, and a model that is there is replaced.

    Raises
    ------
    BagwiseError
        If the model has an encoder or a pooling of the user's own, which a file of data cannot describe, or the folder
        cannot be written.

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
    config = describe(models)
    learnt = [{"history": model.history_, "best_epoch": model.best_epoch_} for model in models]
    tensors = {
        f"{number}.{name}": value
        for number, model in enumerate(models)
        for name, value in model.model_.state_dict().items()
    }
    write_tensors(Path(folder) / _FILE, tensors, {"config": config, "learnt": learnt})


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
        If the models have an encoder or a pooling of the user's own.
    """
    for model in models:
        check_is_fitted(model)
    model = models[0]
    plan = model.plan_
    for part in ("encoder", "pooling"):
        if not isinstance(getattr(plan.architecture, part), str):
            raise BagwiseError(
                f"a model with your own {part} cannot be saved here, since only your code can make it: keep"
                " model_.state_dict() with torch.save"
            )
    parameters = {name: value for name, value in model.get_params().items() if name != "random_state"}
    names = getattr(model, "feature_names_in_", None)
    if isinstance(parameters.get("class_weight"), Mapping):
        parameters["class_weight"] = list(parameters["class_weight"].items())  # JSON has no keys but text
    return {
        "bagwise": __version__,
        "class": type(model).__name__,
        "parameters": parameters | {"random_state": plan.order_seed},
        "plan": asdict(plan),
        "settings": [asdict(member.settings_) for member in models],
        "classes": model.classes_.tolist(),
        "instance_shape": model.instance_shape_,
        "feature_names": None if names is None else names.tolist(),
    }


def load_model(folder: str | Path) -> NeuralMIL:
    """Read a model that `save_model` wrote; nothing in the files is run.

    Parameters
    ----------
    folder
        Where the model is.

    Returns
    -------
    estimator
        Fitted; it predicts what the saved one did, to the last bit.

    Raises
    ------
    BagwiseError
        If the folder does not hold a model that this version can read.
    """
    models = load_models(folder)
    if len(models) > 1:
        raise BagwiseError(f"{folder} holds an ensemble of {len(models)} models: read it with load_models")
    return models[0]


def load_models(folder: str | Path) -> list[NeuralMIL]:
    """Read what `save_models` or `save_model` wrote; nothing in the files is run.

    Parameters
    ----------
    folder
        Where the models are.

    Returns
    -------
    list of estimators
        Fitted; they predict what the saved ones did, to the last bit.

    Raises
    ------
    BagwiseError
        If the folder does not hold models that this version can read.
    """
    path = Path(folder) / _FILE
    tensors, description = read_tensors(path)
    try:
        config, learnt = description["config"], description["learnt"]
        if len(learnt) != len(config["settings"]) or not learnt:
            raise ValueError("other members than settings")
        models = []
        for number, (settings, told) in enumerate(zip(config["settings"], learnt, strict=True)):
            prefix = f"{number}."
            state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            models.append(_restored(config, settings, told, state))
        return models
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        config = description.get("config") if isinstance(description, dict) else None
        written = config.get("bagwise") if isinstance(config, dict) else None
        raise BagwiseError(
            f"{path} was not written by this version of Bagwise (it says {written}, this is {__version__}), or was"
            " edited: train the model again"
        ) from error


def _restored(
    description: dict[str, Any], settings: dict[str, Any], learnt: dict[str, Any], state: Mapping[str, Tensor]
) -> NeuralMIL:
    kinds = {kind.__name__: kind for kind, _ in METHODS.values()}
    plan = dict(description["plan"])
    model = kinds[description["class"]](**description["parameters"])
    if isinstance(model.class_weight, list):
        model.class_weight = dict(map(tuple, model.class_weight))
    model.plan_ = Plan(Architecture(**plan.pop("architecture")), **plan)
    weights = settings.get("class_weights")
    model.settings_ = Settings(**settings | {"class_weights": None if weights is None else tuple(weights)})
    model.classes_ = np.array(description["classes"])
    model.instance_shape_ = tuple(description["instance_shape"])
    model.history_, model.best_epoch_ = learnt["history"], learnt["best_epoch"]
    if len(model.instance_shape_) == 1:
        model.n_features_in_ = model.instance_shape_[0]
    if description["feature_names"] is not None:
        model.feature_names_in_ = np.array(description["feature_names"], dtype=object)
        if model.feature_names_in_.shape != model.instance_shape_:
            raise ValueError("other feature names than features")
    if model.plan_.architecture.level != model.level or not isinstance(model.plan_.architecture.encoder, str):
        raise ValueError("the architecture of another class")
    if model.classes_.shape != (max(2, model.plan_.outputs),):
        raise ValueError("other classes than outputs")
    model.model_ = model.plan_.architecture.rebuild(
        model.instance_shape_, model.plan_.outputs, state, dropout=model.settings_.dropout, dtype=model.plan_.dtype
    )
    return model
