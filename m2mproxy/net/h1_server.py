"""HTTP/1.1 towards clients: requests in, responses out, one after the other.

The one rule: what a client owes has a deadline, and what follows its request waits for the answer.
"""

from __future__ import annotations

import asyncio

from m2mproxy.http.body import Chunk
from m2mproxy.http.faults import ClientFault, ClientGone, Fault
from m2mproxy.http.message import Response
from m2mproxy.http.validate import Malformed, check_bytes
from m2mproxy.net import h1_message
from m2mproxy.net.connection import Owner, Runtime
from m2mproxy.net.h1 import H1
from m2mproxy.net.h1_chunked import ChunkedReader
from m2mproxy.net.h1_head import request_head
from m2mproxy.net.h1_intake import HIGH_WATER
from m2mproxy.net.h1_stream import H1Stream
from m2mproxy.net.tcp import reset_on_close, shown_certificate

# A request that is answered before its end: up to this many bytes of its rest are read so that the
# connection can be used again.
_UNREAD_REST = 64 * 1024

# Chunks of one read: of more than so many each has a few bytes.
_MANY_CHUNKS = 64

_CODES = {408: "request_timeout", 431: "headers_too_large"}


class H1Server(H1):
    """A client's connection."""

    __slots__ = ("_draining", "_invited", "_reading", "_repeated", "_scheme")

    def __init__(self, owner: Owner, runtime: Runtime) -> None:
        super().__init__(owner, runtime)
        self._repeated: h1_message.RepeatedHead | None = None
        self._scheme = b"http"
        self._reading = False  # inside of `received`
        self._invited = False  # the client has been told to send its body
        self._draining = False

    def attach(self, transport: asyncio.Transport) -> None:
        """The transport is there: a client has so long to send something."""
        super().attach(transport)
        if self._secure:
            self._scheme = b"https"
            self._certificate = shown_certificate(transport)
        self._deadline.after(self._timeouts.keepalive)

    def received(self, data: bytes) -> None:
        """Read what came, up to the end of a request that is answered at once."""
        self._reading = True
        try:
            super().received(data)
        finally:
            self._reading = False

    def writable(self, yes: bool) -> None:
        """The transport's buffer passed a watermark."""
        super().writable(yes)
        if yes and self._stream is None:
            self._loop.call_soon(self._read_on)

    def _owed(self, size: int) -> None:
        if not (self._closing or self._awaits_word):
            self._intake.watch(size)

    @property
    def _awaits_word(self) -> bool:
        """Whether the client waits for 100, so that it owes nothing yet (RFC 9110 10.1.1)."""
        if self._body_begun or self._invited or self._request is None:
            return False
        return self._request.expects_continue

    # -- requests -------------------------------------------------------------------------------

    def on_head_begun(self) -> None:
        if not self._head_begun:
            self._head_begun = True
            self._deadline.after(self._timeouts.header)

    def on_head(self, raw: bytes) -> None:
        read = self._repeated.read(raw) if self._repeated is not None else None
        if read is None:
            head = request_head(raw, self._limits.header_count)
            if len(raw) > self._limits.header_bytes:
                check_bytes(head[3], self._limits.header_bytes)
            read = h1_message.read_request(head)
            # Not for the first request: many connections bring only one.
            self._repeated = h1_message.RepeatedHead(raw, *read) if self._reused else None
        request, persistent = read
        request.scheme = self._scheme
        stream = self._begin(request)
        self._invited = False
        self._deadline.clear()
        self._keep_alive = persistent and not self._draining
        if request.length == 0:
            self._no_body(stream)
        else:
            self.expect_body(request.length, chunked=request.length is None)
        self._owner.requested(stream, request)

    def read_chunks(self, reader: ChunkedReader, data: bytes) -> bytes:
        """Tiny chunks that came together go on together: each would cost what a large one does,
        here and at the upstream, and others would wait a second for a body in single bytes."""
        chunks: list[Chunk] = []
        rest = reader.feed(data, chunks.append)
        for chunk in chunks if len(chunks) <= _MANY_CHUNKS else [b"".join(chunks)]:
            self.on_payload(chunk)
        return rest

    def on_ahead(self, held: int) -> None:
        if held > HIGH_WATER:
            self._intake.pause()

    # -- responses ------------------------------------------------------------------------------

    def send_response(self, response: Response) -> None:
        """Write a response's head; a 1xx only to a client that knows them (RFC 9110 15.2)."""
        modern = self._request is None or self._request.version >= (1, 1)
        if response.status < 200:
            if modern and not self._head_sent:
                self._writer.put(h1_message.write_response(response, b"", False, False))
                self._told(response)
            return
        if not modern or self._draining or (not self._in_done and self._unwanted_rest(response)):
            self._keep_alive = False
        chunked = response.length is None and modern
        self._head_sent = True
        method = self._request.method if self._request is not None else b""
        head = h1_message.write_response(response, method, chunked, not self._keep_alive)
        self._writer.begin(head, response.length, chunked)

    def _told(self, response: Response) -> None:
        """A 1xx has gone out."""
        if response.status == 100:
            self._invited = True
            if not (self._in_done or self._closing):
                self._intake.watch(0)

    def _unwanted_rest(self, response: Response) -> bool:
        """Whether an early answer means that the request's rest will not be read."""
        if self._request is not None and self._request.expects_continue and not self._body_begun:
            return True  # the client may send the body or the next request: nobody can tell
        # A stream of unknown length can well go on beside the rest of its request.
        is_short = response.status >= 400 or response.length is not None
        return is_short and not self._rest_is_small

    @property
    def _rest_is_small(self) -> bool:
        left = self.left
        return left is not None and left <= _UNREAD_REST

    # -- the end of an exchange -----------------------------------------------------------------

    def _half_done(self, stream: H1Stream) -> None:
        """An early answer of ours: what it leaves unread is read if it is small."""
        if self._keep_alive and self._rest_is_small:
            stream.body.discard()
        else:
            self._close()

    def _free(self) -> None:
        if not self._keep_alive or self._draining:
            self._close()
            return
        self._deadline.after(self._timeouts.keepalive)
        # A client can send thousands of requests in one piece, and read no answer. So of those that
        # are answered at once there is one in each turn, and none while answers wait to be read.
        if self._reading or self._full or self.has_held:
            self.expect_nothing()
            self._loop.call_soon(self._read_on)
        else:
            self.expect_head()
            self._intake.resume()

    def _read_on(self) -> None:
        """The next request, unless somebody has come first."""
        if self._stream is not None or self._closing or self._full or not self.is_ahead:
            return
        self.expect_head()
        # Only now, or each request could let in more than it takes away.
        self._intake.resume()
        self.received(b"")

    def _reset(self) -> None:
        """End a response that is not complete, so that the client can tell.

        Chunked and counted bodies show it by their framing (RFC 9112 8); one that ends with the
        connection shows it only by a reset.
        """
        if self._out_done:
            return
        if self._head_sent and not self._writer.ends_with_connection:
            self._close()
        else:
            if self._transport is not None:
                self._writer.flush(self._transport, self._secure)
                reset_on_close(self._transport)
            self.abort()

    # -- faults, time, stopping -----------------------------------------------------------------

    def _malformed(self, error: Malformed) -> None:
        self._keep_alive = False
        self.ignore_input()
        fault = ClientFault(error.status, _CODES.get(error.status, "bad_request"), str(error))
        if self._stream is None:
            self.refuse(fault)
        elif self._out_done:
            self._close()  # it has its answer, this was the rest that nobody wanted
        else:
            self._fault(fault)

    def refuse(self, fault: Fault) -> None:
        """Between exchanges: let the owner answer `fault`, then close."""
        if self._stream is not None or self._closing:
            return
        self._keep_alive = False
        self.ignore_input()
        stream = self._begin(None)
        self._deadline.clear()
        self._owner.refused(stream, fault)

    def _fault(self, fault: Fault) -> None:
        stream = self._stream
        if stream is not None:
            stream.body.fail(fault)
            if stream.on_fault is not None:
                stream.on_fault(fault)

    def _disconnected(self, error: Exception | None = None) -> None:
        self._keep_alive = False
        self.ignore_input()
        self._fault(ClientGone())

    def _expired(self) -> None:
        """Closing, idle, a slow head or a slow body."""
        if self._closing:
            super()._expired()
        elif self._stream is None and not self._head_begun:
            self._close()
        else:
            what = "the request's header section" if self._stream is None else "the request's body"
            self._malformed(Malformed(f"{what} did not arrive in time", 408))

    def drain(self) -> None:
        """Finish the exchange under way, begin no other, close."""
        self._draining = True
        if self._stream is None:
            self._close()
