"""Triton's kernels, where there is Triton; torch's operations compute the same without it, only slower."""

from functools import cache
from importlib.util import find_spec
from types import ModuleType

__all__ = ["fused"]


@cache
def fused() -> ModuleType | None:
    """Give the kernels of `bagwise.training.triton_kernels`; None where Triton is not installed.

    Returns
    -------
    module or None
    """
    if find_spec("triton") is None:
        return None
    from bagwise.training import triton_kernels

    return triton_kernels
