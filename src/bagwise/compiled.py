"""How functions are compiled, where loops written out beat a library's calls."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import numba

__all__ = ["compiled", "compiled_once", "summing"]

# Products may be fused into sums, which therefore have one product a sum; what is infinite or no number stays so.
_LOOPS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "nsz"}}
# Inlined, because a function that is compiled by itself as well as within another may differ in the last bit.
_INLINED: dict[str, Any] = {**_LOOPS, "forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# Sums in any order, or they would not use the processor's vectors. A loop that stores anything uses these only where
# its arrays lie far enough apart, which depends on chance: loops that sum store nothing.
_SUMMING: dict[str, Any] = {**_INLINED, "fastmath": {"reassoc", "contract", "nsz"}}
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile into the compiled functions that call it.

    Parameters
    ----------
    function
        Of numbers and arrays.

    Returns
    -------
    function
    """
    return cast(Function, numba.njit(**_INLINED)(function))


def summing(function: Function) -> Function:
    """Compile as `compiled` does, with sums in any order.

    Parameters
    ----------
    function
        Stores nothing.

    Returns
    -------
    function
    """
    return cast(Function, numba.njit(**_SUMMING)(function))


def compiled_once(function: Function) -> Function:
    """Compile at the first call from Python, and keep the result beside the function's file.

    Numba looks at that file alone to see whether what it kept is still true, so all that is compiled into the function
    must be in it.

    Parameters
    ----------
    function
        Of numbers and arrays.

    Returns
    -------
    function
    """
    try:
        kept: Any = numba.njit(**_LOOPS, cache=True)(function)
    except RuntimeError:  # there is no folder that may be written to
        return cast(Function, numba.njit(**_LOOPS)(function))
    save = kept._cache.save_overload

    def save_if_there_is_room(*args: Any) -> None:
        with suppress(OSError):
            save(*args)

    kept._cache.save_overload = save_if_there_is_room
    return cast(Function, kept)
