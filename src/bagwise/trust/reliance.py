"""What a run keeps beside its models, so that its answers can be relied on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.files import plain
from bagwise.methods.threshold import best_threshold
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.tensorfiles import read_arrays, write_tensors
from bagwise.trust.aims import Aim, Operating, operating_at
from bagwise.trust.calibration import Calibration
from bagwise.trust.kept import Kept
from bagwise.trust.shares import answers_at, threshold_at

if TYPE_CHECKING:
    from bagwise.trust.held_out import HeldOut

__all__ = ["FILE", "Reliance", "check_aim", "digest_of"]

FILE = "trust.safetensors"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Reliance:
    """How the answers of a model become what is told, and what is known of how good that is.

    Attributes
    ----------
    target
        What labels are.
    calibration
        What answers become; None leaves them as they are.
    why
        How that came about.
    aim
        How a user wants two classes to be told apart; None where nobody said.
    threshold
        By which calibrated answers are decided, as `ClassTarget` takes it; None where the likeliest is.
    shares
        Of the classes, grades or labels among the bags learnt from, in the order of their names, shape (A,).
    kept
        What was said of bags held out; None where nothing was held out.
    files
        Digests of the files of its run, its models' too, as `bagwise.trust.files.file_digests` gives them; none where
        an older version wrote it.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> target = ClassTarget.of(["no", "yes"])
    >>> relied = Reliance(target, None, "nobody asked", Aim("threshold", 0.8), 0.8, np.array([0.5, 0.5]), None)
    >>> answers = np.array([[0.25, 0.75]])
    >>> relied.deciding().predicted(answers).tolist(), relied.answers(answers).tolist()
    (['no'], [[0.25, 0.75]])
    """

    target: Target
    calibration: Calibration | None
    why: str
    aim: Aim | None
    threshold: float | Sequence[float] | None
    shares: NDArray[np.float64]
    kept: Kept | None
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        target: Target,
        labels: NDArray[Any],
        *,
        weights: NDArray[np.float64] | None = None,
        held_out: "HeldOut | None" = None,
        calibrate: bool = True,
        why: str = "",
        aim: Aim | None = None,
    ) -> Self:
        """Learn what is to be known.

        Parameters
        ----------
        target
            What labels are, as the model of all bags decides.
        labels
            Of the bags that it learnt from.
        weights
            What each of them counts; None where all count the same.
        held_out
            What models of the same settings say of these bags that did not learn from them; None where nobody asked.
        calibrate
            Whether to learn a calibration from it.
        why
            Why not, where that is so.
        aim
            How two classes are to be told apart.

        Returns
        -------
        Reliance

        Raises
        ------
        BagwiseError
            If an aim is for two classes and there are others, or it cannot be reached.
        """
        check_aim(target, aim)
        shares = _shares(target, labels, weights)
        calibration, kept = None, None
        if held_out is not None:
            across = None
            if calibrate:
                from bagwise.trust.calibrating import choose_calibration

                calibration, why, across = choose_calibration(held_out)
            kept = Kept.of(held_out, across)
        threshold = _threshold(target, aim, calibration, kept, shares)
        return cls(target, calibration, why, aim, threshold, shares, kept)

    def answers(self, answers: NDArray[Any], shares: NDArray[np.float64] | None = None) -> NDArray[Any]:
        """Give what is told of answers of the model.

        Parameters
        ----------
        answers
            Shape (B, A).
        shares
            Of the classes where they are used; None: as among the bags learnt from.

        Returns
        -------
        array
            Shape (B, A).
        """
        told = np.asarray(answers, np.float64)
        if self.calibration is not None:
            told = self.calibration.applied(self.target, told)
        return told if shares is None else answers_at(self.target, told, self.shares, shares)

    def deciding(self, shares: NDArray[np.float64] | None = None) -> Target:
        """Give the target that decides what `answers` gives.

        A number and costs are of probabilities, and stay where shares change. What was chosen for a sensitivity, a
        specificity or a precision, or by itself for a rare class, calls the same bags positive as before.

        Parameters
        ----------
        shares
            As in `answers`.

        Returns
        -------
        Target
        """
        if not isinstance(self.target, ClassTarget):
            return self.target
        threshold, column = self.threshold, self.target.classes.column
        if shares is not None and column is not None and isinstance(threshold, float) and self._moves:
            threshold = threshold_at(threshold, float(self.shares[column]), float(shares[column]))
        return self.target.deciding(threshold)

    def operating(self, shares: NDArray[np.float64] | None = None) -> Operating | None:
        """See on bags held out what deciding between two classes comes to, where their shares are these.

        Parameters
        ----------
        shares
            As in `answers`.

        Returns
        -------
        Operating
            None where nothing was held out, or there are not two classes.
        """
        if self.kept is None or not isinstance(self.target, ClassTarget) or self.target.classes.column is None:
            return None
        column, told = self.target.classes.column, self.kept.calibrated
        if self._moves:
            told = _as_told(self.target, self.calibration, self.kept)  # in the order that the threshold was chosen in
        if shares is not None:
            told = answers_at(self.target, told, self.shares, shares)
        threshold = getattr(self.deciding(shares), "threshold", None)
        threshold = 0.5 if threshold is None else threshold
        return operating_at(
            self.kept.positive(self.target),
            told[:, column] > threshold,
            threshold,
            weights=self.kept.weights,
            share=None if shares is None else float(shares[column]),
        )

    @property
    def _moves(self) -> bool:
        """Whether the threshold is of a place among bags, and not of a probability."""
        return self.aim is None or not self.aim.is_of_probabilities

    def save(self, folder: Path, asked: Mapping[str, Any]) -> None:
        """Write it into a run.

        Parameters
        ----------
        folder
            Of the run.
        asked
            What the run was asked for, by which `load` knows that both belong together.

        Raises
        ------
        BagwiseError
            If it cannot be written.
        """
        arrays: dict[str, NDArray[Any]] = {"shares": self.shares}
        parts = {
            "calibration": None if self.calibration is None else self.calibration.arrays(),
            "held_out": None if self.kept is None else self.kept.arrays(),
        }
        for part, held in parts.items():
            arrays |= {f"{part}/{name}": array for name, array in (held or {}).items()}
        described = {
            "format": _FORMAT,
            "of": digest_of(asked),
            "target": [self.target.kind, self.target.facts()],
            "why": self.why,
            "aim": self.aim,
            "threshold": self.threshold,
            "files": self.files,
        }
        write_tensors(folder / FILE, arrays, described)

    @classmethod
    def load(cls, folder: Path, target: Target, asked: Mapping[str, Any]) -> Self | None:
        """Read what `save` wrote; nothing in it is run, and every array is checked before it is used.

        Parameters
        ----------
        folder
            Of the run.
        target
            Of its models.
        asked
            What the run was asked for.

        Returns
        -------
        Reliance
            None where there is none, as in runs of older versions.

        Raises
        ------
        BagwiseError
            If it is damaged, was edited, is of another run or of a later version.
        """
        path = folder / FILE
        if not path.exists():
            return None
        arrays, described = read_arrays(path)
        try:
            if described["format"] > _FORMAT:
                raise BagwiseError(f"{path} was written by a later version of Bagwise: use that one")
            facts = _json_of([target.kind, target.facts()])
            if described["of"] != digest_of(asked) or _json_of(described["target"]) != facts:
                raise BagwiseError(f"{path} belongs to another run: put the old file back, or train the model again")
            parts: dict[str, dict[str, NDArray[Any]]] = {"": {}, "calibration": {}, "held_out": {}}
            for name, array in arrays.items():
                part, _, rest = name.rpartition("/") if name == "shares" else name.partition("/")
                parts[part][rest] = array
            shares = parts[""].pop("shares")
            if parts[""] or shares.dtype != np.float64 or not ((shares >= 0) & (shares <= 1)).all():
                raise ValueError("its shares are none")
            if target.names is not None and shares.shape != (len(target.names),):
                raise ValueError(f"its shares have shape {shares.shape}")
            kept = Kept.from_arrays(parts["held_out"]) if parts["held_out"] else None
            if kept is not None and target.names is not None and kept.answers.shape[1] != len(target.names):
                raise ValueError(f"its answers have shape {kept.answers.shape}")
            return cls(
                target,
                Calibration.from_arrays(target, parts["calibration"]) if parts["calibration"] else None,
                str(described["why"]),
                None if described["aim"] is None else Aim.from_facts(described["aim"]),
                _read_threshold(target, described["threshold"]),
                shares,
                kept,
                {str(name): str(digest) for name, digest in described.get("files", {}).items()},
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise BagwiseError(
                f"{path} does not say what a run keeps ({str(error) or type(error).__name__}): it was edited, so put"
                " the old file back, or train the model again"
            ) from error


def check_aim(target: Target, aim: Aim | None) -> None:
    """Refuse an aim where there are not two classes.

    Parameters
    ----------
    target
        What labels are.
    aim
        How two classes are to be told apart; None where nobody said.

    Raises
    ------
    BagwiseError
        If there are not two classes.

    Examples
    --------
    >>> check_aim(ClassTarget.of([0, 1, 2]), None)
    """
    if aim is not None and (not isinstance(target, ClassTarget) or target.positive is None):
        what = f"{len(target.names)} classes" if target.kind == "classes" and target.names is not None else target.kind
        raise BagwiseError(f"--{aim.kind} is about one of two classes, and the labels are of {what}: leave it out")


def _json_of(facts: Any) -> str:
    return dumps(facts, default=plain, sort_keys=True)


def digest_of(asked: Mapping[str, Any]) -> str:
    """Give that by which files of a run are known to belong together.

    Parameters
    ----------
    asked
        What the run was asked for.

    Returns
    -------
    str

    Examples
    --------
    >>> digest_of({"seed": 0})
    '029fb6921e71ea8230a99f653ae79148'
    """
    return blake2b(_json_of(asked).encode(), digest_size=16).hexdigest()


def _shares(target: Target, labels: NDArray[Any], weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if target.names is None:
        return np.zeros(0)
    encoded = target.encoded(labels)
    counted = np.ones(len(encoded)) if weights is None else weights
    if target.kind == "multi-label":
        known = encoded == encoded
        shares: NDArray[np.float64] = counted @ np.where(known, encoded, 0) / np.maximum(counted @ known, 1e-12)
        return shares
    counts = np.bincount(encoded[:, 0].astype(np.int64), counted, len(target.names))
    of_classes: NDArray[np.float64] = target.by_name((counts / counts.sum())[None])[0]
    return of_classes


def _threshold(
    target: Target,
    aim: Aim | None,
    calibration: Calibration | None,
    kept: Kept | None,
    shares: NDArray[np.float64],
) -> float | Sequence[float] | None:
    if not isinstance(target, ClassTarget):
        return None
    column = target.classes.column
    if aim is not None:
        if aim.is_of_probabilities:
            return aim.threshold(np.zeros(0, bool), np.zeros(0))
        assert kept is not None
        return aim.threshold(kept.positive(target), _as_told(target, calibration, kept)[:, column], kept.weights)
    if calibration is None or kept is None or column is None or target.threshold is None:
        return target.threshold
    # What a model chose for a rare class is about its answers as they were.
    counts = kept.counts
    likely = _as_told(target, calibration, kept)[counts, column]
    return best_threshold(kept.positive(target)[counts], likely, kept.weights[counts], float(shares[column]))


def _as_told(target: Target, calibration: Calibration | None, kept: Kept) -> NDArray[np.float64]:
    """Give the answers on the scale of those that will be decided; that keeps the order of bags."""
    return kept.answers if calibration is None else calibration.applied(target, kept.answers)


def _read_threshold(target: Target, threshold: Any) -> float | list[float] | None:
    if threshold is None or not isinstance(target, ClassTarget):
        return None
    numbers = np.atleast_1d(np.asarray(threshold, np.float64))
    wanted = (1,) if target.positive is not None else (len(target.names),)
    if numbers.shape != wanted or not ((numbers >= 0) & (numbers <= 1)).all() or not numbers.all():
        raise ValueError(f"its threshold is {threshold!r}")
    return float(threshold) if target.positive is not None else numbers.tolist()
