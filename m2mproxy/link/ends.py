"""The beginning and the end of a reply as it passed, after which the next one of its conversation
is coded (codec/after.py): there it has what is the same each time, such as the model's name.

The one rule: they depend on nothing but the reply's plain bytes, however they were cut into pieces,
and of the longest reply they are no more than is said here.
"""

from __future__ import annotations

# The Responses API says again at the beginning what the request had, such as its tools: in its
# first event. Of a stream that has a short one first so much is not worth its memory: it stands in
# no window (codec/after.py), and is all that a short conversation takes.
FIRST, LAST = 16 * 1024, 1024
_EVENT_END = b"\n\n"


class Ends:
    """Sees one reply pass. It holds less than 20 KiB of it."""

    __slots__ = ("_first", "_last", "_left")

    def __init__(self) -> None:
        self._first, self._last = bytearray(), bytearray()
        self._left = FIRST  # bytes of the beginning that are to come

    def feed(self, piece: bytes) -> None:
        """`piece` passed, in plain."""
        if self._left:
            beginning = piece[: self._left]
            self._first += beginning
            self._left -= len(beginning)
            piece = piece[len(beginning) :]
        last = self._last
        last += piece
        if len(last) > 3 * LAST:
            del last[:-LAST]

    def finish(self) -> bytes:
        """Both, of a reply that is complete."""
        kept = bytes(self._first + self._last[-LAST:])
        if len(kept) > 2 * LAST and kept.find(_EVENT_END, 0, LAST) >= 0:
            return kept[:LAST] + kept[-LAST:]
        return kept
