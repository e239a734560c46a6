import numpy as np
import pandas as pd
import pytest

import bagwise as bw
from bagwise import BagwiseError
from bagwise.feature_columns import selected

COLUMNS = ["size", "red_mean", "red_spread", "blue_mean", "odd[1]", "note"]


@pytest.mark.parametrize(
    ("features", "drop", "chosen"),
    [
        (None, (), COLUMNS),
        (["blue_mean", "red_*"], (), ["blue_mean", "red_mean", "red_spread"]),
        (["*_mean", "red_*"], ["red_mean"], ["blue_mean", "red_spread"]),
        (None, ["*_*", "note"], ["size", "odd[1]"]),
        (["odd[1]"], (), ["odd[1]"]),
    ],
)
def test_names_and_patterns_choose_columns(features, drop, chosen):
    assert selected(COLUMNS, features, drop) == chosen


@pytest.mark.parametrize(
    ("features", "drop", "words"),
    [
        (["sise"], (), "no column 'sise' to be a feature: did you mean 'size'"),
        (None, ["green_*"], "no column 'green_*' to be a feature: those without another use are size, red_mean"),
        (["red_*"], ["red_*"], "no feature columns: all that would be features are left out"),
        (["size", "size"], (), "column 'size' is given two uses"),
    ],
)
def test_what_chooses_nothing_is_refused(features, drop, words):
    with pytest.raises(BagwiseError) as caught:
        selected(COLUMNS, features, drop)
    assert words in str(caught.value)


def test_a_command_and_python_choose_alike_and_a_run_remembers_it(run, tmp_path):
    """What is no feature may hold anything, and may be there or not in what is predicted."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"bag": np.repeat([f"b{n}" for n in range(12)], 2), "label": np.repeat([0, 1] * 6, 2)})
    frame = frame.assign(note="tall", x=rng.normal(size=24), y=rng.normal(size=24), z=rng.normal(size=24))
    path = tmp_path / "table.csv"
    frame.to_csv(path, index=False)
    argv = ("--bag", "bag", "--label", "label", "--epochs", "1")
    for name, options in {"chosen": ("--features", "z,[xy]"), "dropped": ("--drop", "no*")}.items():
        assert run("fit", path, *argv, *options, "--out", tmp_path / name).status == 0
        for other in (frame.assign(note=1.5), frame.drop(columns=["note", "label"]), frame[frame.columns[::-1]]):
            other.to_csv(tmp_path / "other.csv", index=False)
            done = run("predict", tmp_path / name, tmp_path / "other.csv", "--out", tmp_path / f"{name}.csv")
            assert done.status == 0, done.told
        frame.assign(w=1.0).to_csv(tmp_path / "other.csv", index=False)
        done = run("predict", tmp_path / name, tmp_path / "other.csv", "--out", tmp_path / f"{name}.csv")
        assert (done.status == 0) is (name == "chosen")
    for bags in (
        bw.read_table(path, bag="bag", label="label", features=["z", "[xy]"]),
        bw.Bags.from_table(frame, "bag", "label", features=["z", "[xy]"]),
        bw.Bags.from_table(frame[[*frame.columns[:3], "z", "x", "y"]], "bag", "label", drop=["no*"]),
    ):
        assert bags.feature_names == ("z", "x", "y")
    assert "--drop is for columns of a table" in run("check", tmp_path, "--drop", "x").told
