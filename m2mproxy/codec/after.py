"""Replies coded after their own request, on a link, where both ends have it.

The Responses API repeats the instructions and tools of each request up to three times: to one that
crossed in some hundred bytes, the reply would take thousands. So whole bodies, and large events of
a stream, are zstd frames with a prefix: the end of the static dictionary's text, the beginning and
the end of the request's body, and the pieces of the reply before; of all that the last 160 KiB. Of
a frame only the blocks cross.

    piece   varint size | blocks
    body    varint size | u32 crc32, little-endian | blocks
            0 | a message of the static form

`size` is what the blocks hold, times two, plus one if they are all there with their headers, as in
requests (link/message.py).

Most streams have no such piece: if none of the first eight batches is one, none follows. There are
256 at most, since each takes long to read, however little it holds.

The one rule: a declared size is compared with its limit before anything is made of it.
"""

from __future__ import annotations

import struct
import zlib

from m2mproxy.codec import blocks, dictionaries, static, zstd
from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.varint import read_varint, write_varint

# Bytes of a piece, or a whole body, that are worth what it takes to go through all of that.
LEAST = 1024
# Of a longer request the beginning has the instructions, and may have the tools; the end the tools.
_FIRST, _LAST = 96 * 1024, 32 * 1024
_TEXT = 8 * 1024  # of the dictionary
# Batches of a stream of which one has to be a piece, and pieces that it may have: to read one takes
# 30 µs at least.
_SOON, _MOST = 8, 256
_REACH = 160 * 1024
_STATIC = b"\0"
_checksum = struct.Struct("<I")


def of_request(body: bytes) -> bytes:
    """What of a request's body is kept for its reply."""
    return body if len(body) <= _FIRST + _LAST else body[:_FIRST] + body[-_LAST:]


def _beginning(request: bytes) -> bytes:
    return dictionaries.response_text()[-_TEXT:] + request


class History:
    """What came before the next piece of a stream. It is put together when there is one."""

    __slots__ = ("_before", "_has_any", "_left", "_request")

    def __init__(self, request: bytes) -> None:
        """`request` is what `of_request` gave."""
        self._request, self._before = request, b""
        self._has_any = False
        self._left = _SOON  # of other batches; and then of pieces

    def encode(self, piece: bytes) -> bytes:
        """The next piece, which comes before those after it."""
        before = self._before or _beginning(self._request)
        coded = _pack(piece, before)
        self._add(before, piece)
        return coded

    def decode(self, coded: bytes, most: int) -> bytes:
        """The piece that `coded` carries, of at most `most` bytes.

        Raises:
            WireError: it is damaged, or says that it has more.
        """
        before = self._before or _beginning(self._request)
        size, at = read_varint(coded, 0, len(coded))
        piece = _unpack(memoryview(coded)[at:], size, before, most)
        self._add(before, piece)
        return piece

    def _add(self, before: bytes, piece: bytes) -> None:
        self._before, self._request = (before + piece)[-_REACH:], b""
        self._left = (self._left if self._has_any else _MOST) - 1
        self._has_any = True

    def passed(self) -> History | None:
        """A batch passed that is no piece: see `rest`."""
        if not self._has_any:
            self._left -= 1
        return self.rest()

    def rest(self) -> History | None:
        """What to go on with: nothing where no piece may come any more."""
        return self if self._left else None


def encode(body: bytes, request: bytes) -> bytes:
    """A whole reply, in the smaller of its two forms."""
    as_ever = _STATIC + static.encode(body, static.Way.RESPONSE)
    if len(body) < LEAST:
        return as_ever
    coded = _pack(body, _beginning(request))
    _, at = read_varint(coded, 0, len(coded))
    after = coded[:at] + _checksum.pack(zlib.crc32(body)) + coded[at:]
    return min(as_ever, after, key=len)


def decode(message: bytes, request: bytes, limit: int) -> bytes:
    """The reply back.

    Raises:
        TooLarge: it says that it has more than `limit` bytes.
        WireError: it is damaged, or was coded after something else.
    """
    if message.startswith(_STATIC):
        return static.decode(message[1:], static.Way.RESPONSE, limit)
    size, at = read_varint(message, 0, len(message))
    some = memoryview(message)[at + _checksum.size :]  # none is no frame
    body = _unpack(some, size, _beginning(request), limit)
    if zlib.crc32(body) != _checksum.unpack_from(message, at)[0]:
        raise WireError("the body's checksum is not its own")
    return body


def _pack(piece: bytes, before: bytes) -> bytes:
    some, is_one = blocks.of(zstd.pack_after(piece, before))
    return write_varint(2 * len(piece) + (not is_one)) + some


def _unpack(some: memoryview, size: int, before: bytes, most: int) -> bytes:
    if size >> 1 > most:
        raise TooLarge(f"it decodes to more than {most} bytes")
    frame = blocks.frame(some, not size & 1, size >> 1)
    return zstd.unpack_frame(frame, size >> 1, zstd.prefix(before))
