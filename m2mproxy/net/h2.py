"""HTTP/2 (RFC 9113): what both roles have in common; h2_server.py and h2_client.py add their own.

A stream ends when both messages are complete, or when either side resets it. What a frame means
the engine knows (h2_engine.py); what follows is decided here: who is told what, what is too much,
when to stop.

The one rule: an error ends as little as the protocol allows, a stream before its connection, and
what was cut never looks complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from h2.errors import ErrorCodes

from m2mproxy.http.headers import Field
from m2mproxy.http.validate import Malformed, most_listed
from m2mproxy.net.connection import Owner, Runtime, Session
from m2mproxy.net.deadline import Deadline
from m2mproxy.net.fields import check_size, read_trailers
from m2mproxy.net.h2_budget import FrameBudget
from m2mproxy.net.h2_engine import STREAM_WINDOW, Engine, Listener
from m2mproxy.net.h2_frames import FrameError, FrameReader
from m2mproxy.net.h2_growth import Growth
from m2mproxy.net.h2_pace import SMALL, Pace
from m2mproxy.net.h2_stream import H2Stream
from m2mproxy.net.h2_writer import FrameWriter
from m2mproxy.net.linger import Linger
from m2mproxy.net.tcp import WRITE_HIGH, client_name, negotiated, write_joined

# Bytes taken from a stream before the engine is told: it grants room in larger steps anyhow.
_CREDIT_STEP = 16 * 1024
# What a stream may make us hold, in bytes of memory, before its chunks are joined: a first window
# in very small frames, and what it has grown by.
_MAX_WEIGHT = 15 * STREAM_WINDOW
# Replies to a peer that reads none of them: above this no more is read from it.
_MAX_UNREAD = 16 * 1024
# Frames that bring nothing: so many at once, so many a second, and what payload earns.
_IDLE_FRAMES, _IDLE_FRAMES_RATE = 250, 25


class H2(Listener):
    """An HTTP/2 connection."""

    __slots__ = (
        "_client", "_closing", "_deadline", "_engine", "_frames", "_frames_seen", "_growth",
        "_is_client", "_limits", "_linger", "_loop", "_owner", "_pace", "_peer_is_at_it", "_queued",
        "_reading", "_secure", "_streams", "_timeouts", "_transport", "_turn", "_writable",
        "_writer", "session",
    )

    def __init__(
        self,
        client: bool,
        owner: Owner,
        runtime: Runtime,
        announce: Mapping[int, int],
    ) -> None:
        self._owner = owner
        self._turn, loop, self._timeouts, limits, deadlines = runtime
        self._loop, self._limits = loop, limits
        self._transport: asyncio.Transport | None = None
        self._is_client = client
        self._client = ""
        self._secure = False
        listed = most_listed(limits.header_bytes, limits.header_count)
        # A head that is a little too large is read, to be refused with 431; one that is much too
        # large ends the connection.
        most = listed + limits.header_bytes
        self._engine = Engine(client, listed, most, announce, self)
        self._growth = Growth(self._engine)
        self.session = Session(
            self._engine.peer.others, self._idle_time_changed, self._nobody_between
        )
        budget = FrameBudget(loop.time, _IDLE_FRAMES, _IDLE_FRAMES_RATE)
        self._frames = FrameReader(budget, most, in_pieces=client)
        self._frames_seen = 0
        self._writer = FrameWriter(self._engine, budget, loop.time, self._settle)
        self._deadline = Deadline(loop, self._expired, deadlines)
        self._streams: dict[int, H2Stream] = {}
        self._reading = self._writable = True
        self._queued = False
        self._closing = False
        self._linger: Linger | None = None
        self._peer_is_at_it = False  # it may be sending while we close

    # -- what the transport calls ---------------------------------------------------------------

    def attach(self, transport: asyncio.Transport) -> None:
        """The transport is there: SETTINGS go out."""
        self._transport = transport
        self._client = client_name(transport, self._is_client)
        self._secure = negotiated(transport) is not None
        self._pace = Pace(transport, self._loop, self._wake)
        self._wake()

    def received(self, data: bytes) -> None:
        """Read as many frames as there are."""
        if self._closing:
            return
        try:
            for frame in self._frames.feed(data):
                self._frames_seen += 1
                self._engine.receive(frame)
                if self._closing:
                    return
        except FrameError as error:
            self.fail(error.code, str(error))
            return
        waiting = len(self._engine.output)
        if waiting:
            self._wake()
            if waiting > _MAX_UNREAD and not self._writable:
                self._listen(False)

    def eof(self) -> None:
        """The peer will send no more, and on each stream that is too early."""
        self._disconnected()
        self._close()

    def lost(self, error: Exception | None) -> None:
        """The transport is gone. Nobody keeps it, which over TLS is a quarter of a megabyte; and
        what we have lets go of us, or all of it would wait for the cycle collector."""
        self._transport = self._linger = None
        self._closing = True
        self._deadline.end()
        self._pace.close()
        del self._pace
        self._disconnected(error)
        del self._engine.listener, self._writer.on_sent
        self.session.end()
        self._owner.closed(self)

    def writable(self, yes: bool) -> None:
        """The transport's buffer passed a watermark."""
        self._writable = yes
        if yes:
            self._listen(True)
            self._wake()

    def _listen(self, yes: bool) -> None:
        if self._transport is not None and yes is not self._reading:
            self._reading = yes
            (self._transport.resume_reading if yes else self._transport.pause_reading)()

    def _wake(self) -> None:
        """Have `flush` called in this turn."""
        if not self._queued and self._transport is not None:
            self._queued = True
            self._turn.add(self)

    def flush(self) -> None:
        """Hand what may be sent to the transport, and close if that was the last."""
        self._queued = False
        transport = self._transport
        if transport is None or self._linger is not None:
            return
        if not (self._writable or self._closing):
            return
        # One more: a transport that is exactly full takes no more and says nothing of it.
        room, pace = WRITE_HIGH + 1 - transport.get_write_buffer_size(), self._pace
        if self._writer.waiting > SMALL and not self._closing:
            room = pace.room(room)
        self._writer.emit(room, pace.frame)
        pieces = self._writer.take()
        if self._secure:
            write_joined(transport, pieces)
        elif pieces:
            transport.writelines(pieces)
        if self._closing:
            self._listen(True)
            seconds = self._timeouts.close
            self._linger = Linger(transport, self._deadline, seconds, self._peer_is_at_it)
        elif self._writable and self._writer.can_go_on and not pace.is_holding:
            self._wake()

    # -- what is read ---------------------------------------------------------------------------

    def on_data(self, stream_id: int, data: bytes, size: int, ended: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            self._engine.taken(size, stream_id)
            return
        if size > len(data):  # padding is nobody's to take
            self._engine.taken(size - len(data), stream.id)
        stream.arrived += len(data)
        if stream.length is not None and not self._is_in_length(stream, ended):
            return
        stream.ended_in = ended  # before anybody hears of it, and gives up what is no longer open
        if data:
            stream.body.feed(data)
            if stream.body.weight > _MAX_WEIGHT + stream.window:
                stream.body.join()  # a few letters at a time, for one who reads slowly
        if ended and not stream.over:
            self._received_all(stream)

    def _is_in_length(self, stream: H2Stream, ended: bool) -> bool:
        """Whether as much has arrived as `stream.length` says. If not, it is malformed (RFC 9113
        8.1.1)."""
        length = stream.length
        if length is None or stream.arrived == length or (stream.arrived < length and not ended):
            return True
        reason = "its body is not what content-length says"
        self._reset(stream, ErrorCodes.PROTOCOL_ERROR, reason)
        return False

    def _received_all(self, stream: H2Stream) -> None:
        """The peer's message is complete."""
        stream.ended_in = True
        if not stream.body.held:
            self._growth.forget(stream)
        stream.body.end(stream.trailers_in)
        self._settle(stream)

    def on_trailers(self, stream_id: int, section: list[Field]) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        try:
            check_size(section, self._limits)
            stream.trailers_in = read_trailers(section)
        except Malformed as error:
            self._reset(stream, ErrorCodes.PROTOCOL_ERROR, f"its trailers are broken: {error}")
            return
        if self._is_in_length(stream, True):
            self._received_all(stream)

    def on_room(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._writer.ready(stream)
        if self._writer.can_go_on:
            self._wake()

    def on_settings(self) -> None:
        for stream in self._streams.values():
            if stream.pending:
                self._writer.ready(stream)
        self._wake()
        self.session.opened.set(True)

    def credit(self, stream: H2Stream) -> None:
        """Payload was taken: let the peer send as much again, in steps."""
        taken = stream.arrived - stream.credited - stream.body.held
        if taken >= _CREDIT_STEP or (stream.over and taken):
            stream.credited += taken
            self._engine.taken(taken, stream.id)
            if not (stream.over or stream.ended_in):
                self._growth.took(stream, self._distance)
            if self._engine.output:
                self._wake()
        if stream.over and not stream.body.held:
            stream.body.paid()

    def _distance(self) -> float:
        """See `Growth.took`."""
        return 0.0

    # -- what is written ------------------------------------------------------------------------

    def ready(self, stream: H2Stream) -> None:
        """`stream` has something to send, or has said its last."""
        self._writer.ready(stream)
        self._wake()

    def _settle(self, stream: H2Stream) -> None:
        """One of a stream's messages is complete; the stream is over when both are."""
        if stream.ended_in and stream.ended_out:
            self._over(stream)

    def _over(self, stream: H2Stream) -> None:
        """Take leave of a stream. Whatever came and was not credited is credited by and by."""
        self._streams.pop(stream.id, None)
        self._writer.forget(stream)
        self._growth.forget(stream)
        stream.end()
        self.credit(stream)

    def give_up(self, stream: H2Stream) -> None:
        """The owner of `stream` resets it. What is complete stays as it is."""
        raise NotImplementedError

    def _reset(self, stream: H2Stream, code: ErrorCodes, reason: str) -> None:
        """The peer broke the rules on `stream`."""
        if self._engine.is_open(stream.id):
            self._engine.reset_stream(stream.id, code)
            self._wake()
        self._broken(stream, reason)

    def on_broken(self, stream_id: int, reason: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._broken(stream, reason)

    def _broken(self, stream: H2Stream, reason: str) -> None:
        """`stream` was reset because of what the peer sent."""
        raise NotImplementedError

    def on_ping_ack(self, data: bytes) -> None:
        self._growth.answered(data)
        if self._engine.output:
            self._wake()

    # -- faults, time, closing ------------------------------------------------------------------

    def fail(self, code: ErrorCodes, reason: str) -> None:
        """End the connection because of what the peer sent (RFC 9113 5.4.1)."""
        if self._closing:
            return
        self._engine.go_away(self._engine.highest_inbound_stream_id, code)
        self._peer_is_at_it = True
        self._close()
        self._failed(reason)

    def _failed(self, reason: str) -> None:
        """The connection ends because of what the peer sent: tell the streams."""
        raise NotImplementedError

    def _disconnected(self, error: Exception | None = None) -> None:
        """The peer left: tell the streams."""
        raise NotImplementedError

    def _idle_time_changed(self) -> None:
        """The session's."""

    def _nobody_between(self, says: Mapping[int, int]) -> None:
        """The session is direct."""

    def _expired(self) -> None:
        """The connection's deadline."""
        if self._linger is None or not self._linger.goes_on():
            self.abort()

    def _close(self) -> None:
        """Close once everything written has left."""
        if not self._closing:
            self._closing = True
            self._wake()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()
