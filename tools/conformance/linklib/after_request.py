"""RESPONSES of m2m-link(7), After a request: what both sides have before a piece, and pieces."""

from __future__ import annotations

from linklib import forms, message, wire
from linklib.wire import Broken, Reader

CODING = "m2m-link"
LARGEST_PIECE, LARGEST_WHOLE = 32 << 10, 256 << 10
LARGEST_REQUEST, FIRST, LAST = 131_072, 98_304, 32_768
REACH = 163_840
_OFFSETS = b"".join(wire.u32(number) for number in (1, 4, 8))
_CONTENT = wire.RESPONSE[wire.RESPONSE.index(_OFFSETS) + len(_OFFSETS) :][-8192:]


class Before:
    """What stands before the next piece of a response to `request`."""

    def __init__(self, request: bytes) -> None:
        if len(request) > LARGEST_REQUEST:
            request = request[:FIRST] + request[-LAST:]
        self._text = _CONTENT + request

    def write(self, plain: bytes, *, headers: bool = False) -> bytes:
        """A piece; with `headers` even where they could be left out."""
        coded = message.write_frame(plain, wire.prefix(self._text[-REACH:]), headers=headers)
        self._text += plain
        return coded

    def read(self, coded: bytes) -> bytes:
        reader = Reader(coded)
        size = reader.varint()
        if size >> 1 > LARGEST_PIECE:
            raise Broken("a piece that is too large")
        plain = message.read_frame(size, reader.rest(), wire.prefix(self._text[-REACH:]))
        self._text += plain
        return plain

    def write_whole(self, body: bytes, *, headers: bool = False) -> bytes:
        coded = Reader(message.write_frame(body, wire.prefix(self._text), headers=headers))
        coded.varint()
        return coded.data[: coded.at] + wire.u32(wire.crc32(body)) + coded.rest()

    def read_whole(self, coded: bytes) -> bytes:
        """A whole body in either of its forms."""
        if coded[:1] == b"\0":
            return forms.read_sized(coded[1:])
        reader = Reader(coded)
        size, checksum = reader.varint(), reader.u32()
        if size >> 1 > LARGEST_WHOLE:
            raise Broken("a body that is too large")
        body = message.read_frame(size, reader.rest(), wire.prefix(self._text))
        if wire.crc32(body) != checksum:
            raise Broken("another checksum")
        return body
