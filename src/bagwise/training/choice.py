"""Which executor trains a plan's members."""

import warnings
from collections.abc import Sequence

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

__all__ = ["executor_for"]


def executor_for(plan: Plan, bags: Bags, members: Sequence[Member]) -> type[Looped]:
    """Choose the fastest executor that can train these members.

    Parameters
    ----------
    plan, bags, members
        As `bagwise.training.engine.train` takes them.

    Returns
    -------
    type
        On a CPU `Stacked` for one bag a step of fully connected models; on other devices `Together` for one bag a step
        of whatever `torch.func.vmap` carries, and a warning says what it does not; else `Looped`.
    """
    model = plan.architecture.build(bags.instance_shape, plan.target.outputs, seed=0)
    one_bag_a_step = plan.instance_budget is None and plan.bags_per_step in (None, 1) and plan.sample is None
    if not one_bag_a_step or plan.loss is not None:
        return Looped
    if resolve_device(plan.device, plan.precision).type == "cpu":
        return Stacked if can_stack(model) else Looped
    own_optimizer = any(callable(member.settings.optimizer) for member in members)
    if plan.augmentation is not None or model.loss is not None or own_optimizer:
        return Looped
    return Together if _joins(model, bags, len(members)) else Looped


def _joins(model: MILModel, bags: Bags, members: int) -> bool:
    told = refusal(model, bags.instance_shape)
    if told is not None and members > 1:
        warnings.warn(
            f"the {members} models train one after the other, because torch cannot compute them side by side: {told}",
            BagwiseWarning,
            stacklevel=2,
        )
    return told is None
