"""DSMIL and CLAM with the same weights as torchmil's, in the environment that `make .bench` builds.

CLAM is compared by the cross-entropy of instances: the smooth SVM of torchmil 1.0.2 sets each instance against the
wanted classes of all of them (its targets of shape (n, 1) become a table), so it is not the published one.
"""

import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from bagwise.models.architecture import Architecture
from bagwise.targets.classes import ClassTarget
from bagwise.training.losses import LossTargets

RIVAL = Path(__file__).parents[2] / ".bench" / "bin" / "python"
WIDTH, HIDDEN, SIZES = 6, 5, (40, 17)

# What is ours, in the terms of torchmil's: level, options, the model, its loss, and our name of each of its parameters.
DSMIL = {
    "inst_classifier": "instances",
    "q_nn.0": "query.0",
    "q_nn.2": "query.2",
    "bag_classifier": "head",
}
CLAM = {
    "pool.fc1.module": "attention.V",
    "pool.fc_gated.module": "attention.U",
    "pool.fc2": "attention.W",
    "classifier.module": "heads.0",
}
FORMS = {
    "DSMIL": (
        ("dual-stream", {"query": HIDDEN}),
        f"DSMIL(in_shape=({WIDTH},), att_dim={HIDDEN}, nonlinear_q=True)",
        "sum(lost.values()) / 2",
        DSMIL,
    ),
    "CLAM-SB": (
        ("clustered", {"hidden": HIDDEN, "subtyping": True, "instance_loss": "cross-entropy"}),
        f"CLAM_SB(in_shape=({WIDTH},), att_dim={HIDDEN}, gated=True, k_sample=8)",
        "0.7 * lost['BCEWithLogitsLoss'] + 0.3 * lost['InstLoss'] / 2",
        CLAM,
    ),
}
SCRIPT = """
import sys
import numpy as np
import torch
from torchmil.models import CLAM_SB, DSMIL
class CrossEntropy(torch.nn.CrossEntropyLoss):
    def forward(self, said, wanted):
        return super().forward(said, wanted[:, 0].long())
given = {{name: torch.from_numpy(value) for name, value in np.load(sys.argv[1]).items()}}
x, labels, sizes = (given.pop(name) for name in ("x", "labels", "sizes"))
model = {model}.double()
model.load_state_dict(given)
model.inst_loss_fn = CrossEntropy()
x.requires_grad_()
total, begin = 0, 0
for label, size in zip(labels, sizes.tolist()):
    _, lost = model.compute_loss(label[None], x[None, begin : begin + size])
    total, begin = total + {loss}, begin + size
total.backward()
grads = {{name: value.grad.numpy() for name, value in model.named_parameters() if name in given}}
np.savez(sys.argv[2], **grads, x=x.grad.numpy(), total=total.detach().numpy())
"""


@pytest.mark.skipif(not RIVAL.exists(), reason="make .bench builds the environment of torchmil")
@pytest.mark.parametrize("name", FORMS)
def test_a_level_equals_torchmils_form(tmp_path, name):
    (level, options), made, loss, names = FORMS[name]
    design = Architecture(level, None, "identity", level_options=options)
    model = design.build((WIDTH,), 1, seed=0, dtype=torch.float64)
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(sum(SIZES), WIDTH, dtype=torch.float64, generator=rng).requires_grad_()
    labels, own = np.array([1, 0]), dict(model.named_parameters())
    with torch.no_grad():
        for parameter in own.values():
            parameter.normal_(generator=rng)
        if name == "CLAM-SB":
            own["attention.W.bias"].zero_()  # torchmil's has none
    kinds = ("weight", "bias")
    same = {f"{their}.{kind}": own[f"{our}.{kind}"] for their, our in names.items() for kind in kinds}
    same.pop("pool.fc2.bias", None)
    given = {key: value.detach().numpy() for key, value in same.items()}
    if name == "CLAM-SB":  # of each class two rows are its classifier of instances
        for kind, (c, rows) in product(kinds, enumerate((slice(0, 2), slice(2, 4)))):
            given[f"inst_classifiers.{c}.module.{kind}"] = own[f"evidence.{kind}"][rows].detach().numpy()
    np.savez(tmp_path / "given.npz", **given, x=x.detach().numpy(), labels=labels, sizes=np.array(SIZES))
    script = SCRIPT.format(model=made, loss=loss)
    subprocess.run([RIVAL, "-c", script, tmp_path / "given.npz", tmp_path / "found.npz"], check=True)
    found = np.load(tmp_path / "found.npz")

    target, offsets = ClassTarget.of([0, 1]), torch.tensor([0, *np.cumsum(SIZES)])
    told = LossTargets.of(target, torch.from_numpy(target.encoded(labels)), None, offsets)
    total = model.loss(model(x, offsets), told).sum()
    assert total.item() == pytest.approx(float(found["total"]), rel=1e-5)
    keys, values = zip(("x", x), *same.items(), strict=True)
    for key, gradient in zip(keys, torch.autograd.grad(total, values), strict=True):
        np.testing.assert_allclose(gradient.numpy(), found[key], rtol=1e-5, atol=1e-6, err_msg=key)
