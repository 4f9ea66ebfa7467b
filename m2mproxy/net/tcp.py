"""TCP, TLS and unix-socket glue: an asyncio.Protocol that hands its callbacks to a Connection.

The one rule: it decides nothing. Bytes and events go to the connection as they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import cast

from m2mproxy.http.body import Chunk
from m2mproxy.net.connection import Connection
from m2mproxy.net.reusable import Reusable
from m2mproxy.net.watchdog import Watchdog

# Room in user space before a writer is told to stop, and to go on.
WRITE_HIGH = 64 * 1024
_WRITE_LOW = 16 * 1024

# What the kernel may hold for one connection: unsent bytes of ours, and an upstream's bytes that
# we have not read. Left alone, both grow to megabytes, which would hide from the upstream that a
# client has stopped reading. The price of the second is a pace of about this much a round trip, so
# that it is for an upstream near by. For one far away the kernel's own measure is right: it lets it
# send ahead by more when, in a round trip, we read all that came (tcp_rmem in tcp(7)).
_UNSENT = 64 * 1024
_UNREAD = 128 * 1024
# Seconds after which the kernel asks a silent peer for a sign of life, how often, and how many
# times in vain. Later than an edge asks by itself (h2_client.py): nobody pays for both.
_ASK_AFTER, _ASK_EVERY, _ASK_TIMES = 60, 15, 3
# Seconds to open a connection. In less, 13 MB a second are no more than `_UNREAD` under way.
_NEAR = 0.01
# What is read of a connection that is lost. The kernel has room for less.
_MOST_UNREAD = 8 * _UNREAD


class Tcp(asyncio.Protocol):
    """One transport. `make` builds the connection once the transport is there, which knows what
    TLS has negotiated; another may take its place later."""

    __slots__ = ("_made", "_make", "_watchdog", "connection", "transport")

    def __init__(
        self,
        make: Callable[[asyncio.Transport], Connection],
        watchdog: Watchdog | None = None,
        made: Callable[[], None] = lambda: None,
    ) -> None:
        """`watchdog` ends the transport if its peer is gone without a word; `made` is called when
        the connection has it, and before it has got anything."""
        self._make, self._made = make, made
        self._watchdog = watchdog
        self.transport: asyncio.Transport
        self.connection: Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        stream.set_write_buffer_limits(high=WRITE_HIGH, low=_WRITE_LOW)
        self.connection = self._make(stream)
        del self._make  # it may know us
        self.transport = stream
        if self._watchdog is not None:
            self._watchdog.begin(self)
        self.connection.attach(stream)
        self._made()
        del self._made

    def data_received(self, data: bytes) -> None:
        self.connection.received(data)

    def eof_received(self) -> None:
        self.connection.eof()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watchdog is not None:
            self._watchdog.end(self)
        self.connection.lost(exc)

    def doubt(self) -> None:
        """See `Watched`. A client comes back by itself."""

    def give_up(self) -> None:
        """The peer is gone."""
        # With a reset, or the kernel would go on trying, and answer should the peer ask.
        reset_on_close(self.transport)
        self.transport.abort()

    def pause_writing(self) -> None:
        self.connection.writable(False)

    def resume_writing(self) -> None:
        self.connection.writable(True)


class Dialled(Tcp):
    """A transport to an upstream, which may answer a request that it will not read to its end, and
    close while we are still writing. Then the event loop fails to write and reads no further,
    though the answer has arrived."""

    __slots__ = ()

    def doubt(self) -> None:
        """See `Watched`. What goes to an upstream can go on another connection."""
        cast(Reusable, self.connection).doubt()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            for data in unread(self.transport):
                self.connection.received(data)
        super().connection_lost(exc)


def unread(transport: asyncio.BaseTransport) -> Iterator[bytes]:
    """What the kernel still has of a connection that is being lost: its socket is closed when its
    protocol knows. Nothing over TLS, where it is closed before that."""
    sock = transport.get_extra_info("socket")
    if transport.get_extra_info("ssl_object") is not None or sock is None:
        return
    for _ in range(_MOST_UNREAD // _UNREAD):
        try:
            data = os.read(sock.fileno(), _UNREAD)
        except OSError:
            return
        if not data:
            return
        yield data


def client_name(transport: asyncio.Transport, is_ours: bool) -> str:
    """The address of the client's end, which may be ours, as `host:port`, `[v6]:port`, or "unix".
    Unless somebody stands between them and translates it, both ends see the same."""
    name = transport.get_extra_info("sockname" if is_ours else "peername")
    if not isinstance(name, tuple):
        return "unix"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def negotiated(transport: asyncio.Transport) -> str | None:
    """What ALPN chose (RFC 7301): "h2" or "http/1.1"; "http/1.1" too for a TLS peer that does not
    know ALPN, None without TLS."""
    tls = transport.get_extra_info("ssl_object")
    return None if tls is None else tls.selected_alpn_protocol() or "http/1.1"


def shown_certificate(transport: asyncio.Transport) -> bytes:
    """The SHA-256 of the certificate that the other end of TLS has shown, be it now or when the
    session began that is resumed; b"" for none."""
    tls = transport.get_extra_info("ssl_object")
    shown = None if tls is None else tls.getpeercert(True)
    return hashlib.sha256(shown).digest() if shown else b""


def write_joined(transport: asyncio.Transport, pieces: list[Chunk]) -> None:
    """Write `pieces` over TLS, where each by itself would become a record of its own."""
    if pieces:
        transport.write(b"".join(pieces) if len(pieces) > 1 else pieces[0])


def reset_on_close(transport: asyncio.Transport) -> None:
    """Let the next close send a reset instead of an orderly end."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def tune(sock: socket.socket) -> None:
    """Send small writes at once, notice dead peers, keep the kernel's queue of ours short.

    On a listening socket, for all that it accepts: they inherit these options (Linux, tcp(7)).
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _ASK_AFTER)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _ASK_EVERY)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _ASK_TIMES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)


def tune_upstream(sock: socket.socket, seconds: float) -> None:
    """The same for a connection to an upstream, whose bytes the kernel shall not pile up either.
    `seconds` is how long it took to open: a round trip, and seldom more."""
    tune(sock)
    if seconds < _NEAR:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD)
