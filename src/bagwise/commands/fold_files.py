"""What a run keeps of its folds: the models that did not learn from a part of its bags, and where these bags lie."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bagwise.bags import Bags
from bagwise.commands.runs import Run
from bagwise.errors import BagwiseError
from bagwise.methods.asked import Asked
from bagwise.trust.reliance import digest_of
from bagwise.trust.seen import Seen

__all__ = ["FOLDS", "read_folds", "write_folds"]

FOLDS = "folds"  # the folder, with one a fold in it


def write_folds(
    folder: Path,
    model: Asked,
    bags: Bags,
    models: Sequence[Any],
    fold: "np.ndarray[Any, np.dtype[np.int64]] | None",
    asked: Mapping[str, Any],
) -> None:
    """Write the models of folds, and the bags that the run learnt from.

    Parameters
    ----------
    folder
        Of the run.
    model
        Of it, which learnt from all bags.
    bags
        These.
    models
        Of the folds, each an estimator or an ensemble; none where none are kept.
    fold
        Which of them did not learn from each bag, shape (B,); None where nothing was held out.
    asked
        What the run was asked for.

    Raises
    ------
    BagwiseError
        If a file cannot be written.
    """
    from bagwise.methods.persistence import save_model

    for number, one in enumerate(models):
        save_model(one, folder / FOLDS / str(number))
    members = [member for one in models for member in (one if isinstance(one, Sequence) else [one])]
    seen = Seen.of(model, bags, fold, members, folds=len(models)) if members else Seen.of(model, bags, fold)
    if seen is not None:
        seen.save(folder, digest_of(asked))


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
    found = []
    for number in range(1 + int(run.reliance.kept.fold.max())):
        where = run.folder / FOLDS / str(number)
        members, _ = run.read(where)
        first, own = members[0], run.models[0]
        if first.target_ != own.target_ or first.instance_shape_ != own.instance_shape_:
            raise BagwiseError(f"{where} belongs to another run: put the old folder back, or train the model again")
        found.append(members)
    if len({len(members) for members in found}) > 1:
        raise BagwiseError(f"the models in {run.folder / FOLDS} are not of one run: train the model again")
    return found
