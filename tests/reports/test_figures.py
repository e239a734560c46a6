import os
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from bagwise import BagwiseError
from bagwise.evaluation.calibration import reliability
from bagwise.reports.confusion import draw_confusion
from bagwise.reports.ranking import draw_calibration, draw_precision_recall, draw_roc

CURVES = [draw_roc, draw_precision_recall, draw_calibration]
RANKED = CURVES[:2]
NAMES = np.array(["benign", "malignant", "unsure", *(f"class {c}" for c in range(3, 40))], dtype=object)
HOSTILE = [
    "<script>x()</script>",
    ']]> & "\'"',
    "$x_1$ 100% \\frac",
    "🧪 你好 مرحبا",
    "_hidden",
    "a\tb\nc",
    "\x00\x1b[31m",
    "half \ud800",
    "\u202egnp",
    "",
    "word " * 2000,
    "x" * 10_000,
]


def predictions(bags=60, classes=2, repeats=None, seed=0, skill=1.0):
    """Give codes that hold every class, and rounded probabilities, so that there are ties."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(bags) % classes)
    shape = (bags, classes) if repeats is None else (repeats, bags, classes)
    odds = np.exp(rng.normal(size=shape) + skill * np.eye(classes)[codes]).round(1) + 0.01
    return codes, odds / odds.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Give the figure that would be saved."""
    path = tmp_path_factory.mktemp("figures") / "figure.svg"

    def draw(function, labels, values, classes, **given):
        saved = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Figure, "savefig", lambda figure, *_, **__: saved.append(figure))
            function(path, labels, values, classes, **given)
        return saved[0]

    return draw


def legend(figure):
    return [" ".join(text.get_text().split()) for text in figure.legends[0].get_texts()]


def strong(figure):
    return [line for line in figure.axes[0].lines if line.get_linewidth() > 1]


def thin(figure):
    return [line for line in figure.axes[0].lines if line.get_alpha() is not None]


def all_texts(path):
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    return ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]


def area(line):
    """The area under what is drawn: trapezoids, or steps that stand left of their points."""
    x, y = line.get_data()
    return np.trapezoid(y, x) if line.get_drawstyle() == "default" else float(np.sum(np.diff(x) * y[1:]))


# ---- what the lines say -----------------------------------------------------------------------------------


def test_the_roc_curve_is_that_of_scikit_learn(drawn):
    codes, values = predictions()
    figure = drawn(draw_roc, NAMES[codes], {"attention": values}, NAMES[:2])
    (line,) = strong(figure)
    points = set(map(tuple, np.transpose(line.get_data())))
    assert set(zip(*sk.roc_curve(codes, values[:, 1])[:2], strict=True)) >= points
    assert area(line) == pytest.approx(sk.roc_auc_score(codes, values[:, 1]), rel=1e-12)
    assert legend(figure) == [f"{sk.roc_auc_score(codes, values[:, 1]):.3f} attention", "0.500 chance"]
    assert figure.axes[0].get_title("left") == "Positive: malignant"


def test_the_precision_recall_curve_is_that_of_scikit_learn(drawn):
    codes, values = predictions()
    figure = drawn(draw_precision_recall, codes, {"attention": values}, [0, 1])
    (line,) = strong(figure)
    precision, recall, _ = sk.precision_recall_curve(codes, values[:, 1])
    assert set(zip(recall, precision, strict=True)) >= set(map(tuple, np.transpose(line.get_data())))
    assert set(line.get_xdata()) == set(recall)
    average = sk.average_precision_score(codes, values[:, 1])
    assert area(line) == pytest.approx(average, rel=1e-12)
    assert legend(figure) == [f"{average:.3f} attention", "0.500 chance"]


def test_the_calibration_curve_is_that_of_scikit_learn(drawn):
    codes, values = predictions(bags=200)
    figure = drawn(draw_calibration, codes, {"attention": values}, [0, 1])
    observed, predicted = calibration_curve(codes, values[:, 1], n_bins=10, strategy="quantile")
    (line,) = strong(figure)
    assert line.get_xdata() == pytest.approx(predicted, rel=1e-12)
    assert line.get_ydata() == pytest.approx(observed, rel=1e-12)
    error, brier = reliability(codes == 1, values[:, 1]).error, sk.brier_score_loss(codes, values[:, 1])
    assert legend(figure) == [f"{error:.3f} {brier:.3f} attention", "0.000 perfect"]


@pytest.mark.parametrize(
    ("draw", "score"), [(draw_roc, sk.roc_auc_score), (draw_precision_recall, sk.average_precision_score)]
)
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), bags=st.integers(6, 40), classes=st.integers(2, 4), repeats=st.integers(1, 4))
def test_the_area_under_the_strong_line_is_the_number_in_the_legend(drawn, draw, score, seed, bags, classes, repeats):
    codes, values = predictions(bags, classes, repeats, seed)
    figure = drawn(draw, codes, {"a": values, "b": values[::-1]}, range(classes))
    columns = range(1, 2) if classes == 2 else range(classes)
    expected = np.mean([score(codes == c, repeat[:, c]) for repeat in values for c in columns])
    for line, said in zip(strong(figure), legend(figure), strict=False):
        assert area(line) == pytest.approx(expected, rel=1e-9)
        assert said.split()[0] == f"{expected:.3f}"


@pytest.mark.parametrize("draw", [draw_roc, draw_precision_recall, draw_calibration])
def test_curves_are_of_the_positive_class_wherever_its_column_is(drawn, draw):
    rng = np.random.default_rng(0)
    codes, share = rng.integers(2, size=40), rng.random(40)
    values = np.stack([1 - share, share], axis=1)
    figures = [
        drawn(draw, np.array(["normal", "tumour"])[codes], {"m": values}, ["normal", "tumour"]),
        drawn(draw, np.array(["normal", "cancer"])[codes], {"m": values[:, ::-1]}, ["cancer", "normal"]),
        drawn(draw, np.array(["a", "b"])[1 - codes], {"m": values[:, ::-1]}, ["a", "b"], positive="a"),
    ]
    titles = [figure.axes[0].get_title("left") for figure in figures]
    assert titles == ["Positive: tumour", "Positive: cancer", "Positive: a"]
    first = figures[0]
    for other in figures[1:]:
        assert legend(other) == legend(first)
        for one, another in zip(strong(other), strong(first), strict=True):
            np.testing.assert_array_equal(one.get_xydata(), another.get_xydata())


@pytest.mark.parametrize("draw", RANKED)
def test_several_classes_have_a_line_each_against_the_rest(drawn, draw):
    codes, values = predictions(classes=3)
    figure = drawn(draw, NAMES[codes], {"attention": values}, NAMES[:3])
    score = sk.roc_auc_score if draw is draw_roc else sk.average_precision_score
    expected = [score(codes == c, values[:, c]) for c in range(3)]
    assert [area(line) for line in strong(figure)] == pytest.approx(expected, rel=1e-12)
    assert legend(figure)[:3] == [f"{value:.3f} {name}" for value, name in zip(expected, NAMES[:3], strict=True)]


def test_the_calibration_of_several_methods_is_of_the_class_they_predict(drawn):
    codes, values = predictions(bags=90, classes=3)
    figure = drawn(draw_calibration, codes, {"a": values, "b": values}, range(3))
    right, sure = values.argmax(axis=1) == codes, values.max(axis=1)
    found = reliability(right, sure, 9)
    for line in strong(figure):
        assert np.array_equal(line.get_data(), [found.predicted, found.observed])
    assert legend(figure)[0] == f"{found.error:.3f} {np.mean((sure - right) ** 2):.3f} a"
    assert "predicted class" in figure.axes[0].get_title("left")


@pytest.mark.parametrize("draw", CURVES)
def test_each_repetition_is_a_thin_line_where_there_is_room(drawn, draw):
    codes, values = predictions(repeats=3)
    figure = drawn(draw, codes, dict.fromkeys("abcd", values), [0, 1])
    assert (len(thin(figure)), len(strong(figure))) == (12, 4)
    assert "3 repetitions" in figure.axes[0].get_title("left")
    figure = drawn(draw, codes, dict.fromkeys("abcde", values), [0, 1])
    assert (len(thin(figure)), len(strong(figure))) == (0, 5)


@pytest.mark.parametrize("draw", CURVES)
def test_one_repetition_is_drawn_as_none(drawn, draw):
    codes, values = predictions()
    alone = drawn(draw, codes, {"a": values}, [0, 1])
    listed = drawn(draw, codes, {"a": values[None]}, [0, 1])
    assert not thin(listed)
    assert np.array_equal(strong(alone)[0].get_data(), strong(listed)[0].get_data())
    assert legend(alone) == legend(listed)


def test_calibration_over_repetitions_is_drawn_together_and_scored_one_by_one(drawn):
    codes, values = predictions(bags=50, repeats=3)
    figure = drawn(draw_calibration, codes, {"a": values}, [0, 1])
    together = reliability(np.tile(codes == 1, 3), values[:, :, 1].ravel(), 5)
    assert np.array_equal(strong(figure)[0].get_data(), [together.predicted, together.observed])
    error = np.mean([reliability(codes == 1, repeat[:, 1], 5).error for repeat in values])
    brier = np.mean((values[:, :, 1] - codes) ** 2)
    assert legend(figure)[0] == f"{error:.3f} {brier:.3f} a"


@pytest.mark.parametrize("draw", RANKED)
def test_a_class_without_bags_is_named_but_not_drawn(drawn, draw):
    codes, values = predictions(classes=3)
    codes[codes == 1] = 2
    figure = drawn(draw, codes, {"a": values}, range(3))
    assert len(strong(figure)) == 2
    assert legend(figure)[1] == "– 1"
    score = sk.roc_auc_score if draw is draw_roc else sk.average_precision_score
    figure = drawn(draw, codes, {"a": values, "b": values}, range(3))
    assert legend(figure)[0] == f"{np.mean([score(codes == c, values[:, c]) for c in (0, 2)]):.3f} a"


def test_constant_probabilities_rank_by_chance(drawn):
    codes, values = predictions()[0], np.full((60, 2), 0.5)
    assert legend(drawn(draw_roc, codes, {"a": values}, [0, 1]))[0] == "0.500 a"
    assert legend(drawn(draw_precision_recall, codes, {"a": values}, [0, 1]))[0] == "0.500 a"
    figure = drawn(draw_calibration, codes, {"a": values}, [0, 1])
    assert np.array_equal(strong(figure)[0].get_data(), [[0.5], [0.5]])
    assert legend(figure)[0] == "0.000 0.250 a"


@pytest.mark.parametrize("draw", CURVES)
@pytest.mark.parametrize(("classes", "lines"), [(12, 12), (13, 1)])
def test_many_classes_share_a_line(drawn, draw, classes, lines):
    codes, values = predictions(bags=60, classes=classes)
    assert len(strong(drawn(draw, codes, {"a": values}, range(classes)))) == lines


def test_no_two_lines_look_the_same(drawn):
    codes, values = predictions(bags=20)
    figure = drawn(draw_roc, codes, {str(n): values for n in range(18)}, [0, 1])
    looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in strong(figure)}
    assert len(looks) == 18


# ---- confusion --------------------------------------------------------------------------------------------


def cells(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_confusion_matrix_is_that_of_scikit_learn(drawn):
    codes, values = predictions(bags=70, classes=4)
    predicted = values.argmax(axis=1)
    counts = sk.confusion_matrix(codes, predicted)
    shares = sk.confusion_matrix(codes, predicted, normalize="true")
    figure = drawn(draw_confusion, NAMES[codes], NAMES[predicted], NAMES[:4])
    assert cells(figure) == [f"{n}\n{share:.0%}" for n, share in zip(counts.flat, shares.flat, strict=True)]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(NAMES[:4])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == list(NAMES[:4])
    assert figure.axes[0].yaxis_inverted()


def test_confusion_over_repetitions_is_the_mean(drawn):
    codes = np.array([0, 0, 1, 1])
    figure = drawn(draw_confusion, codes, [[0, 1, 1, 1], [0, 0, 1, 0]], [0, 1])
    assert cells(figure) == ["1.5\n75%", "0.5\n25%", "0.5\n25%", "1.5\n75%"]


def test_a_class_without_bags_has_a_row_of_dashes(drawn):
    figure = drawn(draw_confusion, ["a", "a", "b"], ["a", "c", "b"], ["a", "b", "c"])
    assert cells(figure) == ["1\n50%", "0\n0%", "1\n50%", "0\n0%", "1\n100%", "0\n0%", "–", "–", "–"]


def test_labels_may_be_booleans_or_numpy_values(drawn):
    labels, predicted = np.array([True, False]), [np.bool_(True), np.bool_(True)]
    assert cells(drawn(draw_confusion, labels, predicted, np.array([False, True]))) == [
        "0\n0%",
        "1\n100%",
        "0\n0%",
        "1\n100%",
    ]


# ---- files ------------------------------------------------------------------------------------------------


def everything(folder, suffix, names=("no", "yes"), methods=("attention",), seed=0):
    """Draw all four figures, and give their paths."""
    codes, values = predictions(bags=40, classes=len(names), repeats=2, seed=seed)
    labels = [names[code] for code in codes]
    for draw in CURVES:
        draw(folder / f"{draw.__name__}{suffix}", labels, dict.fromkeys(methods, values), list(names))
    predicted = [[names[c] for c in repeat.argmax(axis=-1)] for repeat in values]
    draw_confusion(folder / f"draw_confusion{suffix}", labels, predicted, list(names))
    return sorted(folder.iterdir())


def test_png_files_open_and_have_the_size_they_should(tmp_path):
    paths = everything(tmp_path, ".png")
    assert len(paths) == 4
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.size) == ("PNG", (1000, 800))
            assert image.convert("RGB").getpixel((999, 799)) == (255, 255, 255)


def test_an_ending_in_capitals_is_an_ending(tmp_path):
    codes, values = predictions()
    draw_roc(tmp_path / "A.PNG", codes, {"a": values}, [0, 1])
    with Image.open(tmp_path / "A.PNG") as image:
        assert image.format == "PNG"


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_predictions_make_the_same_bytes(tmp_path, suffix):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        everything(folder, suffix)
    for one, other in zip(sorted(first.iterdir()), sorted(second.iterdir()), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_caller_s_style_is_neither_used_nor_changed(tmp_path):
    codes, values = predictions()
    draw_roc(tmp_path / "plain.svg", codes, {"a": values}, [0, 1])
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "black", "font.size": 30}):
        before = dict(matplotlib.rcParams)
        draw_roc(tmp_path / "styled.svg", codes, {"a": values}, [0, 1])
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "plain.svg").read_bytes() == (tmp_path / "styled.svg").read_bytes()


def test_pyplot_knows_nothing_of_the_figure(tmp_path):
    codes, values = predictions()
    draw_roc(tmp_path / "figure.svg", codes, {"a": values}, [0, 1])
    assert not pyplot.get_fignums()


@pytest.mark.parametrize(
    ("suffix", "names"), [(".svg", HOSTILE[:2]), (".svg", HOSTILE), (".png", HOSTILE[2:4]), (".png", HOSTILE[4:8])]
)
def test_hostile_names_are_drawn_as_text(tmp_path, names, suffix):
    for path in everything(tmp_path, suffix, names):
        if suffix == ".png":
            with Image.open(path) as image:
                image.load()
            continue
        root = ET.fromstring(path.read_text(encoding="utf-8"))
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert not tags & {"script", "image", "foreignObject", "a"}
        assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]


def test_names_are_in_the_file_letter_by_letter(tmp_path):
    names = ["<script>", "$x_1$", "🧪 你好"]
    for path in everything(tmp_path, ".svg", names):
        said = all_texts(path)
        assert all(any(name in text for text in said) for name in names), path


def test_names_that_the_font_lacks_stay_apart_in_a_png(tmp_path):
    codes, values = predictions(classes=3)
    files = set()
    for n, name in enumerate(["🧪", "🧫", "你"]):
        labels = np.array([0, 1, name], dtype=object)[codes]
        draw_roc(tmp_path / f"{n}.png", labels, {"a": values}, [0, 1, name])
        files.add((tmp_path / f"{n}.png").read_bytes())
    assert len(files) == 3


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("attention", "0.500 attention"),
        ("a\tb\nc", "0.500 a b c"),
        ("", "0.500 (no name)"),
        ("\u202eabc\u200b", "0.500 abc"),
        ("a\x00b\ud800", "0.500 a\ufffdb\ufffd"),
        ("_hidden", "0.500 _hidden"),
        ("the end of this rather long name tells", "0.500 the end of this… long name tells"),
        ("abcdefghi abcdefghijklm abcde", "0.500 abcdefghi abcdef ghijklm abcde"),
        (7, "0.500 7"),
    ],
)
def test_names_are_shown_clean_and_short(drawn, name, shown):
    codes, values = predictions()[0], np.full((60, 2), 0.5)
    assert legend(drawn(draw_roc, codes, {name: values}, [0, 1]))[0] == shown


@pytest.mark.parametrize("draw", [*CURVES, draw_confusion])
@pytest.mark.parametrize(
    ("classes", "methods", "repeats", "bags"), [(2, 1, None, 10), (2, 18, 2, 40), (3, 4, 3, 30), (12, 1, None, 60)]
)
def test_nothing_is_cut_off_and_the_legend_covers_nothing(drawn, draw, classes, methods, repeats, bags):
    codes, values = predictions(bags, classes, repeats)
    names = [f"{name} of a rather long name" for name in NAMES[:classes]]
    given = {f"method {n} of a rather long name": values for n in range(methods)}
    if draw is draw_confusion:
        given = np.array(names, dtype=object)[values.argmax(axis=-1)]
    figure = drawn(draw, [names[code] for code in codes], given, names)
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) >= 0
    assert box.x1 <= figure.get_figwidth()
    assert box.y1 <= figure.get_figheight()
    for shown in figure.legends:
        assert not shown.get_window_extent().overlaps(figure.axes[0].get_tightbbox())


def test_a_large_confusion_matrix_grows(drawn):
    codes, values = predictions(bags=80, classes=24)
    figure = drawn(draw_confusion, codes, values.argmax(axis=1), range(24))
    assert (figure.get_figwidth(), figure.get_figheight()) == (10, 8)


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"figure{suffix}"
    path.write_text("old")

    def fail(_figure, target, **_options):
        Path(target).write_text("half")
        raise OSError(28, os.strerror(28), str(target))

    monkeypatch.setattr(Figure, "savefig", fail)
    codes, values = predictions()
    with pytest.raises(BagwiseError, match=rf"cannot write .*figure{suffix}: No space"):
        draw_roc(path, codes, {"a": values}, [0, 1])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["figure.pdf", "figure", "figure.svg.txt", ".png"])
def test_another_ending_is_refused_before_anything_is_made(tmp_path, name):
    codes, values = predictions()
    for draw in CURVES:
        with pytest.raises(BagwiseError, match=f"{name}: a figure's name must end in .svg or .png"):
            draw(tmp_path / "new" / name, codes, {"a": values}, [0, 1])
    with pytest.raises(BagwiseError, match="must end in .svg or .png"):
        draw_confusion(tmp_path / "new" / name, codes, codes, [0, 1])
    assert not (tmp_path / "new").exists()


def test_a_folder_in_the_way_is_said(tmp_path):
    (tmp_path / "figure.png").mkdir()
    codes, values = predictions()
    with pytest.raises(BagwiseError, match="cannot write .*figure.png"):
        draw_roc(tmp_path / "figure.png", codes, {"a": values}, [0, 1])
    assert len(list(tmp_path.iterdir())) == 1


# ---- refusals ---------------------------------------------------------------------------------------------

GOOD = np.array([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])


def bad(place, value):
    changed = np.array([GOOD, GOOD])
    changed[place] = value
    return changed


@pytest.mark.parametrize("draw", CURVES)
@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (bad((1, 2, 0), np.nan), "method 'attention' have nan for bag 2 and class 'no' in repetition 1:"),
        (bad((0, 1, 1), np.inf), "method 'attention' have inf for bag 1 and class 'yes' in repetition 0:"),
        (bad((0, 0, 0), -0.1), "method 'attention' have -0.1 for bag 0"),
        (bad((1, 0, 0), 1.1), "method 'attention' have 1.1 for bag 0"),
        (bad((1, 1), 0.1), "method 'attention' of bag 1 in repetition 1 have the sum 0.2: the sum must be 1"),
        (GOOD[:2], r"method 'attention' have shape \(2, 2\): 3 labels and 2 classes need shape \(3, 2\)"),
        (GOOD[:, :1], r"have shape \(3, 1\)"),
        (GOOD[:, 1], r"have shape \(3,\)"),
        (np.zeros((0, 3, 2)), r"have shape \(0, 3, 2\)"),
        ([[0.5, 0.5], [0.5]], "method 'attention' are ragged"),
        (GOOD.astype(str), "method 'attention' hold <U32 values"),
        (GOOD * 1j, "method 'attention' hold complex128 values"),
        (None, "method 'attention' hold object values"),
    ],
)
def test_probabilities_that_will_not_do_are_refused_with_their_place(tmp_path, draw, values, sentence):
    with pytest.raises(BagwiseError, match=sentence):
        draw(tmp_path / "new" / "f.svg", ["no", "yes", "no"], {"good": GOOD, "attention": values}, ["no", "yes"])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("draw", [*CURVES, draw_confusion])
@pytest.mark.parametrize(
    ("labels", "classes", "sentence"),
    [
        (
            ["no", "maybe", "no"],
            ["no", "yes"],
            "bag 1 has the label 'maybe': it must be one of the classes 'no', 'yes'",
        ),
        (["no", None, "no"], ["no", "yes"], "bag 1 has the label None"),
        (["no", "yes", np.nan], ["no", "yes"], "bag 2 has the label nan"),
        ([0, 1, [0]], [0, 1], r"bag 2 has the label \[0\]"),
        ([0, 1, "0"], [0, 1], "bag 2 has the label '0'"),
        ([0, 1, 2**80], [0, 1], f"bag 2 has the label {2**80}"),
        ([0, 1, 0.5], [0, 1], "bag 2 has the label 0.5"),
        ([], [0, 1], r"the labels have shape \(0,\)"),
        ([[0], [1], [0]], [0, 1], r"the labels have shape \(3, 1\)"),
        ("no", ["no", "yes"], r"the labels have shape \(\)"),
        ([np.zeros((2, 2)), np.zeros((2, 3)), 0], [0, 1], "the labels are ragged|bag 0 has the label"),
        ([0, 1, 0], [0], "there is one class, 0"),
        ([0, 1, 0], [], r"the classes have shape \(0,\)"),
        ([0, 1, 0], 2, r"the classes have shape \(\)"),
        ([0, 1, 0], [0, 1, 0], "two classes are 0"),
        ([0, 1, 0], [0, 1.5], "class 1 is 1.5"),
        ([0, 1, 0], [None, 1], "class 0 is None"),
    ],
)
def test_labels_and_classes_that_will_not_do_are_refused(tmp_path, draw, labels, classes, sentence):
    with pytest.raises(BagwiseError, match=sentence):
        draw(tmp_path / "f.svg", labels, [0, 1, 0] if draw is draw_confusion else {"a": GOOD}, classes)


@pytest.mark.parametrize("draw", CURVES)
def test_too_few_or_too_many_methods_are_refused(tmp_path, draw):
    for count in (0, 19):
        with pytest.raises(BagwiseError, match=f"there are {count} methods to draw: give 1 to 18"):
            draw(tmp_path / "f.svg", [0, 1, 0], {str(n): GOOD for n in range(count)}, [0, 1])
    with pytest.raises(BagwiseError, match="the probabilities are of type ndarray"):
        draw(tmp_path / "f.svg", [0, 1, 0], GOOD, [0, 1])


@pytest.mark.parametrize("draw", RANKED)
def test_bags_of_one_class_cannot_be_ranked(tmp_path, draw):
    with pytest.raises(BagwiseError, match=r"all bags have the label 'no': .* needs bags of two classes"):
        draw(tmp_path / "f.svg", ["no"] * 3, {"a": GOOD}, ["no", "yes"])


def test_bags_of_one_class_have_a_calibration(drawn):
    figure = drawn(draw_calibration, ["no"] * 3, {"a": GOOD}, ["no", "yes"])
    assert legend(figure)[0] == f"{np.mean(GOOD[:, 1]):.3f} {np.mean(GOOD[:, 1] ** 2):.3f} a"


@pytest.mark.parametrize(
    ("predicted", "sentence"),
    [
        (["no", "yes"], r"the predictions have shape \(2,\): .* there are 3 labels"),
        ([[["no", "yes", "no"]]], r"the predictions have shape \(1, 1, 3\)"),
        (np.zeros((0, 3)), r"the predictions have shape \(0, 3\)"),
        ("no", r"the predictions have shape \(\)"),
        ([["no", "yes", "no"], ["no", "no", "NO"]], "bag 2 has the prediction of repetition 1, 'NO'"),
        (["no", np.nan, "no"], "bag 1 has the prediction of repetition 0, nan"),
        ([["no", "no", "no"], [None] * 3], "no bag has a prediction in repetition 1"),
    ],
)
def test_predictions_that_will_not_do_are_refused(tmp_path, predicted, sentence):
    with pytest.raises(BagwiseError, match=sentence):
        draw_confusion(tmp_path / "f.svg", ["no", "yes", "no"], predicted, ["no", "yes"])


def test_a_confusion_matrix_that_nobody_could_read_is_refused(tmp_path):
    with pytest.raises(BagwiseError, match="there are 101 classes"):
        draw_confusion(tmp_path / "f.svg", [0], [0], range(101))


# ---- reliability ------------------------------------------------------------------------------------------

CHANCES = st.integers(0, 20).map(lambda value: value / 20)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), CHANCES), min_size=1, max_size=60), st.integers(1, 12))
def test_reliability_is_that_of_scikit_learn_and_counts_every_prediction(pairs, bins):
    outcomes, values = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    found = reliability(outcomes, values, bins)
    observed, predicted = calibration_curve(outcomes, values, n_bins=bins, strategy="quantile", pos_label=True)
    assert np.array_equal(found.predicted, predicted)
    assert np.array_equal(found.observed, observed)
    assert found.counts.sum() == len(pairs)
    assert len(found.counts) <= bins
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(found.counts)
    slow = 0.0
    for begin, end in zip([0, *ends], ends, strict=False):
        slow += abs(sum(values[order[begin:end]]) - sum(outcomes[order[begin:end]])) / len(pairs)
        assert end == len(pairs) or values[order[end - 1]] < values[order[end]], "equals stay together"
    assert found.error == pytest.approx(slow, abs=1e-12)


def test_bins_without_ties_are_of_equal_counts():
    values = np.random.default_rng(0).permutation(np.arange(100) / 100)
    assert reliability(values > 0.5, values).counts.tolist() == [10] * 10


@pytest.mark.parametrize(
    ("outcomes", "values", "bins", "sentence"),
    [
        ([True], [0.5], 0, "bins is 0"),
        ([True], [0.5], 2.5, "bins is 2.5"),
        ([1, 0], [0.5, 0.5], 2, "outcomes hold int64 values"),
        ([True], ["a"], 2, "probabilities hold <U1 values"),
        ([True, False], [0.5], 2, r"outcomes have shape \(2,\), probabilities \(1,\)"),
        ([[True]], [[0.5]], 2, r"outcomes have shape \(1, 1\)"),
        (np.zeros(0, dtype=bool), [], 2, r"outcomes have shape \(0,\)"),
        ([True, False], [0.5, np.nan], 2, "probability 1 is nan"),
        ([True, False], [-0.5, 0.5], 2, "probability 0 is -0.5"),
        ([True, False], [0.5, np.inf], 2, "probability 1 is inf"),
        ([True, False], [[0.5], [0.5, 0.5]], 2, "ragged"),
    ],
)
def test_what_has_no_reliability_is_refused(outcomes, values, bins, sentence):
    with pytest.raises(BagwiseError, match=sentence):
        reliability(outcomes, values, bins)


# ---- bags that were not tested ----------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [draw_roc, draw_precision_recall, draw_calibration], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("classes", [2, 3])
def test_bags_that_are_never_tested_are_not_there(draw, classes, tmp_path):
    rng = np.random.default_rng(0)
    names, labels = NAMES[:classes], NAMES[np.arange(60) % classes]
    values = rng.dirichlet(np.ones(classes), size=(2, 60))
    untested = rng.random(60) < 0.4
    holed = np.where(untested[:, None], np.nan, values)
    draw(tmp_path / "holed.svg", labels, {"attention": holed}, names)
    draw(tmp_path / "without.svg", labels[~untested], {"attention": values[:, ~untested]}, names)
    assert (tmp_path / "holed.svg").read_bytes() == (tmp_path / "without.svg").read_bytes()


def test_repetitions_may_test_different_bags(tmp_path):
    labels = np.array(["no", "yes"])[np.arange(40) % 2]
    right = np.stack([labels == "no", labels == "yes"], axis=1).astype(float)
    wrong = 1 - right
    holed = np.full((2, 40, 2), np.nan)
    holed[0, :20], holed[1, 20:] = right[:20], wrong[20:]
    draw_roc(tmp_path / "roc.svg", labels, {"attention": holed}, ["no", "yes"])
    assert "0.500  attention" in (tmp_path / "roc.svg").read_text(encoding="utf-8")
    predicted = np.where(np.isnan(holed[..., 0]), None, np.where(holed[..., 1] > 0.5, "yes", "no"))
    draw_confusion(tmp_path / "confusion.svg", labels, predicted, ["no", "yes"])
    text = (tmp_path / "confusion.svg").read_text(encoding="utf-8")
    assert (text.count(">5.0<"), text.count(">50%<")) == (4, 4)
