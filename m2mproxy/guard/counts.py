"""How often there are bytes in a text that may be long.

The one rule: what its arrays take is bounded by AT_ONCE.
"""

from __future__ import annotations

from collections.abc import Iterator

from m2mproxy.guard.arrays import NDArray, np

_LARGE = 2048
"""Bytes from which on it is worth an array to count."""
AT_ONCE = 1 << 15
"""Bytes."""


def followed(data: bytes, sign: int, by: bytes) -> list[int]:
    """How often one byte is followed by each of some that are others."""
    if len(data) < _LARGE:
        return [data.count(bytes((sign, each))) for each in by]
    found = [0] * len(by)
    for text in _pieces(data, 1):
        first, after = text[:-1] == sign, text[1:]
        for at, each in enumerate(by):
            found[at] += int(np.count_nonzero(first & (after == each)))
    return found


def counted(data: bytes, sign: bytes) -> int:
    """How often there is a byte."""
    if len(data) < _LARGE:
        return data.count(sign)
    return sum(int(np.count_nonzero(text == ord(sign))) for text in _pieces(data, 0))


def counted_and(data: bytes, sign: bytes, pair: bytes) -> tuple[int, bool]:
    """How often there is a byte, and whether there are two others in a row."""
    if len(data) < _LARGE:
        return data.count(sign), data.find(pair) >= 0
    found, has_pair = 0, False
    for text in _pieces(data, 1):
        found += int(np.count_nonzero(text[:AT_ONCE] == ord(sign)))
        has_pair = has_pair or bool(((text[:-1] == pair[0]) & (text[1:] == pair[1])).any())
    return found, has_pair


def _pieces(data: bytes, more: int) -> Iterator[NDArray[np.uint8]]:
    """Of AT_ONCE bytes each, and some more that belong to the next."""
    for at in range(0, len(data), AT_ONCE):
        yield np.frombuffer(data, np.uint8, min(AT_ONCE + more, len(data) - at), at)
