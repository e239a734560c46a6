"""A method of the user's own in the commands, and runs that need it: nothing is imported because a file says so."""

import json
import sys

import pandas as pd
import pytest

from bagwise.methods import registry

COLUMNS = ("--bag", "patient", "--label", "diagnosis", "--instance", "cell")
MODULE = """
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

import bagwise as bw
from bagwise.methods.base import BagEstimator
from bagwise.parameters import Count
from bagwise.segments import segment_softmax, segment_weighted_sum

with Path("imported.txt").open("a") as file:
    file.write("once\\n")


class Attending(nn.Module):
    def __init__(self, instance_shape, outputs, width):
        super().__init__()
        self.layer = nn.Linear(*instance_shape, width)
        self.score = nn.Linear(width, 1)
        self.head = nn.Linear(width, outputs)

    def encode(self, instances):
        return self.layer(instances).relu()

    def aggregate(self, embeddings, offsets):
        weights = segment_softmax(self.score(embeddings), offsets)
        return bw.Output(self.head(segment_weighted_sum(weights, embeddings, offsets)), weights[:, 0])


@dataclass(kw_only=True, eq=False, repr=False)
class OneLayer(bw.NeuralMIL):
    width: Count = 8

    def make_model(self):
        return partial(Attending, width=self.width)


@dataclass(kw_only=True, eq=False, repr=False)
class Narrow(bw.AttentionMIL):
    hidden: int | None = 4


class Idle(BagEstimator):
    def fit(self, X, y=None):
        raise RuntimeError("of the user's own")
"""


def forget():
    sys.modules.pop("own_nets", None)


@pytest.fixture
def here(cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(registry, "IMPORTED", set())
    (tmp_path / "own_nets.py").write_text(MODULE)
    cells().drop(columns=["clinic", "x", "y"]).to_csv("cells.csv", index=False)
    yield tmp_path
    forget()


def imported(folder):
    path = folder / "imported.txt"
    return path.exists() and path.unlink() is None


@pytest.mark.parametrize("name", ["OneLayer", "Narrow"])
def test_a_run_is_used_by_whoever_names_its_method_and_imports_nothing_else(run, here, name):
    method = ("--method", f"own_nets:{name}")
    fit = ("fit", "cells.csv", *COLUMNS, *method, "--set", "epochs=2", "--ensemble", 2, "--jobs", 1, "--out", "run")
    done = run(*fit)
    assert done.status == 0, done.told
    assert imported(here)
    config = json.loads((here / "run/config.json").read_text())
    assert config["asked"]["method"] == method[1]
    assert config["own"]["method"] == f"own_nets.{name}"

    forget()
    for asked in (("predict", "run", "cells.csv"), ("explain", "run", "cells.csv", "--out", "no")):
        done = run(*asked)
        assert (done.status, done.told.strip()) == (
            1,
            "bagwise: run was trained with a method of your own, which is imported only where you name it: add"
            f" --method own_nets:{name}",
        )
    assert not imported(here)

    done = run("predict", "run", "cells.csv", *method, "--out", "predictions.csv")
    assert done.status == 0, done.told
    assert len(pd.read_csv("predictions.csv")) == 24
    assert imported(here)
    assert run("explain", "run", "cells.csv", *method, "--out", "explanation").status == 0
    assert (here / "explanation/instances.csv").exists()
    assert run(*fit, "--resume").status == 0

    done = run("predict", "run", "cells.csv", "--method", "own_nets:Other")
    assert done.told.strip() == (
        f"bagwise: run was trained with the method own_nets:{name}, not with own_nets:Other: leave --method out"
    )


def test_what_an_edited_config_names_is_not_imported(run, here):
    fit = ("fit", "cells.csv", *COLUMNS, "--set", "epochs=1", "--jobs", 1, "--out", "run")
    assert run(*fit, "--method", "own_nets:Narrow").status == 0
    (here / "own_evil.py").write_text("from pathlib import Path\nPath('evil.txt').touch()\n")
    config = json.loads((here / "run/config.json").read_text())
    config["asked"]["method"] = "own_evil:Narrow"
    (here / "run/config.json").write_text(json.dumps(config))
    for asked in ((), ("--method", "own_nets:Narrow")):
        assert run("predict", "run", "cells.csv", *asked).status == 1
    assert not (here / "evil.txt").exists()


def test_an_installed_method_needs_no_word_to_be_used(run, here):
    known = here / "nets-1.0.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: nets\nVersion: 1.0\n")
    (known / "entry_points.txt").write_text("[bagwise.methods]\none-layer = own_nets:OneLayer\n")
    sys.path.append(str(here))
    fit = ("fit", "cells.csv", *COLUMNS, "--method", "one-layer", "--set", "epochs=1", "--jobs", 1, "--out", "run")
    done = run(*fit)
    assert done.status == 0, done.told
    done = run("predict", "run", "cells.csv", "--json")
    assert (done.status, len(json.loads(done.out))) == (0, 24)
    sys.path.remove(str(here))
    done = run("predict", "run", "cells.csv")
    assert done.told.strip().endswith("add --method one-layer")


def test_what_cannot_be_kept_or_does_not_learn_is_told_in_a_sentence(run, here):
    done = run("fit", "cells.csv", *COLUMNS, "--method", "own_nets:Idle", "--out", "run")
    assert "own_nets:Idle cannot be kept in a file: fit a neural method" in done.told
    what = ["cells.csv", *COLUMNS, "--method", "own_nets:Idle", "--no-baseline"]
    done = run("evaluate", *what, "--jobs", 1, "--out", "out")
    assert done.told.strip() == (
        "bagwise: unexpected RuntimeError (of the user's own): this is a fault of own_nets:Idle, or else of Bagwise:"
        " BAGWISE_DEBUG=1 shows where it is"
    )
    assert not (here / "run").exists()
