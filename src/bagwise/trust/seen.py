"""What a run keeps of the bags that it learnt from, to say of others whether they are like these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.encoding import Encoding, encoded
from bagwise.errors import BagwiseError
from bagwise.methods.asked import Asked
from bagwise.methods.classical.summaries import summaries_of
from bagwise.tensorfiles import read_arrays, write_tensors
from bagwise.trust.files import check_belongs
from bagwise.trust.overlap import bag_digests
from bagwise.trust.strangers import KnownBags

__all__ = ["FILE", "Likeness", "Seen", "chosen"]

FILE = "seen.safetensors"
_FORMAT = 2
_FOLDS = 5  # where nothing was held out
_MOST_BAGS, _MOST_NUMBERS = 1000, 1 << 20  # which are kept
_ROWS = 1 << 16


class Likeness(NamedTuple):
    """How like new bags are to those that a run learnt from.

    Attributes
    ----------
    p
        Which share of the training bags is at least as strange, shape (B,).
    beyond
        For each feature the number of bags with a value beyond all that was learnt from, shape (D,).
    """

    p: NDArray[np.float64]
    beyond: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Seen:
    """Training bags, or a choice of them, as new ones are compared with them, and the range of each feature.

    Attributes
    ----------
    known
        The bags.
    lowest, highest
        Of each feature in all training bags, shape (D,); infinite of one that is no plain number.
    digests
        Of the features of each of all training bags, and of those that decided when to stop, as
        `bagwise.trust.overlap.bag_digests` gives them; None where an older version wrote it.

    Examples
    --------
    >>> import bagwise as bw
    >>> rng = np.random.default_rng(0)
    >>> bags = bw.Bags.from_arrays(rng.normal(size=(120, 4, 2)), labels=[0, 1] * 60)
    >>> model = bw.make("mean-logistic", random_state=0).fit(bags)
    >>> seen = Seen.of(model, bags)
    >>> found = seen.likeness(model, bw.Bags.from_arrays([bags[0].instances, bags[1].instances + 9]))
    >>> (found.p < 0.01).tolist(), found.beyond.tolist()
    ([False, True], [1, 1])
    """

    known: KnownBags
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    digests: NDArray[np.uint64] | None = None

    @classmethod
    def of(
        cls,
        model: Asked,
        bags: Bags,
        fold: NDArray[np.int64] | None = None,
        members: Sequence[Asked] = (),
        folds: int = 0,
        deciding: Bags | None = None,
    ) -> Self | None:
        """Look at training bags; of more than a thousand, or fewer where each is many numbers, a choice is kept.

        Parameters
        ----------
        model
            Which learnt from all of them.
        bags
            The bags.
        fold
            In which fold each bag was held out, shape (B,); None divides them.
        members
            Of the models of folds, as `bagwise.trust.fold_models.ask_folds` takes them; none: bags are where their
            summaries lie.
        folds
            The number of those models; 0 with none.
        deciding
            Other bags, which decided when to stop: of these digests are kept, too.

        Returns
        -------
        Seen
            None where all bags are of one group: these say nothing of bags of another.
        """
        if fold is None:
            of = np.arange(len(bags)) if bags.groups is None else np.unique(bags.groups, return_inverse=True)[1]
            fold = np.random.default_rng(0).permutation(of.max() + 1)[of] % _FOLDS
        if len(np.unique(fold)) < 2:
            return None
        some = chosen(len(bags), _widths(model)[1])
        kept = bags if len(some) == len(bags) else bags[some]
        vectors = None
        if members:
            from bagwise.trust.fold_models import ask_folds

            vectors = ask_folds(members, folds, kept).vectors
        groups = None if kept.groups is None else np.unique(kept.groups, return_inverse=True)[1].astype(np.int64)
        digests = [bag_digests(model, one) for one in (bags, deciding) if one is not None]
        known = KnownBags(_summed_up(model, kept), fold[some], vectors, groups)
        return cls(known, *_range(bags), np.concatenate(digests))

    def likeness(self, model: Asked, bags: Bags, vectors: NDArray[np.floating] | None = None) -> Likeness:
        """Compare other bags with them.

        Parameters
        ----------
        model
            As in `of`.
        bags
            The other bags, read like those.
        vectors
            Of them by the models of folds, as `ask_folds` gives them; None compares summaries alone.

        Returns
        -------
        Likeness

        Raises
        ------
        BagwiseError
            If the models of folds are others than in `of`.
        """
        known = self.known
        if known.vectors is None or vectors is None:
            known, vectors = KnownBags(known.summaries, known.fold, None, known.groups), None
        elif known.vectors.shape[::2] != vectors.shape[::2]:
            raise BagwiseError("the models of folds are others than those by which bags were kept: train the run again")
        found = known.p_values(_summed_up(model, bags), vectors)
        return Likeness(found, self._beyond(bags))

    def learnt_from(self, model: Asked, bags: Bags) -> NDArray[np.bool_]:
        """Say which bags have the very features of one that was learnt from, or decided when to stop.

        Parameters
        ----------
        model
            As in `of`.
        bags
            The bags, read like those.

        Returns
        -------
        array
            Shape (B,); all False where an older version wrote it.
        """
        if self.digests is None:
            return np.zeros(len(bags), bool)
        return np.isin(bag_digests(model, bags), self.digests)

    def _beyond(self, bags: Bags) -> NDArray[np.int64]:
        found, begin = np.zeros(len(self.lowest), np.int64), 0
        while begin < len(bags) and len(found):
            last = int(np.searchsorted(bags.offsets, bags.offsets[begin] + _ROWS, side="right")) - 1
            starts = bags.offsets[begin : (end := max(begin + 1, last))]
            values = np.asarray(bags.instances[int(starts[0]) : int(bags.offsets[end])])
            beyond = (values < self.lowest) | (values > self.highest)
            found += np.logical_or.reduceat(beyond, starts - starts[0]).sum(axis=0)
            begin = end
        return found

    def save(self, folder: Path, digest: str, files: Mapping[str, str] | None = None) -> None:
        """Write it into a run.

        Parameters
        ----------
        folder
            Of the run.
        digest
            What `load` knows it by.
        files
            Digests of files of the run that it belongs to, too.

        Raises
        ------
        BagwiseError
            If it cannot be written.
        """
        arrays = {name: array for name, array in vars(self.known).items() if array is not None}
        arrays |= {"lowest": self.lowest, "highest": self.highest}
        arrays |= {} if self.digests is None else {"digests": self.digests}
        write_tensors(folder / FILE, arrays, {"format": _FORMAT, "of": digest, "files": files or {}})

    @classmethod
    def load(cls, folder: Path, model: Asked, digest: str) -> Self | None:
        """Read what `save` wrote; every array is looked at before it is used.

        Parameters
        ----------
        folder
            Of the run.
        model
            Of the run, as in `of`.
        digest
            As it was saved with.

        Returns
        -------
        Seen
            None where there is none, as in runs of older versions.

        Raises
        ------
        BagwiseError
            If it is damaged, was edited, or is of another run or of a later version.
        """
        path = folder / FILE
        if not path.exists():
            return None
        arrays, described = read_arrays(path)
        try:
            if described["format"] > _FORMAT:
                raise BagwiseError(f"{path} was written by a later version of Bagwise: use that one")
            if described["of"] != digest:
                raise BagwiseError(f"{path} belongs to another run: put the old file back, or train the model again")
            for name, known in described.get("files", {}).items():  # of which older versions said none
                check_belongs(folder, name, {name: known})
            lowest, highest = arrays.pop("lowest"), arrays.pop("highest")
            digests = arrays.pop("digests", None)
            found = cls(KnownBags(**arrays), lowest, highest, digests)
            found._check(model)
            return found
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, BagwiseError):
                raise
            raise BagwiseError(
                f"{path} does not hold bags that were learnt from ({error}): it was edited, so put the old file back,"
                " or train the model again"
            ) from error

    def _check(self, model: Asked) -> None:
        """Raise a ValueError if its arrays do not go together, or with a model."""
        known, count = self.known, len(self.known.fold)
        for name, array, kind, axes in (
            ("summaries", known.summaries, np.float64, 2),
            ("fold", known.fold, np.int64, 1),
            ("vectors", known.vectors, np.float32, 3),
            ("groups", known.groups, np.int64, 1),
        ):
            if array is None:
                continue
            bags = array.shape[1] if axes == 3 else len(array)
            if array.dtype != kind or array.ndim != axes or bags != count or not np.isfinite(array).all():
                raise ValueError(f"its {name} are of type {array.dtype} and shape {array.shape}")
        if self.digests is not None and (self.digests.dtype != np.uint64 or self.digests.ndim != 1):
            raise ValueError(f"its digests are of type {self.digests.dtype} and shape {self.digests.shape}")
        folds = np.unique(known.fold)
        if len(folds) < 2 or folds[0] < 0 or folds[-1] >= (count if known.vectors is None else len(known.vectors)):
            raise ValueError("its folds are none")
        features, numbers = _widths(model)
        if known.summaries.shape[1] != numbers:
            raise ValueError(f"its summaries have shape {known.summaries.shape}")
        for end in (self.lowest, self.highest):
            if end.dtype != np.float64 or end.shape != (features,) or np.isnan(end).any():
                raise ValueError("its ranges are none")


def chosen(count: int, width: int) -> NDArray[np.int64]:
    """Choose the training bags that are kept.

    Parameters
    ----------
    count
        How many there are.
    width
        How many numbers each is.

    Returns
    -------
    array
        Rising positions: of all, a thousand, or fewer of wide ones, but two hundred.

    Examples
    --------
    >>> len(chosen(150, 10**6)), len(chosen(5000, 100)), len(chosen(5000, 2048))
    (150, 1000, 512)
    """
    most = min(_MOST_BAGS, max(_MOST_BAGS // 5, _MOST_NUMBERS // width))
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def _summed_up(model: Asked, bags: Bags) -> NDArray[np.float64]:
    """Give the mean and the spread of what a model is shown of each bag, and the logarithm of the size."""
    size = np.log(bags.sizes)[:, None]
    if len(bags.instance_shape) > 1:  # of images the model's own vectors say more
        return size
    encoding = _encoding_of(model)
    found = summaries_of(bags if encoding is None else encoded(bags, encoding))
    return np.concatenate([found.mean, found.spread, size], axis=1)


def _widths(model: Asked) -> tuple[int, int]:
    """Say how many features have a range, and how many numbers a summary is."""
    if len(model.instance_shape_) > 1:
        return 0, 1
    features, encoding = model.instance_shape_[0], _encoding_of(model)
    return features, 2 * (features if encoding is None else encoding.width) + 1


def _encoding_of(model: Any) -> Encoding | None:
    """Find how a model encodes columns of all kinds, if there are such; of an average the first member's."""
    if hasattr(model, "members_"):
        return _encoding_of(model.members_[0])
    if not hasattr(model, "model_"):
        return getattr(model, "encoding_", None)
    from bagwise.models.shown_columns import encoding_in  # loads PyTorch

    return encoding_in(model.model_.state_dict())


def _range(bags: Bags) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the lowest and the highest value of each feature that is a plain number."""
    if len(bags.instance_shape) > 1:
        return np.zeros(0), np.zeros(0)
    lowest, highest = np.full((2, bags.instance_shape[0]), np.nan)
    for begin in range(0, len(bags.instances), _ROWS):
        block = np.asarray(bags.instances[begin : begin + _ROWS], dtype=np.float64)
        lowest = np.fmin(lowest, np.fmin.reduce(block, axis=0))
        highest = np.fmax(highest, np.fmax.reduce(block, axis=0))
    plain = np.array([column.kind == "number" for column in bags.columns or ()] or [True] * len(lowest))
    known = plain & ~np.isnan(lowest)
    return np.where(known, lowest, -np.inf), np.where(known, highest, np.inf)
