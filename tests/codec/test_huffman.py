"""Spelling: every text has one, and nothing else is read."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.codec import dictionaries
from m2mproxy.codec.base import WireError
from m2mproxy.codec.huffman import LONGEST, Spelling, codes

SPELLING = Spelling(dictionaries.spelling())
MOST = 253


@given(st.binary(min_size=1, max_size=MOST) | st.text(min_size=1, max_size=60).map(str.encode))
def test_a_text_comes_back(text: bytes) -> None:
    assert SPELLING.decode(SPELLING.encode(text), MOST) == text


@given(st.binary(max_size=60))
def test_what_is_read_is_what_is_written(data: bytes) -> None:
    try:
        text = SPELLING.decode(data, MOST)
    except WireError:
        return
    assert text and SPELLING.encode(text) == data


def test_words_are_shorter() -> None:
    for word in (b" the", b" function", b" interesting", b" of", b" return"):
        assert len(SPELLING.encode(word)) <= len(word) * 5 // 8 + 1


def test_the_limit_is_exact() -> None:
    for text in (b" some words", b"\xff" * 11):
        coded = SPELLING.encode(text)
        assert SPELLING.decode(coded, 11) == text
        with pytest.raises(WireError):
            SPELLING.decode(coded, 10)


def test_what_is_long_is_not_looked_at() -> None:
    with pytest.raises(WireError, match="too long"):
        SPELLING.decode(bytes(1 << 20), MOST)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xff", SPELLING.encode(b" a") + b"\xff"])
def test_ones_are_no_text(data: bytes) -> None:
    with pytest.raises(WireError):
        SPELLING.decode(data, MOST)


@pytest.mark.parametrize("half", [slice(0, 256), slice(256, 512)])
def test_the_codes_are_canonical_and_leave_ones_free(half: slice) -> None:
    lengths = dictionaries.spelling()[half]
    found = codes(lengths)
    assert [len(code) for code in found] == list(lengths)
    in_order = sorted(found, key=lambda code: (len(code), code))
    for one, other in pairwise(sorted(found)):
        assert not other.startswith(one)
    assert in_order == sorted(found, key=lambda code: code.ljust(LONGEST, "0"))
    assert not any(code == "1" * len(code) for code in found)


@pytest.mark.parametrize("length", [0, 1, 8, 13])
def test_lengths_of_no_code_are_refused(length: int) -> None:
    with pytest.raises(ValueError):
        codes(bytes([length] * 256))
