"""Break lines of the source, one at a time, and count what the fast tests find: `python tests/broken_lines.py --help`.

The lines are drawn by chance among those of the first commit that stand once, and alike, in all that are compared, one
a file; an operator, a number or a truth value in each becomes another. A break is found if any fast test fails that
passes without it. First all fast tests run once with the whole source and say which of them reach each line; a break
is tried with these alone. What is reached while a module is imported, or stands in a module that numba compiles and
cannot say so, is tried with all tests: those that name the module, then those of its room, then all others. Breaks
that were tried stand in the file of results and are not tried again.

Each run of pytest loads this file as a plugin.
"""

import argparse
import ast
import copy
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SWAPS = [
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn),
    (ast.Add, ast.Sub),
    (ast.Mult, ast.Div),
    (ast.And, ast.Or),
]
SWAPPED = {one: other for pair in SWAPS for one, other in (pair, pair[::-1])}
CPU_SECONDS = 1800  # of a process: what has no end has it here, however busy the machine
SECONDS = 12 * CPU_SECONDS  # for what waits for ever
REACHED, FIXTURE, CHOSEN = "BAGWISE_REACHED", "BAGWISE_FIXTURE", "BAGWISE_CHOSEN"  # variables of the environment
EVERYWHERE = "while a module is imported"


class Break(NamedTuple):
    file: str
    line: str
    broken: str
    marked: str


_told: set[tuple[int, str]] = set()


def reached(number: int) -> bool:
    """Write down which test, or which fixture, reaches a marked line; marked lines call it, in commands too."""
    by = os.environ.get(FIXTURE) or os.environ.get("PYTEST_CURRENT_TEST", EVERYWHERE).rpartition(" (")[0]
    if (number, by) not in _told and REACHED in os.environ:
        _told.add((number, by))
        with Path(os.environ[REACHED]).open("a") as file:
            file.write(json.dumps([number, by or EVERYWHERE]) + "\n")
    return False


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
    """Let what a fixture does count for all tests that use it."""
    outer = os.environ.get(FIXTURE)
    os.environ[FIXTURE] = outer or f"fixture {fixturedef.argname}"
    try:
        return (yield)
    finally:
        if outer is None:
            del os.environ[FIXTURE]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that were chosen, if some were."""
    if CHOSEN not in os.environ:
        return
    chosen = set(json.loads(Path(os.environ[CHOSEN]).read_text()))
    kept: dict[bool, list[pytest.Item]] = {True: [], False: []}
    for item in items:
        names = {item.nodeid, *(f"fixture {name}" for name in getattr(item, "fixturenames", ()))}
        kept[not names.isdisjoint(chosen)].append(item)
    config.hook.pytest_deselected(items=kept[False])
    items[:] = kept[True]


def broken_nodes(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Give nodes of one line, and what each becomes; annotations and texts stay."""
    unseen = [tree]
    while unseen:
        node = unseen.pop()
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list", "type_params"):
                unseen += [
                    child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)
                ]
        if not isinstance(node, ast.expr) or node.lineno != node.end_lineno:
            continue
        changed: Any = copy.deepcopy(node)
        if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED:
            changed.ops[0] = SWAPPED[type(node.ops[0])]()
        elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPPED:
            changed.op = SWAPPED[type(node.op)]()
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            changed = changed.operand
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            changed.value = not node.value
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            changed.value = node.value + 1
        else:
            continue
        yield node, changed


def breaks_of(file: str, text: str) -> list[Break]:
    """Give all breaks of lines that stand once in a file."""
    lines, breaks = text.splitlines(), []
    for node, changed in broken_nodes(ast.parse(text)):
        line = lines[node.lineno - 1]
        if line.isascii() and lines.count(line) == 1:
            new = ast.unparse(changed)
            new = f"({new})" if isinstance(changed, ast.BoolOp | ast.Compare | ast.BinOp) else new
            before, old, after = line[: node.col_offset], ast.unparse(node), line[node.end_col_offset :]
            mark = f'(__import__("{Path(__file__).stem}").reached(NUMBER) or ({old}))'
            breaks.append(Break(file, line, before + new + after, before + mark + after))
    return breaks


def draw(clones: list[Path], count: int, seed: int) -> list[Break]:
    """Draw breaks of the first clone that all others can have as well."""
    chance = random.Random(seed)
    files = sorted(path.relative_to(clones[0]).as_posix() for path in (clones[0] / "src").rglob("*.py"))
    lengths = [len((clones[0] / file).read_text().splitlines()) for file in files]
    drawn: dict[str, Break] = {}
    while len(drawn) < count:
        file = chance.choices(files, lengths)[0]
        possible = breaks_of(file, (clones[0] / file).read_text())
        if not possible:
            continue
        chosen = chance.choice(possible)
        texts = [(clone / file).read_text() for clone in clones if (clone / file).exists()]
        if len(texts) == len(clones) and all(text.splitlines().count(chosen.line) == 1 for text in texts):
            drawn.setdefault(file, chosen)
    return list(drawn.values())


def failures(clone: Path, tests: list[str], *options: str, **variables: str) -> list[str]:
    """Run fast tests and give the names of those that fail."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", Path(__file__).stem, *options]
    command += ["--ignore=tests/broken_lines.py"]  # a commit's own, which is not the plugin
    command += [] if len(tests) == 1 else ["-n", "auto", "--dist", "worksteal"]
    paths = os.pathsep.join([str(clone / "src"), str(Path(__file__).resolve().parent)])
    try:
        done = subprocess.run(
            [*command, *tests],
            cwd=clone,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **variables},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS)),
        )
    except subprocess.TimeoutExpired:
        return ["no end"]
    if done.returncode in (0, 5):  # 5: there are no such tests
        return []
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return [line.split(" - ")[0] for line in failed] or [f"status {done.returncode}"]


@contextmanager
def changed_lines(clone: Path, changes: list[tuple[str, str, str]]) -> Iterator[None]:
    """Change lines of files for a while."""
    before = {file: ((clone / file).read_text(), (clone / file).stat()) for file, _, _ in changes}
    try:
        for file, line, new in changes:
            (clone / file).write_text(before[file][0].replace(line + "\n", new + "\n"))
        yield
    finally:
        for file, (text, times) in before.items():
            (clone / file).write_text(text)
            os.utime(
                clone / file, ns=(times.st_atime_ns, times.st_mtime_ns)
            )  # what numba has compiled of it stays good


def reach(clone: Path, breaks: list[Break]) -> dict[Break, list[str]]:
    """Give the tests that reach each line, for the lines where that can be told."""
    marked = [one for one in breaks if "from bagwise.compiled import" not in (clone / one.file).read_text()]
    with tempfile.NamedTemporaryFile() as file:
        changes = [(one.file, one.line, one.marked.replace("NUMBER", str(breaks.index(one)))) for one in marked]
        with changed_lines(clone, changes):
            failed = failures(clone, ["tests", "src"], **{REACHED: file.name})
        told = [json.loads(line) for line in Path(file.name).read_text().splitlines()]
    others = [name.partition(" ")[2] for name in failed]  # may be such that cannot say what they reach
    by = {one: [test for number, test in told if breaks[number] == one] for one in marked}
    return {one: [*tests, *others] for one, tests in by.items() if EVERYWHERE not in tests}


def rings(clone: Path, file: str) -> Iterator[list[str]]:
    """Give all files with fast tests, in parts: those that name a module, those of its room, all others."""
    module = ".".join(Path(file).with_suffix("").parts[1:])
    named, rooms = f"test_{Path(file).stem}.py", Path(file).parent.parts[2:]
    tests = {path.relative_to(clone): path.read_text() for path in sorted((clone / "tests").rglob("test_*.py"))}
    near = [str(test) for test, text in tests.items() if module in text or test.name == named]
    room = [str(test) for test in tests if test.parent.parts[1:] == rooms and str(test) not in near]
    yield [file, *near]
    if room:
        yield room
    yield [str(test) for test in tests if str(test) not in near + room] + ["src"]


def found_by(clone: Path, broken: Break, reached_by: list[str] | None) -> str | None:
    """Break a line, give the first test that fails and passes once the line is mended."""
    without: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder) / "chosen.json"
        chosen.write_text(json.dumps(reached_by))
        variables = {} if reached_by is None else {CHOSEN: str(chosen)}
        for tests in rings(clone, broken.file) if reached_by is None else [["tests", "src"]]:
            while True:
                with changed_lines(clone, [(broken.file, broken.line, broken.broken)]):
                    failed = failures(clone, tests, "-x", *(f"--deselect={test}" for test in without), **variables)
                if not failed:
                    break
                test = failed[0].partition(" ")[2]
                if "::" not in test or not failures(clone, [test], "-x"):
                    return failed[0]
                without.append(test)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commits", nargs="+", help="whose source and tests are compared, the oldest first")
    parser.add_argument("--breaks", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/broken_lines.json"))
    given = parser.parse_args()
    tried: list[dict[str, Any]] = json.loads(given.out.read_text()) if given.out.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        clones = []
        for commit in given.commits:
            clones.append(Path(folder) / commit / "bagwise")
            subprocess.run(["git", "clone", "-q", "--no-checkout", ".", clones[-1]], check=True)
            subprocess.run(["git", "checkout", "-q", commit], cwd=clones[-1], check=True)
            (clones[-1].parent / "shared").symlink_to(Path("../shared").resolve())
        drawn = draw(clones, given.breaks, given.seed)
        for commit, clone in zip(given.commits, clones, strict=True):
            cells = {one: {"commit": commit, "file": one.file, "line": one.line, "broken": one.broken} for one in drawn}
            untried = [one for one in drawn if not any(cells[one].items() <= cell.items() for cell in tried)]
            reached_by = reach(clone, untried) if untried else {}
            for broken in untried:
                tried.append({**cells[broken], "found_by": found_by(clone, broken, reached_by.get(broken))})
                given.out.write_text(json.dumps(tried, indent=1) + "\n")
    for commit in given.commits:
        found = [one["found_by"] is not None for one in tried if one["commit"] == commit]
        print(f"{commit}: {sum(found)} of {len(found)} broken lines were found")


if __name__ == "__main__":
    main()
