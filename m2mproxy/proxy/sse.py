"""Event streams as far as a proxy that does not touch them needs to know: is this one, is it
between two events, was the last of them an error.

The one rule: bytes of our own (a comment, a last error) go between events, never inside one.
"""

from __future__ import annotations

from m2mproxy.http.body import Chunk
from m2mproxy.http.message import Response

# WHATWG HTML 9.2.6: lines end with CR, LF or both; an empty line ends an event.
_ENDS = (b"\n\n", b"\r\r", b"\n\r\n")

COMMENT = b":\n\n"
# How servers tell an error within a stream, and so do we (errors.py).
_ERRORS = (b'data: {"error":', b"event: error\n")
# Chunks of this size are looked at when they end the stream; no error event of ours is longer.
_KEPT = 2048


def is_event_stream(response: Response) -> bool:
    """Whether plain events follow, of a length nobody has promised."""
    headers = response.headers
    kind = headers.get(b"content-type", b"") or b""
    return (
        kind[:17].lower() == b"text/event-stream"
        and response.length is None
        and (headers.get(b"content-encoding") or b"identity").lower() == b"identity"
    )


class Boundary:
    """Watches a stream's bytes pass and knows whether an event is half out, and whether the last
    one was an error."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = b"\n\n"

    def feed(self, chunk: Chunk) -> None:
        """`chunk` passed."""
        last = bytes(chunk if len(chunk) <= _KEPT else chunk[-3:])  # no view, which keeps a buffer
        self._last = last if len(last) >= 3 else self._last[-3:] + last

    @property
    def between_events(self) -> bool:
        """Whether what passed so far ends with an empty line, or nothing passed."""
        return self._last.endswith(_ENDS)

    @property
    def has_told(self) -> bool:
        """Whether the last that passed is an event that tells an error."""
        last = self._last
        return last.endswith(b"\n\n") and last[:-2].rpartition(b"\n\n")[2].startswith(_ERRORS)
