"""Which version a client speaks on a connection that did not negotiate one (RFC 9113 3.3).

The one rule: HTTP/2 is what begins with its preface, to the last byte; everything else is HTTP/1.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from m2mproxy.http.faults import ClientFault, Fault
from m2mproxy.net.connection import Owner, Runtime, ServerConnection
from m2mproxy.net.deadline import Deadline
from m2mproxy.net.h2_engine import PREFACE

# The first byte of a record with which TLS begins (RFC 8446 5.1), and of nothing in HTTP.
_HANDSHAKE = b"\x16"
_WRONG_SCHEME = "This port speaks http, and the client began with TLS, as for https."


class Undecided:
    """A client's connection until its first bytes are there."""

    __slots__ = ("_choose", "_data", "_deadline", "_owner", "_timeouts", "_transport")

    def __init__(
        self,
        owner: Owner,
        runtime: Runtime,
        choose: Callable[[Undecided, bool], ServerConnection],
    ) -> None:
        """`choose` is called at most once, with this connection and whether it is HTTP/2; it
        returns the one that takes its place."""
        self._owner = owner
        self._timeouts = runtime.timeouts
        self._choose = choose
        self._deadline = Deadline(runtime.loop, self._expired, runtime.deadlines)
        self._transport: asyncio.Transport | None = None
        self._data = b""

    def attach(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._deadline.after(self._timeouts.keepalive)

    def received(self, data: bytes) -> None:
        if not self._data:
            self._deadline.after(self._timeouts.header)
        self._data += data
        if self._data.startswith(_HANDSHAKE):
            # In plain text, as nginx and Go do: clients say that this is no TLS, some what it is.
            self._data = b""
            self.refuse(ClientFault(400, "wrong_scheme", _WRONG_SCHEME))
        elif not PREFACE.startswith(self._data[: len(PREFACE)]):
            self._become(False)
        elif len(self._data) >= len(PREFACE):
            self._become(True)

    def _become(self, http2: bool) -> ServerConnection:
        transport, data = self._transport, self._data
        assert transport is not None
        choose = self._choose
        self._end()
        chosen = choose(self, http2)
        chosen.attach(transport)
        if data:
            chosen.received(data)
        return chosen

    def refuse(self, fault: Fault) -> None:
        """In the version that every client can read."""
        if self._transport is not None:
            self._become(False).refuse(fault)

    def eof(self) -> None:
        self.abort()

    def lost(self, error: Exception | None) -> None:
        self._end()
        self._owner.closed(self)

    def _end(self) -> None:
        self._transport = None
        self._deadline.end()
        del self._choose  # it knows who holds us

    def writable(self, yes: bool) -> None:
        """Nothing was written."""

    def flush(self) -> None:
        """Nothing was written."""

    def drain(self) -> None:
        self.abort()

    def _expired(self) -> None:
        if self._data:
            self._become(False)  # which knows how to say that the rest did not come
        else:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.close()
