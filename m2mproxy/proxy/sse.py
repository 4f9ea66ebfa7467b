"""Event streams as far as a proxy that does not touch them needs to know: is this one, is it
between two events.

The one rule: bytes of our own (a comment, a last error) go between events, never inside one.
"""

from __future__ import annotations

from m2mproxy.http.body import Chunk
from m2mproxy.http.message import Response

# WHATWG HTML 9.2.6: lines end with CR, LF or both; an empty line ends an event.
_ENDS = (b"\n\n", b"\r\r", b"\n\r\n")

COMMENT = b":\n\n"


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
    """Watches a stream's bytes pass and knows whether an event is half out."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\n\n"

    def feed(self, chunk: Chunk) -> None:
        """`chunk` passed."""
        last = bytes(chunk[-3:])
        self._tail = last if len(last) == 3 else (self._tail + last)[-3:]

    @property
    def between_events(self) -> bool:
        """Whether what passed so far ends with an empty line, or nothing passed."""
        return self._tail.endswith(_ENDS)
