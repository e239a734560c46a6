import base64
import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bagwise.errors import BagwiseError
from bagwise.reports import BagView, Metric, Report, html, write_report

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
        probability = (0.5 if predicted == "positive" else 0) + (number * 7 % 30) / 60
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
        if tag not in {"meta", "link", "input", "br"}:
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


def test_right_predictions_come_first_as_given_and_wrong_ones_surest_on_top(tmp_path: Path) -> None:
    bags = [
        bag("right b"),
        bag("wrong, unsure", predicted="negative", probability=0.4),
        bag("right a"),
        bag("wrong, sure", predicted="negative", probability=0.1),
    ]
    page = Page(written(report(*bags), tmp_path))
    assert page.texts("h4") == ["right b", "right a", "wrong, sure", "wrong, unsure"]


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
    assert page.texts("p", "rest") == ["Pictures are left out here, to keep the page small."]
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
    path.write_text("old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BagwiseError, match=r"report\.html: No space left"):
        write_report(report(), path)
    assert path.read_text() == "old"
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


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


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
        "highest": lambda name: -wanted[name].probability,
        "lowest": lambda name: wanted[name].probability,
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
    page.keyboard.press("ArrowRight")
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


@pytest.mark.browser
def test_a_thousand_bags_of_two_hundred_open_at_once(visit: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # Noise with a wide margin: about the bytes of a written digit.
    images = np.zeros((200, 28, 28), dtype=np.uint8)
    images[:, 9:19, 8:20] = rng.integers(0, 256, (200, 10, 12))
    wanted = report(*(bag(f"bag {number}", 200, images=images) for number in range(1000)))
    page = visit(report())
    write_report(wanted, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 15e6
    begin = time.perf_counter()
    page.reload()
    page.evaluate("new Promise(requestAnimationFrame)")
    assert time.perf_counter() - begin < 3
    page.get_by_role("button", name="Show all 1000").click()
    assert page.locator(".bag").count() == 1000
