"""HTTP/2 towards clients: requests in, responses out.

The one rule: what a client asks for costs it as much as us. Streams that it opens and resets, or
breaks, are counted; the work they started ends in the turn in which they end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from h2.errors import ErrorCodes

from m2mproxy.http.faults import ClientFault, ClientGone, Fault
from m2mproxy.http.headers import Field
from m2mproxy.http.message import Request, Response
from m2mproxy.http.validate import Malformed
from m2mproxy.net import fields
from m2mproxy.net.connection import NO_SETTINGS, Owner, Runtime
from m2mproxy.net.h2 import H2
from m2mproxy.net.h2_budget import RESETS, RESETS_RATE, WAITED, Budget
from m2mproxy.net.h2_engine import MAX_STREAM_ID, MAX_STREAMS, PREFACE
from m2mproxy.net.h2_stream import H2Stream
from m2mproxy.net.h2_upload import Uploads
from m2mproxy.net.path import path_of
from m2mproxy.net.tcp import shown_certificate

# A request that is answered before its end: up to this many bytes of its rest are taken, and of a
# larger one there is room for so many at most.
_UNREAD_REST, _MOST_REST = 1 << 20, 64 << 20
# How often slow clients are looked for: the error of their deadlines, in seconds.
_LOOK_EVERY = 1.0
_LAST_PING = b"m2mdrain"


class H2Server(H2):
    """A client's connection."""

    __slots__ = (
        "_begun", "_certificate", "_draining", "_goodbye", "_preface", "_repeated", "_resets",
        "_uploads",
    )

    def __init__(
        self,
        owner: Owner,
        runtime: Runtime,
        announce: Mapping[int, int] = NO_SETTINGS,
    ) -> None:
        """`announce` are settings for the peer beyond those of RFC 9113, by code."""
        super().__init__(False, owner, runtime, announce)
        self._preface = PREFACE  # what of it is still to come
        self._resets = Budget(runtime.loop.time, RESETS, RESETS_RATE)
        self._repeated: fields.RepeatedSection | None = None
        self._uploads = Uploads(runtime.timeouts, runtime.limits)
        self._begun = 0.0  # when the header block began that is not complete
        self._draining = False  # there are to be no further streams
        self._goodbye = False  # no further stream is taken
        self._certificate = b""

    def attach(self, transport: asyncio.Transport) -> None:
        super().attach(transport)
        self._certificate = shown_certificate(transport)
        self._look()

    def received(self, data: bytes) -> None:
        if self._preface:
            size = min(len(data), len(self._preface))
            if data[:size] != self._preface[:size]:
                self.fail(ErrorCodes.PROTOCOL_ERROR, "what was sent is not HTTP/2")
                return
            self._preface, data = self._preface[size:], data[size:]
        block = self._frames.block
        super().received(data)
        if self._frames.block != block:
            self._begun = self._loop.time()
            self._look()

    # -- requests -------------------------------------------------------------------------------

    def _distance(self) -> float:
        path = path_of(self._transport) if self._transport is not None else None
        return 0.0 if path is None else path.rtt

    def on_head(self, stream_id: int, section: list[Field], ended: bool) -> None:
        if self._goodbye or len(self._streams) >= MAX_STREAMS:
            self._engine.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            self._count_reset()
            return
        stream = H2Stream(self, stream_id, self._client, self._certificate)
        stream.sent_at = self._loop.time()
        self._streams[stream_id] = stream
        if ended:
            stream.ended_in = True
            stream.body.end()
        try:
            request = self._read(section, ended, stream_id)
        except Malformed as error:
            stream.method = dict(section).get(b":method", b"")
            self._refuse(stream, error)
            return
        stream.request = request
        stream.method = request.method
        stream.length = request.length
        if not ended:
            self._uploads.begin(stream, stream.sent_at)
        self._look()
        self._owner.requested(stream, request)

    def _read(self, section: list[Field], ended: bool, stream_id: int) -> Request:
        request = self._repeated.read(section, ended) if self._repeated is not None else None
        if request is None:
            fields.check_size(section, self._limits)
            request = fields.read_request(section, ended)
            if stream_id > 1:  # not for the first: many connections bring only one
                self._repeated = fields.RepeatedSection(section, request)
        return request

    def _refuse(self, stream: H2Stream, error: Malformed) -> None:
        """Answer a request that is none. Its end is a reset (RFC 9113 8.1.1), unless it was only
        too large."""
        code = "headers_too_large" if error.status == 431 else "bad_request"
        stream.malformed = error.status == 400
        if stream.malformed:
            self._count_reset()
        self._owner.refused(stream, ClientFault(error.status, code, str(error)))

    def refuse(self, fault: Fault) -> None:
        """Turn the whole client away."""
        if self._closing:
            return
        self._engine.go_away(0)
        self._close()
        self._owner.refused(self._no_stream(), fault)

    def _no_stream(self) -> H2Stream:
        """A stream that is over, for a fault that has none: the owner hears of it all the same."""
        stream = H2Stream(self, 0, self._client)
        stream.end()
        return stream

    # -- responses ------------------------------------------------------------------------------

    def on_informational(self, stream_id: int, section: list[Field]) -> None:
        raise RuntimeError("a client sends no responses")

    def send_request(self, stream: H2Stream, request: Request) -> None:
        raise RuntimeError("a server sends no requests")

    def send_response(self, stream: H2Stream, response: Response) -> None:
        """Write a response's head, or a 1xx before it."""
        informational = response.status < 200
        if stream.head_sent or (informational and stream.malformed):
            return
        section = fields.response_fields(response)
        no_body = response.length == 0 or stream.method == b"HEAD"
        no_body = no_body and not informational and not stream.malformed
        if informational:
            self._engine.send_headers(stream.id, section)
            stream.invited = stream.invited or response.status == 100
            self._wake()
            return
        self._engine.send_headers(stream.id, section, no_body)
        self._wake()
        stream.head_sent = True
        if no_body:
            stream.finished = stream.ended_out = True
            self._settle(stream)

    def ready(self, stream: H2Stream) -> None:
        super().ready(stream)
        if stream.finished and not stream.over:  # from now on only the client can be slow
            stream.moved = self._loop.time()
            self._look()

    def _settle(self, stream: H2Stream) -> None:
        if stream.ended_out and stream.malformed:
            self._over(stream)  # reset with the end of its answer
        elif stream.ended_in:
            self._uploads.end(stream)
            super()._settle(stream)
        elif stream.ended_out and not stream.over:
            self._answered_early(stream)

    def _answered_early(self, stream: H2Stream) -> None:
        """Take the rest of the request if it is small, or waits for a word: this was it, and curl
        has got no answer where it is reset. Otherwise say that it is not wanted, to a client that
        has room for it: some (httpx) wait for that, and look at nothing else."""
        request = stream.request
        length = request.length if request is not None else None
        rest = _MOST_REST if length is None else length - stream.arrived
        waits = stream.awaits_word and not stream.arrived and rest < _MOST_REST
        if waits or rest <= _UNREAD_REST:
            stream.body.discard()
        else:
            self._engine.widen(min(rest, _MOST_REST), stream.id)
            self._engine.reset_stream(stream.id, ErrorCodes.NO_ERROR)  # RFC 9113 8.1
            self._over(stream)

    def _over(self, stream: H2Stream) -> None:
        self._uploads.end(stream)
        super()._over(stream)
        if stream.ended_in and stream.ended_out and not stream.malformed:
            self._resets.earn(1)
        if self._streams:
            return
        if self._draining:
            self._close()
        else:
            self._look()

    def give_up(self, stream: H2Stream) -> None:
        if stream.finished:
            return  # it leaves as far as the client takes it
        self._writer.drain(stream)
        self._engine.reset_stream(stream.id, ErrorCodes.INTERNAL_ERROR)
        self._wake()
        self._over(stream)

    # -- the client breaks off ------------------------------------------------------------------

    def on_reset(self, stream_id: int, code: int) -> None:
        stream = self._streams.get(stream_id)
        # Whose answer has begun has waited for it like everybody else: no work was had for nothing.
        if stream is None or not (stream.head_sent or self._has_waited(stream)):
            self._count_reset()
        if stream is not None and not stream.over:
            self._fault(stream, ClientGone())

    def _has_waited(self, stream: H2Stream) -> bool:
        return self._loop.time() >= stream.sent_at + WAITED

    def on_broken(self, stream_id: int, reason: str) -> None:
        self._count_reset()
        super().on_broken(stream_id, reason)

    def _count_reset(self) -> None:
        self._wake()
        if not self._resets.spend():
            self.fail(ErrorCodes.ENHANCE_YOUR_CALM, "too many streams were reset")

    def _reset(self, stream: H2Stream, code: ErrorCodes, reason: str) -> None:
        super()._reset(stream, code, reason)
        self._count_reset()

    def _broken(self, stream: H2Stream, reason: str) -> None:
        self._fault(stream, ClientFault(400, "bad_request", f"the request is broken: {reason}"))

    def _fault(self, stream: H2Stream, fault: Fault) -> None:
        """End a stream that cannot be answered any more."""
        self._over(stream)
        stream.body.fail(fault)
        if stream.on_fault is not None:
            stream.on_fault(fault)

    def _failed(self, reason: str) -> None:
        fault = ClientFault(400, "bad_request", f"the connection is broken: {reason}")
        if not self._streams:
            self._owner.refused(self._no_stream(), fault)
        for stream in list(self._streams.values()):
            self._fault(stream, fault)

    def _disconnected(self, error: Exception | None = None) -> None:
        for stream in list(self._streams.values()):
            self._fault(stream, ClientGone())

    def on_go_away(self, last: int) -> None:
        """The client begins nothing new."""
        self._last_words()

    # -- time, stopping -------------------------------------------------------------------------

    def _look(self) -> None:
        """Set the deadline: soon while somebody may be slow, late while nothing is under way."""
        if self._closing:
            return
        if self._frames.block or self._uploads or self._goodbye or self._flushing():
            # Never later than it is set: a busy connection would put it off for ever.
            soon, when = self._loop.time() + _LOOK_EVERY, self._deadline.when
            if when is None or when > soon:
                self._deadline.at(soon)
        elif self._streams:
            self._deadline.clear()
        else:
            self._deadline.after(self.session.idle_time(self._timeouts.keepalive))

    def _idle_time_changed(self) -> None:
        self._look()

    def _flushing(self) -> list[H2Stream]:
        return [stream for stream in self._streams.values() if stream.finished]

    def _expired(self) -> None:
        if self._closing:
            super()._expired()
            return
        now = self._loop.time()
        if self._frames.block and now > self._begun + self._timeouts.header:
            self.fail(ErrorCodes.ENHANCE_YOUR_CALM, "a header section did not arrive in time")
            return
        if not self._streams and not self._frames.block:
            self._engine.go_away(self._engine.highest_inbound_stream_id)
            self._close()
            return
        for stream in self._uploads.late(now):
            self._late(stream)
        for stream in self._flushing():
            if stream.pending and now > stream.moved + self._timeouts.idle:
                self._engine.reset_stream(stream.id, ErrorCodes.CANCEL)
                self._over(stream)
        self._wake()
        self._look()

    def _late(self, stream: H2Stream) -> None:
        self._uploads.end(stream)
        if stream.ended_out:
            self._engine.reset_stream(stream.id, ErrorCodes.NO_ERROR)
            self._over(stream)
            return
        fault = ClientFault(408, "request_timeout", "the request's body did not arrive in time")
        stream.body.fail(fault)
        if stream.on_fault is not None:
            stream.on_fault(fault)

    def drain(self) -> None:
        """RFC 9113 6.8: say that it ends, and which streams are the last once that is known."""
        if self._draining or not self._streams:
            self._last_words()
            return
        self._draining = True
        self._engine.go_away(MAX_STREAM_ID)
        self._engine.ping(_LAST_PING)
        self._wake()

    def on_ping_ack(self, data: bytes) -> None:
        super().on_ping_ack(data)
        if self._draining and data == _LAST_PING:
            self._last_words()

    def _last_words(self) -> None:
        if not self._goodbye and not self._closing:
            self._goodbye = True
            self._engine.go_away(self._engine.highest_inbound_stream_id)
            self._wake()
        self._draining = True
        if not self._streams:
            self._close()
