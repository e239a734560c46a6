"""DSMIL, CLAM, DTFD-MIL, ACMIL and ILRA: equal to plain loops over bags, written from their papers, in float64."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cosine_similarity,
    cross_entropy,
    layer_norm,
    linear,
    silu,
)

from bagwise.errors import BagwiseError
from bagwise.models.architecture import Architecture
from bagwise.targets.classes import ClassTarget
from bagwise.training.losses import LossTargets

SIZES = (1, 5, 40, 17)
WIDTH = 6


def of_bag(logits, label):
    """Give the loss of a bag of which there are logits of one row."""
    if logits.shape[1] == 1:
        return binary_cross_entropy_with_logits(logits[0, 0], label.to(logits))
    return cross_entropy(logits, label[None])


def layer(p, name, x):
    return linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def gated(p, name, x):
    return layer(p, f"{name}.W", layer(p, f"{name}.V", x).tanh() * layer(p, f"{name}.U", x).sigmoid())


def dsmil(p, h, label, draw, options):  # noqa: ARG001
    scores = layer(p, "instances", h)
    query = layer(p, "query.2", layer(p, "query.0", h).relu()).tanh()
    vectors = []
    for column in scores.T:
        weights = (query @ query[column.argmax()] / math.sqrt(query.shape[1])).softmax(0)
        vectors.append(weights @ h)
    streams = scores.max(0, keepdim=True).values, layer(p, "head", torch.cat(vectors)[None])
    return torch.stack(streams), (of_bag(streams[0], label) + of_bag(streams[1], label)) / 2


def clam(p, h, label, draw, options):  # noqa: ARG001
    scores = gated(p, "attention", h).T
    vectors = scores.softmax(1) @ h
    if options["by_class"]:
        logits = torch.stack([layer(p, f"heads.{c}", one) for c, one in enumerate(vectors)], dim=1)
    else:
        logits = layer(p, "heads.0", vectors)
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    classes = logits.shape[1]
    count = min(options["sampled"], len(h) // 2)

    def of_instances(x, wanted):
        if options["instance_loss"] == "cross-entropy":
            return cross_entropy(x, wanted, reduction="sum")
        margin = (torch.arange(2) != wanted[:, None]).to(x)
        return (margin + x - x.gather(1, wanted[:, None])).logsumexp(1).sum()

    lost = h.new_zeros(())
    for c in range(classes if count else 0):
        branch = scores[c if options["by_class"] else 0]
        high, low = branch.topk(count).indices, (-branch).topk(count).indices
        evidence = layer(p, "evidence", h)[:, 2 * c : 2 * c + 2]
        ones, zeros = torch.ones(count).long(), torch.zeros(count).long()
        if c == label:
            lost = lost + of_instances(evidence[torch.cat([high, low])], torch.cat([ones, zeros])) / (2 * count)
        elif options["subtyping"]:
            lost = lost + of_instances(evidence[high], zeros) / count
    if options["subtyping"]:
        lost = lost / classes
    bag = cross_entropy(logits, label[None])
    told = logits[:, 1:] - logits[:, :1] if classes == 2 else logits
    share = options["instance_share"]
    return told[None], (1 - share) * bag + share * lost


def attended(p, name, x):
    return gated(p, name, x).softmax(0).T @ x


def dtfd(p, h, label, draw, options):
    dealt = draw(len(h)).argsort() if draw else torch.arange(len(h))
    parts = np.array_split(dealt.numpy(), min(options["pseudo_bags"], len(h)) if draw else 1)
    first, distilled = [], []
    for part in parts:
        own = h[part]
        vector = attended(p, "attentions.0", own)
        first.append(of_bag(layer(p, "first", vector), label))
        adds = (gated(p, "attentions.0", own).softmax(0) * own @ p["first.weight"].T)[:, 0]
        chosen = {"max": [adds.argmax()], "max-min": [adds.argmax(), adds.argmin()]}.get(options["distil"])
        distilled.append(vector if chosen is None else own[torch.stack(chosen)])
    seen = torch.cat(distilled)
    logits = layer(p, "head", attended(p, "attentions.1", seen.detach() if draw else seen))
    return logits[None], torch.stack(first).mean() + of_bag(logits, label)


def acmil(p, h, label, draw, options):
    scores = gated(p, "attention", h).T
    if draw:
        top = scores.topk(min(options["masked"], len(h))).indices.sort().values
        chance = draw(len(h), len(scores)).T.gather(1, top).argsort()
        hidden = top.gather(1, chance[:, : int(top.shape[1] * options["masked_share"])])
        scores = scores.scatter(1, hidden, -1e9)
    weights = scores.softmax(1)
    branches = [of_bag(layer(p, f"branches.{k}", (one @ h)[None]), label) for k, one in enumerate(weights)]
    logits = layer(p, "head", weights.mean(0, keepdim=True) @ h)
    pairs = [cosine_similarity(weights[i], weights[j], dim=0) for i in range(len(weights)) for j in range(i)]
    return logits[None], of_bag(logits, label) + torch.stack(branches).mean() + torch.stack(pairs).mean()


def attend(p, name, x, y, heads):
    """Let rows attend to rows, head by head."""
    rows, key, value = layer(p, f"{name}.rows", x), layer(p, f"{name}.key", y), layer(p, f"{name}.value", y)
    query, width = layer(p, f"{name}.query", rows), rows.shape[1] // heads
    split = zip(*(one.split(width, dim=1) for one in (query, key, value)), strict=True)
    heard = torch.cat([(q @ k.T / math.sqrt(width)).softmax(1) @ v for q, k, v in split], dim=1)
    norm = lambda kind, z: layer_norm(z, z.shape[1:], p[f"{name}.{kind}.weight"], p[f"{name}.{kind}.bias"])  # noqa: E731
    z = norm("first", rows + layer(p, f"{name}.out", heard))
    z = norm("last", z + layer(p, f"{name}.then", z).relu())
    return z * silu(layer(p, f"{name}.gate", x)) if f"{name}.gate.weight" in p else z


def ilra(p, h, label, draw, options):  # noqa: ARG001
    heads = options["heads"]
    for block in range(options["blocks"]):
        few = attend(p, f"blocks.{block}.gather", p[f"blocks.{block}.gather.learnt"], h, heads)
        h = attend(p, f"blocks.{block}.spread", h, few, heads)
    logits = layer(p, "head", attend(p, "pool", p["pool.learnt"], h, heads))
    return logits[None], of_bag(logits, label)


CLAMS = [
    {"by_class": by_class, "sampled": 8, "instance_share": 0.3, "instance_loss": loss, "subtyping": subtyping}
    for by_class in (False, True)
    for loss, subtyping in (("svm", False), ("svm", True), ("cross-entropy", True))
]
CASES = [("dual-stream", dsmil, {}), *(("clustered", clam, options) for options in CLAMS)]
CASES += [("two-tiers", dtfd, {"pseudo_bags": 4, "distil": distil}) for distil in ("feature", "max", "max-min")]
CASES += [("challenged", acmil, {"branches": 3, "masked": 10, "masked_share": 0.6})]
CASES += [("low-rank", ilra, {"width": 6, "rank": rank, "blocks": 2, "heads": 3}) for rank in (1, 4)]
FORMS = [(*case, outputs) for case in CASES for outputs in (1, 3) if outputs == 1 or "max" not in str(case[2])]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("level", "reference", "options", "outputs"), FORMS, ids=[f"{form[0]}-{n}" for n, form in enumerate(FORMS)]
)
def test_a_level_equals_its_paper(level, reference, options, outputs, training):
    rng = torch.Generator().manual_seed(3)
    h = torch.randn(sum(SIZES), WIDTH, dtype=torch.float64, generator=rng).requires_grad_()
    offsets = torch.tensor([0, *np.cumsum(SIZES)])
    design = Architecture(level, None, "identity", level_options=options)
    model = design.build((WIDTH,), outputs, seed=0, dtype=torch.float64).train(training)
    labels = np.arange(len(SIZES)) % max(2, outputs)
    target = ClassTarget.of(np.arange(max(2, outputs)))
    told = LossTargets.of(target, torch.from_numpy(target.encoded(labels)), None, offsets)
    model.dropout.generator = torch.Generator().manual_seed(7)
    output = model(h, offsets)
    lost = told.loss(output.logits) if model.loss is None else model.loss(output, told)

    own = torch.Generator().manual_seed(7)
    draw = (lambda *shape: torch.rand(*shape, generator=own, dtype=torch.float64)) if training else None
    parameters = dict(model.named_parameters())
    said = [
        reference(parameters, h[a:b], torch.tensor(label), draw, options)
        for label, (a, b) in zip(labels.tolist(), pairwise(offsets.tolist()), strict=True)
    ]
    torch.testing.assert_close(output.logits, torch.cat([logits for logits, _ in said], dim=1), rtol=1e-10, atol=1e-12)
    expected = torch.stack([one for _, one in said])
    torch.testing.assert_close(lost, expected, rtol=1e-10, atol=1e-12)
    at = [h, *parameters.values()]
    scales = torch.arange(1.0, 1 + len(SIZES), dtype=torch.float64)
    given = [torch.autograd.grad((loss * scales).sum(), at, materialize_grads=True) for loss in (lost, expected)]
    for name, one, other in zip(["h", *parameters], *given, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12, msg=name)


def test_instances_are_distilled_by_one_number_alone():
    design = Architecture("two-tiers", None, "identity", level_options={"distil": "max"})
    with pytest.raises(BagwiseError, match="a bag has 3 outputs: use 'feature'"):
        design.build((WIDTH,), 3, seed=0)


def test_columns_that_heads_of_low_rank_attention_cannot_share_are_refused():
    design = Architecture("low-rank", None, "identity", level_options={"width": 20, "heads": 8})
    with pytest.raises(BagwiseError, match="width is 20 and heads are 8: let an equal number of columns go to each"):
        design.build((WIDTH,), 1, seed=0)
