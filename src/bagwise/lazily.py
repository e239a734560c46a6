"""Names of a package that are imported when they are first used."""

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["lazily"]


def lazily(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make what a package needs to have the names that its stub imports, without importing them.

    Parameters
    ----------
    package
        Its name.
    file
        The file of its ``__init__``; the stub, with an ending of ``.pyi``, is beside it, and has a line
        ``from .module import name as name`` for each.

    Returns
    -------
    tuple
        The package's ``__getattr__``, ``__dir__`` (PEP 562) and ``__all__``.

    Examples
    --------
    >>> import bagwise
    >>> get, names, everything = lazily("bagwise", bagwise.__file__)
    >>> get("Bags").__name__, names() == everything
    ('Bags', True)
    """
    lines = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8")).body
    homes = {alias.name: line.module for line in lines if isinstance(line, ast.ImportFrom) for alias in line.names}
    names = sorted(homes)

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        return import_module(f"{package}.{name}") if home is None else getattr(import_module(f"{package}.{home}"), name)

    return get, lambda: list(names), names
