"""Fold models asked together say what each says alone, and tell where it has bags."""

import numpy as np
import pytest
import torch

import bagwise as bw
from bagwise.trust.fold_models import ask_folds
from bagwise.trust.held_out import hold_out


@pytest.fixture(scope="module")
def bags():
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 2
    return bw.Bags.from_arrays([rng.normal(size=(rng.integers(1, 7), 3)) + label for label in labels], labels=labels)


@pytest.mark.parametrize("name", ["attention", "MI-Net-DS", "MI-Net-RC", "mi-Net", "mean-logistic"])
@pytest.mark.parametrize("size", [1, 2])
def test_answers_are_those_of_each_model_and_vectors_what_it_classifies(bags, name, size):
    neural = name != "mean-logistic"
    if not neural and size > 1:
        pytest.skip("has no initial weights")
    model = bw.make(name, random_state=0, **({"epochs": 2} if neural else {}))
    held_out = hold_out(model, bags, folds=3, size=size, n_jobs=1)
    members = [member for one in held_out.models for member in (one if size > 1 else [one])]
    said = ask_folds(members, 3, bags)
    assert said.answers == pytest.approx(np.stack([one.answers(bags) for one in held_out.models]), abs=1e-6)
    assert said.answers[held_out.fold, np.arange(30)] == pytest.approx(held_out.answers, abs=1e-6)
    if name in ("mi-Net", "mean-logistic"):
        assert said.vectors is None
        return
    first = members[size].model_
    head = first.heads[-1] if name == "MI-Net-DS" else first.head
    assert said.vectors.shape == (3, 30, head.in_features)
    assert not head._forward_pre_hooks
    if name != "MI-Net-DS":  # whose logits are of several heads
        with torch.no_grad():
            logit = head(torch.as_tensor(said.vectors[1]))[:, 0]
        assert logit.sigmoid().numpy() == pytest.approx(members[size].answers(bags)[:, 1], abs=1e-6)
