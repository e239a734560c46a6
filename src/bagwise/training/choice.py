"""Which executor trains a plan's members."""

import warnings
from collections.abc import Sequence

import numpy as np

from bagwise.bags import Bags
from bagwise.errors import BagwiseWarning
from bagwise.models.model import MILModel
from bagwise.training.device import resolve_device
from bagwise.training.joined import refusal
from bagwise.training.looped import Looped
from bagwise.training.members import Member, Plan
from bagwise.training.stack import can_stack
from bagwise.training.stacked import Stacked
from bagwise.training.together import Together

__all__ = ["executor_for", "hindrance"]


def executor_for(plan: Plan, bags: Bags, members: Sequence[Member]) -> type[Looped]:
    """Choose the fastest executor that can train these members.

    Parameters
    ----------
    plan, bags, members
        As `bagwise.training.engine.train` takes them.

    Returns
    -------
    type
        On a CPU `Stacked` for one bag a step of fully connected models, else `Looped`; on other devices `Together`
        unless there is a `hindrance`, of which a warning tells: then `Looped`.
    """
    model = plan.architecture.build(plan.shown(bags.instance_shape), plan.target.outputs, seed=0)
    device = resolve_device(plan.device, plan.precision)
    if device.type == "cpu":
        one_bag_a_step = not _several(plan) and plan.sample is None
        return Stacked if one_bag_a_step and plan.loss is None and can_stack(model) else Looped
    told = hindrance(plan, bags, model)
    if told is not None and len(members) > 1:
        warnings.warn(
            f"the {len(members)} models train one after the other on device {str(device)!r}, and not side by side:"
            f" {told}",
            BagwiseWarning,
            stacklevel=2,
        )
    return Together if told is None else Looped


def hindrance(plan: Plan, bags: Bags, model: MILModel) -> str | None:
    """Say why members of a plan cannot learn side by side on a device.

    Parameters
    ----------
    plan, bags
        As in `executor_for`.
    model
        Of the plan.

    Returns
    -------
    str or None
        What is in the way; None: nothing is.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from bagwise.models.architecture import Architecture
    >>> from bagwise.targets.classes import ClassTarget
    >>> bags = Bags.from_arrays([[[1.0], [2.0]], [[3.0]]])
    >>> plan = Plan(Architecture("embedding", "max", "mi-net"), ClassTarget.of([0, 1]), order_seed=0, scaling="none")
    >>> model = plan.architecture.build((1,), outputs=1, seed=0)
    >>> hindrance(plan, bags, model) is None
    True
    >>> hindrance(replace(plan, loss=lambda output, _: output.logits.sum(), bags_per_step=2), bags, model)
    'a loss of your own sees all bags of a step together, which are others for each model: take one bag a step'
    """
    if _several(plan) and (plan.loss is not None or model.loss is not None):
        return (
            "a loss of your own sees all bags of a step together, which are others for each model: take one bag a step"
        )
    if plan.encoded is not None:
        return "each makes something else of the columns of instances, by what its own training bags taught"
    if plan.augmentation is not None and _several(plan):
        return (
            f"the augmentation {plan.augmentation!r} changes all bags of a step together, which are others for each"
            " model: take one bag a step"
        )
    if plan.augmentation is not None and (bags.instances.dtype != np.uint8 or plan.standardizes):
        return f"the augmentation {plan.augmentation!r} changes what is scaled before, unless it is pixels of 8 bits"
    if model.ties_instances:
        return "instances of a bag see each other, which is computed for one model at a time"
    told = refusal(model, bags.instance_shape)
    return None if told is None else f"torch cannot compute them so: {told}"


def _several(plan: Plan) -> bool:
    return plan.instance_budget is not None or plan.bags_per_step not in (None, 1)
