"""Pieces as SentencePiece writes them: a .model, a protobuf message, of byte-fallback BPE.

SentencePiece joins characters, in the order of their pieces' scores, and spells a character that is
not among them with a token for each byte. An engine that joins bytes comes to the same pieces if it
first joins the bytes of the characters that there are, and if every other character is replaced by
as many bytes of which nothing is made.

The one rule: what comes out has as many tokens as SentencePiece makes; their ids are our own.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

PATTERN = " *[^ ]+| +"
"""No piece of such a model goes on from a word to the space after it."""
FILLER = "\x01"
"""A byte that is in no piece."""
_SPACE = "\u2581"  # how pieces spell a space

_NORMAL = 1  # SentencePiece.Type; others are bytes, and names that no text has
_VARINT, _EIGHT, _SIZED, _FOUR = 0, 1, 2, 5  # wire types


def pieces_of(data: bytes) -> list[str]:
    """The pieces that texts can have, those that are joined first at the front.

    Raises:
        ValueError: it is no such message.
    """
    found = []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            piece, score, kind = "", 0.0, _NORMAL
            for inner, content in _fields(value):
                if inner == 1 and isinstance(content, bytes):
                    piece = content.decode()
                elif inner == 2 and isinstance(content, bytes):
                    (score,) = struct.unpack("<f", content)
                elif inner == 3 and isinstance(content, int):
                    kind = content
            if kind == _NORMAL:
                found.append((-score, piece.replace(_SPACE, " ")))
    if not found:
        raise ValueError("no pieces")
    return [piece for _, piece in sorted(found, key=lambda each: each[0])]


def ranks_of(data: bytes) -> dict[bytes, int]:
    """Ranks for an engine that joins bytes.

    Raises:
        ValueError: it is no such message.
    """
    pieces = pieces_of(data)
    characters = [each.encode() for each in pieces if len(each) == 1]
    prefixes = (each[:end] for each in characters for end in range(2, len(each)))
    bytes_ = (bytes((byte,)) for byte in range(256))
    joined = (each.encode() for each in pieces if len(each) > 1)
    in_order = dict.fromkeys(chain(bytes_, prefixes, characters, joined))
    return {piece: rank for rank, piece in enumerate(in_order)}


def filler_of(ranks: Iterable[bytes]) -> Callable[[str], str]:
    """What replaces the characters of a text that no piece has, by a filler for each byte.

    Args:
        ranks: the pieces of `ranks_of`.
    """
    known = "".join(sorted(_characters(ranks)))
    foreign = re.compile(f"[^{re.escape(known)}]")
    return lambda text: foreign.sub(_fill, text)


def _characters(ranks: Iterable[bytes]) -> Iterator[str]:
    for piece in ranks:
        try:
            text = piece.decode()
        except UnicodeDecodeError:
            continue
        # The 128 ASCII bytes are ranks, whether or not the model has them as characters: a token
        # either way.
        if len(text) == 1:
            yield text


def _fill(found: re.Match[str]) -> str:
    return FILLER * len(found[0].encode("utf-8", "replace"))


# ---- protobuf -----------------------------------------------------------------------------------


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: their numbers, and what they hold."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if kind == _SIZED:
            size, at = _varint(data, at)
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"wire type {kind}")
        if size > len(data) - at:
            raise ValueError("cut short")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("no varint")
