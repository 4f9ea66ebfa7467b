"""The reading side of an HTTP/1 connection: backpressure for a peer that is too fast, a deadline
for a client that is too slow.

Law 3: whoever sends faster than its payload is taken is made to wait, by not reading its socket.
A client that owes a body and sends it too slowly is too late: there is a time for its next byte,
and a pace to keep on average, or one byte a minute would hold a connection for days.

The one rule: a client is slow by its own doing only. While we do not read, its time stands still.
"""

from __future__ import annotations

import asyncio

from m2mproxy.http.body import Body
from m2mproxy.net.connection import Runtime
from m2mproxy.net.deadline import Deadline

# Bytes that may wait for a reader before the transport is told to stop, and to go on.
HIGH_WATER = 64 * 1024
LOW_WATER = 32 * 1024


class Intake:
    """The reading side of a transport."""

    __slots__ = (
        "_bytes",
        "_deadline",
        "_grace",
        "_least",
        "_loop",
        "_paused",
        "_since",
        "transport",
    )

    def __init__(self, runtime: Runtime, deadline: Deadline) -> None:
        self._loop = runtime.loop
        self._deadline = deadline
        self._grace = runtime.timeouts.body
        self._least = runtime.limits.body_rate
        self._paused = False
        self._since: float | None = None  # when the upload that is watched began
        self._bytes = 0
        self.transport: asyncio.Transport | None = None

    def regulate(self, body: Body) -> None:
        """Stop the sender of `body` when too much of it waits."""
        if body.held and body.weight > HIGH_WATER:
            body.throttled = True
            self.pause()

    def credit(self, body: Body) -> None:
        """Some of a throttled `body` was taken: let its sender go on when little is left."""
        if body.weight <= LOW_WATER:
            body.throttled = False
            self.resume()

    def pause(self) -> None:
        """Read no more for now."""
        if not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()
            if self._since is not None:
                self._deadline.clear()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()
            if self._since is not None:
                self._since = None
                self.watch(0)

    def watch(self, size: int) -> None:
        """A client owes more of its body; `size` bytes came just now."""
        now = self._loop.time()
        if self._since is None:
            self._since = now
            self._bytes = 0
        self._bytes += size
        if self._paused:
            return
        due = now + self._grace
        if self._least:
            due = min(due, self._since + self._grace + self._bytes / self._least)
        self._deadline.at(due)

    def watched_to_the_end(self) -> None:
        """The body is complete."""
        if self._since is not None:
            self._since = None
            self._deadline.clear()
