import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from sksurv.compare import compare_survival
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv

from bagwise import BagwiseError
from bagwise.evaluation.metrics import measure
from bagwise.reports.figures import FIGURES, OutOfFold, figures_of, table_of_labels
from bagwise.reports.lives import draw_lives, risk_thirds
from bagwise.reports.scatter import draw_predicted
from bagwise.targets.classes import ClassTarget

RNG = np.random.default_rng(0)
HAZARD = RNG.normal(size=90)
TIMES = RNG.exponential(np.exp(-HAZARD)).round(2)
ENDS = RNG.exponential(2, 90).round(2)


class Other:
    """A target that is no classes."""

    metrics = ()

    def __init__(self, kind, names=None, label_names=None):
        self.kind, self.names, self.label_names = kind, names, label_names

    def predicted(self, answers):
        if self.kind == "ordinal":
            return np.array(self.names)[answers.argmax(axis=1)]
        return (answers > 0.5).astype(int) if self.kind == "multi-label" else answers[:, 0]


def found(target, labels, answers, repeats=2, methods=("attention", "miVLAD")):
    """Give answers of several methods, one of which differs a little between repetitions."""
    folds = np.tile(np.arange(len(labels)) % 3, (repeats, 1))
    return OutOfFold(target, labels, {name: np.stack([answers] * repeats) for name in methods}, folds)


def lives():
    return np.array(list(zip(TIMES <= ENDS, np.minimum(TIMES, ENDS), strict=True)), [("event", bool), ("time", float)])


def of_kind(kind, **given):
    if kind == "classes":
        return found(ClassTarget.of(["no", "yes"]), np.array(["no", "yes"] * 30), probabilities(2), **given)
    if kind == "ordinal":
        return found(
            Other(kind, ["low", "mid", "high"]), np.array(["low", "mid", "high"] * 20), probabilities(3), **given
        )
    if kind == "multi-label":
        labels = np.where(RNG.random((60, 2)) < 0.1, np.nan, RNG.random((60, 2)) < 0.4)
        return found(Other(kind, ["oedema", "fracture"]), labels, RNG.random((60, 2)), **given)
    if kind == "survival":
        return found(Other(kind), lives(), HAZARD[:, None], **given)
    labels = RNG.poisson(3, 60) if kind == "count" else RNG.normal(size=60)
    return found(Other(kind), labels, labels[:, None] + RNG.normal(size=(60, 1)), **given)


def probabilities(classes):
    return np.random.default_rng(1).dirichlet(np.ones(classes), 60)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Give the figure that would be saved."""
    path = tmp_path_factory.mktemp("figures") / "figure.svg"

    def draw(function, *values):
        saved = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Figure, "savefig", lambda figure, *_, **__: saved.append(figure))
            function(path, *values)
        return saved[0]

    return draw


# ---- by kind ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FIGURES)
def test_every_kind_has_its_figures_and_each_can_be_drawn(kind, tmp_path):
    drawings = figures_of(of_kind(kind, methods=("attention",)))
    for file, _, draw in drawings:
        for name in ("first.svg", "second.svg", f"{file}.png"):
            draw(tmp_path / name)
        assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()
        with Image.open(tmp_path / f"{file}.png") as image:
            assert image.height <= image.width <= 1200  # what a page shows


@pytest.mark.parametrize("kind", FIGURES)
def test_figures_have_names_of_their_own(kind):
    drawings = figures_of(of_kind(kind))
    assert len({drawing.file for drawing in drawings}) == len({drawing.title for drawing in drawings}) == len(drawings)
    expected = {"classes": 5, "multi-label": 0}  # three curves of all methods; a table
    assert len(drawings) == expected.get(kind, 2)


@pytest.mark.parametrize("kind", FIGURES)
def test_bags_that_no_fold_tested_are_left_out(kind, tmp_path):
    whole = of_kind(kind, repeats=1, methods=("attention",))
    answers = whole.answers["attention"].copy()
    answers[:, :5] = np.nan
    folds = whole.folds.copy()
    folds[:, :5] = -1
    some = OutOfFold(whole.target, whole.labels, {"attention": answers}, folds)
    rest = OutOfFold(whole.target, whole.labels[5:], {"attention": answers[:, 5:]}, whole.folds[:, 5:])
    for number, (with_gaps, without) in enumerate(zip(figures_of(some), figures_of(rest), strict=True)):
        a, b = tmp_path / f"a{number}.svg", tmp_path / f"b{number}.svg"
        with_gaps.draw(a)
        without.draw(b)
        assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("kind", FIGURES)
def test_repetitions_may_test_different_bags(kind, tmp_path):
    whole = of_kind(kind, repeats=2, methods=("attention",))
    answers, folds = whole.answers["attention"].copy(), whole.folds.copy()
    for repeat, bags in enumerate((slice(0, 30), slice(30, 60))):
        answers[repeat, bags], folds[repeat, bags] = np.nan, -1
    some = OutOfFold(whole.target, whole.labels, {"attention": answers}, folds)
    for drawing in figures_of(some):
        drawing.draw(tmp_path / f"{drawing.file}.svg")
    if kind == "multi-label":
        assert table_of_labels(some, "attention").rows[0][1] == table_of_labels(whole, "attention").rows[0][1]


def test_several_numbers_have_a_figure_each(tmp_path):
    labels = RNG.normal(size=(40, 3))
    drawings = figures_of(found(Other("real"), labels, labels, methods=("attention",)))
    assert [drawing.file for drawing in drawings] == ["predicted_0_0", "predicted_0_1", "predicted_0_2"]
    assert drawings[2].title == "Predicted and true, attention, number 3"
    named = figures_of(found(Other("real", None, ("a", "b", "c")), labels, labels, methods=("attention",)))
    assert named[2].title == "Predicted and true, attention, c"
    named[2].draw(tmp_path / "named.svg")
    assert "Predicted: c" in (tmp_path / "named.svg").read_text(encoding="utf-8")
    drawings[2].draw(tmp_path / "third.svg")
    assert "R² 1.000, MAE 0" in (tmp_path / "third.svg").read_text(encoding="utf-8")


def test_the_table_of_labels_measures_each_over_the_bags_in_which_it_is_known():
    tested = of_kind("multi-label", repeats=1)
    table = table_of_labels(tested, "attention")
    for column, row in enumerate(table.rows):
        known = ~np.isnan(tested.labels[:, column])
        labels, answers = tested.labels[known, column], tested.answers["attention"][0, known, column]
        own = ClassTarget.of([0, 1])
        expected = measure(own, labels, np.column_stack([1 - answers, answers]), scoring=["auc", "brier"])
        assert row[0] == ["oedema", "fracture"][column]
        assert row[1:4] == [str(known.sum()), f"{labels.mean():.0%}", f"{expected['auc']:.3f}"]
        assert row[-1] == f"{expected['brier']:.3f}"
    nothing = OutOfFold(tested.target, np.full((60, 2), np.nan), tested.answers, tested.folds)
    assert table_of_labels(nothing, "attention").rows == [["oedema", "0", *"–" * 6], ["fracture", "0", *"–" * 6]]


# ---- numbers ----------------------------------------------------------------------------------------------


def test_points_lie_where_bags_are_and_the_title_says_how_good(drawn):
    labels, predicted = np.array([1.0, 2.0, 4.0]), np.array([[1.5, 2.0, 3.0], [0.5, 3.0, 4.0]])
    figure = drawn(draw_predicted, labels, predicted)
    (points,) = figure.axes[0].collections
    np.testing.assert_allclose(points.get_offsets(), np.column_stack([labels, predicted.mean(axis=0)]))
    scores = [measure(Other("real"), labels, row[:, None], scoring=["r2", "mae"]) for row in predicted]
    r2, mae = (np.mean([score[name] for score in scores]) for name in ("r2", "mae"))
    assert figure.axes[0].get_title("left") == f"R² {r2:.3f}, MAE {mae:.3g}\n3 bags, means of 2 repetitions"


def test_equal_labels_have_no_r2(drawn):
    assert drawn(draw_predicted, [2, 2], [2, 3]).axes[0].get_title("left") == "R² –, MAE 0.5\n2 bags"


def test_a_figure_of_many_points_is_small(tmp_path):
    labels = RNG.normal(size=20_000)
    draw_predicted(tmp_path / "many.svg", labels, labels)
    assert (tmp_path / "many.svg").stat().st_size < 300_000


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([1, 2], [1, 2, 3], r"the labels have shape \(2,\), the predictions \(3,\)"),
        ([], [], r"the labels have shape \(0,\)"),
        ([1, 2], [1, np.nan], "a label or a prediction is no finite number: leave its bag out"),
        ([1, np.inf], [1, 2], "a label or a prediction is no finite number"),
    ],
)
def test_numbers_that_cannot_be_drawn_are_refused(labels, predicted, message, tmp_path):
    with pytest.raises(BagwiseError, match=message):
        draw_predicted(tmp_path / "figure.svg", labels, predicted)
    assert not list(Path(tmp_path).iterdir())


# ---- survival ---------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), bags=st.integers(1, 60), repeats=st.integers(1, 3), folds=st.integers(1, 4))
def test_thirds_are_of_rising_risk_in_every_fold(seed, bags, repeats, folds):
    rng = np.random.default_rng(seed)
    risks = rng.permuted(np.tile(np.arange(bags, dtype=float), (repeats, 1)), axis=1)
    places = rng.integers(folds, size=(repeats, bags))
    thirds = risk_thirds(risks, places)
    assert set(thirds) <= {0, 1, 2}
    shift = rng.normal(size=(repeats, folds))  # models of other folds may have other scales
    np.testing.assert_array_equal(risk_thirds(3 * risks + np.take_along_axis(shift, places, axis=1), places), thirds)
    if repeats == 1:
        for fold in range(folds):
            own = places[0] == fold
            assert (np.diff(thirds[own][np.argsort(risks[0, own])]) >= 0).all()
            sizes = np.bincount(thirds[own], minlength=3)
            assert sizes.max() - sizes.min() <= 1 or not own.any()


def test_equal_risks_are_in_one_third():
    assert risk_thirds(np.ones(7)).tolist() == [1] * 7
    assert risk_thirds([1, 1, 1, 2, 2, 2]).tolist() == [0] * 3 + [2] * 3


def test_the_curves_and_the_test_are_those_of_scikit_survival(drawn):
    labels, thirds = lives(), risk_thirds(HAZARD)
    figure = drawn(draw_lives, labels["event"], labels["time"], thirds)
    lines = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert len(lines) == 3
    for third, line in enumerate(lines):
        own = labels[thirds == third]
        times, survival = kaplan_meier_estimator(own["event"], own["time"])
        np.testing.assert_allclose(line.get_xdata()[1:], times)
        np.testing.assert_allclose(line.get_ydata()[1:], survival, atol=1e-12)
    assert "p < 0.001" in figure.axes[0].get_title("left")
    unrelated = np.arange(90) % 3
    p_value = compare_survival(Surv.from_arrays(labels["event"], labels["time"]), unrelated)[1]
    title = drawn(draw_lives, labels["event"], labels["time"], unrelated).axes[0].get_title("left")
    assert title == f"Thirds of the predicted risk; log-rank test: p {p_value:.3f}"


def test_below_stands_how_many_bags_are_still_seen(drawn):
    labels, thirds = lives(), risk_thirds(HAZARD)
    figure = drawn(draw_lives, labels["event"], labels["time"], thirds)
    told = [[text.get_position(), int(text.get_text())] for text in figure.axes[1].texts]
    assert len(told) >= 6
    for (at, row), seen in told:
        assert seen == np.sum(labels["time"][thirds == 2 - row] >= at)


@pytest.mark.parametrize("censored", [False, True])
def test_bags_of_one_third_alone_are_drawn_without_a_test(drawn, censored):
    figure = drawn(draw_lives, [not censored] * 3, [0.0, 0.0, 0.0], [1, 1, 1])
    assert figure.axes[0].get_title("left").endswith("p –")
    assert sum(line.get_drawstyle() == "steps-post" for line in figure.axes[0].lines) == 1


def test_lives_that_do_not_fit_together_are_refused(tmp_path):
    with pytest.raises(BagwiseError, match=re.escape("events have shape (2,), times (3,), thirds (3,)")):
        draw_lives(tmp_path / "figure.svg", [True, False], [1, 2, 3], [0, 1, 2])
