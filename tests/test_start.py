"""What is loaded when: what a command does not use, it does not import, because importing is most of what it costs."""

import json
import subprocess
import sys
from pathlib import Path

import bagwise as bw
from bagwise.commands.run_files import write_run

CONTACTS = Path(__file__).parents[1] / "examples" / "contacts.csv"
COLUMNS = ["--bag", "customer", "--label", "left", "--instance", "contact"]
TRAINS = ["torch", "numba", "sklearn", "scipy.stats", "joblib"]
DRAWS = ["matplotlib", "jinja2", "PIL", "skimage"]

# Runs statements in turn in one process, since starting is what costs, and says which of some modules each has loaded.
RUNNER = """
import io, json, os, sys
from contextlib import redirect_stdout

def run(*argv):
    from bagwise.cli.commands import app
    with redirect_stdout(io.StringIO()):
        try:
            app(argv, standalone_mode=False)
        except (SystemExit, Exception) as error:
            return error

steps, watched = json.loads(sys.argv[1])
loaded = {}
for step in steps:
    before = set(sys.modules)
    exec(step)
    loaded[step] = sorted(name for name in set(sys.modules) - before if name in watched)
print(json.dumps(loaded))
"""


def loaded_by(steps, watched):
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps([steps, watched])], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_what_trains_nothing_loads_nothing_that_trains():
    helps = [["--help"], ["reproduce", "--help"], ["reproduce", "table1", "--help"]]
    names = (
        "demo",
        "check",
        "fit",
        "evaluate",
        "predict",
        "validate",
        "drift",
        "explain",
        "export",
        "tile",
        "datasets",
    )
    helps += [[name, "--help"] for name in names]
    steps = [
        "import bagwise",
        "import bagwise.cli",
        *(f"assert run(*{words}) is None" for words in helps),
        "assert run('datasets') is None",
        "assert 'nowhere.csv' in str(run('check', 'nowhere.csv'))",
        "assert 'no file' in str(run('fit', 'nowhere.csv', '--out', 'nowhere'))",
        "assert 'no file' in str(run('evaluate', 'nowhere.csv', '--out', 'nowhere'))",
        "assert 'no folder' in str(run('predict', 'nowhere', 'nowhere.csv'))",
        "assert 'no folder' in str(run('validate', 'nowhere', 'nowhere.csv', '--out', 'nothing'))",
        "assert 'no folder' in str(run('explain', 'nowhere', 'nowhere.csv', '--out', 'nothing'))",
        "assert 'no folder' in str(run('export', 'nowhere', '--out', 'nothing'))",
        f"assert 'needs --bag' in str(run('check', {str(CONTACTS)!r}))",
        f"assert 'no column' in str(run('check', {str(CONTACTS)!r}, '--bag', 'nobody', '--label', 'left'))",
        f"assert run('check', {str(CONTACTS)!r}, *{COLUMNS}) is None",
        f"bagwise.read_table({str(CONTACTS)!r}, bag='customer', label='left', instance='contact')",
    ]
    loaded = loaded_by(steps, [*TRAINS, *DRAWS, "h5py", "numpy", "pandas"])
    light = steps[: 2 + len(helps)]
    assert {step: names for step, names in loaded.items() if step in light and names} == {}
    assert {name for names in loaded.values() for name in names} == {"numpy", "pandas"}


def test_what_predicts_loads_nothing_that_learns(fitted, tmp_path):
    """A run of a neural method needs PyTorch, and of scikit-learn, of SciPy and of what is compiled nothing."""
    table = tmp_path / "table.csv"
    table.write_text("bag,label,x,y,z\n" + "".join(f"{bag},{bag % 2},{bag}.5,0.1,{bag % 3}.5\n" for bag in range(8)))
    write_run(tmp_path / "run", [fitted("attention")], {"data": {"bag": "bag", "label": "label"}})
    steps = [
        f"assert run('predict', {str(tmp_path / 'run')!r}, {str(table)!r}) is None",
        f"assert run('explain', {str(tmp_path / 'run')!r}, {str(table)!r}, '--out', {str(tmp_path / 'out')!r}) is None",
    ]
    learns = ["engine", "looped", "stacked", "kernels", "optimizer", "loader", "workers"]
    learning = ["numba", *(f"bagwise.training.{name}" for name in learns)]
    loaded = loaded_by(steps, ["torch", "pandas", "sklearn", "scipy", "joblib", *DRAWS, *learning])
    assert loaded[steps[0]] == ["pandas", "torch"]
    assert not set(loaded[steps[1]]) & set(learning)


def test_sets_and_strangers_are_told_without_what_learns(run, cells, tmp_path):
    """What a run keeps of its folds is plain arrays, and models that answer alone."""
    table = tmp_path / "cells.csv"
    cells(patients=40).to_csv(table, index=False)
    options = [
        "--bag",
        "patient",
        "--label",
        "diagnosis",
        "--features",
        "size,marker,shape",
        "--epochs",
        1,
        "--jobs",
        1,
    ]
    assert run("fit", table, *options, "--out", tmp_path / "run", "--json").status == 0
    told = "from contextlib import redirect_stderr\nwith redirect_stderr(io.StringIO()):\n  "
    step = f"{told}assert run('predict', {str(tmp_path / 'run')!r}, {str(table)!r}, '--coverage', '0.8') is None"
    watched = ["torch", "pandas", "sklearn", "scipy", "joblib", "numba", *DRAWS]
    assert loaded_by([step], watched)[step] == ["pandas", "torch"]


def test_what_a_method_without_networks_predicts_loads_no_pytorch(make_bags, tmp_path):
    table, run = tmp_path / "table.csv", tmp_path / "run"
    table.write_text("bag,x,y,z\n" + "".join(f"{bag},{bag}.5,0.1,{bag % 3}.5\n" for bag in range(8)))
    write_run(run, [bw.make("MI-SVM", random_state=0).fit(make_bags())], {"data": {"bag": "bag"}})
    step = f"assert run('predict', {str(run)!r}, {str(table)!r}) is None"
    assert loaded_by([step], ["torch", "numba", "pandas", *DRAWS])[step] == ["pandas"]
