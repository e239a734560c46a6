"""Text that came with data, made safe to store and to show, and names for a user's own code."""

import unicodedata
from functools import partial
from typing import Any

__all__ = ["called", "encodable", "kind_of", "printable", "told_seconds"]

# Control and format characters, halves of surrogate pairs, and what ends a line: each can make a terminal do something.
_ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def encodable(text: str) -> str:
    r"""Escape halves of surrogate pairs, which are no characters, so that no file can hold them.

    Python makes them of the bytes of a file's name that is no UTF-8.

    Parameters
    ----------
    text
        A name.

    Returns
    -------
    str
        The same text, almost always.

    Examples
    --------
    >>> encodable("étude 7"), encodable("\udcff.csv")
    ('étude 7', '\\udcff.csv')
    """
    return text.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    r"""Escape what a terminal would act on or cannot show, as Python does in a string.

    Parameters
    ----------
    text
        A name, a label, a sentence; nothing in it is trusted.

    Returns
    -------
    str
        One line.

    Examples
    --------
    >>> printable("étude 7"), printable("a\x1b[31mb\n"), printable("\u202egnp.exe"), printable("\udcff.csv")
    ('étude 7', 'a\\x1b[31mb\\n', '\\u202egnp.exe', '\\udcff.csv')
    """
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in _ACTING else character
        for character in text
    )


def called(part: Any) -> str:
    """Name a class or function of a user's own, so that the name is the same in every process.

    Parameters
    ----------
    part
        A class, a function, `functools.partial` of one, or an object, which is named by its class, or by what it
        ``stands_for``.

    Returns
    -------
    str

    Examples
    --------
    >>> called(unicodedata.normalize), called(partial(sorted, reverse=True))
    ('unicodedata.normalize', 'builtins.sorted(reverse=True)')
    """
    if isinstance(part, partial):
        given = [*map(_told, part.args), *(f"{name}={_told(value)}" for name, value in part.keywords.items())]
        return f"{called(part.func)}({', '.join(given)})"
    if isinstance(original := getattr(part, "stands_for", None), str):
        return original
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}.{named.__qualname__}"


def _told(argument: Any) -> str:
    return called(argument) if callable(argument) else repr(argument)


def kind_of(model: Any) -> str:
    """Say what was given for a method, for a message.

    Parameters
    ----------
    model
        Anything.

    Returns
    -------
    str

    Examples
    --------
    >>> kind_of(3), kind_of(int)
    ('an object of type int', 'the class int itself')
    """
    if isinstance(model, type):
        return f"the class {model.__name__} itself"
    return f"an object of type {type(model).__name__}"


def told_seconds(seconds: float) -> str:
    """Say how long something takes, in the unit that people would choose.

    Parameters
    ----------
    seconds
        Not negative.

    Returns
    -------
    str

    Examples
    --------
    >>> told_seconds(0.123), told_seconds(42.4), told_seconds(600), told_seconds(9000)
    ('0.12 s', '42 s', '10 min', '2 h')
    """
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
