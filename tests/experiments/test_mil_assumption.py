import json

import numpy as np
import pytest

import bagwise as bw
from bagwise.evaluation.assumption import PROBLEMS, AssumptionTest, check_assumption

BY_NAME = {problem.name: problem for problem in PROBLEMS}


def is_concept(bag):
    return np.linalg.norm(bag.instances - [3, 3, 3, 0, 0, 0, 0, 0], axis=1) < 3.0


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_one_instance_makes_a_bag_positive_in_training_and_test_alike(problem):
    for bags in problem.make(seed=3):
        assert bags.labels.mean() == 0.5
        found = np.array([is_concept(bag).any() for bag in bags])
        # Background comes near the concept now and then.
        assert (found[bags.labels == 1]).all()
        assert np.mean(found == bags.labels) > 0.85


def telltales(bag):
    return int((bag.instances[:, 3:6].mean(axis=1) < -4).sum())


@pytest.mark.parametrize("name", ["absence", "frequency"])
def test_the_shortcut_is_turned_round_in_the_test_bags(name):
    training, test = BY_NAME[name].make(seed=0)
    for bags, sign in ((training, -1), (test, 1)):
        counts = np.array([telltales(bag) for bag in bags])
        assert sign * (counts[bags.labels == 1].mean() - counts[bags.labels == 0].mean()) > 0.9


@pytest.mark.parametrize(
    ("method", "problem", "verdict"),
    [
        ("EM-DD", "absence", "passes"),
        ("MI-SVM", "frequency", "passes"),
        ("mi-Net", "absence", "passes"),
        ("embedding-mean", "absence", "fails"),
        ("MI-Kernel", "frequency", "fails"),
    ],
)
def test_who_keeps_the_assumption(method, problem, verdict):
    # Which class of a user's own is positive has no part in it.
    assert check_assumption(bw.make(method, positive="ill"), BY_NAME[problem], seeds=1).verdict == verdict


def test_a_method_that_learns_nothing_neither_passes_nor_fails():
    assert AssumptionTest("absence", (0.6,), (0.95,)).verdict == "learns nothing"


def test_the_command_says_who_passes(run, tmp_path):
    options = ["--out", tmp_path / "out", "--method", "miVLAD", "--seeds", "1", "--jobs", "1"]
    done = run("reproduce", "mil-assumption", *options)
    assert done.status == 0
    assert "fails" in done.out
    results = json.loads((tmp_path / "out" / "mil_assumption.json").read_text())
    assert {row["problem"] for row in results["rows"]} == set(BY_NAME)
    assert "| miVLAD | **fails**" in (tmp_path / "out" / "mil_assumption.md").read_text()
    assert run("reproduce", "mil-assumption", *options).status == 1
    assert run("reproduce", "mil-assumption", *options, "--resume").status == 0
    refused = run("reproduce", "mil-assumption", "--out", tmp_path / "other", "--method", "nonsense")
    assert refused.status == 1
    assert "there is no method 'nonsense'" in refused.told
