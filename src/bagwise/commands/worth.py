"""What the answers of a run are worth: what bags held out say of it, written beside the run's models."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bagwise.bags import Bags
from bagwise.commands.fold_files import FOLDS, fold_file
from bagwise.commands.runs import MODEL
from bagwise.folders import ResultFolder
from bagwise.methods.ensemble_estimator import Ensemble
from bagwise.methods.persistence import digest_of_models, save_model
from bagwise.trust.files import file_digests
from bagwise.trust.held_out import HeldOut
from bagwise.trust.reliance import FILE, Reliance, digest_of
from bagwise.trust.seen import FILE as SEEN
from bagwise.trust.seen import Seen

__all__ = ["Worth"]


class Worth(NamedTuple):
    """What was learnt from bags held out.

    Attributes
    ----------
    relied
        How answers become what is told; None where nothing was learnt.
    held_out
        What was held out, with the models that are to be kept; None where nothing was.
    """

    relied: Reliance | None
    held_out: HeldOut | None

    def write(
        self, folder: Path, models: Sequence[Any], bags: Bags, asked: Mapping[str, Any], deciding: Bags | None = None
    ) -> None:
        """Write it into a run, with what the run keeps of the bags that it learnt from; what was there before goes.

        The files know the run's own by its digest: runs that were asked the same may have found other models.

        Parameters
        ----------
        folder
            Of the run.
        models
            Of it, which learnt from all bags; the run's own file may be written later.
        bags
            These, in the order of those held out.
        asked
            What the run was asked for.
        deciding
            Other bags, which decided when to stop; None where there are none.

        Raises
        ------
        BagwiseError
            If a file cannot be written.
        """
        for name in (FILE, FOLDS):
            ResultFolder(folder).clear(name)
        parts = () if self.held_out is None else self.held_out.models
        for number, one in enumerate(parts):
            save_model(one, (folder / fold_file(number)).parent)
        members = [member for one in parts for member in (one if isinstance(one, Ensemble) else [one])]
        fold = None if self.held_out is None else self.held_out.fold
        model, own = models[0], {MODEL: digest_of_models(models)}
        seen = Seen.of(model, bags, fold, members, len(parts), deciding)
        if seen is not None:
            seen.save(folder, digest_of(asked), own)
        if self.relied is not None:
            names = [fold_file(number) for number in range(len(parts))] + ([SEEN] if seen is not None else [])
            replace(self.relied, files=own | file_digests(folder, names)).save(folder, asked)
