"""The parameters of a method, for whoever documents them or reads them from text."""

from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import signature
from typing import Any

from bagwise.errors import BagwiseError
from bagwise.methods.base import rules_for
from bagwise.methods.recipes import is_open
from bagwise.parameters import Rule

__all__ = ["Parameter", "assigned", "check_known", "parameters_of"]

_WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method.

    Attributes
    ----------
    name
        Its name.
    rule
        What it must be.
    default
        What it is where nobody says.
    values
        Where that leaves it open: for each kind of data the value that it takes, or a tuple of the values from which
        the training bags choose.
    """

    name: str
    rule: Rule
    default: Any
    values: Mapping[str, Any] | tuple[Any, ...] = ()

    @property
    def told(self) -> str:
        """The default in words: the value that it takes, and where."""
        if isinstance(self.values, tuple):
            chosen = ", chosen on the training bags" * (len(self.values) > 1)
            return " or ".join(map(repr, self.values or (self.default,))) + chosen
        where: dict[str, list[str]] = {}
        for kind, value in self.values.items():
            where.setdefault(repr(value), []).append(kind)
        return ", ".join(f"{value} ({', '.join(kinds)})" * (len(where) > 1) or value for value, kinds in where.items())


def parameters_of(kind: Any) -> dict[str, Parameter]:
    """Give the parameters of a method.

    Parameters
    ----------
    kind
        Its class.

    Returns
    -------
    dict
        By name, in the order of the signature.

    Examples
    --------
    >>> import bagwise as bw
    >>> found = parameters_of(bw.AttentionMIL)
    >>> found["epochs"].values["vectors"], found["epochs"].rule.said
    (50, 'a whole number from 1 on, or None')
    >>> found["epochs"].told
    '50 (vectors, ...), 40 (digits, ...), 200 (enough bags, at most), 2000 (steps of few bags of vectors, at least)'
    """
    defaults = {name: parameter.default for name, parameter in signature(kind).parameters.items()}
    left_open = {name: values for name, values in kind._left_open().items() if is_open(name, defaults.get(name))}
    return {
        name: Parameter(name, rule, defaults[name], left_open.get(name, ())) for name, rule in rules_for(kind).items()
    }


def assigned(kind: Any, texts: Iterable[str]) -> dict[str, Any]:
    """Read parameters of a method that were written as NAME=VALUE.

    A value is true, false, none, or a number, a list or a mapping as Python writes them; what is none of these, or is
    not what the parameter must be, is taken as text.

    Parameters
    ----------
    kind
        The class of the method.
    texts
        Such as ``["epochs=20", "optimizer=adam", "class_weight={'ill': 3, 'well': 1}"]``.

    Returns
    -------
    dict
        What the class takes, by name.

    Raises
    ------
    BagwiseError
        If the class has no such parameter, a value is not what it must be, or a parameter is given twice.

    Examples
    --------
    >>> import bagwise as bw
    >>> assigned(bw.AttentionMIL, ["gated=true", "l2=1e-4", "optimizer=adam", "patience=none"])
    {'gated': True, 'l2': 0.0001, 'optimizer': 'adam', 'patience': None}
    >>> assigned(bw.AttentionMIL, ["epoch=3"])
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: AttentionMIL has no parameter 'epoch': did you mean 'epochs'?
    """
    given: dict[str, Any] = {}
    rules = rules_for(kind)
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise BagwiseError(f"a parameter is set by NAME=VALUE, and {text!r} has no '='")
        check_known(name, kind.__name__, rules)
        if name in given:
            raise BagwiseError(f"the parameter {name!r} is set twice: set it once")
        readings = [*_readings(value.strip())]
        given[name] = next(filter(rules[name].holds, readings), readings[0])
        rules[name].check(name, given[name])
    return given


def check_known(name: str, owner: str, known: Iterable[str]) -> None:
    """Refuse a parameter that there is not, with those whose names are nearest to it.

    Parameters
    ----------
    name
        The parameter.
    owner
        What does not have it, for the message.
    known
        Those that it has.

    Raises
    ------
    BagwiseError
        If it has no such parameter.

    Examples
    --------
    >>> check_known("epochs", "MI-Net", ["epochs", "l2"])
    """
    known = [*known]
    if name in known:
        return
    near = get_close_matches(name, known)
    cure = f"did you mean {' or '.join(map(repr, near))}?" if near else f"its parameters are {', '.join(known)}"
    raise BagwiseError(f"{owner} has no parameter {name!r}: {cure}")


def _readings(text: str) -> Iterator[Any]:
    """Give what a text may mean, likeliest first."""
    if text.lower() in _WORDS:
        yield _WORDS[text.lower()]
    else:
        try:
            value = literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            pass
        else:
            yield value
            if isinstance(value, Sequence) and not isinstance(value, str):
                yield from (tuple(value), list(value))
    yield text
