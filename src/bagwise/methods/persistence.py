"""Fitted methods on disk: one file of tensors and a description in JSON, which cannot run code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from bagwise._version import __version__
from bagwise.errors import BagwiseError
from bagwise.methods.averaged import Averaged
from bagwise.methods.base import BagEstimator
from bagwise.methods.classical.base import ClassicalMIL
from bagwise.methods.classical.files import contents_of_classical, describe_classical, made_of
from bagwise.methods.ensemble import check_neural, members_of
from bagwise.methods.ensemble_estimator import Ensemble
from bagwise.methods.formats import (
    AVERAGED,
    CLASSICAL,
    FILE,
    FORMAT,
    UNFIT,
    as_written,
    check_format,
    columns_told,
    deciding,
    family_in,
    reason,
)
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.neural_files import contents_of_neural, describe_neural, neural_of
from bagwise.methods.parts import check_handed_in
from bagwise.tensorfiles import digest_of_tensors, read_tensors, write_tensors

__all__ = ["describe", "digest_of_models", "load_described", "load_model", "load_models", "save_model", "save_models"]


def save_model(model: NeuralMIL | ClassicalMIL | Ensemble | Averaged, folder: str | Path) -> None:
    """Write a fitted method to a folder, as `model.safetensors`.

    Nothing is written that `load_model` would not read: the model is first rebuilt from what the file will hold. Of an
    encoder, a pooling, a model or a class of the user's own it holds the weights, the configuration and the name;
    `load_model` is handed the part itself.

    Parameters
    ----------
    model
        A fitted estimator: a neural one, an ensemble of such, a classical method or baseline of Bagwise's, or an
        average of unlike ones, as `bagwise.AutoMIL` is. What a method learns that compares bags with those it learnt
        from (MI-Kernel, mi-Graph), or instances (an SVM with a Gaussian kernel), has some of these in it, and so has
        the file.
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


def save_models(models: Sequence[BagEstimator], folder: str | Path) -> None:
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
    write_tensors(Path(folder) / FILE, *_contents(models))


def digest_of_models(models: Sequence[BagEstimator]) -> str:
    """Sum up the file that `save_models` would write, by which what is kept beside it knows that it belongs to it.

    Parameters
    ----------
    models
        As in `save_models`.

    Returns
    -------
    str
        As `bagwise.trust.files.file_digests` gives it.

    Raises
    ------
    BagwiseError
        If the models cannot be saved.
    """
    return digest_of_tensors(*_contents(models))


def describe(models: Sequence[BagEstimator]) -> dict[str, Any]:
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
    model = models[0] if len(models) == 1 else None
    if isinstance(model, ClassicalMIL):
        return describe_classical(model)
    if not isinstance(model, Averaged):
        return describe_neural(_neural_members(models, "save_model"))
    names = getattr(model, "feature_names_in_", None)
    return {
        "bagwise": __version__,
        "format": FORMAT,
        "family": AVERAGED,
        "class": type(model).__name__,
        "shares": model.shares_.tolist(),
        "threshold": getattr(model.target_, "threshold", None),
        "members": [describe([member]) for member in model.members_],
        "target": model.target_.kind,
        **model.target_.facts(),
        "instance_shape": model.instance_shape_,
        "feature_names": None if names is None else names.tolist(),
        "columns": columns_told(model.columns_),
    }


def _contents(models: Sequence[BagEstimator]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give tensors and description of what is to be kept."""
    model = models[0] if len(models) == 1 else None
    if isinstance(model, ClassicalMIL):
        return contents_of_classical(model)
    if not isinstance(model, Averaged):
        return contents_of_neural(_neural_members(models, "save_models"))
    parts = [_contents([member]) for member in model.members_]
    tensors = {
        f"{number}/{name}": torch.as_tensor(np.array(value)) if isinstance(value, np.ndarray) else value
        for number, (part, _) in enumerate(parts)
        for name, value in part.items()
    }
    return tensors, {"config": describe([model]), "learnt": [told for _, told in parts]}


def _made(tensors: Mapping[str, Any], description: dict[str, Any], parts: Mapping[str, Any]) -> list[Any]:
    """Make the models that a file describes; what does not fit together raises one of `UNFIT`."""
    config = description["config"]
    family = family_in(config)
    if family == CLASSICAL:
        return [made_of(description, {name: value.numpy() for name, value in tensors.items()})]
    if family != AVERAGED:
        return list(neural_of(tensors, description, parts))
    states: list[dict[str, Any]] = [{} for _ in description["learnt"]]
    for whole_name, value in tensors.items():
        number, name = whole_name.split("/", 1)
        states[int(number)][name] = value
    shares = np.array(config["shares"], dtype=np.float64)
    if shares.shape != (len(states),) or not (shares > 0).all() or not abs(shares.sum() - 1) < 1e-6:
        raise ValueError("its shares are none")
    members = []
    for place, (state, told) in enumerate(zip(states, description["learnt"], strict=True)):
        if family_in(told["config"]) == AVERAGED or told["config"] != config["members"][place]:
            raise ValueError(f"its member {place} is another than it says")
        members += _made(state, told, {})
    deciding(members[0].target_, config["threshold"])
    model = Averaged.of(members_of(members, "load_model"), shares, config["threshold"])
    if any(member.instance_shape_ != model.instance_shape_ for member in members) or len(members) != len(states):
        raise ValueError("its members are not of one kind")
    return [model]


def _neural_members(models: Sequence[Any], asked_by: str) -> list[NeuralMIL]:
    members = members_of(models, asked_by)
    for model in members:
        check_neural(model, asked_by)
    return members


def load_model(folder: str | Path, **parts: Any) -> NeuralMIL | ClassicalMIL | Ensemble | Averaged:
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
        Fitted; it predicts what the saved one did, to the last bit. Of several members it is an `Ensemble`, of unlike
        ones a `bagwise.methods.averaged.Averaged`.

    Raises
    ------
    BagwiseError
        If the folder does not hold a model that this version can read, or needs another part; it says which.
    """
    models = load_models(folder, **parts)
    return models[0] if len(models) == 1 else Ensemble.of(cast(list[NeuralMIL], models))


def load_models(folder: str | Path, **parts: Any) -> list[Any]:
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


def load_described(folder: str | Path, **parts: Any) -> tuple[list[Any], dict[str, Any]]:
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
    try:
        return _made(tensors, description, parts), description["config"]
    except (*UNFIT, BagwiseError) as error:
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
