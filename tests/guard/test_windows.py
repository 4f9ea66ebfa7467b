"""Windows: nothing is left out, and nothing is read more than twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.guard.windows import OVERLAP, SIZE, windows


@given(st.integers(0, 5 * SIZE))
def test_every_character_is_in_one_or_two_windows(length: int) -> None:
    seen = [0] * length
    for start, text in windows("x" * length):
        assert len(text) <= SIZE
        for at in range(start, start + len(text)):
            seen[at] += 1
    assert not length or (min(seen) >= 1 and max(seen) <= 2)


def test_what_is_shorter_than_the_overlap_is_whole_in_some_window() -> None:
    text = "".join(chr(0x4E00 + at) for at in range(3 * SIZE))
    for start in range(len(text) - OVERLAP):
        piece = text[start : start + OVERLAP]
        assert any(piece in window for _, window in windows(text))


def test_an_empty_text_has_one_window() -> None:
    assert list(windows("")) == [(0, "")]
