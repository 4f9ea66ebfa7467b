"""HTTP/1.1 towards upstreams: requests out, responses in, one after the other.

The one rule: a response belongs to the request that was sent last, or it is no response.
"""

from __future__ import annotations

from typing import ClassVar

from m2mproxy.http.faults import UpstreamFault
from m2mproxy.http.message import Request
from m2mproxy.http.validate import Malformed, check_bytes
from m2mproxy.net import h1_message
from m2mproxy.net.certificate import alert
from m2mproxy.net.connection import MOST_INFORMATIONAL, TOO_MANY_INFORMATIONAL
from m2mproxy.net.h1 import H1
from m2mproxy.net.h1_head import response_head
from m2mproxy.net.h1_stream import H1Stream
from m2mproxy.net.reusable import may_go_again


class H1Client(H1):
    """A connection to an upstream."""

    __slots__ = ("_sent_at",)

    _sent_at: float

    _is_client: ClassVar[bool] = True
    expected_streams: ClassVar[int] = 1
    session: ClassVar[None] = None
    is_leaving: ClassVar[bool] = False

    # -- what the pool asks ---------------------------------------------------------------------

    @property
    def is_usable(self) -> bool:
        """Whether a request may be sent now; not once the upstream has ended."""
        return self._stream is None and self._keep_alive and not self._closing

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return int(self._stream is not None)

    def open_stream(self) -> H1Stream:
        """A stream for the next request. The connection must be idle."""
        return self._begin(None)

    def doubt(self) -> None:
        """See `Reusable`. It has one request, which can go nowhere else."""

    def ask(self) -> None:
        """See `Reusable`. HTTP/1.1 has no way to ask."""

    # -- requests and responses -----------------------------------------------------------------

    def send_request(self, request: Request) -> None:
        """Write a request's head."""
        self._request = request
        self._head_sent = True
        self._sent_at = self._loop.time()
        self.expect_head()
        head = h1_message.write_request(request)
        self._writer.begin(head, request.length, chunked=request.length is None)

    def on_head_begun(self) -> None:
        """The exchange has its own deadlines, but has to be there."""
        if self._request is None:
            raise Malformed("a response that nobody asked for")

    def on_head(self, raw: bytes) -> None:
        stream, request = self._stream, self._request
        if stream is None or request is None:
            raise Malformed("a response that nobody asked for")
        head = response_head(raw, self._limits.header_count)
        if len(raw) > self._limits.header_bytes:
            check_bytes(head[3], self._limits.header_bytes)
        response, persistent, chunked = h1_message.read_response(head, request.method)
        if response.status < 200:
            self._reused = False  # it lives, and may be at work on the request: no retry
            stream.informational += 1
            if stream.informational > MOST_INFORMATIONAL:
                raise Malformed(TOO_MANY_INFORMATIONAL)
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

    def on_ahead(self, held: int) -> None:
        raise Malformed("bytes after the end of the response")

    # -- the end of an exchange -----------------------------------------------------------------

    def _free(self) -> None:
        if self._keep_alive:
            self._owner.idle(self)
        else:
            self.abort()

    def _reset(self) -> None:
        if self._head_sent:
            self.abort()
        else:
            self._in_done = self._out_done = True
            self._settle()

    # -- faults ---------------------------------------------------------------------------------

    def _malformed(self, error: Malformed) -> None:
        self._keep_alive = False
        self.ignore_input()
        self._unsent_fault()
        self._fault(UpstreamFault("protocol", f"the upstream's reply is broken: {error}"))
        self.abort()

    def _fault(self, fault: UpstreamFault) -> None:
        stream = self._stream
        if stream is not None:
            stream.head.fail(fault)
            stream.body.fail(fault)

    def _unsent_fault(self) -> None:
        """Nothing of the exchange was sent, and from here on nothing is: another connection may
        serve it, whatever it was that ended this one."""
        stream = self._stream
        if stream is not None and not self._head_sent:
            reason = "the upstream closed the connection before the request"
            stream.end()  # who hears of the fault may call
            self._fault(UpstreamFault("disconnected", reason, unseen=True))
            self._stream = None

    def _disconnected(self, error: Exception | None = None) -> None:
        silent = not self.has_held
        self._keep_alive = False
        self.ignore_input()
        self._unsent_fault()
        stream, request = self._stream, self._request
        if stream is None or request is None or (self._in_done and self._out_done):
            return
        silent = silent and not stream.head.done
        where = "before its response" if silent else "in the middle of its response"
        if silent and not (stream.informational or self._reused or self._secure):
            # What most servers of TLS do to what is none.
            where += " (is it https?)"
        reason = f"the upstream closed the connection {where}{alert(error)}"
        again = silent and self._reused
        again = again and may_go_again(request.method, self._loop.time() - self._sent_at)
        self._fault(UpstreamFault("disconnected", reason, again))
