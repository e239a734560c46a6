"""Every method by the name it has in commands and results."""

import sys
from functools import reduce
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from bagwise.errors import BagwiseError
from bagwise.methods.base import BagEstimator
from bagwise.methods.classical.bag_vectors import VLADSVM, FisherVectorSVM
from bagwise.methods.classical.baselines import (
    MeanLogistic,
    SummaryBoosting,
    SummaryForest,
    SummaryLogistic,
    SummarySVM,
)
from bagwise.methods.classical.diverse_density import DiverseDensity
from bagwise.methods.classical.instance_svm import BagMarginSVM, InstanceLabelSVM
from bagwise.methods.classical.set_kernels import GraphKernelSVM, SetKernelSVM
from bagwise.methods.evidence_families import AdditiveMIL, ClassAttentionMIL, ConjunctiveMIL, SignedAttentionMIL
from bagwise.methods.families import AttentionMIL, DeepSupervisionMIL, EmbeddingMIL, InstanceMIL, ResidualMIL
from bagwise.methods.field import ACMIL, CLAM, DSMIL, DTFDMIL, ILRA
from bagwise.methods.parameters import check_known
from bagwise.methods.relational import GraphMIL, SelfAttentionMIL, SmoothAttentionMIL, TransMIL
from bagwise.text import kind_of

__all__ = ["ENTRY_POINTS", "IMPORTED", "METHODS", "find", "is_installed", "make"]

ENTRY_POINTS = "bagwise.methods"  # the group in which other packages name methods of theirs

IMPORTED: set[str] = set()  # methods that are not Bagwise's own: what fails may be a fault of theirs

# Some names differ by case alone: they are never folded, and never name a file.
METHODS: dict[str, tuple[type[BagEstimator], dict[str, Any]]] = {
    "mi-SVM": (InstanceLabelSVM, {}),
    "MI-SVM": (BagMarginSVM, {}),
    "MI-Kernel": (SetKernelSVM, {}),
    "EM-DD": (DiverseDensity, {}),
    "mi-Graph": (GraphKernelSVM, {}),
    "miVLAD": (VLADSVM, {}),
    "miFV": (FisherVectorSVM, {}),
    "mean-logistic": (MeanLogistic, {}),
    "summary-logistic": (SummaryLogistic, {}),
    "summary-SVM": (SummarySVM, {}),
    "summary-forest": (SummaryForest, {}),
    "summary-boosting": (SummaryBoosting, {}),
    "mi-Net": (InstanceMIL, {"encoder": "mi-net", "pooling": "max"}),
    "MI-Net": (EmbeddingMIL, {"encoder": "mi-net", "pooling": "max"}),
    "MI-Net-DS": (DeepSupervisionMIL, {}),
    "MI-Net-RC": (ResidualMIL, {}),
    "attention": (AttentionMIL, {}),
    "gated-attention": (AttentionMIL, {"gated": True}),
    "sum-attention": (AttentionMIL, {"counting": True}),
    "instance-max": (InstanceMIL, {"pooling": "max"}),
    "instance-mean": (InstanceMIL, {"pooling": "mean"}),
    "embedding-max": (EmbeddingMIL, {"pooling": "max"}),
    "embedding-mean": (EmbeddingMIL, {"pooling": "mean"}),
    "embedding-sum": (EmbeddingMIL, {"pooling": "sum"}),
    "class-attention": (ClassAttentionMIL, {}),
    "additive": (AdditiveMIL, {}),
    "conjunctive": (ConjunctiveMIL, {}),
    "signed-attention": (SignedAttentionMIL, {}),
    "graph": (GraphMIL, {}),
    "smooth-attention": (SmoothAttentionMIL, {}),
    "self-attention": (SelfAttentionMIL, {}),
    "TransMIL": (TransMIL, {}),
    "DSMIL": (DSMIL, {}),
    "CLAM-SB": (CLAM, {}),
    "CLAM-MB": (CLAM, {"by_class": True}),
    "DTFD-MIL": (DTFDMIL, {}),
    "ACMIL": (ACMIL, {}),
    "ILRA": (ILRA, {}),
}


def find(name: str) -> tuple[type[BagEstimator], dict[str, Any]]:
    """Find what a method's name stands for.

    Parameters
    ----------
    name
        One of `METHODS`; one that an installed package gives in the group `ENTRY_POINTS` of its entry points; or
        ``package.module:Class``, which is imported, also from the current directory, as ``python -m`` would.

    Returns
    -------
    tuple
        The class, and the parameters that the name fixes.

    Raises
    ------
    BagwiseError
        If there is no such method, it cannot be imported, or it is none.

    Examples
    --------
    >>> find("gated-attention")
    (<class 'bagwise.methods.families.AttentionMIL'>, {'gated': True})
    >>> find("bagwise.methods.families:AttentionMIL")
    (<class 'bagwise.methods.families.AttentionMIL'>, {})
    """
    if name in METHODS:
        return METHODS[name]
    if is_installed(name):
        installed = next(iter(entry_points(group=ENTRY_POINTS, name=name)))
        return _imported(name, installed.value), {}
    if ":" in name:
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)
        return _imported(name, name), {}
    known = ", ".join([*METHODS, *sorted(entry_points(group=ENTRY_POINTS).names - METHODS.keys())])
    raise BagwiseError(f"there is no method {name!r}: the methods are {known}, or package.module:Class for your own")


def is_installed(name: str) -> bool:
    """Say whether a name is that of a method of Bagwise, or of an installed package.

    Parameters
    ----------
    name
        As `find` takes it.

    Returns
    -------
    bool
        False where it takes somebody's word to know whose code it is.

    Raises
    ------
    BagwiseError
        If several packages give it to different classes.

    Examples
    --------
    >>> is_installed("MI-Net"), is_installed("my.module:MyMIL")
    (True, False)
    """
    if name in METHODS:
        return True
    values = {installed.value for installed in entry_points(group=ENTRY_POINTS, name=name)}
    if len(values) > 1:
        raise BagwiseError(f"several packages have a method {name!r}: choose by one of {', '.join(sorted(values))}")
    return bool(values)


def make(name: str, **parameters: Any) -> BagEstimator:
    """Make a method by its name.

    Parameters
    ----------
    name
        As `find` takes it.
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
    kind, fixed = find(name)
    for parameter in parameters:
        check_known(parameter, f"the method {name!r}", kind._get_param_names())
    try:
        return kind(**{**fixed, **parameters})
    except TypeError as error:  # a class of the user's own that needs more, or leaves more to be done
        raise BagwiseError(f"the method {name!r} cannot be made: {error}") from error


def _imported(name: str, place: str) -> type[BagEstimator]:
    module, _, path = place.partition(":")
    try:
        kind: Any = reduce(getattr, path.split("."), import_module(module))
    except (Exception, SystemExit) as error:  # whatever the user's own code does
        told = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise BagwiseError(f"the method {name!r} cannot be imported ({told}): see that {place} is there") from error
    if not isinstance(kind, type) or not issubclass(kind, BagEstimator):
        told = f"the class {kind.__name__}" if isinstance(kind, type) else kind_of(kind)
        raise BagwiseError(f"{name!r} is {told}: a method is a class that builds on BagEstimator, such as NeuralMIL")
    IMPORTED.add(name)
    return kind
