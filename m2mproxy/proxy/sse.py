"""Event streams as far as a proxy that does not touch them needs to know: is this one, is it
between two events, was the last of them an error.

The one rule: bytes of our own (a comment, a last error) go between events, never inside one.
"""

from __future__ import annotations

import re

from m2mproxy.http.body import Chunk
from m2mproxy.http.message import Response

# WHATWG HTML 9.2.6: lines end with CR, LF or both; an empty line ends an event.
_ENDS = (b"\n\n", b"\r\r", b"\n\r\n")

COMMENT = b":\n\n"
# How servers tell an error within a stream, and so do we (errors.py). Some have "error":null in
# events that tell none.
_is_error = re.compile(rb'data: \{"error": ?+(?!null\b)|event: error\n').match
_IN_ERRORS = b"error"
# So much of the end is looked at when a stream breaks; no error event of ours is longer.
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

    __slots__ = ("_last", "between_events")

    def __init__(self) -> None:
        self._last = b"\n\n"
        self.between_events = True
        """Whether what passed so far ends with an empty line, or nothing passed."""

    def feed(self, chunk: Chunk) -> None:
        """`chunk` passed."""
        last = bytes(chunk[-_KEPT:])  # no view, which keeps a buffer
        if len(last) < 3 or not self.between_events:
            last = self._last[-_KEPT:] + last
        self.between_events = last.endswith(_ENDS)
        # A stream can stay at its last event for long: all of it only where it may tell an error.
        may_tell = not self.between_events or last.find(_IN_ERRORS) >= 0
        self._last = last if may_tell else last[-3:]

    @property
    def has_told(self) -> bool:
        """Whether the last that passed is an event that tells an error."""
        last = self._last.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return last.endswith(b"\n\n") and _is_error(last[:-2].rpartition(b"\n\n")[2]) is not None
