"""Text that came with data, made safe to store and to show."""

import unicodedata

__all__ = ["encodable", "printable"]

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
