"""The state of an HTTP/2 connection (RFC 9113): its streams, its windows, its settings.

Frames come in, and whoever listens is told what they mean; what is to be said goes out as bytes.
What a frame means is decided here, what to do about it by the connection around this. The h2
library's connection is the judge (tests/fuzz/test_engine_against_h2.py), but no base for this:
it ends a whole connection over one bad message, drops what it wanted to say when the other
side says GOAWAY, and counts streams against a limit that the other side may not have seen yet.

The one rule: whatever comes is told once, as what it is, an error of its stream or an error of the
connection, and what is over is forgotten, but for how it ended.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Protocol

from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from m2mproxy.http.headers import Field
from m2mproxy.net.h2_frames import (
    MAX_FRAME,
    SETTINGS_ACK,
    AnyFrame,
    Data,
    FieldBlock,
    FrameError,
    GoAwayFrame,
    PingFrame,
    PushPromiseFrame,
    Reset,
    Settings,
    WindowUpdateFrame,
    data_frame,
    go_away_frame,
    head_frames,
    ping_frame,
    reset_frame,
    settings_frame,
    window_frame,
)
from m2mproxy.net.h2_hpack import FieldDecoder, FieldEncoder, HPACKError
from m2mproxy.net.h2_settings import PeerSettings
from m2mproxy.net.h2_tables import TABLE_SIZE
from m2mproxy.net.h2_window import FIRST_ROOM, MOST_ROOM, Window

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Bytes of one stream that a peer may send before we have taken them.
STREAM_WINDOW = 128 * 1024
# Streams that a peer may have open, and that we open on one connection.
MAX_STREAMS = 100
# So that streams whose readers are slow never hold up the others.
CONNECTION_WINDOW = STREAM_WINDOW * MAX_STREAMS
# A setting of ours: who sends it takes the bytes of a DATA frame as they come (m2m-link(7)).
READS_PIECES = 0x4D36
MAX_STREAM_ID = 2**31 - 1

# How so many of the streams that are over have ended is remembered, for frames that come late: of
# those that are answered, no more than MAX_STREAMS end in a round trip. Each takes 170 bytes.
_CLOSED_STREAMS = 3 * MAX_STREAMS


class _End(Enum):
    """How a stream ended."""

    COMPLETE = 1
    RESET_BY_US = 2
    RESET_BY_PEER = 3


class Listener(Protocol):
    """Who is told what comes. Each call is the last that is done about a frame, so that whoever is
    called may say and end what he likes."""

    __slots__ = ()

    def on_head(self, stream_id: int, section: list[Any], ended: bool) -> None:
        """A request on a new stream, or the response to one of ours. `ended`: nothing follows."""

    def on_informational(self, stream_id: int, section: list[Any]) -> None:
        """A response that is followed by another (1xx)."""

    def on_data(self, stream_id: int, data: bytes, size: int, ended: bool) -> None:
        """Payload, `size` bytes with its padding: so many are to be `taken`."""

    def on_trailers(self, stream_id: int, section: list[Any]) -> None:
        """The end of a message that has trailers."""

    def on_reset(self, stream_id: int, code: int) -> None:
        """The peer gave a stream up; it is over."""

    def on_broken(self, stream_id: int, reason: str) -> None:
        """The peer broke the rules on a stream, or went on with one that is over: it is now."""

    def on_room(self, stream_id: int) -> None:
        """More may be sent: on a stream, or with 0 on all streams together."""

    def on_settings(self) -> None:
        """The peer's SETTINGS, the first or others."""

    def on_ping_ack(self, data: bytes) -> None:
        """The answer to a PING of ours."""

    def on_go_away(self, last: int) -> None:
        """The peer takes no streams above `last`, and opens none."""


class _Stream:
    """One that is open."""

    __slots__ = ("ended_in", "ended_out", "has_head", "room", "window")

    def __init__(self, room: int) -> None:
        self.has_head = False  # the peer's message has begun
        self.ended_in = self.ended_out = False  # the peer's message, and ours
        self.room = room  # bytes that the peer takes
        self.window = Window(STREAM_WINDOW)


class Engine:
    """One connection's state. Headers are bytes, and are not validated here (net/fields.py)."""

    __slots__ = (
        "_closed", "_is_client", "_streams", "_window", "decoder", "encoder",
        "highest_inbound_stream_id", "highest_outbound_stream_id", "listener", "output", "peer",
        "room",
    )

    def __init__(
        self,
        client: bool,
        header_bytes: int,
        most_bytes: int,
        announce: Mapping[int, int],
        listener: Listener,
    ) -> None:
        """`header_bytes` is the largest field section that the peer is told to send, `most_bytes`
        the largest that is read; `announce` are settings for it beyond those of RFC 9113, by code
        (16 bits; 32 each). `listener` may have us: whoever receives no more deletes it."""
        self._is_client = client
        self.listener = listener
        self._streams: dict[int, _Stream] = {}
        self._closed: OrderedDict[int, _End] = OrderedDict()
        self._window = Window(FIRST_ROOM)
        self.room = FIRST_ROOM
        """Bytes of DATA that the peer takes, on all streams together."""
        self.highest_inbound_stream_id = self.highest_outbound_stream_id = 0
        self.peer = PeerSettings(client)
        self.encoder, self.decoder = FieldEncoder(), FieldDecoder()
        self.decoder.max_header_list_size = most_bytes
        offer: dict[int, int] = {
            SettingCodes.HEADER_TABLE_SIZE: TABLE_SIZE,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_FRAME_SIZE: MAX_FRAME,
            SettingCodes.MAX_HEADER_LIST_SIZE: header_bytes,
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
        }
        if client:  # RFC 9113 6.5.2: a client's to say
            offer[SettingCodes.ENABLE_PUSH] = 0
        self.output = bytearray(PREFACE if client else b"")
        """What `data_to_send` will give."""
        self.tell(offer | dict(announce))
        self.widen(CONNECTION_WINDOW - FIRST_ROOM)

    # -- what is said ---------------------------------------------------------------------------

    def data_to_send(self) -> bytes:
        """What is to be said, once."""
        data, self.output = bytes(self.output), bytearray()
        return data

    def tell(self, settings: Mapping[int, int]) -> None:
        """Send settings."""
        self.output += settings_frame(settings)

    def ping(self, data: bytes) -> None:
        """Ask for an answer that has the same eight bytes."""
        self.output += ping_frame(data)

    def go_away(self, last: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Say GOAWAY and go on with the streams up to `last` (RFC 9113 6.8)."""
        self.output += go_away_frame(last, code)

    def open(self, fields: Iterable[Field], end: bool) -> int:
        """Send HEADERS on a new stream. Returns its number, 0 when the peer takes no more."""
        if len(self._streams) >= self.peer.most_streams:
            return 0
        stream_id = (self.highest_outbound_stream_id or -1) + 2
        self.highest_outbound_stream_id = stream_id
        self._streams[stream_id] = _Stream(self.peer.stream_room)
        self.send_headers(stream_id, fields, end)
        return stream_id

    def send_headers(self, stream_id: int, fields: Iterable[Field], end: bool = False) -> None:
        """Send HEADERS on an open stream: a head or trailers."""
        self.output += head_frames(stream_id, self.encoder.encode(fields), end)
        if end:
            self._end_out(stream_id)

    def end_stream(self, stream_id: int) -> None:
        """End our message with an empty DATA frame."""
        self.output += self.data_header(stream_id, 0, True)

    def data_header(self, stream_id: int, size: int, end: bool) -> bytes:
        """What precedes `size` bytes of payload, for which the windows have room: it is sent when
        what was to be said before is."""
        self._streams[stream_id].room -= size
        self.room -= size
        if end:
            self._end_out(stream_id)
        return data_frame(stream_id, size, end)

    def _end_out(self, stream_id: int) -> None:
        """Our message is complete."""
        stream = self._streams[stream_id]
        stream.ended_out = True
        if stream.ended_in:
            self._close(stream_id, _End.COMPLETE)

    def reset_stream(self, stream_id: int, code: ErrorCodes) -> None:
        """Send RST_STREAM; the stream is over."""
        self._close(stream_id, _End.RESET_BY_US)
        self.output += reset_frame(stream_id, code)

    # -- windows --------------------------------------------------------------------------------

    def window_of(self, stream_id: int) -> int:
        """Bytes of DATA that may be sent on a stream now."""
        return min(self._streams[stream_id].room, self.room)

    def widen(self, by: int, stream_id: int = 0) -> None:
        """Let the peer send `by` bytes more before they are taken: on a stream, or with 0 on all
        streams together."""
        window = self._streams[stream_id].window if stream_id else self._window
        window.widen(by)
        self.output += window_frame(stream_id, by)

    def taken(self, size: int, stream_id: int) -> None:
        """So many bytes of what came on a stream, padding included, are out of the way."""
        self._grant(self._window, size, 0)
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.ended_in:
            self._grant(stream.window, size, stream_id)

    def _grant(self, window: Window, size: int, stream_id: int) -> None:
        by = window.taken(size)
        if by:
            self.output += window_frame(stream_id, by)

    # -- what comes -----------------------------------------------------------------------------

    def receive(self, frame: AnyFrame) -> None:
        """A frame came from the peer. Whatever has no meaning is told nobody (RFC 9113 5.5), as
        PRIORITY has none any more (5.3.2).

        Raises:
            FrameError: the connection has to end.
        """
        handler = _HANDLERS.get(type(frame))
        if handler is not None:
            handler(self, frame)

    def is_open(self, stream_id: int) -> bool:
        """Whether a stream is open in either direction."""
        return stream_id in self._streams

    def _is_idle(self, stream_id: int) -> bool:
        """Whether a stream was never opened (RFC 9113 5.1)."""
        is_ours = bool(stream_id & 1) is self._is_client
        highest = self.highest_outbound_stream_id if is_ours else self.highest_inbound_stream_id
        return stream_id > highest

    def _refuse_idle(self, stream_id: int) -> None:
        if self._is_idle(stream_id):
            raise _error(f"a frame came on stream {stream_id}, which is not open")

    def _close(self, stream_id: int, how: _End) -> None:
        del self._streams[stream_id]
        self._closed[stream_id] = how
        if len(self._closed) > _CLOSED_STREAMS:
            self._closed.popitem(last=False)

    def _break(self, stream_id: int, code: ErrorCodes, reason: str) -> None:
        """RFC 9113 5.4.2: an error of an open stream."""
        self.reset_stream(stream_id, code)
        self.listener.on_broken(stream_id, reason)

    def _late(self, stream_id: int) -> None:
        """A frame on a stream that is over. It was under way if we have reset that; whoever has
        reset or ended it himself is told that it is closed (RFC 9113 5.1)."""
        if self._closed.get(stream_id) is not _End.RESET_BY_US:
            self.output += reset_frame(stream_id, ErrorCodes.STREAM_CLOSED)
        self.listener.on_broken(stream_id, "a frame came after the stream's end")

    def _end_in(self, stream_id: int, stream: _Stream) -> None:
        """The peer's message is complete."""
        stream.ended_in = True
        if stream.ended_out:
            self._close(stream_id, _End.COMPLETE)

    def _receive_data(self, frame: Data) -> None:
        stream_id, size = frame.stream_id, frame.size
        stream = self._streams.get(stream_id)
        if stream is None:
            self._refuse_idle(stream_id)
        if self._window.came(size):  # streams that nobody reads from have the rest
            self.output += window_frame(0, self._window.grant())
        if stream is None or stream.ended_in or not stream.has_head:
            self._receive_astray(frame, stream)
            return
        stream.window.came(size)
        if frame.ends:
            self._end_in(stream_id, stream)
        self.listener.on_data(stream_id, frame.data, size, frame.ends)

    def _receive_astray(self, frame: Data, stream: _Stream | None) -> None:
        """DATA that belongs to no message."""
        stream_id = frame.stream_id
        self._grant(self._window, frame.size, 0)
        if stream is None:
            if self._closed.get(stream_id) is not _End.RESET_BY_US:
                self._late(stream_id)
        elif stream.ended_in:
            self._break(stream_id, ErrorCodes.STREAM_CLOSED, "DATA came after its end")
        else:
            self._break(stream_id, ErrorCodes.PROTOCOL_ERROR, "DATA came before its head")

    def _receive_fields(self, frame: FieldBlock) -> None:
        try:
            fields = self.decoder.decode(frame.block)  # always: for what it adds to the table
        except HPACKError as error:
            reason = f"a field section is broken: {error}"
            raise _error(reason, ErrorCodes.COMPRESSION_ERROR) from None
        stream_id, ends = frame.stream_id, frame.ends
        stream = self._streams.get(stream_id)
        if stream is None:
            self._receive_first(stream_id, fields, ends)
        elif stream.ended_in:
            self._break(stream_id, ErrorCodes.STREAM_CLOSED, "HEADERS came after its end")
        elif stream.has_head:
            if ends:
                self._end_in(stream_id, stream)
                self.listener.on_trailers(stream_id, fields)
            else:  # RFC 9113 8.1
                self._break(stream_id, ErrorCodes.PROTOCOL_ERROR, "trailers are not its end")
        elif not _is_informational(fields):
            self._receive_head(stream_id, stream, fields, ends)
        elif ends:
            self._break(stream_id, ErrorCodes.PROTOCOL_ERROR, "a 1xx response is its end")
        else:
            self.listener.on_informational(stream_id, fields)

    def _receive_head(self, stream_id: int, stream: _Stream, fields: list[Any], ends: bool) -> None:
        stream.has_head = True
        if ends:
            self._end_in(stream_id, stream)
        self.listener.on_head(stream_id, fields, ends)

    def _receive_first(self, stream_id: int, fields: list[Any], ends: bool) -> None:
        """HEADERS on a stream that is not open: a request, or late."""
        if not self._is_idle(stream_id):
            how = self._closed.get(stream_id)
            if how is _End.COMPLETE:
                reason = f"HEADERS came on stream {stream_id}, which is not open any more"
                raise _error(reason, ErrorCodes.STREAM_CLOSED)
            if how is None and not self._is_client:  # left out, or so long ago that nobody knows
                raise _error(f"stream {stream_id} begins after a later one")
            self._late(stream_id)
            return
        if self._is_client or not stream_id & 1:  # RFC 9113 5.1.1; we take no pushed streams
            raise _error(f"stream {stream_id} is not the peer's to open")
        self.highest_inbound_stream_id = stream_id
        stream = self._streams[stream_id] = _Stream(self.peer.stream_room)
        self._receive_head(stream_id, stream, fields, ends)

    def _receive_reset(self, frame: Reset) -> None:
        stream_id = frame.stream_id
        if stream_id not in self._streams:
            self._refuse_idle(stream_id)
            return
        self._close(stream_id, _End.RESET_BY_PEER)
        self.listener.on_reset(stream_id, frame.code)

    def _receive_window(self, frame: WindowUpdateFrame) -> None:
        stream_id, by = frame.stream_id, frame.window_increment
        if not stream_id:
            self.room += by
            if self.room > MOST_ROOM:
                raise _error("its window is too large", ErrorCodes.FLOW_CONTROL_ERROR)
        else:
            stream = self._streams.get(stream_id)
            if stream is None:
                self._refuse_idle(stream_id)
                return
            stream.room += by
            if stream.room > MOST_ROOM:
                self._break(stream_id, ErrorCodes.FLOW_CONTROL_ERROR, "its window is too large")
                return
        self.listener.on_room(stream_id)

    def _receive_settings(self, frame: Settings) -> None:
        if frame.is_ack:
            return  # what we say does not change
        room = self.peer.stream_room
        for code, value in frame.values:
            self.peer.update(code, value)
            self.encoder.header_table_size = self.peer.table_size
        for stream in self._streams.values():  # RFC 9113 6.9.2: it may become negative
            stream.room += self.peer.stream_room - room
            if stream.room > MOST_ROOM:
                raise _error("a window is too large", ErrorCodes.FLOW_CONTROL_ERROR)
        self.output += SETTINGS_ACK
        self.listener.on_settings()

    def _receive_ping(self, frame: PingFrame) -> None:
        if "ACK" in frame.flags:
            self.listener.on_ping_ack(frame.opaque_data)
        else:
            self.output += ping_frame(frame.opaque_data, ack=True)

    def _receive_go_away(self, frame: GoAwayFrame) -> None:
        # But for the reserved bit.
        self.listener.on_go_away(frame.last_stream_id & MAX_STREAM_ID)

    def _receive_push(self, frame: PushPromiseFrame) -> None:
        raise _error("PUSH_PROMISE, which was forbidden")  # RFC 9113 8.4


_HANDLERS: dict[type, Callable[[Engine, Any], None]] = {
    Data: Engine._receive_data,
    FieldBlock: Engine._receive_fields,
    GoAwayFrame: Engine._receive_go_away,
    PingFrame: Engine._receive_ping,
    PushPromiseFrame: Engine._receive_push,
    Reset: Engine._receive_reset,
    Settings: Engine._receive_settings,
    WindowUpdateFrame: Engine._receive_window,
}


def _error(reason: str, code: ErrorCodes = ErrorCodes.PROTOCOL_ERROR) -> FrameError:
    return FrameError(code, reason)


def _is_informational(fields: list[Any]) -> bool:
    """Whether a response is followed by another (RFC 9110 15.2)."""
    return bool(fields) and fields[0][0] == b":status" and fields[0][1][:1] == b"1"
