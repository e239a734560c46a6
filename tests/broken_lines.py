"""Break lines of the source, one at a time, and count what the fast tests find: `python tests/broken_lines.py --help`.

The lines are drawn by chance among those of the first commit that stand once, and alike, in all that are compared, one
a file; an operator, a number or a truth value in each becomes another. A break is found if any fast test fails that
passes without it. Tests that name the broken module go first, then those of its room; only what they let pass goes
through all others. Breaks that were tried stand in the file of results and are not tried again.
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
from pathlib import Path
from typing import Any, NamedTuple

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


class Break(NamedTuple):
    file: str
    line: str
    broken: str


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
            breaks.append(Break(file, line, line[: node.col_offset] + new + line[node.end_col_offset :]))
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


def failure(clone: Path, tests: list[str], without: list[str]) -> str | None:
    """Run fast tests up to the first that fails, and give its name; None if all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += [] if len(tests) == 1 else ["-n", "auto", "--dist", "worksteal"]
    command += [f"--deselect={test}" for test in without]
    environment = {**os.environ, "PYTHONPATH": str(clone / "src"), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [*command, *tests],
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS)),
        )
    except subprocess.TimeoutExpired:
        return "no end"
    if done.returncode in (0, 5):  # 5: there are no such tests
        return None
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0] if failed else f"status {done.returncode}"


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


def found_by(clone: Path, broken: Break) -> str | None:
    """Break a line, give the first test that fails and passes once the line is mended."""
    path = clone / broken.file
    text, times = path.read_text(), path.stat()

    def mend() -> None:
        path.write_text(text)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # what numba has compiled of it stays good

    failing_anyway: list[str] = []
    try:
        for tests in rings(clone, broken.file):
            while True:
                path.write_text(text.replace(broken.line + "\n", broken.broken + "\n"))
                failed = failure(clone, tests, failing_anyway)
                if failed is None:
                    break
                mend()
                test = failed.partition(" ")[2]
                if "::" not in test or failure(clone, [test], []) is None:
                    return failed
                failing_anyway.append(test)
        return None
    finally:
        mend()


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
            for broken in drawn:
                cell = {"commit": commit, **broken._asdict()}
                if any(cell.items() <= one.items() for one in tried):
                    continue
                tried.append({**cell, "found_by": found_by(clone, broken)})
                given.out.write_text(json.dumps(tried, indent=1) + "\n")
    for commit in given.commits:
        cells = [one for one in tried if one["commit"] == commit]
        print(f"{commit}: {sum(one['found_by'] is not None for one in cells)} of {len(cells)} broken lines were found")


if __name__ == "__main__":
    main()
