"""Transports in memory, joined in pairs: what asyncio promises of TCP, without a socket.

Bytes go from the writer's buffer (which has watermarks) over a wire of bounded size (the kernel's
buffers) to a reader that may have stopped reading. `split` decides in what pieces they arrive.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any

WIRE = 64 * 1024

Split = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> Iterable[bytes]:
    """Everything that is there in one piece."""
    return (data,)


def bytewise(data: bytes) -> Iterable[bytes]:
    """One byte at a time."""
    return (data[i : i + 1] for i in range(len(data)))


def randomly(seed: int) -> Split:
    """Pieces of random size."""
    source = random.Random(seed)

    def split(data: bytes) -> Iterable[bytes]:
        while data:
            size = source.randint(1, min(len(data), 50))
            yield data[:size]
            data = data[size:]

    return split


SPLITS: dict[str, Split] = {"whole": whole, "bytewise": bytewise, "randomly": randomly(7)}


class FakeSocket:
    """Remembers the options that are set."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.options: dict[tuple[int, int], Any] = {}
        self.said = b""  # TCP_INFO
        self.descriptor = -1  # where what the kernel still has is read from

    def fileno(self) -> int:
        return self.descriptor

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return self.said[:size]

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self.options[level, option] = value


SEGMENT = 1448  # bytes


def tcp_info(
    rtt: float = 0.2, rate: int = 64_000, unsent: int = 0, sent: int = 20, window: int = 20
) -> bytes:
    """What linux/tcp.h says of a connection; `sent` and `window` are in segments."""
    said = bytearray(232)
    for offset, value in ((16, SEGMENT), (24, sent), (68, int(rtt * 1e6)), (80, window)):
        struct.pack_into("=I", said, offset, value)
    struct.pack_into("=I", said, 144, unsent)
    struct.pack_into("=Q", said, 160, rate)
    return bytes(said)


class Transport(asyncio.Transport):
    """One end of a pair."""

    name = ("192.0.2.7", 4711)  # of the other end
    own_name = ("192.0.2.7", 4712)

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, split: Split = whole
    ) -> None:
        super().__init__()
        self._loop = loop
        self.protocol = protocol
        self.split = split
        self.peer: Transport
        self.socket = FakeSocket()
        self.tls: object = None
        self.reading = True
        self.closing = False
        self.closed = False
        self.writes: list[int] = []  # pieces handed over in each call
        self._buffer = bytearray()
        self._wire = bytearray()
        self._high, self._low = 64 * 1024, 16 * 1024
        self._paused = False
        self._eof_wanted = self._eof_sent = False
        self._scheduled = False

    # -- what asyncio promises ------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        known = {
            "peername": self.name,
            "sockname": self.own_name,
            "socket": self.socket,
            "ssl_object": self.tls,
        }
        return known.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def write(self, data: Any) -> None:
        self.writelines([data])

    def writelines(self, pieces: Iterable[Any]) -> None:
        pieces = list(pieces)
        self.writes.append(len(pieces))
        if self.closing:
            return
        for piece in pieces:
            self._buffer += piece
        self._schedule()
        if len(self._buffer) > self._high and not self._paused:
            self._paused = True
            self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._eof_wanted = True
        self._schedule()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self.peer._schedule()

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = self._eof_wanted = True
            self._schedule()

    def abort(self) -> None:
        """What is in the kernel still arrives, unless SO_LINGER makes it a reset."""
        if self.closed:
            return
        self._buffer.clear()
        if (socket.SOL_SOCKET, socket.SO_LINGER) in self.socket.options:
            self.die()
        else:
            self.closing = self._eof_wanted = True
            self._schedule()
            self._lose(None)

    # -- what a test does to it -----------------------------------------------------------------

    def die(self) -> None:
        """A reset: both ends lose the connection and what was under way."""
        for end in (self, self.peer):
            end._buffer.clear()
            end._wire.clear()
        self._lose(None)
        self.peer._lose(ConnectionResetError())

    @property
    def under_way(self) -> int:
        """Bytes written here that the peer has not read."""
        return len(self._buffer) + len(self._wire)

    # -- the wire -------------------------------------------------------------------------------

    def _lose(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed = self.closing = True
            self._loop.call_soon(self.protocol.connection_lost, error)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._carry)

    def _carry(self) -> None:
        self._scheduled = False
        room = WIRE - len(self._wire)
        if room > 0 and self._buffer:
            self._wire += self._buffer[:room]
            del self._buffer[:room]
            if self._paused and len(self._buffer) <= self._low and not self.closed:
                self._paused = False
                self.protocol.resume_writing()
        if self._wire and self.peer.reading and not self.peer.closed:
            data = bytes(self._wire)
            self._wire.clear()
            for piece in self.split(data):
                if self.peer.closed or not self.peer.reading:
                    # Stopped in the middle: the rest waits in the wire.
                    self._wire += data
                    break
                self.peer.protocol.data_received(piece)
                data = data[len(piece) :]
        movable = self._buffer and len(self._wire) < WIRE
        if movable or (self._wire and self.peer.reading and not self.peer.closed):
            self._schedule()
        elif self._eof_wanted and not self._buffer and not self._wire:
            self._end()

    def _end(self) -> None:
        if not self._eof_sent:
            self._eof_sent = True
            if not self.peer.closed and not self.peer.protocol.eof_received():
                self.peer.close()
        if self.closing:
            self._lose(None)


def join(
    loop: asyncio.AbstractEventLoop,
    first: asyncio.Protocol,
    second: asyncio.Protocol,
    split: Split = whole,
) -> tuple[Transport, Transport]:
    """Connect two protocols. What either writes arrives in the pieces that `split` makes."""
    ends = Transport(loop, first, split), Transport(loop, second, split)
    ends[0].peer, ends[1].peer = ends[1], ends[0]
    for end in ends:
        end.protocol.connection_made(end)
    return ends


class Raw(asyncio.Protocol):
    """An end that the test itself speaks for."""

    def __init__(self) -> None:
        self.transport: Transport
        self.received = bytearray()
        self.pieces: list[bytes] = []
        self.eof = False
        self.lost: object = False  # False, or the error with which the connection was lost
        self.half_open = False  # whether to stay open when the other side has said its last

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.pieces.append(data)

    def eof_received(self) -> bool:
        self.eof = True
        return self.half_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc

    @property
    def was_reset(self) -> bool:
        """Whether the other side ended with a reset."""
        return isinstance(self.lost, ConnectionResetError)

    @property
    def is_gone(self) -> bool:
        """Whether the other side ended, in whatever way."""
        return self.eof or self.lost is not False

    def send(self, data: bytes) -> None:
        """Write."""
        self.transport.write(data)

    def take(self) -> bytes:
        """What was received since the last call."""
        data = bytes(self.received)
        self.received.clear()
        return data
