import itertools
from pathlib import Path

import numpy as np
import pytest

from bagwise import BagwiseError
from bagwise.classes import NEGATIVE, Classes, positive_of

# The positive class first; the alphabet has each of these pairs the other way round, or either way.
PAIRS = [
    ("tumour", "normal"),
    ("cancer", "normal"),
    ("Abnormal", "NORMAL"),
    ("malignant", "benign"),
    ("MSI", "MSS"),
    ("MSI-H", "MSI-L"),
    ("dMMR", "pMMR"),
    ("MMR deficient", "MMR proficient"),
    ("mutated", "wildtype"),
    ("KRAS mutant", "KRAS wild-type"),
    ("active", "inactive"),
    ("yes", "no"),
    ("true", "False"),
    ("fracture", "no_fracture"),
    ("infected", "not infected"),
    ("musk", "non-musk"),
    ("invasive", "noninvasive"),
    ("tumour", "tumour-free"),
    ("Carcinoma", "No finding"),
    ("high-grade", "low-grade"),
    ("ER+", "ER-"),
    ("+", "-"),
    ("1", "0"),
    ("1", "-1"),
    ("AD", "HC"),
    ("cancer tissue", "normal tissue"),
    (" case ", " Control "),
    (1, 0),
    (1, -1),
    (0, -1),
    (2.0, 1.0),
    (True, False),
]


@pytest.mark.parametrize(("positive", "negative"), PAIRS)
def test_a_word_for_what_is_normal_is_negative_and_the_larger_number_is_positive(positive, negative):
    classes = np.unique([positive, negative])
    assert positive_of(classes) == positive
    assert positive_of(classes.astype(object)) == positive


def test_where_no_word_or_each_word_says_it_the_last_is_positive():
    for two in (["cat", "dog"], ["normalised", "typo"], ["benign", "normal"], ["abnormality", "normality"]):
        assert positive_of(two) == two[1]
    assert positive_of(["a", "b", "normal"]) is None


def test_the_documentation_has_the_list():
    page = Path(__file__).parents[1] / "docs" / "your-data.md"
    quoted = [
        line.removeprefix("> ") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("> ")
    ]
    words = " ".join(quoted).split(", ")
    assert sorted(words) == sorted(NEGATIVE)


def test_the_list_is_written_as_it_is_compared():
    for word in NEGATIVE:
        assert positive_of(sorted(["zzz", word.upper()])) == "zzz", word
        assert positive_of(sorted(["aaa", word.replace(" ", "_")])) == "aaa", word


@pytest.mark.parametrize(
    ("classes", "given", "meant"),
    [
        (["cat", "dog"], "cat", "cat"),
        (["cat", "dog"], " cat ", "cat"),
        ([0, 1], 0, 0),
        ([0, 1], "0", 0),
        ([0.0, 1.0], "0", 0.0),
        ([0, 1], "0.0", 0),
        ([False, True], "False", False),
        ([False, True], 0, False),
        (["0", "1"], 0, "0"),
    ],
)
def test_a_class_may_be_named_as_it_is_or_as_it_is_written(classes, given, meant):
    found = positive_of(np.array(classes), given)
    assert found == meant


@pytest.mark.parametrize(
    ("classes", "given", "sentence"),
    [
        (["cat", "dog"], "Cat", "positive is 'Cat', and the classes are cat, dog: name one of them"),
        (["cat", "dog"], ["cat"], "name one of them"),
        ([0, 1], 2, "positive is 2, and the classes are 0, 1"),
        (["0", "1"], 0.0, "name one of them"),
        (["a", "b", "c"], "a", r"there are 3 classes \(a, b, c\): leave it out"),
    ],
)
def test_what_names_no_class_is_refused(classes, given, sentence):
    with pytest.raises(BagwiseError, match=sentence):
        positive_of(np.array(classes), given)


@pytest.mark.parametrize("names", [("cancer", "normal"), ("normal", "tumour"), ("a", "b", "c")])
def test_learning_has_its_order_and_answers_have_theirs(names):
    labels = np.array(list(itertools.islice(itertools.cycle(names), 7)))
    classes = Classes.of(labels)
    codes = classes.codes(labels)
    np.testing.assert_array_equal(classes.in_learning[codes], labels)
    certain = np.eye(len(names))[codes]
    np.testing.assert_array_equal(classes.predicted(classes.reordered(certain)), labels)
    if len(names) == 2:
        assert classes.in_learning.tolist()[0] == "normal"
        assert names[classes.column] == classes.positive == classes.in_learning[1]


def test_of_two_classes_alike_the_negative_one_is_predicted():
    half = np.full((1, 2), 0.5)
    assert [Classes.of(names).predicted(half)[0] for names in (["cancer", "normal"], ["normal", "tumour"])] == [
        "normal",
        "normal",
    ]
