"""How the options that `bagwise.commands.options` declares get to the command line."""

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer

from bagwise.commands.options import Option, Options

__all__ = ["KNOWN_BUT_OF_LABELS", "KNOWN_TO_A_RUN", "RunFolder", "takes_options"]

KNOWN_TO_A_RUN = frozenset(
    {"label", "event", "time", "group", "weight", "split", "date", "order", "bag_features", "patch"}
)
# A cohort elsewhere may call what it says of bags otherwise.
KNOWN_BUT_OF_LABELS = KNOWN_TO_A_RUN - {"label", "event", "time", "group"}
RunFolder = Annotated[Path, "A folder that bagwise fit wrote."]


def takes_options(*, but: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take what its parameters declare, and, for each that is of `Options`, the options of that class.

    Parameters
    ----------
    but
        Fields of classes that it does not take; they keep their defaults.

    Returns
    -------
    decorator
        The command gets what was given as one object a class.

    Examples
    --------
    >>> from bagwise.commands.options import Work
    >>> @takes_options(but=("backend", "address", "device", "dtype"))
    ... def command(out: Annotated[Path, "Folder for results.", "--out"], work: Work) -> None:
    ...     print(out, work.jobs, work.resume)
    >>> list(inspect.signature(command).parameters)
    ['out', 'jobs', 'resume']
    >>> command(out=Path("results"), jobs=2, resume=True)
    results 2 True
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options: dict[str, Option] = {}
        groups: dict[str, type[Options]] = {}
        for name, parameter in inspect.signature(command).parameters.items():
            kind = parameter.annotation
            if isinstance(kind, type) and issubclass(kind, Options):
                groups[name] = kind
                options |= {field: one for field, one in kind.options().items() if field not in but}
            else:
                options[name] = Option.of(parameter)

        @wraps(command)
        def taking(**given: Any) -> None:
            said = {name: tuple(value or ()) if _repeats(options[name]) else value for name, value in given.items()}
            for name, kind in groups.items():
                said[name] = kind(**{field: said.pop(field) for field in kind.options() if field in options})
            command(**said)

        parameters = [_parameter(option) for option in options.values()]
        taking.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        taking.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return taking

    return decorate


def _repeats(option: Option) -> bool:
    return get_origin(option.kind) is tuple


def _parameter(option: Option) -> inspect.Parameter:
    """Say an option to Typer."""
    kind, default = option.kind, option.default
    if _repeats(option):
        kind = list[get_args(option.kind)[0]]  # type: ignore[misc]
        if default is not inspect.Parameter.empty:
            kind, default = kind | None, list(default) or None
    said: Any = typer.Argument(help=option.help)
    if option.flag is not None:
        said = typer.Option(option.flag, help=option.help)
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, said]
    )
