"""Every kind of target by the name it has in commands and results."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target, bag_named
from bagwise.targets.grades import OrdinalTarget
from bagwise.targets.numbers import CountTarget, RealTarget
from bagwise.targets.several import MultiLabelTarget
from bagwise.targets.survival import SurvivalTarget

__all__ = ["TARGETS", "resolve", "target_of"]

# Where nobody says of which kind labels are, the first that recognises them has them.
TARGETS: dict[str, type[Target]] = {
    target.kind: target
    for target in (SurvivalTarget, MultiLabelTarget, ClassTarget, RealTarget, CountTarget, OrdinalTarget)
}


def resolve(target: str, labels: NDArray[Any], **given: Any) -> str:
    """Say of which kind labels are.

    Parameters
    ----------
    target
        ``"auto"``, or a name in `TARGETS`; after a colon what this kind takes, as in ``"ordinal: LOW < ... < HIGH"``
        and ``"real: huber"``.
    labels
        Of all bags that there are, as `Bags` holds them: a part of them may look like another kind.
    **given
        ``names`` of the bags and ``label_names``, for messages.

    Returns
    -------
    str
        What was given, but for ``"auto"``.

    Raises
    ------
    BagwiseError
        If there is no such kind, or nothing recognises the labels, or of several some are 0 and 1 alone and others not.

    Examples
    --------
    >>> import numpy as np
    >>> resolve("auto", np.array([0, 1, 1])), resolve("auto", np.array([0.5, 1.0]))
    ('classes', 'real')
    """
    if not isinstance(target, str) or (target != "auto" and target.partition(":")[0] not in TARGETS):
        raise BagwiseError(f"target is {target!r}: it must be 'auto' or one of {', '.join(TARGETS)}")
    if target != "auto":
        return target
    if labels.ndim == 2:
        _check_one_kind(labels, given)
    for name, kind in TARGETS.items():
        if kind.recognises(labels):
            return name
    raise BagwiseError(
        f"nothing can be learnt of labels of type {labels.dtype}: say with target= of which kind they are"
    )


def _check_one_kind(labels: NDArray[Any], given: Mapping[str, Any]) -> None:
    """See that of several labels all are 0 and 1, or none is: a part that is may be a slip, or a label of its own."""
    either = (labels == 0) | (labels == 1) | (labels != labels)
    if either.all() or not either.all(axis=0).any():
        return
    of_two, other = int(np.argmax(either.all(axis=0))), int(np.argmin(either.all(axis=0)))
    bag = int(np.argmin(either[:, other]))
    names = given.get("label_names") or range(labels.shape[1])
    raise BagwiseError(
        f"label {names[of_two]!r} holds 0 and 1 alone, and label {names[other]!r} holds {labels[bag, other]:g} of"
        f" {bag_named(bag, given)}: several labels are all 0 and 1, or all numbers; mend it, learn them apart, or say"
        " with the target 'real' that all are numbers"
    )


def target_of(target: str, labels: NDArray[Any], **given: Any) -> Target:
    """Make the target of training labels.

    Parameters
    ----------
    target
        As `resolve` gives it.
    labels
        Of the training bags.
    **given
        What the user says beside, as `Target.of` takes it.

    Returns
    -------
    Target

    Examples
    --------
    >>> import numpy as np
    >>> target_of("ordinal: low < high", np.array(["high", "low"]))
    OrdinalTarget(grades=['low', 'high'])
    """
    kind, _, text = target.partition(":")
    said = TARGETS[kind].said(text.strip()) if text else {}
    return TARGETS[kind].of(labels, **given | said)
