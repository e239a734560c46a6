"""MNIST-bags (paper, section 4.2): figures 1 to 3, and what instances count there."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV

from bagwise.bags import Bags
from bagwise.datasets.digits import load_digits
from bagwise.datasets.generator import TrainingAndTest, mnist_bags
from bagwise.evaluation.key_instances import agreement, key_instance_metrics
from bagwise.evaluation.metrics import bag_metrics
from bagwise.experiments.cells import cell, cells_on_workers
from bagwise.explain.faithfulness import deletion_curves
from bagwise.explain.instances import Explanation, explain
from bagwise.methods.classical.instance_svm import BagMarginSVM
from bagwise.methods.ensemble import fit_ensemble, predict_ensemble
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.recipes import PAPER
from bagwise.methods.registry import make

__all__ = [
    "ENSEMBLE",
    "METHODS",
    "SEEDS",
    "TARGET",
    "VARIANCES",
    "Sweep",
    "answers",
    "as_vectors",
    "choose_svm",
    "digest_of_digits",
    "draw_bags",
]

TARGET = 9
VARIANCES = {10: 2, 50: 10, 100: 20}  # of the bags' size, by its mean (paper, section 4.2)
METHODS = (
    "attention",
    "gated-attention",
    "embedding-max",
    "embedding-mean",
    "instance-max",
    "instance-mean",
    "MI-SVM",
    "attention-ensemble",
)
# Attention members of one training set that differ in nothing but chance, averaged; what their images are augmented by.
ENSEMBLE, SEEDS = "attention-ensemble", "attention-seeds"
_ENSEMBLES = {ENSEMBLE: "affine", SEEDS: None}
_MEMBERS = 5
# Training sets at each mean size, by their number of bags. The smallest differ most, so more of them are drawn.
GRID = {
    10: {50: 10, 100: 5, 150: 5, 200: 5, 300: 5, 400: 5, 500: 5},
    50: {50: 3, 100: 3, 150: 3, 200: 3},
    100: {50: 3, 100: 3, 150: 3},
}
_REMOVED = 10  # instances, at most, to see whether a model decides by them
_REMOVED_FROM = 1000  # instances: the first positive test bags that hold about so many
_SVM_GRID = {"C": [1.0, 10.0, 100.0], "gamma": [0.25, 1.0, 4.0]}


class Sweep(NamedTuple):
    """What is asked at one mean bag size.

    Attributes
    ----------
    mean_size
        Of the bags; one of `VARIANCES`.
    repeats
        How many training sets are drawn, by their number of bags.
    at_most
        Of these, how many a costly method learns from, by its name.
    methods
        Of `METHODS`, or `SEEDS`: the ensemble without augmentation, to see what chance alone changes.
    epochs
        Of the neural methods, fixed in advance.
    test_bags
        How many test bags there are.
    seed
        Decides all training and test bags and all models.
    source
        As `load_digits` takes it.

    Examples
    --------
    >>> Sweep(10, {50: 20, 100: 10}, {"MI-SVM": 5}).epochs
    40
    """

    mean_size: int
    repeats: Mapping[int, int]
    at_most: Mapping[str, int]
    methods: tuple[str, ...] = METHODS
    epochs: int = 40
    test_bags: int = 1000
    seed: int = 0
    source: str = "full"

    def questions(self, svm: Mapping[str, float] | None, digest: str) -> list[dict[str, Any]]:
        """List the cells, so that all methods have been through one training set before the next one comes.

        Parameters
        ----------
        svm
            Hyper-parameters of MI-SVM, from `choose_svm`; None where it does not take part.
        digest
            Of the digits.

        Returns
        -------
        list of dict
            All that `answers` needs to know.
        """
        listed = []
        for repetition in range(max(self.repeats.values())):
            for bags, repeats in self.repeats.items():
                for method in self.methods:
                    if repetition < min(repeats, self.at_most.get(method, repeats)):
                        question = {
                            "mean_size": self.mean_size,
                            "training_bags": bags,
                            "repetition": repetition,
                            "method": method,
                            "test_bags": self.test_bags,
                            "seed": self.seed,
                            "source": self.source,
                            "digits": digest,
                        }
                        parameters = dict(svm or {}) if method == "MI-SVM" else {"epochs": self.epochs}
                        listed.append({**question, "parameters": parameters})
        return listed


def answers(
    questions: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    jobs: int,
    directory: Path | None,
    tell: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Train and measure, cell by cell, on several workers.

    Parameters
    ----------
    questions
        As `Sweep.questions` gives them.
    folder
        Where finished cells are kept.
    jobs
        Number of worker processes; -1 is one a core.
    directory
        The data directory.
    tell
        Is told of each finished cell.

    Returns
    -------
    list of dict
        An answer a question: ``scores`` of the bags; ``instances``, the metrics of each kind of value of the instances;
        ``deletion``, mean probabilities of positive bags as their instances are removed; ``seconds``; of an ensemble
        also ``members``, the AUC of each, and their ``agreement`` on instances.

    Raises
    ------
    BagwiseError
        If MNIST is missing or a cell is damaged.
    """

    def told(question: Mapping[str, Any], answer: Mapping[str, Any], done: int) -> None:
        tell(
            f"{question['method']}, {question['training_bags']} bags of {question['mean_size']}, repetition"
            f" {question['repetition'] + 1}: AUC {answer['scores']['auc']:.3f}, {answer['seconds']:.0f} s"
            f" ({done} of {len(questions)})"
        )

    measure = partial(_measure, directory=directory)
    return cells_on_workers(folder, questions, measure, jobs=jobs, tell=told)


def draw_bags(question: Mapping[str, Any], directory: Path | None) -> TrainingAndTest:
    """Draw the bags of a cell: the same for all methods, others for each number of bags and repetition.

    Parameters
    ----------
    question
        As `Sweep.questions` gives them.
    directory
        The data directory.

    Returns
    -------
    TrainingAndTest
    """
    return mnist_bags(
        TARGET,
        count=question["training_bags"],
        test_count=question["test_bags"],
        mean_size=question["mean_size"],
        variance=VARIANCES[question["mean_size"]],
        seed=_seed(question),
        source=question["source"],
        directory=directory,
    )


def choose_svm(
    folder: Path, bags: int, seed: int, source: str, digest: str, directory: Path | None, jobs: int
) -> dict[str, float]:
    """Choose MI-SVM's C and gamma by cross-validation on a training set of its own, of mean bag size 10.

    Parameters
    ----------
    folder
        Where finished cells are kept.
    bags
        How many to learn from.
    seed, source
        As in `Sweep`.
    digest
        Of the digits.
    directory
        The data directory.
    jobs
        Number of worker processes.

    Returns
    -------
    dict
        ``C`` and ``gamma``.
    """
    question = {
        "mean_size": 10,
        "training_bags": bags,
        "repetition": -1,
        "test_bags": 1,
        "seed": seed,
        "source": source,
        "digits": digest,
        "grid": _SVM_GRID,
    }

    def answer() -> dict[str, Any]:
        train = as_vectors(draw_bags(question, directory).train)
        search = GridSearchCV(_svm({}, seed), _SVM_GRID, scoring="roc_auc", cv=3, n_jobs=jobs, refit=False)
        search.fit(train, train.labels)
        tried = [
            {**point, "auc": float(auc)}
            for point, auc in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True)
        ]
        return {"chosen": search.best_params_, "tried": tried}

    chosen: dict[str, float] = cell(folder, question, answer)["chosen"]
    return chosen


def digest_of_digits(source: str, directory: Path | None) -> str:
    """Sum up the images, so that a cell is only ever read again for the same ones.

    Parameters
    ----------
    source, directory
        As `load_digits` takes them.

    Returns
    -------
    str
        A hash in hexadecimal.
    """
    digits = load_digits(source, directory)
    digest = blake2b(digest_size=16)
    for part in (digits.train_images, digits.train_labels, digits.test_images, digits.test_labels):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def _measure(question: Mapping[str, Any], directory: Path | None) -> dict[str, Any]:
    begin = time.perf_counter()
    train, test = draw_bags(question, directory)
    models = _fitted(question, train)
    training_seconds = time.perf_counter() - begin
    alone: list[Explanation] = []
    if isinstance(models[0], NeuralMIL):
        alone = [explain([model], test) for model in models]
        probabilities = np.mean([one.probabilities for one in alone], axis=0)
        values = {"score": np.mean([one.scores for one in alone], axis=0)}
        weights = [one.weights for one in alone if one.weights is not None]
        if weights:
            values["attention"] = np.mean(weights, axis=0)
    else:
        test = as_vectors(test)
        probabilities, values = models[0].predict_proba(test), {"score": models[0].instance_scores(test)}
    matters, positive = _truth(test)
    answer = {
        "scores": bag_metrics(positive.astype(int), probabilities, models[0].classes_),
        "instances": {kind: key_instance_metrics(test, value, matters, positive) for kind, value in values.items()},
        "deletion": _deletion(models, test, values, positive, question),
    }
    if len(alone) > 1:
        answer["agreement"] = agreement(test, [one.importance for one in alone], positive)._asdict()
        answer["members"] = [float(roc_auc_score(positive, one.probabilities[:, 1])) for one in alone]
    answer["training_seconds"] = round(training_seconds, 1)
    return answer | {"seconds": round(time.perf_counter() - begin, 1)}


def _fitted(question: Mapping[str, Any], train: Bags) -> list[Any]:
    method, parameters, seed = question["method"], question["parameters"], _seed(question)
    if method == "MI-SVM":
        return [_svm(parameters, seed).fit(as_vectors(train))]
    if method in _ENSEMBLES:
        model = make("attention", random_state=seed, augmentation=_ENSEMBLES[method], **PAPER, **parameters)
        return fit_ensemble(model, train, _MEMBERS)
    return [make(method, random_state=seed, **PAPER, **parameters).fit(train)]


def _deletion(
    models: Sequence[Any],
    test: Bags,
    values: Mapping[str, NDArray[Any]],
    positive: NDArray[np.bool_],
    question: Mapping[str, Any],
) -> dict[str, list[float]]:
    """Give the mean probability of positive test bags as their instances are removed, by each value and at random."""

    def predict_proba(bags: Bags) -> NDArray[Any]:
        if isinstance(models[0], NeuralMIL):
            return predict_ensemble(models, bags).probabilities
        probabilities: NDArray[Any] = models[0].predict_proba(bags)
        return probabilities

    chosen = np.flatnonzero(positive)[: _REMOVED_FROM // question["mean_size"]]
    rows = test.rows(chosen)
    orders = {kind: value[rows] for kind, value in values.items()}
    orders["random"] = np.random.default_rng(_seed(question)).random(len(rows))
    curves = {kind: deletion_curves(predict_proba, test[chosen], order, _REMOVED) for kind, order in orders.items()}
    return {kind: curve[:, :, 1].mean(axis=0).tolist() for kind, curve in curves.items()}


def _truth(test: Bags) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    assert test.instance_labels is not None
    assert test.labels is not None
    return test.instance_labels == TARGET, test.labels == 1


def _svm(parameters: Mapping[str, Any], seed: int) -> BagMarginSVM:
    return BagMarginSVM(kernel="rbf", standardize=False, random_state=seed, **parameters)


def as_vectors(bags: Bags) -> Bags:
    """Put raw pixels, 0 to 1, in the place of images.

    Parameters
    ----------
    bags
        Of images of grey levels from 0 to 255, shape (H, W).

    Returns
    -------
    Bags
        Of vectors, shape (H * W,).

    Examples
    --------
    >>> as_vectors(Bags.from_arrays([np.full((2, 28, 28), 255)], labels=[1])).instances.shape
    (2, 784)
    """
    pixels = bags.instances[:].reshape(len(bags.instances), -1) / 255.0
    return Bags(pixels, bags.offsets, bags.labels, bags.names, instance_labels=bags.instance_labels)


def _seed(question: Mapping[str, Any]) -> int:
    parts = [question["seed"], question["mean_size"], question["training_bags"], question["repetition"] + 1]
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
