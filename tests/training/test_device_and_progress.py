"""Devices, threads, and the progress bar."""

import os
import time

import numpy as np
import pytest
import torch

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.models.architecture import Architecture
from bagwise.targets.classes import ClassTarget
from bagwise.training.device import autocast, one_thread, resolve_device, seed_generator, without_subnormals
from bagwise.training.engine import train
from bagwise.training.members import Member, Plan, Settings
from bagwise.training.progress import counting, progress_bar, watched

TWO = ClassTarget.of([0, 1])

CPU = torch.device("cpu")


@pytest.fixture
def a_training():
    bags = Bags.from_arrays([[[0.0], [1.0]], [[2.0]], [[-1.0]]])
    plan = Plan(Architecture("embedding", "max", "identity"), TWO, order_seed=0, scaling="none")
    members = [Member(seed, np.arange(3), Settings("adam", 0.01, epochs=3)) for seed in range(2)]
    return lambda **options: train(plan, bags, np.array([1, 1, 0]), members, **options)


# ---- devices ---------------------------------------------------------------------------------------------------------


def test_auto_takes_cuda_where_there_is_one():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_cpu_is_always_there():
    assert resolve_device("cpu") == CPU
    assert resolve_device("cpu", "float64") == CPU


@pytest.mark.parametrize(
    "name", ["nonsense", "", "CPU", "cuda:99", "cuda:x", "cpu,cuda", "xla", "hpu", "privateuseone"]
)
def test_a_device_that_is_not_there_is_refused_in_one_sentence(name):
    with pytest.raises(BagwiseError) as caught:
        resolve_device(name)
    assert repr(name) in str(caught.value)
    assert "auto" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_device_that_computes_nothing_is_refused():
    with pytest.raises(BagwiseError, match="meta"):
        resolve_device("meta")


def test_mps_is_refused_in_one_sentence():
    with pytest.raises(BagwiseError, match="'mps' has no double precision.*use 'cpu'"):
        resolve_device("mps")


def test_mixed_precision_on_the_cpu_is_refused_in_one_sentence():
    with pytest.raises(BagwiseError, match="mixed.*CUDA.*float32") as caught:
        resolve_device("cpu", "mixed")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("device", "precision"), [("nonsense", "float32"), ("cpu", "mixed")])
def test_a_training_is_refused_before_it_begins(device, precision, tmp_path):
    bags = Bags.from_arrays([[[0.0]], [[1.0]]])
    architecture = Architecture("embedding", "max", "identity")
    plan = Plan(
        architecture,
        TWO,
        order_seed=0,
        scaling="standardize",
        device=device,
        precision=precision,
    )
    with pytest.raises(BagwiseError):
        train(plan, bags, np.arange(2), [Member(0, np.arange(2), Settings("sgd", 0.1, 1))], checkpoints=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_full_precision_computes_as_it_is():
    with autocast(CPU, "float64"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_dropout_draws_the_same_after_the_same_seed():
    with torch.random.fork_rng(devices=[]):
        seed_generator(2**63 - 1, CPU)
        first = torch.rand(3)
        seed_generator(2**63 - 1, CPU)
        assert torch.equal(torch.rand(3), first)
        seed_generator(0, CPU)
        assert not torch.equal(torch.rand(3), first)


def test_the_number_of_threads_comes_back_even_after_an_error():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), one_thread():  # noqa: PT012
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def half_the_smallest_normal_number():
    return float(torch.tensor(2.0**-126) / 2)


@pytest.mark.parametrize("flushed", [False, True])
def test_subnormal_numbers_come_back_even_after_an_error(flushed):
    torch.set_flush_denormal(flushed)
    try:
        with pytest.raises(KeyError), without_subnormals():  # noqa: PT012
            assert half_the_smallest_normal_number() == 0
            raise KeyError
        assert half_the_smallest_normal_number() == (0 if flushed else 2.0**-127)
    finally:
        torch.set_flush_denormal(False)


def test_a_training_has_no_subnormal_numbers(a_training):
    seen = []
    a_training(on_epoch=lambda _: seen.append(half_the_smallest_normal_number()))
    assert seen
    assert not any(seen)
    assert half_the_smallest_normal_number() == 2.0**-127


# ---- progress --------------------------------------------------------------------------------------------------------


@pytest.fixture
def a_terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.usefixtures("a_terminal")
def test_the_bar_is_shown_when_asked_for(a_training, capsys):
    a_training(verbose=True)
    shown = "".join(capsys.readouterr())
    assert "training" in shown
    assert "6/6" in shown  # two members of three epochs


@pytest.mark.usefixtures("a_terminal")
def test_the_bar_is_hidden_otherwise(a_training, capsys):
    a_training()
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("a_terminal")
def test_the_bar_of_a_resumed_training_counts_what_was_done_before(a_training, capsys, tmp_path):
    a_training(checkpoints=tmp_path)
    a_training(checkpoints=tmp_path, verbose=True)
    assert "6/6" in "".join(capsys.readouterr())


def test_a_bar_that_no_terminal_shows_leaves_no_trace_in_a_pipe(a_training, capsys):
    a_training(verbose=True)
    assert "\x1b" not in "".join(capsys.readouterr())


@pytest.mark.usefixtures("a_terminal")
def test_counters_add_up_while_the_work_goes_on(capsys):
    with progress_bar(total=9, blocks=2, show=True) as counters:
        counters[0].advance(3)
        counters[1].advance(1)
        counters[1].advance(1)
        time.sleep(0.5)
    shown = "".join(capsys.readouterr())
    assert "5/9" in shown
    assert "9/9" not in shown


def test_a_counter_whose_bar_is_gone_counts_nothing():
    with progress_bar(total=1, blocks=1, show=False) as counters:
        pass
    counters[0].advance(1)


def test_the_bar_ends_and_cleans_up_after_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyError), progress_bar(total=1, blocks=1, show=True):  # noqa: PT012
        assert os.listdir(tmp_path)  # noqa: PTH208 - one look
        raise KeyError
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    with progress_bar(total=1, blocks=1, show=True) as counters:  # a second bar can follow
        counters[0].advance(1)


@pytest.mark.usefixtures("a_terminal")
def test_things_are_counted_as_they_are_done(capsys):
    with counting("slide [7] of 9", total=5, show=True) as done:
        done(2)
        done(1)
    out, shown = capsys.readouterr()
    assert out == ""
    assert "slide [7] of 9" in shown
    assert "3/5" in shown


@pytest.mark.parametrize("show", [True, False])
def test_counting_leaves_no_trace_in_a_pipe(capsys, show):
    with counting("slide 7", total=5, show=show) as done:
        done(5)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("a_terminal")
def test_what_is_told_is_shown_with_the_share_that_is_done(capsys):
    with watched(lambda: ("search [1]\nleads: attention\x1b[2J", 0.25), show=True):
        pass
    out, shown = capsys.readouterr()
    assert out == ""
    assert "search [1]" in shown
    assert "leads: attention" in shown
    assert "\x1b[2J" not in shown
    with watched(lambda: ("never asked", 0.5), show=False):
        pass
    assert capsys.readouterr() == ("", "")
