"""The chunked transfer coding, read and written (RFC 9112 7.1).

Payload passes through as slices of what the socket delivered; nothing waits for a chunk to be
whole. The grammar of size lines is kept to the letter, because lenient readings of them have been
smuggled through (h11's own advisory for 0.16): what is not of the grammar is refused, although
h11 would take some of it. Trailers are read as h11 reads header fields.

The one rule: what this accepts, h11 accepts and reads the same (tests/fuzz).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from m2mproxy.http.body import Chunk
from m2mproxy.http.headers import Headers
from m2mproxy.http.validate import MOST_ADDED_BYTES, Malformed, check_bytes, check_trailers
from m2mproxy.net.h1_head import request_head

# 15 digits keep every sum in range; an extension is legal, means nothing to anyone, and is dropped.
_size_line = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*+)?\r\n").match
_MAX_SIZE_LINE = 256

LAST_CHUNK = b"0\r\n\r\n"


class ChunkedReader:
    """One chunked body. Feed it until it is `done`."""

    __slots__ = (
        "_after", "_held", "_left", "_max_fields", "_max_trailers", "_searched", "done", "trailers",
    )

    def __init__(self, max_trailers: int, max_fields: int) -> None:
        """`max_trailers` bounds the trailer section in bytes, `max_fields` its fields, in the way
        of a head (`check_bytes`, `check_count`)."""
        self._left = 0  # payload still to come in this chunk
        self._after = False  # the CRLF after the payload is still to come
        self._held = b""  # the start of a line or of the trailer section
        self._searched = 0  # bytes of what is held in which the trailer section does not end
        self._max_trailers = max_trailers
        self._max_fields = max_fields
        self.done = False
        self.trailers: Headers | None = None

    def feed(self, data: bytes, deliver: Callable[[Chunk], None]) -> bytes:
        """Read `data`, give payload to `deliver`, return what follows the end of the body.

        Raises:
            Malformed: not of the grammar, or trailers too large (431).
        """
        if self._held:
            data, self._held = self._held + data, b""
        position, size = 0, len(data)
        while position < size:
            if self._left:
                end = min(position + self._left, size)
                self._left -= end - position
                self._after = self._left == 0
                deliver(cut(data, position, end))
                position = end
            elif self._after:
                if not data.startswith(b"\r\n", position):
                    return self._hold_or_refuse(data[position:], data[position:] == b"\r")
                self._after = False
                position += 2
            else:
                line = _size_line(data, position)
                if line is None:
                    rest = data[position:]
                    return self._hold_or_refuse(rest, _may_become_size_line(rest))
                if line.end() - position > _MAX_SIZE_LINE:
                    raise Malformed("the chunked body has a wrong chunk")
                self._left = int(line[1], 16)
                if self._left == 0:
                    return self._last(data, position, line.end())
                position = line.end()
        return b""

    def _hold_or_refuse(self, rest: bytes, may_be_completed: bool) -> bytes:
        if not may_be_completed:
            raise Malformed("the chunked body has a wrong chunk")
        self._held = rest
        return b""

    def _last(self, data: bytes, start: int, position: int) -> bytes:
        """After the last chunk's line: the empty line, or trailers and then the empty line."""
        if data.startswith(b"\r\n", position):
            self.done = True
            return data[position + 2 :]
        end = data.find(b"\r\n\r\n", max(position, self._searched - 3))
        if end < 0:
            # Three bytes more may be the beginning of the section's end.
            if len(data) - position > self._max_trailers + MOST_ADDED_BYTES + 3:
                raise Malformed("the trailer section is too large", 431)
            self._held = data[start:]
            self._searched = len(self._held)
            return b""
        if end - position > self._max_trailers + MOST_ADDED_BYTES:
            raise Malformed("the trailer section is too large", 431)
        self.trailers = _read_trailers(data[position:end], self._max_fields)
        if end - position > self._max_trailers:
            check_bytes(self.trailers, self._max_trailers)
        self.done = True
        return data[end + 4 :]


def _may_become_size_line(rest: bytes) -> bool:
    return len(rest) < _MAX_SIZE_LINE and _size_line(rest.removesuffix(b"\r") + b"\r\n") is not None


def _read_trailers(raw: bytes, max_fields: int) -> Headers:
    # Fields are fields: the head reader, with a head in front whose own line is not counted.
    fields = request_head(b"GET / HTTP/1.1\r\nhost: trailers\r\n" + raw, max_fields)[3][1:]
    check_trailers(fields)
    return Headers(fields)


def cut(data: bytes, start: int, end: int) -> Chunk:
    """`data[start:end]`, copied only where a copy is cheaper than a view that pins `data`."""
    if start == 0 and end == len(data):
        return data
    return data[start:end] if end - start <= 2048 else memoryview(data)[start:end]


def frame(chunk: Chunk) -> tuple[bytes, Chunk, bytes]:
    """`chunk` as one chunk of the coding; the payload is the object given."""
    return b"%x\r\n" % len(chunk), chunk, b"\r\n"


def last_chunk(trailers: Headers | None) -> bytes:
    """The end of a chunked body."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"".join([b"%b: %b\r\n" % field for field in trailers]) + b"\r\n"
