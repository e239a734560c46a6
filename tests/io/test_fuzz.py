import random
from contextlib import closing

import pytest
from fuzz import Reader, fuzz
from fuzz_changes import changed


@pytest.mark.slow(seconds=75)
def test_whatever_is_read_is_a_result_or_a_refusal(tmp_path):
    """A minute of it; `tests/io/fuzz.py` goes on for as long as it is told."""
    done = fuzz(tmp_path, 1, seed=11)
    assert done["inputs"] > 20
    assert not [(kept, (tmp_path / "findings" / f"{kept}.txt").read_text()) for kept in done["findings"]]


def test_changes_are_the_same_from_the_same_seed():
    one, other = (changed(random.Random(7), "a.csv", b"bag,x\na,1\n" * 9, [b"other"]) for _ in range(2))
    assert one == other != b"bag,x\na,1\n" * 9


@pytest.mark.slow
def test_the_fuzzer_sees_what_is_no_refusal(tmp_path):
    (tmp_path / "a.csv").write_text("bag,label\n")
    with closing(Reader()) as reader:
        assert reader.outcome("table", tmp_path / "a.csv") == "refused"
        assert reader.outcome("run", tmp_path / "a.csv") == "refused"
        assert reader.outcome("a kind that there is not", tmp_path / "a.csv").startswith("raised")
