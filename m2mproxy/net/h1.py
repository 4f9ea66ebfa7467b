"""HTTP/1.1 (RFC 9112): what both roles have in common; h1_server.py and h1_client.py add their own.

In the server role a stream begins when a request's head is read, in the client role when the pool
opens it; either way it ends when both messages are complete, and then the connection is free for
the next one. What a client sends ahead (pipelining) waits until then.

The one rule: a connection is used again only if both messages ended exactly where they said they
would; everything else closes it, in a way that lets the peer tell a cut message from a whole one.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from m2mproxy.http.body import Chunk, Gate
from m2mproxy.http.headers import HOP_BY_HOP, Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.http.validate import Malformed
from m2mproxy.net.connection import Owner, Runtime
from m2mproxy.net.deadline import Deadline
from m2mproxy.net.h1_intake import Intake
from m2mproxy.net.h1_reader import MessageReader
from m2mproxy.net.h1_stream import H1Stream
from m2mproxy.net.h1_writer import MessageWriter
from m2mproxy.net.linger import Linger
from m2mproxy.net.tcp import client_name, negotiated


class H1(MessageReader):
    """An HTTP/1.1 connection."""

    __slots__ = (
        "_body_begun", "_certificate", "_client", "_closing", "_deadline", "_full",
        "_gate", "_head_begun", "_head_sent", "_in_done", "_intake", "_keep_alive", "_limits",
        "_linger", "_loop", "_out_done", "_owner", "_request", "_reused", "_secure",
        "_shut_after_flush", "_stream", "_timeouts", "_transport", "_turn", "_writer",
    )

    _is_client: ClassVar[bool] = False

    def __init__(self, owner: Owner, runtime: Runtime) -> None:
        super().__init__(runtime.limits)
        self._owner = owner
        self._turn, self._loop, self._timeouts = runtime.turn, runtime.loop, runtime.timeouts
        self._transport: asyncio.Transport | None = None
        self._client = ""
        self._certificate = b""
        self._secure = False
        self._gate = Gate()
        self._full = False  # the transport takes no more for now
        self._writer = MessageWriter(runtime.turn, self, self._gate)
        self._deadline = Deadline(runtime.loop, self._expired, runtime.deadlines)
        self._intake = Intake(runtime, self._deadline)
        # The exchange under way.
        self._stream: H1Stream | None = None
        self._request: Request | None = None
        self._in_done = self._out_done = True
        self._head_sent = self._head_begun = self._body_begun = False
        self._reused = False
        self._keep_alive = True
        self._closing = self._shut_after_flush = False
        self._linger: Linger | None = None

    # -- what the transport calls ---------------------------------------------------------------

    def attach(self, transport: asyncio.Transport) -> None:
        """The transport is there."""
        self._transport = self._intake.transport = transport
        self._client = client_name(transport, self._is_client)
        self._secure = negotiated(transport) is not None

    def received(self, data: bytes) -> None:
        """Read as many messages as there are, as far as they are there."""
        try:
            self.feed(data)
        except Malformed as error:
            self._malformed(error)
        if not (self._in_done or self._closing) and self._stream is not None:
            self._intake.regulate(self._stream.body)
            self._owed(len(data))

    def _owed(self, size: int) -> None:
        """`size` bytes came, and more of the message has to come."""

    def eof(self) -> None:
        """The peer will send no more: the end of a body that has no other, or a fault."""
        if not self.ends_with_connection:
            self._disconnected()
            return
        self._keep_alive = False
        self.ignore_input()
        self.on_end(None)

    def lost(self, error: Exception | None) -> None:
        """The transport is gone, and nobody keeps it (see h2.py)."""
        self._transport = self._intake.transport = self._linger = None
        self._closing = True
        self._deadline.end()
        self._writer.drop()
        self._disconnected(error)
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.end()
        self._owner.closed(self)

    def writable(self, yes: bool) -> None:
        """The transport's buffer passed a watermark."""
        self._full = not yes
        if yes:
            self._gate.open()
        else:
            self._gate.shut()

    def flush(self) -> None:
        """Hand what was written in this turn to the transport, and close if that was the last."""
        if self._transport is None:
            return
        overfull = self._writer.flush(self._transport, self._secure)
        if self._shut_after_flush:
            self._shut_after_flush = False
            self._shut()
        elif overfull and not self._full:
            self._gate.open()

    # -- the exchange under way -----------------------------------------------------------------

    def _begin(self, request: Request | None) -> H1Stream:
        stream = self._stream = H1Stream(
            self, self._writer, self._gate, self._client, self._certificate
        )
        self._request = request
        self._head_sent = self._head_begun = self._body_begun = False
        self._in_done = self._out_done = False
        return stream

    def _no_body(self, stream: H1Stream) -> None:
        self._in_done = True
        self.expect_nothing()
        stream.body.end()

    def on_payload(self, chunk: Chunk, is_last: bool = False) -> None:
        self._body_begun = True
        if self._stream is not None:
            self._stream.body.feed(chunk, is_last)

    def on_end(self, trailers: Headers | None) -> None:
        self._in_done = True
        self._intake.watched_to_the_end()
        if trailers is not None:
            trailers.drop(HOP_BY_HOP)  # in HTTP/2 they would break the message
        if self._stream is not None:
            self._stream.body.end(trailers)
        self._settle()

    def credit(self) -> None:
        """Bytes left the body while it was throttled."""
        if self._stream is not None:
            self._intake.credit(self._stream.body)

    def send_request(self, request: Request) -> None:
        """Client role: write a request's head."""
        raise NotImplementedError

    def send_response(self, response: Response) -> None:
        """Server role: write a response's head, or a 1xx."""
        raise NotImplementedError

    def finish(self, trailers: Headers | None) -> None:
        """The outgoing message is complete."""
        self._writer.end(trailers)
        if self._writer.ends_with_connection:
            self._keep_alive = False
        self._out_done = True
        self._settle()

    def _settle(self) -> None:
        """A message is complete; with both, the exchange is."""
        stream = self._stream
        if stream is None or not self._out_done:
            return
        if not self._in_done:
            self._half_done(stream)
            return
        self._stream = self._request = None
        self._reused = True
        stream.end()
        self._free()

    def _half_done(self, stream: H1Stream) -> None:
        """Our message is complete, the peer's is not."""

    def _free(self) -> None:
        """The exchange is complete."""
        raise NotImplementedError

    def give_up(self, stream: H1Stream) -> None:
        """The owner of `stream` resets it. What is complete stays as it is."""
        if self._stream is stream and not (self._in_done and self._out_done):
            self._reset()

    def _reset(self) -> None:
        """End the exchange under way before its time."""
        raise NotImplementedError

    # -- faults, time, closing ------------------------------------------------------------------

    def _malformed(self, error: Malformed) -> None:
        """What was read is no message."""
        raise NotImplementedError

    def _disconnected(self, error: Exception | None = None) -> None:
        """The peer left, or its last byte is here."""
        raise NotImplementedError

    def _expired(self) -> None:
        """The connection's deadline."""
        if self._linger is None or not self._linger.goes_on():
            self.abort()

    def _close(self) -> None:
        """Close once everything written has left."""
        if self._closing:
            return
        self._closing = True
        self.ignore_input()
        self._shut_after_flush = True
        if self._writer.is_empty:
            self._turn.add(self)

    def _shut(self) -> None:
        transport = self._transport
        if transport is None:
            return
        read_on = not self._in_done
        if read_on:
            self._intake.watched_to_the_end()  # from here on the deadline is another one
            self._intake.resume()
        self._linger = Linger(transport, self._deadline, self._timeouts.close, read_on)

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        self._writer.drop()
        if self._transport is not None:
            self._transport.abort()
