"""What a step may be, given to an estimator: it reaches the training, is kept, and changes nothing else."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

import bagwise as bw
from bagwise.explain import explain
from bagwise.methods.joint import fit_members

WAYS = {
    "built-in": {"optimizer": "adamw", "learning_rate": 2e-3, "l2": 0.01, "warmup": 0.1, "scheduler": "cosine"},
    "clipped": {"optimizer": "adam", "clip_gradient": 0.1},
    "several bags": {"bags_per_step": 3, "warmup": 0.5},
    "given": {"optimizer": partial(torch.optim.RMSprop, lr=0.01), "scheduler": CosineAnnealingLR, "bags_per_step": 2},
}
every_way = pytest.mark.parametrize("way", WAYS)


def model_of(way, **parameters):
    return bw.AttentionMIL(**WAYS[way], epochs=3, random_state=0, **parameters)


@every_way
def test_each_ends_elsewhere_and_with_the_same_bits_in_company(make_bags, way):
    bags = make_bags(count=16)
    subsets = [np.arange(16), np.arange(7), np.arange(1, 16)]
    plain = bw.AttentionMIL(epochs=3, random_state=0).fit(bags)
    joint = fit_members([model_of(way) for _ in subsets], bags, subsets)
    for together, subset in zip(joint, subsets, strict=True):
        alone = model_of(way).fit(bags[subset])
        assert np.array_equal(together.predict_proba(bags), alone.predict_proba(bags))
    assert not np.array_equal(joint[0].predict_proba(bags), plain.predict_proba(bags))


@every_way
def test_each_cross_validates_explains_and_says_what_it_did(make_bags, way):
    bags = make_bags(count=16)
    assert np.isfinite(bw.cross_validate(model_of(way), bags, folds=2, n_jobs=1).probabilities).all()
    model = model_of(way).fit(bags)
    assert len(explain(model, bags).importance) == len(bags.instances)
    for name, value in WAYS[way].items():
        assert getattr(model.plan_ if name == "bags_per_step" else model.settings_, name) is value


def test_with_an_optimizer_of_ones_own_what_is_its_own_is_not_the_papers(make_bags):
    settings = model_of("given").fit(make_bags(count=8)).settings_
    assert (settings.learning_rate, settings.l2, settings.decay) == (None, 0.0, 0.0)
    with pytest.raises(bw.BagwiseError, match=r"l2 is 0.1, and an optimizer of your own has its own"):
        model_of("given", l2=0.1).fit(make_bags(count=8))


@every_way
def test_each_is_saved(make_bags, tmp_path, way):
    bags = make_bags(count=8)
    model = model_of(way).fit(bags)
    bw.save_model(model, tmp_path)
    again = bw.load_model(tmp_path, **{name: part for name, part in WAYS[way].items() if callable(part)})
    assert (again.settings_, again.plan_) == (model.settings_, model.plan_)
    assert np.array_equal(again.predict_proba(bags), model.predict_proba(bags))


def test_what_was_not_handed_in_keeps_its_name(make_bags, tmp_path):
    bags = make_bags(count=8)
    model = model_of("given").fit(bags)
    bw.save_model(model, tmp_path / "once")
    bw.save_model(bw.load_model(tmp_path / "once"), tmp_path / "twice")
    again = bw.load_model(tmp_path / "twice")
    assert again.settings_.told == model.settings_.told
    with pytest.raises(
        bw.BagwiseError, match=r"an optimizer of your own, torch.optim.rmsprop.RMSprop\(lr=0.01\): load"
    ):
        again.fit(bags)
