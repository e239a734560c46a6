import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import bagwise as bw
from bagwise.cli.commands import app

COMMAND = Path(sys.executable).parent / "bagwise"
KEYS = {"bag_auc", "bag_accuracy", "instance_auc", "seconds"}
WRITTEN = {"report.html", "metrics.json", "model.safetensors", ".bagwise"}
PATIENCE = 120  # seconds


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name not in ("BAGWISE_DATA", "FORCE_COLOR")}
    return {**kept, "TERM": "dumb", "COLUMNS": "100", **more}


def default_interrupt():
    # A process that is started in the background may have been told to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments, cwd=None, **variables):
    return subprocess.Popen(
        [str(COMMAND), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment(**variables),
        preexec_fn=default_interrupt,
    )


def finish(process):
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return SimpleNamespace(status=process.returncode, out=out, told=err)


def run_apart(*arguments, **options):
    return finish(start(*arguments, **options))


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_one_sentence(done, *parts, status=1):
    assert done.status == status
    assert done.out == ""
    assert len(done.told.splitlines()) == 1, done.told
    assert done.told.startswith("bagwise: ")
    for part in parts:
        assert part in done.told


def without_seconds(metrics):
    return {name: value for name, value in metrics.items() if name != "seconds"}


def metrics_in(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


# ---- what needs no training -------------------------------------------------------------------------------


def test_version():
    done = run_apart("--version")
    assert (done.status, done.out, done.told) == (0, f"bagwise {bw.__version__}\n", "")


def test_help(run):
    done = run("--help")
    assert (done.status, done.told) == (0, "")
    assert "demo" in done.out
    assert "--version" in done.out


def test_no_arguments_show_the_help(run):
    done = run()
    assert "Usage: bagwise" in done.out + done.told
    assert "demo" in done.out + done.told
    assert "Traceback" not in done.out + done.told


def test_the_help_of_a_command_has_an_example_and_every_option_is_explained(run):
    done = run("demo", "--help")
    assert (done.status, done.told) == (0, "")
    assert "Example: bagwise demo --out demo" in done.out
    for option in ("--out", "--data", "--data-dir", "--seed", "--epochs", "--resume", "--json"):
        assert re.search(rf"{option}\b[^\n]*[a-z]{{3,}}", done.out), option


def test_the_example_in_the_help_is_of_options_that_there_are(run):
    text = run("demo", "--help").out
    example = re.search(r"Example: bagwise (.*)", text).group(1).strip(" │")
    command, *rest = example.split()
    assert command == "demo"
    assert all(f"{part} " in text for part in rest if part.startswith("--"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["demo", "--nonsense"], "--nonsense"),
        (["demo", "nonsense"], "nonsense"),
        (["demo", "--epochs", "many"], "--epochs"),
    ],
)
def test_an_unknown_option_or_command_fails_without_a_traceback(run, tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.status not in (0, None)
    assert done.out == ""
    assert "Traceback" not in done.told
    assert named in done.told
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_empty_is_left_alone(run, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    (tmp_path / "metrics.json").write_text("{}")
    before = files_in(tmp_path)
    done = run("demo", "--out", tmp_path, "--epochs", 1)
    assert_one_sentence(done, str(tmp_path), "is not empty", "--resume")
    assert files_in(tmp_path) == before


def test_a_file_in_the_place_of_the_folder_is_left_alone(run, tmp_path):
    file = tmp_path / "demo"
    file.write_text("mine")
    assert_one_sentence(run("demo", "--out", file, "--epochs", 1, "--json", "--resume"), str(file))
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "variables", "place"),
    [
        (["--data-dir", "given"], {"BAGWISE_DATA": "known", "XDG_CACHE_HOME": "cache"}, "given"),
        ([], {"BAGWISE_DATA": "known", "XDG_CACHE_HOME": "cache"}, "known"),
        ([], {"XDG_CACHE_HOME": "cache"}, "cache/bagwise"),
    ],
    ids=["option", "environment", "cache"],
)
def test_all_of_mnist_where_it_is_not_is_one_sentence_that_says_where_it_was_looked_for(
    run, tmp_path, monkeypatch, options, variables, place
):
    monkeypatch.delenv("BAGWISE_DATA", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    options = [option if option.startswith("--") else tmp_path / option for option in options]
    done = run("demo", "--data", "full", "--out", tmp_path / "out", *options)
    assert_one_sentence(done, str(tmp_path / place / "mnist" / "mnist.npz"), "is missing")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--data", "nonsense"], ["'nonsense'", "choose 'small' or 'full'"]),
        (["--epochs", 0], ["epochs is 0"]),
        (["--seed", -1], ["seed"]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_a_wrong_value_is_one_sentence_and_nothing_is_written(run, tmp_path, arguments, parts):
    out = tmp_path / "out"
    assert_one_sentence(run("demo", "--out", out, "--json", *arguments), *parts)
    assert not out.exists()


# ---- a run ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """One run of one epoch that prints JSON."""
    out = tmp_path_factory.mktemp("short") / "out"
    return SimpleNamespace(out=out, done=run_apart("demo", "--out", out, "--epochs", 1, "--json"))


def test_json_prints_json_alone(short):
    assert short.done.status == 0
    assert all(line.startswith("bagwise: note: ") for line in short.done.told.splitlines())
    assert short.done.out.endswith("}\n")
    assert json.loads(short.done.out).keys() == KEYS


def test_what_is_printed_is_what_is_written(short):
    assert metrics_in(short.out) == json.loads(short.done.out)


def test_report_metrics_and_model_are_written_and_nothing_else(short):
    assert files_in(short.out).keys() == WRITTEN
    assert {path.name for path in short.out.iterdir()} == WRITTEN
    assert (short.out / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_the_files_may_be_read_by_others(short):
    umask = os.umask(0)
    os.umask(umask)
    assert {path.stat().st_mode & 0o777 for path in short.out.iterdir()} == {0o666 & ~umask}


def test_the_model_can_be_loaded(short):
    assert bw.load_model(short.out).classes_.tolist() == [0, 1]


def test_people_get_a_table_and_the_way_to_the_report(tmp_path, monkeypatch, capsys):
    metrics = {"bag_auc": 0.9876, "bag_accuracy": 0.8765, "instance_auc": 0.7654, "seconds": 61.4}
    monkeypatch.setattr("bagwise.commands.demo.run_demo", lambda *_, **__: metrics)
    with pytest.raises(SystemExit) as stop:
        app(["demo", "--out", str(tmp_path / "out")])
    assert stop.value.code in (0, None)
    shown = capsys.readouterr()
    assert shown.err == ""
    for part in ("0.988", "0.876", "0.765", "61", str(tmp_path / "out" / "report.html")):
        assert part in shown.out


# ---- a run that is stopped --------------------------------------------------------------------------------


def wait_for_progress(process, folder, since=0):
    """Wait until the run has kept its progress (again)."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        kept = [path.stat().st_mtime_ns for path in (folder / "checkpoints").glob("block-*.safetensors")]
        if kept and max(kept) > since:
            return max(kept)
        assert process.poll() is None, "the run ended before it could be stopped"
        time.sleep(0.01)
    raise AssertionError("the run kept no progress")


def three_epochs(out):
    return ("demo", "--out", out, "--epochs", 3, "--json")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A run of three epochs, stopped by Ctrl-C when it has kept its progress."""
    out = tmp_path_factory.mktemp("stopped") / "out"
    process = start(*three_epochs(out))
    try:
        kept = wait_for_progress(process, out)
        process.send_signal(signal.SIGINT)
    except BaseException:
        process.kill()
        raise
    return SimpleNamespace(out=out, kept=kept, done=finish(process), files=files_in(out))


@pytest.fixture(scope="module")
def killed(interrupted):
    """The same run, resumed, and killed when it has kept more of its progress."""
    process = start(*three_epochs(interrupted.out), "--resume")
    try:
        wait_for_progress(process, interrupted.out, since=interrupted.kept)
    finally:
        process.kill()
    return SimpleNamespace(out=interrupted.out, done=finish(process), files=files_in(interrupted.out))


def test_ctrl_c_gives_status_130_and_one_sentence(interrupted):
    assert_one_sentence(interrupted.done, "--resume", status=130)


def test_ctrl_c_leaves_its_progress_and_nothing_half_written(interrupted):
    assert set(interrupted.files) == {".bagwise", "checkpoints/block-0000.safetensors"}


@pytest.mark.slow
def test_a_killed_run_leaves_no_half_written_final_file_and_resumes_to_the_same_end(run, killed, tmp_path):
    assert killed.done.status == -signal.SIGKILL
    assert "checkpoints/block-0000.safetensors" in killed.files
    assert {Path(name).parts[0] for name in killed.files} == {".bagwise", "checkpoints"}

    other_seed = run(*three_epochs(killed.out), "--resume", "--seed", 1)
    assert_one_sentence(other_seed, "checkpoint of a training with other data, members or settings")
    assert_one_sentence(run(*three_epochs(killed.out)), "is not empty", "--resume")
    assert files_in(killed.out) == killed.files

    resumed, whole = run(*three_epochs(killed.out), "--resume"), run(*three_epochs(tmp_path))
    assert (resumed.status, resumed.told) == (whole.status, whole.told) == (0, "")
    assert files_in(killed.out).keys() == WRITTEN
    assert without_seconds(json.loads(resumed.out)) == without_seconds(json.loads(whole.out))
    one, other = bw.load_model(killed.out), bw.load_model(tmp_path)
    assert one.history_ == other.history_
    for name, value in other.model_.state_dict().items():
        assert one.model_.state_dict()[name].equal(value), name


@pytest.mark.slow
def test_where_no_terminal_is_the_progress_bar_leaves_no_trace(tmp_path):
    done = run_apart("demo", "--out", tmp_path, "--epochs", 1)
    assert done.status == 0
    (note,) = done.told.splitlines()  # one epoch is too few, of which it tells, and of nothing else
    assert note.startswith("bagwise: note: AttentionMIL predicts")
    assert "bag AUC" in done.out
