"""Trained models on disk: weights as tensors, the rest as JSON; nothing in them can run code."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bagwise._version import __version__
from bagwise.errors import BagwiseError
from bagwise.files import replacing
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.registry import METHODS
from bagwise.models.architecture import Architecture
from bagwise.training.members import Plan, Settings

__all__ = ["load_model", "save_model"]

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


def save_model(model: NeuralMIL, folder: str | Path) -> None:
    """Write a fitted model to a folder: `config.json` and `model.safetensors`.

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
    folder = Path(folder)
    plan = model.plan_
    if not isinstance(plan.architecture.encoder, str):
        raise BagwiseError(
            "a model with an encoder of your own cannot be saved here, since only your code can make the encoder: keep"
            " model_.state_dict() with torch.save"
        )
    parameters = {name: value for name, value in model.get_params().items() if name != "random_state"}
    names = getattr(model, "feature_names_in_", None)
    config = {
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
    with replacing(folder / _WEIGHTS) as temporary:
        state = {name: value.cpu().contiguous() for name, value in model.model_.state_dict().items()}
        save_file(state, temporary)
    with replacing(folder / _CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


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
    folder = Path(folder)
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        state = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise BagwiseError(
            f"{folder} does not hold a model of Bagwise that can be read ({error}): save it again"
        ) from error
    kinds = {kind.__name__: kind for kind, _ in METHODS.values()}
    try:
        plan = dict(config["plan"])
        model = kinds[config["class"]](**config["parameters"])
        model.plan_ = Plan(Architecture(**plan.pop("architecture")), **plan)
        model.settings_ = Settings(**config["settings"])
        model.classes_ = np.array(config["classes"])
        model.instance_shape_ = tuple(config["instance_shape"])
        model.history_, model.best_epoch_ = config["history"], config["best_epoch"]
        if config["feature_names"] is not None:
            model.feature_names_in_ = np.array(config["feature_names"], dtype=object)
    except (KeyError, TypeError, AttributeError) as error:
        written: Any = config.get("bagwise") if isinstance(config, dict) else None
        raise BagwiseError(
            f"{folder / _CONFIG} was not written by this version of Bagwise (it says {written}, this is {__version__}),"
            " or was edited: save the model again"
        ) from error
    if len(model.instance_shape_) == 1:
        model.n_features_in_ = model.instance_shape_[0]
    model.model_ = model.plan_.architecture.rebuild(
        model.instance_shape_, model.plan_.outputs, state, dropout=model.settings_.dropout, dtype=model.plan_.dtype
    )
    return model
