"""RESPONSES of m2m-link(7), After a request: what both have before it, pieces, whole bodies."""

from __future__ import annotations

import zlib

from linklib import forms, message, wire
from linklib.wire import Broken, Reader

CODING = "m2m-link"
LARGEST_PIECE, LARGEST_WHOLE = 32 << 10, 256 << 10
LARGEST_REQUEST, FIRST, LAST = 131_072, 98_304, 32_768
REACH, SINCE = 163_840, 8192
NEAR, NEAR_REQUEST = 32_768, 24_576
FIRST_OF_ENDS, LAST_OF_ENDS, SHORT, WINDOW = 16_384, 1024, 1024, 1024
_OFFSETS = b"".join(wire.u32(number) for number in (1, 4, 8))
_CONTENT_AT = wire.RESPONSE.index(_OFFSETS) + len(_OFFSETS)
_TABLES, _CONTENT = wire.RESPONSE[:_CONTENT_AT], wire.RESPONSE[_CONTENT_AT:]


def ends(body: bytes, content_type: str) -> bytes:
    """What is kept of a response."""
    if content_type.startswith("text/event-stream"):
        lines = body.split(b"\n")[:-1]
        if any(line.rpartition(b"\r")[2] == b":" for line in lines):
            return b""
    if b"\n\n" in body[:SHORT] and len(body) > 2 * SHORT:
        return body[:SHORT] + body[-SHORT:]
    if len(body) <= FIRST_OF_ENDS + LAST_OF_ENDS:
        return body
    return body[:FIRST_OF_ENDS] + body[-LAST_OF_ENDS:]


class Before:
    """What stands before a response to `request`, which goes on from one with these `ends`; and
    before the next piece of it."""

    def __init__(self, request: bytes, ends: bytes = b"") -> None:
        near = (_CONTENT + request[-NEAR_REQUEST:] + ends)[-NEAR:]
        self._dictionary = _TABLES + near
        if len(request) > LARGEST_REQUEST:
            request = request[:FIRST] + request[-LAST:]
        self._text = _CONTENT[-8192:] + request + ends
        self._since = b""
        self.check = (zlib.crc32(ends) & 0xFFFF).to_bytes(2, "little") if ends else b""
        self.window = ends
        if len(ends) > 2 * WINDOW:
            self.window = ends[:WINDOW] + ends[-WINDOW:]

    def passed(self, plain: bytes) -> None:
        """A batch that is no piece."""
        self._since += plain

    def _prefix(self) -> wire.Dictionary:
        return wire.prefix(self._text[-REACH:] + self._since[-SINCE:])

    def _add(self, piece: bytes) -> None:
        self._text, self._since = self._text + piece, b""

    def write(self, plain: bytes, *, headers: bool = False) -> bytes:
        """A piece; with `headers` even where they could be left out."""
        coded = message.write_frame(plain, self._prefix(), headers=headers)
        self._add(plain)
        return coded

    def read(self, coded: bytes) -> bytes:
        reader = Reader(coded)
        size = reader.varint()
        if size >> 1 > LARGEST_PIECE:
            raise Broken("a piece that is too large")
        plain = message.read_frame(size, reader.rest(), self._prefix())
        self._add(plain)
        return plain

    def _of_whole(self, far: bool) -> wire.Dictionary:
        return wire.prefix(self._text) if far else wire.dictionary(self._dictionary)

    def write_whole(self, body: bytes, *, headers: bool = False, far: bool = False) -> bytes:
        coded = Reader(message.write_frame(body, self._of_whole(far), headers=headers))
        size = coded.varint() << 1 | far
        return wire.varint(size) + wire.u32(wire.crc32(body)) + coded.rest()

    def read_whole(self, coded: bytes) -> bytes:
        """A whole body in any of its forms."""
        if coded[:1] == b"\0":
            return forms.read_sized(coded[1:])
        reader = Reader(coded)
        size, checksum = reader.varint(), reader.u32()
        if size >> 2 > LARGEST_WHOLE:
            raise Broken("a body that is too large")
        body = message.read_frame(size >> 1, reader.rest(), self._of_whole(bool(size & 1)))
        if wire.crc32(body) != checksum:
            raise Broken("another checksum")
        return body
