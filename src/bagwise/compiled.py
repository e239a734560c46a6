"""How functions are compiled, where loops written out beat a library's calls."""

import ctypes
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

__all__ = ["Gradient", "PythonGradient", "compiled", "compiled_once", "pasted", "summing"]

# Products may be fused into sums, which therefore have one product a sum; what is infinite or no number stays so.
_LOOPS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "nsz"}}
# Inlined, because a function that is compiled by itself as well as within another may differ in the last bit.
_INLINED: dict[str, Any] = {**_LOOPS, "forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# Sums in any order, or they would not use the processor's vectors. A loop that stores anything uses these only where
# its arrays lie far enough apart, which depends on chance: loops that sum store nothing.
_SUMMING: dict[str, Any] = {**_INLINED, "fastmath": {"reassoc", "contract", "nsz"}}
# By themselves, also where what calls them is inlined: numba would hand that down.
_APART: dict[str, Any] = {**_LOOPS, "forceinline": False}
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


def pasted(function: Function) -> Function:
    """Compile as `compiled` does, but only where it is called, and as often: for what calls functions that are large.

    LLVM optimises a compiled function, and all that it calls, once by itself and once more in every caller.

    Parameters
    ----------
    function
        Of numbers and arrays.

    Returns
    -------
    function
    """
    return cast(Function, numba.njit(**_INLINED, inline="always")(function))


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


def compiled_once(*also: ModuleType) -> Callable[[Function], Function]:
    """Compile at the first call, and keep the result beside the function's file.

    Numba looks at that file to see whether what it kept is still true; all that is compiled into the function must be
    in it, or in files that are named.

    Parameters
    ----------
    also
        Modules from which something else is compiled into it.

    Returns
    -------
    function
        Compiles a function of numbers and arrays so.
    """
    stamps = [_stamp(str(module.__file__)) for module in also]

    def compiling(function: Function) -> Function:
        try:
            kept: Any = numba.njit(**_APART, cache=True)(function)
        except RuntimeError:  # there is no folder that may be written to
            return cast(Function, numba.njit(**_APART)(function))
        index = kept._cache._cache_file
        index._source_stamp = index._source_stamp, stamps
        save = kept._cache.save_overload

        def save_if_there_is_room(*args: Any) -> None:
            with suppress(OSError):
                save(*args)

        kept._cache.save_overload = save_if_there_is_room
        return cast(Function, kept)

    return compiling


def _stamp(path: str) -> tuple[float, int]:
    status = Path(path).stat()
    return status.st_mtime, status.st_size


class Gradient:
    """The gradient of a loss at the outputs of one head, which the compiled step is handed.

    It is compiled by itself, at first use for a precision, and kept beside its own file; called from the step it costs
    some 25 ns.

    Parameters
    ----------
    function
        Takes the outputs (C,) and what is wanted (W,), and writes the gradient (C,) into its third argument: loops over
        numbers, as numba compiles them.

    Examples
    --------
    >>> @Gradient
    ... def of_half_squares(outputs, wanted, gradient):
    ...     for c in range(len(outputs)):
    ...         gradient[c] = outputs[c] - wanted[c]
    >>> of_half_squares.of(np.dtype(np.float32)) is of_half_squares.of(np.dtype(np.float32))
    True
    """

    def __init__(self, function: Callable[[Any, Any, Any], None]) -> None:
        self._function = function
        self._compiled: dict[str, Any] = {}

    def of(self, dtype: np.dtype[Any]) -> Any:
        """Give the compiled function for a precision, float32 or float64."""
        if dtype.name not in self._compiled:
            signature = _gradient_signature(dtype)
            try:
                made = numba.cfunc(signature, **_LOOPS, cache=True)(self._function)
            except (RuntimeError, OSError):  # there is no folder that may be written to, or no room
                made = numba.cfunc(signature, **_LOOPS)(self._function)
            self._compiled[dtype.name] = made
        return self._compiled[dtype.name]


class PythonGradient:
    """A gradient that is computed in Python, as the compiled step takes it.

    Parameters
    ----------
    function
        Takes outputs (C,) and what is wanted (W,), arrays that are not kept, and gives the gradient (C,).
    dtype
        float32 or float64.

    Attributes
    ----------
    error : BaseException or None
        What the function raised: nothing can leave a compiled function, so the caller must look.
    """

    def __init__(self, function: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]], dtype: np.dtype[Any]) -> None:
        self.error: BaseException | None = None

        def seen(address: int, count: int) -> NDArray[Any]:
            held: Any = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
            return np.ndarray(count, dtype, held)

        def call(outputs: int, wanted: int, gradient: int, outputs_count: int, wanted_count: int) -> None:
            there = seen(gradient, outputs_count)
            there[:] = np.nan
            if self.error is None:
                try:
                    there[:] = function(seen(outputs, outputs_count), seen(wanted, wanted_count))
                except BaseException as error:
                    self.error = error

        pointer, number = ctypes.c_void_p, ctypes.c_ssize_t
        callback = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, number, number)(call)

        def called(outputs: Any, wanted: Any, gradient: Any) -> None:
            callback(outputs.ctypes.data, wanted.ctypes.data, gradient.ctypes.data, len(outputs), len(wanted))

        self._callback = callback  # what is compiled has its address only
        self.compiled = numba.cfunc(_gradient_signature(dtype))(called)


def _gradient_signature(dtype: np.dtype[Any]) -> Any:
    array = types.Array(numba.from_dtype(dtype), 1, "C")
    return types.void(array, array, array)
