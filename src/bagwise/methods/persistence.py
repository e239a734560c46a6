"""Trained models on disk: one file of weights and a description in JSON, which cannot run code."""

from collections.abc import Mapping
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

__all__ = ["load_model", "save_model"]

_FILE = "model.safetensors"


def save_model(model: NeuralMIL, folder: str | Path) -> None:
    """Write a fitted model to a folder, as `model.safetensors`.

    Parameters
    ----------
    model
        A fitted neural estimator with one of Bagwise's own encoders.
    folder
        Where to; made if it is missing, and a model that is there is replaced.

    Raises
    ------
    BagwiseError
        If the model has an encoder of the user's own, which a file of data cannot describe, or the folder cannot be
        written.

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
    check_is_fitted(model)
    plan = model.plan_
    if not isinstance(plan.architecture.encoder, str):
        raise BagwiseError(
            "a model with an encoder of your own cannot be saved here, since only your code can make the encoder: keep"
            " model_.state_dict() with torch.save"
        )
    parameters = {name: value for name, value in model.get_params().items() if name != "random_state"}
    names = getattr(model, "feature_names_in_", None)
    description = {
        "bagwise": __version__,
        "class": type(model).__name__,
        "parameters": parameters | {"random_state": plan.order_seed},
        "plan": asdict(plan),
        "settings": asdict(model.settings_),
        "classes": model.classes_.tolist(),
        "instance_shape": model.instance_shape_,
        "feature_names": None if names is None else names.tolist(),
        "history": model.history_,
        "best_epoch": model.best_epoch_,
    }
    write_tensors(Path(folder) / _FILE, model.model_.state_dict(), description)


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
    path = Path(folder) / _FILE
    state, description = read_tensors(path)
    try:
        return _restored(description, state)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        written = description.get("bagwise") if isinstance(description, dict) else None
        raise BagwiseError(
            f"{path} was not written by this version of Bagwise (it says {written}, this is {__version__}), or was"
            " edited: train the model again"
        ) from error


def _restored(description: dict[str, Any], state: Mapping[str, Tensor]) -> NeuralMIL:
    kinds = {kind.__name__: kind for kind, _ in METHODS.values()}
    plan = dict(description["plan"])
    model = kinds[description["class"]](**description["parameters"])
    model.plan_ = Plan(Architecture(**plan.pop("architecture")), **plan)
    model.settings_ = Settings(**description["settings"])
    model.classes_ = np.array(description["classes"])
    model.instance_shape_ = tuple(description["instance_shape"])
    model.history_, model.best_epoch_ = description["history"], description["best_epoch"]
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
