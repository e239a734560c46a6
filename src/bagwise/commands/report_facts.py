"""What every page says of the data and of the model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bagwise.bags import Bags
from bagwise.classes import ASSUMPTION
from bagwise.commands.label_facts import facts_of, sum_up
from bagwise.methods.asked import common_target
from bagwise.methods.averaged import Averaged
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target

__all__ = ["data_facts", "model_facts"]

_MOST_NAMED = 15


def data_facts(bags: Bags, target: Target) -> list[tuple[str, str]]:
    """Say what bags are.

    Parameters
    ----------
    bags
        With labels, or without.
    target
        What labels are.

    Returns
    -------
    list of (str, str)
        Terms and what is said of each.
    """
    sizes, shape = bags.sizes, bags.instance_shape
    facts = [("Bags", f"{len(bags):,}")]
    if bags.labels is not None:
        summary = sum_up(target.kind, bags.labels, bags.label_names)
        if target.kind == ClassTarget.kind:
            facts.append(
                (
                    "Classes",
                    ", ".join(f"{label}: {count:,} bags ({count / len(bags):.0%})" for label, count in summary.items()),
                )
            )
        else:
            facts += [(f"{term[0].upper()}{term[1:]}", told) for term, told in facts_of(summary)]
    if target.positive is not None:
        facts.append(("Positive class", f"{target.positive}: {ASSUMPTION}"))
    if bags.groups is not None:
        facts.append(("Groups", f"{len(np.unique(bags.groups)):,}"))
    facts.append(
        (
            "Instances",
            f"{len(bags.instances):,}; in a bag {sizes.min():,} to {sizes.max():,}, median {np.median(sizes):,g}",
        )
    )
    if len(shape) > 1:
        facts.append(("An instance", f"{' x '.join(map(str, shape))} values of a picture"))
    else:
        named = bags.feature_names or ()
        listed = ", ".join(name[:40] for name in named[:_MOST_NAMED])
        more = ", ..." if len(named) > _MOST_NAMED else ""
        facts.append(("Features", f"{shape[0]:,}" + (f": {listed}{more}" if named else "")))
    return facts


def model_facts(models: Sequence[Any], epochs_were: str | None = None) -> list[tuple[str, str]]:
    """Say what a model is and how it learnt.

    Parameters
    ----------
    models
        The members of a run.
    epochs_were
        How the number of epochs came about, where that is known.

    Returns
    -------
    list of (str, str)
        Terms and what is said of each.
    """
    model = models[0]
    if isinstance(model, Averaged):
        parts = zip(model.members_, model.shares_, strict=True)
        told = ", ".join(f"{share:.0%} {member._called}" for member, share in parts)
        return [("Model", f"An average of {told}"), *_deciding(model.target_)]
    if not hasattr(model, "settings_"):  # a classical method
        chosen = ", ".join(f"{name} {value}" for name, value in model.parameters_.items())
        return [
            ("Model", f"{model._called}, {chosen}"),
            *_deciding(model.target_),
            ("Seed", str(model.seed_)),
        ]
    settings = model.settings_
    weights = settings.class_weights
    in_learning = model.target_.classes.in_learning if isinstance(model.target_, ClassTarget) else ()
    by_class = zip(in_learning, weights or (), strict=weights is not None)
    epochs = ", ".join(str(member.best_epoch_) for member in models)
    return [
        ("Model", f"{model._called}, {model.plan_.architecture.summary}"),
        ("Members", str(len(models))),
        (
            "Optimiser",
            f"{settings.told}, dropout {settings.dropout:g}",
        ),
        ("Class weights", ", ".join(f"{name}: {weight:.3g}" for name, weight in by_class) or "none"),
        *_deciding(common_target(models)),
        ("Epochs", epochs if epochs_were is None else f"{epochs}; {epochs_were}"),
        ("Seed", str(model.plan_.order_seed)),
    ]


def _deciding(target: Target) -> list[tuple[str, str]]:
    """Say how probabilities become predictions, where it is not by the largest."""
    if not isinstance(target, ClassTarget) or target.threshold is None:
        return []
    if target.positive is None:
        return [("Prediction", "the class whose probability is largest beside its share of the bags learnt from")]
    return [("Prediction", f"{target.positive} where its probability is above {target.threshold:.3g}")]
