"""Deadlines of request bodies over HTTP/2: a time for the next byte, and a pace to keep on average,
as h1_intake.py has them for HTTP/1.

The one rule: a client is slow by its own doing only. While we owe it room its time stands still.
"""

from __future__ import annotations

from m2mproxy.config import Limits, Timeouts
from m2mproxy.net.h2_engine import STREAM_WINDOW
from m2mproxy.net.h2_stream import H2Stream


class Uploads:
    """The streams whose request is not complete."""

    __slots__ = ("_grace", "_least", "_since")

    def __init__(self, timeouts: Timeouts, limits: Limits) -> None:
        self._grace = timeouts.body
        self._least = limits.body_rate
        # When its watch began, what had arrived by then, what has arrived, when that came.
        self._since: dict[H2Stream, tuple[float, int, int, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._since)

    def begin(self, stream: H2Stream, now: float) -> None:
        """A request with a body has begun."""
        self._since[stream] = (now, 0, 0, now)

    def end(self, stream: H2Stream) -> None:
        """The body is complete, or nobody waits for it any more."""
        self._since.pop(stream, None)

    def late(self, now: float) -> list[H2Stream]:
        """The streams that sent nothing for too long, or too little on average."""
        late = []
        for stream, (since, start, seen, touched) in list(self._since.items()):
            arrived = stream.arrived
            waits = stream.awaits_word and not (arrived or stream.ended_out)
            if waits or arrived - stream.credited > STREAM_WINDOW // 2:
                self._since[stream] = (now, arrived, arrived, now)  # we hold it back
                continue
            if arrived > seen:
                touched = now
                self._since[stream] = (since, start, arrived, now)
            due = touched + self._grace
            if self._least:
                due = min(due, since + self._grace + (arrived - start) / self._least)
            if now > due:
                late.append(stream)
        return late
