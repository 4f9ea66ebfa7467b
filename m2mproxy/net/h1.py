"""HTTP/1.1 in both roles (RFC 9112): one class, told its role.

In the server role a stream begins when a request's head is read, in the client role when the pool
opens it; either way it ends when both messages are complete, and then the connection is free for
the next one. What a client sends ahead (pipelining) waits until then.

The one rule: a connection is used again only if both messages ended exactly where they said they
would; everything else closes it, in a way that lets the peer tell a cut message from a whole one.
"""

from __future__ import annotations

import asyncio

from m2mproxy.config import Limits, Timeouts
from m2mproxy.http.body import Chunk, Gate
from m2mproxy.http.faults import ClientFault, ClientGone, Fault, UpstreamFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.http.validate import Malformed
from m2mproxy.net import h1_message
from m2mproxy.net.connection import Owner, Role, Turn
from m2mproxy.net.deadline import Deadline
from m2mproxy.net.h1_head import request_head, response_head
from m2mproxy.net.h1_intake import HIGH_WATER, Intake
from m2mproxy.net.h1_reader import MessageReader
from m2mproxy.net.h1_stream import H1Stream
from m2mproxy.net.h1_writer import MessageWriter
from m2mproxy.net.linger import Linger
from m2mproxy.net.tcp import peer_name, reset_on_close

# A request that is answered before its end: up to this many bytes of its rest are read so that the
# connection can be used again.
_UNREAD_REST = 64 * 1024

_CODES = {408: "request_timeout", 431: "headers_too_large"}


class H1(MessageReader):
    """An HTTP/1.1 connection."""

    __slots__ = (
        "_body_begun", "_closing", "_deadline", "_draining", "_gate", "_head_begun", "_head_sent",
        "_in_done", "_intake", "_keep_alive", "_linger", "_loop", "_out_done", "_owner", "_peer",
        "_repeated", "_request", "_reused", "_scheme", "_server", "_shut_after_flush", "_stream",
        "_timeouts", "_transport", "_turn", "_writer",
    )

    def __init__(
        self,
        role: Role,
        owner: Owner,
        turn: Turn,
        loop: asyncio.AbstractEventLoop,
        timeouts: Timeouts,
        limits: Limits,
    ) -> None:
        super().__init__(limits)
        self._server = role is Role.SERVER
        self._owner = owner
        self._turn = turn
        self._loop = loop
        self._timeouts = timeouts
        self._transport: asyncio.Transport | None = None
        self._peer, self._scheme = "", b"http"
        self._gate = Gate()
        self._writer = MessageWriter(turn, self)
        self._deadline = Deadline(loop, self._expired)
        self._intake = Intake(loop, self._deadline, timeouts, limits)
        self._repeated: h1_message.RepeatedHead | None = None
        # The exchange under way.
        self._stream: H1Stream | None = None
        self._request: Request | None = None
        self._in_done = self._out_done = True
        self._head_sent = self._head_begun = self._body_begun = False
        self._reused = False
        self._keep_alive = True
        self._draining = self._closing = self._shut_after_flush = False
        self._linger: Linger | None = None

    # -- what the transport calls ---------------------------------------------------------------

    def attach(self, transport: asyncio.Transport) -> None:
        """The transport is there: a client has so long to send something."""
        self._transport = self._intake.transport = transport
        self._peer = peer_name(transport)
        if transport.get_extra_info("sslcontext") is not None:
            self._scheme = b"https"
        if self._server:
            self._deadline.after(self._timeouts.keepalive)

    def received(self, data: bytes) -> None:
        """Read as many messages as there are, as far as they are there."""
        try:
            self.feed(data)
        except Malformed as error:
            self._malformed(error)
        if not self._in_done and self._stream is not None:
            self._intake.regulate(self._stream.body)
            if self._server and not self._closing:
                self._intake.watch(len(data))

    def eof(self) -> None:
        """The peer will send no more: the end of a body that has no other, or a fault."""
        if not self.ends_with_connection:
            self._disconnected()
            return
        self._keep_alive = False
        self.ignore_input()
        self.on_end(None)

    def lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        self._transport = self._intake.transport = None
        self._closing = True
        self._deadline.cancel()
        self._writer.drop()
        self._disconnected()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.end()
        self._owner.closed(self)

    def writable(self, yes: bool) -> None:
        """The transport's buffer passed a watermark."""
        if yes:
            self._gate.open()
        else:
            self._gate.shut()

    def flush(self) -> None:
        """Hand what was written in this turn to the transport, and close if that was the last."""
        if self._transport is None:
            return
        self._writer.flush(self._transport)
        if self._shut_after_flush:
            self._shut_after_flush = False
            self._shut()

    # -- what is read ---------------------------------------------------------------------------

    def on_head_begun(self) -> None:
        if self._server and not self._head_begun:
            self._head_begun = True
            self._deadline.after(self._timeouts.header)

    def on_head(self, raw: bytes) -> None:
        if self._server:
            self._start_request(raw)
        else:
            self._start_response(raw)

    def _start_request(self, raw: bytes) -> None:
        read = self._repeated.read(raw) if self._repeated is not None else None
        if read is None:
            read = h1_message.read_request(request_head(raw, self._limits.header_count))
            # Not for the first request: many connections bring only one.
            self._repeated = h1_message.RepeatedHead(raw, *read) if self._reused else None
        request, persistent = read
        request.scheme = self._scheme
        stream = H1Stream(self, self._writer, self._gate, self._peer)
        self._begin(stream, request)
        self._deadline.clear()
        self._keep_alive = persistent and not self._draining
        if request.length == 0:
            self._no_body(stream)
        else:
            self.expect_body(request.length, chunked=request.length is None)
        self._owner.requested(stream, request)

    def _start_response(self, raw: bytes) -> None:
        stream, request = self._stream, self._request
        if stream is None or request is None:
            raise Malformed("a response that nobody asked for")
        head = response_head(raw, self._limits.header_count)
        response, persistent, chunked = h1_message.read_response(head, request.method)
        if response.status < 200:
            self._reused = False  # it lives, and may be at work on the request: no retry
            if stream.on_informational is not None:
                stream.on_informational(response)
            return
        self._keep_alive = self._keep_alive and persistent
        if response.length == 0:
            self._no_body(stream)
            stream.head.set(response)
            self._settle()
        else:
            self.expect_body(response.length, chunked)
            stream.head.set(response)

    def _begin(self, stream: H1Stream, request: Request | None) -> None:
        self._stream = stream
        self._request = request
        self._head_sent = self._head_begun = self._body_begun = False
        self._in_done = self._out_done = False

    def _no_body(self, stream: H1Stream) -> None:
        self._in_done = True
        self.expect_nothing()
        stream.body.end()

    def on_payload(self, chunk: Chunk) -> None:
        self._body_begun = True
        if self._stream is not None:
            self._stream.body.feed(chunk)

    def on_end(self, trailers: Headers | None) -> None:
        self._in_done = True
        self._intake.watched_to_the_end()
        if self._stream is not None:
            self._stream.body.end(trailers)
        self._settle()

    def credit(self) -> None:
        """Bytes left the body while it was throttled."""
        if self._stream is not None:
            self._intake.credit(self._stream.body)

    def on_ahead(self, held: int) -> None:
        if not self._server:
            raise Malformed("bytes after the end of the response")
        if held > HIGH_WATER:
            self._intake.pause()

    # -- what is written ------------------------------------------------------------------------

    @property
    def is_usable(self) -> bool:
        """Client role: whether a request may be sent now; not once the upstream has ended."""
        return self._stream is None and self._keep_alive and not self._closing

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return int(self._stream is not None)

    @property
    def expected_streams(self) -> int:
        """Streams that a connection takes at once."""
        return 1

    def open_stream(self) -> H1Stream:
        """Client role: a stream for the next request. The connection must be idle."""
        stream = H1Stream(self, self._writer, self._gate, self._peer)
        self._begin(stream, None)
        return stream

    def send_request(self, request: Request) -> None:
        """Write a request's head."""
        self._request = request
        self._head_sent = True
        self.expect_head()
        head = h1_message.write_request(request)
        self._writer.begin(head, request.length, chunked=request.length is None)

    def send_response(self, response: Response) -> None:
        """Write a response's head; a 1xx only to a client that knows them (RFC 9110 15.2)."""
        modern = self._request is None or self._request.version >= (1, 1)
        if response.status < 200:
            if modern and not self._head_sent:
                self._writer.put(h1_message.write_response(response, False, False))
            return
        if not modern or self._draining or (not self._in_done and self._unwanted_rest(response)):
            self._keep_alive = False
        chunked = response.length is None and modern
        self._head_sent = True
        head = h1_message.write_response(response, chunked, not self._keep_alive)
        self._writer.begin(head, response.length, chunked)

    def _unwanted_rest(self, response: Response) -> bool:
        """Whether an early answer means that the request's rest will not be read."""
        if self._request is not None and self._request.expects_continue and not self._body_begun:
            return True  # the client may send the body or the next request: nobody can tell
        return response.status >= 400 and not self._rest_is_small

    @property
    def _rest_is_small(self) -> bool:
        left = self.left
        return left is not None and left <= _UNREAD_REST

    def finish(self, trailers: Headers | None) -> None:
        """The outgoing message is complete."""
        self._writer.end(trailers)
        if self._writer.ends_with_connection:
            self._keep_alive = False
        self._out_done = True
        self._settle()

    # -- the end of an exchange -----------------------------------------------------------------

    def _settle(self) -> None:
        """Both messages are complete: so is the exchange. A client's early answer is not; what
        an early answer of ours leaves unread is read if it is small."""
        stream = self._stream
        if stream is None or not self._out_done:
            return
        if not self._in_done:
            if self._server:
                self._answered_early(stream)
            return
        self._stream = self._request = None
        self._reused = True
        stream.end()
        if self._server:
            self._next_request()
            return
        if self._keep_alive and not self._draining:
            self._owner.idle(self)
        else:
            self.abort()

    def _answered_early(self, stream: H1Stream) -> None:
        if self._keep_alive and self._rest_is_small:
            stream.body.discard()
        else:
            self._close()

    def _next_request(self) -> None:
        if not self._keep_alive or self._draining:
            self._close()
            return
        self.expect_head()
        self._deadline.after(self._timeouts.keepalive)
        if self.has_held:  # never inside `feed`, which has it in hand
            self._loop.call_soon(self._read_held)
        else:
            self._intake.resume()

    def _read_held(self) -> None:
        # Only now, or each request could let in more than it takes away.
        self._intake.resume()
        if self._stream is None and not self._closing:
            self.received(b"")

    def give_up(self, stream: H1Stream) -> None:
        """The owner of `stream` resets it. What is complete stays as it is."""
        if self._stream is not stream or (self._in_done and self._out_done):
            return
        if self._server:
            if not self._out_done:
                self._cut()
        elif self._head_sent:
            self.abort()
        else:
            self._in_done = self._out_done = True
            self._settle()

    def _cut(self) -> None:
        """Server role: end a response that is not complete, so that the client can tell.

        Chunked and counted bodies show it by their framing (RFC 9112 8); one that ends with the
        connection shows it only by a reset.
        """
        if self._head_sent and not self._writer.ends_with_connection:
            self._close()
        else:
            if self._transport is not None:
                self._writer.flush(self._transport)
                reset_on_close(self._transport)
            self.abort()

    # -- faults, time, closing ------------------------------------------------------------------

    def _malformed(self, error: Malformed) -> None:
        self._keep_alive = False
        self.ignore_input()
        if not self._server:
            reason = f"the upstream's reply is broken: {error}"
            self._fail_upstream(UpstreamFault("protocol", reason))
            self.abort()
            return
        fault = ClientFault(error.status, _CODES.get(error.status, "bad_request"), str(error))
        if self._stream is None:
            self.refuse(fault)
        elif self._out_done:
            self._close()  # it has its answer, this was the rest that nobody wanted
        else:
            self._fail_client(fault)

    def refuse(self, fault: Fault) -> None:
        """Server role, between exchanges: let the owner answer `fault`, then close."""
        if self._stream is not None or self._closing:
            return
        self._keep_alive = False
        self.ignore_input()
        stream = H1Stream(self, self._writer, self._gate, self._peer)
        self._begin(stream, None)
        self._deadline.clear()
        self._owner.refused(stream, fault)

    def _fail_client(self, fault: Fault) -> None:
        stream = self._stream
        if stream is not None:
            stream.body.fail(fault)
            if stream.on_fault is not None:
                stream.on_fault(fault)

    def _fail_upstream(self, fault: UpstreamFault) -> None:
        stream = self._stream
        if stream is not None:
            stream.head.fail(fault)
            stream.body.fail(fault)

    def _disconnected(self) -> None:
        """The peer left, or its last byte is here."""
        silent = not self.has_held
        self._keep_alive = False
        self.ignore_input()
        if self._server:
            self._fail_client(ClientGone())
            return
        stream = self._stream
        if stream is None or (self._in_done and self._out_done):
            return
        silent = silent and not stream.head.done
        where = "before its response" if silent else "in the middle of its response"
        reason = f"the upstream closed the connection {where}"
        self._fail_upstream(UpstreamFault("disconnected", reason, silent and self._reused))

    def _expired(self) -> None:
        """The connection's deadline: closing, idle, a slow head or a slow body."""
        if self._closing:
            if self._linger is None or not self._linger.goes_on():
                self.abort()
        elif self._stream is None and not self._head_begun:
            self._close()
        else:
            what = "the request's header section" if self._stream is None else "the request's body"
            error = Malformed(f"{what} did not arrive in time", 408)
            self._malformed(error)

    def drain(self) -> None:
        """Finish the exchange under way, begin no other, close."""
        self._draining = True
        if self._stream is None:
            self._close()

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
            self._intake.resume()
        self._linger = Linger(transport, self._deadline, self._timeouts.close, read_on)

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        self._writer.drop()
        if self._transport is not None:
            self._transport.abort()
