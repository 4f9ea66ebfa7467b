"""What is kept of a reply: its beginning and its end, however it came."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.link.ends import FIRST, LAST, Ends

REPLY = random.Random(9).randbytes(2 * FIRST)


def kept(size: int, pieces: list[int]) -> bytes:
    """Of a reply of that many bytes, which comes in pieces of these sizes, again and again."""
    ends, at, number = Ends(), 0, 0
    while at < size:
        step = min(pieces[number % len(pieces)], size - at)
        ends.feed(REPLY[at : at + step])
        at, number = at + step, number + 1
        assert len(ends._first) + len(ends._last) <= FIRST + 3 * LAST
    return ends.finish()


@given(
    st.integers(0, 2 * FIRST) | st.integers(FIRST - 9, FIRST + 5 * LAST),
    st.lists(st.integers(1, 3 * LAST) | st.integers(1, 2 * FIRST), min_size=1, max_size=9),
)
def test_the_ends_are_the_same_however_it_came(size: int, pieces: list[int]) -> None:
    whole = REPLY[:size]
    short = whole if size <= FIRST + LAST else whole[:FIRST] + whole[-LAST:]
    assert kept(size, pieces) == short
