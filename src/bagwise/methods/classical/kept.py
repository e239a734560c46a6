"""What was learnt, taken apart into arrays and what JSON can hold, and put together again from a file that may lie.

What can be kept is a dataclass or a named tuple whose annotations say what its fields are: an array, with the type of
its numbers and a letter for each axis, as in ``Annotated[NDArray[np.float64], "N D"]``, where the same letter is the
same length; a number; True or False; another that can be kept, or a tuple of such. Nothing else, so that a file needs
no code, and all that a file says of types, shapes and numbers is looked at in one place. What else must hold, such as
that an index is in range, its ``check`` says.
"""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

__all__ = ["Apart", "apart", "together"]


class Apart(NamedTuple):
    """What an object consists of.

    Attributes
    ----------
    told
        What JSON can hold: numbers, and the names of kinds.
    arrays
        By the path to each, as in ``"learners.0.svm.support"``.
    """

    told: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def apart(whole: Any) -> Apart:
    """Take apart what can be kept.

    Parameters
    ----------
    whole
        A dataclass or a named tuple, as the module says.

    Returns
    -------
    Apart

    Examples
    --------
    >>> from bagwise.methods.classical.machines import Linear
    >>> apart(Linear(np.array([1.0, 2.0]), 0.5))
    Apart(told={'kind': 'Linear', 'intercept': 0.5}, arrays={'weights': array([1., 2.])})
    """
    told: dict[str, Any] = {"kind": type(whole).__name__}
    arrays: dict[str, NDArray[Any]] = {}
    for name, hint in get_type_hints(type(whole), include_extras=True).items():
        value = getattr(whole, name)
        if get_origin(hint) is Annotated:
            arrays[name] = value
            continue
        parts = value if isinstance(value, tuple) and get_origin(hint) is tuple else (value,)
        found = [apart(part) if hasattr(part, "__annotations__") else Apart(part, {}) for part in parts]
        told[name] = [part.told for part in found] if get_origin(hint) is tuple else found[0].told
        for number, part in enumerate(found):
            path = f"{name}.{number}" if get_origin(hint) is tuple else name
            arrays |= {f"{path}.{inner}": array for inner, array in part.arrays.items()}
    return Apart(told, arrays)


def together(kinds: Mapping[str, type], told: Any, arrays: dict[str, NDArray[Any]], path: str = "") -> Any:
    """Put together what was taken apart, and see that all of it is what it must be.

    Parameters
    ----------
    kinds
        What may be made, by name.
    told, arrays
        What `apart` gave; arrays are taken out as they are used, so that what is left has no use.
    path
        Where its arrays are.

    Returns
    -------
    object
        As it was.

    Raises
    ------
    ValueError, TypeError, KeyError
        If something is missing, or not what the annotation of its field says.

    Examples
    --------
    >>> from bagwise.methods.classical.machines import Linear
    >>> told, arrays = apart(Linear(np.array([1.0, 2.0]), 0.5))
    >>> together({"Linear": Linear}, told, arrays).decide(np.array([[1.0, 1.0]])).tolist()
    [3.5]
    >>> together({"Linear": Linear}, told, {"weights": np.array([1.0, np.nan])})
    Traceback (most recent call last):
        ...
    ValueError: the tensor weights holds a NaN or an infinity
    """
    if not isinstance(told, dict):
        raise TypeError(f"{path or 'what was learnt'} is none")
    kind = kinds[told["kind"]]
    hints = get_type_hints(kind, include_extras=True)
    lengths: dict[str, int] = {}
    fields: dict[str, Any] = {}
    for name, hint in hints.items():
        here = f"{path}.{name}" if path else name
        if get_origin(hint) is Annotated:
            fields[name] = _array(here, hint, arrays, lengths)
        elif get_origin(hint) is tuple:
            if not isinstance(told[name], list):
                raise TypeError(f"{here} is no list")
            values = [
                _value(kinds, get_args(hint)[0], one, arrays, f"{here}.{number}")
                for number, one in enumerate(told[name])
            ]
            fields[name] = tuple(values)
        else:
            fields[name] = _value(kinds, hint, told[name], arrays, here)
    return kind(**fields)


def _value(kinds: Mapping[str, type], hint: Any, told: Any, arrays: dict[str, NDArray[Any]], path: str) -> Any:
    wanted = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if told is None and NoneType in wanted:
        return None
    if hint in (bool, int, float):
        if type(told) is not hint and not (hint is float and type(told) is int):
            raise TypeError(f"{path} is {told!r}")
        if not abs(told) < np.inf:
            raise ValueError(f"{path} is {told!r}")
        return hint(told)
    made = together(kinds, told, arrays, path)
    if not isinstance(made, wanted):
        raise TypeError(f"{path} is a {told['kind']}")
    return made


def _array(path: str, hint: Any, arrays: dict[str, NDArray[Any]], lengths: dict[str, int]) -> NDArray[Any]:
    """Take an array that is of the type and the shape that its annotation says."""
    dtype = np.dtype(get_args(get_args(get_args(hint)[0])[1])[0])
    axes = get_args(hint)[1].split()
    array = arrays.pop(path)
    if array.dtype != dtype or (axes != ["..."] and array.ndim != len(axes)):
        raise ValueError(f"the tensor {path} is {array.dtype} of shape {array.shape}, and must be {dtype} of {axes}")
    for axis, length in zip(axes, array.shape, strict=axes != ["..."]):
        if lengths.setdefault(axis, length) != length:
            raise ValueError(f"the tensor {path} has the shape {array.shape}, which is not that of the others")
    if not np.isfinite(array).all():
        raise ValueError(f"the tensor {path} holds a NaN or an infinity")
    return array
