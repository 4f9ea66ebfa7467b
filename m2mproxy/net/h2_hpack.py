"""HPACK (RFC 7541) for those who send the same fields over and over, at a fifth of the cost.

The hpack library searches its table for every field and takes a dozen calls to read one; here a
field that is in the table is found by one look-up, and one byte is read as one field.

The one rule: what is written here the library reads back, and what is read here is what the library
reads (tests/fuzz/test_hpack_against_hpack.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from m2mproxy.http.headers import Field
from m2mproxy.net.h2_tables import (
    CODES,
    STATIC,
    TABLE_SIZE,
    DynamicTable,
    HeaderTuple,
    HPACKDecodingError,
    HPACKError,
    NeverIndexedHeaderTuple,
    OversizedHeaderListError,
    decode_huffman,
)

__all__ = ["FieldDecoder", "FieldEncoder", "HPACKError", "NeverIndexedHeaderTuple"]

_FIRST_DYNAMIC = len(STATIC) + 1
_STATIC_FIELDS = {field: index for index, field in reversed(list(enumerate(STATIC, 1)))}
_STATIC_NAMES = {field[0]: index for index, field in reversed(list(enumerate(STATIC, 1)))}

_INDEXED, _INCREMENTAL, _UPDATE, _NEVER, _PLAIN = 0x80, 0x40, 0x20, 0x10, 0x00
# A name whose value was remembered so often, and differed again, is not worth the table's room.
_TRIES = 4
_MOST_NAMES = 256
# Literals that a connection decodes again and again: paths, lengths, its key.
_MEMO, _MEMO_BYTES = 32, 256


class FieldEncoder:
    """Writes field sections."""

    def __init__(self) -> None:
        self.header_table = DynamicTable()
        self._untold: list[int] = []  # sizes of it that the next section has to tell
        self._added = 0  # entries that were ever added to the table; the newest has this number
        self._numbers: dict[Field, int] = {}  # of entries, some of them evicted since
        self._names: dict[bytes, int] = {}
        self._tries: dict[bytes, int] = {}
        # The last section, if all of it is in the table as that is now, and what became of it.
        self._last: list[Any] = []
        self._last_coded = b""

    @property
    def header_table_size(self) -> int:
        """Bytes of the table. The peer says how many it keeps; we keep no more than usual."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        size = min(size, TABLE_SIZE)
        if size != self.header_table.maxsize or self._untold:
            # RFC 7541 4.2: the smallest since the last section, and the last.
            self._untold = sorted({min([size, *self._untold]), size})
            self.header_table.resize(size)

    def encode(self, headers: Iterable[Any]) -> bytes:
        """The field section of `headers`. `NeverIndexedHeaderTuple`s are never remembered."""
        section, out = list(headers), bytearray()
        is_known = not self._untold
        if not is_known:
            for size in self._untold:
                _integer(out, _UPDATE, 5, size)
            self._untold.clear()
        elif section == self._last and NeverIndexedHeaderTuple not in map(type, section):
            return self._last_coded
        dynamic = self.header_table.dynamic_entries
        for field in section:
            index = 0
            if field.__class__ is not NeverIndexedHeaderTuple:
                age = self._added - self._numbers.get(field, 0)  # 0 is of none
                in_table = _FIRST_DYNAMIC + age if age < len(dynamic) else 0
                index = _STATIC_FIELDS.get(field, in_table)
            if 0 < index < 0x7F:
                out.append(_INDEXED | index)
            elif index:
                _integer(out, _INDEXED, 7, index)
            else:
                self._literal(out, field)
                is_known = False
        self._last, self._last_coded = (section, bytes(out)) if is_known else ([], b"")
        return bytes(out)

    def _index(self, number: int) -> int:
        """Where the entry of that number is now; 0 when it is gone."""
        age = self._added - number
        return _FIRST_DYNAMIC + age if age < len(self.header_table.dynamic_entries) else 0

    def _literal(self, out: bytearray, field: Field) -> None:
        name, value = field
        never = field.__class__ is NeverIndexedHeaderTuple
        tries = self._tries.get(name, 0)
        # What is larger than the table would empty it, and stay in our own memory.
        is_kept = tries < _TRIES and self.header_table.has_room(name, value)
        kind = _NEVER if never else _INCREMENTAL if is_kept else _PLAIN
        index = _STATIC_NAMES.get(name) or self._index(self._names.get(name, 0))
        _integer(out, kind, 6 if kind == _INCREMENTAL else 4, index)
        if not index:
            _string(out, name)
        _string(out, value)
        if kind == _INCREMENTAL:
            self._remember(name, value, tries)

    def _remember(self, name: bytes, value: bytes, tries: int) -> None:
        self.header_table.add(name, value)
        self._added += 1
        if len(self._numbers) > _MOST_NAMES:  # more than the table can have
            self._forget()
        self._numbers[name, value] = self._names[name] = self._added
        self._tries[name] = tries + 1

    def _forget(self) -> None:
        """What is no longer in the table."""
        oldest = self._added - len(self.header_table.dynamic_entries)
        self._numbers = {field: n for field, n in self._numbers.items() if n > oldest}
        self._names = {name: n for name, n in self._names.items() if n > oldest}
        self._tries = {name: n for name, n in self._tries.items() if name in self._names}


def _integer(out: bytearray, kind: int, bits: int, number: int) -> None:
    """RFC 7541 5.1."""
    most = (1 << bits) - 1
    if number < most:
        out.append(kind | number)
        return
    out.append(kind | most)
    number -= most
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def _string(out: bytearray, data: bytes) -> None:
    """RFC 7541 5.2: Huffman's code where it is shorter. Its digits, joined and read as one number,
    take time in proportion to the value; a number to which each byte adds its bits is copied with
    every byte."""
    bits = "".join(map(CODES.__getitem__, data))
    size = (len(bits) + 7) // 8
    if size >= len(data):
        _integer(out, 0, 7, len(data))
        out += data
        return
    _integer(out, 0x80, 7, size)
    out += int(bits.ljust(8 * size, "1"), 2).to_bytes(size, "big")


class FieldDecoder:
    """Reads field sections."""

    def __init__(self) -> None:
        self.header_table = DynamicTable()
        self.max_header_list_size = 1 << 16
        """Bytes of a section, and 32 for each of its fields."""
        self._memo: dict[bytes, bytes] = {}
        # The last section, if all of it is in the table as that is now, and its fields.
        self._last = b""
        self._last_fields: list[Any] = []

    def decode(self, data: bytes) -> list[Any]:
        """The fields of a section, as bytes.

        Raises:
            HPACKError: the section is not valid, or too large.
        """
        if data == self._last:
            return self._last_fields.copy()
        try:
            fields, is_known = self._fields(data)
        except IndexError:
            raise HPACKDecodingError("the section ends in a number") from None
        self._last, self._last_fields = (data, fields.copy()) if is_known else (b"", [])
        return fields

    def _fields(self, data: bytes) -> tuple[list[Any], bool]:
        """The fields, and whether all of them were in the table as that is now."""
        fields: list[Any] = []
        is_known = True
        dynamic = self.header_table.dynamic_entries
        left = self.max_header_list_size
        position, end = 0, len(data)
        while position < end:
            byte = data[position]
            if byte & 0xE0 == _UPDATE:
                if fields:
                    raise HPACKDecodingError("a table size update inside of the section")
                position = self._update(data, position)
                is_known = False
                continue
            field: Any
            if byte > _INDEXED and byte != 0xFF:
                position += 1
                index = byte - _INDEXED
                if index < _FIRST_DYNAMIC:
                    field = STATIC[index - 1]
                elif index - _FIRST_DYNAMIC < len(dynamic):
                    field = dynamic[index - _FIRST_DYNAMIC]
                else:
                    field = self.header_table.get_by_index(index)  # which raises
            elif byte & _INDEXED:
                index, position = _number(data, position, 7)
                field = self.header_table.get_by_index(index)
            else:
                field, position = self._literal(data, position)
                is_known = False
            fields.append(field)
            left -= len(field[0]) + len(field[1]) + 32
            if left < 0:
                raise OversizedHeaderListError("the field section is too large")
        return fields, is_known

    def _update(self, data: bytes, position: int) -> int:
        """RFC 7541 6.3: the peer keeps a smaller table than it may, or a larger one again."""
        size, position = _number(data, position, 5)
        if size > TABLE_SIZE:
            raise HPACKDecodingError("the table is larger than it may be")
        self.header_table.resize(size)
        return position

    def _literal(self, data: bytes, position: int) -> tuple[HeaderTuple | Field, int]:
        kind = data[position]
        index, position = _number(data, position, 6 if kind & _INCREMENTAL else 4)
        if index:
            name = self.header_table.get_by_index(index)[0]
        else:
            name, position = self._string(data, position)
        value, position = self._string(data, position)
        if kind & _INCREMENTAL:
            self.header_table.add(name, value)
        elif kind & _NEVER:
            return NeverIndexedHeaderTuple(name, value), position
        return (name, value), position

    def _string(self, data: bytes, position: int) -> tuple[bytes, int]:
        coded = data[position] & 0x80
        length, start = _number(data, position, 7)
        position = start + length
        string = data[start:position]
        if len(string) != length:
            raise HPACKDecodingError("the section ends in a string")
        return (self._decoded(string) if coded else string), position

    def _decoded(self, string: bytes) -> bytes:
        """A string in Huffman's code. Short ones are remembered for as long as the
        connection lives."""
        found = self._memo.get(string)
        if found is None:
            found = decode_huffman(string)
            if len(string) <= _MEMO_BYTES:
                if len(self._memo) >= _MEMO:
                    self._memo.clear()
                self._memo[string] = found
        return found


def _number(data: bytes, position: int, bits: int) -> tuple[int, int]:
    """RFC 7541 5.1, and where it ends."""
    most = (1 << bits) - 1
    number = data[position] & most
    position += 1
    if number < most:
        return number, position
    for shift in range(0, 35, 7):  # whoever needs more octets means nothing that we have
        byte = data[position]
        position += 1
        number += (byte & 127) << shift
        if byte < 128:
            return number, position
    raise HPACKDecodingError("a number is too long")
