import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bagwise import Bags, BagwiseError
from bagwise.datasets import bags_from_images, load_digits, mnist_bags, slides_of_known_hazard
from bagwise.survival import concordance

SEEDS = st.integers(0, 2**32 - 1)


def numbered(labels):
    """Give images that are their own number, so that a bag says which it drew."""
    return np.arange(len(labels)).reshape(-1, 1, 1) * np.ones((1, 2, 3), dtype=int)


def drawn(bags):
    return bags.instances[:, 0, 0]


def digits(count=1000):
    return np.arange(count) % 10


@st.composite
def questions(draw):
    labels = np.array(["a", "b", "t", "c"])[draw(st.lists(st.integers(0, 3), min_size=2, max_size=30))]
    labels[:2] = draw(st.permutations(["t", "a"]))
    options = {
        "count": draw(st.integers(1, 20)),
        "mean_size": draw(st.floats(0, 15)),
        "variance": draw(st.floats(0, 20)),
        "seed": draw(SEEDS),
    }
    return labels, options


@settings(max_examples=60)
@given(questions())
def test_a_bag_is_positive_if_and_only_if_it_holds_the_target(question):
    labels, options = question
    bags = bags_from_images(numbered(labels), labels, target="t", **options)
    assert isinstance(bags, Bags)
    assert [bag.label for bag in bags] == [int("t" in bag.instance_labels) for bag in bags]


@settings(max_examples=60)
@given(questions())
def test_positive_and_negative_bags_alternate_and_none_is_empty(question):
    labels, options = question
    bags = bags_from_images(numbered(labels), labels, target="t", **options)
    assert bags.labels.tolist() == [1 - n % 2 for n in range(options["count"])]
    assert (bags.sizes >= 1).all()
    assert bags.sizes.sum() == len(bags.instances) == len(bags.instance_labels)


@settings(max_examples=60)
@given(questions())
def test_every_instance_is_an_image_with_the_label_it_had(question):
    labels, options = question
    images = numbered(labels)
    bags = bags_from_images(images, labels, target="t", **options)
    np.testing.assert_array_equal(labels[drawn(bags)], bags.instance_labels)
    np.testing.assert_array_equal(bags.instances, images[drawn(bags)])
    assert bags.instances.dtype == images.dtype


@settings(max_examples=60)
@given(questions())
def test_the_same_seed_draws_the_same_bags(question):
    labels, options = question
    one, again = (bags_from_images(numbered(labels), labels, target="t", **options) for _ in range(2))
    np.testing.assert_array_equal(one.instances, again.instances)
    np.testing.assert_array_equal(one.offsets, again.offsets)


def test_another_seed_draws_other_sizes_and_images():
    one, other = (bags_from_images(numbered(digits()), digits(), seed=seed) for seed in (0, 1))
    assert (one.sizes != other.sizes).mean() > 0.5
    assert len(set(drawn(one)) & set(drawn(other))) < len(set(drawn(one)))


def test_the_global_random_state_is_neither_read_nor_changed():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    one = bags_from_images(numbered(digits()), digits())
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(1)
    np.testing.assert_array_equal(bags_from_images(numbered(digits()), digits()).instances, one.instances)


# ---- how sizes and images are distributed -----------------------------------------------------------------


@pytest.fixture(scope="module")
def many():
    return bags_from_images(numbered(digits()), digits(), count=6000, mean_size=10, variance=2, seed=5)


@pytest.mark.parametrize(("mean_size", "variance"), [(10, 2), (50, 10), (100, 20), (20, 0.5), (30, 100)])
def test_sizes_have_the_mean_and_variance_asked_for(mean_size, variance):
    sizes = bags_from_images(
        numbered(digits()), digits(), count=3000, mean_size=mean_size, variance=variance, seed=1
    ).sizes
    expected = variance + 1 / 12  # rounding adds the variance of what is rounded off
    assert sizes.mean() == pytest.approx(mean_size, abs=4 * np.sqrt(expected / 3000))
    assert sizes.var() == pytest.approx(expected, rel=4 * np.sqrt(2 / 3000))


def test_without_variance_all_bags_are_of_one_size():
    assert set(bags_from_images(numbered(digits()), digits(), mean_size=7, variance=0).sizes) == {7}


@pytest.mark.parametrize(("mean_size", "variance"), [(10, 2), (2, 4), (1, 0.5)])
def test_size_is_no_cue_to_the_label(mean_size, variance):
    """Small bags too: a positive bag that missed the target is drawn again, but not at another size."""
    bags = bags_from_images(numbered(digits()), digits(), count=6000, mean_size=mean_size, variance=variance, seed=2)
    positive, negative = bags.sizes[bags.labels == 1], bags.sizes[bags.labels == 0]
    largest = bags.sizes.max() + 1
    table = np.array([np.bincount(sizes, minlength=largest) for sizes in (positive, negative)])
    table = table[:, table.sum(axis=0) >= 20]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_positive_bags_hold_as_many_targets_as_random_draws_that_hold_one(many):
    positive = [bag for bag in many if bag.label == 1]
    found = np.array([(bag.instance_labels == 9).sum() for bag in positive])
    sizes = np.array([len(bag) for bag in positive])
    expected = 0.1 * sizes / (1 - 0.9**sizes)
    assert found.mean() == pytest.approx(expected.mean(), abs=4 * found.std() / np.sqrt(len(found)))
    assert stats.ks_2samp(found, resampled(sizes), method="asymp").pvalue > 1e-3


def resampled(sizes):
    rng = np.random.default_rng(0)
    counts = rng.binomial(sizes, 0.1)
    while (counts == 0).any():
        counts[counts == 0] = rng.binomial(sizes[counts == 0], 0.1)
    return counts


def test_the_target_stands_anywhere_in_a_bag(many):
    firsts = [bool(bag.instance_labels[0] == 9) for bag in many if bag.label == 1]
    lasts = [bool(bag.instance_labels[-1] == 9) for bag in many if bag.label == 1]
    assert abs(np.mean(firsts) - np.mean(lasts)) < 0.03


def test_every_image_may_be_drawn(many):
    counts = np.bincount(drawn(many), minlength=1000)
    assert counts.min() > 0
    others = counts[digits() != 9]
    assert stats.chisquare(others).pvalue > 1e-3
    assert stats.chisquare(counts[digits() == 9]).pvalue > 1e-3


def test_a_bag_of_one_image_is_positive_by_it_alone():
    bags = bags_from_images(numbered(digits()), digits(), mean_size=1, variance=0, count=20)
    assert bags.sizes.tolist() == [1] * 20
    assert (bags.instance_labels[::2] == 9).all()
    assert (bags.instance_labels[1::2] != 9).all()


def test_a_target_of_one_image_among_many_is_found():
    labels = np.arange(500)
    bags = bags_from_images(numbered(labels), labels, target=3, count=10)
    assert all(3 in bag.instance_labels for bag in bags if bag.label == 1)


# ---- what may be given ------------------------------------------------------------------------------------


def test_images_and_labels_may_be_lists():
    bags = bags_from_images([[[1.0]], [[2.0]]], ["cat", "dog"], target="dog", count=6)
    assert set(bags.instance_labels) == {"cat", "dog"}
    np.testing.assert_array_equal(bags.instances[:, 0, 0] == 2, bags.instance_labels == "dog")


def test_images_in_colour_and_vectors_keep_their_shape():
    assert bags_from_images(np.zeros((20, 8, 8, 3), np.uint8), digits(20)).instance_shape == (8, 8, 3)
    assert bags_from_images(np.zeros((20, 5), np.float32), digits(20)).instances.dtype == np.float32


def test_what_is_given_is_not_changed():
    images, labels = numbered(digits()), digits()
    bags_from_images(images, labels)
    np.testing.assert_array_equal(images, numbered(digits()))
    np.testing.assert_array_equal(labels, digits())


@pytest.mark.parametrize(("target", "found"), [(10, 0), ("9", 0), (None, 0)])
def test_images_without_the_target_are_refused(target, found):
    with pytest.raises(BagwiseError, match=f"{found} of 50 images show {target!r}: some must, and some must not"):
        bags_from_images(numbered(digits(50)), digits(50), target=target)


def test_images_of_the_target_alone_are_refused():
    with pytest.raises(BagwiseError, match="5 of 5 images show 9: some must, and some must not"):
        bags_from_images(numbered([9] * 5), np.full(5, 9))


def test_no_images_are_refused():
    with pytest.raises(BagwiseError, match="images"):
        bags_from_images(np.zeros((0, 28, 28)), np.zeros(0))


@pytest.mark.parametrize("labels", [digits(49), digits(51), digits(50).reshape(5, 10)], ids=["few", "many", "table"])
def test_labels_that_are_not_one_an_image_are_refused(labels):
    with pytest.raises(BagwiseError, match="labels"):
        bags_from_images(numbered(digits(50)), labels, count=100)


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": -2},
        {"count": 2.5},
        {"variance": -1},
        {"variance": np.nan},
        {"mean_size": np.nan},
        {"mean_size": np.inf},
        {"seed": -1},
    ],
    ids=str,
)
def test_a_parameter_that_will_not_do_is_refused_in_a_sentence(wrong):
    with pytest.raises(BagwiseError):
        bags_from_images(numbered(digits(50)), digits(50), **wrong)


# ---- several targets, random labels, the authors' spread ------------------------------------------------------


def highest_target(bag, targets):
    return max((place + 1 for place, target in enumerate(targets) if target in bag.instance_labels), default=0)


@settings(max_examples=60)
@given(st.permutations(range(10)), st.integers(1, 4), st.sampled_from(["alternate", None]), SEEDS)
def test_of_several_targets_the_last_in_the_list_that_a_bag_holds_is_its_label(order, count, balance, seed):
    targets = order[:count]
    options = {"balance": balance, "mean_size": 3, "count": 12, "seed": seed}
    bags = bags_from_images(numbered(digits()), digits(), target=targets, **options)
    assert bags.labels.tolist() == [highest_target(bag, targets) for bag in bags]
    if balance == "alternate":
        assert bags.labels.tolist() == [count - n % (count + 1) for n in range(12)]


def test_a_list_of_one_target_is_that_target():
    one, other = (bags_from_images(numbered(digits()), digits(), target=target, seed=4) for target in (3, [3]))
    np.testing.assert_array_equal(one.instances, other.instances)
    np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.parametrize(("mean_size", "variance", "share"), [(10, 2, 0.65), (50, 10, 0.995), (1, 0, 0.1)])
def test_random_draws_make_the_share_of_positive_bags_that_chance_makes(mean_size, variance, share):
    options = {"mean_size": mean_size, "variance": variance, "count": 4000, "balance": None, "seed": 1}
    bags = bags_from_images(numbered(digits()), digits(), **options)
    assert bags.labels.mean() == pytest.approx(share, abs=0.03 if share < 0.9 else 0.005)
    sizes = bags.sizes
    if variance and share < 0.9:  # a larger bag is likelier to hold a nine, and that is as it should be
        assert sizes[bags.labels == 1].mean() > sizes[bags.labels == 0].mean()


def test_the_authors_spread_is_a_standard_deviation_and_sizes_are_cut_down():
    options = {"mean_size": 10, "variance": 2, "count": 20_000, "seed": 3}
    by_variance = bags_from_images(numbered(digits()), digits(), **options).sizes
    by_deviation = bags_from_images(numbered(digits()), digits(), spread="std", **options).sizes
    # Rounding adds a twelfth to the variance.
    assert (by_variance.mean(), by_variance.var()) == pytest.approx((10, 2 + 1 / 12), rel=0.02)
    assert (by_deviation.mean(), by_deviation.var()) == pytest.approx((9.5, 4 + 1 / 12), rel=0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"spread": "sd"}, "spread is 'sd': it must be 'variance' or 'std'"),
        ({"balance": "even"}, "balance is 'even': it must be 'alternate' or None"),
        ({"target": []}, "target is an empty list"),
        ({"target": [3, 3]}, "the target 3 is given twice"),
        ({"target": [3, 11]}, "0 of 50 images show 11"),
        ({"target": list(range(10))}, "all images show one of the targets"),
    ],
)
def test_what_cannot_be_drawn_is_said(wrong, message):
    with pytest.raises(BagwiseError, match=message):
        bags_from_images(numbered(digits(50)), digits(50), **wrong)


# ---- MNIST-bags -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    return load_digits("small")


def pictures(images):
    return {image.tobytes() for image in images}


@pytest.mark.parametrize("balance", ["alternate", None])
def test_training_and_test_bags_share_no_image(small, balance):
    train, test = mnist_bags(count=30, test_count=40, balance=balance, source="small", seed=2)
    assert (len(train), len(test)) == (30, 40)
    assert pictures(train.instances) <= pictures(small.train_images)
    assert pictures(test.instances) <= pictures(small.test_images)
    for bags in (train, test):
        assert [bag.label for bag in bags] == [int(9 in bag.instance_labels) for bag in bags]


def test_test_bags_do_not_depend_on_the_number_of_training_bags():
    few, many = (mnist_bags(count=count, test_count=10, source="small", seed=5) for count in (3, 9))
    np.testing.assert_array_equal(few.test.instances, many.test.instances)
    np.testing.assert_array_equal(few.train.instances, many.train[:3].instances)
    assert not np.array_equal(few.train.sizes, few.test.sizes[:3]) or not np.array_equal(
        few.train.instances, few.test[:3].instances
    )


def test_other_seeds_make_other_bags_up_to_the_largest():
    made = [mnist_bags(count=5, test_count=5, source="small", seed=seed) for seed in (0, 1, 2**32 - 1)]
    assert len({bags.train.instances.tobytes() for bags in made}) == 3
    assert len({bags.test.instances.tobytes() for bags in made}) == 3


def test_mnist_bags_of_several_digits():
    train, _ = mnist_bags([4, 9], count=6, test_count=1, source="small")
    assert train.labels.tolist() == [2, 1, 0, 2, 1, 0]


def test_full_mnist_makes_the_bags_of_the_paper(data_directory):
    train, test = mnist_bags(count=100, mean_size=50, variance=10, directory=data_directory)
    assert (len(train), len(test)) == (100, 1000)
    assert test.sizes.mean() == pytest.approx(50, abs=0.5)
    assert test.sizes.var() == pytest.approx(10, rel=0.2)
    assert test.labels.mean() == 0.5


# ---- other kinds of target --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["multi-label", "real", "count", "ordinal", "survival"])
@settings(max_examples=10)
@given(seed=SEEDS, balance=st.sampled_from(["alternate", None]))
def test_every_kind_draws_the_same_images(kind, seed, balance):
    given = {"target": [3, 9], "count": 5, "balance": balance, "seed": seed}
    classes, bags = (bags_from_images(numbered(digits()), digits(), kind=of, **given) for of in ("classes", kind))
    np.testing.assert_array_equal(bags.instances, classes.instances)
    np.testing.assert_array_equal(bags.offsets, classes.offsets)


@settings(max_examples=30)
@given(SEEDS, st.integers(2, 30))
def test_labels_of_every_kind_are_what_a_bag_shows(seed, count):
    given = {"target": [9, 4], "count": count, "mean_size": 4, "balance": None, "seed": seed}
    for kind, of in {
        "count": lambda shown: sum(digit in (9, 4) for digit in shown),
        "ordinal": lambda shown: min(3, sum(digit in (9, 4) for digit in shown)),
        "real": lambda shown: sum(shown) / len(shown),
        "multi-label": lambda shown: [9 in shown, 4 in shown],
    }.items():
        bags = bags_from_images(numbered(digits()), digits(), kind=kind, **given)
        expected = [of(bag.instance_labels.tolist()) for bag in bags]
        np.testing.assert_allclose(bags.labels, np.array(expected, float))


def test_lives_are_shorter_where_there_are_more_targets():
    bags = bags_from_images(numbered(digits()), digits(), kind="survival", count=2000, balance=None, seed=1)
    nines = np.array([np.sum(bag.instance_labels == 9) for bag in bags])
    event, time = bags.labels["event"], bags.labels["time"]
    assert 0.3 < 1 - event.mean() < 0.6
    # events over time seen estimate a constant hazard: .1 without a nine, twice that with each
    for number in range(3):
        own = nines == number
        assert event[own].sum() / time[own].sum() == pytest.approx(0.1 * 2**number, rel=0.2)


def test_a_slide_of_tumour_has_the_hazard_that_is_told():
    bags, risks = slides_of_known_hazard(3000, seed=1)
    event, time = bags.labels["event"], bags.labels["time"]
    share = np.array([bag.instance_labels.mean() for bag in bags])
    np.testing.assert_allclose(risks, np.log(20) * share)
    assert 0.25 < 1 - event.mean() < 0.4
    for low, high in ((0, 0.2), (0.4, 0.6), (0.8, 1)):
        own = (share >= low) & (share < high)
        expected = 0.1 * np.average(np.exp(risks[own]), weights=time[own])
        assert event[own].sum() / time[own].sum() == pytest.approx(expected, rel=0.15)
    assert 0.7 < concordance(event, time, risks) < 0.8
    tumour = bags.instance_labels == 1
    assert bags.instances[tumour, 0].mean() == pytest.approx(3, abs=0.05)
    assert np.abs(bags.instances[~tumour].mean(axis=0)).max() < 0.05


def test_slides_are_drawn_by_their_seed():
    one, again, other = (slides_of_known_hazard(5, features=3, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.bags.instances, again.bags.instances)
    np.testing.assert_array_equal(one.bags.labels, again.bags.labels)
    assert one.bags.instance_shape == (3,)
    assert len(one.bags.instances) != len(other.bags.instances)


@pytest.mark.parametrize(
    ("labels", "given", "message"),
    [
        (digits(), {"kind": "grades"}, "kind is 'grades': it must be one of classes, multi-label, real"),
        (np.array(["a", "b"] * 9), {"kind": "real", "target": "a"}, "a mean needs numbers, so take another kind"),
    ],
)
def test_kinds_that_cannot_be_made_are_refused(labels, given, message):
    with pytest.raises(BagwiseError, match=message):
        bags_from_images(numbered(labels), labels, count=3, **given)
