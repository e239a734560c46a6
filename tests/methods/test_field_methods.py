"""The field's usual methods: what each takes, and that a member depends neither on its company nor on the executor."""

import warnings

import numpy as np
import pytest
import torch

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.methods import field
from bagwise.methods.joint import fit_members
from bagwise.models.scaling import Moments
from bagwise.training.choice import hindrance
from bagwise.training.data import PackedTensors
from bagwise.training.looped import Looped
from bagwise.training.members import Member, Settings
from bagwise.training.together import Together

NAMES = [name for name, (kind, _) in METHODS.items() if kind.__module__ == field.__name__]
DRAWING = ("DTFD-MIL", "ACMIL")
RNG = np.random.default_rng(0)
COUNT = 18
ARRAYS = [RNG.normal(size=(size, 3)) + bag % 2 for bag, size in enumerate(RNG.integers(1, 25, COUNT))]
LABELS = {
    "classes": np.arange(COUNT) % 2,
    "three classes": np.array(["c", "a", "b"])[np.arange(COUNT) % 3],
    "multi-label": np.arange(COUNT * 3).reshape(COUNT, 3) % 2,
    "real": RNG.normal(size=(COUNT, 2)),
    "count": RNG.poisson(3, COUNT),
    "ordinal": np.arange(COUNT) % 4,
    "survival": np.array([(n % 3 > 0, n + 1.0) for n in range(COUNT)], [("event", "?"), ("time", "f8")]),
}

every_name = pytest.mark.parametrize("name", NAMES)


@every_name
@pytest.mark.parametrize("kind", LABELS)
def test_every_target_that_the_form_allows_is_learnt_and_others_are_refused(name, kind):
    bags, target = bw.Bags.from_arrays(ARRAYS, LABELS[kind]), "classes" if "classes" in kind else kind
    model = bw.make(name, target=target, epochs=2, bags_per_step=3, random_state=0)
    if name.startswith("CLAM") and target != "classes":
        with pytest.raises(BagwiseError, match=f"and the target is {kind}: use AttentionMIL, DSMIL, DTFDMIL or ACMIL"):
            model.fit(bags)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(bags, validation=np.arange(6))
    assert all(np.isfinite(one["validation_loss"]) for one in model.history_)
    weights = model.attention(bags).reshape(len(bags.instances), -1)
    classes = {"CLAM-MB": max(2, model.target_.outputs), "DSMIL": model.target_.outputs}.get(name, 1)
    assert weights.shape[1] == classes
    np.testing.assert_allclose(np.add.reduceat(weights, bags.offsets[:-1]), 1, rtol=1e-5)


@every_name
def test_a_member_does_not_depend_on_its_company(name):
    bags = bw.Bags.from_arrays(ARRAYS, LABELS["classes"])
    subsets = [np.arange(12), np.arange(4, COUNT)]
    make = lambda: bw.make(name, epochs=3, dropout=0.25, random_state=1)  # noqa: E731
    together = fit_members([make(), make()], bags, subsets)
    for model, subset in zip(together, subsets, strict=True):
        (alone,) = fit_members([make()], bags, [subset])
        for key, value in alone.model_.state_dict().items():
            assert torch.equal(model.model_.state_dict()[key], value), key


@every_name
@pytest.mark.parametrize("labels", ["classes", "three classes"])
def test_members_train_side_by_side_on_a_device_or_say_why_not(name, labels):
    bags = bw.Bags.from_arrays(ARRAYS, LABELS[labels])
    fitted = bw.make(name, epochs=1, precision="float64", device="cpu", standardize=True).fit(bags)
    plan, packed = fitted.plan_, PackedTensors(bags, fitted.target_.encoded(bags.labels))
    told = hindrance(plan, bags, plan.architecture.build((3,), fitted.target_.outputs, seed=0))
    assert told == (
        "torch cannot compute them so: each model draws by chance of its own, so they train one after the other"
        if name in DRAWING
        else None
    )
    if told is not None:
        return
    settings = Settings("adam", 1e-3, epochs=2)
    members = [Member(seed, np.delete(np.arange(COUNT), [seed, 9]), settings, np.array([seed, 9])) for seed in range(3)]
    moments = Moments(bags.instances, bags.offsets)
    plain, joint = Looped(plan, packed, members, moments), Together(plan, packed, members, moments, capture=False)
    for epoch in range(2):
        np.testing.assert_allclose(joint.run_epoch(epoch, [0, 1, 2]), plain.run_epoch(epoch, [0, 1, 2]), rtol=1e-9)
    np.testing.assert_allclose(joint.validate([0, 1, 2]), plain.validate([0, 1, 2]), rtol=1e-9)
    for number in range(3):
        for key, value in plain.state(number).items():
            torch.testing.assert_close(joint.state(number)[key], value, rtol=1e-9, atol=1e-9)


def test_a_second_tier_alone_teaches_no_first():
    bags = bw.Bags.from_arrays(ARRAYS, LABELS["classes"])
    with pytest.raises(BagwiseError, match="leave loss out"):
        bw.DTFDMIL(loss=lambda output, targets: targets.loss(output.logits)).fit(bags)
