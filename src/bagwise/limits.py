"""Limits of numbers, as the library annotated-types has them: for machines that have NumPy and torch alone."""

from dataclasses import dataclass

__all__ = ["Ge", "Gt", "Lt"]


@dataclass(frozen=True)
class Ge:
    """At least this."""

    ge: float


@dataclass(frozen=True)
class Gt:
    """Above this."""

    gt: float


@dataclass(frozen=True)
class Lt:
    """Below this."""

    lt: float
