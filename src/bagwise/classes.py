"""What a class is: which words say that a label is missing, and which of two classes is the positive one."""

from typing import Any

from numpy.typing import NDArray

from bagwise.errors import BagwiseError

__all__ = ["MISSING", "NEGATIVE", "positive_of"]

# By which tables say that there is nothing, in any case. "none" is not among them: it is a class in many.
MISSING = frozenset(("", "na", "n/a", "nan", "null"))

# What the class without the finding is called, in any case, and nothing else: no stems, no parts of words.
NEGATIVE = frozenset(
    (
        *("no", "n", "false", "f", "0", "0.0", "-1", "-1.0", "-", "none", "absent", "neg", "negative"),
        *("normal", "benign", "healthy", "well", "control", "controls", "unaffected", "inactive"),
        *("non-tumor", "non-tumour", "nontumor", "nontumour", "no tumor", "no tumour", "tumor-free", "tumour-free"),
        *("wildtype", "wild-type", "wild type", "wt", "unmutated", "mss", "stable", "low", "retained", "stayed"),
    )
)


def positive_of(classes: NDArray[Any], given: Any = None) -> Any:
    """Say which of two classes is the positive one: the one that the standard MIL assumption is about.

    A bag is positive if it holds a positive instance; so learning at the level of instances, scores of instances,
    precision, recall and the AUC are about this class.

    Parameters
    ----------
    classes
        The labels, sorted.
    given
        The class that the user names, as it is or as it is written; None: where one of the two is called as `NEGATIVE`
        has it, the other, else the last by name.

    Returns
    -------
    The class, or None where there are more than two.

    Raises
    ------
    BagwiseError
        If the class that was named is none of these, or there are more than two.

    Examples
    --------
    >>> import numpy as np
    >>> [str(positive_of(np.array(two))) for two in (["abnormal", "normal"], ["MSI", "MSS"], ["cat", "dog"])]
    ['abnormal', 'MSI', 'dog']
    >>> str(positive_of(np.array(["cat", "dog"]), "cat"))
    'cat'
    """
    if given is not None:
        return _named(classes, given)
    if len(classes) != 2:
        return None
    negative = [str(label).strip().lower() in NEGATIVE for label in classes]
    return classes[0] if negative == [False, True] else classes[-1]


def _named(classes: NDArray[Any], given: Any) -> Any:
    listed = ", ".join(map(str, classes))
    if len(classes) != 2:
        raise BagwiseError(f"positive is {given!r}, and there are {len(classes)} classes ({listed}): leave it out")
    for label in classes:
        if label == given or str(label) == str(given).strip():
            return label
    raise BagwiseError(f"positive is {given!r}, and the classes are {listed}: name one of them")
