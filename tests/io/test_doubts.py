import json
import re

import numpy as np
import pandas as pd
import pytest


def good(count=12):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"bag": [f"b{number}" for number in range(count) for _ in range(3)]})
    frame["label"] = np.where(frame["bag"].str[1:].astype(int) % 2, "yes", "no")
    frame["x"], frame["z"] = rng.random(len(frame)).round(3), rng.choice(["web", "app"], len(frame))
    return frame


def odd(column, value, row=4):
    def change(frame):
        frame.loc[row, column] = value
        return frame

    return change


DOUBTS = {
    "labels by case": (odd("label", "Yes", [3, 4, 5]), r"labels 'Yes' and 'yes' of column 'label' differ by case"),
    "labels by space": (odd("label", "yes "), r"white space around 1 value of column 'label'.*'yes '"),
    "bags by case": (odd("bag", "B1"), r"'B1' \(row 6\) and 'b1' \(row 5\) of column 'bag'"),
    "bags by space": (odd("bag", "b 1"), r"'b 1' \(row 6\) and 'b1' \(row 5\) of column 'bag'"),
    "values by case": (odd("z", "Web"), r"column 'z' has 'Web' in row 6 and 'web' in row \d, which differ"),
    "values by space": (odd("z", "w eb"), r"column 'z' has 'w eb' in row 6 and 'web' in row \d, which differ"),
    "a third truth": (
        lambda frame: odd("z", "maybe")(frame.assign(z=["true", "false"] * 18)),
        r"column 'z' has 'maybe' in row 6 beside false and true: it is read as a category",
    ),
    "the label": (lambda frame: frame.assign(z=frame["label"]), r"column 'z' says the label of each bag, from row 2"),
    "the label in numbers": (
        lambda frame: frame.assign(z=frame["label"].map({"yes": 7, "no": 3})),
        r"column 'z' says the label of each bag",
    ),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_check_points_at_what_is_probably_not_meant(name, run, tmp_path):
    change, says = DOUBTS[name]
    change(good()).to_csv(tmp_path / "t.csv", index=False)
    done = run("check", tmp_path / "t.csv", "--bag", "bag", "--label", "label")
    assert done.status == 0
    assert re.search(f"warning: .*{says}", done.out), done.out


def test_a_table_that_is_well_is_not_doubted(run, tmp_path):
    frame = good().assign(near=lambda frame: frame["label"].map({"yes": 1, "no": 0}), age=np.repeat(range(12), 3))
    frame.loc[0, "near"] = 1
    frame.to_csv(tmp_path / "t.csv", index=False)
    done = run("check", tmp_path / "t.csv", "--bag", "bag", "--label", "label")
    assert "column '" not in done.out
    assert "differ" not in done.out


def test_numbers_of_0_and_1_are_classes(run, tmp_path):
    frame = good().assign(label=np.repeat([0.0, 1.0] * 6, 3))
    frame.to_csv(tmp_path / "t.csv", index=False)
    done = run("check", tmp_path / "t.csv", "--bag", "bag", "--label", "label", "--json")
    assert json.loads(done.out)["target"] == "classes"
