"""The tables of HPACK (RFC 7541): the fields that everybody knows, those that a connection has
learnt, and Huffman's code.

Three things are taken from the hpack library that it does not document, since they are what the RFC
prints on six pages, or would be slow in any other way:

    huffman_constants.REQUEST_CODES         the code of each byte, as a number (appendix B)
    huffman_constants.REQUEST_CODES_LENGTH  and how many bits it has
    huffman_table.decode_huffman            reads it, by a table of 4,000 rows made from these

The one rule: nothing else that is not documented is used of it, nor of h2 and hyperframe, and
tests/net/test_h2_tables.py says which of the three is missing or has changed.
"""

from __future__ import annotations

from collections import deque

from hpack import Decoder, HeaderTuple, NeverIndexedHeaderTuple
from hpack.exceptions import HPACKDecodingError, HPACKError, OversizedHeaderListError
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman

from m2mproxy.http.headers import Field

__all__ = [
    "CODES",
    "STATIC",
    "TABLE_SIZE",
    "DynamicTable",
    "HPACKDecodingError",
    "HPACKError",
    "HeaderTuple",
    "NeverIndexedHeaderTuple",
    "OversizedHeaderListError",
    "decode_huffman",
]

# Appendix A: what the indices 1 to 61 stand for.
STATIC: list[Field] = [
    (name, value) for name, value in Decoder().decode(bytes(range(0x81, 0x81 + 61)), raw=True)
]
# Each byte's code in binary digits.
CODES = [
    f"{code:0{bits}b}" for code, bits in zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)
]
# RFC 9113 6.5.2: bytes of a table, where nobody says otherwise.
TABLE_SIZE = 4096
# RFC 7541 4.1: what an entry takes beside its name and value.
_OVERHEAD = 32


class DynamicTable:
    """What a connection has learnt, the newest first (RFC 7541 2.3.2, 4)."""

    __slots__ = ("_size", "dynamic_entries", "maxsize")

    def __init__(self) -> None:
        self.dynamic_entries: deque[Field] = deque()
        self.maxsize = TABLE_SIZE
        self._size = 0

    def get_by_index(self, index: int) -> Field:
        """The field that `index` stands for, static ones included.

        Raises:
            HPACKDecodingError: it stands for none.
        """
        at = index - 1 - len(STATIC)
        if 0 < index <= len(STATIC):
            return STATIC[index - 1]
        if 0 <= at < len(self.dynamic_entries):
            return self.dynamic_entries[at]
        raise HPACKDecodingError(f"there is no field {index}")

    def has_room(self, name: bytes, value: bytes) -> bool:
        """Whether a field could be in it, if nothing else were."""
        return len(name) + len(value) + _OVERHEAD <= self.maxsize

    def add(self, name: bytes, value: bytes) -> None:
        """One more. What is larger than the table empties it (4.4)."""
        self.dynamic_entries.appendleft((name, value))
        self._size += len(name) + len(value) + _OVERHEAD
        self._shrink()

    def resize(self, size: int) -> None:
        """It may have so many bytes."""
        self.maxsize = size
        self._shrink()

    def _shrink(self) -> None:
        while self._size > self.maxsize:
            name, value = self.dynamic_entries.pop()
            self._size -= len(name) + len(value) + _OVERHEAD
