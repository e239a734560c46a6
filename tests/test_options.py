"""An option is declared once, and is the same in every command that takes it."""

import re
import shlex
from collections import Counter
from dataclasses import dataclass, fields
from inspect import Parameter
from pathlib import Path
from typing import Annotated

import pytest
import typer

from bagwise.cli import commands
from bagwise.cli.options import KNOWN_BUT_OF_LABELS, KNOWN_TO_A_RUN, takes_options
from bagwise.commands.options import (
    Data,
    Evaluation,
    Model,
    Option,
    Options,
    Output,
    OwnMethod,
    Search,
    Training,
    Trust,
    Work,
)
from bagwise.commands.runs import check_asked_the_same
from bagwise.errors import BagwiseError
from bagwise.experiments.options import (
    Assumption,
    Auto,
    Choosing,
    Digits,
    Payments,
    Promises,
    Slides,
    Study,
    Table1,
    Tissue,
)

CLASSES = (Data, Model, Training, Trust, Search, Evaluation, Work, Output)
DECLARED = [one for kind in CLASSES for one in kind.options().values()]
TAKEN = {
    "check": {Data: ()},
    "fit": {Data: (), Model: (), Training: (), Trust: (), Work: ()},
    "auto": {Data: (), Search: (), Trust: (), Output: ()},
    "evaluate": {Data: (), Evaluation: (), Training: (), Trust: (), Work: (), Output: ()},
    "predict": {Data: KNOWN_TO_A_RUN},
    "validate": {Data: KNOWN_BUT_OF_LABELS, Output: ()},
    "explain": {Data: KNOWN_TO_A_RUN, Output: ()},
    "reproduce table1": {Table1: ()},
    "reproduce mil-assumption": {Assumption: ("seed", "data_dir")},
    "reproduce choosing": {Choosing: ("seed", "data_dir")},
    "reproduce auto": {Auto: ()},
    "reproduce slides": {Slides: ("data_dir",)},
    "reproduce payments": {Payments: ("data_dir",)},
    "reproduce trust": {Promises: ()},
    "reproduce mnist-bags": {Digits: ()},
    "reproduce figure4": {Digits: ("methods", "training_bags", "repeats", "jobs")},
    "reproduce table2": {Tissue: ()},
    "reproduce figure5": {Tissue: ("methods", "protocol", "folds", "repeats")},
}
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
# What a run was fitted with may have to be imported.
OF_A_RUN = {"predict", "validate", "explain", "export", "tile"}
# Experiments choose among their methods, and are as long as in the paper.
OWN = {"--method", "--folds", "--repeats", "--epochs", "--trials"}


def walk(command, *path):
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, *path, name)
    if not hasattr(command, "commands"):
        yield path, command


COMMANDS = {" ".join(path): command for path, command in walk(typer.main.get_command(commands.app))}


def parameters(command):
    return {max(one.opts, key=len) if one.opts[0].startswith("-") else one.name: one for one in command.params}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_is_the_same_in_every_command(name):
    for flag, parameter in parameters(COMMANDS[name]).items():
        declared = [one for one in DECLARED if (one.flag or one.name) == flag]
        if name in OF_A_RUN and flag == "--method":
            declared = [Option.of(Parameter("method", Parameter.KEYWORD_ONLY, default=None, annotation=OwnMethod))]
        if not declared or (name.startswith("reproduce") and flag in OWN):
            continue
        default = tuple(parameter.default) if isinstance(parameter.default, list) else parameter.default
        alone = [None if one.default is Parameter.empty else one.default or None for one in declared]
        assert (parameter.help, default or None) in zip((one.help for one in declared), alone, strict=True)
        assert (parameter.opts, parameter.secondary_opts) == ([flag], [])


@pytest.mark.parametrize("name", TAKEN)
def test_every_field_reaches_its_command(name):
    there = {parameter.name for parameter in COMMANDS[name].params}
    for kind, but in TAKEN[name].items():
        assert {field.name for field in fields(kind)} - set(but) == there & {field.name for field in fields(kind)}


def test_no_two_classes_declare_the_same_option():
    assert set(CLASSES) == set(Options.__subclasses__()) - {Sample, Study}
    flags = Counter(one.flag or one.name for one in DECLARED)
    # One method is fitted, several are compared.
    assert {flag: count for flag, count in flags.items() if count > 1} == {"--method": 2}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_explains_all_options_and_has_an_example_that_can_be_called(name):
    command = COMMANDS[name]
    assert command.help
    assert all(parameter.help for parameter in command.params if parameter.name != "help")
    example = shlex.split(command.epilog.removeprefix("Example: bagwise "))
    assert " ".join(example).startswith(name)
    command.make_context(name, example[len(name.split()) :])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_no_option_that_there_is_not(page):
    there = {flag for command in COMMANDS.values() for parameter in command.params for flag in parameter.opts}
    named = set(re.findall(r"(?<![\w-])--[a-zA-Z][\w-]*", page.read_text(encoding="utf-8")))
    others = {"--head", "--port", "--accounts"}  # of Ray, and of examples/make_payments.py
    assert named <= there | {"--help", "--version"} | others


@dataclass(frozen=True)
class Sample(Options):
    place: Annotated[str, "An argument."]
    word: Annotated[str | None, "A word."] = None
    count_of: Annotated[int, "A number."] = 3
    file: Annotated[Path | None, "A path."] = None
    names: Annotated[tuple[str, ...], "Several.", "--name"] = ()
    numbers: Annotated[tuple[int, ...], "Several that are there already.", "--number"] = (1, 2)
    flag: Annotated[bool, "Yes or no."] = False


@pytest.fixture
def told():
    """Call a command that takes all kinds of options, and give what it got."""
    got = []
    app = typer.Typer()

    @app.command()
    @takes_options()
    def command(sample: Sample, own: Annotated[int, "A number of its own."] = 0) -> None:
        got.append((sample, own))

    def call(*argv):
        got.clear()
        app(argv, standalone_mode=False)
        return got[0]

    return call


def test_what_nobody_says_is_the_default_of_the_class(told):
    assert told("here") == (Sample("here"), 0)


def test_what_is_said_arrives_as_the_type_of_its_field(told):
    words = ("--word", "a", "--file", "b/c", "--name", "x", "--name", "y")
    argv = ("here", *words, "--count-of", "4", "--number", "7", "--flag", "--own", "5")
    assert told(*argv) == (Sample("here", "a", 4, Path("b/c"), ("x", "y"), (7,), True), 5)


@pytest.mark.parametrize("argv", ["", "here --no-flag", "--place here", "here --names x", "here --count-of many"])
def test_what_was_not_declared_is_refused(told, argv):
    with pytest.raises(typer.BadParameter.__base__):
        told(*argv.split())


def test_what_an_older_version_did_not_ask_for_was_empty():
    before = {"data": {"data": "a.csv", "coordinates": [], "group": "clinic"}, "seed": 0}
    now = {"data": Data("a.csv", group=("clinic",)).told(), **Training(class_weight=None).told()}
    check_asked_the_same(Path("run/config.json"), before, now)
    for other in (
        {"data": Data("a.csv", bag="b").told()},
        Training(seed=1).told(),
        Training(class_weight=None, epochs=2).told(),
    ):
        with pytest.raises(BagwiseError, match="run was asked for another"):
            check_asked_the_same(Path("run/config.json"), before, {**now, **other})
