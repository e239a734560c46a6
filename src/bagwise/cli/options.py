"""How the options that `bagwise.commands.options` declares get to the command line."""

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer

from bagwise.commands.options import Data, Option, Options, Output, Training, Work

__all__ = [
    "KNOWN_TO_A_RUN",
    "Address",
    "AsJson",
    "Backend",
    "DataDir",
    "Device",
    "Epochs",
    "Jobs",
    "Positive",
    "Resume",
    "RunFolder",
    "Seed",
    "takes_options",
]

KNOWN_TO_A_RUN = frozenset({"label", "group", "weight", "patch"})


def takes_options(*, but: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command, in the place of each parameter that is of `Options`, the options of that class.

    Parameters
    ----------
    but
        Fields that it does not take; they keep their defaults.

    Returns
    -------
    decorator
        The command gets what was given as one object a class.

    Examples
    --------
    >>> @takes_options(but=("backend", "address"))
    ... def command(work: Work) -> None:
    ...     print(work.jobs, work.resume)
    >>> list(inspect.signature(command).parameters)
    ['jobs', 'resume']
    >>> command(jobs=2, resume=True)
    2 True
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters: list[inspect.Parameter] = []
        groups: dict[str, type[Options]] = {}
        for parameter in inspect.signature(command).parameters.values():
            kind = parameter.annotation
            if isinstance(kind, type) and issubclass(kind, Options):
                groups[parameter.name] = kind
                parameters += [_parameter(one) for name, one in kind.options().items() if name not in but]
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @wraps(command)
        def taking(**given: Any) -> None:
            for name, kind in groups.items():
                options = kind.options()
                said = {field: given.pop(field) for field in options if field in given}
                given[name] = kind(
                    **{
                        field: tuple(value or ()) if _repeats(options[field]) else value
                        for field, value in said.items()
                    }
                )
            command(**given)

        taking.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        taking.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return taking

    return decorate


def _repeats(option: Option) -> bool:
    return get_origin(option.kind) is tuple


def _parameter(option: Option) -> inspect.Parameter:
    """Say an option to Typer."""
    kind, default = option.kind, option.default
    if option.flag is None:
        default = inspect.Parameter.empty
    if _repeats(option):
        kind, default = list[get_args(option.kind)[0]] | None, list(option.default) or None  # type: ignore[misc]
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, _said(option)]
    )


def _said(option: Option) -> Any:
    if option.flag is None:
        return typer.Argument(help=option.help)
    return typer.Option(option.flag, help=option.help)


def _of(group: type[Options], name: str) -> Any:
    return _said(group.options()[name])


# For commands that take one option of a class alone.
RunFolder = Annotated[Path, typer.Argument(help="A folder that bagwise fit wrote.")]
DataDir = Annotated[Path | None, _of(Data, "data_dir")]
Epochs = Annotated[int | None, _of(Training, "epochs")]
Positive = Annotated[str | None, _of(Training, "positive")]
Seed = Annotated[int, _of(Training, "seed")]
Jobs = Annotated[int, _of(Work, "jobs")]
Backend = Annotated[str, _of(Work, "backend")]
Address = Annotated[str | None, _of(Work, "address")]
Device = Annotated[str, _of(Work, "device")]
Resume = Annotated[bool, _of(Work, "resume")]
AsJson = Annotated[bool, _of(Output, "json")]
