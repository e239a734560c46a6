"""Methods of a user's own by name: package.module:Class, and the entry points of installed packages."""

import sys

import numpy as np
import pytest
from sklearn.base import is_classifier

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.methods import registry
from bagwise.methods.registry import ENTRY_POINTS, find, is_installed

MODULE = '''
from dataclasses import dataclass

import numpy as np
from bagwise import AttentionMIL
from bagwise.bags import as_bags
from bagwise.methods.base import BagEstimator
from bagwise.parameters import Count


@dataclass(kw_only=True, eq=False, repr=False)
class Small(AttentionMIL):
    """Attention with few units."""

    hidden: Count | None = 4


class Size(BagEstimator):
    """Tells bags apart by their sizes; it has neither a seed nor a positive class."""

    def __init__(self, power: Count = 1):
        self.power = power

    def fit(self, X, y=None):
        bags = as_bags(X, y)
        self.classes_ = np.unique(bags.labels)
        return self

    def predict_proba(self, X):
        sizes = as_bags(X).sizes ** self.power
        positive = sizes / sizes.max()
        return np.stack([1 - positive, positive], axis=1)


class Needy(BagEstimator):
    def __init__(self, needed):
        self.needed = needed


class Nest:
    Small = Small


thing = Small()
number = 3
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module, where the command is run; what it imports is forgotten."""
    before = {*sys.modules}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(registry, "IMPORTED", set())
    (tmp_path / "own_house").mkdir()
    (tmp_path / "own_house/room.py").write_text(MODULE)
    (tmp_path / "own_falls.py").write_text("raise RuntimeError('first line\\nsecond line')")
    (tmp_path / "own_leaves.py").write_text("import sys\nsys.exit(3)")
    (tmp_path / "own_torn.py").write_text("class")
    yield tmp_path
    for name in {*sys.modules} - before:
        if name.startswith("own_"):
            del sys.modules[name]


def install(folder, name, *lines):
    """Make a package known as pip would, with entry points."""
    known = folder / f"{name}-1.0.dist-info"
    known.mkdir()
    (known / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (known / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINTS}]", *lines]) + "\n")


@pytest.mark.usefixtures("here")
def test_a_class_is_found_by_where_it_is_also_in_the_current_directory():
    model = bw.make("own_house.room:Small", epochs=2, random_state=0)
    assert (type(model).__name__, model.hidden, model.epochs) == ("Small", 4, 2)
    assert find("own_house.room:Nest.Small")[0] is type(model)
    assert not is_installed("own_house.room:Small")
    with pytest.raises(BagwiseError, match="the method 'own_house.room:Small' has no parameter 'hiden': did you mean"):
        bw.make("own_house.room:Small", hiden=3)


@pytest.mark.usefixtures("here")
def test_a_method_without_seed_or_positive_class_is_cross_validated(make_bags):
    result = bw.cross_validate(bw.make("own_house.room:Size"), make_bags(), folds=3, n_jobs=1)
    assert result.probabilities.shape[1:] == (24, 2)
    assert is_classifier(bw.make("own_house.room:Size"))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("own_nowhere:Small", r"cannot be imported \(ModuleNotFoundError: No module named 'own_nowhere'\)"),
        ("own_house.cellar:Small", "cannot be imported .*No module named 'own_house.cellar'"),
        ("own_house.room:Large", "cannot be imported .*has no attribute 'Large'"),
        ("own_house.room:", "cannot be imported"),
        (":Small", "cannot be imported"),
        (".room:Small", "cannot be imported"),
        ("own falls/x:Small", "cannot be imported"),
        ("own_falls:Small", r"cannot be imported \(RuntimeError: first line\): see that own_falls:Small is there"),
        ("own_leaves:Small", r"cannot be imported \(SystemExit: 3\)"),
        ("own_torn:Small", "cannot be imported .SyntaxError"),
        ("own_house.room:Nest", "is the class Nest: a method is a class that builds on BagEstimator"),
        ("own_house.room:thing", "is an object of type Small: a method is a class"),
        ("own_house.room:number", "is an object of type int: a method is a class"),
        ("os:system", "is an object of type builtin_function_or_method: a method is a class"),
        ("own_house.room:Needy", r"the method 'own_house.room:Needy' cannot be made: .*needed"),
        ("bagwise.methods.classical.base:ClassicalMIL", "cannot be made: .*abstract"),
        ("small", "there is no method 'small': the methods are mi-SVM, .*, or package.module:Class for your own"),
    ],
)
def test_what_is_no_method_is_refused_in_a_sentence(name, told):
    with pytest.raises(BagwiseError, match=told) as caught:
        bw.make(name)
    assert "\n" not in str(caught.value)


def test_an_installed_package_gives_methods_by_name(here, make_bags):
    sys.path.append(str(here))
    install(
        here, "house", "small = own_house.room:Small", "attention = own_house.room:Small", "broken = own_falls:Small"
    )
    assert is_installed("small")
    assert type(bw.make("small")).__name__ == "Small"
    bags = make_bags()
    assert bw.make("small", epochs=2, random_state=0).fit(bags).predict(bags).shape == (24,)
    assert find("attention") == METHODS["attention"]  # Bagwise's own names are not taken away
    with pytest.raises(BagwiseError, match="method 'broken' cannot be imported .*see that own_falls:Small is there"):
        bw.make("broken")
    with pytest.raises(BagwiseError, match="methods are .*, embedding-sum, .*broken, small, or package.module:Class"):
        bw.make("none")


def test_a_name_of_two_packages_is_refused_with_both(here):
    sys.path.append(str(here))
    install(here, "house", "small = own_house.room:Small")
    install(here, "other", "small = own_house.room:Nest.Small")
    told = "several packages have a method 'small': choose by one of own_house.room:Nest.Small, own_house.room:Small"
    with pytest.raises(BagwiseError, match=told):
        bw.make("small")


@pytest.mark.usefixtures("here")
def test_a_method_of_the_users_own_learns_the_same_by_name_and_by_class(make_bags):
    bags = make_bags()
    by_name = bw.make("own_house.room:Small", epochs=2, random_state=0).fit(bags).predict_proba(bags)
    by_class = bw.AttentionMIL(hidden=4, epochs=2, random_state=0).fit(bags).predict_proba(bags)
    np.testing.assert_array_equal(by_name, by_class)
