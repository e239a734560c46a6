"""Evidence for each class, with a sign: against references in plain loops, and for every kind of target."""

from itertools import pairwise

import numpy as np
import pytest
import torch

import bagwise as bw
from bagwise import BagwiseError
from bagwise.models.architecture import LEVELS, Architecture

OFFSETS = torch.tensor([0, 1, 5, 7])
EVIDENCE = [level for level, made in LEVELS.items() if made.ADDS_UP and not made.CLASSIFIES_BAGS]
CASES = [(level, {"gated": gated}) for level in EVIDENCE for gated in (False, True)]
CASES += [("signed-attention", {"counting": False})]
RNG = np.random.default_rng(0)
ARRAYS = [RNG.normal(size=(size, 2)) for size in (3, 1, 4, 2, 5, 1, 3, 2)]
TIMES = RNG.exponential(size=8)
LABELS = {
    "classes": [np.arange(8) % 2, np.array(["b", "a", "c"])[np.arange(8) % 3]],
    "multi-label": [np.arange(24).reshape(8, 3) % 2],
    "real": [RNG.normal(50, 7, 8), RNG.normal(size=(8, 2))],
    "count": [RNG.poisson(3, 8)],
    "ordinal": [np.arange(8) % 4],
    "survival": [np.array(list(zip(np.arange(8) % 3 > 0, TIMES, strict=True)), [("event", "?"), ("time", "f8")])],
}
OF_KINDS = [(kind, labels) for kind, given in LABELS.items() for labels in given]

QUICKLY = {"optimizer": "adam", "learning_rate": 1e-3, "random_state": 0}


def told(model, h):
    """Score the instances of a bag: w^T tanh(V h), gated if the model has a gate."""
    net = model.attention
    hidden = torch.tanh(h @ net.V.weight.T + net.V.bias)
    if net.U is not None:
        hidden = hidden / (1 + torch.exp(-(h @ net.U.weight.T + net.U.bias)))
    return hidden @ net.w.weight.T + net.w.bias


def class_attention(model, h):
    """CLAM-MB: a bag vector and a row of the classifier for each class."""
    e = told(model, h).exp()
    scores = [(e[:, c] / e[:, c].sum()) @ h @ row + b for c, (row, b) in enumerate(rows(model.heads))]
    return torch.stack(scores) if model.outputs > 1 else scores[1:][0].sub(scores[0]).reshape(1)


def additive(model, h):
    """Sum of psi of attended features, whose intercepts are in the measure of the training bags."""
    e = told(model, h).exp()
    first, last, share = model.hidden, model.head, model.counting.share
    hidden = [
        (a * one @ first.weight.T + share * first.bias).clamp(min=0) for a, one in zip(e / e.sum(), h, strict=True)
    ]
    return sum(one @ last.weight.T + share * last.bias for one in hidden)


def conjunctive(model, h):
    """Mean of weighted instance logits."""
    a = 1 / (1 + torch.exp(-told(model, h)))
    return sum(w * (one @ model.head.weight.T + model.head.bias) for w, one in zip(a, h, strict=True)) / len(h)


def signed_attention(model, h):
    """Sum of instance logits, weighed by a tangent, or by attraction less repulsion."""
    e = told(model, h)
    if model.counting is not None:
        a = model.counting.share * torch.tanh(e)
    else:
        shares = e.exp() / (1 + e.exp().sum(0))
        a = shares[:, :1] - shares[:, 1:]
    return sum(w * (one @ model.head.weight.T + model.head.bias) for w, one in zip(a, h, strict=True))


def rows(layer):
    return zip(layer.weight, layer.bias, strict=True)


REFERENCES = {
    "class-attention": class_attention,
    "additive": additive,
    "conjunctive": conjunctive,
    "signed-attention": signed_attention,
}


@pytest.mark.parametrize(("level", "options"), CASES)
@pytest.mark.parametrize("outputs", [1, 3])
def test_logits_and_gradients_are_those_of_the_plain_formula(level, options, outputs):
    architecture = Architecture(level, None, "identity", level_options={"hidden": 5, **options})
    model = architecture.build((4,), outputs, seed=0, dtype=torch.float64, sizes=np.array([1, 4, 2]))
    for parameter in model.parameters():  # with intercepts, which begin at 0
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    h = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    parts = [h[a:b] for a, b in pairwise(OFFSETS.tolist())]
    found = model(h, OFFSETS).logits[0]
    expected = torch.stack([REFERENCES[level](model, part) for part in parts])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    pair = [torch.autograd.grad(one.square().sum(), [h, *model.parameters()]) for one in (found, expected)]
    for one, other in zip(*pair, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("level", EVIDENCE)
@pytest.mark.parametrize(("kind", "labels"), OF_KINDS, ids=[f"{kind}{n}" for n, (kind, _) in enumerate(OF_KINDS)])
def test_contributions_of_every_target_are_what_bags_are_judged_by(level, kind, labels):
    bags = bw.Bags.from_arrays(ARRAYS, labels)
    model = bw.make(level, target=kind, epochs=2, class_weight=None, random_state=0).fit(bags)
    found, weights = model.contributions(bags), model.attention(bags)
    target, begins = model.target_, bags.offsets[:-1]
    assert found.shape == (len(bags.instances), *([target.outputs] if target.outputs > 1 else []))
    sums = np.add.reduceat(found, begins).reshape(1, len(bags), -1)
    if kind == "classes" and target.outputs == 1 and target.classes.column == 0:
        sums = -sums
    answers = target.answers(torch.from_numpy(sums), model.model_.learnt).numpy()
    np.testing.assert_allclose(answers, model.answers(bags), rtol=1e-4, atol=1e-5)
    if level in ("class-attention", "additive"):
        np.testing.assert_allclose(np.add.reduceat(weights, begins), 1, rtol=1e-5)
        assert weights.shape[1:] == ((max(2, target.outputs),) if level == "class-attention" else ())
    else:
        assert np.abs(weights).max() < 1
        assert (weights.min() < 0) == (level == "signed-attention")


@pytest.mark.parametrize("positive", ["sick", "well"])
def test_of_two_classes_columns_and_signs_are_the_positive_one_s(positive):
    arrays = [np.array([[3.0], [0.1], [-0.2]]) if bag % 2 else np.array([[0.2], [-0.1]]) for bag in range(40)]
    bags = bw.Bags.from_arrays(arrays, labels=["well", "sick"] * 20)
    model = bw.ClassAttentionMIL(positive=positive, epochs=20, **QUICKLY).fit(bags)
    assert model.score(bags, bags.labels) == 1
    column = list(model.classes_).index("sick")
    first = model.attention(bags[1:2])
    assert first[:, column].argmax() == 0
    assert (model.contributions(bags[1:2]).sum() > 0) == (positive == "sick")


def test_an_instance_speaks_against():
    """A mark makes a bag positive, unless a veto stands beside it: contributions tell the one from the other."""
    rng = np.random.default_rng(0)
    arrays = []
    for bag in range(60):
        kinds = np.zeros((5, 2))
        kinds[0, 0] = 4 * (bag % 3 > 0)
        kinds[1, 1] = 4 * (bag % 3 > 1)
        arrays.append(kinds + 0.2 * rng.normal(size=kinds.shape))
    bags = bw.Bags.from_arrays(arrays, labels=np.arange(60) % 3 == 1)
    for name in ("additive", "signed-attention"):
        model = bw.make(name, epochs=20, **QUICKLY).fit(bags)
        assert model.score(bags, bags.labels) > 0.95, name
        found = model.contributions(bags)
        assert found[bags.instances[:, 0] > 2].mean() > 0 > found[bags.instances[:, 1] > 2].mean(), name


def test_what_cannot_be_is_refused():
    with pytest.raises(BagwiseError, match="hidden is 0: it must be a whole number from 1 on"):
        Architecture("additive", None, "mi-net", level_options={"hidden": 0}).build((3,), 1, seed=0)
    with pytest.raises(BagwiseError, match="the conjunctive level has no pooling to choose: leave 'max' out"):
        Architecture("conjunctive", "max", "mi-net")
    with pytest.raises(BagwiseError, match="size is True, and at the additive level"):
        bw.AdditiveMIL(size=True, epochs=1).fit(ARRAYS, LABELS["classes"][0])
