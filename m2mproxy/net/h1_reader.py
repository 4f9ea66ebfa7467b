"""The incoming half of an HTTP/1 connection: bytes to heads, payload and ends (RFC 9112 2, 6, 7).

There is one function for each state; it takes what has arrived and returns what it did not use.
What a head means, and who gets the payload, is the subclass's business.

The one rule: nothing is kept but the start of a head and what comes between two messages, and
both are bounded before they are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from m2mproxy.config import Limits
from m2mproxy.http.body import Chunk
from m2mproxy.http.headers import Headers
from m2mproxy.http.validate import MOST_ADDED_BYTES, TOKEN, Malformed
from m2mproxy.net.h1_chunked import ChunkedReader

_MAX_EMPTY_LINES = 8
_CR = 0x0D
# A record of TLS that says what was wrong: a server's answer to what is no TLS (RFC 8446 5.1, 6).
_ALERT = b"\x15"
# A method, or "HTTP", of which the first letter is enough.
_begins = re.compile(TOKEN).match


class MessageReader:
    """Reads one message after the other. Subclasses fill in the `on_` methods."""

    __slots__ = ("_chunks", "_held", "_left", "_limits", "_read", "_searched")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._read: Callable[[MessageReader, bytes], bytes] = MessageReader._read_head
        self._held = b""
        self._searched = 0  # bytes of a head that comes in pieces, in which its end is not
        self._left = 0
        self._chunks: ChunkedReader | None = None

    # -- what the subclass is told --------------------------------------------------------------

    def on_head(self, raw: bytes) -> None:
        """A head is there, without its final empty line. To be answered with an `expect`."""
        raise NotImplementedError

    def on_head_begun(self) -> None:
        """A part of a head is there."""

    def on_payload(self, chunk: Chunk, is_last: bool = False) -> None:
        """A piece of the body, in the size in which it came. After the one that `is_last`, `on_end`
        is called at once."""
        raise NotImplementedError

    def on_end(self, trailers: Headers | None) -> None:
        """The message is complete. To be answered with `expect_head` sooner or later."""
        raise NotImplementedError

    def on_ahead(self, held: int) -> None:
        """`held` bytes came after the end of a message, before `expect_head`."""
        raise NotImplementedError

    def read_chunks(self, reader: ChunkedReader, data: bytes) -> bytes:
        """Give `data` to `reader`, its payload to `on_payload`; what follows the body."""
        return reader.feed(data, self.on_payload)

    # -- what the subclass says -----------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Read what arrived.

        Raises:
            Malformed: it is not HTTP/1, or over a limit.
        """
        if self._held:
            data, self._held = self._held + data, b""
        while data:
            data = self._read(self, data)

    def expect_head(self) -> None:
        """The next bytes are a head. What was held ahead is read by the next `feed`."""
        self._read = MessageReader._read_head

    def expect_body(self, length: int | None, chunked: bool) -> None:
        """The next bytes are a body: counted, chunked, or (None) up to the connection's end."""
        if chunked:
            self._chunks = ChunkedReader(self._limits.header_bytes, self._limits.header_count)
            self._read = MessageReader._read_chunked
        elif length is None:
            self._read = MessageReader._read_until_close
        else:
            self._left = length
            self._read = MessageReader._read_counted

    def expect_nothing(self) -> None:
        """The message had no body: the next bytes are ahead of their time."""
        self._read = MessageReader._read_ahead

    def ignore_input(self) -> None:
        """Whatever comes is thrown away."""
        self._read = MessageReader._read_nothing
        self._held = b""

    @property
    def has_held(self) -> bool:
        """Whether a part of a head, or of what comes after it, is waiting."""
        return bool(self._held)

    @property
    def is_ahead(self) -> bool:
        """Whether what comes is ahead of its time."""
        return self._read is MessageReader._read_ahead

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the body."""
        return self._read is MessageReader._read_until_close

    @property
    def left(self) -> int | None:
        """Bytes that a counted body still has to bring; None for every other state."""
        return self._left if self._read is MessageReader._read_counted else None

    # -- states ---------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> bytes:
        searched, self._searched = self._searched, 0
        end = data.find(b"\r\n\r\n", max(searched - 3, 0))
        if end <= 0 or data[0] == _CR:
            return self._incomplete_head(data, searched)
        if end > self._limits.header_bytes + MOST_ADDED_BYTES:
            raise Malformed("the header section is too large", 431)
        self.on_head(data[:end])
        return data[end + 4 :]

    def _incomplete_head(self, data: bytes, searched: int) -> bytes:
        # RFC 9112 2.2: some clients end a body with a line end of their own.
        for _ in range(_MAX_EMPTY_LINES):
            if not data.startswith(b"\r\n"):
                break
            data, searched = data[2:], 0
        else:
            raise Malformed("empty lines instead of a head")
        if data[:1] == b"\r" and len(data) > 1:
            raise Malformed("a carriage return without line feed")
        if data[:1] not in b"\r" and not _begins(data, 0, 1):  # no head to wait for
            raise Malformed(f"what was sent is {'TLS' if data[:1] == _ALERT else 'not HTTP/1'}")
        if data.find(b"\r\n\r\n", max(searched - 3, 0)) >= 0:
            return data
        # Three bytes more than the limit may be the beginning of the head's end.
        if len(data) > self._limits.header_bytes + MOST_ADDED_BYTES + 3:
            raise Malformed("the header section is too large", 431)
        # A head with bare line feeds would never end: see it now, not at the deadline.
        if data.count(b"\n", searched) != data.count(b"\r\n", max(searched - 1, 0)):
            raise Malformed("the header section has a line feed without carriage return")
        self._held, self._searched = data, len(data)
        if data:
            self.on_head_begun()
        return b""

    def _read_counted(self, data: bytes) -> bytes:
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            self.on_payload(data)
            return b""
        self._left = 0
        self._read = MessageReader._read_ahead
        self.on_payload(data[:left], is_last=True)
        self.on_end(None)
        return data[left:]

    def _read_chunked(self, data: bytes) -> bytes:
        reader = self._chunks
        assert reader is not None
        rest = self.read_chunks(reader, data)
        if reader.done and self._read is MessageReader._read_chunked:
            self._chunks = None
            self._read = MessageReader._read_ahead
            self.on_end(reader.trailers)
        return rest

    def _read_until_close(self, data: bytes) -> bytes:
        self.on_payload(data)
        return b""

    def _read_ahead(self, data: bytes) -> bytes:
        self._held = data
        self.on_ahead(len(data))
        return b""

    def _read_nothing(self, data: bytes) -> bytes:
        return b""
