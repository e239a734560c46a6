"""What files of models have in common, whatever models they hold: their name, their format, and what is refused."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bagwise._version import __version__
from bagwise.checks import is_count
from bagwise.errors import BagwiseError
from bagwise.feature_columns import Column
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.targets.registry import TARGETS

__all__ = [
    "AVERAGED",
    "CLASSICAL",
    "FILE",
    "FORMAT",
    "UNFIT",
    "as_written",
    "check_format",
    "columns_in",
    "columns_told",
    "deciding",
    "family_in",
    "reason",
    "target_in",
]

# Of what is written here. 0.1 wrote format 1, and no number; in 3 models may have parts of a user's own; in 4 they say
# which shares classes have that were balanced, and where predictions divide, and there are classical methods; in 5
# models may add instances up, be told how many there are, and know columns of all kinds; in 6 columns may belong to
# bags, or tell what came before, and what is far off may be shown by its logarithm; in 7 an architecture has options of
# its level, and a part in which instances of a bag see each other.
FORMAT = 7
FILE = "model.safetensors"
# The families of methods without networks, and of averages of unlike ones; neural ones name none.
CLASSICAL, AVERAGED = "classical", "averaged"
# What a description or tensors that were edited may raise when a model is made of them.
UNFIT = (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError, RuntimeError)


def check_format(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse what a later version wrote, in a format of which this one knows nothing.

    Parameters
    ----------
    path
        Where the description is, for the message.
    config
        What was said of the models.

    Raises
    ------
    BagwiseError
        If its format is later than `FORMAT`.

    Examples
    --------
    >>> check_format(Path("config.json"), {"bagwise": "0.1.0"})
    """
    number = config.get("format", 1)
    if not is_count(number) or number is True:
        raise BagwiseError(f"{path} says that its format is {number!r}: it was edited, so put the old file back")
    if number > FORMAT:
        raise BagwiseError(
            f"{path} was written by Bagwise {config.get('bagwise')} in format {number}, and this is Bagwise"
            f" {__version__}, which reads formats up to {FORMAT}: read it with that version or a later one"
        )


def family_in(config: Any) -> Any:
    """Say of which family the models are that a description is of.

    Parameters
    ----------
    config
        What was said of models when they were written, or whatever stands in its place.

    Returns
    -------
    str or None
        None of neural ones; of what was edited, whatever stands there.

    Examples
    --------
    >>> family_in({"family": "classical"}), family_in([])
    ('classical', None)
    """
    return config.get("family") if isinstance(config, dict) else None


def reason(error: BaseException) -> str:
    """Say in a line why what a file holds will not do."""
    told = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    return (told or type(error).__name__).splitlines()[0]


def as_written(path: Path, error: BaseException) -> BagwiseError:
    """Say that a file does not hold a model as it was written, and why."""
    return BagwiseError(
        f"{path} does not hold a model as it was written ({reason(error)}): put the old file back, or train the model"
        " again"
    )


def columns_in(config: Mapping[str, Any]) -> tuple[Column, ...] | None:
    """Give what features stood for, as a description says.

    Parameters
    ----------
    config
        The description.

    Returns
    -------
    tuple or None
        None where all were numbers.

    Raises
    ------
    ValueError, TypeError, KeyError, ...
        If it says none (`UNFIT`).

    Examples
    --------
    >>> columns_in({"columns": None}) is None
    True
    """
    told = config.get("columns")  # of no older format
    if told is None:
        return None
    columns = tuple(Column.from_dict(one) for one in told)
    if [column.name for column in columns] != config["feature_names"]:
        raise ValueError("its columns are not its features")
    return columns


def columns_told(columns: Sequence[Column] | None) -> list[dict[str, Any]] | None:
    """Say what features stood for in what JSON can hold, so that `columns_in` reads it."""
    return None if columns is None else [column.as_dict() for column in columns]


def target_in(facts: Mapping[str, Any]) -> Target:
    """Make the target that a description names.

    Parameters
    ----------
    facts
        What `Target.facts` gave, and its kind as ``target``; at first there were only classes.

    Returns
    -------
    Target

    Raises
    ------
    ValueError, TypeError, KeyError, ...
        If there is none (`UNFIT`).

    Examples
    --------
    >>> target_in({"target": "classes", "classes": ["no", "yes"], "positive": "yes"})
    ClassTarget(classes=['no', 'yes'], positive='yes')
    """
    target = TARGETS[facts.get("target", "classes")].from_facts(facts)
    if target.names is not None and (target.names.dtype.kind not in "biufU" or target.names.ndim != 1):
        raise ValueError("its classes are none")
    return target


def deciding(target: Target, threshold: Any) -> Target:
    """Give a target the threshold that a description names; before format 4 there was none.

    Parameters
    ----------
    target
        What labels are.
    threshold
        As `bagwise.targets.classes.ClassTarget` takes it, or whatever stands in its place.

    Returns
    -------
    Target

    Raises
    ------
    ValueError, TypeError
        If there is none for such labels.

    Examples
    --------
    >>> deciding(ClassTarget.of([0, 1]), 0.25).threshold
    0.25
    """
    if threshold is None:
        return target
    if not isinstance(target, ClassTarget):
        raise ValueError(f"its threshold is {threshold}")
    shape, values = () if target.positive is not None else target.names.shape, np.array(threshold, np.float64)
    if values.shape != shape or not ((values > 0) & (values <= 1)).all():
        raise ValueError(f"its threshold is {threshold}")
    return target.deciding(values.tolist())
