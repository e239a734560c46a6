from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted

import bagwise as bw
from bagwise import BagwiseError
from bagwise.evaluation.cross_validation import CrossValidation
from bagwise.evaluation.metrics import CLASS_METRICS, bag_metrics
from bagwise.evaluation.protocol import Folds
from bagwise.targets.classes import ClassTarget
from bagwise.training import engine

NAMES = ["attention", "gated-attention", "mi-Net", "MI-Net", "MI-Net-DS", "MI-Net-RC"]
NAMES += ["embedding-mean", "instance-mean"]
every_method = pytest.mark.parametrize("name", NAMES)


def small(classes=2, count=24, features=4, seed=0, groups=None, labels=None):
    """Make float32 bags of 1 to 6 vectors on scales that a scaler has work with."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(count) % classes) if labels is None else np.asarray(labels)
    sizes = np.r_[np.arange(1, 7), rng.integers(1, 7, size=count - 6)]
    scales = np.array([1e-3, 1.0, 50.0, 7.0])[:features]
    arrays = [
        ((rng.normal(size=(size, features)) + code) * scales + 3).astype(np.float32)
        for size, code in zip(sizes, codes, strict=True)
    ]
    return bw.Bags.from_arrays(arrays, codes, groups=groups)


def make(name="attention", **parameters):
    return bw.make(name, **{"epochs": 2, "random_state": 0, **parameters})


def separate_fits(model, bags, folds, repeats=1, seed=0):
    """Give out-of-fold probabilities and scores of one plain fit after the other."""
    division, classes = Folds(bags, folds, repeats, seed), np.unique(bags.labels)
    probabilities = np.zeros((repeats, len(bags), len(classes)))
    scores = {metric: np.empty((repeats, folds)) for metric in CLASS_METRICS}
    for repeat in range(repeats):
        for fold in range(folds):
            test = division.test_bags(repeat, fold)
            fitted = clone(model).fit(bags[division.training_bags(repeat, fold)])
            for column, of_class in zip(fitted.classes_, fitted.predict_proba(bags[test]).T, strict=True):
                probabilities[repeat, test, list(classes).index(column)] = of_class
            for metric, value in bag_metrics(bags.labels[test], probabilities[repeat, test], classes).items():
                scores[metric][repeat, fold] = value
    return probabilities, scores


def assert_same(one, other):
    assert_array_equal(one.assignment, other.assignment)
    assert_array_equal(one.probabilities, other.probabilities)
    for metric in CLASS_METRICS:
        assert_array_equal(one.scores[metric], other.scores[metric], err_msg=metric)


def assert_equals_separate_fits(model, bags, folds, repeats=1, seed=0, **options):
    joint = bw.cross_validate(model, bags, folds=folds, repeats=repeats, seed=seed, **{"n_jobs": 1, **options})
    probabilities, scores = separate_fits(model, bags, folds, repeats, seed)
    assert_array_equal(joint.probabilities, probabilities)
    assert joint.scores.keys() == scores.keys() == set(CLASS_METRICS)
    for metric in CLASS_METRICS:
        assert_array_equal(joint.scores[metric], scores[metric], err_msg=metric)
    return joint


# ---- a joint cross-validation is so many separate fits ----------------------------------------------------


@pytest.mark.parametrize(("name", "classes"), [(name, 2 + place % 2) for place, name in enumerate(NAMES)])
def test_folds_trained_together_end_with_the_bits_of_separate_fits(name, classes):
    joint = assert_equals_separate_fits(make(name), small(classes, count=18), folds=2, repeats=2)
    assert joint.probabilities.shape == (2, 18, classes)
    np.testing.assert_allclose(joint.probabilities.sum(axis=2), 1, rtol=1e-6)
    assert (joint.probabilities[0] != joint.probabilities[1]).any()


@pytest.mark.parametrize("name", ["gated-attention", "mi-Net", "MI-Net-RC"])
def test_they_do_so_where_groups_stay_together(name):
    bags = small(groups=np.repeat(np.arange(8), 3))
    joint = assert_equals_separate_fits(make(name), bags, folds=3, seed=3)
    assert joint.protocol == "grouped"
    assert all(len(set(joint.assignment[0, bags.groups == group])) == 1 for group in range(8))


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(15), 2)], ids=["bags", "groups"])
@pytest.mark.parametrize("name", ["attention", "instance-mean", "MI-Net-DS"])
def test_they_do_so_with_patience(name, groups):
    bags = small(count=30, groups=groups)
    assert_equals_separate_fits(make(name, epochs=6, patience=2, learning_rate=0.01), bags, folds=3)


@pytest.mark.parametrize(
    "parameters",
    [
        {"precision": "float64"},
        {"optimizer": "adam", "learning_rate": 0.01},
        {"instance_budget": 8},
        {"encoder": "identity"},
        {"standardize": False},
        {"random_state": 2**31 + 5},
    ],
    ids=str,
)
def test_they_do_so_with_other_parameters(parameters):
    assert_equals_separate_fits(make(**parameters), small(), folds=3)


@pytest.mark.usefixtures("workers_for_little")
def test_they_do_so_over_several_blocks_and_any_number_of_workers():
    bags, model = small(), make("gated-attention")
    one = assert_equals_separate_fits(model, bags, folds=3, repeats=6)
    assert_same(one, bw.cross_validate(model, bags, folds=3, repeats=6, n_jobs=2))


@pytest.mark.slow
@every_method
@pytest.mark.usefixtures("workers_for_little")
def test_the_number_of_workers_changes_nothing(name):
    bags = small(3)
    one, two = (bw.cross_validate(make(name), bags, folds=3, repeats=6, n_jobs=jobs) for jobs in (1, 2))
    assert_same(one, two)


def test_labels_may_be_strings_and_bags_may_be_lists():
    bags = small()
    named = np.array(["well", "sick"])[bags.labels]
    joint = assert_equals_separate_fits(make(), bags.with_labels(named), folds=3)
    assert joint.classes.tolist() == ["sick", "well"]
    assert_array_equal(joint.labels, named)
    assert_same(joint, bw.cross_validate(make(), [bag.instances for bag in bags], named, folds=3, n_jobs=1))


def test_y_stands_above_the_labels_of_the_bags():
    bags = small()
    other = np.roll(bags.labels, 5)
    assert_same(
        bw.cross_validate(make(), bags, other, folds=3, n_jobs=1),
        bw.cross_validate(make(), bags.with_labels(other), folds=3, n_jobs=1),
    )


def one_class_in_one_group():
    """Make bags of three classes, where the fold that tests the third cannot learn it."""
    labels = np.r_[np.arange(18) % 2, [2] * 6]
    return small(labels=labels, groups=np.r_[np.arange(18) // 3, [6] * 6])


@pytest.mark.parametrize("name", ["attention", "instance-mean", "MI-Net-DS"])
def test_a_fold_that_cannot_learn_a_class_gives_it_no_probability(name):
    bags = one_class_in_one_group()
    joint = assert_equals_separate_fits(make(name), bags, folds=3)
    without = joint.assignment[0] == joint.assignment[0, -1]
    assert (joint.probabilities[0, without, 2] == 0).all()
    assert (joint.probabilities[0, ~without, 2] > 0).all()


def test_a_fold_with_one_class_to_learn_from_is_refused():
    labels = np.arange(24) % 2
    groups = np.where(labels == 1, 0, 1 + np.arange(24) % 5)
    with pytest.raises(BagwiseError, match="fold 0 learns from bags of class 0 alone: each fold must learn from two"):
        bw.cross_validate(make(), small(labels=labels, groups=groups), folds=2, n_jobs=1)


# ---- nothing leaks ----------------------------------------------------------------------------------------


def with_bag_changed(bags, position):
    arrays = [bag.instances for bag in bags]
    arrays[position] = (-1e4 * arrays[position][::-1] + 1e6).astype(np.float32)
    return bw.Bags.from_arrays(arrays, bags.labels, groups=bags.groups)


@pytest.mark.parametrize("options", [{}, {"patience": 1, "epochs": 4}], ids=["fixed", "patience"])
@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(10), 3)], ids=["bags", "groups"])
@pytest.mark.parametrize("name", ["attention", "MI-Net-DS"])
def test_a_test_bag_leaves_no_trace_in_what_its_model_says_of_others(name, groups, options):
    bags = small(count=30, groups=groups)
    before = bw.cross_validate(make(name, **options), bags, folds=3, n_jobs=1)
    position = 7
    after = bw.cross_validate(make(name, **options), with_bag_changed(bags, position), folds=3, n_jobs=1)
    assert_array_equal(before.assignment, after.assignment)
    same_fold = before.assignment[0] == before.assignment[0, position]
    others = same_fold & (np.arange(30) != position)
    assert_array_equal(before.probabilities[0, others], after.probabilities[0, others])
    assert (before.probabilities[0, ~same_fold] != after.probabilities[0, ~same_fold]).any()


def test_the_label_of_a_test_bag_does_not_reach_its_model():
    bags = small()
    division = Folds(bags, 3)
    flipped = bags.labels.copy()
    for name in (0, 1):  # two labels change places, so that the counts of the classes stay
        flipped[division.test_bags(0, 0)[bags.labels[division.test_bags(0, 0)] == name][0]] = 1 - name
    before = bw.cross_validate(make(), bags, folds=3, n_jobs=1)
    after = bw.cross_validate(make(), bags.with_labels(flipped), folds=division, n_jobs=1)
    test = division.test_bags(0, 0)
    assert_array_equal(before.probabilities[0, test], after.probabilities[0, test])
    assert (before.probabilities != after.probabilities).any()


# ---- the estimator and the seeds --------------------------------------------------------------------------


@pytest.mark.parametrize("random_state", [0, None, "RandomState"])
def test_the_estimator_passed_in_is_not_changed(random_state):
    state = np.random.RandomState(4) if random_state == "RandomState" else random_state
    model = make(random_state=state)
    parameters = model.get_params()
    bw.cross_validate(model, small(), folds=2, n_jobs=1)
    assert model.get_params() == parameters
    assert all(model.get_params()[name] is value for name, value in parameters.items())
    assert not [name for name in vars(model) if name.endswith("_")]
    if random_state == "RandomState":
        assert state.randint(10**9) == np.random.RandomState(4).randint(10**9)


def test_a_fitted_estimator_stays_fitted_as_it_was():
    bags = small()
    model = make().fit(bags[:12])
    before = model.predict_proba(bags)
    fresh = bw.cross_validate(make(), bags, folds=2, n_jobs=1)
    assert_same(fresh, bw.cross_validate(model, bags, folds=2, n_jobs=1))
    check_is_fitted(model)
    assert_array_equal(model.predict_proba(bags), before)


def test_bags_are_not_changed():
    bags = small()
    before = bags.instances.copy(), bags.labels.copy()
    bw.cross_validate(make(), bags, folds=2, n_jobs=1)
    assert_array_equal(bags.instances, before[0])
    assert_array_equal(bags.labels, before[1])


def test_seeds_decide_everything():
    bags = small()
    one, again = (bw.cross_validate(make(), bags, folds=3, seed=1, n_jobs=1) for _ in range(2))
    assert_same(one, again)
    assert_array_equal(one.assignment, Folds(bags, 3, 1, 1).assignment)
    other_folds = bw.cross_validate(make(), bags, folds=3, seed=2, n_jobs=1)
    assert (one.assignment != other_folds.assignment).any()
    other_weights = bw.cross_validate(make(random_state=1), bags, folds=3, seed=1, n_jobs=1)
    assert_array_equal(one.assignment, other_weights.assignment)
    assert (one.probabilities != other_weights.probabilities).all()


def test_without_a_random_state_two_runs_differ_but_their_folds_do_not():
    bags = small()
    one, other = (bw.cross_validate(make(random_state=None), bags, folds=3, n_jobs=1) for _ in range(2))
    assert_array_equal(one.assignment, other.assignment)
    assert (one.probabilities != other.probabilities).any()


# ---- checkpoints ------------------------------------------------------------------------------------------


def stop_after(monkeypatch, checkpoints):
    """Stop a training when it wants to write one checkpoint more."""
    count = iter(range(checkpoints))
    write = engine.write_tensors

    def write_or_stop(*arguments):
        if next(count, None) is None:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(engine, "write_tensors", write_or_stop)
    monkeypatch.setattr(engine, "_BETWEEN", 0)


def test_the_same_folder_again_gives_the_same_result(tmp_path):
    bags = small()
    plain = bw.cross_validate(make(), bags, folds=3, n_jobs=1)
    for _ in range(2):
        assert_same(plain, bw.cross_validate(make(), bags, folds=3, n_jobs=1, checkpoints=tmp_path / "new" / "folder"))
    assert_same(plain, bw.cross_validate(make(), bags, folds=3, n_jobs=1, checkpoints=str(tmp_path / "new" / "folder")))


@pytest.mark.parametrize(("written", "options"), [(2, {}), (4, {"patience": 2})], ids=["fixed", "patience"])
def test_a_stopped_cross_validation_goes_on_from_its_folder(tmp_path, monkeypatch, written, options):
    bags, model = small(count=30), make(epochs=3, learning_rate=0.01, **options)
    plain = bw.cross_validate(model, bags, folds=3, repeats=6, n_jobs=1)
    with monkeypatch.context() as patch:
        stop_after(patch, written)
        with pytest.raises(KeyboardInterrupt):
            bw.cross_validate(model, bags, folds=3, repeats=6, n_jobs=1, checkpoints=tmp_path)
    blocks = range(1 + (written > 3))
    assert {path.name for path in tmp_path.rglob("*.safetensors")} == {f"block-{n:04}.safetensors" for n in blocks}
    assert_same(plain, bw.cross_validate(model, bags, folds=3, repeats=6, n_jobs=1, checkpoints=tmp_path))


def test_finished_epochs_are_not_trained_again(tmp_path, monkeypatch):
    bags = small()
    plain = bw.cross_validate(make(), bags, folds=3, n_jobs=1, checkpoints=tmp_path)
    stop_after(monkeypatch, 0)
    assert_same(plain, bw.cross_validate(make(), bags, folds=3, n_jobs=1, checkpoints=tmp_path))


def test_checkpoints_resume_where_folds_learn_different_classes(tmp_path, monkeypatch):
    bags = one_class_in_one_group()
    plain = bw.cross_validate(make(), bags, folds=3, n_jobs=1)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            bw.cross_validate(make(), bags, folds=3, n_jobs=1, checkpoints=tmp_path)
    for _ in range(2):
        assert_same(plain, bw.cross_validate(make(), bags, folds=3, n_jobs=1, checkpoints=tmp_path))


@pytest.mark.parametrize(
    ("parameters", "options"),
    [({}, {"seed": 1}), ({"random_state": 1}, {}), ({}, {"folds": 4}), ({}, {"repeats": 2}), ({"epochs": 3}, {})],
    ids=["folds' seed", "random_state", "folds", "repeats", "epochs"],
)
def test_a_folder_of_another_cross_validation_is_refused(tmp_path, parameters, options):
    bags = small()
    bw.cross_validate(make(), bags, folds=3, n_jobs=1, checkpoints=tmp_path)
    held = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    with pytest.raises(BagwiseError, match="checkpoint of a training with other data, members or settings"):
        bw.cross_validate(make(**parameters), bags, **{"folds": 3, **options}, n_jobs=1, checkpoints=tmp_path)
    assert held == {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}


# ---- what it tells ----------------------------------------------------------------------------------------


def result_with(**scores):
    """Make a result of two repetitions of two folds."""
    nothing = np.full((2, 2), np.nan)
    given = {metric: np.array(scores.get(metric, nothing), dtype=float) for metric in CLASS_METRICS}
    labels = np.array([0, 1, 0, 1])
    return CrossValidation(
        "default", ClassTarget.of(labels), labels, np.zeros((2, 4), np.int64), np.zeros((2, 4, 2)), None, given
    )


def test_rows_by_hand():
    result = result_with(accuracy=[[0.5, 1.0], [0.25, 0.75]], auc=[[0.6, 0.6], [0.8, 0.8]])
    rows = {row["metric"]: row for row in result.rows()}
    assert tuple(rows) == CLASS_METRICS
    keys = {"metric", "mean", "sd_folds", "se_repeats", "folds", "repeats", "folds_defined", "protocol"}
    assert all(set(row) == keys for row in rows.values())
    assert all((row["folds"], row["repeats"], row["protocol"]) == (2, 2, "default") for row in rows.values())
    # about .625: squares 1, 9, 9, 1 in 64ths, over three; means of repetitions .75 and .5
    assert rows["accuracy"]["mean"] == pytest.approx(0.625)
    assert rows["accuracy"]["sd_folds"] == pytest.approx(np.sqrt(20 / 64 / 3))
    assert rows["accuracy"]["se_repeats"] == pytest.approx(0.125)
    assert rows["auc"]["mean"] == pytest.approx(0.7)
    assert rows["auc"]["se_repeats"] == pytest.approx(0.1)


def test_a_mean_says_how_many_folds_define_it():
    result = result_with(accuracy=[[0.5, 1.0], [0.25, 0.75]], auc=[[0.6, np.nan], [0.8, 0.8]])
    rows = {row["metric"]: row for row in result.rows()}
    assert (rows["accuracy"]["folds_defined"], rows["auc"]["folds_defined"]) == (4, 3)
    assert "auc       0.700 (SD over folds 0.115, of 3 of 4 folds)" in repr(result)
    assert "accuracy  0.625 (SD over folds 0.323)" in repr(result)


def test_a_metric_that_no_fold_defines_is_nan_in_its_row():
    row = next(row for row in result_with().rows() if row["metric"] == "precision")
    assert all(np.isnan(row[name]) for name in ("mean", "sd_folds", "se_repeats"))


def test_the_mean_of_a_metric_that_no_fold_defines_is_nan_without_a_warning():
    assert np.isnan(result_with().mean("precision"))


def test_folds_that_leave_a_metric_undefined_stay_out():
    row = result_with(precision=[[0.5, np.nan], [np.nan, 1.0]]).rows()[1]
    assert row["mean"] == pytest.approx(0.75)
    assert row["sd_folds"] == pytest.approx(np.sqrt(0.125))
    assert row["se_repeats"] == pytest.approx(0.25)


def test_the_mean_is_over_folds_then_over_repetitions():
    result = result_with(precision=[[1.0, np.nan], [0.0, 0.5]])
    assert result.mean("precision") == pytest.approx((1 + 0.25) / 2)
    assert result.rows()[1]["mean"] == pytest.approx((1 + 0.25) / 2)


def test_one_repetition_has_no_standard_error():
    result = bw.cross_validate(make(), small(), folds=3, n_jobs=1)
    rows = {row["metric"]: row for row in result.rows()}
    assert np.isnan(rows["accuracy"]["se_repeats"])
    assert rows["accuracy"]["mean"] == result.mean() == pytest.approx(result.scores["accuracy"].mean())
    assert rows["accuracy"]["sd_folds"] == pytest.approx(result.scores["accuracy"][0].std(ddof=1))
    assert rows["auc"]["mean"] == result.mean("auc")


def test_rows_are_plain_values_that_json_can_hold():
    for row in bw.cross_validate(make(), small(), folds=2, repeats=2, n_jobs=1).rows():
        assert {type(value) for value in row.values()} == {str, float, int}


def test_it_shows_itself():
    lines = repr(replace(result_with(accuracy=[[0.5, 1.0], [0.25, 0.75]]), protocol="grouped")).splitlines()
    assert lines[0] == "<CrossValidation: 2 x 2 folds of 4 bags, protocol grouped, positive class 1"
    assert lines[1] == "  accuracy  0.625 (SD over folds 0.323)"
    assert len(lines) == 6


def test_a_metric_that_there_is_not_is_refused_in_a_sentence():
    with pytest.raises(BagwiseError, match="'f1'"):
        result_with().mean("f1")


# ---- what is refused --------------------------------------------------------------------------------------


def test_bags_without_labels_are_refused():
    with pytest.raises(BagwiseError, match="the bags have no labels"):
        bw.cross_validate(make(), small().with_labels(None), folds=2, n_jobs=1)


@pytest.mark.parametrize("options", [{"folds": 1}, {"folds": 13}, {"folds": 2, "repeats": 0}], ids=str)
def test_folds_that_cannot_be_are_refused(options):
    with pytest.raises(BagwiseError, match="folds"):
        bw.cross_validate(make(), small(), **options, n_jobs=1)


def test_a_wrong_parameter_of_the_method_is_refused():
    with pytest.raises(BagwiseError, match="epochs is 0"):
        bw.cross_validate(make(epochs=0), small(), folds=2, n_jobs=1)


@pytest.mark.parametrize("model", ["attention", LogisticRegression(), bw.AttentionMIL], ids=["name", "other", "class"])
def test_what_is_no_method_of_bagwise_is_refused_in_a_sentence(model):
    with pytest.raises(BagwiseError):
        bw.cross_validate(model, small(), folds=2, n_jobs=1)


def test_out_of_fold_attention_is_that_of_separate_fits(make_bags):
    bags = make_bags(count=18)
    model = bw.make("gated-attention", epochs=2, random_state=0)
    result = bw.cross_validate(model, bags, folds=3, repeats=2, n_jobs=1)
    division = Folds(bags, 3, 2, 0)
    for repeat in range(2):
        for fold in range(3):
            test = division.test_bags(repeat, fold)
            alone = clone(model).fit(bags[division.training_bags(repeat, fold)]).attention(bags[test])
            np.testing.assert_array_equal(result.attention[repeat, bags.rows(test)], alone)
    assert bw.cross_validate(bw.make("MI-Net", epochs=1), bags, folds=2, n_jobs=1).attention is None


def test_a_fold_of_which_no_test_bag_counts_measures_nothing():
    bags = small()
    fold = np.arange(len(bags)) % 3
    weights = np.where(fold == 1, 0.0, 1.0 + np.arange(len(bags)) % 2)
    found = bw.cross_validate(make(random_state=0), bags, folds=fold, sample_weight=weights, n_jobs=1)
    assert np.isnan(found.scores["accuracy"]).tolist() == [[False, True, False]]
    assert not np.isnan(found.answers).any()
    assert_array_equal(found.sample_weight, weights)
