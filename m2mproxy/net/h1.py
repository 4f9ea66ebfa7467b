"""HTTP/1.1 in both roles (RFC 9112): one class, told its role.

Messages are read by a function for each state: it takes what has arrived and returns what it did
not use. In the server role a stream begins when a request's head is read, in the client role when
the pool opens it; either way it ends when both messages are complete, and then the connection is
free for the next one. What a client sends ahead (pipelining) waits until then.

The one rule: a connection is used again only if both messages ended exactly where they said they
would; everything else closes it, in a way that lets the peer tell a cut message from a whole one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from m2mproxy.config import Limits, Timeouts
from m2mproxy.http.body import Body, Chunk, Gate
from m2mproxy.http.faults import ClientFault, ClientGone, Fault, UpstreamFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.http.validate import Malformed
from m2mproxy.net import h1_message
from m2mproxy.net.connection import Connection, Role, Stream, Turn
from m2mproxy.net.deadline import Deadline
from m2mproxy.net.h1_chunked import ChunkedReader, cut, frame, last_chunk
from m2mproxy.net.h1_head import request_head, response_head

# Bytes that may wait for a reader before the transport is told to stop, and to go on.
HIGH_WATER = 64 * 1024
LOW_WATER = 32 * 1024

# A request that we answer before its end: up to this many bytes of its rest are read so that the
# connection can be used again.
_UNREAD_REST = 64 * 1024

_MAX_EMPTY_LINES = 8


class Owner(Protocol):
    """Who is told what happens on a connection: the acceptor of a server's, the pool of a client's."""

    def requested(self, stream: Stream, request: Request) -> None:
        """Server role: the head of a request is there."""

    def refused(self, stream: Stream, fault: Fault) -> None:
        """Server role: what came is no request; `stream` takes the answer."""

    def idle(self, connection: Connection) -> None:
        """Client role: the connection is free for another request."""

    def closed(self, connection: Connection) -> None:
        """The connection is gone."""


class H1Stream(Stream):
    """The exchange under way on an HTTP/1 connection. Once it is over, every call is a no-op."""

    __slots__ = ("_connection",)

    def __init__(self, connection: H1, gate: Gate, peer: str) -> None:
        super().__init__(Body(connection.credit), gate, peer)
        self._connection: H1 | None = connection

    def send_request(self, request: Request) -> None:
        if self._connection is not None:
            self._connection.send_request(request)

    def send_response(self, response: Response) -> None:
        if self._connection is not None:
            self._connection.send_response(response)

    def write(self, chunk: Chunk) -> None:
        if self._connection is not None:
            self._connection.send_data(chunk)

    def finish(self, trailers: Headers | None = None) -> None:
        if self._connection is not None:
            self._connection.send_end(trailers)

    def reset(self) -> None:
        if self._connection is not None:
            self._connection.give_up(self)

    def end(self) -> None:
        """The connection takes leave of the stream."""
        self._connection = None


class H1:
    """An HTTP/1.1 connection."""

    def __init__(
        self,
        role: Role,
        owner: Owner,
        turn: Turn,
        loop: asyncio.AbstractEventLoop,
        timeouts: Timeouts,
        limits: Limits,
    ) -> None:
        self.role = role
        self._owner = owner
        self._turn = turn
        self._loop = loop
        self._timeouts = timeouts
        self._limits = limits
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._gate = Gate()
        self._deadline = Deadline(loop, self._expired)
        # What comes in.
        self._read: Callable[[bytes], bytes] = self._read_head
        self._buffer = b""
        self._reading = False
        self._head_begun = False
        self._paused = False
        self._in_done = True
        self._in_left = 0
        self._chunks: ChunkedReader | None = None
        self._rate_from = 0.0
        self._body_bytes = 0
        # What goes out.
        self._out: list[Chunk] = []
        self._head_sent = False
        self._out_done = True
        self._out_chunked = False
        self._out_left: int | None = 0
        # The exchange under way, and what becomes of the connection after it.
        self._stream: H1Stream | None = None
        self._request: Request | None = None
        self._may_be_stale = False
        self._keep_alive = True
        self._draining = False
        self._closing = False
        self._shut_after_flush = False

    # -- what the transport calls ---------------------------------------------------------------

    def attach(self, transport: asyncio.Transport) -> None:
        """The transport is there: a server's connection has so long to send something."""
        self._transport = transport
        self._peer = h1_message.peer_name(transport)
        if self.role is Role.SERVER:
            self._deadline.after(self._timeouts.keepalive)

    def received(self, data: bytes) -> None:
        """Read as many messages as there are, as far as they are there."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        self._reading = True
        try:
            while data:
                data = self._read(data)
        except Malformed as error:
            self._malformed(error)
        finally:
            self._reading = False
        if not self._in_done:
            self._regulate()

    def eof(self) -> None:
        """The peer will send no more: the end of a body that has no other, or a fault."""
        if self._read == self._read_until_close:
            self._keep_alive = False
            self._incoming_done(None)
        else:
            self._disconnected()

    def lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        self._transport = None
        self._closing = True
        self._deadline.cancel()
        self._out.clear()
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
        out, self._out = self._out, []
        if self._transport is None:
            return
        if len(out) == 1:
            self._transport.write(out[0])
        elif out:
            self._transport.writelines(out)
        if self._shut_after_flush:
            self._shut_after_flush = False
            self._shut()

    # -- reading --------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> bytes:
        end = data.find(b"\r\n\r\n")
        if end <= 0 or data[0] == 13:
            return self._incomplete_head(data)
        if end > self._limits.header_bytes:
            raise Malformed("the header section is too large", 431)
        if self.role is Role.SERVER:
            self._start_request(data[:end])
        else:
            self._start_response(data[:end])
        return data[end + 4 :]

    def _incomplete_head(self, data: bytes) -> bytes:
        empty_lines = 0
        # RFC 9112 2.2: some clients end a body with a line end of their own.
        while data.startswith(b"\r\n") and self.role is Role.SERVER:
            data = data[2:]
            empty_lines += 1
            if empty_lines > _MAX_EMPTY_LINES:
                raise Malformed("empty lines instead of a request")
        if empty_lines and data:
            return data
        if len(data) > self._limits.header_bytes:
            raise Malformed("the header section is too large", 431)
        # A head with bare line feeds would never end: see it now, not at the deadline.
        if data.count(b"\n") != data.count(b"\r\n"):
            raise Malformed("the header section has a line feed without carriage return")
        if self.role is Role.SERVER and data and not self._head_begun:
            self._head_begun = True
            self._deadline.after(self._timeouts.header)
        self._buffer = data
        return b""

    def _start_request(self, raw: bytes) -> None:
        head = request_head(raw, self._limits.header_count)
        request, persistent = h1_message.read_request(head)
        stream = H1Stream(self, self._gate, self._peer)
        self._begin(stream, request)
        self._keep_alive = persistent and not self._draining
        self._expect_body(stream, request.length, chunked=request.length is None)
        self._owner.requested(stream, request)

    def _start_response(self, raw: bytes) -> None:
        head = response_head(raw, self._limits.header_count)
        stream, request = self._stream, self._request
        if stream is None or request is None:
            raise Malformed("a response that nobody asked for")
        response, persistent, chunked = h1_message.read_response(head, request.method)
        if response.status < 200:
            self._may_be_stale = False  # it lives, and may be at work on the request
            if stream.on_informational is not None:
                stream.on_informational(response)
            return
        self._keep_alive = self._keep_alive and persistent
        self._in_done = False
        self._expect_body(stream, response.length, chunked)
        stream.head.set(response)
        if response.length == 0 and self._stream is stream:
            self._settle()

    def _begin(self, stream: H1Stream, request: Request | None) -> None:
        self._stream = stream
        self._request = request
        self._head_sent = self._out_done = False
        self._in_done = False
        self._out_left = 0
        self._out_chunked = False
        self._head_begun = False
        if self.role is Role.SERVER:
            self._deadline.clear()

    def _expect_body(self, stream: H1Stream, length: int | None, chunked: bool) -> None:
        self._body_bytes = 0
        if length == 0:
            self._in_done = True
            self._read = self._read_ahead
            stream.body.end()
        elif chunked:
            self._chunks = ChunkedReader(self._limits.header_bytes, self._limits.header_count)
            self._read = self._read_chunked
        elif length is None:
            self._read = self._read_until_close
        else:
            self._in_left = length
            self._read = self._read_fixed

    def _read_fixed(self, data: bytes) -> bytes:
        rest = b""
        if len(data) > self._in_left:
            rest = data[self._in_left :]
            data = data[: self._in_left]
        self._in_left -= len(data)
        self._deliver(data)
        if self._in_left == 0:
            self._incoming_done(None)
        return rest

    def _read_chunked(self, data: bytes) -> bytes:
        reader = self._chunks
        assert reader is not None
        rest = reader.feed(data, self._deliver)
        if reader.done:
            self._chunks = None
            self._incoming_done(reader.trailers)
        return rest

    def _read_until_close(self, data: bytes) -> bytes:
        self._deliver(data)
        return b""

    def _read_ahead(self, data: bytes) -> bytes:
        """Between the end of a message and the beginning of the next."""
        if self.role is Role.CLIENT:
            raise Malformed("bytes after the end of the response")
        self._buffer = data
        if len(data) > HIGH_WATER:
            self._pause()
        return b""

    def _read_nothing(self, data: bytes) -> bytes:
        return b""

    def _deliver(self, chunk: Chunk) -> None:
        self._body_bytes += len(chunk)
        if self._stream is not None:
            self._stream.body.feed(chunk)

    def _incoming_done(self, trailers: Headers | None) -> None:
        stream = self._stream
        self._in_done = True
        self._read = self._read_ahead
        if self.role is Role.SERVER:
            self._deadline.clear()
        if stream is not None:
            stream.body.end(trailers)
        self._settle()

    # -- law 3: credit and pace -----------------------------------------------------------------

    def credit(self) -> None:
        """Bytes left the body while it was throttled: let the peer go on."""
        stream = self._stream
        if stream is not None and stream.body.held <= LOW_WATER:
            stream.body.throttled = False
            self._resume()

    def _regulate(self) -> None:
        """After payload came in: stop the sender when nobody takes it, watch a client's pace."""
        stream = self._stream
        if stream is not None and stream.body.held > HIGH_WATER:
            stream.body.throttled = True
            self._pause()
        if self.role is Role.SERVER and not self._in_done and not self._closing:
            self._watch_upload()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
            if self.role is Role.SERVER and not self._in_done:
                self._rate_from = self._loop.time()
                self._body_bytes = 0
                self._watch_upload()

    def _watch_upload(self) -> None:
        """A client that owes a body has so long for its next byte, and a pace to keep on average."""
        if self._paused:
            self._deadline.clear()
            return
        now = self._loop.time()
        if self._deadline.when is None:
            self._rate_from = now
        allowed = self._timeouts.body
        until = now + allowed
        if self._limits.body_rate:
            until = min(
                until, self._rate_from + allowed + self._body_bytes / self._limits.body_rate
            )
        self._deadline.at(until)

    # -- writing --------------------------------------------------------------------------------

    def open_stream(self) -> H1Stream:
        """Client role: a stream for the next request. The connection must be idle."""
        stream = H1Stream(self, self._gate, self._peer)
        self._begin(stream, None)
        return stream

    def send_request(self, request: Request) -> None:
        """Write a request's head."""
        self._request = request
        self._read = self._read_head
        self._outgoing(request.length, chunked=request.length is None)
        self._send(h1_message.write_request(request))

    def send_response(self, response: Response) -> None:
        """Write a response's head; a 1xx only to a client that knows them (RFC 9110 15.2)."""
        request = self._request
        modern = request is None or request.version >= (1, 1)
        if response.status < 200:
            if modern:
                self._send(h1_message.write_response(response, False, False))
            return
        chunked = response.length is None and modern
        if not modern or (not self._in_done and self._rest_is_unwanted(response)):
            self._keep_alive = False
        self._keep_alive = self._keep_alive and not self._draining
        self._outgoing(response.length, chunked)
        self._send(h1_message.write_response(response, chunked, not self._keep_alive))

    def _rest_is_unwanted(self, response: Response) -> bool:
        """Whether an early answer means that the request's rest will not be read."""
        if self._request is not None and self._request.expects_continue and not self._body_bytes:
            return True  # the client may send the body or the next request: nobody can tell
        many = self._read != self._read_fixed or self._in_left > _UNREAD_REST
        return response.status >= 400 and many

    def _outgoing(self, length: int | None, chunked: bool) -> None:
        self._head_sent = True
        self._out_chunked = chunked
        self._out_left = length

    def send_data(self, chunk: Chunk) -> None:
        """Write payload: the object given reaches the transport."""
        if not chunk:
            return
        if self._out_chunked:
            for piece in frame(chunk):
                self._send(piece)
            return
        if self._out_left is not None:
            self._out_left -= len(chunk)
            if self._out_left < 0:
                raise RuntimeError("more payload than the content-length says")
        self._send(chunk)

    def send_end(self, trailers: Headers | None) -> None:
        """The outgoing message is complete."""
        if self._out_chunked:
            self._send(last_chunk(trailers))
        elif self._out_left is None:
            self._keep_alive = False
        elif self._out_left:
            raise RuntimeError("less payload than the content-length says")
        self._out_done = True
        self._settle()

    def _send(self, piece: Chunk) -> None:
        if not self._out:
            self._turn.add(self)
        self._out.append(piece)

    # -- the end of an exchange -----------------------------------------------------------------

    def _settle(self) -> None:
        """One message is complete. With both, the exchange is; a client's early answer waits."""
        stream = self._stream
        if stream is None or not self._out_done:
            return
        if not self._in_done:
            if self.role is Role.SERVER:
                self._answered_early(stream)
            return
        self._stream = self._request = None
        self._may_be_stale = True
        if self.role is Role.SERVER:
            self._next_request()
        stream.end()
        if self.role is Role.CLIENT:
            if self._keep_alive and not self._draining:
                self._owner.idle(self)
            else:
                self.abort()

    def _answered_early(self, stream: H1Stream) -> None:
        """The response is out, the request is not all in: read a small rest, else close."""
        if self._keep_alive and self._read == self._read_fixed and self._in_left <= _UNREAD_REST:
            stream.body.discard()
            return
        self._close()

    def _next_request(self) -> None:
        if not self._keep_alive or self._draining:
            self._close()
            return
        self._read = self._read_head
        self._deadline.after(self._timeouts.keepalive)
        self._resume()
        if self._buffer and not self._reading:
            self._loop.call_soon(self._read_buffered)

    def _read_buffered(self) -> None:
        if self._stream is None and not self._closing and self._buffer:
            self._turn.begin()
            try:
                self.received(b"")
            finally:
                self._turn.end()

    def give_up(self, stream: H1Stream) -> None:
        """The owner of `stream` resets it. What is complete stays as it is."""
        if self._stream is not stream or (self._in_done and self._out_done):
            return
        if self.role is Role.CLIENT:
            if self._head_sent:
                self.abort()
            else:
                self._in_done = self._out_done = True
                self._settle()
        elif not self._out_done:
            self._cut()

    def _cut(self) -> None:
        """Server role: end a response that is not complete, so that the client can tell.

        Chunked and counted bodies show it by their framing (RFC 9112 8); one that ends with the
        connection shows it only by a reset.
        """
        by_framing = self._out_chunked or self._out_left is not None
        if self._head_sent and by_framing:
            self._close()
        else:
            if self._transport is not None:
                self.flush()
                h1_message.reset_on_close(self._transport)
            self.abort()

    # -- faults, time, closing ------------------------------------------------------------------

    def _malformed(self, error: Malformed) -> None:
        self._keep_alive = False
        self._read = self._read_nothing
        self._buffer = b""
        if self.role is Role.CLIENT:
            self._fail_upstream(UpstreamFault("protocol", f"the upstream's reply is broken: {error}"))
            self.abort()
            return
        code = {408: "request_timeout", 431: "headers_too_large"}.get(error.status, "bad_request")
        fault = ClientFault(error.status, code, str(error))
        if self._stream is not None:
            self._fail_client(fault)
        else:
            self.refuse(fault)

    def refuse(self, fault: Fault) -> None:
        """Server role, between exchanges: let the owner answer `fault`, then close."""
        if self._stream is not None or self._closing:
            return
        self._keep_alive = False
        self._read = self._read_nothing
        stream = H1Stream(self, self._gate, self._peer)
        self._begin(stream, None)
        self._owner.refused(stream, fault)

    def _fail_client(self, fault: Fault) -> None:
        stream = self._stream
        if stream is None:
            return
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
        self._read = self._read_nothing
        self._keep_alive = False
        if self.role is Role.SERVER:
            self._fail_client(ClientGone())
            return
        stream = self._stream
        if stream is not None and not (self._in_done and self._out_done):
            silent = not stream.head.done and not self._buffer
            where = "before its response" if silent else "in the middle of its response"
            self._fail_upstream(
                UpstreamFault(
                    "disconnected",
                    f"the upstream closed the connection {where}",
                    retry=silent and self._may_be_stale,
                )
            )

    def _expired(self) -> None:
        """The connection's deadline: closing, idle, a slow head or a slow body."""
        if self._closing or self.role is Role.CLIENT:
            self.abort()
        elif self._stream is None and not self._buffer:
            self._close()
        else:
            what = "the request's header section" if self._stream is None else "the request's body"
            self._turn.begin()
            try:
                self._malformed(Malformed(f"{what} did not arrive in time", 408))
            finally:
                self._turn.end()

    def drain(self) -> None:
        """Finish the exchange under way, begin no other, close."""
        self._draining = True
        if self._stream is None and not self._closing:
            self._close()

    def _close(self) -> None:
        """Close once everything written has left."""
        if self._closing:
            return
        self._closing = True
        self._read = self._read_nothing
        self._shut_after_flush = True
        if not self._out:
            self._turn.add(self)

    def _shut(self) -> None:
        """Close. With input unread the kernel would answer with a reset, which can destroy the
        reply before the client has read it: say that we are done, and read on for a moment."""
        transport = self._transport
        if transport is None:
            return
        self._deadline.after(self._timeouts.close)
        if not self._in_done and transport.can_write_eof():
            self._resume()
            transport.write_eof()
        else:
            transport.close()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()
