"""TCP, TLS and unix-socket glue: an asyncio.Protocol that hands its callbacks to a Connection.

The one rule: it decides nothing. Bytes and events go to the connection as they are.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from m2mproxy.net.connection import Connection

# Room in user space before a writer is told to stop, and to go on.
_WRITE_HIGH = 64 * 1024
_WRITE_LOW = 16 * 1024

# What the kernel may hold for one connection: unsent bytes of ours, and an upstream's bytes that
# we have not read. Left alone, both grow to megabytes, which would hide from the upstream that a
# client has stopped reading. The price is a pace of about this much a round trip.
_UNSENT = 64 * 1024
_UNREAD = 128 * 1024


class Tcp(asyncio.Protocol):
    """One transport. `make` builds the connection once the transport is there."""

    __slots__ = ("_make", "connection")

    def __init__(self, make: Callable[[], Connection]) -> None:
        self._make = make
        self.connection: Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        stream.set_write_buffer_limits(high=_WRITE_HIGH, low=_WRITE_LOW)
        self.connection = self._make()
        self.connection.attach(stream)

    def data_received(self, data: bytes) -> None:
        self.connection.received(data)

    def eof_received(self) -> None:
        self.connection.eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.lost(exc)

    def pause_writing(self) -> None:
        self.connection.writable(False)

    def resume_writing(self) -> None:
        self.connection.writable(True)


def tune(sock: socket.socket) -> None:
    """Send small writes at once, notice dead peers, keep the kernel's queue of ours short.

    On a listening socket, for all that it accepts: they inherit these options (Linux, tcp(7)).
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)


def tune_upstream(sock: socket.socket) -> None:
    """The same for a connection to an upstream, whose bytes the kernel shall not pile up either."""
    tune(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD)
