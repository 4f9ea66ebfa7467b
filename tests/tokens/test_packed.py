"""Pieces packed and as text: the same come back, and what is no such text is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vocabulary import text_of_pieces

from m2mproxy.tokens.packed import pack, pieces_of_text, unpack

PIECES = st.lists(st.binary(max_size=255), max_size=50)


@given(pieces=PIECES)
def test_what_is_packed_comes_back(pieces: list[bytes]) -> None:
    assert unpack(pack(pieces)) == pieces


@given(pieces=PIECES)
def test_what_is_written_as_text_comes_back(pieces: list[bytes]) -> None:
    assert pieces_of_text(text_of_pieces(pieces)) == pieces


def test_pieces_are_written_as_lines_of_base64_and_id() -> None:
    assert text_of_pieces([b"!", b" the", b"\n"]) == b"IQ== 0\nIHRoZQ== 1\nCg== 2\n"


@pytest.mark.parametrize("text", [b"IQ== 1\n", b"IQ== 0\nIg== 2\n", b"IQ==\n", b"\n", b"I 0\n"])
def test_another_text_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        pieces_of_text(text)


def test_a_piece_that_is_too_long() -> None:
    with pytest.raises(ValueError):
        pack([b"a" * 256])
