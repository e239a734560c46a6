"""How commands load the libraries that they use."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["loading"]


@contextmanager
def loading() -> Iterator[None]:
    """Load libraries without collecting garbage: the collector would go through all of them, often, and find nothing.

    It took a seventh of the time of a short command, and as much again at its end. What was loaded it leaves alone for
    good.

    Examples
    --------
    >>> with loading():
    ...     import decimal
    >>> gc.isenabled()
    True
    """
    before = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if len(sys.modules) > before:
            gc.freeze()
