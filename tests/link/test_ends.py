"""What is kept of a reply: its beginning and its end, however it came."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.link.ends import FIRST, LAST, Ends

REPLY = random.Random(9).randbytes(2 * FIRST).replace(b"\n", b"\r")
SIZES = st.integers(0, 2 * FIRST) | st.integers(FIRST - 9, FIRST + 5 * LAST)
PIECES = st.lists(st.integers(1, 3 * LAST) | st.integers(1, 2 * FIRST), min_size=1, max_size=9)


def kept(reply: bytes, pieces: list[int]) -> bytes:
    """Of a reply that comes in pieces of these sizes, again and again."""
    ends, at, number, size = Ends(), 0, 0, len(reply)
    while at < size:
        step = min(pieces[number % len(pieces)], size - at)
        ends.feed(reply[at : at + step])
        at, number = at + step, number + 1
        assert len(ends._first) + len(ends._last) <= FIRST + 3 * LAST
    return ends.finish()


@given(SIZES, PIECES)
def test_the_ends_are_the_same_however_it_came(size: int, pieces: list[int]) -> None:
    whole = REPLY[:size]
    short = whole if size <= FIRST + LAST else whole[:FIRST] + whole[-LAST:]
    assert kept(whole, pieces) == short


@given(SIZES | st.integers(LAST, 3 * LAST), PIECES, st.integers(0, LAST - 2))
def test_little_is_kept_of_a_stream_that_begins_with_a_short_event(
    size: int, pieces: list[int], at: int
) -> None:
    whole = (REPLY[:at] + b"\n\n" + REPLY)[:size]
    short = whole if size <= 2 * LAST else whole[:LAST] + whole[-LAST:]
    assert kept(whole, pieces) == short


def test_a_first_event_that_ends_too_late_is_a_large_one() -> None:
    whole = REPLY[: LAST - 1] + b"\n\n" + REPLY
    assert kept(whole, [LAST]) == whole[:FIRST] + whole[-LAST:]
