"""A small vocabulary with what matters of a real one: every byte, merges, special tokens, gaps.

Ids of one, two and three varint bytes all occur.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence

SPECIAL = {"<|endoftext|>": 100_257, "<|im_start|>": 200_264}
MERGES = (
    b'{"role":"user","content":"',
    b'"model":"',
    b"messages",
    b"hello",
    b"Hello",
    b" the",
    b'":',
    b'{"',
    b'"}',
    "é".encode(),
    "日本".encode(),
    b"    ",
    b"<|",
    b"|>",
)
LAST_ID = 200_264


class SmallVocabulary:
    """Longest match first. `shift` makes two of them disagree about every id."""

    def __init__(self, shift: int = 0) -> None:
        pieces = [bytes((byte,)) for byte in range(256)] + list(MERGES)
        self.ids = {piece: shift + index * 7 for index, piece in enumerate(pieces)}
        self.pieces = {number: piece for piece, number in self.ids.items()}
        self.pieces |= {number: text.encode() for text, number in SPECIAL.items()}
        longest = sorted(MERGES, key=len, reverse=True)
        self._split = re.compile(b"|".join(map(re.escape, longest)) + b"|.", re.DOTALL)

    def encode_ordinary(self, text: str, /) -> list[int]:
        return [self.ids[piece] for piece in self._split.findall(text.encode())]

    def decode_bytes(self, ids: Sequence[int], /) -> bytes:
        return b"".join(self.pieces[number] for number in ids)


class LossyVocabulary(SmallVocabulary):
    """One that normalises, as some tokenizers do."""

    def encode_ordinary(self, text: str, /) -> list[int]:
        return super().encode_ordinary(text.lower())


VOCABULARIES = {"C": SmallVocabulary(), "O": SmallVocabulary(1)}


def text_of_pieces(pieces: Sequence[bytes]) -> bytes:
    """The text of a vocabulary as tiktoken's publishers write it, whose SHA-256 is known."""
    encode = binascii.b2a_base64
    lines = (b"%b %d\n" % (encode(each, newline=False), rank) for rank, each in enumerate(pieces))
    return b"".join(lines)
