"""The page about a run: what was learnt from, how, and which instances count in which bag."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.explain import Explanation, explain
from bagwise.methods.neural import NeuralMIL
from bagwise.reports import BagView, Metric, Report

__all__ = ["training_report"]

_MOST_BAGS = 200


def training_report(
    models: Sequence[NeuralMIL], bags: Bags, metrics: Mapping[str, Any], data: str, epochs_were: str
) -> Report:
    """Put together what the page of a run says.

    Parameters
    ----------
    models
        The members.
    bags
        The bags learnt from, with labels.
    metrics
        As ``metrics.json`` has them.
    data
        What the user calls the data.
    epochs_were
        How the number of epochs came about.

    Returns
    -------
    Report
    """
    assert bags.labels is not None
    model, settings = models[0], models[0].settings_
    shown = bags[_some_of_each_class(bags.labels)]
    found = explain(models, shown)
    classes = [str(name) for name in model.classes_]
    shares = _shares(found, shown)
    views, labels = [], shown.labels
    assert labels is not None
    pictures = len(bags.instance_shape) > 1 and bags.instances.dtype == np.uint8
    for position, name in enumerate(shown.names):
        rows = slice(*shown.offsets[position : position + 2])
        best = int(found.probabilities[position].argmax())
        views.append(
            BagView(
                name=name,
                label=str(labels[position]),
                predicted=classes[best],
                probability=float(found.probabilities[position, 1 if len(classes) == 2 else best]),
                weights=shares[rows],
                images=shown.instances[rows] if pictures else None,
                instance_names=None if shown.instance_names is None else list(shown.instance_names[rows]),
            )
        )
    counts = zip(*np.unique(bags.labels, return_counts=True), strict=True)
    told = ", ".join(f"{count:,} of class {label}" for label, count in counts)
    notes = [
        "The bags on this page were learnt from, so its predictions are better than those for new bags will be;"
        " bagwise evaluate measures how good these are."
    ]
    if found.weights is None:
        notes.append("This method has no weights of instances: the page shows each instance's share of the scores.")
    if len(shown) < len(bags):
        notes.append(f"The page shows {len(shown)} of the {len(bags):,} bags.")
    return Report(
        title=f"{data}: what decided",
        summary=f"{len(bags):,} bags with {len(bags.instances):,} instances; {told}.",
        metrics=[
            Metric(f"Training {name}", np.nan if metrics[key] is None else metrics[key], note)
            for name, key, note in (
                ("AUC", "training_auc", "How well the bags learnt from are ranked; new bags will do worse."),
                ("accuracy", "training_accuracy", "Share of the bags learnt from that are predicted rightly."),
            )
        ],
        facts=[
            ("Data", f"{data}: instances of shape {bags.instance_shape}"),
            ("Model", f"{type(model).__name__}, encoder {model.plan_.architecture.encoder}"),
            ("Members", str(len(models))),
            (
                "Optimiser",
                f"{settings.optimizer.capitalize()}, learning rate {settings.learning_rate:g}, L2 {settings.l2:g},"
                f" dropout {settings.dropout:g}",
            ),
            ("Class weights", "none" if settings.class_weights is None else _listed(classes, settings.class_weights)),
            ("Epochs", f"{', '.join(str(member.best_epoch_) for member in models)}; {epochs_were}"),
            ("Seed", str(model.plan_.order_seed)),
            ("Time", f"{metrics['seconds']:.0f} s"),
        ],
        history=model.history_,
        bags=views,
        notes=notes,
    )


def _some_of_each_class(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Choose the first bags of each class, as many of each as there is room for."""
    room = max(1, _MOST_BAGS // len(np.unique(labels)))
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:room] for label in np.unique(labels)]))


def _shares(found: Explanation, bags: Bags) -> NDArray[np.floating]:
    """Give importance a sum of 1 in each bag, which scores do not have."""
    shares: NDArray[np.floating] = found.importance / np.repeat(
        np.add.reduceat(found.importance, bags.offsets[:-1]), bags.sizes
    )
    return shares


def _listed(classes: Sequence[str], weights: Sequence[float]) -> str:
    return ", ".join(f"{name}: {weight:.3g}" for name, weight in zip(classes, weights, strict=True))
