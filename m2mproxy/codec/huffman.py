"""A static Huffman code for short texts, in which no other coding finds anything to save: the
pieces of events, which models write word by word.

The first letter of a text has a code of its own, since it is most often a space. Both codes are
canonical (as in RFC 1951 3.2.2): shorter ones first, and of one length in the order of the bytes,
bits from the highest; they are of at most 12 bits, and 12 ones are none, so that what is left of
the last byte is filled with ones as in RFC 7541 5.2.

The one rule: what is decoded has one spelling, and nothing else is taken.
"""

from __future__ import annotations

from m2mproxy.codec.base import WireError

LONGEST = 12  # bits of a code
_ONES = (1 << LONGEST) - 1
_FILL = ["1" * free for free in range(8)]


def codes(lengths: bytes) -> list[str]:
    """The canonical code of each byte, in binary digits. `lengths` has the 256 numbers of bits.

    Raises:
        ValueError: there is no such code.
    """
    found, code, before = [""] * 256, 0, 0
    for byte in sorted(range(256), key=lambda byte: (lengths[byte], byte)):
        code <<= lengths[byte] - before
        before = lengths[byte]
        found[byte] = f"{code:0{before}b}"
        code += 1
    if not 0 < min(lengths) <= max(lengths) <= LONGEST or code << LONGEST - before > _ONES:
        raise ValueError("these are no lengths of a code")
    return found


def _firsts(code: list[str]) -> list[tuple[bytes, int]]:
    """For each 12 bits the byte that they begin with, and of how many bits it is; nothing where
    they begin none."""
    table = [(b"", 0)] * (1 << LONGEST)
    for byte, bits in enumerate(code):
        free = LONGEST - len(bits)
        start = int(bits, 2) << free
        table[start : start + (1 << free)] = [(bytes((byte,)), len(bits))] * (1 << free)
    return table


def _runs(code: list[str]) -> tuple[list[bytes], bytes]:
    """For each 12 bits all bytes that they have whole; and of how many bits these are."""
    firsts = _firsts(code)
    same: dict[bytes, bytes] = {}
    texts: list[bytes] = []
    sizes = bytearray()
    for at in range(1 << LONGEST):
        text, used = b"", 0
        while used < LONGEST:
            one, bits = firsts[(at << used & _ONES) | (1 << used) - 1]
            if not bits or used + bits > LONGEST:
                break
            text += one
            used += bits
        texts.append(same.setdefault(text, text))
        sizes.append(used)
    return texts, bytes(sizes)


class Spelling:
    """Texts of at least one byte."""

    def __init__(self, lengths: bytes) -> None:
        """`lengths` are the 256 of a text's first letter, and the 256 of all others."""
        first, other = codes(lengths[:256]), codes(lengths[256:])
        self._first, self._other = first, other.__getitem__
        self._first_of = _firsts(first)
        self._texts, self._sizes = _runs(other)

    def encode(self, text: bytes) -> bytes:
        """The code of `text`."""
        bits = self._first[text[0]] + "".join(map(self._other, text[1:]))
        bits += _FILL[-len(bits) & 7]
        return int(bits, 2).to_bytes(len(bits) // 8, "big")

    def decode(self, data: bytes, most: int) -> bytes:
        """The text.

        Raises:
            WireError: it is the code of none, or of one with more than `most` bytes.
        """
        left = 8 * len(data)
        if left > LONGEST * most + 7:  # or what is shifted would be long
            raise WireError("a text is too long")
        bits = int.from_bytes(data, "big") << LONGEST | _ONES
        piece, size = self._first_of[bits >> left & _ONES]
        left -= size
        texts, sizes = self._texts, self._sizes
        parts = [piece]
        while left > 0:
            at = bits >> left & _ONES
            size = sizes[at]
            if not size:
                break
            left -= size
            parts.append(texts[at])
        text = b"".join(parts)
        # What is left over are ones, or they would begin something.
        if not piece or not 0 <= left < 8 or len(text) > most:
            raise WireError("a text is not spelt as it should be")
        return text
