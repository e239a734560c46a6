import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bagwise.errors import BagwiseError
from bagwise.reports import BagView, Figure, Metric, Report, Table, html, write_report
from bagwise.stored import Part, StoredInstances

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "</script><img src=x onerror=\"document.title='owned'\">",
    "\"double\" 'single' & <b>bold</b>",
    "{{ 7 * 7 }} {% raw %} url(x)",
    "🧪 émoji 你好 مرحبا",
    "x" * 10_000,
    "half a pair \ud800",
    "",
]


def bag(name: str = "bag", size: int = 3, **changes: Any) -> BagView:
    weights = np.arange(1, size + 1) / np.arange(1, size + 1).sum()
    return replace(BagView(name, "positive", "positive", 0.9, weights), **changes)


def report(*bags: BagView, **changes: Any) -> Report:
    plain = Report(
        title="Digits",
        summary="A summary.",
        metrics=[Metric("Bag AUC", 0.9763, "Of 500 test bags."), Metric("Instance AUC", float("nan"), "No nines.")],
        facts=[("Seed", "0")],
        history=[{"epoch": epoch, "loss": 1 / epoch} for epoch in range(1, 21)],
        bags=bags,
        notes=["A note."],
    )
    return replace(plain, **changes)


def several() -> Report:
    """Thirty bags in the order of their numbers, every fifth predicted wrong, sizes and probabilities in disorder."""
    bags = []
    for number in range(30):
        label = ["negative", "positive"][number % 2]
        predicted = label if number % 5 else ["positive", "negative"][number % 2]
        probability = 0.5 + (number * 7 % 30) / 60
        size = 1 + number * 11 % 30
        parts = {"images": np.full((size, 28, 28), 200, dtype=np.uint8), "key": np.arange(size) == 0}
        bags.append(bag(f"bag {number}", size, label=label, predicted=predicted, probability=probability, **parts))
    return report(*bags)


class Page(HTMLParser):
    """The elements of a page as (tag, attributes, own text)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes), []))
        if tag not in {"meta", "link", "input", "img", "br"}:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag, f"</{tag}> closes something else"

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes), []))

    def handle_data(self, data: str) -> None:
        for position in self.open:
            self.elements[position][2].append(data)

    def texts(self, tag: str, kind: str | None = None) -> list[str]:
        return [
            " ".join("".join(text).split())
            for name, attributes, text in self.elements
            if name == tag and kind in {None, attributes.get("class")}
        ]


def written(wanted: Report, folder: Path) -> str:
    write_report(wanted, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def test_says_all_that_the_report_holds(tmp_path: Path) -> None:
    page = Page(written(report(bag("bag 7", key=np.array([True, False, False]))), tmp_path))
    assert not page.open
    assert page.texts("h1") == ["Digits"]
    assert page.texts("h2") == [
        "Headline numbers",
        "Which instances decided",
        "How it was trained",
        "What to keep in mind",
    ]
    assert page.texts("h4") == ["bag 7"]
    assert page.texts("dt") == ["Bag AUC", "Instance AUC"]
    assert "0.976" in page.texts("dd")
    assert "–" in page.texts("dd"), "NaN is a dash"
    assert page.texts("th") == ["Seed"]
    assert "A note." in page.texts("p")
    assert page.texts("title")[1] == "Loss by epoch: training from 1 in epoch 1 to 0.05 in epoch 20"


def test_wrong_predictions_come_first_surest_on_top_and_right_ones_as_given(tmp_path: Path) -> None:
    bags = [
        bag("right b", probability=0.6),
        bag("wrong, unsure", predicted="negative", probability=0.4),
        bag("right a"),
        bag("wrong, sure", predicted="negative", probability=0.8),
        bag("wrong, in between", predicted="negative", probability=0.5),
    ]
    page = Page(written(report(*bags), tmp_path))
    assert page.texts("h4") == ["wrong, sure", "wrong, in between", "wrong, unsure", "right b", "right a"]
    headings = [text.split()[0] for text in page.texts("h3")]
    assert headings == ["Wrong", "Right"]


def test_bags_without_labels_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    bags = [bag("unsure", label=None, probability=0.6), bag("sure", label=None)]
    page = Page(written(report(*bags), tmp_path))
    assert page.texts("h4") == ["sure", "unsure"]
    assert page.texts("h3") == ["Predictions 2"]
    shown = " ".join(page.texts("li", "bag"))
    assert "right" not in shown
    assert "wrong" not in shown
    assert "label" not in shown.replace("predicted label", "")


def test_bags_without_weights_are_shown_without_instances(tmp_path: Path) -> None:
    page = Page(written(report(bag("a", weights=None), bag("b", weights=None, predicted="negative")), tmp_path))
    assert page.texts("h4") == ["b", "a"]
    assert "What was predicted" in page.texts("h2")
    assert page.texts("span", "weight") == []
    assert "Weights rank" not in " ".join(page.texts("p"))


def test_tables_figures_and_data_are_said(tmp_path: Path) -> None:
    table = Table("Methods", ["Method", "AUC"], [["attention", "0.903 ± 0.081"], ["MI-Net", "0.887 ± 0.090"]], "Folds.")
    svg = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><text>ROC</text></svg>"
    wanted = report(tables=[table], figures=[Figure("ROC", svg, "Curves.")], data=[("Bags", "92"), ("Features", "166")])
    page = Page(written(wanted, tmp_path))
    assert page.texts("h2")[1:4] == ["Methods", "Figures", "The data"]
    assert page.texts("th") == ["Method", "AUC", "attention", "MI-Net", "Bags", "Features", "Seed"]
    assert page.texts("td")[:2] == ["0.903 ± 0.081", "0.887 ± 0.090"]
    (image,) = [attributes for tag, attributes, _ in page.elements if tag == "img"]
    assert image["alt"] == "Curves."
    assert base64.b64decode((image["src"] or "").split(",")[1]).decode() == svg


def test_a_row_that_does_not_fit_its_table_is_named() -> None:
    with pytest.raises(BagwiseError, match="row 2 of the table 'Methods' has 1 texts for 2 columns"):
        Table("Methods", ["Method", "AUC"], [["a", "b"], ["c"]])


def test_loads_nothing_from_anywhere(tmp_path: Path) -> None:
    text = written(several(), tmp_path)
    assert "default-src 'none'" in text
    for tag, attributes, _ in Page(text).elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)


def test_bags_of_unequal_sizes(tmp_path: Path) -> None:
    page = Page(written(report(bag("one", 1), bag("many", 30), bag("five", 5)), tmp_path))
    assert len(page.texts("li", "bag")) == 3
    assert len(page.texts("span", "weight")) == 1 + 30 + 5
    assert page.texts("p", "rest") == []


def test_a_large_bag_shows_its_largest_weights_and_says_so(tmp_path: Path) -> None:
    key = np.zeros(200, dtype=bool)
    key[[0, 199]] = True
    page = Page(written(report(bag("large", 200, key=key)), tmp_path))
    assert page.texts("span", "name")[:2] == ["200, known key instance", "199"]
    assert len(page.texts("span", "name")) == 30
    (rest,) = page.texts("p", "rest")
    assert rest.startswith("The 30 largest weights, largest first. The other 170 sum to 0.72 and hold 1 of 2 known key")


def test_without_history_images_bags_or_anything(tmp_path: Path) -> None:
    page = Page(written(report(bag(), history=[]), tmp_path))
    assert page.texts("figure") == []
    assert page.texts("span", "name") == ["1", "2", "3"]
    empty = Page(written(Report("Title", "Summary.", [], [], [], []), tmp_path))
    assert empty.texts("h1") == ["Title"]
    assert empty.texts("h2") == empty.texts("script") == []


def test_validation_curves_leave_out_what_is_not_a_number(tmp_path: Path) -> None:
    history = [
        {"epoch": 1, "loss": 0.5, "validation_loss": float("nan"), "validation_error": 0.25},
        {"epoch": 2, "loss": 0.5, "validation_loss": 0.75, "validation_error": 0.125},
    ]
    text = written(report(history=history), tmp_path)
    page = Page(text)
    assert page.texts("title")[1:] == [
        "Loss by epoch: training from 0.5 in epoch 1 to 0.5 in epoch 2; "
        "validation from 0.75 in epoch 2 to 0.75 in epoch 2",
        "Validation error by epoch: validation from 0.25 in epoch 1 to 0.125 in epoch 2",
    ]
    drawn = [attributes for tag, attributes, _ in page.elements if tag in {"polyline", "circle"}]
    assert len(drawn) == 6
    assert "nan" not in str(drawn)


def test_one_epoch_and_constant_zero_loss_still_have_axes(tmp_path: Path) -> None:
    page = Page(written(report(history=[{"epoch": 1, "loss": 0.0}]), tmp_path))
    assert page.texts("text")[-2:] == ["1", "epoch"]


def test_pictures_are_what_was_given(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ink = rng.integers(0, 256, (3, 10, 8), dtype=np.uint8)
    strip = picture(written(report(bag(images=ink)), tmp_path))
    expected = np.concatenate(list(ink), axis=1)
    assert np.abs(np.asarray(strip.convert("RGBA"))[..., 3].astype(int) - expected).max() <= 15
    colour = np.stack([np.full((300, 200, 3), value, dtype=np.uint8) for value in (0, 100, 200)])
    strip = picture(written(report(bag(images=colour)), tmp_path))
    assert strip.size == (3 * 64, 96)
    assert np.abs(np.asarray(strip)[48, [32, 96, 160], 0].astype(int) - [0, 100, 200]).max() <= 3


def picture(text: str) -> Image.Image:
    found = re.search(r"--strip:url\(data:image/\w+;base64,([^)]+)\)", text)
    assert found
    return Image.open(io.BytesIO(base64.b64decode(found[1])))


def test_pictures_beyond_the_limit_are_left_out_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "_MOST_PICTURE_BYTES", 1)
    images = np.zeros((3, 28, 28), dtype=np.uint8)
    page = Page(written(report(bag("first", images=images), bag("second", images=images)), tmp_path))
    assert page.texts("p", "rest") == ["Pictures left out here, to keep the page small."]
    assert page.texts("span", "name") == ["1", "2", "3"]


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    bags = [bag(text, label=text, predicted="other", instance_names=[text] * 3) for text in HOSTILE]
    facts = [(text, text) for text in HOSTILE]
    wanted = report(*bags, title=HOSTILE[0], summary=HOSTILE[1], facts=facts, notes=HOSTILE)
    page = Page(written(wanted, tmp_path))
    tags = [tag for tag, _, _ in page.elements]
    assert tags.count("script") == 1
    assert "img" not in tags
    shown = " ".join(page.texts("h4"))
    for text in HOSTILE[:6]:
        assert text in shown
    assert page.texts("summary").count("x" * 48 + "…") >= 1


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_report(report(), path)
    old = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BagwiseError, match=r"report\.html: No space left"):
        write_report(report(), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"weights": np.ones((2, 2))}, "weights of shape (2, 2)"),
        ({"weights": np.ones(0)}, "weights of shape (0,)"),
        ({"weights": np.array([0.5, 0.2, 0.1])}, "sum 0.8"),
        ({"weights": np.array([1.5, -0.5, 0.0])}, "none may be negative"),
        ({"weights": np.array([np.nan, 0.5, 0.5])}, "sum nan"),
        ({"probability": 1.5}, "probability 1.5"),
        ({"probability": float("nan")}, "probability nan"),
        ({"images": np.zeros((2, 28, 28), dtype=np.uint8)}, "3 weights but 2 images"),
        ({"images": np.zeros((3, 28, 28))}, "float64 images"),
        ({"images": np.zeros((3, 28, 28, 4), dtype=np.uint8)}, "images of shape (3, 28, 28, 4)"),
        ({"instance_names": ["a"]}, "3 weights but 1 instance_names"),
        ({"key": np.ones(4, dtype=bool)}, "3 weights but 4 key"),
        ({"corners": np.zeros((4, 2))}, "3 weights but 4 corners"),
        ({"corners": np.zeros((3, 3))}, "corners of shape (3, 3)"),
        ({"corners": np.full((3, 2), np.nan)}, "corners of shape (3, 2)"),
        ({"corners": np.zeros((3, 2)), "side": 0.0}, "the side 0.0"),
    ],
)
def test_a_bag_that_does_not_fit_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BagwiseError, match=re.escape(sentence)) as error:
        bag("bag 8", **changes)
    assert str(error.value).startswith("bag 'bag 8' has ")


def test_reports_need_no_plotting_library() -> None:
    code = "import sys, bagwise.reports; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


# Maps


def grid(count: int, across: int, side: int = 32) -> Any:
    return np.stack(np.divmod(np.arange(count), across)[::-1], axis=1) * side


def layers(text: str) -> tuple[Any, Any, dict[str, Any]]:
    """Give the picture (H, W, 4) and the veil (H, W) of the first map, and its tiles."""
    (figure, *_) = [
        attributes for tag, attributes, _ in Page(text).elements if "map" in (attributes.get("class") or "")
    ]
    found = re.findall(r"url\(data:image/\w+;base64,([^)]+)\)", figure["style"] or "")
    picture, veil = (np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGBA")) for one in found)
    return picture, veil[..., 3], json.loads(figure["data-tiles"] or "")


def test_a_map_puts_patches_at_their_places_and_veils_them_by_their_weights(tmp_path: Path) -> None:
    colours = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)
    images = np.broadcast_to(colours[:, None, None], (3, 32, 32, 3))
    weights = np.array([0.2, 0.3, 0.5])
    places = np.array([[100, 50], [164, 50], [100, 82]])  # with a hole between the first and the second
    picture, veil, tiles = layers(
        written(report(bag(weights=weights, images=images, corners=places, side=32.0)), tmp_path)
    )
    assert picture.shape[:2] == veil.shape == (128, 192)
    for (x, y), colour, hidden in zip([(0, 0), (128, 0), (0, 64)], colours, [1, 2 / 3, 0], strict=True):
        middle = picture[y + 32, x + 32]
        assert np.abs(middle[:3].astype(int) - colour).max() < 30
        assert middle[3] == 255
        assert veil[y + 32, x + 32] == pytest.approx(255 * hidden, abs=16)
    assert picture[32, 96, 3] == veil[32, 96] == 0, "nothing is where no patch is"
    assert tiles["weight"] == [0.5, 0.3, 0.2]
    assert (tiles["side"], tiles["x"], tiles["y"]) == (64, [0, 128, 0], [64, 0, 0])


def test_where_patches_overlap_their_mean_is_seen(tmp_path: Path) -> None:
    images = np.stack([np.full((8, 8, 3), 10, np.uint8), np.full((8, 8, 3), 240, np.uint8)])
    for weights in ([0.9, 0.1], [0.1, 0.9]):
        places = {"corners": np.array([[0, 0], [4, 0]]), "side": 8.0}
        picture, veil, _ = layers(written(report(bag(weights=np.array(weights), images=images, **places)), tmp_path))
        seen = [0, 255] if weights[0] > 0.5 else [255, 0]
        assert veil[32, [16, 48, 80]].astype(int) == pytest.approx([seen[0], 128, seen[1]], abs=9)
        assert picture[32, [16, 48, 80], 0].astype(int) == pytest.approx([10, 125, 240], abs=16)


def test_weights_that_are_all_equal_are_said_to_be(tmp_path: Path) -> None:
    told = "All weights are equal: no instance counts more than another."
    for size in (2, 30, 31, 1000):
        text = written(report(bag("equal", size, weights=np.full(size, 1 / size))), tmp_path)
        assert told in text
        assert ("The first 30 are shown" in text) == (size > 30)
        assert "largest weights, largest first" not in text
    assert told not in written(report(bag("one", 1), bag("others", 5)), tmp_path)
    places = {"corners": grid(4, 2), "side": 32.0}
    _, veil, tiles = layers(written(report(bag(weights=np.full(4, 0.25), **places)), tmp_path))
    assert np.unique(veil).astype(int) == pytest.approx([128], abs=9)
    assert tiles["rank"] == [1] * 4


def test_a_bag_of_several_files_has_a_map_a_file(tmp_path: Path) -> None:
    weights = np.array([0.4, 0.1, 0.1, 0.2, 0.2])
    files = ["a/one.h5", "two.h5", "two.h5", "a/one.h5", "two.h5"]
    one = bag(weights=weights, corners=np.array([[0, 0], [0, 0], [32, 0], [32, 0], [64, 0]]), side=32.0, files=files)
    text = written(report(one), tmp_path)
    assert Page(text).texts("p", "file") == ["a/one.h5", "two.h5"]
    maps = [
        json.loads(attributes["data-tiles"] or "")
        for _, attributes, _ in Page(text).elements
        if "data-tiles" in attributes
    ]
    assert [drawn["weight"] for drawn in maps] == [[0.4, 0.2], [0.2, 0.1, 0.1]]
    assert [drawn["rank"] for drawn in maps] == [[1, 2], [2, 4, 4]]
    assert [drawn["size"] for drawn in maps] == [5, 5]
    veils = re.findall(r"--veil:url\(data:image/\w+;base64,([^)]+)\)", text)
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(veils[1]))).convert("RGBA"))[32, [32, 96, 160], 3].astype(
        int
    )
    assert drawn == pytest.approx([255, 255, 170], abs=9)  # on the scale of the bag


def test_vectors_are_squares_and_ink_is_opacity(tmp_path: Path) -> None:
    places = {"corners": grid(3, 3), "side": 32.0}
    picture, veil, _ = layers(written(report(bag(**places)), tmp_path))
    assert len(np.unique(picture[20, [10, 70, 140]], axis=0)) == 1
    assert veil[20, 10] > veil[20, 70] > veil[20, 140]
    ink = np.zeros((3, 28, 28), np.uint8)
    ink[1] = 255
    picture, _, _ = layers(written(report(bag(images=ink, **places)), tmp_path))
    assert picture[20, [10, 70, 140]].tolist() == [[0, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("places", "side"),
    [
        (np.zeros((3, 2)), 1.0),
        (np.array([[0.0, 0.0], [1e6, 0.0], [2e6, 0.0]]), 1.0),
        (np.array([[-1e9, 5e8], [0.0, 0.0], [1e9, -5e8]]), 256.0),
        (np.array([[0.001, 0.002], [0.003, 0.002], [0.005, 0.001]]), 0.002),
    ],
)
def test_maps_of_odd_places(tmp_path: Path, places: Any, side: float) -> None:
    picture, veil, tiles = layers(written(report(bag(corners=places, side=side)), tmp_path))
    assert max(veil.shape) <= 641
    assert (picture[..., 3] > 0).any()
    assert all(0 <= x <= 641 for x in tiles["x"] + tiles["y"])


def test_only_bags_that_are_seen_at_first_have_a_map(tmp_path: Path) -> None:
    places = {"corners": grid(3, 3), "side": 32.0}
    bags = [bag(f"{n}", predicted=["positive", "negative"][n % 2], **places) for n in range(60)]
    text = written(report(*bags), tmp_path)
    assert len(Page(text).texts("figure", "map")) == 24
    assert text.count("Map left out here, to keep the page small.") == 36
    assert "A map shows weights rescaled within its bag." in text


def test_images_in_files_are_read_a_bag_at_a_time(tmp_path: Path) -> None:
    class Watched:
        name, shape, dtype, identity = "watched", (3, 8, 8, 3), np.dtype(np.uint8), "1"
        reads = 0

        def read(self, begin: int, end: int) -> Any:
            Watched.reads += 1
            return np.full((end - begin, 8, 8, 3), 100, np.uint8)

    bags = [bag(str(n), images=StoredInstances([Part(Watched(), 0, 3)])) for n in range(4)]
    assert Watched.reads == 0
    assert written(report(*bags), tmp_path).count("data:image/jpeg") == 4
    assert Watched.reads == 4


def test_the_policy_lets_only_the_pages_own_script_and_style_work(tmp_path: Path) -> None:
    for wanted in (report(), report(bag()), report(mapped())):
        text = written(wanted, tmp_path)
        policy = re.search(r'"Content-Security-Policy" content="([^"]*)"', text)
        assert policy is not None
        rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
        for rule, tag in (("script-src", "script"), ("style-src-elem", "style")):
            sources = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
            hashes = [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in sources]
            assert rules.pop(rule, "") == " ".join(f"'sha256-{one}'" for one in hashes)
        assert rules == {
            **dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'"),
            "img-src": "data:",
            "style-src": "'unsafe-inline'",
        }


# In a browser


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Give a function that opens a report; by the end, no console message and no request may have come of it."""
    complaints: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_(wanted: Report, **options: Any) -> Any:
        write_report(wanted, tmp_path / "report.html")
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "report.html").as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def shown(page: Any, verdict: str = "wrong") -> list[str]:
    names: list[str] = page.locator(f".group[data-verdict={verdict}] h4:visible").all_inner_texts()
    return names


@pytest.mark.browser
def test_sorting_changes_the_order(visit: Any) -> None:
    page = visit(several())
    assert shown(page, "right")[:5] == ["bag 1", "bag 2", "bag 3", "bag 4", "bag 6"]
    wanted = {bag.name: bag for bag in several().bags if bag.label == bag.predicted}
    page.get_by_role("button", name="Show all 24").click()
    for order, key in {
        "surest": lambda name: -wanted[name].probability,
        "unsure": lambda name: wanted[name].probability,
        "name": lambda name: int(name.split()[1]),
        "largest": lambda name: -len(wanted[name].weights),
        "smallest": lambda name: len(wanted[name].weights),
    }.items():
        page.get_by_label("Order").select_option(order)
        assert shown(page, "right") == sorted(wanted, key=key), order


@pytest.mark.browser
def test_filters_hide_what_does_not_match(visit: Any) -> None:
    page = visit(several())
    page.get_by_text("Wrong", exact=True).click()
    assert shown(page, "right") == []
    assert len(shown(page)) == 6
    page.get_by_label("Label").select_option(label="negative")
    assert sorted(shown(page)) == ["bag 0", "bag 10", "bag 20"]
    assert page.locator("#wrong").inner_text() == "Wrong predictions 3 of 6 shown"
    page.get_by_text("Right", exact=True).click()
    assert shown(page) == []
    assert len(shown(page, "right")) == 12


@pytest.mark.browser
def test_works_by_keyboard(visit: Any) -> None:
    page = visit(several())
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert shown(page) == []
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("n")  # the one order whose name begins so
    assert page.get_by_label("Order").input_value() == "name"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert len(shown(page, "right")) == 24
    assert page.evaluate("document.activeElement.querySelector('h4').textContent") == shown(page, "right")[12]


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_fits_its_window(visit: Any, width: int) -> None:
    hostile = [bag(text, label=text, instance_names=[text] * 3) for text in HOSTILE]
    long = report(*several().bags, *hostile, title="T" * 10_000, facts=[("k" * 300, "v" * 3000)])
    page = visit(long, viewport={"width": width, "height": 844})
    page.locator(".group[data-verdict=wrong] summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.browser
def test_fifteen_pictures_stand_in_one_row(visit: Any) -> None:
    images = np.full((15, 28, 28), 200, dtype=np.uint8)
    page = visit(report(bag("fifteen", 15, images=images)), viewport={"width": 1280, "height": 900})
    tops = page.locator(".pictures li").evaluate_all("items => items.map(item => item.offsetTop)")
    assert len(tops) == 15
    assert len(set(tops)) == 1


@pytest.mark.browser
def test_hostile_texts_run_nothing(visit: Any) -> None:
    bags = [bag(text, label=text, predicted=HOSTILE[0], instance_names=[text] * 3) for text in HOSTILE]
    page = visit(report(*bags, title="Mine"))
    assert page.title() == "Mine · Bagwise"
    texts = page.locator("h4").all_text_contents()
    for text in HOSTILE[:6]:
        assert any(text in found for found in texts)


@pytest.mark.browser
def test_what_somebody_puts_into_a_page_does_not_run(browser: Any, tmp_path: Path) -> None:
    put = """<script>document.title = "owned"</script><img src="data:x" onerror="document.title = 'owned'">
        <style>body { background: red !important }</style><base href="https://example.com/">
        <form action="https://example.com/"><button id="go">Go</button></form>"""
    path = tmp_path / "changed.html"
    path.write_text(written(report(mapped()), tmp_path).replace("<main>", f"<main>{put}"))
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.title() == "Digits · Bagwise"
    assert page.evaluate("document.baseURI") == page.url == path.as_uri()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 252, 249)"
    page.get_by_label("Instance, by rank").focus()
    assert page.locator(".found").inner_text().startswith("6: weight 0.286, rank 1"), "its own script works"
    with page.expect_event("console", lambda message: "form-action 'none'" in message.text, timeout=10_000):
        page.evaluate("document.getElementById('go').click()")
    page.close()


@pytest.mark.browser
def test_is_complete_without_script(visit: Any) -> None:
    page = visit(several(), java_script_enabled=False)
    assert page.locator(".bag").count() == 30
    assert not page.locator("#controls").is_visible()


@pytest.mark.browser
def test_prints_in_light_colours_without_controls(visit: Any) -> None:
    page = visit(several(), color_scheme="dark")
    assert len(page.pdf()) > 10_000
    page.emulate_media(media="print")
    assert not page.locator("#controls").is_visible()
    assert not page.locator("button").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 252, 249)"


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out(visit: Any, scheme: str) -> None:
    page = visit(several(), color_scheme=scheme)

    def luminance(colour: str) -> float:
        channels = np.array([int(value) for value in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    paper = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    for text in (".summary", ".note", ".verdict.wrong", ".verdict.right", ".weight", "th", "footer"):
        ink = luminance(page.locator(text).first.evaluate("one => getComputedStyle(one).color"))
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5, text


def mapped(*names: str, **changes: Any) -> BagView:
    """A bag on a grid of three across, whose second row and last instance counts most."""
    size = max(len(names), 6)
    given = {"corners": grid(size, 3), "side": 32.0, "instance_names": names or None}
    return bag("mapped", size, **{**given, **changes})


@pytest.mark.browser
def test_the_pointer_reads_out_what_it_is_on(visit: Any) -> None:
    page = visit(report(mapped(*"abcdef")))
    found, ground = page.locator(".found"), page.locator(".ground")
    ground.scroll_into_view_if_needed()
    box = ground.bounding_box()
    mark = page.locator(".ground u")
    assert not mark.is_visible()
    for (column, row), text in {
        (0, 0): "a: weight 0.0476, rank 6 of 6",
        (2, 1): "f: weight 0.286, rank 1 of 6",
        (1, 0): "b: weight 0.0952, rank 5 of 6",
    }.items():
        place = box["x"] + (column + 0.5) * box["width"] / 3, box["y"] + (row + 0.5) * box["height"] / 2
        page.mouse.move(*place)
        assert found.inner_text() == text
        frame = mark.bounding_box()
        assert frame["x"] < place[0] < frame["x"] + frame["width"]
        assert frame["width"] == pytest.approx(box["width"] / 3, rel=0.1)


@pytest.mark.browser
def test_instances_are_read_out_by_keyboard_in_the_order_of_their_ranks(visit: Any) -> None:
    page = visit(report(mapped(*"abcdef")))
    page.get_by_label("Instance, by rank").focus()
    assert page.locator(".found").inner_text().startswith("f: weight 0.286, rank 1")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator(".found").inner_text().startswith("d: weight 0.190, rank 3")
    assert page.get_by_label("Instance, by rank").get_attribute("aria-valuetext").startswith("d: ")


@pytest.mark.browser
def test_a_finger_reads_out_too(visit: Any) -> None:
    page = visit(report(mapped(*"abcdef")), viewport={"width": 390, "height": 844}, has_touch=True)
    page.locator(".ground").tap()
    assert page.locator(".found").inner_text().startswith(("b: ", "e: "))


@pytest.mark.browser
def test_a_hole_in_a_map_has_no_instance(visit: Any) -> None:
    page = visit(report(bag("holed", 2, corners=np.array([[0, 0], [64, 0]]), side=32.0)))
    page.locator(".ground").scroll_into_view_if_needed()
    box = page.locator(".ground").bounding_box()
    before = page.locator(".found").inner_text()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)
    assert page.locator(".found").inner_text() == before


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_patches_show_through_by_their_weights_and_the_slider_lifts_the_veil(visit: Any, scheme: str) -> None:
    images = np.full((3, 32, 32, 3), (200, 40, 120), np.uint8)
    weights = np.array([0.2, 0.3, 0.5])
    page = visit(
        report(bag(weights=weights, images=images, corners=grid(3, 3), side=32.0)),
        color_scheme=scheme,
    )
    numbers = page.evaluate("getComputedStyle(document.body).backgroundColor")
    paper = np.array([int(value) for value in re.findall(r"\d+", numbers)])

    def seen() -> Any:
        shot = np.asarray(Image.open(io.BytesIO(page.locator(".ground").screenshot())).convert("RGB")).astype(int)
        return shot[shot.shape[0] // 2, [shot.shape[1] * part // 6 for part in (1, 3, 5)]]

    for fade in (0.0, 0.5, 1.0):
        page.get_by_label("Fade by weight").fill(str(fade))
        for colour, share in zip(seen(), [0, 1 / 3, 1], strict=True):
            opacity = 1 - fade * (1 - share)
            expected = opacity * np.array([200, 40, 120]) + (1 - opacity) * paper
            assert np.abs(colour - expected).max() < 16, (fade, share)


@pytest.mark.browser
def test_hostile_names_in_maps_tables_and_figures_run_nothing(visit: Any) -> None:
    tables = [Table(text, [text, text], [[text, text]], text) for text in HOSTILE]
    figures = [
        Figure(text, "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", text)
        for text in HOSTILE
    ]
    maps = [mapped(*HOSTILE, predicted=text) for text in HOSTILE]
    wanted = report(*maps, title="Mine", tables=tables, figures=figures, data=[(text, text) for text in HOSTILE])
    page = visit(wanted, viewport={"width": 390, "height": 844})
    assert page.title() == "Mine · Bagwise"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    slider, found = page.get_by_label("Instance, by rank").first, page.locator(".found").first
    slider.focus()
    for text in reversed(HOSTILE):
        if text.isprintable() and text:
            assert found.text_content().startswith(text[:59])
        page.keyboard.press("ArrowRight")


@pytest.mark.browser
def test_a_map_is_complete_without_script_and_printed_without_controls(visit: Any) -> None:
    page = visit(report(mapped()), java_script_enabled=False)
    assert page.locator(".ground").is_visible()
    assert not page.locator(".map form").is_visible()
    page = visit(report(mapped()))
    assert page.locator(".map form").is_visible()
    page.emulate_media(media="print")
    assert page.locator(".ground").is_visible()
    assert not page.locator(".map form").is_visible()
    assert not page.locator(".found").is_visible()


@pytest.mark.browser
def test_bags_without_labels_are_sorted_and_filtered_too(visit: Any) -> None:
    bags = [replace(one, label=None) for one in several().bags]
    page = visit(report(*bags))
    assert len(shown(page, "open")) == 12
    assert page.get_by_text("Wrong", exact=True).count() == 0
    page.get_by_label("Predicted").select_option(label="negative")
    page.get_by_role("button", name="Show all").click()
    assert set(shown(page, "open")) == {one.name for one in bags if one.predicted == "negative"}


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_wide_tables_and_maps_fit_their_window(visit: Any, width: int) -> None:
    table = Table("Methods", ["Method", *"ABCDEF"], [["attention", *["0.903 ± 0.081 (0.004)"] * 6]] * 3)
    figure = Figure("ROC", "<svg xmlns='http://www.w3.org/2000/svg' width='360' height='288'/>", "Curves.")
    page = visit(report(mapped(), tables=[table], figures=[figure]), viewport={"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.set_viewport_size({"width": 700, "height": 900})
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == 700


@pytest.mark.browser
def test_a_thousand_bags_of_two_hundred_fit_in_a_page(visit: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # Noise with a wide margin: about the bytes of a written digit.
    images = np.zeros((200, 28, 28), dtype=np.uint8)
    images[:, 9:19, 8:20] = rng.integers(0, 256, (200, 10, 12))
    places = {"corners": grid(200, 20), "side": 32.0}
    wanted = report(*(bag(f"bag {number}", 200, images=images, **places) for number in range(1000)))
    page = visit(report())
    write_report(wanted, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 15e6
    page.reload()
    page.get_by_role("button", name="Show all 1000").click()
    assert page.locator(".bag").count() == 1000


def test_maps_of_five_thousand_instances_stay_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    places = {"corners": grid(5000, 70, 256), "side": 256.0}
    weights = rng.dirichlet(np.full(5000, 0.1))
    names = [f"x {x}, y {y}" for x, y in places["corners"]]
    bags = (bag(str(n), weights=weights, instance_names=names, predicted="positive", **places) for n in range(50))
    text = written(report(*bags), tmp_path)
    assert len(Page(text).texts("figure", "map")) == 12
    assert len(text) < 5e6


def test_a_page_of_another_program_is_not_replaced(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("<title>Mine</title>")
    with pytest.raises(BagwiseError, match="Bagwise did not write it"):
        write_report(Report("MUSK1", "92 molecules.", [], [], [], []), path)
    assert path.read_text() == "<title>Mine</title>"
    path.unlink()
    for summary in ("92 molecules.", "102 molecules."):
        write_report(Report("MUSK1", summary, [], [], [], []), path)
    assert "102 molecules." in path.read_text()
