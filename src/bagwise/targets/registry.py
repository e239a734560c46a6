"""Every kind of target by the name it has in commands and results."""

from typing import Any

from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
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


def resolve(target: str, labels: NDArray[Any]) -> str:
    """Say of which kind labels are.

    Parameters
    ----------
    target
        ``"auto"``, or a name in `TARGETS`; after a colon what this kind takes, as in ``"ordinal: LOW < ... < HIGH"``
        and ``"real: huber"``.
    labels
        Of all bags that there are, as `Bags` holds them: a part of them may look like another kind.

    Returns
    -------
    str
        What was given, but for ``"auto"``.

    Raises
    ------
    BagwiseError
        If there is no such kind, or nothing recognises the labels.

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
    for name, kind in TARGETS.items():
        if kind.recognises(labels):
            return name
    raise BagwiseError(
        f"nothing can be learnt of labels of type {labels.dtype}: say with target= of which kind they are"
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
