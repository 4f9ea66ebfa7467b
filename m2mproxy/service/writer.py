"""Where the log's lines go: a descriptor that belongs to others too, and that may be slow or gone.

The one rule: writing never waits and never grows. Lines are gathered for a moment and written in
one call that does not block. What the other end does not take yet is kept up to a limit; beyond it
lines are dropped whole, and counted. Nothing else is ever lost.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import stat
import time
from collections.abc import Callable
from typing import NamedTuple

_GATHER_SECONDS = 0.05
_GATHER_BYTES = 32 * 1024
_MAX_PENDING = 256 * 1024
# At the end of the program nothing else is held up: so long a reader that lags is waited for.
_LAST_WAIT = 0.5
# What a writable pipe takes without blocking (POSIX, write; Linux pipe(7)).
_PIPE_BUF = select.PIPE_BUF


class LineWriter:
    """Writes whole lines to a descriptor. `dropped` counts those that nobody took."""

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        self._loop = loop
        self._sink = _sink(descriptor)
        self._pending: list[bytes] = []
        self._size = 0
        self._scheduled = False
        self._blocked = False
        self.dropped = 0

    def write(self, line: bytes) -> None:
        """Write `line` soon, or drop it when too much is waiting already."""
        size = self._size + len(line)
        if size > _MAX_PENDING:
            self.dropped += 1
            return
        self._pending.append(line)
        self._size = size
        if size >= _GATHER_BYTES:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_later(_GATHER_SECONDS, self._gathered)

    def flush(self) -> None:
        """Write what is gathered, unless the other end is known to be full."""
        if not self._blocked and not self._write():
            self._blocked = True
            self._loop.add_writer(self._sink.descriptor, self._unblocked)

    def close(self) -> None:
        """Write the rest, as much as is taken within a moment."""
        if self._blocked:
            self._loop.remove_writer(self._sink.descriptor)
        end = time.monotonic() + _LAST_WAIT
        poll = select.poll()
        poll.register(self._sink.descriptor, select.POLLOUT)
        while not self._write():
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                break
        self._lose(b"".join(self._pending))
        self._pending = []

    def _gathered(self) -> None:
        self._scheduled = False
        self.flush()

    def _unblocked(self) -> None:
        if self._write():
            self._blocked = False
            self._loop.remove_writer(self._sink.descriptor)

    def _write(self) -> bool:
        """Write what is gathered. Returns whether nothing of it is left."""
        data = b"".join(self._pending)
        try:
            while data:
                data = data[self._sink.put(data) :]
        except BlockingIOError:
            pass
        except OSError:  # the other end is gone, or its disk is full
            self._lose(data)
            data = b""
        self._pending = [data] if data else []
        self._size = len(data)
        return not data

    def _lose(self, data: bytes) -> None:
        self.dropped += data.count(b"\n")


class _Sink(NamedTuple):
    """A descriptor to watch, and how to write to it: raises BlockingIOError instead of waiting."""

    descriptor: int
    put: Callable[[bytes], int]


def _sink(descriptor: int) -> _Sink:
    """A way to write to `descriptor` without waiting, and without changing it for those who share
    it: O_NONBLOCK belongs to the open file, and so to the shell's terminal."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):  # journald's: a wish that goes with every call
        shared = socket.socket(fileno=os.dup(descriptor))
        return _Sink(shared.fileno(), lambda data: shared.send(data, socket.MSG_DONTWAIT))
    if not stat.S_ISFIFO(mode) and not stat.S_ISCHR(mode):  # a file does not wait
        return _Sink(descriptor, lambda data: os.write(descriptor, data))
    try:  # opened again, it is an open file of our own
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # a terminal or pipe of another user, or no /proc
        return _Sink(descriptor, _asking_first(descriptor))
    return _Sink(own, lambda data: os.write(own, data))


def _asking_first(descriptor: int) -> Callable[[bytes], int]:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)

    def put(data: bytes) -> int:
        if not poll.poll(0):
            raise BlockingIOError
        return os.write(descriptor, data[:_PIPE_BUF])

    return put
