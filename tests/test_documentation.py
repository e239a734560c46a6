"""What the README and the pages of docs/ show is what happens.

A page's blocks of `bash` and `python` run in order in one empty folder beside a copy of `examples/`; a `text` block
holds what the block before it prints, `...` standing for anything. Where a page takes long, `bagwise` is a command
that is warm (`warm.py`). `<!-- skip: next "why" -->` in the page's source leaves a block out, and is listed here.
"""

import contextlib
import doctest
import html
import io
import os
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from unittest import SkipTest
from urllib.parse import unquote, urlsplit

import pytest
from sybil import Document
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from bagwise.commands.options import Data, Evaluation, Model, Output, Search, Training, Trust, Work
from warm import warm_command

ROOT = Path(__file__).resolve().parents[1]
PAGES = {page.relative_to(ROOT).as_posix(): page for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]}
SLOW = {
    "README.md",
    "docs/your-data.md",
    "docs/tutorials/table.md",
    "docs/tutorials/slides.md",
    "docs/tutorials/compare.md",
    "docs/how-to/abstain.md",
    "docs/how-to/encoder.md",
    "docs/how-to/method.md",
    "docs/how-to/export.md",
    "docs/how-to/folds.md",
    "docs/how-to/own-loop.md",
    "docs/how-to/methods.md",
    "docs/how-to/model.md",
    "docs/how-to/pooling.md",
    "docs/how-to/target.md",
    "docs/how-to/training.md",
    "docs/how-to/validate.md",
}
NOT_RUN = {
    "README.md": ["the tests run both", "would install into the environment of the tests", "takes minutes"],
    "docs/choosing.md": ["takes minutes"],
    "docs/histology.md": ["takes hours"],
    "docs/how-to/auto.md": ["takes minutes"],
    "docs/how-to/own-loop.md": ["needs mlflow, which is large"],
    "docs/mil-assumption.md": ["takes about an hour"],
    "docs/mnist-bags.md": ["takes hours", "takes minutes"],
    "docs/slides.md": ["wants slides"] * 4,
    "docs/auto.md": ["takes hours"],
    "docs/defaults.md": ["takes half an hour", "takes a quarter of an hour", "takes a minute", "takes an hour"],
    "docs/payments.md": ["takes ten minutes"],
    "docs/table1.md": ["takes an hour", "takes half an hour", "takes an hour and a half"],
    "docs/trust.md": ["takes an hour"],
    "docs/tutorials/table.md": ["takes minutes"] * 2,
    "docs/your-data.md": ["needs two hosts"],
}
RUN = {"bash", "python", "text"}
SHOWN = {"bibtex", "csv", "console"}
_PRINTED, _WARM = "_printed", "_warm"


def environment():
    variables = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TERM": "dumb", "COLUMNS": "80"}
    return {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"} | variables


def run_bash(example):
    given = environment()
    if warm := example.namespace.get(_WARM):
        given["PATH"] = f"{warm}:{given['PATH']}"
    argv = ["bash", "-euo", "pipefail", "-c", example.parsed]
    done = subprocess.run(argv, capture_output=True, text=True, env=given)
    assert done.returncode == 0, f"line {example.line}: {example.parsed}\n{done.stdout}\n{done.stderr}"
    example.namespace[_PRINTED] = done.stdout


def run_python(example):
    example.namespace["__name__"] = "__main__"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        PythonEvaluator()(example)
    example.namespace[_PRINTED] = printed.getvalue()


def compare(example):
    shown, printed = (
        "".join(line.rstrip() + "\n" for line in text.strip().splitlines())
        for text in (example.parsed, example.namespace.pop(_PRINTED))
    )
    lines = shown.splitlines(), printed.splitlines()
    assert doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS) or (
        len(lines[0]) == len(lines[1]) and all(map(nearly, *lines))
    ), f"line {example.line} shows\n{shown}\nbut what is printed is\n{printed}"


def nearly(shown, printed):
    """Another processor adds up in another order: numbers may differ by two in the last digit that is shown."""
    parts = re.split(r"(\d+\.\d+(?:\.\.\.)?|\.\.\.)", shown)
    numbers = [part.removesuffix("...") for part in parts[1::2] if part != "..."]
    pattern = "".join(
        ".*" if part == "..." else r"(\d+\.\d+)" if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )
    found = re.fullmatch(pattern, printed)
    return found is not None and all(
        abs(Decimal(one) - Decimal(other)) <= 2 * Decimal(10) ** Decimal(one).as_tuple().exponent
        for one, other in zip(numbers, found.groups(), strict=True)
    )


def parse(page):
    runners = [("bash", run_bash), ("python", run_python), ("text", compare)]
    return Document.parse(str(page), SkipParser(), *(CodeBlockParser(*runner) for runner in runners))


def run_page(page, warm=None):
    """Run the blocks of a page; `warm` is a folder with a command."""
    document = parse(page)
    document.namespace[_WARM] = warm
    for example in document:
        with contextlib.suppress(SkipTest):
            example.evaluate()


class Links(HTMLParser):
    """What a page links, fetches by itself, and can be linked at."""

    def __init__(self, path):
        super().__init__()
        self.links, self.fetched, self.anchors = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.fetched.append(given["href"])
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.fetched.append(given["src"])


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("│ auc │ 0.872 │ +0.076 │", "│ auc │ 0.871 │ +0.077 │", True),
        ("│ auc │ 0.872 │", "│ auc │ 0.869 │", False),
        ("│ auc │ +0.076 │", "│ auc │ -0.076 │", False),
        ("slide-02,0.339...,48,1.0", "slide-02,0.34016192,48,1.0", True),
        ("slide-02,0.339...,48,1.0", "slide-02,0.34216192,48,1.0", False),
        ("slide-02,0.339...,48,1.0", "slide-02,0.34016192,49,1.0", False),
        ("done in ... s, 0.950", "done in 3 s, 0.951", True),
        ("done in ... s, 0.950", "done in 3 s", False),
    ],
)
def test_numbers_may_differ_in_the_last_digit_and_nothing_else(shown, printed, same):
    assert nearly(shown, printed) is same


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("warm")
    with warm_command(folder, environment()):
        yield folder


# What Lightning and torch_geometric call of torch's is deprecated there.
@pytest.mark.filterwarnings("ignore:.*(LeafSpec|torch.jit.script)")
@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    "name", [pytest.param(p, marks=pytest.mark.slow(seconds=30)) if p in SLOW else p for p in PAGES]
)
def test_what_a_page_shows_is_what_happens(name, request):
    run_page(PAGES[name], request.getfixturevalue("warm") if name in SLOW else None)


@pytest.mark.parametrize("name", PAGES)
def test_no_block_escapes(name):
    text = PAGES[name].read_text(encoding="utf-8")
    skipped = re.findall(r'<!-- skip: \w+ "(.*)" -->', text)
    assert skipped == NOT_RUN.get(name, [])
    assert text.count("<!-- skip: next") == len(skipped)
    assert set(re.findall(r"^ *```(.+)$", text, re.M)) <= RUN | SHOWN
    assert text.count("```") == 2 * len(re.findall(r"^ *```.+$", text, re.M)), "a block does not say its language"
    assert not re.search(r"^ {4}(bagwise|make|pip|python) ", text, re.M), "an indented block is not run"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(mkdocs, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.mark.slow(seconds=15)
def test_no_link_leads_nowhere_and_nothing_is_fetched(site):
    pages = {path: Links(path) for path in site.rglob("*.html")}
    assert len(pages) > len(PAGES)
    for path, page in pages.items():
        assert not [url for url in page.fetched if re.match(r"(https?:)?//", url)], path
        for url in page.fetched + page.links:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            assert target.exists(), f"{path.name} links {url}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors | {"__top"}, f"{path.name} links {url}"


@pytest.mark.slow(seconds=15)
def test_the_reference_tells_what_a_default_becomes_and_what_a_parameter_must_be(site):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", (site / "reference/methods.html").read_text(encoding="utf-8")))
    text = html.unescape(text)
    for told in (
        "epochs (a whole number from 1 on, or None, default: 50 (vectors, vectors in large bags), 40 (digits,",
        "hidden (a whole number from 1 on, or None, default: 64 (vectors), 128 (vectors in large bags, digits,",
        "energy (a number above 0 and at most 1, or None, default: 0.8 or 0.9, chosen on the training bags )",
    ):
        assert told in text


@pytest.mark.slow(seconds=15)
def test_the_reference_lists_every_option_with_its_default(site):
    page = html.unescape((site / "reference" / "options.html").read_text(encoding="utf-8"))
    rows = set(re.findall(r"<tr>\n<td><code>(.*?)</code></td>\n<td>(?:<code>(.*?)</code>)?</td>\n<td>(.*?)</td>", page))
    for kind in (Data, Model, Training, Trust, Search, Evaluation, Work, Output):
        for name, one in kind.options().items():
            default = " ".join(one.default) if isinstance(one.default, tuple) else one.default
            shown = "" if one.flag is None or default is None or default is False else str(default)
            assert (one.flag or name, shown, one.help) in rows


@pytest.mark.slow(seconds=15)
@pytest.mark.browser
@pytest.mark.parametrize(("name", "numbered"), [("models", True), ("targets", False)])
def test_formulas_are_drawn_without_a_network_and_fit_a_phone(site, browser, name, numbered):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    told, asked = [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("requestfailed", lambda request: told.append(request.url))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "reference" / f"{name}.html").as_uri())
    formulas = page.locator(".arithmatex")
    assert formulas.count() > 5
    assert page.locator(".arithmatex .katex").count() == formulas.count()
    assert page.locator(".katex-error").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    over = "tag => tag.getBoundingClientRect().left < tag.previousElementSibling.getBoundingClientRect().right"
    assert (page.locator(".katex-tag").count() > 0) is numbered
    assert page.evaluate(f"[...document.querySelectorAll('.katex-tag')].filter({over}).length") == 0
    page.close()
    assert told == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_what_is_listed_here_is_there():
    assert SLOW | set(NOT_RUN) <= set(PAGES)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("```bash\necho 1\n```\n\n```text\n2\n```\n", "what is printed is\\s+1"),
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", "what is printed is\\s+1"),
        ("```bash\nfalse\n```\n", "false"),
        ("```bash\nbagwise predict nowhere nothing.csv | cat\n```\n", "nowhere"),
        ("```python\n1 / 0\n```\n", "division"),
        ("```text\nnothing ran\n```\n", "_printed"),
    ],
)
def test_a_page_that_does_not_hold_is_found_out(tmp_path, source, fault):
    page = tmp_path / "page.md"
    page.write_text(source)
    with pytest.raises((AssertionError, ZeroDivisionError, KeyError), match=fault):
        run_page(page)
