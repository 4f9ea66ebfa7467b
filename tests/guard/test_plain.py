"""Plain texts by table are those that folding makes, and places move with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.guard.fold import spelt
from m2mproxy.guard.plain import plain_ascii, plain_other
from m2mproxy.guard.words import plain_of

PLAIN = st.text("aB'. \n\0", max_size=60)
OTHER = st.builds(
    lambda many, few: many + few + many,
    st.text("aB' \u00e9\u0301\u200b", max_size=60),
    st.text("\u2026\u00df\u4f60\ufdfa\uffff\ud800\U0001d422\U0001f469\0", max_size=8),
)


def moved(text: str) -> list[int]:
    """Where each place of a text is in its plain text."""
    return [len(plain_of(spelt(text[:at]))) for at in range(len(text) + 1)]


@given(PLAIN)
def test_a_text_in_ascii(text: str) -> None:
    expected = plain_of(text.encode()), moved(text)
    assert plain_ascii(text.encode(), range(len(text) + 1)) == expected
    assert plain_other(text, range(len(text) + 1)) == expected


@given(OTHER)
def test_any_text(text: str) -> None:
    assert plain_other(text, range(len(text) + 1)) == (plain_of(spelt(text)), moved(text))


@pytest.mark.parametrize("text", ["", "\u4f60" * 50, "\u4f60\0" * 50, "a\u2026" * 50])
def test_a_text_that_is_full_of_characters_of_several_bytes(text: str) -> None:
    assert plain_other(text, range(len(text) + 1)) == (plain_of(spelt(text)), moved(text))


def test_every_character() -> None:
    for first in (*range(0, 0x10000, 0x400), 0x10000, 0x1D400, 0xE0000):
        text = "a" * 0x4000 + "".join(map(chr, range(first, first + 0x400)))
        assert plain_other(text, [0, len(text)])[0] == plain_of(spelt(text))
