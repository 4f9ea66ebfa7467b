"""Stretches: windows of a text that is folded once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.guard.fold import fold, folded
from m2mproxy.guard.grams import LONGEST
from m2mproxy.guard.stretch import MOST_PLAIN, Window, stretches_of, windows_of
from m2mproxy.guard.windows import SIZE, windows
from m2mproxy.guard.words import marked_of, plain_of

TEXTS = st.builds(
    lambda pieces, times: "".join(pieces) * times,
    st.lists(st.text("aB'.\0 \n\u00e9\u03a3\ufdfa\u0300\u200b\U0001d422", max_size=9), max_size=9),
    st.sampled_from([1, 20, 200, 1000]),
)


@given(TEXTS)
def test_windows_are_those_of_the_text_each_folded_by_itself(text: str) -> None:
    plain = [
        Window(7, start, window, plain_of(fold(window).encode()))
        for start, window in windows(text)
    ]
    assert list(windows_of(7, text)) == plain


@given(TEXTS)
def test_what_a_stretch_folds_to_is_bounded(text: str) -> None:
    for each in stretches_of(0, text):
        assert len(each.plain) < MOST_PLAIN or len(each.text) <= SIZE


def test_no_character_folds_to_more_than_a_window_has_room_for() -> None:
    """Of words that are read, a full stop is three bytes."""
    most = max(
        len(marked_of(folded(chr(point))).replace(b".", b" . ")) for point in range(0x110000)
    )
    assert most * SIZE + 2 <= LONGEST
