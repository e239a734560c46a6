import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import bagwise as bw
from bagwise.errors import BagwiseError
from bagwise.methods.asked import ask
from bagwise.methods.averaged import Averaged


@pytest.fixture(scope="module")
def bags():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(rng.integers(1, 5), 3)) + 2 * (bag % 3 == 0) for bag in range(30)]
    labels = np.where(np.arange(30) % 3 == 0, "ill", "well")
    return bw.Bags.from_arrays(arrays, labels=labels)


@pytest.fixture(scope="module")
def average(bags):
    given = [("attention", {"epochs": 2}), ("MI-SVM", {"C": 1.0}), ("summary-forest", {"trees": 5, "leaf": 1})]
    members = [bw.make(name, random_state=0, **parameters).fit(bags) for name, parameters in given]
    return Averaged.of(members, [0.5, 0.3, 0.2], threshold=0.4)


def test_it_says_the_mean_of_what_its_members_say(bags, average):
    expected = sum(s * one.predict_proba(bags) for s, one in zip(average.shares_, average.members_, strict=True))
    np.testing.assert_allclose(average.predict_proba(bags), expected, atol=1e-12)
    place = average.classes_.tolist().index(average.positive_)
    np.testing.assert_array_equal(average.predict(bags) == average.positive_, expected[:, place] > 0.4)
    attention, svm, _ = average.members_  # a forest says nothing of instances
    scores = (5 * attention.instance_scores(bags) + 3 * svm.instance_scores(bags)) / 8
    np.testing.assert_allclose(average.instance_scores(bags), scores, atol=1e-7)


def test_what_is_saved_answers_with_the_same_bits(bags, average, tmp_path):
    bw.save_model(average, tmp_path)
    again = bw.load_model(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(bags), average.predict_proba(bags))
    np.testing.assert_array_equal(again.predict(bags), average.predict(bags))
    np.testing.assert_array_equal(again.instance_scores(bags), average.instance_scores(bags))
    assert [type(one) for one in again.members_] == [type(one) for one in average.members_]
    bw.save_model(again, tmp_path)  # and can be kept again


SPOILT = {
    "its shares": lambda it: it["config"].update(shares=[0.9, 0.3, 0.2]),
    "its shares ": lambda it: it["config"].update(shares=[0.5, 0.5]),
    "its shares  ": lambda it: it["config"].update(shares=[float("nan"), 0.5, 0.5]),
    "its threshold": lambda it: it["config"].update(threshold=7),
    "its member 1": lambda it: it["learnt"].__setitem__(1, it["learnt"][2]),
    "it lacks 'members'": lambda it: it["config"].pop("members"),
    "model as it was written": lambda it: it["tensors"].pop(min(it["tensors"])),
    "model as it was written ": lambda it: it["tensors"].update({"9/x": torch.zeros(1)}),
    "model as it was written  ": lambda it: it["tensors"].update({"x": torch.zeros(1)}),
}


@pytest.mark.parametrize("said", SPOILT)
def test_a_file_that_was_edited_is_refused(average, tmp_path, said):
    bw.save_model(average, tmp_path)
    path = tmp_path / "model.safetensors"
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = json.loads(file.metadata()["bagwise"])
    SPOILT[said]({**description, "tensors": tensors})
    save_file(tensors, path, {"bagwise": json.dumps(description)})
    with pytest.raises(BagwiseError, match=said.strip()):
        bw.load_model(tmp_path)


def test_what_looks_at_whole_bags_says_so_by_name(bags):
    average = Averaged.of([bw.make(name).fit(bags) for name in ("MI-Kernel", "miVLAD")], [0.5, 0.5])
    with pytest.raises(BagwiseError, match="^the average of SetKernelSVM and VLADSVM looks at whole bags"):
        ask([average], bags, instances=True)


def test_an_average_of_baselines_alone_tells_by_how_much_its_answer_falls_without_an_instance(bags, tmp_path):
    given = [("mean-logistic", {"C": 0.1}), ("miVLAD", {}), ("summary-forest", {"trees": 5, "leaf": 1})]
    members = [bw.make(name, random_state=0, **parameters).fit(bags) for name, parameters in given]
    average = Averaged.of(members, [0.6, 0.2, 0.2])
    said = ask([average], bags, instances=True)[0]
    logistic, forest = (ask([members[place]], bags, instances=True)[0].scores for place in (0, 2))
    np.testing.assert_allclose(said.scores, 0.75 * logistic + 0.25 * forest)
    assert not said.alone
    np.testing.assert_array_equal(said.answers, average.predict_proba(bags))
    bw.save_model(average, tmp_path)
    np.testing.assert_array_equal(ask([bw.load_model(tmp_path)], bags, instances=True)[0].scores, said.scores)


def test_members_that_learnt_other_labels_are_no_average(bags):
    one = bw.make("mean-logistic", C=0.1).fit(bags)
    other = bw.make("mean-logistic", C=0.1).fit(bags, y=np.arange(30) % 2)
    with pytest.raises(BagwiseError, match="different labels"):
        Averaged.of([one, other], [0.5, 0.5])
