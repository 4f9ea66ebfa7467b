"""Unsigned LEB128: seven bits a byte, lowest first, the high bit set on all but the last.

The one rule: nothing is read beyond the end given or the bytes that a number may have, and a number
that would not fit where others keep it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from m2mproxy.codec.base import WireError

MAX_BYTES = 10  # any u64
MAX_TOKEN_BYTES = 5  # any u32
_U64 = 1 << 64
_U32 = 1 << 32
_LAST_SHIFT = 7 * (MAX_TOKEN_BYTES - 1)


def write_varint(value: int) -> bytes:
    """`value` in as few bytes as it takes.

    Raises:
        ValueError: it is negative, or no u64.
    """
    if not 0 <= value < _U64:
        raise ValueError(f"{value} is no unsigned 64-bit number")
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at `at` and where it ends.

    Raises:
        WireError: it does not end before `end`, has more than MAX_BYTES, or is no u64.
    """
    value = shift = 0
    for index in range(at, min(end, at + MAX_BYTES)):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= _U64:
                break
            return value, index + 1
        shift += 7
    raise WireError("a number is cut short or too long")


def read_prefixed(
    data: bytes, at: int, most: int, flags: int = 0
) -> tuple[int, int, int] | None:
    """Where what has its length before it begins and ends, and its flags, which are the lowest
    `flags` bits of that varint; None while it is not whole.

    Raises:
        WireError: it has more than `most` bytes.
    """
    if at < len(data) and data[at] < 0x80:  # as nearly all are
        value, start = data[at], at + 1
    else:
        longest = len(write_varint(most + 1 << flags))
        known = data[at : at + longest]
        if all(byte >= 0x80 for byte in known):
            if len(known) == longest:
                raise WireError("a batch is too long")
            return None
        value, start = read_varint(data, at, len(data))
    length = value >> flags
    if length > most:
        raise WireError("a batch is too long")
    if start + length > len(data):
        return None
    return start, start + length, value & (1 << flags) - 1


def write_tokens(ids: Iterable[int]) -> bytes:
    """Token ids one after the other. Each is one that a vocabulary gave, thus 0 to 2**21 or so."""
    out = bytearray()
    for value in ids:
        while value >= 0x80:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


def read_tokens(data: bytes | memoryview) -> tuple[list[int], int]:
    """The token ids that are whole in `data`, and how many bytes they take.

    Raises:
        WireError: one has more than MAX_TOKEN_BYTES, or is no u32.
    """
    ids: list[int] = []
    value = shift = used = 0
    for index, byte in enumerate(data, 1):
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= _U32:
                break
            ids.append(value)
            value = shift = 0
            used = index
        elif shift == _LAST_SHIFT:
            break
        else:
            shift += 7
    else:
        return ids, used
    raise WireError("a token id is too long")
