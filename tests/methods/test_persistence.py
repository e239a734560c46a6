import json
import pickle
import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.bags import Bags
from bagwise.methods import formats, neural_files
from bagwise.methods.ensemble import fit_ensemble, predict_ensemble
from bagwise.methods.neural import NeuralMIL
from bagwise.models.pooling import Mean
from bagwise.tensorfiles import read_tensors, write_tensors

FILE = "model.safetensors"
ASKS = ("predict", "predict_proba", "decision_function", "instance_scores")


@pytest.fixture(scope="module")
def saved(make_bags, tmp_path_factory):
    """Give a folder with a saved model; tests work on copies."""
    folder = tmp_path_factory.mktemp("saved")
    bags = make_bags()
    named = Bags(bags.instances, bags.offsets, bags.labels, feature_names=("a", "b", "c"))
    bw.save_model(bw.AttentionMIL(gated=True, epochs=1, random_state=0).fit(named), folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


def edit(folder, *path_and_value):
    """Set a value of the description, as someone with other software would."""
    *path, value = path_and_value
    tensors, description = read_tensors(folder / FILE)
    inner = description["config"]
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    write_tensors(folder / FILE, tensors, description)


NEURAL = [name for name, (kind, _) in METHODS.items() if issubclass(kind, NeuralMIL)]


@pytest.mark.parametrize("name", NEURAL)
@pytest.mark.parametrize(("classes", "precision"), [(2, "float32"), (3, "float32"), (2, "float64")])
def test_a_saved_model_comes_back_with_the_same_bits(make_bags, fitted, tmp_path, name, classes, precision):
    model, bags = fitted(name, classes, precision), make_bags(classes=classes)
    bw.save_model(model, tmp_path / "new" / "folder")
    again = bw.load_model(tmp_path / "new" / "folder")
    assert type(again) is type(model)
    assert again.get_params() == model.get_params()
    for ask in ASKS + (("attention",) if hasattr(model, "attention") else ()):
        given, wanted = getattr(again, ask)(bags), getattr(model, ask)(bags)
        assert given.dtype == wanted.dtype
        np.testing.assert_array_equal(given, wanted)
    assert again.history_ == model.history_
    assert again.best_epoch_ == model.best_epoch_
    assert again.settings_ == model.settings_
    assert again.plan_ == model.plan_
    assert again.n_features_in_ == 3


@pytest.mark.parametrize("kind", ["int", "bool", "string"])
def test_the_users_labels_come_back(make_bags, tmp_path, kind):
    bags = make_bags(kind=kind)
    bw.save_model(bw.EmbeddingMIL(epochs=1, random_state=0).fit(bags), tmp_path)
    again = bw.load_model(tmp_path)
    assert again.classes_.dtype == bags.labels.dtype
    assert again.classes_.tolist() == np.unique(bags.labels).tolist()


def test_a_loaded_model_can_be_fitted_again_to_the_same_bits(make_bags, saved):
    bags = make_bags()
    again = bw.load_model(saved)
    before = again.predict_proba(bags)
    np.testing.assert_array_equal(again.fit(bags).predict_proba(bags), before)


def test_a_model_of_images_comes_back(make_bags, tmp_path):
    bags = make_bags(count=4, shape=(28, 28))
    model = bw.AttentionMIL(epochs=1, random_state=0).fit(bags)
    bw.save_model(model, tmp_path)
    again = bw.load_model(str(tmp_path))
    assert not hasattr(again, "n_features_in_")
    np.testing.assert_array_equal(again.attention(bags), model.attention(bags))


def test_a_model_trained_with_patience_and_no_seed_comes_back(make_bags, tmp_path):
    bags = make_bags()
    model = bw.InstanceMIL(pooling="noisy-and", epochs=6, patience=1, random_state=None).fit(bags)
    bw.save_model(model, tmp_path)
    again = bw.load_model(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(bags), model.predict_proba(bags))
    assert again.history_ == model.history_


def test_parameters_that_came_from_numpy_are_saved(make_bags, tmp_path):
    bags = make_bags()
    model = bw.AttentionMIL(
        epochs=np.int64(2), learning_rate=np.float32(0.01), hidden=np.int64(4), random_state=np.int64(0)
    ).fit(bags)
    bw.save_model(model, tmp_path)
    np.testing.assert_array_equal(bw.load_model(tmp_path).predict_proba(bags), model.predict_proba(bags))


def test_feature_names_come_back_and_are_still_checked(make_bags, folder):
    model = bw.load_model(folder)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    bags = make_bags()
    with pytest.raises(BagwiseError, match="no feature 'a', which the model learnt from"):
        model.predict(Bags(bags.instances, bags.offsets, feature_names=("c", "b", "d")))


def test_one_file_is_written(saved):
    assert [path.name for path in saved.iterdir()] == [FILE]


class Mine(bw.AttentionMIL):
    pass


class Halved(nn.Linear):
    """Parameters like those of the layer in whose place it stands, and another answer."""

    def forward(self, values):
        return super().forward(values) / 2


def without_numbers(model):
    model.model_.head.weight.data[0, 0] = np.nan


CHANGES = {
    "nothing": lambda _: None,
    "a number that is trained no more": lambda model: model.set_params(epochs=7),
    "a name for a device": lambda model: model.set_params(device="cpu"),
    "a seed that is a generator": lambda model: model.set_params(random_state=np.random.RandomState(3)),
    "an encoder": lambda model: model.set_params(encoder=nn.Identity()),
    "a parameter that JSON cannot hold": lambda model: model.set_params(clip=np.ones(3)),
    "weights without numbers": without_numbers,
    "weights": lambda model: model.model_.head.weight.data.mul_(2),
    "another head": lambda model: setattr(model.model_, "head", nn.Linear(3, 2)),
    "a head of another kind": lambda model: setattr(model.model_, "head", Halved(3, 1)),
    "a pooling": lambda model: setattr(model.model_, "pooling", Mean(3)),
    "a scaler of another type": lambda model: model.model_.scaler.double(),
    "half precision": lambda model: model.model_.half(),
    "classes": lambda model: setattr(model, "classes_", np.array(["a", "b", "c"])),
    "classes as objects": lambda model: setattr(model, "classes_", np.array([object(), object()])),
    "a history": lambda model: setattr(model, "history_", []),
    "features": lambda model: setattr(model, "feature_names_in_", np.array(["a"], dtype=object)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", [bw.AttentionMIL, bw.EmbeddingMIL, bw.InstanceMIL, Mine])
def test_what_is_saved_comes_back_and_says_the_same_and_of_what_is_refused_nothing_is_written(
    make_bags, tmp_path, kind, change
):
    bags = make_bags()
    model = kind(encoder="identity", epochs=1, random_state=0).fit(bags)
    CHANGES[change](model)
    try:
        bw.save_model(model, tmp_path / "model")
    except BagwiseError as error:
        assert "cannot be saved" in str(error)  # noqa: PT017 - either must hold
        assert not (tmp_path / "model").exists()
    else:
        again = bw.load_model(tmp_path / "model", **({"method": Mine} if kind is Mine else {}))
        assert type(again) is kind
        np.testing.assert_array_equal(again.predict_proba(bags), model.predict_proba(bags))
        np.testing.assert_array_equal(again.predict(bags), model.predict(bags))


def test_members_that_differ_in_more_than_what_they_learnt_are_refused(make_bags, tmp_path):
    small = {"encoder": "identity", "epochs": 1, "random_state": 0}
    models = [
        bw.AttentionMIL(**small).fit(make_bags()),
        bw.AttentionMIL(**small, hidden=3).fit(make_bags()),
        bw.AttentionMIL(**small).fit(make_bags(kind="string")),
        bw.EmbeddingMIL(**small).fit(make_bags()),
    ]
    for other in models[1:]:
        with pytest.raises(BagwiseError, match="cannot be saved|different labels"):
            bw.save_models([models[0], other], tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_model_that_learnt_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        bw.save_model(bw.AttentionMIL(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(fitted, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BagwiseError, match="cannot write .*file"):
        bw.save_model(fitted("attention"), tmp_path / "file")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BagwiseError, match="nowhere/model.safetensors: there is no such file"):
        bw.load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(folder, share):
    whole = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BagwiseError, match="is damaged, or not a file of Bagwise"):
        bw.load_model(folder)


@pytest.mark.parametrize(
    "description", [[], [1, 2], 3, None, "text", {}, {"config": 3, "learnt": []}, {"config": [], "learnt": [{}]}]
)
def test_a_description_of_something_else_is_refused(folder, description):
    tensors, _ = read_tensors(folder / FILE)
    write_tensors(folder / FILE, tensors, description)
    with pytest.raises(BagwiseError, match=r"model\.safetensors does not hold a model as it was written"):
        bw.load_model(folder)


@pytest.mark.parametrize("metadata", [None, {}, {"bagwise": "{"}, {"bagwise": ""}, {"format": "pt"}])
def test_tensors_of_another_program_are_refused(folder, metadata):
    tensors, _ = read_tensors(folder / FILE)
    save_file(tensors, folder / FILE, metadata=metadata)
    with pytest.raises(BagwiseError, match="is damaged, or not a file of Bagwise"):
        bw.load_model(folder)


@pytest.mark.parametrize(
    "edited",
    [
        ("class", "NeuralMIL"),
        ("class", "Bags"),
        ("class", "os.system"),
        ("class", []),
        ("class", "EmbeddingMIL"),
        ("parameters", {"nonsense": 1}),
        ("parameters", "text"),
        ("plan", "text"),
        ("plan", []),
        ("plan", "architecture", {}),
        ("plan", "architecture", "text"),
        ("plan", "architecture", "level", "instance"),
        ("plan", "architecture", "pooling", "attention"),
        ("plan", "architecture", "encoder", "lenet5"),
        ("plan", "architecture", "encoder", 3),
        ("plan", "architecture", "pooling_options", {"hidden": 3}),
        ("plan", "architecture", "pooling_options", {"nonsense": 3}),
        ("plan", "architecture", "pooling_options", []),
        ("plan", "outputs", 3),
        ("plan", "outputs", "text"),
        ("plan", "outputs", -1),
        ("plan", "precision", "float16"),
        ("plan", "chunk", 0),
        ("plan", "chunk", "text"),
        ("settings", []),
        ("settings", [{}, {}]),
        ("settings", 0, []),
        ("settings", 0, "dropout", 2),
        ("settings", 0, "dropout", "text"),
        ("settings", 0, "class_weights", 3),
        ("parameters", "class_weight", [3]),
        ("positive", "nonsense"),
        ("positive", None),
        ("positive", [1]),
        ("classes", ["a", "b", "c"]),
        ("classes", ["a"]),
        ("classes", 3),
        ("classes", [[1], [2, 3]]),
        ("instance_shape", [4]),
        ("instance_shape", [28, 28]),
        ("instance_shape", ["text"]),
        ("instance_shape", [-1]),
        ("instance_shape", 3),
        ("feature_names", ["a", "b"]),
        ("feature_names", 3),
        ("format", 0),
        ("format", "text"),
        ("format", True),
        ("instance_shape", [10**12]),
        ("plan", "outputs", 10**12),
        ("target", "nonsense"),
        ("target", "real"),
        ("plan", "architecture", "pooling_options", {"hidden": 10**12}),
        ("plan", "scaling", "none"),
        ("parameters", "precision", "float64"),
    ],
    ids=lambda edited: "-".join(map(str, edited)),
)
def test_an_edited_config_is_refused_in_one_sentence(folder, edited):
    edit(folder, *edited)
    with pytest.raises(BagwiseError, match=r"^\S*model\.safetensors ") as caught:
        bw.load_model(folder)
    assert "\n" not in str(caught.value)


def test_a_later_format_is_refused_with_both_versions(folder):
    edit(folder, "format", formats.FORMAT + 1)
    edit(folder, "bagwise", "9.9")
    wanted = rf"model\.safetensors was written by Bagwise 9\.9 .*this is Bagwise {re.escape(bw.__version__)}"
    with pytest.raises(BagwiseError, match=wanted):
        bw.load_model(folder)


@pytest.mark.parametrize(
    ("history", "best"),
    [(5, 1), ([5], 1), ([{}], 1), ([{"epoch": 1, "loss": "low"}], 1), ([], 0), ([{"epoch": 1, "loss": 0.5}], 2)],
)
def test_an_edited_history_is_refused(folder, history, best):
    tensors, description = read_tensors(folder / FILE)
    description["learnt"] = [{"history": history, "best_epoch": best}]
    write_tensors(folder / FILE, tensors, description)
    with pytest.raises(BagwiseError, match="does not hold a model as it was written"):
        bw.load_model(folder)


def test_any_value_of_the_description_may_be_anything(make_bags, tmp_path):
    """Each value in turn becomes something else: the model is as before where nothing hangs on it, or refused."""
    folder = tmp_path
    bw.save_model(bw.AttentionMIL(encoder="identity", hidden=2, epochs=1, random_state=0).fit(make_bags()), folder)
    tensors, description = read_tensors(folder / FILE)
    for path in paths_in(description):
        for value in (None, -1, "x", [[]]):
            changed = json.loads(json.dumps(description))
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
            write_tensors(folder / FILE, tensors, changed)
            try:
                bw.load_model(folder)
            except BagwiseError as error:
                assert "\n" not in str(error)  # noqa: PT017 - most are refused, and what is not must load


def paths_in(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths_in(inner, (*path, key))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda weight: weight.to(torch.int32), r"int32 of shape \(1, 64\), and the model's is float32"),
        (lambda weight: weight.view(torch.int32), r"int32 of shape \(1, 64\), and the model's is float32"),
        (lambda weight: weight.double(), r"float64 of shape \(1, 64\), and the model's is float32"),
        (lambda weight: weight.half(), r"float16 of shape \(1, 64\), and the model's is float32"),
        (lambda weight: weight[:, :3], r"float32 of shape \(1, 3\), and the model's is float32 of shape \(1, 64\)"),
        (lambda weight: weight * np.nan, "holds a NaN or an infinity"),
        (lambda weight: weight / 0, "holds a NaN or an infinity"),
        (lambda _: None, "is there without need, or is missing"),
    ],
)
def test_tensors_that_are_no_weights_of_the_model_are_refused_by_name(folder, spoil, says):
    tensors, description = read_tensors(folder / FILE)
    tensors["0.head.weight"] = spoil(tensors["0.head.weight"])
    write_tensors(folder / FILE, {name: value for name, value in tensors.items() if value is not None}, description)
    with pytest.raises(BagwiseError, match=rf"model\.safetensors .*0\.head\.weight (is )?{says}"):
        bw.load_model(folder)


@pytest.mark.parametrize("name", ["shift", "factor", "limit"])
def test_a_scaler_without_numbers_is_refused(folder, name):
    tensors, description = read_tensors(folder / FILE)
    tensors[f"0.scaler.{name}"] *= np.nan
    write_tensors(folder / FILE, tensors, description)
    with pytest.raises(BagwiseError, match=rf"0\.scaler\.{name} holds a NaN"):
        bw.load_model(folder)


def test_a_description_nested_without_end_is_refused(folder):
    tensors, _ = read_tensors(folder / FILE)
    save_file(tensors, folder / FILE, metadata={"bagwise": "[" * 100_000 + "]" * 100_000})
    with pytest.raises(BagwiseError, match="is damaged, or not a file of Bagwise"):
        bw.load_model(folder)


@pytest.fixture(scope="module")
def described(fitted, tmp_path_factory):
    """Give the description of a fitted method as it stands in its file."""

    @cache
    def read(name):
        folder = tmp_path_factory.mktemp("described")
        bw.save_model(fitted(name), folder)
        return read_tensors(folder / FILE)[1]

    return read


@pytest.mark.parametrize("one", NEURAL)
def test_the_config_of_another_method_is_refused(fitted, described, tmp_path, one):
    """Weights and description belong together, whichever way they were mixed up."""
    bw.save_model(fitted(one), tmp_path / "one")
    tensors, _ = read_tensors(tmp_path / "one" / FILE)
    for other in NEURAL:
        if fitted(one).plan_.architecture == fitted(other).plan_.architecture:
            continue
        description = described(other)
        write_tensors(tmp_path / "one" / FILE, tensors, description)
        try:
            given = bw.load_model(tmp_path / "one")
        except BagwiseError:
            continue
        # What has no weights of its own (max, mean, smoothing) cannot be told by the weights.
        pair = {type(given), type(fitted(one))}
        assert pair <= {bw.InstanceMIL, bw.EmbeddingMIL} or pair == {bw.AttentionMIL, bw.SmoothAttentionMIL}


def test_a_class_that_the_plan_does_not_belong_to_is_refused(fitted, tmp_path):
    bw.save_model(fitted("mi-Net"), tmp_path)
    edit(tmp_path, "class", "EmbeddingMIL")
    with pytest.raises(BagwiseError):
        bw.load_model(tmp_path)


class Explosive:
    """Its pickle makes a file where it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_planted_pickle_is_not_executed(folder, tmp_path):
    bomb = pickle.dumps(Explosive(tmp_path / "executed"))
    (folder / FILE).write_bytes(bomb)
    with pytest.raises(BagwiseError, match="is damaged, or not a file of Bagwise"):
        bw.load_model(folder)
    assert not (tmp_path / "executed").exists()
    pickle.loads(bomb).close()
    assert (tmp_path / "executed").exists()  # the bomb was a real one


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt(), TypeError("no")])
@pytest.mark.parametrize("at", [(json, "dumps"), (Path, "open"), (neural_files, "describe_neural")], ids=str)
def test_a_failure_while_writing_leaves_the_old_model_readable(make_bags, folder, monkeypatch, failure, at):
    bags = make_bags()
    old = bw.load_model(folder)
    new = bw.AttentionMIL(gated=True, epochs=2, random_state=1).fit(bags.with_labels(1 - bags.labels))

    def fail(*_, **__):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(*at, fail)
        caught = {(OSError, "open"), (TypeError, "dumps")}
        expected = BagwiseError if (type(failure), at[1]) in caught else type(failure)
        with pytest.raises(expected):
            bw.save_model(new, folder)
    again = bw.load_model(folder)
    np.testing.assert_array_equal(again.predict_proba(bags), old.predict_proba(bags))
    assert again.history_ == old.history_
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_a_process_killed_before_the_new_file_takes_its_place_leaves_the_old_model(make_bags, folder, monkeypatch):
    bags = make_bags()
    old = bw.load_model(folder)
    new = bw.AttentionMIL(gated=True, epochs=2, random_state=1).fit(bags.with_labels(1 - bags.labels))

    class Killed(BaseException):
        pass

    def stop(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(folder), "replace", stop)
        with pytest.raises(Killed):
            bw.save_model(new, folder)
    again = bw.load_model(folder)
    assert again.history_ == old.history_
    np.testing.assert_array_equal(again.predict_proba(bags), old.predict_proba(bags))


def test_a_new_model_takes_the_place_of_the_old_one(make_bags, folder):
    bags = make_bags(classes=3)
    new = bw.InstanceMIL(epochs=1, random_state=0).fit(bags)
    bw.save_model(new, folder)
    np.testing.assert_array_equal(bw.load_model(folder).predict_proba(bags), new.predict_proba(bags))


# ---- ensembles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"class_weight": {0: 1.0, 1: 3.0}}, {"class_weight": "balanced", "patience": 2}]
)
def test_an_ensemble_comes_back_with_the_same_bits(make_bags, tmp_path, options):
    bags = make_bags(count=20)
    models = fit_ensemble(bw.AttentionMIL(epochs=3, random_state=0, **options), bags, 3)
    bw.save_models(models, tmp_path)
    again = bw.load_models(tmp_path)
    for before, after in zip(models, again, strict=True):
        assert after.get_params() == before.get_params()
        assert after.settings_ == before.settings_
        assert after.history_ == before.history_
    np.testing.assert_array_equal(predict_ensemble(again, bags).members, predict_ensemble(models, bags).members)
    whole = bw.load_model(tmp_path)
    assert isinstance(whole, bw.Ensemble)
    np.testing.assert_array_equal(whole.predict_proba(bags), models.predict_proba(bags))
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("mine", [b"mine", b"\x08\0\0\0\0\0\0\0{}      ", None])
def test_a_file_of_another_program_is_not_replaced(fitted, tmp_path, mine):
    path = tmp_path / FILE
    if mine is None:
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_bytes(mine)
    with pytest.raises(BagwiseError, match="Bagwise did not write it"):
        bw.save_model(fitted("attention"), tmp_path)
    assert path.is_symlink() if mine is None else path.read_bytes() == mine
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
