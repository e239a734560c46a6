"""The card of a model: what it learnt from and how, how good it is and on what, and what it is not for."""

import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from bagwise._version import __version__
from bagwise.bags import Bags
from bagwise.commands.relying_report import measured_held_out, reliance_facts
from bagwise.commands.report_facts import data_facts, model_facts
from bagwise.evaluation.metrics import METRICS
from bagwise.files import write_text
from bagwise.methods.asked import common_target
from bagwise.reports import Section
from bagwise.targets.contract import Target
from bagwise.text import encodable, printable
from bagwise.trust.kept import Kept
from bagwise.trust.reliance import Reliance

__all__ = ["CARD", "card_of", "on_training", "who_learnt", "write_card"]

CARD = "card.md"

_ENOUGH = 30
_SAID_BELOW = ("Seed", "Prediction")
_ELSEWHERE = (
    "Not measured, nor for subgroups: bagwise validate RUN DATA --by COLUMN does so on labelled bags from there."
)
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch")
_ACTS = re.compile(r"([\\`*_\[\]<>#|&~])")  # in Markdown


def card_of(
    models: Sequence[Any],
    bags: Bags,
    asked: Mapping[str, Any],
    good: Sequence[tuple[str, str]],
    protocol: Sequence[tuple[str, str]] = (),
    epochs_were: str | None = None,
    relied: Reliance | None = None,
) -> list[Section]:
    """Put together what the card of a run says.

    Parameters
    ----------
    models
        The members.
    bags
        The bags learnt from, with labels.
    asked
        What the run was asked for, as ``config.json`` has it.
    good
        How good it is: pairs of what was measured, and on what, and the value.
    protocol
        Which bags learnt, and which decided.
    epochs_were
        How the number of epochs came about; None of a method that has none.
    relied
        What the run keeps of bags held out; None where nothing is.

    Returns
    -------
    list of Section
    """
    target = common_target(models) if relied is None else relied.deciding()
    data = asked["data"]
    columns = {name: data.get(name) for name in ("label", "group", "weight", "split")}
    named = [(f"Column of the {name}", ", ".join(_listed(value))) for name, value in columns.items() if value]
    sections = [
        Section("Model", [fact for fact in model_facts(models, epochs_were) if fact[0] not in _SAID_BELOW]),
        Section(
            "Data it learnt from",
            [("Data", str(data.get("data"))), ("Digest", str(asked.get("digest"))), *named, *data_facts(bags, target)],
        ),
        Section("How it learnt", [*protocol, ("Seed", str(asked.get("seed")))]),
        *_deciding(target, relied),
        Section("How good it is", [*good, ("Elsewhere", _ELSEWHERE)]),
        Section("What it is not for", list(_limits(bags, target))),
        Section("Versions", _versions()),
    ]
    if note := asked.get("note"):
        sections.append(Section("Note", [("", encodable(str(note)))]))  # the user's own Markdown
    return sections


def _deciding(target: Target, relied: Reliance | None) -> list[Section]:
    """Say what becomes of probabilities."""
    if target.names is None:
        return []
    facts = [] if relied is None else [fact for fact in reliance_facts(relied) if fact[0] == "Calibration"]
    facts = facts or [("Calibration", "None: probabilities are as the model gives them.")]
    if target.positive is not None:
        threshold = getattr(target, "threshold", None)
        above = 0.5 if threshold is None else threshold
        aim = "" if relied is None or relied.aim is None else f" ({relied.aim.told})"
        facts.insert(0, ("Threshold", f"{target.positive} where its probability is above {above:.3g}{aim}"))
    return [Section("How it decides", facts)]


def on_training(
    models: Sequence[Any], metrics: Mapping[str, Any], relied: Reliance | None = None
) -> list[tuple[str, str]]:
    """Say for a card how good a run is on the bags that it learnt from, and on those held out in turn.

    Parameters
    ----------
    models
        The members.
    metrics
        As ``metrics.json`` has them.
    relied
        What the run keeps of bags held out; None where nothing is.

    Returns
    -------
    list of (str, str)
    """
    names = common_target(models).metrics
    known = [(name, metrics.get(f"training_{name}")) for name in names]
    told = ", ".join(f"{METRICS[name].title} {value:.3f}" for name, value in known if value is not None)
    good = [("On the bags learnt from", f"{told}; new bags will do worse")]
    return good if relied is None or relied.kept is None else [*good, _on_held_out(relied, relied.kept)]


def _on_held_out(relied: Reliance, kept: Kept) -> tuple[str, str]:
    target = relied.deciding()
    of_probabilities = [name for name in ("log_loss", "brier") if target.kind in METRICS[name].kinds]
    found = measured_held_out(relied, kept, list(dict.fromkeys((*target.metrics, *of_probabilities))))
    told = ", ".join(f"{METRICS[name].title} {one}" for name, one in found.items())
    return (
        f"On the same bags, held out of {len(np.unique(kept.fold))} further trainings",
        f"{told}; in brackets 95 % intervals, of bags that several models answered for",
    )


def who_learnt(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say which bags were learnt from, which decided when to stop, and which were left out.

    Parameters
    ----------
    metrics
        Of a run, as ``metrics.json`` has them.

    Returns
    -------
    list of tuple
        Pairs of a name and what is said.

    Examples
    --------
    >>> who_learnt({"bags": 1200, "validation_bags": 0, "bags_left_out": 4})
    [('Learnt from', '1,200 bags'), ('Left out', '4 bags, for tests')]
    """
    told = [("Learnt from", f"{metrics['bags']:,} bags")]
    if metrics.get("validation_bags"):
        told.append(("Decided when to stop", f"{metrics['validation_bags']:,} other bags"))
    if metrics.get("bags_left_out"):
        told.append(("Left out", f"{metrics['bags_left_out']:,} bags, for tests"))
    return told


def write_card(title: str, sections: Sequence[Section], path: Path) -> None:
    r"""Write a card as Markdown.

    Parameters
    ----------
    title
        What the model is called.
    sections
        As `card_of` gives them.
    path
        Where to; an older one is replaced.

    Raises
    ------
    BagwiseError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / CARD
    >>> write_card("attention", [Section("Data", [("Bags", "24_a")])], path)
    >>> print(path.read_text(encoding="utf-8"))
    # Model card: attention
    <BLANKLINE>
    ## Data
    <BLANKLINE>
    - **Bags**: 24\_a
    <BLANKLINE>
    """
    parts = [f"# Model card: {_plain(title)}"]
    for section in sections:
        told = [f"- **{_plain(term)}**: {_plain(fact)}" if term else fact for term, fact in section.facts]
        parts.append(f"## {section.title}\n\n" + "\n".join(told))
    write_text(path, "\n\n".join(parts) + "\n")


def _plain(text: str) -> str:
    """Keep Markdown from acting on what data are called."""
    return _ACTS.sub(r"\\\1", printable(text))


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value]


def _limits(bags: Bags, target: Target) -> list[tuple[str, str]]:
    """Say what the data cannot have taught, as far as they show it."""
    sizes = bags.sizes
    limits = [
        (
            "Other bags",
            f"None of fewer than {sizes.min():,} or more than {sizes.max():,} instances was learnt from.",
        ),
        ("Other places", _places(bags)),
    ]
    labels: Any = bags.labels
    if target.kind in ("classes", "ordinal") and target.names is not None:
        counts = {str(name): int((labels == name).sum()) for name in target.names}
        limits.append(("Other labels", f"It answers with one of {', '.join(counts)}, whatever bag it is shown."))
        rare = [f"{name} ({count:,})" for name, count in counts.items() if count < _ENOUGH]
        if rare:
            limits.append(("Rare labels", f"Fewer than {_ENOUGH} bags were learnt from of {', '.join(rare)}."))
    elif target.kind in ("real", "count"):
        known = np.asarray(labels, np.float64)
        limits.append(("Other numbers", f"No label below {known.min():g} or above {known.max():g} was learnt from."))
    elif target.kind == "survival":
        event, time = (labels[name] for name in labels.dtype.names)
        limits.append(("Later times", f"No event after {time[event].max():g} was learnt from."))
    limits.append(
        ("Single instances", "Labels were of bags: which instances decided is shown, and was not learnt from.")
    )
    return limits


def _places(bags: Bags) -> str:
    if bags.groups is None:
        return "Nobody said which bags belong together, so nothing is known of bags from another site or patient."
    count = len(np.unique(bags.groups))
    return f"It learnt from {count:,} groups; sites, devices and times that are none of theirs are untried."


def _versions() -> list[tuple[str, str]]:
    found = [("bagwise", __version__), ("Python", platform.python_version())]
    for name in _LIBRARIES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
