"""A run: the folder that holds trained models and all that is known of how they came to be."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

from bagwise.checks import is_count
from bagwise.commands.data import DataSource
from bagwise.commands.options import Data, Work
from bagwise.errors import BagwiseError
from bagwise.feature_columns import Column
from bagwise.files import plain, write_text
from bagwise.inputs import read_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bagwise.methods.asked import Asked
    from bagwise.targets.contract import Target
    from bagwise.trust.reliance import Reliance

__all__ = [
    "CONFIG",
    "HISTORY",
    "METRICS",
    "MODEL",
    "Run",
    "check_asked_the_same",
    "check_run",
    "read_json",
    "write_json",
]

_ONCE = ("label", "group")  # what 0.1 took once may be several columns now
# What a search that is stopped has not learnt yet, though it left a model.
_LEARNT_LAST = ("threshold", "cost", "sensitivity", "specificity", "precision", "calibrate")
MODEL, CONFIG, METRICS, HISTORY = "model.safetensors", "config.json", "metrics.json", "history.csv"


@dataclass(frozen=True, eq=False)
class Run:
    """Models from a folder, and what they learnt from.

    Attributes
    ----------
    folder
        Where they are.
    models
        The members; one where it is no ensemble.
    asked
        What `bagwise fit` was asked for.
    reliance
        What is kept beside the models, so that their answers can be relied on; None where nothing is.
    read
        Reads models from a folder within it, as its own were read, and what describes them.
    """

    folder: Path
    models: Sequence["Asked"]
    asked: Mapping[str, Any]
    reliance: "Reliance | None" = None
    read: "Callable[[Path], tuple[Sequence[Asked], dict[str, Any]]] | None" = None

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str = Work.device,
        method: str | None = None,
        dtype: str | None = Work.dtype,
    ) -> "Run":
        """Read a run; nothing in it is executed, and nothing imported because it says so.

        Parameters
        ----------
        folder
            Where `bagwise fit` wrote it.
        device
            Where its models are to compute, wherever they learnt.
        method
            The method that it was trained with, as `bagwise.methods.registry.find` takes it; needed where it is of the
            user's own and no installed package has it, since it is imported.
        dtype
            What its models are to compute in, a name in `bagwise.training.members.PRECISIONS`; None: what they learnt
            in.

        Returns
        -------
        Run

        Raises
        ------
        BagwiseError
            If it is not finished, was written by a later version, or was edited.
        """
        check_run(folder)
        from bagwise.methods.asked import common_target
        from bagwise.methods.formats import check_format
        from bagwise.trust.files import check_belongs
        from bagwise.trust.reliance import FILE, Reliance

        folder = Path(folder)
        path = folder / CONFIG
        config = read_json(path)
        check_format(path, config)
        asked = config.get("asked")
        if not isinstance(asked, dict) or not isinstance(asked.get("data"), dict):
            raise BagwiseError(f"{path} does not say what was asked for: it was edited, so train the model again")
        own = _own_method(folder, config.get("own"), asked.get("method"), method)
        reads = _reader(config, own)

        def read(where: Path) -> "tuple[Sequence[Asked], dict[str, Any]]":
            found, described = reads(where)
            members = found if isinstance(found, Sequence) else [found]
            for model in members:
                model._compute(device, dtype)
            return members, described

        models, described = read(folder)
        for name in sorted(described.keys() | config.keys()):
            if name != "asked" and config.get(name) != described.get(name):
                raise BagwiseError(
                    f"{path} does not belong to the {MODEL} beside it: {name!r} differs, so it was edited; put the old"
                    " file back, or train the model again"
                )
        reliance = Reliance.load(folder, common_target(models), asked)
        if reliance is not None:
            check_belongs(folder, MODEL, reliance.files)
        if reliance is None and (folder / METRICS).exists() and "calibration" in read_json(folder / METRICS):
            raise BagwiseError(
                f"{folder} answers by what its {FILE} says, which is not there: put the file back, or train the"
                " model again"
            )
        wanted = [name for name in _LEARNT_LAST if asked.get(name) not in (None, "none")]
        if reliance is None and wanted:
            raise BagwiseError(
                f"{folder} does not decide yet as --{wanted[0]} asked for: bagwise auto was stopped before that was"
                " learnt, so go on with --resume"
            )
        return cls(folder, models, asked, reliance, read)

    def told(self, answers: "NDArray[Any]", shares: "NDArray[Any] | None" = None) -> "tuple[Target, NDArray[Any]]":
        """Turn what the models say, on average, into what is told: calibrated, with what decides it.

        Parameters
        ----------
        answers
            Shape (B, A).
        shares
            Of the classes where the answers are used, as `Reliance.answers` takes them.

        Returns
        -------
        tuple
            A target that decides the answers as the run does, and the answers, shape (B, A).
        """
        from bagwise.methods.asked import common_target

        if self.reliance is None:
            return common_target(self.models), answers
        return self.reliance.deciding(shares), self.reliance.answers(answers, shares)

    def source(self, data: str, **given: Any) -> DataSource:
        """Name data that are read like those the run learnt from, but for what is given.

        Parameters
        ----------
        data
            A path, or the name of a data set.
        **given
            Fields of `DataSource`; what is None or empty is taken from the run.

        Returns
        -------
        DataSource

        Raises
        ------
        BagwiseError
            If the run's config was edited.
        """
        learnt = self.asked["data"]
        fields = {**given}
        for name, option in Data.options().items():
            if option.kind == str | None or get_origin(option.kind) is tuple:  # what columns are called
                several = get_origin(option.kind) is tuple
                value = given.get(name) or learnt.get(name) or ()
                once = isinstance(value, str) and (not several or name in _ONCE)
                named = [value] if once else value
                if not isinstance(named, list | tuple) or not all(isinstance(one, str) for one in named):
                    raise BagwiseError(
                        f"{self.folder / CONFIG} names columns that are no text: it was edited, so train again"
                    )
                fields[name] = tuple(named) if several else next(iter(named), None)
        patch = learnt.get("patch")
        if patch is not None and not is_count(patch):
            raise BagwiseError(f"{self.folder / CONFIG} has a patch of {patch!r} pixels: it was edited, so train again")
        if learnt.get("points") is not None and not given.get("points"):
            raise BagwiseError(
                "the run learnt from patches around points: say with --points where they are in these images"
            )
        return DataSource(data, **{**fields, "patch": patch})

    @property
    def feature_names(self) -> list[str] | None:
        """What the features were called, in their order."""
        names = getattr(self.models[0], "feature_names_in_", None)
        return None if names is None else [str(name) for name in names]

    @property
    def columns(self) -> tuple[Column, ...] | None:
        """What the features stood for, where not all were numbers."""
        columns: tuple[Column, ...] | None = getattr(self.models[0], "columns_", None)
        return columns


def check_run(folder: str | Path) -> None:
    """Refuse what is no folder of a run, before anything is loaded that reads models.

    Parameters
    ----------
    folder
        Where `bagwise fit` wrote it.

    Raises
    ------
    BagwiseError
        If it is not there, or not finished.

    Examples
    --------
    >>> check_run("nowhere")
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: there is no folder nowhere: give a folder that bagwise fit wrote
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BagwiseError(f"there is no folder {folder}: give a folder that bagwise fit wrote")
    if not (folder / MODEL).exists():
        raise BagwiseError(
            f"{folder} holds no {MODEL}: give a folder that bagwise fit wrote, or finish it with bagwise fit --resume"
        )


def _reader(config: Mapping[str, Any], own: Mapping[str, Any]) -> "Callable[[Path], tuple[Any, dict[str, Any]]]":
    """Give what reads models like those that are described, or one, without what they do not need."""
    from bagwise.methods.formats import AVERAGED, CLASSICAL, family_in

    if config.get("own") or family_in(config) == AVERAGED:
        from bagwise.methods.persistence import load_described  # and with it all that estimators learn with

        return lambda where: load_described(where, **own)
    if family_in(config) == CLASSICAL:
        from bagwise.methods.classical.files import read_classical

        return read_classical
    from bagwise.methods.learnt import read_learnt  # loads PyTorch

    return read_learnt


def _own_method(folder: Path, needed: Any, learnt: Any, method: str | None) -> dict[str, Any]:
    """Find the class that a run needs, if it is one of the user's own: where the user names it, or has installed it."""
    own = isinstance(needed, dict) and "method" in needed
    if method is not None and method != learnt:
        raise BagwiseError(f"{folder} was trained with the method {learnt}, not with {method}: leave --method out")
    if not own:
        return {}
    if not isinstance(learnt, str):
        raise BagwiseError(f"{folder / CONFIG} names no method: it was edited, so train the model again")
    from bagwise.methods.registry import find, is_installed  # loads every method

    if method is None and not is_installed(learnt):
        raise BagwiseError(
            f"{folder} was trained with a method of your own, which is imported only where you name it: add"
            f" --method {learnt}"
        )
    return {"method": find(learnt)[0]}


def check_asked_the_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """See that what is finished is what is asked for; what an older version did not ask for was empty.

    Parameters
    ----------
    path
        Where it stands what was asked for.
    before, now
        What was, and what is.

    Raises
    ------
    BagwiseError
        If they differ.
    """
    for name, value in json.loads(_text(now)).items():
        if _given(before.get(name)) != _given(value):
            raise BagwiseError(
                f"{path.parent} was asked for another {name} ({before.get(name)!r}, now {value!r}, see"
                f" {path.name}): choose another folder"
            )


def _given(value: Any) -> Any:
    """Leave out what is empty; what may be said several times now was perhaps said once."""
    if isinstance(value, dict):
        return {name: _given(one) for name, one in value.items() if one}
    return value[0] if isinstance(value, list) and len(value) == 1 else value or None


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict

    Raises
    ------
    BagwiseError
        If it is missing or damaged.
    """
    text = read_whole(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BagwiseError(f"{path} is no JSON ({error}): it is damaged, so make it anew in another folder") from error
    if not isinstance(content, dict):
        raise BagwiseError(f"{path} holds a {type(content).__name__}: it is damaged, so make it anew in another folder")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in the place of an older file.

    Parameters
    ----------
    path
        The file.
    content
        What JSON can hold, numbers of numpy included.

    Raises
    ------
    BagwiseError
        If the file cannot be written.
    """
    write_text(path, _text(content))


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, default=plain, ensure_ascii=False) + "\n"
