"""The proxy as its connections see it: what begins, counts, watches and ends exchanges.

The one rule: every exchange under way is in one set, and whatever concerns all of them (limits,
time, draining) is done here by going through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

from m2mproxy.http.faults import Busy, Fault
from m2mproxy.http.message import Request
from m2mproxy.net.connection import (
    NO_SETTINGS,
    Connection,
    Runtime,
    ServerConnection,
    Stream,
)
from m2mproxy.net.h1_server import H1Server
from m2mproxy.net.h2_server import H2Server
from m2mproxy.net.preface import Undecided
from m2mproxy.net.tcp import Tcp, negotiated
from m2mproxy.net.watchdog import Watchdog
from m2mproxy.proxy.context import Context
from m2mproxy.proxy.errors import fault_reply
from m2mproxy.proxy.exchange import Exchange
from m2mproxy.proxy.reply import send_reply

# How often exchanges are asked whether they are overdue: the error of every deadline.
_CHECK_EVERY = 0.1

# Connections over the limit that may wait for their refusal to be read, at any time.
_MAX_REFUSALS = 64


class Proxy:
    """Owns the downstream connections and the exchanges on them."""

    def __init__(
        self,
        context: Context,
        runtime: Runtime,
        on_end: Callable[[Exchange], None],
        on_refusal: Callable[[str, Fault], None],
        announce: Mapping[int, int] = NO_SETTINGS,
        watchdog: Watchdog | None = None,
    ) -> None:
        """`on_end` is told of each exchange that ended, `on_refusal` (with the client's address) of
        what never became one. `announce` are settings that HTTP/2 clients are told beside those of
        RFC 9113, by code. `watchdog` watches over connections."""
        self._watchdog = watchdog
        self._context = context
        self._runtime = runtime
        self._turn, self._loop = runtime.turn, runtime.loop
        self._on_end = on_end
        self._on_refusal = on_refusal
        self._announce = announce
        self._connections: set[ServerConnection] = set()
        self._exchanges: set[Exchange] = set()
        self._checking = False
        self._draining = False
        self.on_empty: Callable[[], None] | None = None
        """Called whenever the last connection is gone."""

    @property
    def connections(self) -> int:
        """Downstream connections that are open."""
        return len(self._connections)

    @property
    def exchanges(self) -> int:
        """Exchanges under way."""
        return len(self._exchanges)

    @property
    def open_streams(self) -> int:
        """Exchanges under way with the upstream, so without those that we answer ourselves."""
        return sum(exchange.forwarded for exchange in self._exchanges)

    # -- connections ----------------------------------------------------------------------------

    def accept(self) -> Tcp:
        """The protocol of a new downstream connection."""
        connection: ServerConnection

        def make(transport: asyncio.Transport) -> ServerConnection:
            nonlocal connection
            connection = self._connection(tcp, negotiated(transport))
            return connection

        tcp = Tcp(make, self._watchdog, lambda: self._admit(connection))
        return tcp

    def _admit(self, connection: ServerConnection) -> None:
        """Turn a connection away if it is one too many, before its client can ask for anything."""
        over = len(self._connections) - self._context.config.limits.connections
        if over > _MAX_REFUSALS:
            connection.abort()
        elif over > 0:
            connection.refuse(Busy("too_many_connections", "the proxy has too many connections"))
        elif self._draining:
            connection.drain()

    def _connection(self, tcp: Tcp, version: str | None) -> ServerConnection:
        def choose(undecided: ServerConnection, http2: bool) -> ServerConnection:
            self._connections.discard(undecided)
            chosen = self._speaking(http2)
            self._connections.add(chosen)
            tcp.connection = chosen
            return chosen

        connection: ServerConnection
        if version is None:
            connection = Undecided(self, self._runtime, choose)
        else:
            connection = self._speaking(version == "h2")
        self._connections.add(connection)
        return connection

    def _speaking(self, http2: bool) -> ServerConnection:
        if http2:
            return H2Server(self, self._runtime, self._announce)
        return H1Server(self, self._runtime)

    def closed(self, connection: Connection) -> None:
        """A downstream connection is gone."""
        self._connections.discard(cast(ServerConnection, connection))
        if not self._connections and self.on_empty is not None:
            self.on_empty()

    def idle(self, connection: Connection) -> None:
        raise RuntimeError("a server's connection is not the pool's")

    def doubted(self, connection: Connection) -> None:
        raise RuntimeError("a server's connection is not the pool's")

    # -- exchanges ------------------------------------------------------------------------------

    def requested(self, stream: Stream, request: Request) -> None:
        """A request arrived: begin an exchange, or say that there are too many."""
        if len(self._exchanges) >= self._context.config.limits.requests:
            busy = Busy("too_many_requests", "the proxy has too many requests")
            self._turn_away(stream, busy, request.method)
            return
        exchange = Exchange(self._context, stream, request, self._ended)
        self._exchanges.add(exchange)
        if not self._checking:
            self._checking = True
            self._loop.call_later(_CHECK_EVERY, self._check)
        exchange.start()

    def refused(self, stream: Stream, fault: Fault) -> None:
        """Answer what is no request."""
        self._turn_away(stream, fault)

    def _turn_away(self, stream: Stream, fault: Fault, method: bytes = b"") -> None:
        send_reply(stream, method, *fault_reply(fault, self._context.forms))
        self._on_refusal(stream.client, fault)

    def _ended(self, exchange: Exchange) -> None:
        self._exchanges.discard(exchange)
        self._turn.after(partial(self._tell, exchange))

    def _tell(self, exchange: Exchange) -> None:
        """All the books are kept when the client has its reply: it does not wait for that."""
        exchange.close_books()
        if exchange.tally is not None:
            exchange.tally.end(exchange.model)
        self._on_end(exchange)

    def _check(self) -> None:
        now = self._context.clock()
        try:
            for exchange in list(self._exchanges):
                exchange.check(now)
        finally:  # a bug that shows with one is no reason to let all the others wait for ever
            self._checking = bool(self._exchanges)
            if self._checking:
                self._loop.call_later(_CHECK_EVERY, self._check)

    # -- stopping -------------------------------------------------------------------------------

    def drain(self) -> None:
        """Let exchanges finish, begin no others, close connections as they become idle."""
        self._draining = True
        for connection in list(self._connections):
            connection.drain()

    def stop(self) -> None:
        """End everything now: streams are cut so that clients can tell."""
        for exchange in list(self._exchanges):
            exchange.cancel(Busy("shutting_down", "the proxy is stopping"))
        for connection in list(self._connections):
            connection.drain()
