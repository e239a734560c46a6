from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from bagwise import Bags, BagwiseError
from bagwise.datasets import (
    KNOWN_ANSWERS,
    evidence,
    known_answer_bags,
    load_digits,
    shifted_mean_bags,
    shifted_mean_posterior,
)
from bagwise.datasets.problems import PROBLEMS, Drawn
from bagwise.datasets.strokes import strokes

SEEDS = st.integers(0, 2**32 - 1)


def drawn_by(name, count, seed=0, **options):
    return known_answer_bags(name, count, seed=seed, source="small", **options)


def four_bags(digits, _):
    label = {(False, False): 0, (True, False): 1, (False, True): 2, (True, True): 3}[8 in digits, 9 in digits]
    says = {8: [-1, 1, -1, 1], 9: [-1, -1, 1, 1]}
    return label, [says.get(digit, [0, 0, 0, 0]) for digit in digits]


def pos_neg(digits, _):
    often = Counter(digits)
    label = often[4] + often[6] + often[8] > often[5] + often[7] + often[9]
    signs = [(digit in (4, 6, 8)) - (digit in (5, 7, 9)) for digit in digits]
    return int(label), [[-sign, sign] for sign in signs]


def adjacent_pairs(digits, _):
    pairs = [(low, low + 1) for low in range(4) if low in digits and low + 1 in digits]
    paired = {digit for pair in pairs for digit in pair}
    return int(bool(pairs)), [[-1, 1] if digit in paired else [0, 0] for digit in digits]


def side_by_side(digits, places):
    (eight,), (nine,) = ([n for n, digit in enumerate(digits) if digit == key] for key in (8, 9))
    (x, y), (u, v) = places[eight], places[nine]
    touch = (x, y) in {(u - 1, v), (u + 1, v), (u, v - 1), (u, v + 1)}
    return int(touch), [[-1, 1] if touch and n in (eight, nine) else [0, 0] for n in range(len(digits))]


def four_digits(digits, _):
    kinds = set(digits) & {6, 7, 8, 9}
    assert len(kinds) == 1
    label = kinds.pop() - 6
    says = [1 if column == label else -1 for column in range(4)]
    return label, [says if digit >= 6 else [0] * 4 for digit in digits]


def shifted_mean(matters, _):
    return int(1 in matters), [[-1, 1] if one else [0, 0] for one in matters]


REFERENCES = {
    one.__name__: one for one in (four_bags, pos_neg, adjacent_pairs, side_by_side, four_digits, shifted_mean)
}


def test_every_problem_has_a_reference():
    assert {*REFERENCES} == {*KNOWN_ANSWERS}


@pytest.mark.parametrize("name", KNOWN_ANSWERS)
@settings(max_examples=8, deadline=None)
@given(SEEDS, st.sampled_from(["train", "validation", "test"]), st.integers(5, 33))
def test_labels_and_evidence_follow_from_the_digits(name, seed, part, size):
    bags = drawn_by(name, 12, seed, part=part, size=size)
    expected = [
        REFERENCES[name](bag.instance_labels.tolist(), None if bag.coordinates is None else bag.coordinates.tolist())
        for bag in bags
    ]
    assert bags.labels.tolist() == [label for label, _ in expected]
    assert evidence(name, bags).tolist() == [row for _, rows in expected for row in rows]
    some = np.array([7, 2, 3])
    assert evidence(name, bags[some]).tolist() == [row for bag in some for row in expected[bag][1]]
    if name != "four_digits":
        assert set(bags.sizes) == {size}


@pytest.mark.parametrize("name", ["four_bags", "pos_neg", "adjacent_pairs"])
def test_rules_of_few_digits_are_the_plain_ones(name):
    for digits in product(range(10), repeat=3):
        judged = PROBLEMS[name].judge(Drawn(np.array(digits)))
        assert (judged.label, judged.evidence.tolist()) == REFERENCES[name](digits, None)


def test_classes_are_as_frequent_as_kinds_of_digits_make_them():
    kinds = [subset for size in range(1, 11) for subset in combinations(range(10), size)]
    without = {
        keys: np.mean([(1 - len({*keys} & {*one}) / len(one)) ** 30 for one in kinds]) for keys in ((8,), (8, 9))
    }
    alone = without[8,] - without[8, 9]
    expected = np.array([without[8, 9], alone, alone, 1 - without[8, 9] - 2 * alone])
    rng, problem = np.random.default_rng(1), PROBLEMS["four_bags"]
    labels = [problem.judge(problem.draw(rng, bag, 30)).label for bag in range(4000)]
    found = np.bincount(labels, minlength=4) / 4000
    assert np.abs(found - expected).max() < 4 * np.sqrt(0.25 * 0.75 / 4000)


@pytest.mark.parametrize("name", ["side_by_side", "four_digits", "shifted_mean"])
def test_classes_of_our_own_problems_come_in_turn(name):
    counts = np.bincount(drawn_by(name, 40).labels)
    assert set(counts) == {40 // len(counts)}


def test_side_by_side_is_told_by_places_alone():
    bags = drawn_by("side_by_side", 3000)
    often = np.array([np.bincount(bag.instance_labels, minlength=10) for bag in bags])
    assert (often[:, 8:] == 1).all()
    one, other = (often[bags.labels == label, :8].mean(axis=0) for label in (0, 1))
    assert np.abs(one - other).max() < 5 * np.sqrt(2 * 3.5 / 1500)
    first = np.array(
        [np.flatnonzero(bag.instance_labels == 8)[0] - np.flatnonzero(bag.instance_labels == 9)[0] for bag in bags]
    )
    near = np.abs(first) == 1
    assert abs(near[bags.labels == 0].mean() - near[bags.labels == 1].mean()) < 0.04  # nor by the order
    assert all(len(np.unique(bag.coordinates, axis=0)) == 30 for bag in bags[:20])


def seen(bags):
    return {image.tobytes() for image in np.asarray(bags.instances)}


def test_no_image_is_in_bags_of_two_parts():
    parts = [seen(drawn_by("four_bags", 300, pixels=True, part=part)) for part in ("train", "validation", "test")]
    assert [bool(one & other) for one, other in combinations(parts, 2)] == [False] * 3
    digits = load_digits("small")
    assert parts[0] | parts[1] <= {image.tobytes() for image in digits.train_images}
    assert parts[2] <= {image.tobytes() for image in digits.test_images}


def test_an_image_shows_the_digit_and_comes_again_only_after_the_others():
    digits, bags = load_digits("small"), drawn_by("pos_neg", 150, pixels=True, part="test")
    which = {image.tobytes(): number for number, image in enumerate(digits.test_images)}
    drawn = np.array([which[image.tobytes()] for image in bags.instances])
    assert (digits.test_labels[drawn] == bags.instance_labels).all()
    for digit in range(10):
        often = np.bincount(drawn, minlength=1000)[digits.test_labels == digit]
        assert np.ptp(often) <= 1


def test_instances_are_strokes_of_the_images():
    shown, described = (drawn_by("adjacent_pairs", 10, 3, pixels=pixels) for pixels in (True, False))
    np.testing.assert_array_equal(strokes(shown.instances), described.instances)
    np.testing.assert_array_equal(shown.labels, described.labels)


def plain_strokes(image):
    bright, sums = np.sqrt(image / 255), np.zeros((4, 4, 8))
    down, right = np.gradient(bright)
    for row, column in np.ndindex(28, 28):
        turn = np.arctan2(down[row, column], right[row, column]) / (2 * np.pi) * 8 % 8
        for direction in range(8):
            distance = min((turn - direction) % 8, (direction - turn) % 8)
            sums[row // 7, column // 7, direction] += max(0, 1 - distance) * np.hypot(
                down[row, column], right[row, column]
            )
    roots = np.sqrt(sums.ravel())
    return roots / np.linalg.norm(roots)


def test_strokes_are_histograms_of_slopes():
    images = load_digits("small").test_images[::97]
    expected = [plain_strokes(image.astype(float)) for image in images]
    np.testing.assert_allclose(strokes(images), expected, atol=2e-6)
    assert not strokes(np.zeros((2, 28, 28))).any()


def test_strokes_show_which_digit_it_is():
    digits = load_digits("small")
    learnt = LogisticRegression(C=10, max_iter=300).fit(strokes(digits.train_images[::2]), digits.train_labels[::2])
    assert learnt.score(strokes(digits.test_images), digits.test_labels) > 0.93


def plain_posterior(bag, run, shifted, shift, order):
    height = norm.pdf(bag.instances[:, :shifted], shift).prod(axis=1) / norm.pdf(bag.instances[:, :shifted]).prod(
        axis=1
    )
    size = len(bag)
    chosen = [range(u, u + run) for u in range(size - run + 1)] if order else list(combinations(range(size), run))
    odds = np.mean([np.prod([height[j] for j in one]) for one in chosen])
    return odds / (1 + odds)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 3), st.floats(-2, 3), st.booleans())
def test_the_posterior_is_bayes_rule(seed, run, shifted, shift, order):
    given_ = {"run": run, "shifted": shifted, "shift": shift}
    bags = shifted_mean_bags(6, features=4, sizes=(4, 9), seed=seed, **given_)
    expected = [plain_posterior(bag, order=order, **given_) for bag in bags]
    np.testing.assert_allclose(shifted_mean_posterior(bags, order=order, **given_), expected, rtol=1e-9)


def test_posteriors_hold_their_word_and_nobody_beats_them():
    bags = shifted_mean_bags(12_000, seed=5)
    shown = bags.instances[:, 0].reshape(12_000, 30)
    told = {order: shifted_mean_posterior(bags, order=order) for order in (True, False)}
    for said in told.values():
        for low in np.arange(0, 1, 0.2):
            here = (said >= low) & (said <= low + 0.2)
            assert abs(bags.labels[here].mean() - said[here].mean()) < 4 * np.sqrt(0.25 / here.sum())
    auc = {order: roc_auc_score(bags.labels, said) for order, said in told.items()}
    sets = [shown.max(axis=1), shown.mean(axis=1), np.exp(2 * shown).sum(axis=1), np.sort(shown)[:, -3:].sum(axis=1)]
    rows = [shown[:, :-2] + shown[:, 1:-1] + shown[:, 2:]]
    assert auc[True] == pytest.approx(0.947, abs=0.006)
    assert auc[False] == pytest.approx(0.899, abs=0.009)
    assert max(roc_auc_score(bags.labels, one) for one in sets) < auc[False]
    assert auc[False] < roc_auc_score(bags.labels, rows[0].max(axis=1)) < auc[True]


def test_extreme_shifts_leave_a_probability():
    bags = shifted_mean_bags(40, features=400, shifted=400, shift=5.0)
    for order in (True, False):
        said = shifted_mean_posterior(bags, shifted=400, shift=5.0, order=order)
        np.testing.assert_array_equal(said > 0.5, bags.labels == 1)


@pytest.mark.parametrize("name", KNOWN_ANSWERS)
def test_a_name_gives_one_draw_without_an_image_twice(name, data_directory, published):
    bags = published(name)
    again = known_answer_bags(name, len(bags), directory=data_directory)
    np.testing.assert_array_equal(bags.instances, again.instances)
    np.testing.assert_array_equal(bags.labels, again.labels)
    assert len(seen(bags)) == len(bags.instances)  # so no image is in two folds
    assert np.bincount(bags.labels).min() >= 0.2 * len(bags)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: known_answer_bags("five_bags"), "there is no problem 'five_bags': choose one of four_bags"),
        (lambda: known_answer_bags("four_bags", 0), "count is 0"),
        (lambda: known_answer_bags("four_bags", part="fresh"), "part is 'fresh': it must be train, validation or test"),
        (lambda: known_answer_bags("four_bags", size=2), "size is 2"),
        (lambda: known_answer_bags("four_bags", seed=-1), "the seed is -1"),
        (lambda: evidence("four_bags", Bags.from_arrays([[[1.0]]])), "do not say what their instances are"),
        (lambda: evidence("nothing", Bags.from_arrays([[[1.0]]])), "there is no problem 'nothing'"),
        (lambda: evidence("side_by_side", drawn_by("four_bags", 1)), "do not say where their instances are"),
        (lambda: shifted_mean_bags(sizes=(2, 30)), "sizes is"),
        (lambda: shifted_mean_bags(shifted=21), "shifted is 21"),
    ],
)
def test_what_will_not_do_is_refused_in_a_sentence(call, says):
    with pytest.raises(BagwiseError, match=says):
        call()
