"""`bagwise fit`: from a user's data to a run."""

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import check_count, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.card import card_of, on_training, who_learnt
from bagwise.commands.data import DataSource, digest_of_labelled, in_memory_if_small
from bagwise.commands.division import for_learning
from bagwise.commands.older import BLOCKS, asked_before, written_before
from bagwise.commands.options import Model, Training, Trust, Work
from bagwise.commands.relying import Relying
from bagwise.commands.relying_report import reliance_metrics
from bagwise.commands.report import training_report
from bagwise.commands.run_files import write_run, write_told
from bagwise.commands.runs import (
    CONFIG,
    HISTORY,
    METRICS,
    MODEL,
    Run,
    check_asked_the_same,
    read_json,
)
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.evaluation.metrics import measure
from bagwise.folders import ResultFolder
from bagwise.methods.asked import Asked, common_target, of_neural_methods
from bagwise.methods.base import BagEstimator
from bagwise.methods.classical.base import ClassicalMIL
from bagwise.methods.classical.files import is_kept
from bagwise.methods.ensemble import fit_ensemble, predict_ensemble
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.parameters import assigned
from bagwise.methods.recipes import Facts
from bagwise.methods.registry import find, make
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.targets.registry import resolve

__all__ = ["check_parameters", "configured", "run_fit"]

_PARAMETERS = {"dtype": "precision"}  # that options give which are spelt otherwise
_OF_NETWORKS = {"epochs", "patience", "class_weight", "device", "precision"}


def check_parameters(methods: Sequence[str], training: Training, work: Work) -> None:
    """Refuse parameters that cannot be set, before any data are read, and say which methods do not have one.

    Parameters
    ----------
    methods
        Their names.
    training, work
        How they are to learn, and where.

    Raises
    ------
    BagwiseError
        If there is no such method, none of them has a parameter, or a value is not what it must be.

    Examples
    --------
    >>> check_parameters(["attention", "MI-Net"], Training(parameters=("l2=1e-4",)), Work())
    """
    kinds = [find(method)[0] for method in methods]
    flags = {"random_state": "--seed"}
    for group in (training, work):
        given = {name: option for name, option in group.options().items() if getattr(group, name) != option.default}
        flags |= {_PARAMETERS.get(name, name): str(option.flag) for name, option in given.items()}

    def having(name: str, called: str) -> list[type[BagEstimator]]:
        found = [kind for kind in kinds if name in kind._get_param_names()]
        for method, kind in zip(methods, kinds, strict=True):
            if found and kind not in found:
                warnings.warn(f"{method} has no {called}: it learns without", BagwiseWarning, stacklevel=3)
        return found

    for name in flags.keys() & _OF_NETWORKS:
        if not having(name, flags[name]):
            raise of_neural_methods(methods[0], flags[name])
    for text in training.parameters:
        name = _name(text)
        if name in flags:
            raise BagwiseError(f"{name} is what {flags[name]} gives: leave it out of --set")
        for kind in having(name, f"parameter {name!r}") or kinds[:1]:
            assigned(kind, [text])
    for kind in kinds:
        assigned(kind, _of(kind, training.parameters))  # each once


def _name(text: str) -> str:
    return text.partition("=")[0].strip()


def _of(kind: type[BagEstimator], texts: Sequence[str]) -> list[str]:
    return [text for text in texts if _name(text) in kind._get_param_names()]


def configured(
    bags: Bags, method: str, training: Training, work: Work | None = None, *, validation: int = 0
) -> tuple[BagEstimator, str | None]:
    """Make a method as it was asked for, and say how long it will train.

    Parameters
    ----------
    bags
        The bags to learn from, with labels.
    method
        Its name.
    training
        How it is to learn; what is not given is left to the method's recipe (`bagwise.methods.recipes`).
    work
        Where and in what neural methods compute; None: as nobody says otherwise.
    validation
        The number of bags that are given to decide when to stop; 0 splits some off where there are enough.

    Returns
    -------
    tuple
        The estimator, and how the number of epochs comes about; None of a method that has none.

    Raises
    ------
    BagwiseError
        If there is no such method, or a parameter is out of its range.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]], [[1.0]]], labels=[0, 1])
    >>> configured(bags, "attention", Training())[1]
    'fixed in advance, because 2 bags are too few to choose by'
    """
    kind = find(method)[0]
    given = assigned(kind, _of(kind, training.parameters))
    if training.class_weight not in (None, "balanced", "none"):
        raise BagwiseError(f"--class-weight is {training.class_weight!r}: it must be 'balanced' or 'none'")
    labels = np.zeros(0, np.int64) if bags.labels is None else bags.labels
    target = resolve(
        training.target or given.get("target", "auto"), labels, names=bags.names, label_names=bags.label_names
    )
    work = work or Work()
    said = {"epochs": training.epochs, "patience": training.patience, "class_weight": training.class_weight}
    said |= {"target": training.target, "precision": work.dtype}
    settings = {name: None if value == "none" else value for name, value in said.items() if value is not None}
    alike: dict[str, Any] = {"positive": training.positive, "random_state": training.seed, "device": work.device}
    if not issubclass(kind, NeuralMIL):
        # A method of the user's own need not have what nobody asked for.
        if training.target is not None and target != "classes" and "target" not in kind._get_param_names():
            raise BagwiseError(
                f"the method {method!r} learns classes, and --target is {training.target!r}: leave it out"
            )
        if validation:
            unused = f"the {validation} bags for validation decide nothing"
            warnings.warn(f"{method} has no epochs to choose: {unused}", BagwiseWarning, stacklevel=2)
        own = {*kind._get_param_names()} | ({"positive"} if training.positive is not None else set())
        asked = {name: value for name, value in (alike | settings).items() if name in own}
        return make(method, **asked | given), None
    model = make(method, **alike, **settings | given)
    assert isinstance(model, NeuralMIL)
    everything = np.arange(len(bags))
    return model, model._recipe(Facts.of(bags, everything, model._target_of(bags, everything), validation)).why


@claims_folder("fit", older=written_before(CONFIG, MODEL, METRICS, HISTORY, "report.html", BLOCKS))
def run_fit(
    source: DataSource,
    out: Path,
    model: Model,
    training: Training,
    work: Work,
    trust: Trust | None = None,
    *,
    verbose: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train a method, or an ensemble of it, and write a run.

    Parameters
    ----------
    source
        The data. Where it has a `split`, bags for train are learnt from, those for val decide when to stop, and the
        rest is left out.
    out
        The folder for ``model.safetensors``, ``config.json``, ``metrics.json``, ``card.md``, ``report.html``, of a
        neural method ``history.csv``, ``seen.safetensors``, and, where something was learnt from bags held out,
        ``trust.safetensors`` and the models of ``folds``.
    model, training, work
        What is trained, how, and where. A run that is finished is left as it is where it is resumed.
    trust
        How answers become what is told; None: as nobody says otherwise.
    verbose
        Show progress.
    tell
        Is told, before bags are held out, what that costs.

    Returns
    -------
    dict
        What is in ``metrics.json``.

    Raises
    ------
    BagwiseError
        If the data or a parameter will not do, or the folder is in use or holds another run.
    """
    trust = trust or Trust()
    relying, begin = Relying(trust), time.perf_counter()
    _check_asked(model, training, work)
    bags = in_memory_if_small(source.read())
    weights = source.weights(bags)
    asked = {
        "data": source.told(),
        "digest": digest_of_labelled(bags, weights),
        **model.told(),
        **training.told(),
        **trust.told(),
    }
    bags, weights, validation, left_out, division = for_learning(bags, weights, source)
    asked |= division
    learnt_from = bags if not validation.any() else bags[~validation]
    counted = None if weights is None else weights[~validation]
    assert learnt_from.labels is not None
    before: Run | None = None
    if work.resume and (out / MODEL).exists():
        before = Run.load(out, method=model.method)
        check_asked_the_same(out / CONFIG, asked_before(read_json(out / CONFIG), asked), asked)
    estimator, why = configured(learnt_from, model.method, training, work, validation=int(validation.sum()))
    relying.check(estimator._target_of(bags, np.flatnonzero(~validation)), learnt_from.labels, counted)
    working: dict[str, Any] = {"n_jobs": work.jobs, "verbose": verbose}
    models: Sequence[Asked]
    deciding = validation if validation.any() and isinstance(estimator, NeuralMIL) else None
    if before is not None:
        models = before.models
    elif isinstance(estimator, ClassicalMIL):
        models = [estimator.fit(learnt_from, sample_weight=counted)]
    else:
        assert isinstance(estimator, NeuralMIL)
        models = fit_ensemble(
            estimator,
            bags,
            model.ensemble,
            sample_weight=weights,
            validation=deciding,
            checkpoints=out / "checkpoints",
            **working,
        )
    told = (out / METRICS).exists() and (out / "report.html").exists()
    # Before anything is written: models without an answer are no run.
    said = None if told else predict_ensemble(models, learnt_from).probabilities
    if before is None:
        worth = relying.learn(
            estimator,
            bags,
            common_target(models),
            validation=validation,
            size=model.ensemble,
            weights=weights,
            seed=training.seed,
            checkpoints=out / "checkpoints" / "held-out",
            tell=tell,
            **working,
        )
        worth.write(out, models, learnt_from, asked, None if deciding is None else bags[deciding])
        write_run(out, models, asked)
    if said is not None:
        relied = before.reliance if before is not None else worth.relied
        target = common_target(models)
        if relied is not None:
            target, said = relied.deciding(), relied.answers(said)
        metrics = _metrics(models, target, learnt_from, counted, said, why, time.perf_counter() - begin)
        if relied is not None:
            metrics |= reliance_metrics(relied, learnt_from.labels)
        if left_out is not None:
            metrics |= {"validation_bags": int(validation.sum()), "bags_left_out": left_out}
        page = training_report(models, learnt_from, said, metrics, source.data, why, source.weight, relied)
        good = on_training(models, metrics, relied)
        card = card_of(models, learnt_from, asked, good, who_learnt(metrics), why, relied)
        write_told(out, f"{model.method} on {source.data}", page, card, metrics)
    ResultFolder(out).clear("checkpoints")
    return read_json(out / METRICS)


def _check_asked(model: Model, training: Training, work: Work) -> None:
    """Refuse, before any data are read, what cannot be trained and kept."""
    check_seed(training.seed)
    check_count("--ensemble", model.ensemble)
    check_parameters([model.method], training, work)
    kind = find(model.method)[0]
    if not issubclass(kind, NeuralMIL) and not is_kept(kind):
        raise BagwiseError(
            f"{model.method} cannot be kept in a file: fit a neural method, or measure {model.method} with bagwise"
            " evaluate"
        )
    if is_kept(kind) and model.ensemble > 1:
        raise BagwiseError(f"--ensemble is {model.ensemble}, and {model.method} has no initial weights: leave it out")


def _metrics(
    models: Sequence[Asked],
    target: Target,
    bags: Bags,
    weights: NDArray[np.float64] | None,
    answers: NDArray[np.floating],
    why: str | None,
    seconds: float,
) -> dict[str, Any]:
    assert bags.labels is not None
    on_training = measure(target, bags.labels, answers, weights=weights)
    return {
        "bags": len(bags),
        "instances": len(bags.instances),
        "target": target.kind,
        **target.told(),
        "positive": None if target.positive is None else str(target.positive),
        **({"threshold": target.threshold} if isinstance(target, ClassTarget) and target.threshold is not None else {}),
        "members": len(models),
        **({} if why is None else {"epochs_were": why}),
        **_learning(models),
        **{f"training_{name}": None if np.isnan(value) else value for name, value in on_training.items()},
        "seconds": round(seconds, 1),
    }


def _learning(models: Sequence[Any]) -> dict[str, Any]:
    """Say how learning went: of a classical method what was chosen, and how good that was on bags held out."""
    if isinstance(models[0], ClassicalMIL):
        errors = models[0].validation_errors_
        return {"parameters": models[0].parameters_, "inner_error": min(errors) if errors else None}
    last = [member.history_[member.best_epoch_ - 1] for member in models]
    measured = [name for name in ("loss", "validation_loss", "validation_error") if name in last[0]]
    return {
        "epochs": [member.best_epoch_ for member in models],
        **{name: float(np.mean([entry[name] for entry in last])) for name in measured},
    }
