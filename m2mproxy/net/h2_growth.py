"""Receive windows of HTTP/2 streams that grow with the bandwidth-delay product of the line.

A window is what can be under way in a round trip: 128 KiB over 200 ms are 640 KB a second, whatever
the line could carry. So where a window is used up within a round trip, and all of it is taken, it
grows to a few times what came meanwhile. How long a round trip is, a PING tells (RFC 9113 6.7).
That takes a round trip by itself. A request, which is worth nothing before it is whole, gets what
its distance asks for as soon as some of it was taken, before its first window can be used up. Not
so a response: what it has under way on a slow line, the events of others wait for.

The one rule: who takes what comes gets more at a time, and nobody else does. What a connection's
streams have beyond their first windows is bounded, however many they are.
"""

from __future__ import annotations

from collections.abc import Callable

from m2mproxy.net.h2_engine import STREAM_WINDOW, Engine
from m2mproxy.net.h2_stream import H2Stream

# Bytes that the windows of one connection may grow by, all together: a stream that has all of it
# brings 100 Mbit/s over a round trip of 600 ms.
MOST_EXTRA = 8 * 1024 * 1024
# A window is granted anew by halves, so that twice what is under way is the least that it needs.
_TIMES = 4
_NAME = b"m2mr"
# Bytes a second for which the window of a request is large enough, whatever the distance, and how
# large that is at most.
_RATE, _MOST_AT_ONCE = 2_500_000, 1024 * 1024


class Growth:
    """The windows of one connection's streams."""

    __slots__ = ("_engine", "_extra", "_granted", "_mark", "_measured", "_ping", "_rounds")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._extra = 0  # bytes that the streams have beyond their first windows
        self._granted = 0  # and the connection beyond its own
        self._measured: H2Stream | None = None  # during a round trip
        self._mark = 0  # what of it had been taken at the beginning
        self._rounds = 0
        self._ping = b""  # the last one

    def took(self, stream: H2Stream, distance: Callable[[], float]) -> None:
        """More of `stream` was taken: `stream.credited` bytes in all. `distance` is the round trip
        of a client's requests, in seconds, as far as it is known."""
        if not (stream.measured or stream.body.held) and stream.window == STREAM_WINDOW:
            enough = min(int(distance() * _RATE), _MOST_AT_ONCE)
            self._widen(stream, enough - stream.window)
        enough = stream.credited - stream.measured >= stream.window // 2
        if enough and self._measured is None and self._extra < MOST_EXTRA:
            self._begin(stream)

    def _begin(self, stream: H2Stream) -> None:
        self._measured, self._mark = stream, stream.credited
        self._rounds += 1
        self._ping = _NAME + (self._rounds & 0xFFFFFFFF).to_bytes(4, "big")
        self._engine.ping(self._ping)

    def answered(self, ping: bytes) -> None:
        """A PING of ours came back."""
        stream = self._measured
        if stream is None or ping != self._ping:
            return
        self._measured = None
        stream.measured = stream.credited
        taken = stream.credited - self._mark
        if stream.ended_in or stream.body.held or taken < stream.window // 2:
            return
        if self._widen(stream, _TIMES * taken - stream.window):
            self._begin(stream)

    def _widen(self, stream: H2Stream, by: int) -> bool:
        """Grant `by` bytes more, as far as there are any; whether there were."""
        by = min(by, MOST_EXTRA - self._extra)
        if by <= 0:
            return False
        stream.window += by
        self._extra += by
        self._engine.widen(by, stream.id)
        # Or streams whose readers have stopped could hold up the others.
        if self._extra > self._granted:
            self._engine.widen(self._extra - self._granted)
            self._granted = self._extra
        return True

    def forget(self, stream: H2Stream) -> None:
        """`stream` is over."""
        self._extra -= stream.window - STREAM_WINDOW
        stream.window = STREAM_WINDOW
        if self._measured is stream:
            self._measured = None
