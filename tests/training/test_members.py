"""Members, settings and plans: what they take, and what they refuse in one sentence."""

import re
from dataclasses import FrozenInstanceError, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from bagwise.errors import BagwiseError
from bagwise.models.architecture import Architecture
from bagwise.targets.classes import ClassTarget
from bagwise.training.members import Member, Plan, Settings, fingerprint

TWO = ClassTarget.of([0, 1])

GOOD = Settings("sgd", 0.1, epochs=2)
PLAN = Plan(Architecture("embedding", "max", "identity"), TWO, order_seed=0, scaling="none")


def refusal(make):
    with pytest.raises(BagwiseError) as caught:
        make()
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", -0.1),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("learning_rate", "0.1"),
        ("learning_rate", None),
        ("learning_rate", [0.1]),
        ("epochs", 0),
        ("epochs", -1),
        ("epochs", 1.5),
        ("epochs", float("nan")),
        ("epochs", float("inf")),
        ("epochs", "10"),
        ("epochs", None),
        ("momentum", -0.1),
        ("momentum", 1.0),
        ("momentum", float("nan")),
        ("decay", -1e-4),
        ("decay", float("nan")),
        ("decay", float("inf")),
        ("l2", -1e-4),
        ("l2", float("nan")),
        ("l2", float("inf")),
        ("l2", None),
        ("dropout", -0.1),
        ("dropout", 1.0),
        ("dropout", 1),
        ("dropout", float("nan")),
        ("dropout", "0.5"),
        ("patience", 0),
        ("patience", -3),
        ("patience", 2.5),
        ("patience", float("nan")),
        ("patience", "3"),
        ("warmup", -0.1),
        ("warmup", 1.0),
        ("warmup", None),
        ("scheduler", "linear"),
        ("scheduler", None),
        ("clip_gradient", 0.0),
        ("clip_gradient", float("inf")),
        ("clip_gradient", "1"),
    ],
)
def test_settings_out_of_range_are_refused_by_name_and_value(name, value):
    sentence = refusal(lambda: replace(GOOD, **{name: value}))
    assert name in sentence
    assert repr(value) in sentence
    assert "must be" in sentence


@pytest.mark.parametrize("optimizer", ["SGD", "rmsprop", "", None, 3])
def test_an_unknown_optimizer_is_refused(optimizer):
    assert repr(optimizer) in refusal(lambda: Settings(optimizer, 0.1, epochs=1))


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 1},
        {"learning_rate": np.float32(1e-3)},
        {"epochs": np.int64(3)},
        {"epochs": 1},
        {"momentum": 0},
        {"momentum": 0.999},
        {"decay": 0},
        {"l2": 0},
        {"dropout": 0},
        {"dropout": 0.99},
        {"patience": 1},
        {"patience": np.int32(4)},
        {"patience": None},
        {"warmup": 0.99},
        {"clip_gradient": 1},
        {"clip_gradient": None},
    ],
)
def test_settings_at_the_edge_of_their_range_are_taken(changes):
    ((name, value),) = changes.items()
    assert getattr(replace(GOOD, **changes), name) == value


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(FrozenInstanceError):
        GOOD.epochs = 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"precision": "float16"}, "float16"),
        ({"precision": "double"}, "'float32', 'float64' or 'mixed'"),
        ({"instance_budget": 0}, "instance_budget"),
        ({"instance_budget": -5}, "-5"),
        ({"bags_per_step": 0}, "bags_per_step"),
        ({"bags_per_step": True}, "bags_per_step"),
        ({"chunk": 0}, "chunk"),
        ({"chunk": -1}, "-1"),
        ({"chunk": 2.5}, "chunk"),
        ({"scaling": "standardise"}, "standardise"),
        ({"scaling": None}, "scaling"),
    ],
)
def test_plans_out_of_range_are_refused(changes, told):
    assert told in refusal(lambda: replace(PLAN, **changes))


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("float64", torch.float64), ("mixed", torch.float32)]
)
def test_a_precision_decides_what_parameters_are_stored_in(precision, dtype):
    assert replace(PLAN, precision=precision).dtype == dtype


def test_a_member_needs_training_bags():
    assert "training bags" in refusal(lambda: Member(0, np.zeros(0, np.int64), GOOD))


def test_patience_needs_validation_bags():
    assert "validation" in refusal(lambda: Member(0, np.arange(3), replace(GOOD, patience=2)))


def test_validation_bags_do_not_need_patience():
    assert Member(0, np.arange(3), GOOD, validation=np.array([3])).settings.patience is None


# ---- optimisers and schedulers of the user's own ---------------------------------------------------------------------

OWN = Settings(partial(torch.optim.RMSprop, lr=0.1), None, epochs=2)


@pytest.mark.parametrize(
    ("base", "changes", "told"),
    [
        (OWN, {"learning_rate": 0.1}, "learning_rate is 0.1, and an optimizer of your own has its own"),
        (OWN, {"l2": 0.1}, r"l2 is 0.1.*leave it out, and give it to torch.optim.rmsprop.RMSprop\(lr=0.1\)"),
        (OWN, {"momentum": 0.0}, "momentum is 0.0"),
        (OWN, {"decay": 0.1}, "decay is 0.1"),
        (
            OWN,
            {"scheduler": CosineAnnealingLR, "warmup": 0.1},
            "warmup is 0.1, and a scheduler of your own decides that",
        ),
        (OWN, {"scheduler": "linear"}, "scheduler is 'linear': it must be 'constant', 'cosine' or a function"),
        (OWN, {"optimizer": OWN.optimizer(list(torch.nn.Linear(1, 1).parameters()))}, "optimizer is RMSprop"),
        (
            GOOD,
            {"scheduler": CosineAnnealingLR},
            "CosineAnnealingLR is a scheduler of your own, and the optimizer 'sgd'",
        ),
    ],
)
def test_what_belongs_to_an_optimizer_of_the_users_own_is_not_given_beside_it(base, changes, told):
    assert re.match(rf".*{told}", refusal(lambda: replace(base, **changes)))


def start_of(settings):
    return fingerprint(PLAN, [Member(0, np.arange(3), settings)], {}, b"")


def test_a_fingerprint_tells_settings_apart_and_is_the_same_in_every_process():
    one, again = (replace(OWN, optimizer=partial(torch.optim.RMSprop, lr=0.1)) for _ in range(2))
    assert start_of(one) == start_of(again)
    others = [
        {"optimizer": partial(torch.optim.RMSprop, lr=0.2)},
        {"optimizer": partial(torch.optim.Rprop, lr=0.1)},
        {"scheduler": CosineAnnealingLR},
        {"scheduler": "cosine"},
        {"warmup": 0.1},
        {"clip_gradient": 1.0},
    ]
    assert len({start_of(one), *(start_of(replace(OWN, **changes)) for changes in others)}) == 7


def test_settings_say_in_words_how_parameters_are_updated():
    assert GOOD.told == "SGD, learning rate 0.1, L2 0"
    assert replace(GOOD, optimizer="adamw", l2=0.01, warmup=0.1, scheduler="cosine", clip_gradient=1.0).told == (
        "AdamW, learning rate 0.1, decay of weights 0.01, warm-up over 0.1 of the steps, cosine, gradients clipped at 1"
    )
    assert replace(OWN, scheduler=CosineAnnealingLR).told == (
        "torch.optim.rmsprop.RMSprop(lr=0.1), torch.optim.lr_scheduler.CosineAnnealingLR"
    )
