"""Every method by the name it has in commands and results."""

from typing import Any

from bagwise.errors import BagwiseError
from bagwise.methods.base import BagClassifier
from bagwise.methods.classical.bag_vectors import VLADSVM, FisherVectorSVM
from bagwise.methods.classical.diverse_density import DiverseDensity
from bagwise.methods.classical.instance_svm import BagMarginSVM, InstanceLabelSVM
from bagwise.methods.classical.set_kernels import GraphKernelSVM, SetKernelSVM
from bagwise.methods.families import AttentionMIL, DeepSupervisionMIL, EmbeddingMIL, InstanceMIL, ResidualMIL

__all__ = ["METHODS", "make"]

# Some names differ by case alone: they are never folded, and never name a file.
METHODS: dict[str, tuple[type[BagClassifier], dict[str, Any]]] = {
    "mi-SVM": (InstanceLabelSVM, {}),
    "MI-SVM": (BagMarginSVM, {}),
    "MI-Kernel": (SetKernelSVM, {}),
    "EM-DD": (DiverseDensity, {}),
    "mi-Graph": (GraphKernelSVM, {}),
    "miVLAD": (VLADSVM, {}),
    "miFV": (FisherVectorSVM, {}),
    "mi-Net": (InstanceMIL, {"encoder": "mi-net", "pooling": "max"}),
    "MI-Net": (EmbeddingMIL, {"encoder": "mi-net", "pooling": "max"}),
    "MI-Net-DS": (DeepSupervisionMIL, {}),
    "MI-Net-RC": (ResidualMIL, {}),
    "attention": (AttentionMIL, {}),
    "gated-attention": (AttentionMIL, {"gated": True}),
    "instance-max": (InstanceMIL, {"pooling": "max"}),
    "instance-mean": (InstanceMIL, {"pooling": "mean"}),
    "embedding-max": (EmbeddingMIL, {"pooling": "max"}),
    "embedding-mean": (EmbeddingMIL, {"pooling": "mean"}),
}


def make(name: str, **parameters: Any) -> BagClassifier:
    """Make a method by its name.

    Parameters
    ----------
    name
        One of `METHODS`.
    **parameters
        What its class takes; they override what the name stands for.

    Returns
    -------
    estimator
        Not fitted.

    Raises
    ------
    BagwiseError
        If there is no such method or parameter.

    Examples
    --------
    >>> import bagwise as bw
    >>> bw.make("gated-attention", epochs=10)
    AttentionMIL(epochs=10, gated=True)
    """
    if name not in METHODS:
        raise BagwiseError(f"there is no method {name!r}: the methods are {', '.join(METHODS)}")
    kind, fixed = METHODS[name]
    unknown = [parameter for parameter in parameters if parameter not in kind._get_param_names()]
    if unknown:
        known = ", ".join(kind._get_param_names())
        raise BagwiseError(f"the method {name!r} has no parameter {unknown[0]!r}: its parameters are {known}")
    return kind(**{**fixed, **parameters})
