"""Windows: all of a text, in pieces of bounded size that end where words do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.tokens import pieces
from m2mproxy.tokens.pieces import WINDOW, windows

runs = st.lists(
    st.tuples(st.sampled_from([" ", "a", "ab ", "1", "\n", " \n", "日", "! ", " é"]),
              st.integers(1, 8_000))
).map(lambda parts: "".join(text * times for text, times in parts)[: 4 * WINDOW])  # fmt: skip


@given(text=runs)
def test_windows_are_the_text(text: str) -> None:
    found = [window for window, _ in windows(text)]
    assert "".join(found) == text
    assert all(0 < len(window) <= WINDOW for window in found[:-1])
    assert len(found[-1]) <= WINDOW


@given(text=runs)
def test_a_clean_edge_is_between_two_words(text: str) -> None:
    at = 0
    for window, is_clean in windows(text):
        at += len(window)
        if is_clean and at < len(text):
            by_space = text[at - 1].isalpha() and text[at] == " " and text[at + 1].isalpha()
            assert by_space or (text[at - 1] == "\n" and text[at].isalpha())


class Letters:
    """A vocabulary of letters, which keeps what it was given."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def encode(self, text: str, /, *, disallowed_special: object = None) -> list[int]:
        assert disallowed_special == frozenset()
        self.seen.append(len(text))
        return list(map(ord, text))

    def decode_single_token_bytes(self, token: int, /) -> bytes:
        return chr(token).encode()


def test_each_call_gets_a_window() -> None:
    letters = Letters()
    assert pieces.count(letters, "x" * (3 * WINDOW)) == (3 * WINDOW, 4)
    assert letters.seen == [WINDOW] * 3


@pytest.mark.parametrize("line", ["日" * 3000 + "\n", "word " * 700, "x\n" * 3000])
def test_lines_and_words_are_not_cut(line: str) -> None:
    assert all(is_clean for _, is_clean in windows(line * 9))


def test_no_text_has_no_tokens() -> None:
    assert pieces.count(Letters(), "") == (0, 0)
