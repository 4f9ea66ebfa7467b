"""Replies coded after what came before them, on a link, where both ends have it: their own request,
and the reply that this goes on from.

A reply says again what the one before said: the model, its fingerprint, all the names of its
members. And the Responses API repeats the instructions and tools of each request up to three times:
to one that crossed in some hundred bytes, the reply would take thousands.

So a whole body is a zstd frame with the static dictionary's tables and the last 32 KiB of its text,
the end of the request and what is kept of the reply before. What is far, and large events of a
stream, have a prefix: the end of that text, the beginning and the end of the request, what is kept,
and the pieces of the reply before; of all that the last 160 KiB; and the last of what came since
and is no piece, since a reply says at its end what it said bit by bit. Of a frame only the blocks
cross.

    piece   varint size | blocks
    body    varint size | u32 crc32, little-endian | blocks
            0 | a message of the static form

`size` is what the blocks hold, times two, plus one if they are all there with their headers, as in
requests (link/message.py); of a body that times two, plus one if it has the prefix.

Most streams have no such piece: if none of the first eight batches is one, none follows. There are
256 at most, since each takes long to read, however little it holds.

The one rule: a declared size is compared with its limit before anything is made of it.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple, Self

from m2mproxy.codec import blocks, dictionaries, static, zstd
from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.varint import read_varint, write_varint

# Bytes of a piece that are worth what it takes to go through all of that.
LEAST = 1024
# Of a longer request the beginning has the instructions, and may have the tools; the end the tools.
_FIRST, _LAST = 96 * 1024, 32 * 1024
_TEXT = 8 * 1024  # of the dictionary
# Batches of a stream of which one has to be a piece, and pieces that it may have: to read one takes
# 30 µs at least.
_SOON, _MOST = 8, 256
_REACH = 160 * 1024
# What came since the last piece, as far as it stands before the next.
_SINCE = 8 * 1024
# What a whole body has before it, and how much of that may be its request: the static text is worth
# more than what is far in a conversation.
_NEAR, _OF_REQUEST = 32 * 1024, 24 * 1024
# A body that takes more than this may repeat something that is far, and is coded both ways; a large
# one only so, since the other way takes three times as long.
_MAY_BE_FAR, _MOST_NEAR = 1024, 64 * 1024
# What of the reply before stands in a stream's window, from its beginning and from its end.
_IN_WINDOW = 1024
_STATIC = b"\0"
_checksum, _check_of = struct.Struct("<I"), struct.Struct("<H")


class Before(NamedTuple):
    """What both ends have before a reply: the body of its request, as far as it is kept for that,
    and what is kept of the reply that the request goes on from (link/ends.py)."""

    request: bytes
    reply: bytes = b""

    @classmethod
    def of(cls, request: bytes, reply: bytes = b"") -> Self:
        """`request` is the whole body."""
        if len(request) > _FIRST + _LAST:
            request = request[:_FIRST] + request[-_LAST:]
        return cls(request, reply)

    @property
    def prefix(self) -> bytes:
        """For what is far, and before the first piece of a stream."""
        return b"".join([dictionaries.response_text()[-_TEXT:], *self])

    @property
    def dictionary(self) -> bytes:
        """For a whole body: the static dictionary's tables, and text."""
        near = self.request[-_OF_REQUEST:] + self.reply
        text = dictionaries.response_text()[-_NEAR:] + near
        return dictionaries.response_tables() + text[-_NEAR:]

    @property
    def check(self) -> bytes:
        """What shows that both ends keep the same of the reply before; nothing where there is
        none. (A request's body has been checked.)"""
        return _check_of.pack(zlib.crc32(self.reply) & 0xFFFF) if self.reply else b""

    @property
    def in_window(self) -> bytes:
        """What a stream's events may repeat."""
        reply = self.reply
        return reply if len(reply) <= 2 * _IN_WINDOW else reply[:_IN_WINDOW] + reply[-_IN_WINDOW:]


class History:
    """What came before the next piece of a stream. It is put together when there is one."""

    __slots__ = ("_before", "_has_any", "_left", "_pieces", "_since")

    def __init__(self, before: Before) -> None:
        self._before: Before | None = before
        self._pieces = b""
        self._since = bytearray()
        self._has_any = False
        self._left = _SOON  # of other batches; and then of pieces

    def encode(self, piece: bytes) -> bytes:
        """The next piece, which comes before those after it."""
        before = self._so_far()
        coded = _pack(piece, before + self._since[-_SINCE:])
        self._add(before, piece)
        return coded

    def decode(self, coded: bytes, most: int) -> bytes:
        """The piece that `coded` carries, of at most `most` bytes.

        Raises:
            WireError: it is damaged, or says that it has more.
        """
        before = self._so_far()
        size, at = read_varint(coded, 0, len(coded))
        _bound(size, most)
        reference = zstd.prefix(before + self._since[-_SINCE:])
        piece = _unpack(memoryview(coded)[at:], size, reference)
        self._add(before, piece)
        return piece

    def _so_far(self) -> bytes:
        return self._before.prefix if self._before is not None else self._pieces

    def _add(self, before: bytes, piece: bytes) -> None:
        self._before, self._pieces = None, (before + piece)[-_REACH:]
        self._since.clear()
        self._left = (self._left if self._has_any else _MOST) - 1
        self._has_any = True

    def passed(self, plain: bytes) -> History | None:
        """A batch passed that is no piece: see `rest`."""
        self._since += plain[-_SINCE:]
        if len(self._since) > 4 * _SINCE:
            del self._since[:-_SINCE]
        if not self._has_any:
            self._left -= 1
        return self.rest()

    def rest(self) -> History | None:
        """What to go on with: nothing where no piece may come any more."""
        return self if self._left else None


def encode(body: bytes, before: Before) -> bytes:
    """A whole reply, in the smallest of its forms."""
    made = []
    if len(body) <= _MOST_NEAR:
        made.append(_whole(body, zstd.pack_with(body, before.dictionary), is_far=False))
    if not made or len(made[0]) > _MAY_BE_FAR:
        made.append(_whole(body, zstd.pack_after(body, before.prefix), is_far=True))
    if not before.reply:
        made.append(_STATIC + static.encode(body, static.Way.RESPONSE))
    return min(made, key=len)


def _whole(body: bytes, frame: bytes, is_far: bool) -> bytes:
    some, is_one = blocks.of(frame)
    size = 2 * (2 * len(body) + (not is_one)) + is_far
    return write_varint(size) + _checksum.pack(zlib.crc32(body)) + some


def decode(message: bytes, before: Before, limit: int) -> bytes:
    """The reply back.

    Raises:
        TooLarge: it says that it has more than `limit` bytes.
        WireError: it is damaged, or was coded after something else.
    """
    if message.startswith(_STATIC):
        return static.decode(message[1:], static.Way.RESPONSE, limit)
    size, at = read_varint(message, 0, len(message))
    some = memoryview(message)[at + _checksum.size :]  # none is no frame
    is_far = size & 1
    _bound(size >> 1, limit)
    reference = zstd.prefix(before.prefix) if is_far else zstd.once(before.dictionary)
    body = _unpack(some, size >> 1, reference)
    if zlib.crc32(body) != _checksum.unpack_from(message, at)[0]:
        raise WireError("the body's checksum is not its own")
    return body


def _pack(piece: bytes, before: bytes) -> bytes:
    some, is_one = blocks.of(zstd.pack_after(piece, before))
    return write_varint(2 * len(piece) + (not is_one)) + some


def _bound(size: int, most: int) -> None:
    if size >> 1 > most:
        raise TooLarge(f"it decodes to more than {most} bytes")


def _unpack(some: memoryview, size: int, reference: zstd.Reference) -> bytes:
    frame = blocks.frame(some, not size & 1, size >> 1)
    return zstd.unpack_frame(frame, size >> 1, reference)
