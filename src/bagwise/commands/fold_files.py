"""The models that a run keeps of its folds, each of which did not learn from a part of its bags."""

from collections.abc import Sequence

from bagwise.commands.runs import MODEL, Run
from bagwise.errors import BagwiseError
from bagwise.methods.asked import Asked
from bagwise.trust.files import check_belongs

__all__ = ["FOLDS", "fold_file", "read_folds"]

FOLDS = "folds"  # the folder, with one a fold in it


def fold_file(number: int) -> str:
    """Say where in a run the model of a fold is.

    Parameters
    ----------
    number
        Of the fold, from 0 on.

    Returns
    -------
    str

    Examples
    --------
    >>> fold_file(0)
    'folds/0/model.safetensors'
    """
    return f"{FOLDS}/{number}/{MODEL}"


def read_folds(run: Run) -> list[Sequence[Asked]]:
    """Read the models of folds.

    Parameters
    ----------
    run
        Which may keep them.

    Returns
    -------
    list
        The members of the model of each fold; empty where it keeps none.

    Raises
    ------
    BagwiseError
        If one is missing, damaged, or of another run.
    """
    if run.reliance is None or run.reliance.kept is None or not (run.folder / FOLDS).is_dir():
        return []
    assert run.read is not None
    found, known = [], run.reliance.files
    for number in range(1 + int(run.reliance.kept.fold.max())):
        where = run.folder / FOLDS / str(number)
        members, _ = run.read(where)
        first, own = members[0], run.models[0]
        if first.target_ != own.target_ or first.instance_shape_ != own.instance_shape_:
            raise BagwiseError(f"{where} belongs to another run: put the old folder back, or train the model again")
        check_belongs(run.folder, fold_file(number), known)
        found.append(members)
    if len({len(members) for members in found}) > 1:
        raise BagwiseError(f"the models in {run.folder / FOLDS} are not of one run: train the model again")
    return found
