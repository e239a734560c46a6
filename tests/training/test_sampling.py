import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bagwise as bw
from bagwise import BagwiseError
from bagwise.methods.joint import fit_members
from bagwise.training import looped
from bagwise.training.shown import sampled_rows


@settings(max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 10), st.integers(0, 2**32))
def test_each_bag_gives_at_most_so_many_in_their_order(sizes, most, seed):
    offsets = torch.tensor([0, *sizes]).cumsum(0)
    instances = torch.arange(int(offsets[-1]))[:, None]
    rows, ends = sampled_rows(sizes, most, seed, np.arange(len(sizes), dtype=np.uint64))
    kept = instances[rows]
    assert torch.diff(ends).tolist() == [min(size, most) for size in sizes]
    for number in range(len(sizes)):
        part = kept[ends[number] : ends[number + 1], 0]
        assert (part >= offsets[number]).all()
        assert (part < offsets[number + 1]).all()
        assert (torch.diff(part) > 0).all()


def test_every_instance_comes_as_often():
    key = np.zeros(1, dtype=np.uint64)
    drawn = [sampled_rows([10], 3, seed, key)[0] for seed in range(2000)]
    counts = torch.cat(drawn).flatten().bincount(minlength=10) / 2000
    assert counts.tolist() == pytest.approx([0.3] * 10, abs=0.05)


def weights(model):
    return torch.cat([value.flatten() for value in model.model_.state_dict().values()])


@pytest.mark.parametrize("budget", [None, 12])
def test_more_than_there_are_is_all(make_bags, budget):
    bags = make_bags()
    options = {"epochs": 2, "random_state": 0, "instance_budget": budget, "precision": "float64"}
    whole, all_of_them = (bw.AttentionMIL(sample=sample, **options).fit(bags) for sample in (None, 100))
    torch.testing.assert_close(weights(whole), weights(all_of_them), rtol=1e-9, atol=1e-12)


def test_a_member_draws_alike_in_any_company(make_bags):
    bags = make_bags()
    models = [bw.AttentionMIL(epochs=3, sample=2, random_state=0) for _ in range(2)]
    together = fit_members(models, bags, [np.arange(12), np.arange(6, 24)])
    alone = bw.AttentionMIL(epochs=3, sample=2, random_state=0).fit(bags[6:])
    assert torch.equal(weights(together[1]), weights(alone))
    other = bw.AttentionMIL(epochs=3, random_state=0).fit(bags[6:])
    assert not torch.equal(weights(alone), weights(other))


def test_epochs_draw_other_instances(monkeypatch):
    drawn, draw = [], looped.sampled_rows

    def spy(*arguments):
        drawn.append(draw(*arguments))
        return drawn[-1]

    monkeypatch.setattr(looped, "sampled_rows", spy)
    bags = bw.Bags.from_arrays([np.arange(20.0)[:, None], np.zeros((1, 1))], labels=[1, 0])
    bw.EmbeddingMIL(epochs=6, sample=7, random_state=0).fit(bags)
    assert len({part.numpy().tobytes() for part, _ in drawn if len(part) == 7}) == 6


@pytest.mark.parametrize("sample", [0, 2.5, "few"])
def test_what_is_no_number_is_refused(make_bags, sample):
    with pytest.raises(BagwiseError, match="sample is .* it must be a whole number from 1 on, or None"):
        bw.AttentionMIL(sample=sample).fit(make_bags())
