"""How commands load the libraries that they use."""

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["loading"]


@contextmanager
def loading() -> Iterator[None]:
    """Load libraries without collecting garbage: the collector would go through all of them, often, and find nothing.

    It took a seventh of the time of a short command, and as much again at its end. What was loaded it leaves alone for
    good. Who stops the command meanwhile waits until all is loaded: an exception that comes out of nowhere while a
    library in C++ sets itself up may end the process without a word.

    Examples
    --------
    >>> with loading():
    ...     import decimal
    >>> gc.isenabled()
    True
    """
    before = len(sys.modules)
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if len(sys.modules) > before:
            gc.freeze()
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
