"""What a parameter may be: said once, by its annotation, for whoever checks, parses or documents it.

An annotation says the type, and inside `typing.Annotated`, in the words of the library annotated-types, the range:
`Annotated[float, Gt(0)] | None`. A `Literal` lists choices and `Among` the names of a registry; a text says in words of
its own what the rest of the annotation means.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, signature
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from bagwise.errors import BagwiseError

try:
    from annotated_types import Ge, Gt, Lt
except ImportError:  # a machine with a GPU may have NumPy and torch alone
    from bagwise.limits import Ge, Gt, Lt  # type: ignore[assignment]

__all__ = [
    "Among",
    "Count",
    "NonNegative",
    "Positive",
    "Rule",
    "Share",
    "annotations_of",
    "check_parameters",
    "rule_of",
    "rules_of",
]


Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]

_ORDERS = {"ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt}


@dataclass(frozen=True, eq=False)  # a registry has no hash
class Among:
    """In `Annotated[str, Among(REGISTRY)]`: a name that the registry has when it is asked.

    Attributes
    ----------
    names
        The registry.

    Examples
    --------
    >>> rule_of(Annotated[str, Among({"a": 1, "b": 2})]).said
    "'a' or 'b'"
    """

    names: Iterable[str]


@dataclass(frozen=True)
class Rule:
    """What a value must be.

    Attributes
    ----------
    said
        In words, to follow "it must be".
    holds
        Says of a value whether it will do.
    """

    said: str
    holds: Callable[[Any], bool]

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that will not do.

        Parameters
        ----------
        name
            Of the parameter.
        value
            Its value.

        Raises
        ------
        BagwiseError
            If it is none of what it must be.

        Examples
        --------
        >>> rule_of(Count).check("epochs", 0)
        Traceback (most recent call last):
            ...
        bagwise.errors.BagwiseError: epochs is 0: it must be a whole number from 1 on
        """
        if not self.holds(value):
            raise BagwiseError(f"{name} is {value!r}: it must be {self.said}")


def rule_of(annotation: Any) -> Rule:
    """Read what an annotation says of a value.

    Parameters
    ----------
    annotation
        A type, a union of types, a `Literal`, or any of them in `Annotated` with the limits of annotated-types, `Among`
        or a text. What cannot be read lets everything pass, as `Any` does.

    Returns
    -------
    Rule
        Numbers are finite, those of numpy are taken like Python's, and True and False are no numbers.

    Examples
    --------
    >>> rule_of(Count | None).said, rule_of(Literal["auto"] | bool).said
    ('a whole number from 1 on, or None', "'auto', True or False")
    >>> from annotated_types import Interval
    >>> rule_of(Share).said, rule_of(Annotated[float, Interval(gt=0, le=0.5)]).said
    ('a number from 0 to below 1', 'a number above 0 and at most 0.5')
    >>> rule_of(Share).holds(np.float32(0.5)), rule_of(Share).holds(True)
    (True, False)
    """
    rules = sorted(_alternatives(annotation), key=lambda rule: rule.said == "None")
    *others, last = [rule.said for rule in rules]
    said = f"{', '.join(others)}{',' * (last == 'None')} or {last}" if others else last
    return Rule(said, lambda value: any(rule.holds(value) for rule in rules))


def annotations_of(kind: type) -> dict[str, Any]:
    """Give the annotation of each parameter of a class.

    Parameters
    ----------
    kind
        A dataclass or another class; what it inherits is looked up where it stands.

    Returns
    -------
    dict
        By name, in the order of the signature; `Any` where there is none, or it names what is not there.
    """
    hints: dict[str, Any] = {}
    for annotated in (kind, kind.__init__):  # type: ignore[misc]
        try:
            hints |= get_type_hints(annotated, include_extras=True)
        except (NameError, TypeError, AttributeError):  # of a user's own, meant for a type checker alone
            continue
    named = [
        name
        for name, parameter in signature(kind).parameters.items()
        if parameter.kind not in (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
    ]
    return {name: hints.get(name, Any) for name in named}


@cache
def rules_of(kind: type) -> dict[str, Rule]:
    """Give what each parameter of a class must be.

    Parameters
    ----------
    kind
        The class.

    Returns
    -------
    dict
        By name.
    """
    return {name: rule_of(annotation) for name, annotation in annotations_of(kind).items()}


def check_parameters(holder: Any, rules: Mapping[str, Rule] | None = None) -> None:
    """Refuse an object one of whose parameters is not what it must be.

    Parameters
    ----------
    holder
        Has its parameters as attributes, as dataclasses and estimators do.
    rules
        By name; None takes those of its class.

    Raises
    ------
    BagwiseError
        If a value will not do.
    """
    kind: Any = type(holder)
    for name, rule in (rules_of(kind) if rules is None else rules).items():
        rule.check(name, getattr(holder, name))


def _alternatives(annotation: Any) -> Iterator[Rule]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _narrowed(arguments[0], annotation.__metadata__)
    elif origin in (Union, UnionType):
        for argument in arguments:
            yield from _alternatives(argument)
    elif origin is Literal:
        yield from map(_choice, arguments)
    elif annotation in (None, NoneType):
        yield Rule("None", lambda value: value is None)
    elif annotation is bool:
        yield from map(_choice, (True, False))
    elif annotation in (int, float):
        yield _number(annotation, ())
    elif annotation is str:
        yield Rule("text", lambda value: isinstance(value, str))
    else:
        yield _instance(origin or annotation, arguments)


def _narrowed(annotation: Any, metadata: Sequence[Any]) -> Iterator[Rule]:
    limits = [
        part for one in metadata for part in (one if hasattr(one, "__is_annotated_types_grouped_metadata__") else [one])
    ]
    named = next((limit for limit in limits if isinstance(limit, Among)), None)
    words = next((limit for limit in limits if isinstance(limit, str)), None)
    if named is not None:
        yield from map(_choice, named.names)
        return
    rule = _number(annotation, limits) if annotation in (int, float) else rule_of(annotation)
    tests = [limit.func for limit in limits if hasattr(limit, "func")]
    yield Rule(words or rule.said, lambda value: rule.holds(value) and all(test(value) for test in tests))


def _choice(choice: Any) -> Rule:
    def holds(value: Any) -> bool:
        both = isinstance(choice, bool) == isinstance(value, bool | np.bool_)  # 1 is no True
        return both and isinstance(value, type(choice) | np.bool_) and bool(value == choice)

    return Rule(repr(choice), holds)


def _number(kind: type, limits: Iterable[Any]) -> Rule:
    numbers = Integral if kind is int else Real
    bounds = {name: getattr(limit, name) for limit in limits for name in _ORDERS if hasattr(limit, name)}
    said = "a whole number" if kind is int else "a number"
    if "ge" in bounds:
        said += f" from {bounds['ge']}"
        upper = {"le": " to {}", "lt": " to below {}"}
        said += "" if bounds.keys() & upper else " on"
    else:
        said += f" above {bounds['gt']}" if "gt" in bounds else ""
        both = " and" if "gt" in bounds else ""
        upper = {"le": both + " at most {}", "lt": both + " below {}"}
    said += "".join(words.format(bounds[name]) for name, words in upper.items() if name in bounds)

    def holds(value: Any) -> bool:
        if not isinstance(value, numbers) or isinstance(value, bool) or not abs(value) < np.inf:  # type: ignore[operator]
            return False
        return all(_ORDERS[name](value, bound) for name, bound in bounds.items())

    return Rule(said, holds)


def _instance(kind: Any, arguments: Sequence[Any]) -> Rule:
    """Make the rule of a class, of whose parts a container's arguments say what they must be."""
    try:
        isinstance(None, kind)
    except TypeError:  # Any, or what only a type checker can tell
        return Rule("anything", lambda value: True)  # noqa: ARG005
    if kind is Callable:
        return Rule("a function", callable)
    names = {list: "a list", tuple: "a tuple", Sequence: "a list", dict: "a mapping", Mapping: "a mapping"}
    name = names.get(kind, f"a {kind.__name__}")
    alike = kind is not tuple or arguments[1:] == (Ellipsis,)
    if kind not in names or not arguments or not alike:
        return Rule(name, lambda value: isinstance(value, kind))
    part = "value " if issubclass(kind, Mapping) else ""
    each = rule_of(arguments[0] if kind is tuple else arguments[-1])

    def holds(value: Any) -> bool:
        if not isinstance(value, kind) or isinstance(value, str):
            return False
        return all(map(each.holds, value.values() if isinstance(value, Mapping) else value))

    return Rule(f"{name}, each {part}{each.said}", holds)
