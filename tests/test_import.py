import importlib
import inspect
import json
import pkgutil
import subprocess
import sys

import pytest

import bagwise

# Compiled for a GPU, by what comes with a torch that knows one.
ON_A_GPU = {"bagwise.training.triton_kernels"}
FOUND = {found.name for found in pkgutil.walk_packages(bagwise.__path__, "bagwise.")}
MODULES = sorted({"bagwise", *FOUND} - ON_A_GPU)


def loaded_after(statement):
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(json.loads(done.stdout))


@pytest.mark.slow
def test_loading_every_name_loads_neither_the_command_nor_the_report():
    loaded = loaded_after("from bagwise import *; import bagwise; [getattr(bagwise, name) for name in dir(bagwise)]")
    assert {"torch", "sklearn"} <= loaded
    assert not loaded & {"matplotlib", "jinja2", "typer"}


@pytest.mark.parametrize("name", bagwise.__all__)
def test_every_public_name_can_be_got_and_is_shown(name):
    assert getattr(bagwise, name) is not None
    assert name in dir(bagwise)


def test_the_public_names_are_those_of_the_design():
    design = {"Bag", "Bags", "BagwiseError", "AttentionMIL", "cross_validate", "make", "load_model", "save_model"}
    assert design | {"__version__", "datasets", "METHODS"} <= set(bagwise.__all__)


def test_a_name_that_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = bagwise.nonsense


def own_doc(thing):
    """Give the documentation string that stands in the source, not the one a dataclass makes up or a class inherits."""
    doc = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return None if doc is None or doc.startswith(f"{thing.__name__}(") else doc


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_has_a_documentation_string(module):
    loaded = importlib.import_module(module)
    assert loaded.__doc__, f"{module} has none"
    silent = []
    for name in getattr(loaded, "__all__", []):
        thing = getattr(loaded, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            silent += [] if own_doc(thing) else [name]
        if inspect.isclass(thing) and thing.__module__.startswith("bagwise"):
            methods = {method: value for method, value in vars(thing).items() if not method.startswith("_")}
            silent += [
                f"{name}.{method}"
                for method, value in methods.items()
                if isinstance(value, property | classmethod | staticmethod) or inspect.isfunction(value)
                if not inspect.getdoc(getattr(thing, method))
            ]
    assert not silent


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_calls_public_is_there(module):
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", [])
    assert len(set(names)) == len(names)
    assert all(hasattr(loaded, name) for name in names)


def test_what_needs_a_gpu_is_there_under_its_name():
    assert ON_A_GPU <= FOUND
