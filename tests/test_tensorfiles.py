"""Files of tensors: what is written is what the format's own library writes, to the last bit."""

import json

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bagwise.errors import BagwiseError
from bagwise.tensorfiles import digest_of_tensors, read_arrays, read_tensors, write_tensors
from bagwise.trust.files import file_digests

KINDS = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "uint16",
    "float16",
    "int32",
    "uint32",
    "float32",
    "float64",
    "int64",
    "uint64",
]
NUMBERS = st.sampled_from(KINDS).flatmap(
    lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
NAMED = st.dictionaries(st.text(max_size=8).filter(lambda name: name != "__metadata__"), NUMBERS, max_size=6)
TOLD = {"ä": 1, "text": 'a "quote" \\ and a line\n'}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("tensors") / "some.safetensors"


@given(NAMED)
def test_arrays_are_written_as_the_library_does(path, named):
    write_tensors(path, named, TOLD)
    assert path.read_bytes() == safetensors.numpy.save(named, {"bagwise": json.dumps(TOLD)})
    assert digest_of_tensors(named, TOLD) == file_digests(path.parent, [path.name])[path.name]
    read, told = read_arrays(path)
    assert told == TOLD
    assert read.keys() == named.keys()
    for name, values in named.items():
        np.testing.assert_array_equal(read[name], values)


def test_tensors_are_written_as_the_library_does(path):
    tensors = {
        "w": torch.arange(12.0).reshape(3, 4).T,
        "half": torch.ones(3, dtype=torch.bfloat16),
        "one": torch.tensor(2.5, dtype=torch.float64),
        "none": torch.zeros((0, 4)),
        "learnt": torch.nn.Parameter(torch.ones(2)),
        "flags": torch.tensor([True, False, True]),
        "alone": torch.arange(4)[::2][1:],
        "alone in a row": torch.arange(12).reshape(3, 4).T[:, 1:2][:1],
        "waves": torch.tensor([1 + 2j, 3j], dtype=torch.complex64),
        "eighth": torch.ones(3).to(torch.float8_e4m3fn),
        "other eighth": torch.ones(5).to(torch.float8_e5m2),
    }
    write_tensors(path, tensors, TOLD)
    whole = {name: values.detach().clone(memory_format=torch.contiguous_format) for name, values in tensors.items()}
    assert path.read_bytes() == safetensors.torch.save(whole, {"bagwise": json.dumps(TOLD)})
    read, _ = read_tensors(path)
    assert read.keys() == whole.keys()
    assert all(
        torch.equal(values.view(-1).view(torch.uint8), whole[name].view(-1).view(torch.uint8))
        for name, values in read.items()
    )


def test_a_single_number_out_of_a_row_is_written(path):
    write_tensors(path, {"alone": np.arange(4)[::2][1:], "column": np.arange(12).reshape(3, 4)[:, 1]}, TOLD)
    read, _ = read_arrays(path)
    assert [read["alone"].tolist(), read["column"].tolist()] == [[2], [1, 5, 9]]


def test_numbers_that_have_no_place_in_a_file_are_refused(path):
    with pytest.raises(BagwiseError, match="numbers of type complex128 have no place"):
        write_tensors(path, {"w": np.ones(2, np.complex128)}, TOLD)
