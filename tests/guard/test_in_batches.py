"""What is looked at together."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.guard.batches import in_batches


@given(st.lists(st.integers(0, 12)), st.integers(1, 20))
def test_nothing_is_left_out_and_no_two_are_too_much(sizes: list[int], most: int) -> None:
    batches = list(in_batches(sizes, lambda size: size, most))
    assert [size for batch in batches for size in batch] == sizes
    assert all(len(batch) == 1 or sum(batch) <= most for batch in batches)
    for batch, following in pairwise(batches):
        assert sum(batch) + following[0] > most
