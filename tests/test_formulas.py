"""Formulas in docstrings and pages: one notation, whole, and drawn by what the site brings itself."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "src").rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# As pymdownx.arithmatex takes them: on lines of their own, or within a line and with no space inside the dollars.
DISPLAYED = r"(?:(?<=\n\n)|^)(\$\$(?:(?!\n\n)[^$])+\$\$)(?=\n\n|$)"
UNMEANT = r"[\t\x07\x08\x0b\x0c\r]"  # what a backslash becomes where a string is not raw
INLINE = r"\$(?![\s$])([^$\n]*[^\s$])\$"


def docstrings(module: str) -> list[str]:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    found = [ast.get_docstring(node) for node in ast.walk(ast.parse(module)) if isinstance(node, kinds)]
    return [text for text in found if text]


def prose(text: str) -> str:
    """Leave out what is code: blocks, examples and names."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    text = re.sub(r"^ *>>> .*?(?=\n\s*\n|\Z)", "", text, flags=re.M | re.S)
    return re.sub(r"``.+?``|`[^`\n]+`", "", text)


def faults(text: str) -> list[str]:
    """Say what is wrong with the formulas of a text."""
    text = prose(text)
    formulas = re.findall(DISPLAYED, text)
    rest = re.sub(DISPLAYED, "", text)
    formulas += re.findall(INLINE, rest)
    rest = re.sub(INLINE, "", rest)
    # What is left of a formula that is not closed, not opened, or in another notation.
    found = [line.strip() for line in rest.splitlines() if re.search(rf"\$|:math:|\\[a-z(\[]|{UNMEANT}", line)]
    for formula in formulas:
        braces = re.sub(r"\\[{}]", "", formula)
        whole = braces.count("{") == braces.count("}") and formula.count(r"\left") == formula.count(r"\right")
        if not whole or re.search(UNMEANT, formula):
            found.append(formula)
    return found


@pytest.mark.parametrize(
    "text",
    [
        r"A $\theta_{k}$ and a $K$, which costs `$5`.",
        "Words.\n\n$$a_k = \\frac{1}{K} \\tag{8}$$\n\nWords.",
        "Words.\n\n$$\n\\left(a\n+ b\\right)\n$$",
        "```bash\nhost$ make\n```",
    ],
)
def test_a_whole_formula_is_no_fault(text):
    assert faults(text) == []


@pytest.mark.parametrize(
    "text",
    [
        r"Not :math:`a_k`.",
        r"Not \(a_k\).",
        "Not closed, $a_k.",
        "Not closed.\n\n$$a_k\n\nWords.",
        "Not on lines of its own, $$a_k$$.",
        r"Not opened, \theta.",
        "Not raw, $\theta$.",
        "Not raw, $\frac{1}{2}$.",
        r"Not balanced, $\frac{1}{2$.",
        r"Not balanced, $\left(a)$.",
    ],
)
def test_what_is_no_whole_formula_is_found_out(text):
    assert faults(text)


def test_formulas_are_whole_and_in_one_notation():
    told = {
        f"{path.relative_to(ROOT)}: {text[:60]!r}": found
        for path in [*MODULES, *PAGES]
        for text in ([path.read_text()] if path.suffix == ".md" else docstrings(path.read_text()))
        if (found := faults(text))
    }
    assert told == {}


def test_the_site_brings_what_draws_formulas():
    docs = ROOT / "docs"
    config = yaml.load((ROOT / "mkdocs.yml").read_text(), yaml.BaseLoader)
    named = config["extra_css"] + config["extra_javascript"]
    assert {"assets/katex/katex.min.css", "assets/katex/katex.min.js", "assets/formulas.js"} <= set(named)
    assert [name for name in named if not (docs / name).is_file()] == []
    for sheet in (name for name in named if name.endswith(".css")):
        text = (docs / sheet).read_text()
        assert "@import" not in text
        for url in re.findall(r"url\((.*?)\)", text):
            assert (docs / sheet).parent.joinpath(url).is_file(), f"{sheet} wants {url}"
    katex = docs / "assets/katex"
    fonts = {f"fonts/{path.name}" for path in katex.glob("fonts/*")}
    assert fonts == set(re.findall(r"url\((.*?)\)", (katex / "katex.min.css").read_text()))
    [version] = re.findall(r'version:"([0-9.]+)"', (katex / "katex.min.js").read_text())
    assert f'content:"{version}"' in (katex / "katex.min.css").read_text()
    assert (katex / "README.txt").read_text().startswith(f"KaTeX {version} ")
    assert "MIT" in (katex / "LICENSE").read_text()
