import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bagwise as bw
from bagwise import BagwiseError
from bagwise.io.stain import StainReference, normalise_stain, stain_reference


def stained(seed=0, counts=(3, 2), shift=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal([150 + shift, 90, 150], 15, (n, 9, 9, 3)).clip(0, 255).astype(np.uint8) for n in counts]
    return bw.Bags.from_arrays(arrays, labels=[n % 2 for n in range(len(counts))])


@settings(max_examples=20)
@given(st.integers(0, 1000), st.tuples(st.floats(40, 60), st.floats(10, 25), st.floats(-20, -5)))
def test_every_bag_comes_to_the_reference(seed, mean):
    reference = StainReference(mean, (6.0, 3.0, 3.0))
    found = normalise_stain(stained(seed), reference)
    for position in range(2):
        one = stain_reference(found[[position]])
        np.testing.assert_allclose(one.mean, reference.mean, atol=1.0)
        np.testing.assert_allclose(one.spread, reference.spread, atol=1.0)


def test_a_bag_already_there_stays():
    bags = stained(counts=(3,))
    found = normalise_stain(bags, stain_reference(bags))
    assert np.abs(found.instances.astype(int) - bags.instances).max() <= 1
    np.testing.assert_array_equal(found.labels, bags.labels)


def test_two_stains_of_one_tissue_come_together():
    one, other = stained(), stained(shift=40)
    reference = stain_reference(one)
    before = np.abs(one.instances.astype(int) - other.instances).mean()
    after = np.abs(normalise_stain(one, reference).instances.astype(int) - normalise_stain(other, reference).instances)
    assert after.mean() < before / 5


def test_glass_keeps_its_colour_and_does_not_count():
    bags = stained()
    with_glass = np.concatenate([bags.instances, np.full((4, 9, 9, 3), 245, np.uint8)])
    wide = bw.Bags(with_glass, [0, 3, 9])
    np.testing.assert_allclose(stain_reference(wide).mean, stain_reference(bags).mean, rtol=1e-9)
    found = normalise_stain(wide, StainReference((50.0, 10.0, -10.0), (9.0, 5.0, 5.0)))
    assert (found.instances[-4:] == 245).all()
    only_glass = bw.Bags(with_glass[-4:], [0, 4])
    np.testing.assert_array_equal(normalise_stain(only_glass, stain_reference(bags)).instances, with_glass[-4:])
    with pytest.raises(BagwiseError, match="none of the bags shows tissue"):
        stain_reference(only_glass)


def test_each_bag_counts_the_same():
    bags = stained(counts=(1, 8))
    singles = [stain_reference(bags[[position]]).mean for position in (0, 1)]
    np.testing.assert_allclose(stain_reference(bags).mean, np.mean(singles, axis=0))


def test_a_flat_colour_is_moved_and_not_divided_by_nothing():
    flat = bw.Bags.from_arrays([np.full((2, 3, 3, 3), 128, np.uint8)])
    found = normalise_stain(flat, StainReference((60.0, 20.0, -15.0), (9.0, 5.0, 5.0)))
    np.testing.assert_allclose(stain_reference(found).mean, (60, 20, -15), atol=1)


def test_what_is_no_tissue_is_refused(make_bags):
    for wrong in (make_bags(), make_bags(shape=(9, 9, 3))):
        with pytest.raises(BagwiseError, match="stains are normalised on colour images of 8 bits a channel"):
            stain_reference(wrong)
