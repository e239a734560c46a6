"""Classical methods on disk: arrays and a description in JSON, in a file like that of neural ones.

They are read without PyTorch. A library that keeps scikit-learn's objects (skops) would be safe from code in a file and
not from hostile arrays in it: a tree that names a child out of range makes scikit-learn read past its end. So what
was learnt is arrays of our own (`bagwise.methods.classical.machines`), all of which are looked at first.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise._version import __version__
from bagwise.checks import is_count
from bagwise.encoding import Encoding
from bagwise.errors import BagwiseError
from bagwise.files import plain
from bagwise.methods.base import drawn_seed, rules_for
from bagwise.methods.classical.bag_vectors import VLADSVM, Codebook, FisherVectorSVM, Mixture, Reduced
from bagwise.methods.classical.base import ClassicalMIL, Learnt
from bagwise.methods.classical.baselines import (
    MeanLogistic,
    SummaryBoosting,
    SummaryForest,
    SummaryLogistic,
    SummarySVM,
    Summed,
)
from bagwise.methods.classical.diverse_density import Concept, DiverseDensity, Hypotheses
from bagwise.methods.classical.instance_svm import BagMarginSVM, InstanceLabelSVM, InstanceSVM
from bagwise.methods.classical.kept import apart, together
from bagwise.methods.classical.machines import Boosted, Forest, Gaussian, Linear, Trees
from bagwise.methods.classical.packed import Scaler
from bagwise.methods.classical.questions import MEANINGS
from bagwise.methods.classical.set_kernels import GraphKernelSVM, SetKernelSVM, SupportBags
from bagwise.methods.classical.whole_bags import WholeBags
from bagwise.methods.formats import (
    CLASSICAL,
    FILE,
    FORMAT,
    UNFIT,
    as_written,
    check_format,
    columns_in,
    columns_told,
    deciding,
    reason,
    target_in,
)
from bagwise.tensorfiles import read_arrays

__all__ = ["contents_of_classical", "describe_classical", "is_kept", "made_of", "read_classical"]

_METHODS: dict[str, type[ClassicalMIL]] = {
    kind.__name__: kind
    for kind in (
        *(InstanceLabelSVM, BagMarginSVM, SetKernelSVM, DiverseDensity, GraphKernelSVM, VLADSVM, FisherVectorSVM),
        *(MeanLogistic, SummaryLogistic, SummarySVM, SummaryForest, SummaryBoosting),
    )
}
_PARTS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(Learnt, Scaler, *MEANINGS.values(), Linear, Gaussian, Trees, Forest, Boosted),
        *(InstanceSVM, Concept, Hypotheses, WholeBags, SupportBags, Codebook, Reduced, Mixture, Summed),
    )
}


def is_kept(kind: type) -> bool:
    """Say whether a file can hold what a classical method has learnt, which it can of each of Bagwise's own."""
    return _METHODS.get(kind.__name__) is kind


def describe_classical(model: ClassicalMIL) -> dict[str, Any]:
    """Say all that is needed to rebuild a classical method, but for what it learnt.

    Parameters
    ----------
    model
        Fitted.

    Returns
    -------
    dict
        What JSON can hold, numbers of numpy aside.

    Raises
    ------
    BagwiseError
        If it is of a class of the user's own.
    """
    model._check_fitted()
    if not is_kept(type(model)):
        raise BagwiseError(
            f"{type(model).__name__} is no class of Bagwise's, and a file cannot say what it learnt: keep what it needs"
            " yourself, or use one of bagwise.METHODS"
        )
    names = getattr(model, "feature_names_in_", None)
    return {
        "bagwise": __version__,
        "format": FORMAT,
        "family": CLASSICAL,
        "class": type(model).__name__,
        "parameters": model.get_params() | {"random_state": model.seed_},
        "target": model.target_.kind,
        **model.target_.facts(),
        "instance_shape": model.instance_shape_,
        "feature_names": None if names is None else names.tolist(),
        "columns": columns_told(model.columns_),
    }


def contents_of_classical(model: ClassicalMIL) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Give what a file is to hold of a classical method, after it was seen that it can be made of that.

    Parameters
    ----------
    model
        Fitted.

    Returns
    -------
    tuple
        Arrays, and their description.

    Raises
    ------
    BagwiseError
        If it is of a class of the user's own, or was changed after it was fitted so that it could not be read.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]]] * 5, labels=["no", "yes"] * 5)
    >>> arrays, description = contents_of_classical(bw.make("MI-SVM", random_state=0).fit(bags))
    >>> made_of(json.loads(json.dumps(description, default=plain)), arrays).predict(bags[:2]).tolist()
    ['no', 'yes']
    """
    config = describe_classical(model)
    learnt, calibration = apart(model.learnt_), apart(model.calibration_)
    told = {
        "parameters": model.parameters_,
        "validation_errors": model.validation_errors_,
        "bags": model.bags_learnt_,
        "threshold": getattr(model.target_, "threshold", None),
        "learnt": learnt.told,
        "calibration": calibration.told,
    }
    arrays = {f"learnt.{name}": array for name, array in learnt.arrays.items()}
    arrays |= {f"calibration.{name}": array for name, array in calibration.arrays.items()}
    if model.encoding_ is not None:
        encoding = apart(model.encoding_)
        told["encoding"] = encoding.told
        arrays |= {f"encoding.{name}": array for name, array in encoding.arrays.items()}
    description = {"config": config, "learnt": told}
    try:
        read = json.loads(json.dumps(description, default=plain))
        made_of(read, dict(arrays))
    except (*UNFIT, BagwiseError) as error:
        raise BagwiseError(
            f"this {type(model).__name__} cannot be saved, since it could not be loaded again ({reason(error)}): fit it"
            " again"
        ) from error
    return arrays, description


def read_classical(folder: str | Path) -> tuple[ClassicalMIL, dict[str, Any]]:
    """Read a classical method that `bagwise.save_model` wrote, without PyTorch.

    Parameters
    ----------
    folder
        Where it is.

    Returns
    -------
    tuple
        The estimator, fitted, which answers as it did to the last bit; and what `describe_classical` gave.

    Raises
    ------
    BagwiseError
        If the folder does not hold one that this version can read: the file was written by a later one, edited or
        damaged, or an array in it has another type or shape than it must have, holds what is no number, or names what
        is out of range.
    """
    path = Path(folder) / FILE
    arrays, description = read_arrays(path)
    config = description.get("config") if isinstance(description, dict) else None
    if isinstance(config, dict):
        check_format(path, config)
    try:
        return made_of(description, arrays), description["config"]
    except (*UNFIT, BagwiseError) as error:
        raise as_written(path, error) from error


def made_of(description: Mapping[str, Any], arrays: dict[str, NDArray[Any]]) -> ClassicalMIL:
    """Make the estimator that a file describes.

    Parameters
    ----------
    description, arrays
        What the file holds; no array is left.

    Returns
    -------
    estimator
        Fitted.

    Raises
    ------
    ValueError, TypeError, BagwiseError, ...
        If something is not what it must be (`bagwise.methods.formats.UNFIT`).
    """
    config, told = description["config"], description["learnt"]
    model = _METHODS[config["class"]](**config["parameters"])
    model._validate_params()
    target = target_in(config)
    if target.kind not in model.KINDS:
        raise ValueError(f"it learns no {target.kind}")
    shape, names = tuple(config["instance_shape"]), config["feature_names"]
    if len(shape) != 1 or not all(map(is_count, shape)):
        raise ValueError(f"an instance has the shape {shape}")
    if names is not None and (np.shape(names) != shape or not all(isinstance(name, str) for name in names)):
        raise ValueError("it has other feature names than features")
    learnt = together(_PARTS, told["learnt"], arrays, "learnt")
    calibration = together(_PARTS, told["calibration"], arrays, "calibration")
    columns_learnt, encoding = columns_in(config), None
    if columns_learnt is not None:
        # Before format 6 nothing belonged to bags.
        encoding = together({"Encoding": Encoding}, {"of_bag": None} | told["encoding"], arrays, "encoding")
        encoding.check(*shape)
    if arrays:
        raise ValueError(f"the tensor {min(arrays)} is there without need")
    if not isinstance(learnt, Learnt) or not isinstance(calibration, MEANINGS[target.kind]):
        raise TypeError("what it learnt is something else")
    if (learnt.scaler is None) is model.standardize:
        raise ValueError("it has a scaler that nothing asks for, or none")
    columns = learnt.check(model._width(*(shape if encoding is None else (encoding.width, encoding.beside))))
    if columns != target.outputs:
        raise ValueError(f"it learnt {columns} columns, and answers with {target.outputs}")
    calibration.check(columns)
    if not is_count(told["bags"]) or isinstance(told["bags"], bool):
        raise ValueError(f"it learnt from {told['bags']!r} bags")
    if not all(isinstance(error, int | float) and np.isfinite(error) for error in told["validation_errors"]):
        raise ValueError("its errors are none")
    _check_chosen(model, told["parameters"])
    model.learnt_, model.calibration_ = learnt, calibration
    model.parameters_, model.validation_errors_ = told["parameters"], told["validation_errors"]
    model.bags_learnt_, model.seed_ = told["bags"], drawn_seed(model.random_state)
    model._remember_target(deciding(target, told.get("threshold")))
    model.instance_shape_, model.n_features_in_ = shape, shape[0]
    model.columns_, model.encoding_ = columns_learnt, encoding
    if names is not None:
        model.feature_names_in_ = np.array(names, dtype=object)
    return model


def _check_chosen(model: ClassicalMIL, chosen: Any) -> None:
    rules: Any = rules_for(type(model))
    if chosen.keys() != model.GRID[0].keys():
        raise ValueError("it chose other hyper-parameters than it has")
    for name, value in chosen.items():
        rules[name].check(name, value)
