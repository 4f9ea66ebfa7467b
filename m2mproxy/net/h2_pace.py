"""Keeps the kernel's queue short on slow lines, so that the streams of a connection can pass one
another.

What the kernel has leaves in the order in which it came. Left to itself it takes 64 KiB that it
cannot send yet, and the transport as much again: on a line of 64 kbit/s an event of one stream
would leave 16 seconds after what another stream had to say before.

The one rule: what cannot leave in the next moment stays with its stream, where others pass it. The
line is never without work for that: the next moment has twice the bytes that it brings.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from m2mproxy.net.deadline import Deadline
from m2mproxy.net.h2_frames import MAX_FRAME
from m2mproxy.net.path import Path, path_of
from m2mproxy.net.tcp import WRITE_HIGH

# A peer at this distance, in seconds, is near: its line is fast, or it is somebody else's.
_NEAR = 0.02
# The kernel has so many seconds of the line's work, and is looked after when half of it is done.
_WORK = 0.06
_SOON, _LATE = 0.01, 0.1
# Seconds for which a line that was found to be fast is not looked at again.
_FREE = 1.0
# Of a segment, what a frame's header and a record of TLS 1.3 take.
_OVERHEAD = 9 + 22
# What is less is handed over without a look.
SMALL = 1400


class Pace:
    """One connection's."""

    __slots__ = ("_free_until", "_loop", "_timer", "_transport", "frame", "is_holding")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        go_on: Callable[[], None],
    ) -> None:
        """`go_on` is called when more can be handed over, after `is_holding`."""
        self._transport = transport
        self._loop = loop
        self._timer = Deadline(loop, go_on)
        self._free_until = -math.inf
        self.frame = MAX_FRAME
        """How long a frame should be at most: others wait for its end."""
        self.is_holding = False
        """Whether `room` was less than the transport has."""

    def room(self, most: int) -> int:
        """Bytes that should be handed over now, `most` at most."""
        now = self._loop.time()
        self.is_holding = False
        if now < self._free_until:
            return most
        path = path_of(self._transport)
        work = 0.0 if path is None else path.rate * _WORK
        if path is None or path.rtt < _NEAR or work >= WRITE_HIGH:
            self._free_until = now + _FREE
            self.frame = MAX_FRAME
            return most
        return self._held_back(path, int(work), most)

    def _held_back(self, path: Path, work: int, most: int) -> int:
        segment = max(path.segment - _OVERHEAD, 1)
        self.frame = min(MAX_FRAME, max(segment, work // 4))
        enough = max(work, 2 * segment)
        waiting = path.unsent + self._transport.get_write_buffer_size()
        # What the window has room for leaves at once, be it that the line had nothing to do or that
        # it carries more than arrived lately: while a window opens, that is half of what it could.
        room = enough - waiting if waiting else max(enough, path.room)
        self.is_holding = room < most
        if self.is_holding:
            left = (waiting + max(room, 0) - enough / 2) / path.rate if waiting else 0.0
            self._timer.after(min(max(left, _SOON), _LATE))
        return min(room, most)

    def close(self) -> None:
        """Nothing more is handed over."""
        self._timer.end()
