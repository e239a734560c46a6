"""Methods in which instances know each other: equal to plain references, and to themselves however bags are cut."""

from itertools import pairwise

import numpy as np
import pytest
import torch

import bagwise as bw
from bagwise import BagwiseError
from bagwise.methods.joint import fit_members
from bagwise.models.architecture import Architecture
from bagwise.models.contexts import CONTEXTS, Graph, SelfAttention
from bagwise.models.neighbours import Neighbourhood, nearest, standardised
from bagwise.models.pooling import Pooled, Pooling
from bagwise.models.smoothing import NEIGHBOUR_POOLINGS
from bagwise.segments import segment_mean
from bagwise.training.data import PackedTensors
from bagwise.training.gradient import accumulate_gradient

OFFSETS = torch.tensor([0, 6, 7, 20, 22])
CPU = torch.device("cpu")


def values_of(width, seed=0, dtype=torch.float64):
    return torch.randn(int(OFFSETS[-1]), width, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def neighbours_of(values, offsets, count):
    """Find neighbours bag by bag, as positions among all."""
    ends = offsets.tolist()
    parts = [nearest(values[begin:end].numpy(), count).astype(np.int64) + begin for begin, end in pairwise(ends)]
    return torch.from_numpy(np.concatenate(parts))


def context_of(name, width, **options):
    made = CONTEXTS[name](width, **options).double()
    return made, None if made.wants_neighbours is None else made.wants_neighbours.count


def labelled(bags=24, seed=0, coordinates=False):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, bags)
    places = rng.normal(size=(sizes.sum(), 2)) if coordinates else None
    labels = [bag % 2 for bag in range(bags)]
    return bw.Bags(rng.normal(size=(sizes.sum(), 4)), np.cumsum([0, *sizes]), labels, coordinates=places)


# ---- every context -------------------------------------------------------------------------------------------------

every_context = pytest.mark.parametrize("name", CONTEXTS)


@every_context
def test_bags_packed_together_do_not_see_each_other(name):
    context, count = context_of(name, 8)
    values = values_of(8)
    where = count and neighbours_of(values, OFFSETS, count)
    together = context(values, OFFSETS, where)
    for begin, end in pairwise(OFFSETS.tolist()):
        own = None if where is None else where[begin:end] - begin
        alone = context(values[begin:end], torch.tensor([0, end - begin]), own)
        torch.testing.assert_close(alone, together[begin:end], rtol=1e-10, atol=1e-12)


@every_context
def test_instances_see_each_other_and_move_with_their_order(name):
    context, count = context_of(name, 8)
    values, ends = values_of(8)[:13], torch.tensor([0, 13])
    order = torch.randperm(13, generator=torch.Generator().manual_seed(1))

    def answered(values):
        return context(values, ends, count and neighbours_of(values, ends, count))

    torch.testing.assert_close(answered(values[order]), answered(values)[order], rtol=1e-10, atol=1e-12)
    other = values.clone()
    other[0, 0] += 1e-3
    assert (answered(other) - answered(values))[1:].abs().max() > 1e-9


@every_context
def test_gradients_are_exact_however_instances_are_encoded_in_chunks(name):
    pairs = []
    for chunk in (100, 4):
        model = Architecture("embedding", "attention", "mi-net", context=name).build((5,), 1, 0, dtype=torch.float64)
        values = values_of(5)
        wanted = model.wants_neighbours
        where = wanted and neighbours_of(values, OFFSETS, wanted.count)
        loss = accumulate_gradient(
            model, values, OFFSETS, lambda output: output.logits.square().mean(), chunk=chunk, seed=0, where=where
        )
        pairs.append([loss, *(one.grad for one in model.parameters())])
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@every_context
@pytest.mark.parametrize(("level", "pooling"), [("embedding", "max"), ("instance", "mean"), ("instance", "noisy-or")])
def test_a_context_goes_with_every_pooling_of_embeddings_and_of_instances(name, level, pooling):
    model = Architecture(level, pooling, "mi-net", context=name).build((5,), 1, 0, dtype=torch.float64).eval()
    values = values_of(5)
    where = model.wants_neighbours and neighbours_of(values, OFFSETS, model.wants_neighbours.count)
    seen = model.context(model.encode(values), OFFSETS, where)
    wanted = Architecture(level, pooling, "identity").build((64,), 1, 0, dtype=torch.float64).eval()
    wanted.load_state_dict({key: value for key, value in model.state_dict().items() if key in wanted.state_dict()})
    torch.testing.assert_close(model(values, OFFSETS, where).logits, wanted.aggregate(seen, OFFSETS).logits)


@every_context
@pytest.mark.parametrize("level", ["deep-supervision", "residual"])
def test_levels_that_pool_every_layer_refuse_a_context(name, level):
    with pytest.raises(BagwiseError, match=f"context is '{name}', and at the {level} level"):
        Architecture(level, "max", "mi-net-levels", context=name)


def test_an_unknown_context_is_refused():
    with pytest.raises(BagwiseError, match="there is no context 'crowd': the contexts are graph"):
        Architecture("embedding", "max", "mi-net", context="crowd")


# ---- graphs --------------------------------------------------------------------------------------------------------


def test_rounds_of_messages_are_those_of_plain_loops():
    torch.manual_seed(0)
    graph = Graph(6, neighbours=3, rounds=2).double()
    values = values_of(6).requires_grad_()
    where = neighbours_of(values.detach(), OFFSETS, 3)
    found = graph(values, OFFSETS, where)
    rows = list(values)
    for own, heard in zip(graph.own, graph.heard, strict=True):
        said = [sum(rows[other] for other in where[row].tolist()) / 3 for row in range(len(rows))]
        rows = [
            row + torch.clamp(own.weight @ row + own.bias + heard.weight @ mean, min=0)
            for row, mean in zip(rows, said, strict=True)
        ]
    wanted = torch.stack(rows)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    given = [values, *graph.parameters()]
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), given), torch.autograd.grad(wanted.square().sum(), given), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


# ---- a set transformer -------------------------------------------------------------------------------------------


def normed(values, norm):
    centred = values - values.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def attended(block, rows, seen):
    """Attend as the equations of Lee et al. (2019) say, query by query, but for where they normalise."""
    heads, width = block.heads, block.query.out_features // block.heads
    q = block.query(normed(rows, block.first))
    k, v = (layer(normed(seen, block.first)) for layer in (block.key, block.value))
    told = []
    for query in q:
        parts = []
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            shares = torch.softmax(torch.stack([query[own] @ key[own] for key in k]) / width**0.5, 0)
            parts.append(shares @ v[:, own])
        told.append(torch.cat(parts))
    H = rows + block.out(torch.stack(told))
    return H + torch.clamp(block.then(normed(H, block.last)), min=0)


@pytest.mark.parametrize(("induced", "width"), [(None, 6), (3, 6), (3, 5)])
def test_blocks_of_a_set_transformer_are_those_of_plain_loops(induced, width):
    torch.manual_seed(0)
    context = SelfAttention(width, heads=2, induced=induced, blocks=2).double()
    values = values_of(width).requires_grad_()
    found = context(values, OFFSETS)
    bags = [values[begin:end] for begin, end in pairwise(OFFSETS.tolist())]
    for block in context.blocks:
        seen = bags if induced is None else [attended(block.meet, block.induced, bag) for bag in bags]
        bags = [attended(block.attend, *pair) for pair in zip(bags, seen, strict=True)]
    wanted = normed(torch.cat(bags), context.norm)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)
    given = [values, *context.parameters()]
    for one, other in zip(*(torch.autograd.grad(of.square().sum(), given) for of in (found, wanted)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


# ---- smoothing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NEIGHBOUR_POOLINGS)
def test_attention_is_smoothed_as_the_equation_says_it_with_a_whole_matrix(name):
    torch.manual_seed(0)
    pooling = NEIGHBOUR_POOLINGS[name](6, hidden=5, neighbours=3, alpha=0.3, steps=4).double()
    values = values_of(6).requires_grad_()
    where = neighbours_of(values.detach(), OFFSETS, 3)
    found = pooling(values, OFFSETS, where)
    vectors, shares = [], []
    for begin, end in pairwise(OFFSETS.tolist()):
        own, A = values[begin:end], torch.zeros(end - begin, end - begin, dtype=torch.float64)
        for row, others in enumerate((where[begin:end] - begin).tolist()):
            for other in others:
                A[row, other] += 1 / 3
        hidden = torch.tanh(own @ pooling.V.weight.T)
        if "gated" in name:
            hidden = hidden * torch.sigmoid(own @ pooling.U.weight.T)
        f = g = hidden @ pooling.w.weight.T
        for _ in range(4):
            g = 0.7 * f + 0.3 * A @ g
        shares.append(torch.softmax(g, 0).flatten())
        vectors.append(shares[-1] @ own)
    wanted = torch.stack(vectors)
    torch.testing.assert_close(found.bags, wanted, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(found.weights, torch.cat(shares), rtol=1e-11, atol=1e-11)
    given = [values, *pooling.parameters()]
    for one, other in zip(
        *(torch.autograd.grad(bags.square().sum(), given) for bags in (found.bags, wanted)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_smooth_attention_is_that_of_torchmil_on_the_same_graph():
    pool = pytest.importorskip("torchmil.nn.attention.sm_attention_pool").SmAttentionPool
    torch.manual_seed(0)
    ours = NEIGHBOUR_POOLINGS["smooth-attention"](6, hidden=5, neighbours=3, alpha=0.3, steps=4)
    # Where it is given a number as alpha, torchmil takes what that leaves of 1.
    theirs = pool(6, 5, act="tanh", sm_alpha=0.7, sm_steps=4, sm_where="late")
    theirs.load_state_dict({"proj1.weight": ours.V.weight, "proj1.bias": torch.zeros(5), "proj2.weight": ours.w.weight})
    values = values_of(6, dtype=torch.float32)[:13]
    where = neighbours_of(values, torch.tensor([0, 13]), 3)
    A = torch.zeros(13, 13).scatter_add(1, where, torch.full(where.shape, 1 / 3))
    given = [values.clone().requires_grad_() for _ in range(2)]
    found = ours(given[0], torch.tensor([0, 13]), where).bags
    wanted = theirs(given[1][None], A[None])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    pairs = zip(
        *(torch.autograd.grad(one.square().sum(), at) for one, at in zip((found, wanted), given, strict=True)),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["graph", "smooth-attention", "self-attention", "TransMIL"])
def test_members_that_train_side_by_side_end_as_they_would_alone(name):
    bags = labelled()
    folds = [np.arange(16), np.arange(8, 24)]
    together = fit_members([bw.make(name, epochs=2, random_state=0) for _ in folds], bags, folds)
    for fold, model in zip(folds, together, strict=True):
        alone = bw.make(name, epochs=2, random_state=0).fit(bags[fold])
        np.testing.assert_array_equal(model.predict_proba(bags), alone.predict_proba(bags))


def test_a_context_and_a_pooling_that_look_at_different_neighbours_are_refused():
    with pytest.raises(
        BagwiseError, match="context looks at 8 neighbours in features, and the pooling at 3 in features"
    ):
        Architecture("embedding", "smooth-attention", "mi-net", {"neighbours": 3}, context="graph").build((4,), 1, 0)


# ---- where neighbours are ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("near", ["auto", "coordinates", "features"])
def test_neighbours_are_near_in_coordinates_where_there_are_some(near):
    bags = labelled(coordinates=True)
    model = bw.make("graph", near=near, epochs=2, random_state=0).fit(bags)
    assert model.model_.wants_neighbours == Neighbourhood(8, "features" if near == "features" else "coordinates")
    plain = bw.Bags(bags.instances, bags.offsets, bags.labels)
    if near == "features":
        np.testing.assert_array_equal(model.predict_proba(plain), model.predict_proba(bags))
    else:
        with pytest.raises(BagwiseError, match="coordinates of instances, and these bags have none"):
            model.predict_proba(plain)
    assert bw.make("graph", epochs=1).fit(plain).model_.wants_neighbours.space == "features"


def test_an_instance_alone_is_its_own_neighbour():
    bags = labelled()
    model = bw.make("graph", epochs=2, random_state=0, precision="float64").fit(bags)
    alone = bw.Bags.from_arrays([bag.instances[[row]] for bag in bags for row in range(len(bag.instances))])
    np.testing.assert_allclose(model.instance_scores(bags), model.predict_proba(alone)[:, 1], rtol=1e-9)


def test_columns_of_all_kinds_have_neighbours_too():
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"bag": np.repeat(np.arange(20), 4), "label": np.repeat(np.arange(20) % 2, 4)})
    frame["amount"], frame["shop"] = rng.normal(size=80), rng.choice(["a", "b", None], 80)
    frame.loc[::7, "amount"] = np.nan
    frame.loc[:3, ["amount", "shop"]] = [1.0, "a"]
    model = bw.make("graph", epochs=2, random_state=0).fit(bw.Bags.from_table(frame, "bag", label="label"))
    assert model.plan_.encoded is not None
    assert np.isfinite(model.history_[-1]["loss"])


def test_samples_of_a_bag_are_refused_where_neighbours_may_not_be_among_them():
    with pytest.raises(BagwiseError, match="sample=3 draws some instances"):
        bw.make("graph", sample=3, epochs=1).fit(labelled())


def test_a_file_of_another_format_is_refused_in_a_sentence(tmp_path):
    pytest.importorskip("onnx")
    model = bw.make("graph", epochs=1, random_state=0).fit(labelled())
    with pytest.raises(BagwiseError, match="instances of a bag see each other in GraphMIL, and an ONNX file"):
        bw.export_onnx(model, tmp_path / "model.onnx")


class Near(Pooling):
    wants_neighbours = Neighbourhood(2, "features")

    def forward(self, values, offsets, neighbours):
        return Pooled(segment_mean(values + values[neighbours].mean(1), offsets))


class Leaking(Near):
    def forward(self, values, offsets, neighbours):
        return Pooled(segment_mean(values + values[neighbours - 1].mean(1), offsets))


def test_a_pooling_of_ones_own_is_given_neighbours():
    bags = labelled()
    model = bw.EmbeddingMIL(pooling=Near, encoder="identity", epochs=2, random_state=0, standardize=False).fit(bags)
    where = PackedTensors(bags).where(model.model_, np.arange(len(bags)), CPU)
    wanted = [nearest(standardised(bag.instances), 2) + begin for bag, begin in zip(bags, bags.offsets, strict=False)]
    np.testing.assert_array_equal(where, np.concatenate(wanted))
    with torch.no_grad():
        logits = model.model_(torch.from_numpy(bags.instances), torch.from_numpy(bags.offsets), where).logits
    np.testing.assert_allclose(model.decision_function(bags), logits.flatten(), rtol=1e-5, atol=1e-6)
    with pytest.raises(BagwiseError, match="Leaking ties bags together"):
        bw.EmbeddingMIL(pooling=Leaking, epochs=1).fit(bags)
