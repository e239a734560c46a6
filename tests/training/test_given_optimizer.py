"""Optimisers and schedulers of a user's own: which are taken, which are refused, and that their state comes back."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from bagwise.errors import BagwiseError
from bagwise.training.given_optimizer import GivenOptimizer
from bagwise.training.members import Settings

TOTAL = 10
ADAM = partial(torch.optim.Adam, lr=0.01)
OPTIMIZERS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop", "ASGD"]
SCHEDULERS = {
    "cosine by name": "cosine",
    "cosine": lr_scheduler.CosineAnnealingLR,
    "restarts": lambda optimizer, _: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3),
    "one cycle": lambda optimizer, steps: lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps),
    "cycles": lambda optimizer, _: lr_scheduler.CyclicLR(optimizer, 1e-3, 0.1, cycle_momentum=False),
    "milestones": lambda optimizer, _: lr_scheduler.MultiStepLR(optimizer, [2, 7]),
    "a function": lambda optimizer, steps: lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps),
    "one after the other": lambda optimizer, steps: lr_scheduler.SequentialLR(
        optimizer,
        [
            lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2),
            lr_scheduler.CosineAnnealingLR(optimizer, steps - 2),
        ],
        [2],
    ),
    "one on the other": lambda optimizer, _: lr_scheduler.ChainedScheduler(
        [lr_scheduler.StepLR(optimizer, 2), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    ),
}


def made(settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    return model, GivenOptimizer(model.named_parameters(), settings, TOTAL)


def settings_of(optimizer, scheduler="constant"):
    return Settings(optimizer, None, epochs=1, scheduler=scheduler)


def learn(model, optimizer, steps):
    for _ in range(steps):
        optimizer.forget()
        x = torch.randn(5, 3, generator=torch.Generator().manual_seed(optimizer.steps))
        model(x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [*((partial(getattr(torch.optim, name), lr=1), "constant") for name in OPTIMIZERS)]
    + [(ADAM, scheduler) for scheduler in SCHEDULERS.values()],
    ids=[*OPTIMIZERS, *SCHEDULERS],
)
@pytest.mark.parametrize("before", [1, 5])
def test_what_was_kept_goes_on_to_the_same_bits(optimizer, scheduler, before):
    settings = settings_of(optimizer, scheduler)
    model, whole = made(settings)
    learn(model, whole, before)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    kept = {name: value.clone() for name, value in whole.tensors().items()}
    learn(model, whole, TOTAL - before)
    again, resumed = made(settings)
    again.load_state_dict(weights)
    resumed.load(kept)
    learn(again, resumed, TOTAL - before)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert resumed.tensors().keys() == kept.keys()


class Keeps(torch.optim.SGD):
    """SGD that keeps something besides."""

    def __init__(self, parameters, what):
        super().__init__(parameters, lr=0.1)
        self.what = what

    def step(self):
        super().step()
        for value in self.param_groups[0]["params"]:
            self.state[value]["own"] = self.what


class Asks(lr_scheduler.StepLR):
    def step(self, loss=None):
        if self.last_epoch >= 0 and loss is None:
            raise RuntimeError("how large is the loss?\nno one knows")
        super().step()


@pytest.mark.parametrize(
    ("optimizer", "scheduler", "told"),
    [
        (torch.optim.LBFGS, "constant", r"torch.optim.lbfgs.LBFGS could not take a step.*closure"),
        (torch.optim.SparseAdam, "constant", "does not support dense gradients"),
        (lambda parameters: parameters, "constant", "made a list: it must make a torch.optim.Optimizer"),
        (lambda: None, "constant", "takes 0 positional arguments"),
        (ADAM, lambda *_: 3, "made a int: it must make a torch.optim.lr_scheduler.LRScheduler"),
        (ADAM, lambda optimizer, _: lr_scheduler.ReduceLROnPlateau(optimizer), "could not take a step.*metrics"),
        (ADAM, lambda optimizer, _: Asks(optimizer, 2), r"could not take a step.*how large is the loss\?\)"),
        (partial(Keeps, what={1, 2}), "constant", r"keeps optimizer.state.0.own, a set: only tensors and numbers"),
        (partial(Keeps, what=torch.tensor(0.1, dtype=torch.float64)), "constant", "does not come back from its state"),
    ],
)
def test_what_cannot_train_or_be_kept_is_refused_in_one_sentence_before_it_trains(optimizer, scheduler, told):
    with pytest.raises(BagwiseError, match=told) as caught:
        made(settings_of(optimizer, scheduler))
    assert "\n" not in str(caught.value)


def test_state_that_takes_another_form_later_is_refused_when_it_is_kept():
    class Later(torch.optim.SGD):
        def step(self):
            super().step()
            state = self.state[self.param_groups[0]["params"][0]]
            state[f"after {len(state)}"] = 1.0

    model, optimizer = made(settings_of(partial(Later, lr=0.1)))
    learn(model, optimizer, 1)
    optimizer.tensors()
    learn(model, optimizer, 1)
    with pytest.raises(BagwiseError, match="keeps other things now than after its first step"):
        optimizer.tensors()


def test_a_rehearsal_leaves_the_parameters_alone():
    torch.manual_seed(0)
    before = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    model, optimizer = made(settings_of(partial(torch.optim.AdamW, lr=0.1, weight_decay=0.5)))
    assert optimizer.steps == 0
    assert all(torch.equal(*pair) for pair in zip(before.parameters(), model.parameters(), strict=True))
