"""TCP, TLS and unix-socket glue: an asyncio.Protocol that hands its callbacks to a Connection.

The one rule: every callback is one Turn, so that whatever it made anyone write leaves with it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from m2mproxy.net.connection import Connection, Turn

# Room in user space before a writer is told to stop, and to go on.
_WRITE_HIGH = 64 * 1024
_WRITE_LOW = 16 * 1024

# Unsent bytes the kernel takes from us for one connection. Its own default grows to megabytes,
# which would hide from the upstream that a client has stopped reading.
_UNSENT = 128 * 1024


class Tcp(asyncio.Protocol):
    """One transport. `make` builds the connection once the transport is there."""

    def __init__(self, turn: Turn, make: Callable[[], Connection]) -> None:
        self._turn = turn
        self._make = make
        self.connection: Connection | None = None
        self._received: Callable[[bytes], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        stream.set_write_buffer_limits(high=_WRITE_HIGH, low=_WRITE_LOW)
        tune(stream.get_extra_info("socket"))
        self._turn.begin()
        try:
            self.connection = self._make()
            self._received = self.connection.received
            self.connection.attach(stream)
        finally:
            self._turn.end()

    def data_received(self, data: bytes) -> None:
        turn = self._turn
        turn.begin()
        try:
            self._received(data)
        finally:
            turn.end()

    def eof_received(self) -> None:
        self._turn.begin()
        try:
            if self.connection is not None:
                self.connection.eof()
        finally:
            self._turn.end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._turn.begin()
        try:
            if self.connection is not None:
                self.connection.lost(exc)
        finally:
            self._turn.end()

    def pause_writing(self) -> None:
        if self.connection is not None:
            self.connection.writable(False)

    def resume_writing(self) -> None:
        self._turn.begin()
        try:
            if self.connection is not None:
                self.connection.writable(True)
        finally:
            self._turn.end()


def tune(sock: socket.socket | None) -> None:
    """Send small writes at once, notice dead peers, keep the kernel's queue short."""
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
