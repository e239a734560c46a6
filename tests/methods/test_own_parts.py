"""Saved models with parts of a user's own: the file names them, and whoever loads the model hands them in again."""

import json
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import bagwise as bw
from bagwise import BagwiseError
from bagwise.commands.run_files import write_run
from bagwise.methods.ensemble import fit_ensemble, predict_ensemble
from bagwise.models.pooling import Mean, Pooled, Pooling
from bagwise.segments import segment_max, segment_mean
from bagwise.tensorfiles import read_tensors, write_tensors

FILE = "model.safetensors"
HERE = __name__


class Encoder(nn.Module):
    """Buffers and shared weights are kept, too."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(3, 3), nn.BatchNorm1d(3).eval(), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("never", torch.tensor([-torch.inf]))

    def forward(self, instances):
        return self.second(self.norm(self.first(instances)))


class Power(Pooling):
    def __init__(self, width):
        super().__init__(width)
        self.share = nn.Parameter(torch.zeros(width))

    def forward(self, values, offsets):
        share = self.share.sigmoid()
        return Pooled(share * segment_max(values, offsets) + (1 - share) * segment_mean(values, offsets))


class Net(nn.Module):
    def __init__(self, instance_shape, outputs, widths=(4,)):
        super().__init__()
        sizes = (*instance_shape, *widths)
        self.layers = nn.Sequential(*(nn.Linear(m, n) for m, n in pairwise(sizes)))
        self.head = nn.Linear(sizes[-1], outputs)

    def encode(self, instances):
        return self.layers(instances)

    def aggregate(self, embeddings, offsets):
        return bw.Output(self.head(segment_mean(embeddings, offsets)))


@dataclass(kw_only=True, eq=False, repr=False)
class OfNets(bw.NeuralMIL):
    """A method of the user's own, which knows its model."""

    width: int = 5

    def make_model(self):
        return partial(Net, widths=(self.width,))


class Rounded(bw.EmbeddingMIL):
    """Another meaning under the same parameters."""

    def predict_proba(self, X):
        return super().predict_proba(X).round(1)


Twin = type("AttentionMIL", (bw.AttentionMIL,), {})  # a name is no class


RMSPROP = partial(torch.optim.RMSprop, lr=0.01)


def squared(output, targets):  # noqa: ARG001
    return output.logits[0, :, 0] ** 2


# The estimator, what is handed in again, and what a file says that it needs.
CASES = {
    "a factory of encoders": (
        bw.EmbeddingMIL(encoder=Encoder),
        {"encoder": Encoder},
        {"encoder": f"{HERE}.Encoder"},
    ),
    "an encoder": (bw.EmbeddingMIL(encoder=Encoder()), {"encoder": Encoder()}, {"encoder": f"{HERE}.Encoder"}),
    "an encoder of a lambda": (
        bw.AttentionMIL(encoder=lambda: nn.Linear(3, 2)),
        {"encoder": lambda: nn.Linear(3, 2)},
        {"encoder": f"{HERE}.<lambda>"},
    ),
    "a pooling": (bw.InstanceMIL(pooling=Power), {"pooling": Power}, {"pooling": f"{HERE}.Power"}),
    "both": (
        bw.EmbeddingMIL(encoder=Encoder, pooling=Mean),
        {"encoder": Encoder, "pooling": Mean},
        {"encoder": f"{HERE}.Encoder", "pooling": "bagwise.models.pooling.Mean"},
    ),
    "a model": (bw.NeuralMIL(model=Net), {"model": Net}, {"model": f"{HERE}.Net"}),
    "a model with options": (
        bw.NeuralMIL(model=partial(Net, widths=(4, 2))),
        {"model": partial(Net, widths=(4, 2))},
        {"model": f"{HERE}.Net(widths=(4, 2))"},
    ),
    "a model whose options are in the file": (
        bw.NeuralMIL(model=partial(Net, widths=(4, 2))),
        {"model": Net},
        {"model": f"{HERE}.Net(widths=(4, 2))"},
    ),
    "a model that was made": (bw.NeuralMIL(model=Net((3,), 1)), {"model": Net((3,), 1)}, {"model": f"{HERE}.Net"}),
    "a method": (OfNets(width=6), {"method": OfNets}, {"method": f"{HERE}.OfNets"}),
    "a method of answers": (
        Rounded(encoder="identity"),
        {"method": Rounded},
        {"method": f"{HERE}.Rounded"},
    ),
    "a method of a known name": (Twin(encoder="identity"), {"method": Twin}, {"method": f"{HERE}.AttentionMIL"}),
    "an optimizer": (
        bw.NeuralMIL(model=Net, optimizer=RMSPROP, scheduler=torch.optim.lr_scheduler.CosineAnnealingLR),
        {"model": Net, "optimizer": RMSPROP, "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR},
        {
            "model": f"{HERE}.Net",
            "optimizer": "torch.optim.rmsprop.RMSprop(lr=0.01)",
            "scheduler": "torch.optim.lr_scheduler.CosineAnnealingLR",
        },
    ),
    "a loss": (bw.AttentionMIL(encoder="identity", loss=squared), {"loss": squared}, {"loss": f"{HERE}.squared"}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_comes_back_with_the_same_bits_where_its_parts_are_handed_in(make_bags, tmp_path, case):
    (model, parts, needed), bags = CASES[case], make_bags()
    models = fit_ensemble(model.set_params(epochs=1, random_state=0), bags, 2)
    bw.save_models(models, tmp_path)
    assert read_tensors(tmp_path / FILE)[1]["config"]["own"] == needed
    again = bw.load_models(tmp_path, **parts)
    for one, other in zip(again, models, strict=True):
        assert type(one) is type(other)
        np.testing.assert_array_equal(one.predict_proba(bags), other.predict_proba(bags))
        assert one.settings_.epochs == other.settings_.epochs == 1
    bw.save_models(again, tmp_path)  # what was loaded can be saved
    again = bw.load_models(tmp_path, **parts)
    np.testing.assert_array_equal(predict_ensemble(again, bags).members, predict_ensemble(models, bags).members)


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("a loss", "an optimizer")])
def test_what_is_missing_is_named_and_nothing_imported(make_bags, tmp_path, case):
    model, _, needed = CASES[case]
    bw.save_model(model.set_params(epochs=1, random_state=0).fit(make_bags()), tmp_path)
    with pytest.raises(BagwiseError) as caught:
        bw.load_model(tmp_path)
    told = str(caught.value)
    assert all(f"{part} of your own, {name}" in told and f"{part}=" in told for part, name in needed.items())
    assert "\n" not in told


def test_a_name_of_a_module_that_is_not_there_is_only_told(make_bags, tmp_path):
    model, parts, _ = CASES["a model"]
    bw.save_model(model.set_params(epochs=1, random_state=0).fit(make_bags()), tmp_path)
    tensors, description = read_tensors(tmp_path / FILE)
    description["config"]["own"]["model"] = "os.system"
    write_tensors(tmp_path / FILE, tensors, description)
    with pytest.raises(BagwiseError, match=r"a model of your own, os\.system"):
        bw.load_model(tmp_path)
    bw.load_model(tmp_path, **parts)


class Wide(Net):
    def __init__(self, instance_shape, outputs):
        super().__init__(instance_shape, outputs, widths=(9,))


class Fails(Net):
    def __init__(self, *_):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"model": Wide}, r"float32 of shape \(4, 3\), and the model's is float32 of shape \(9, 3\)"),
        ({"model": Fails}, "cannot be made by Fails"),
        ({"model": partial(Net, widths=(4, 4))}, "trained with {}"),
        ({"model": 3}, "must be a class or a function"),
        ({"model": Net, "encoder": Encoder}, "only model of your own: leave encoder= out"),
        ({"model": Net, "method": OfNets}, "only model of your own: leave method= out"),
        ({"encoder": Encoder}, "a model of your own"),
    ],
    ids=str,
)
def test_what_was_not_trained_with_is_refused_in_a_sentence(make_bags, tmp_path, given, told):
    model, _, _ = CASES["a model"]
    bw.save_model(model.set_params(epochs=1, random_state=0).fit(make_bags()), tmp_path)
    with pytest.raises(BagwiseError, match=told) as caught:
        bw.load_model(tmp_path, **given)
    assert "\n" not in str(caught.value)


def test_parts_are_refused_where_none_is_needed(fitted, tmp_path):
    bw.save_model(fitted("attention"), tmp_path)
    with pytest.raises(BagwiseError, match=r"needs nothing of your own: leave encoder= out"):
        bw.load_model(tmp_path, encoder=Encoder)


def test_a_method_is_a_class_of_estimators(make_bags, tmp_path):
    bw.save_model(OfNets(epochs=1, random_state=0).fit(make_bags()), tmp_path)
    with pytest.raises(BagwiseError, match=rf"must be a class that follows bagwise\.NeuralMIL, {HERE}\.OfNets"):
        bw.load_model(tmp_path, method=Net)


@pytest.mark.parametrize(
    ("given", "name"), [({"loss": squared}, "squared"), ({"optimizer": RMSPROP}, "RMSprop")], ids=["loss", "optimizer"]
)
def test_what_is_needed_to_learn_is_not_needed_to_predict(make_bags, tmp_path, given, name):
    bags = make_bags()
    model = bw.AttentionMIL(encoder="identity", epochs=1, random_state=0, **given).fit(bags)
    bw.save_model(model, tmp_path)
    again = bw.load_model(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(bags), model.predict_proba(bags))
    with pytest.raises(BagwiseError, match=rf"learnt with an? {next(iter(given))} of your own, .*{name}"):
        again.fit(bags)
    again = bw.load_model(tmp_path, **given).fit(bags)
    np.testing.assert_array_equal(again.predict_proba(bags), model.predict_proba(bags))


class KeepsMore(Net):
    """What it multiplies with is neither parameter nor buffer."""

    times = 1.0

    def encode(self, instances):
        return super().encode(instances) * self.times


def louder(model):
    model.model_.model.times = 2.0


@pytest.mark.parametrize(
    ("given", "change", "told"),
    [
        (KeepsMore, louder, "would come back with other answers"),
        (partial(Net, widths=np.array([4])), lambda _: None, "nothing that JSON can hold"),
        (Net, lambda model: model.set_params(model=Wide), "could not be loaded again"),
        (Net, lambda model: model.set_params(model=None), "could not be loaded again"),
    ],
    ids=["more than weights", "options", "another model", "no model"],
)
def test_what_cannot_be_kept_is_refused_at_saving(make_bags, tmp_path, given, change, told):
    model = bw.NeuralMIL(model=given, epochs=1, random_state=0).fit(make_bags())
    change(model)
    with pytest.raises(BagwiseError, match=rf"^this NeuralMIL cannot be saved.*{told}"):
        bw.save_model(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_commands_say_what_a_run_needs(make_bags, tmp_path, run):
    model = bw.NeuralMIL(model=Net, epochs=1, random_state=0).fit(make_bags())
    asked = {"data": {"bag": "bag", "label": "label"}}
    write_run(tmp_path / "run", [model], asked)
    (tmp_path / "new.csv").write_text("bag,a,b,c\none,1,2,3\n")
    for command in (["predict"], ["explain", "--out", tmp_path / "out"]):
        done = run(command[0], tmp_path / "run", tmp_path / "new.csv", *command[1:])
        assert done.status != 0
        assert f"a model of your own, {HERE}.Net" in done.told.replace("\n", " ")
        assert "Traceback" not in done.told
    assert json.loads((tmp_path / "run" / "config.json").read_text())["own"] == {"model": f"{HERE}.Net"}
