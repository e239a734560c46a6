"""What a class is: which words say that a label is missing, and which of two classes is the positive one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.errors import BagwiseError

__all__ = ["ASSUMPTION", "MISSING", "NEGATIVE", "Classes", "positive_of"]

# By which tables say that there is nothing, in any case. "none" is not among them: it is a class in many.
MISSING = frozenset(("", "na", "n/a", "nan", "null"))

# What the class without the finding is called, and nothing else: no stems, no parts of words. In any case, and with a
# hyphen or an underscore where there is a space here. docs/your-data.md has the same list.
NEGATIVE = frozenset(
    (
        *("no", "non", "not", "without", "free", "none", "absent", "absence", "neg", "negative", "n", "false", "f"),
        *("0", "0.0", "-1", "-1.0", "-", "normal", "benign", "healthy", "well", "typical", "unaffected", "uninvolved"),
        *("uninfected", "inactive", "control", "controls", "healthy control", "healthy controls", "hc", "placebo"),
        *("vehicle", "sham", "mock", "untreated", "no tumor", "no tumour", "non tumor", "non tumour", "tumor free"),
        *("tumour free", "no cancer", "non cancer", "cancer free", "no disease", "disease free", "no finding"),
        *("no findings", "wild type", "wildtype", "wt", "unmutated", "unmethylated", "intact", "mss", "msi l", "pmmr"),
        *("proficient", "hrp", "stable", "euploid", "low", "alive", "survived", "retained", "stayed", "good", "ok"),
        *("clean", "genuine", "legitimate", "background"),
    )
)


# What it means that a class is positive, as commands and reports say it.
ASSUMPTION = "a bag is positive if at least one of its instances is (the standard MIL assumption)"


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of a problem: their order in answers, their order in learning, and which one is positive.

    Answers have a column a class, in the order of the names, which for a model is sorted, as scikit-learn has it.
    Learning numbers two classes as [negative, positive], whatever they are called, and more than two as they are
    sorted.

    Attributes
    ----------
    names
        The classes, in the order of the columns.
    positive
        The one that the standard MIL assumption is about; None where there are more than two.

    Examples
    --------
    >>> classes = Classes.of(np.array(["normal", "cancer", "normal"]))
    >>> classes.names.tolist(), str(classes.positive), classes.codes(np.array(["cancer", "normal"])).tolist()
    (['cancer', 'normal'], 'cancer', [1, 0])
    >>> classes.reordered(np.array([[0.3, 0.7]])).tolist()
    [[0.7, 0.3]]
    """

    names: NDArray[Any]
    positive: Any

    @classmethod
    def of(cls, labels: ArrayLike, positive: Any = None) -> "Classes":
        """Find the classes of labels, and which is positive, as `positive_of` does."""
        names = np.unique(labels)
        return cls(names, positive_of(names, positive))

    @property
    def column(self) -> int | None:
        """The place of the positive class among the names."""
        return None if self.positive is None else self.names.tolist().index(self.positive)

    def same_as(self, other: "Classes") -> bool:
        """Say whether these are the same classes, with the same one positive."""
        return np.array_equal(self.names, other.names) and self.column == other.column

    def codes(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """Give the number that each label, of a model's classes, has in learning; of other labels, any number."""
        places = np.searchsorted(self.names, labels).clip(max=len(self.names) - 1)
        codes: NDArray[np.int64] = self._order[places]
        return codes

    @property
    def in_learning(self) -> NDArray[Any]:
        """The names in the order of their numbers in learning."""
        return self.names[self._order]

    def reordered(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Bring a column a class, the last axis, from the order of learning to that of the names, or back."""
        return columns if self.column != 0 else columns[..., ::-1].copy()

    def predicted(self, probabilities: NDArray[Any]) -> NDArray[Any]:
        """Give the likeliest class; of equals the one that is first in learning, so that a half is not positive."""
        likeliest: NDArray[Any] = self.in_learning[self.reordered(probabilities).argmax(axis=-1)]
        return likeliest

    @property
    def _order(self) -> NDArray[np.int64]:
        """The number in learning of each name; of two, it is also the place of each number among the names."""
        order = np.arange(len(self.names))
        return order if self.column != 0 else order[::-1]


def positive_of(classes: Sequence[Any] | NDArray[Any], given: Any = None) -> Any:
    """Say which of two classes is the positive one: the one that the standard MIL assumption is about.

    A bag is positive if it holds a positive instance; so learning at the level of instances, scores of instances,
    precision, recall and the AUC are about this class.

    Parameters
    ----------
    classes
        The classes, sorted.
    given
        The class that the user names, as it is or as it is written. None: where one of two words is called as
        `NEGATIVE` has it, the other; else the last, which is the larger of two numbers. What both begin or end with is
        left aside: of "KRAS mutated" and "KRAS wildtype" the second is negative, and of "tumour" and "tumour-free".

    Returns
    -------
    The class, or None where there are more than two.

    Raises
    ------
    BagwiseError
        If the class that was named is none of these, or there are more than two.

    Examples
    --------
    >>> pairs = ["abnormal", "normal"], ["MSI", "MSS"], ["fracture", "no fracture"], ["high-risk", "low-risk"]
    >>> [positive_of(two) for two in pairs]
    ['abnormal', 'MSI', 'fracture', 'high-risk']
    >>> positive_of(["cat", "dog"], "cat")
    'cat'
    """
    if given is not None:
        return _named(classes, given)
    if len(classes) != 2:
        return None
    first, last = classes
    if not isinstance(first, str) or not isinstance(last, str):
        return last
    negative = [_is_negative(*two) for two in ((first, last), (last, first))]
    return first if negative == [False, True] else last


def _is_negative(label: str, other: str) -> bool:
    """Say whether a class is called as one without the finding, beside the other."""
    words, others = _words(label), _words(other)
    own = words
    for _ in range(2):  # what both begin with, and then what both end with
        while own and others and own[0] == others[0]:
            own, others = own[1:], others[1:]
        own, others = own[::-1], others[::-1]
    return " ".join(words) in NEGATIVE or " ".join(own) in NEGATIVE


def _words(label: str) -> list[str]:
    text = re.sub(r"(?<=\w)[-\s_]+(?=\w)", " ", label.strip().lower())
    text = re.sub(r"\bnon(?=[^\W_]{3})", "non ", text)
    return re.sub(r"(?<=\w)([-+])$", r" \1", text).split()


def _named(classes: Sequence[Any] | NDArray[Any], given: Any) -> Any:
    listed = ", ".join(map(str, classes))
    if len(classes) != 2:
        raise BagwiseError(f"positive is {given!r}, and there are {len(classes)} classes ({listed}): leave it out")
    for label in classes:
        if _same(label, given):
            return label
    raise BagwiseError(f"positive is {given!r}, and the classes are {listed}: name one of them")


def _same(label: Any, given: Any) -> bool:
    """Say whether a class is meant, as it is or as it is written: 1 may be called 1, 1.0, "1" and "1.0"."""
    if str(label) == str(given).strip():
        return True
    try:
        return not isinstance(label, str) and float(label) == float(given)
    except (TypeError, ValueError):
        return False
