"""Instances in files: the same as in memory, and read only when looked at."""

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.stored import Part, StoredInstances


@dataclass
class Counted:
    """A source in memory that counts the rows it gives."""

    array: np.ndarray
    name: str = "counted"
    identity: str = "1"
    rows: list[int] = field(default_factory=list)

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return self.array.dtype

    def read(self, begin, end):
        self.rows.append(end - begin)
        return self.array[begin:end]


def stored_of(sizes, width=2):
    arrays = [np.random.default_rng(n).normal(size=(size, width)) for n, size in enumerate(sizes)]
    sources = [Counted(array) for array in arrays]
    return StoredInstances([Part(source, 0, len(source.array)) for source in sources]), np.concatenate(arrays), sources


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=5),
)
def test_slices_and_selections_are_those_of_the_array(sizes, runs):
    stored, array, _ = stored_of(sizes)
    assert (stored.shape, stored.dtype, stored.ndim, len(stored)) == (array.shape, array.dtype, 2, len(array))
    for begin, end in runs:
        assert np.array_equal(stored[begin:end], array[begin:end])
    whole = [(begin % len(array), begin % len(array) + 1 + end % 3) for begin, end in runs]
    wanted = np.concatenate([array[begin:end] for begin, end in whole])
    chosen = stored.select(whole)
    assert np.array_equal(np.asarray(chosen), wanted)
    assert np.array_equal(chosen.select([(0, len(chosen))])[:], wanted)


def test_bags_of_stored_instances_read_what_is_looked_at_and_no_more():
    stored, array, sources = stored_of([3, 4, 5])
    bags = Bags(stored, [0, 3, 7, 12], labels=[0, 1, 0])
    chosen = bags[[2, 0]]
    assert "3 bags of 3 to 5 instances (12 in all)" in repr(bags)
    assert [source.rows for source in sources] == [[], [], []]
    assert np.array_equal(chosen[0].instances, array[7:])
    assert [source.rows for source in sources] == [[], [], [5]]
    assert np.array_equal(np.asarray(chosen.instances), np.concatenate([array[7:], array[:3]]))
    assert np.array_equal(bags[1:].instances[:], array[3:])


def test_the_identity_tells_what_was_chosen_from_which_content():
    stored, _, sources = stored_of([3, 4])
    before = stored.identity
    assert stored.select([(0, 7)]).identity == before
    assert stored.select([(0, 6)]).identity != before
    sources[1].identity = "2"
    assert stored.identity != before


def test_it_goes_to_other_processes():
    stored, array, _ = stored_of([3, 4])
    assert np.array_equal(pickle.loads(pickle.dumps(stored))[:], array)


def test_sources_of_another_width_are_refused_by_name():
    parts = [Part(Counted(np.zeros((2, width)), name=f"{width}.h5"), 0, 2) for width in (4, 5)]
    with pytest.raises(BagwiseError, match=r"shape \(4,\) in 4.h5 and \(5,\) in 5.h5"):
        StoredInstances(parts)


@pytest.mark.parametrize("offsets", [[0, 3], [0, 2, 2, 7], [0, 8]])
def test_offsets_must_fit(offsets):
    stored, _, _ = stored_of([3, 4])
    with pytest.raises(BagwiseError):
        Bags(stored, offsets)


def test_rows_in_steps_are_no_slice_of_it():
    stored, _, _ = stored_of([3])
    with pytest.raises(IndexError):
        stored[::2]
