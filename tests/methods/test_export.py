"""An exported file says by onnxruntime what the model says; what ONNX cannot hold is refused, and nothing written."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.bags import Bags
from bagwise.methods import export
from bagwise.methods.ensemble import fit_ensemble, predict_ensemble
from bagwise.methods.neural import NeuralMIL
from bagwise.models.pooling import EMBEDDING_POOLINGS, INSTANCE_POOLINGS, Pooled, Pooling
from bagwise.segments import segment_max, segment_mean, segment_repeat

NEURAL = [name for name, (kind, _) in METHODS.items() if issubclass(kind, NeuralMIL)]
PLAIN = ("max", "mean", "log-sum-exp")
OF_PARTS = {
    **{f"instance {name}": bw.InstanceMIL(pooling=name) for name in INSTANCE_POOLINGS},
    **{f"embedding {name}": bw.EmbeddingMIL(pooling=name) for name in EMBEDDING_POOLINGS if name in PLAIN},
    "deep supervision log-sum-exp": bw.DeepSupervisionMIL(pooling="log-sum-exp"),
    "residual log-sum-exp": bw.ResidualMIL(pooling="log-sum-exp"),
    "counting, told the size": bw.AttentionMIL(counting=True, gated=True, size=True),
    "clipped": bw.AttentionMIL(standardize=True, clip=1.0),
    "not scaled": bw.AttentionMIL(standardize=False),
    "double": bw.AttentionMIL(precision="float64"),
}
# Methods that are no more than a class and a pooling have one of these for their twin.
OTHERS = [name for name in NEURAL if not any(repr(bw.make(name)) == repr(model) for model in OF_PARTS.values())]
TIED = (
    "graph",
    "smooth-attention",
    "self-attention",
    "TransMIL",
)  # of which each instance asks for the others of its bag
# Poolings of probabilities are others for two classes than for three; of all else a head is wider, so that every level
# meets both and no pooling needs to.
SWEPT = [
    (name, classes)
    for place, name in enumerate([*OF_PARTS, *(name for name in OTHERS if name not in TIED)])
    for classes in ((2, 3) if name.startswith("instance ") else (2 + place % 2,))
]


def started(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def said_by(file, bags):
    """Ask the file as a program without Bagwise would."""
    named = {"instances": bags.instances, "offsets": bags.offsets}
    names = [output.name for output in file.get_outputs()]
    return dict(zip(names, file.run(names, named), strict=True))


def bags_of(sizes, seed=0):
    offsets = np.cumsum([0, *sizes])
    return Bags(np.random.default_rng(seed).normal(size=(offsets[-1], 3)) * 2 + 0.5, offsets)


def assert_says_the_same(file, models, bags):
    """Bag by bag: in float32, `predict` itself adds the thousands of a bag up better where it is alone."""
    said = said_by(file, bags)
    alone = [bags[[number]] for number in range(len(bags))]
    wanted = np.concatenate([predict_ensemble(models, bag).probabilities for bag in alone])
    assert said["answers"].dtype == wanted.dtype
    np.testing.assert_allclose(said["answers"], wanted, rtol=0, atol=1e-6)
    assert ("weights" in said) == (models[0]._predict(alone[0]).weights is not None)
    if "weights" in said:
        weights = [np.concatenate([model.attention(bag) for bag in alone]) for model in models]
        np.testing.assert_allclose(said["weights"], np.mean(weights, axis=0), rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def exported(make_bags, tmp_path_factory):
    """Give an ensemble on words of which the first is positive, and its file."""
    bags = make_bags(kind="string")[[*range(16), *range(16, 24, 2)]]  # classes are not even
    bags = Bags(bags.instances, bags.offsets, bags.labels, feature_names=("a", "b", "c"))
    first = sorted(set(bags.labels.tolist()))[0]
    model = bw.AttentionMIL(encoder="identity", gated=True, hidden=8, epochs=5, positive=first, random_state=0)
    model.set_params(class_weight="balanced")
    models = fit_ensemble(model, bags, 2)
    path = tmp_path_factory.mktemp("exported") / "new" / "model.onnx"
    return models, path, bw.export_onnx(models, path)


SIZES = st.lists(st.one_of(st.integers(1, 30), st.integers(1, 10_000)), min_size=1, max_size=5)


@pytest.mark.slow(seconds=8)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(sizes=SIZES, seed=st.integers(0, 99))
def test_the_file_says_what_the_ensemble_says_of_bags_of_any_size_and_number(exported, sizes, seed):
    models, path, _ = exported
    assert_says_the_same(started(path), models, bags_of(sizes, seed))


def test_the_file_is_a_whole_one_that_says_what_it_is(exported):
    models, path, described = exported
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(str(path), full_check=True)
    file = started(path)
    assert json.loads(file.get_modelmeta().custom_metadata_map["bagwise"]) == described
    assert described["classes"] == models[0].classes_.tolist()
    assert described["positive"] == models[0].positive_ == models[0].classes_[0]
    assert described["feature_names"] == ["a", "b", "c"]
    assert described["inputs"] == {"instances": ["float64", ["instances", 3]], "offsets": ["int64", ["bags + 1"]]}
    assert described["outputs"] == {"answers": ["float32", ["bags", 2]], "weights": ["float32", ["instances"]]}
    assert (described["members"], described["class"], described["bagwise"]) == (2, "AttentionMIL", bw.__version__)


def test_the_file_tells_nothing_of_the_machine(exported):
    assert b".py" not in exported[1].read_bytes()


def test_only_what_bagwise_exported_is_replaced(exported, tmp_path, monkeypatch):
    models, path, described = exported
    other = tmp_path / "model.onnx"
    other.write_bytes(b"somebody's")
    with pytest.raises(BagwiseError, match="Bagwise did not write it"):
        bw.export_onnx(models, other)
    assert other.read_bytes() == b"somebody's"
    before = path.stat().st_ino
    content = path.read_bytes()
    monkeypatch.setattr("bagwise.methods.export._exported", lambda *_: (content, described))  # takes seconds
    bw.export_onnx(models, path)
    assert path.stat().st_ino != before


def test_a_name_by_which_no_program_knows_the_file_is_refused(exported, tmp_path):
    with pytest.raises(BagwiseError, match=r"does not end in \.onnx"):
        bw.export_onnx(exported[0], tmp_path / "model.bin")


def test_classical_methods_are_refused(make_bags, tmp_path):
    model = bw.make("MI-Kernel").fit(make_bags())
    with pytest.raises(BagwiseError, match="export_onnx needs a neural method"):
        bw.export_onnx(model, tmp_path / "model.onnx")


class GoesByNumber(Pooling):
    """Says another thing in a longer file of bags, which a trace does not show."""

    def forward(self, values, offsets):
        return Pooled(segment_mean(values, offsets) * (1.0 if len(offsets) < 5 else 1.0 + 1e-3))


class Loops(Pooling):
    def forward(self, values, offsets):
        parts = [values[begin:end].mean(0) for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist())]  # noqa: B905
        return Pooled(torch.stack(parts))


class Rounded(bw.EmbeddingMIL):
    """Answers with more than its model."""

    def predict_proba(self, X):
        return super().predict_proba(X).round()


class Centred(Pooling):
    """By Bagwise's segment operations alone, which ONNX can hold."""

    def forward(self, values, offsets):
        mean = segment_mean(values, offsets)
        return Pooled(mean + segment_max((values - segment_repeat(mean, offsets)).abs(), offsets))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "given"),
    [(bw.EmbeddingMIL, {"pooling": GoesByNumber}), (bw.EmbeddingMIL, {"pooling": Loops}), (Rounded, {})],
    ids=["GoesByNumber", "Loops", "Rounded"],
)
def test_what_onnx_cannot_hold_is_refused_in_a_sentence(make_bags, tmp_path, kind, given):
    model = kind(encoder="identity", epochs=1, random_state=0, **given).fit(make_bags())
    with pytest.raises(BagwiseError, match=rf"^ONNX cannot hold this {kind.__name__}") as caught:
        bw.export_onnx(model, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TIED)
def test_instances_that_see_each_other_are_refused_in_a_sentence(make_bags, tmp_path, name):
    model = bw.make(name, encoder="identity", epochs=1, random_state=0).fit(make_bags())
    with pytest.raises(BagwiseError, match="see each other in .*: keep the model with save_model"):
        bw.export_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_parts_of_the_users_own_are_exported_where_onnx_can_hold_them(make_bags, tmp_path):
    encoder = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.GELU(), torch.nn.LayerNorm(6))
    model = bw.EmbeddingMIL(encoder=encoder, pooling=Centred, epochs=3, random_state=0).fit(make_bags())
    bw.export_onnx(model, tmp_path / "model.onnx")
    assert_says_the_same(started(tmp_path / "model.onnx"), [model], bags_of([1, 3, 10_000, 7]))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "classes"), SWEPT)
def test_every_pooling_level_and_method_is_exported(make_bags, tmp_path, name, classes):
    """Of one model each: what an ensemble says is their mean, whatever they are, and `exported` is one of two."""
    model = OF_PARTS[name] if name in OF_PARTS else bw.make(name)
    if (name, classes) in [("instance noisy-or", 3), ("instance noisy-and", 2)]:
        # Of logits in the thousands, which noisy-or has here, float32 keeps 1e-4; the slope of noisy-and makes more of
        # what float32 loses of a mean of thousands.
        model.set_params(precision="float64")
    bags = make_bags(classes=classes)[[*range(16), *range(16, 24, classes)]]  # classes are not even
    models = [model.set_params(epochs=10, class_weight="balanced", random_state=0).fit(bags)]
    bw.export_onnx(models, tmp_path / "model.onnx")
    file = started(tmp_path / "model.onnx")
    for sizes in ([1], [3, 4], [10_000], [1] * 50, [1, 4000, 2, 3000]):
        assert_says_the_same(file, models, bags_of(sizes))


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "given"), [((28, 28), {}), ((16, 16, 3), {}), ((18, 17, 3), {"crop": 16})])
def test_models_of_images_take_pixels(tmp_path, shape, given):
    rng = np.random.default_rng(0)
    bags = Bags(rng.integers(0, 256, (100, *shape), np.uint8), np.arange(0, 101, 10), np.arange(10) % 2)
    model = bw.AttentionMIL(epochs=1, random_state=0, **given).fit(bags)
    described = bw.export_onnx(model, tmp_path / "model.onnx")
    assert described["inputs"]["instances"] == ["uint8", ["instances", *shape]]
    assert_says_the_same(started(tmp_path / "model.onnx"), [model], bags)


def once(exported):
    """Let a run be exported, which takes seconds, when it is first asked for."""
    known = []

    def known_or_exported(*given):
        if not known:
            known.append(exported(*given))
        return known[0]

    return known_or_exported


@pytest.mark.slow
def test_a_run_on_musk1_is_exported_by_the_command(run, data_directory, tmp_path, monkeypatch):
    monkeypatch.setenv("BAGWISE_DATA", str(data_directory))
    fit = run("fit", "musk1", "--epochs", 5, "--jobs", 1, "--ensemble", 2, "--out", tmp_path / "run", "--json")
    assert fit.status == 0, fit.told
    monkeypatch.setattr(export, "_exported", once(export._exported))
    shown = run("export", tmp_path / "run", "--out", tmp_path / "model.onnx")
    assert shown.status == 0, shown.told
    done = run("export", tmp_path / "run", "--out", tmp_path / "model.onnx", "--json")
    written = json.loads(done.out)
    assert written["file"] == str(tmp_path / "model.onnx")
    assert written["inputs"]["instances"] == ["float64", ["instances", 166]]
    with np.load(data_directory / "musk1" / "musk1.npz") as file:
        instances = file["X"][np.argsort(file["bag"], kind="stable")].astype(np.float64)
        offsets = np.cumsum([0, *np.bincount(file["bag"])])
    said = said_by(started(tmp_path / "model.onnx"), Bags(instances, offsets))
    predicted = json.loads(run("predict", tmp_path / "run", "musk1", "--json").out)
    wanted = [[row[f"probability_{label}"] for label in written["classes"]] for row in predicted]
    np.testing.assert_allclose(said["answers"], wanted, rtol=0, atol=1e-6)


TIMES = np.random.default_rng(1).exponential(size=24)
LABELS = {
    "multi-label": np.random.default_rng(0).integers(0, 2, (24, 3)),
    "real": np.random.default_rng(0).normal(5, 3, (24, 2)),
    "count": np.random.default_rng(0).poisson(3, 24),
    "ordinal: 0 < 1 < 2 < 3": np.arange(24) % 4,
    "survival": np.array([*zip(np.arange(24) % 3 > 0, TIMES, strict=True)], dtype=[("event", bool), ("time", float)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("target", LABELS)
def test_every_kind_of_target_is_exported(make_bags, tmp_path, target):
    small = {"hidden": 4, "epochs": 3, "optimizer": "adam", "learning_rate": 1e-3}
    model = bw.AttentionMIL(encoder="identity", **small, random_state=0)
    model.target = target
    bags = make_bags()
    model.fit(Bags(bags.instances, bags.offsets), LABELS[target])
    described = bw.export_onnx(model, tmp_path / "model.onnx")
    assert described["target"] == target.partition(":")[0]
    asked = bags_of([1, 3, 5000])
    said, wanted = said_by(started(tmp_path / "model.onnx"), asked), model.answers(asked)
    np.testing.assert_allclose(said["answers"], wanted, rtol=5e-6, atol=1e-6)  # sums of 5,000 instances in float32
