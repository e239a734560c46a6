"""Classical methods on disk; what a machine's arrays must be stands in test_machines."""

import json

import numpy as np
import pytest

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.explain import explain
from bagwise.methods.base import BagEstimator
from bagwise.methods.classical.base import ClassicalMIL
from bagwise.methods.classical.files import describe_classical, read_classical
from bagwise.tensorfiles import read_arrays, write_tensors

FILE = "model.safetensors"
CLASSICAL = [name for name, (kind, _) in METHODS.items() if issubclass(kind, ClassicalMIL)]
OF_NUMBERS = [name for name in CLASSICAL if "real" in METHODS[name][0].KINDS]
OF_LABELS = [name for name in CLASSICAL if "multi-label" in METHODS[name][0].KINDS]
ASKS = ("answers", "predict", "predict_proba", "decision_function", "instance_scores", "attention")


def same(again, model, bags):
    assert type(again) is type(model)
    for ask in ASKS:
        assert hasattr(again, ask) == hasattr(model, ask)
        if hasattr(model, ask):
            given, wanted = getattr(again, ask)(bags), getattr(model, ask)(bags)
            assert given.dtype == wanted.dtype
            np.testing.assert_array_equal(given, wanted)


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_saved_method_comes_back_with_the_same_bits(make_bags, tmp_path, name, classes):
    bags, others = make_bags(12, classes=classes, kind="string"), make_bags(9, classes=classes, seed=1)
    model = bw.make(name, random_state=np.random.RandomState(3)).fit(bags)
    bw.save_model(model, tmp_path / "new" / "folder")
    again = bw.load_model(tmp_path / "new" / "folder")
    same(again, model, others)
    assert again.classes_.tolist() == model.classes_.tolist()
    assert again.get_params() == model.get_params() | {"random_state": model.seed_}
    assert (again.parameters_, again.validation_errors_) == (model.parameters_, model.validation_errors_)
    same(again.fit(bags), model, others)  # it can learn again, and ends where it ended
    bw.save_model(again, tmp_path / "new" / "folder")
    same(bw.load_models(tmp_path / "new" / "folder")[0], model, others)


@pytest.mark.parametrize("name", OF_NUMBERS)
@pytest.mark.parametrize("flat", [True, False])
def test_numbers_come_back(make_bags, tmp_path, name, flat):
    bags, others = make_bags(12), make_bags(9, seed=1)
    means = np.add.reduceat(bags.instances, bags.offsets[:-1]) / bags.sizes[:, None]
    labels = means[:, 0] if flat else means[:, :2]
    model = bw.make(name, target="real", standardize=False, random_state=0).fit(bags.with_labels(labels))
    bw.save_model(model, tmp_path)
    again = bw.load_model(tmp_path)
    same(again, model, others)
    assert again.score(bags.with_labels(labels)) == model.score(bags.with_labels(labels))


@pytest.mark.parametrize("name", OF_LABELS)
def test_several_labels_come_back(make_bags, tmp_path, name):
    bags, others = make_bags(12), make_bags(9, seed=1)
    labels = np.column_stack([bags.labels, np.where(np.arange(12) % 4 == 0, np.nan, bags.sizes > 3)])
    model = bw.make(name, random_state=0).fit(bags.with_labels(labels))
    bw.save_model(model, tmp_path)
    same(bw.load_model(tmp_path), model, others)


def test_feature_names_come_back_and_are_still_checked(make_bags, tmp_path):
    bags = make_bags()
    named = bw.Bags(bags.instances, bags.offsets, bags.labels, feature_names=("a", "b", "c"))
    bw.save_model(bw.make("MI-SVM", random_state=0).fit(named), tmp_path)
    with pytest.raises(BagwiseError, match="no feature 'a', which the model learnt from"):
        bw.load_model(tmp_path).predict(bw.Bags(bags.instances, bags.offsets, feature_names=("c", "b", "d")))


def test_what_cannot_be_kept_is_refused_and_nothing_is_written(make_bags, tmp_path):
    class Mine(METHODS["MI-SVM"][0]):
        pass

    with pytest.raises(BagwiseError, match="Mine is no class of Bagwise's, and a file cannot say what it learnt"):
        bw.save_model(Mine(random_state=0).fit(make_bags()), tmp_path / "model")
    with pytest.raises(ValueError, match="not fitted"):
        bw.save_model(bw.make("MI-SVM"), tmp_path / "model")
    for change in ({"C": np.ones(3)}, {"C": -1}, {"standardize": False}):
        model = bw.make("MI-SVM", random_state=0).fit(make_bags()).set_params(**change)
        with pytest.raises(BagwiseError, match="this BagMarginSVM cannot be saved"):
            bw.save_model(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_method_of_ones_own_is_refused_by_name(make_bags, tmp_path):
    class Guess(BagEstimator):
        def fit(self, X, y=None):  # noqa: ARG002
            self.classes_ = np.array([0, 1])
            return self

    for ask in (lambda model: bw.save_model(model, tmp_path / "kept"), lambda model: explain(model, make_bags())):
        with pytest.raises(
            BagwiseError, match="an object of type Guess is a method of your own, and .* knows not what"
        ):
            ask(Guess().fit(make_bags()))
    assert not (tmp_path / "kept").exists()


def test_parts_of_ones_own_are_refused(make_bags, tmp_path):
    bw.save_model(bw.make("MI-SVM", random_state=0).fit(make_bags()), tmp_path)
    with pytest.raises(BagwiseError, match="needs nothing of your own: leave encoder= out"):
        bw.load_model(tmp_path, encoder=print)


# ---- files that were edited ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(make_bags, tmp_path_factory):
    """Give for each method the arrays and the description of a file."""
    folder = tmp_path_factory.mktemp("kept")
    found = {}
    for name in CLASSICAL:
        bw.save_model(bw.make(name, random_state=0).fit(make_bags(count=12, kind="string")), folder / name)
        found[name] = read_arrays(folder / name / FILE)
    return found


@pytest.fixture
def told(make_bags, tmp_path):
    """Give what is said of a file in one sentence; nothing, if it is loaded, and then it answers."""
    bags = make_bags(4)

    def ask(arrays, description):
        write_tensors(tmp_path / FILE, arrays, description)
        try:
            model, _ = read_classical(tmp_path)
        except BagwiseError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either must hold
            assert FILE in str(error)  # noqa: PT017
            return str(error)
        assert np.isfinite(model.predict_proba(bags)).all()
        return None

    return ask


SPOILT = {
    "another shape": lambda array: np.stack([array, array]),
    "none of it": lambda array: array.ravel()[:0],
    "another type": lambda array: array.astype(np.float32 if array.dtype == np.float64 else np.int32),
    "no numbers": lambda array: array * np.nan,
    "infinite": lambda array: array + np.inf,
}


@pytest.mark.parametrize("name", CLASSICAL)
def test_any_array_may_be_anything(files, told, name):
    arrays, description = files[name]
    assert told(arrays, description) is None
    for array in arrays:
        for spoil in SPOILT.values():
            said = told(arrays | {array: np.asarray(spoil(arrays[array]))}, description)
            if array.endswith("chosen") and spoil is SPOILT["none of it"]:  # a note of how it learnt
                assert said is None
            else:
                assert "does not hold a model as it was written" in said
        assert "it lacks" in told({name: value for name, value in arrays.items() if name != array}, description)
    assert "there without need" in told(arrays | {"more": np.ones(1)}, description)


def paths_in(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths_in(inner, (*path, key))


@pytest.mark.parametrize("name", CLASSICAL)
def test_any_value_of_the_description_may_be_anything(files, told, name):
    arrays, description = files[name]
    for path in paths_in(description):
        for value in (None, -1, 2**70, [[]]):
            changed = json.loads(json.dumps(description))
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
            if path != ("learnt", "bags"):
                told(arrays, changed)


def test_more_bags_than_there_is_memory_for_are_told_of_before_any_is_asked(files, tmp_path, make_bags):
    arrays, description = files["MI-Kernel"]
    write_tensors(tmp_path / FILE, arrays, description | {"learnt": description["learnt"] | {"bags": 2**70}})
    with pytest.raises(BagwiseError, match="SetKernelSVM must hold kernels between all bags, which takes"):
        bw.load_model(tmp_path).predict(make_bags())


@pytest.mark.parametrize("name", CLASSICAL)
def test_whole_numbers_may_be_huge(files, told, name):
    """An index out of range, a bag that ends before it begins: whatever is loaded can be asked."""
    arrays, description = files[name]
    for array, values in arrays.items():
        if values.dtype != np.int64 or array.endswith("chosen"):  # which is a note of how it learnt
            continue
        for value in (2**40, -(2**40), -1):
            for place in (0, len(values) // 2, len(values) - 1):
                spoilt = values.copy()
                spoilt[place] = value
                # The feature that a leaf looks at is any.
                assert told(arrays | {array: spoilt}, description) is not None


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
def test_other_numbers_may_be_huge_too(files, make_bags, tmp_path, name):
    """What such a method says is a number, or a sentence says that it is none."""
    (arrays, description), bags = files[name], make_bags(4)
    for array, values in arrays.items():
        if values.dtype == np.float64:
            spoilt = values.copy()
            spoilt.flat[0] = 1e308
            write_tensors(tmp_path / FILE, arrays | {array: spoilt}, description)
            try:
                said = read_classical(tmp_path)[0].predict_proba(bags)
            except BagwiseError as error:
                assert "\n" not in str(error)  # noqa: PT017 - either must hold
            else:
                assert np.isfinite(said).all()


@pytest.mark.parametrize(
    "description",
    [[], 3, None, {}, {"config": {"family": "classical"}}, {"config": {"family": "classical", "class": []}}],
)
def test_a_description_of_something_else_is_refused(files, told, description):
    assert "does not hold a model as it was written" in told(files["MI-SVM"][0], description)


def test_a_later_format_is_refused(files, told):
    arrays, description = files["MI-SVM"]
    changed = description | {"config": description["config"] | {"format": 99}}
    assert "in format 99, and this is Bagwise" in told(arrays, changed)


def test_the_description_of_another_method_is_refused(files, told):
    for one in CLASSICAL:
        for other in CLASSICAL:
            if files[one][0].keys() != files[other][0].keys():
                assert told(files[one][0], files[other][1]) is not None


def test_a_file_is_found_out_wherever_it_is_cut(files, told, tmp_path):
    told(*files["summary-forest"])
    whole = (tmp_path / FILE).read_bytes()
    for share in (0, 0.1, 0.5, 0.99):
        (tmp_path / FILE).write_bytes(whole[: int(share * len(whole))])
        for read in (read_classical, bw.load_model):
            with pytest.raises(BagwiseError, match="is damaged, or not a file of Bagwise"):
                read(tmp_path)


def test_a_file_says_which_method_it_holds(make_bags, tmp_path):
    model = bw.make("MI-Kernel", random_state=0).fit(make_bags())
    bw.save_model(model, tmp_path)
    assert read_arrays(tmp_path / FILE)[1]["config"] == json.loads(json.dumps(describe_classical(model)))
