"""The h2 library's connection, corrected where a proxy needs it to act otherwise.

It keeps HTTP/2's state machines, HPACK and flow control; the connection around it decides. Left
alone it ends a whole connection over one bad message, forgets what it wanted to say when the other
side says GOAWAY, and counts streams against a limit that the other side may not have seen yet.

The one rule: private names of the library are used in this file only, and its test tells when one
of them changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from h2.config import H2Configuration
from h2.connection import (
    AllowedStreamIDs,
    ConnectionInputs,
    ConnectionState,
    H2Connection,
    H2ConnectionStateMachine,
    _decode_headers,
)
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, StreamEnded, StreamReset
from h2.exceptions import (
    InvalidBodyLengthError,
    NoSuchStreamError,
    ProtocolError,
    StreamClosedError,
)
from h2.settings import SettingCodes, Settings
from h2.stream import H2StreamStateMachine, StreamClosedBy, StreamInputs, StreamState

from m2mproxy.http.headers import Field
from m2mproxy.net.h2_frames import (
    DataFrame,
    Frame,
    FrameError,
    GoAwayFrame,
    HeadersFrame,
    PlainData,
    PlainHeaders,
    PlainReset,
    RstStreamFrame,
    SettingsFrame,
    WholeSettings,
    head_frames,
)
from m2mproxy.net.h2_hpack import FieldDecoder, FieldEncoder, HPACKError

# Bytes of one stream that a peer may send before we have taken them.
STREAM_WINDOW = 128 * 1024
# Streams that a peer may have open, and that we open on one connection.
MAX_STREAMS = 100
# So that streams whose readers are slow never hold up the others.
CONNECTION_WINDOW = STREAM_WINDOW * MAX_STREAMS

# How so many of the streams that are over have ended is remembered, for frames that come late.
_CLOSED_STREAMS = 1000
# Settings that the library knows, and so many others of a peer that are kept (RFC 9113 6.5.2).
_KNOWN = frozenset(SettingCodes)
_MAX_OTHERS = 16
_UNLIMITED = 2**31 - 1
# A setting of ours: who sends it takes the bytes of a DATA frame as they come (m2m-link(7)).
READS_PIECES = 0x4D36
MAX_STREAM_ID = 2**31 - 1

# What leaves an open connection as it is, and a stream that may bring payload.
_OPEN = (ConnectionState.CLIENT_OPEN, ConnectionState.SERVER_OPEN)
_STEADY = (
    ConnectionInputs.RECV_DATA,
    ConnectionInputs.SEND_HEADERS,
    ConnectionInputs.RECV_HEADERS,
    ConnectionInputs.RECV_WINDOW_UPDATE,
)
_RESET = (StreamClosedBy.SEND_RST_STREAM, StreamClosedBy.RECV_RST_STREAM)
_BRINGS = (StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL)


class _Connection(H2ConnectionStateMachine):
    """The connection's states, where what nearly always happens changes none."""

    def process_input(self, input_: ConnectionInputs) -> list[Event]:
        if input_ in _STEADY and self.state in _OPEN:
            return []
        events: list[Event] = super().process_input(input_)
        return events


class Engine(H2Connection):
    """One connection's state. Headers are bytes, and are not validated here (net/fields.py)."""

    MAX_CLOSED_STREAMS = _CLOSED_STREAMS

    def __init__(self, client: bool, header_bytes: int, announce: Mapping[int, int]) -> None:
        """`header_bytes` is the largest field section that the peer is told to send; `announce`
        are settings for it that the library does not know, by code (16 bits; 32 each)."""
        super().__init__(
            H2Configuration(
                client_side=client,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.state_machine = _Connection()
        self._is_client = client
        self._ours = AllowedStreamIDs(client)
        self._theirs = AllowedStreamIDs(not client)
        self._most_streams = self.remote_settings.max_concurrent_streams
        self.other_settings: dict[int, int] = {}
        """Those of the peer that the library does not know, by code; the first of them."""
        self.encoder, self.decoder = FieldEncoder(), FieldDecoder()
        self._frame_dispatch_table[PlainData] = self._receive_plain_data
        self._frame_dispatch_table[PlainHeaders] = self._receive_plain_headers
        self._frame_dispatch_table[PlainReset] = self._receive_rst_stream_frame
        offer = {
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: header_bytes,
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            SettingCodes.ENABLE_PUSH: 0,
        }
        self.local_settings = Settings(client, offer)
        del self.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
        if not client:
            del self.local_settings[SettingCodes.ENABLE_PUSH]  # a client's to say (RFC 9113 6.5.2)
        self.initiate_connection()
        if announce:
            self._announce(announce)
        # From here on the library only needs what it acts on. The limit of streams is enforced by
        # the connection, stream by stream: the peer may not have heard of it yet.
        offer[SettingCodes.MAX_CONCURRENT_STREAMS] = _UNLIMITED
        self.local_settings = Settings(client, offer)
        # A little too much is refused with 431, much too much ends the connection.
        self.decoder.max_header_list_size = 2 * header_bytes
        self.increment_flow_control_window(CONNECTION_WINDOW - 65535)

    def _announce(self, more: Mapping[int, int]) -> None:
        """Add to the SETTINGS that wait; the library would write eight bits of a code."""
        known = dict(self.local_settings)
        size = len(SettingsFrame(0, known).serialize())
        self._data_to_send[-size:] = WholeSettings(0, known | dict(more)).serialize()

    def tell(self, says: Mapping[int, int]) -> None:
        """Send settings that the library does not know."""
        self._data_to_send += WholeSettings(0, dict(says)).serialize()

    def output_size(self) -> int:
        """Bytes that wait in `data_to_send`."""
        return len(self._data_to_send)

    def open(self, fields: list[Field], end: bool) -> int:
        """Send HEADERS on a new stream. Returns its number, 0 when the peer takes no more."""
        if len(self.streams) >= self._most_streams:
            return 0
        stream_id: int = (self.highest_outbound_stream_id or -1) + 2
        self.send_head(stream_id, fields, end)
        return stream_id

    def send_head(self, stream_id: int, fields: list[Field], end: bool) -> None:
        """Send the HEADERS of a request, or of a response that is not informational: what
        `send_headers` does for a first section, without looking for what is not in it."""
        self.state_machine.process_input(ConnectionInputs.SEND_HEADERS)
        stream = self._get_or_create_stream(stream_id, self._ours)
        stream.state_machine.process_input(StreamInputs.SEND_HEADERS)
        if end:
            stream.state_machine.process_input(StreamInputs.SEND_END_STREAM)
        if self._is_client:
            stream.request_method = fields[0][1]  # that the response to HEAD has no body
        block = self.encoder.encode(fields)
        self._data_to_send += head_frames(stream_id, block, end)

    def go_away(self, last: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Say GOAWAY and go on with the streams up to `last` (RFC 9113 6.8)."""
        self._prepare_for_sending([GoAwayFrame(0, last_stream_id=last, error_code=code)])

    def window_of(self, stream_id: int) -> int:
        """Bytes of DATA that may be sent on a stream now."""
        window: int = self.streams[stream_id].outbound_flow_control_window
        return min(window, self.outbound_flow_control_window)

    def take_window(self, stream_id: int, size: int) -> None:
        """`size` bytes of DATA are sent, in frames that are not made here."""
        self.streams[stream_id].outbound_flow_control_window -= size
        self.outbound_flow_control_window -= size

    def widen(self, by: int, stream_id: int = 0) -> None:
        """Let the peer send `by` bytes more before they are taken: on a stream, or with 0 on all
        streams together."""
        if stream_id:
            manager = self.streams[stream_id]._inbound_window_manager
        else:
            manager = self._inbound_flow_control_window_manager
        manager.max_window_size += by  # the library would count only what is not under way
        self.increment_flow_control_window(by, stream_id or None)

    def expect_no_body(self, stream_id: int) -> None:
        """The response on a stream has none, whatever its content-length says (RFC 9110 6.4.1): the
        library knows that of HEAD, and not of 204 and 304."""
        self.streams[stream_id]._expected_content_length = 0

    def is_open(self, stream_id: int) -> bool:
        """Whether a stream is open in either direction."""
        stream = self.streams.get(stream_id)
        return stream is not None and stream.open

    def ended(self, stream_id: int) -> None:
        """A DATA frame that is not made here ends our side of a stream."""
        self.streams[stream_id].state_machine.process_input(StreamInputs.SEND_END_STREAM)

    def forget(self, stream_id: int) -> None:
        """A stream is over. The library would look for such ones among all, with each new one."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.closed:
            del self.streams[stream_id]
            self._closed_streams[stream_id] = stream.closed_by

    def reset_stream(self, stream_id: int, error_code: ErrorCodes | int = 0) -> None:
        """Send RST_STREAM; the stream is over."""
        super().reset_stream(stream_id, error_code)
        self.forget(stream_id)

    def receive(self, frame: Frame) -> list[Event]:
        """What a frame from the peer brings.

        Raises:
            FrameError: the connection has to end.
        """
        try:
            if isinstance(frame, RstStreamFrame) and not self.is_open(frame.stream_id):
                if self._is_idle(frame.stream_id):
                    raise ProtocolError("RST_STREAM of a stream that was never open")
                return []
            if isinstance(frame, HeadersFrame):
                if self._is_client and not frame.stream_id & 1:
                    # RFC 9113 5.1.1. The library would take it for a request, and keep it.
                    raise ProtocolError("a server opened a stream that was not promised")
                if self._was_reset(frame.stream_id):
                    return self._receive_late_headers(frame)
            events: list[Event] = self._receive_frame(frame)
            return events
        except ProtocolError as error:
            if not self._concerns_one_stream(frame, error):
                coded = isinstance(error.__cause__, HPACKError)  # RFC 9113 4.3
                code = ErrorCodes.COMPRESSION_ERROR if coded else error.error_code
                raise FrameError(code, _reason(error)) from None
        # RFC 9113 8.1.1: a malformed message is its stream's error.
        stream_id = frame.stream_id
        self.reset_stream(stream_id, ErrorCodes.PROTOCOL_ERROR)
        if isinstance(frame, DataFrame):
            self.acknowledge_received_data(frame.flow_controlled_length, stream_id)
        return [StreamReset(stream_id=stream_id, remote_reset=False)]

    def _is_idle(self, stream_id: int) -> bool:
        """Whether a stream was never opened (RFC 9113 5.1)."""
        if self._stream_id_is_outbound(stream_id):
            return stream_id > self.highest_outbound_stream_id
        return stream_id > self.highest_inbound_stream_id

    def _concerns_one_stream(self, frame: Frame, error: ProtocolError) -> bool:
        if isinstance(error, InvalidBodyLengthError):
            return True
        # What is left of an open stream's HEADERS once the state machine has passed them.
        return (
            isinstance(frame, HeadersFrame)
            and type(error) is ProtocolError
            and not isinstance(error.__cause__, HPACKError)
            and self.is_open(frame.stream_id)
        )

    def _was_reset(self, stream_id: int) -> bool:
        return self._stream_closed_by(stream_id) in _RESET

    def _was_reset_by_us(self, stream_id: int) -> bool:
        closed_by: StreamClosedBy | None = self._stream_closed_by(stream_id)
        return closed_by is StreamClosedBy.SEND_RST_STREAM

    def _receive_late_headers(self, frame: HeadersFrame) -> list[Event]:
        """HEADERS of a stream that was reset. Of one that we have reset they were under way; who
        has reset it himself is told that it is closed (RFC 9113 5.1)."""
        _decode_headers(self.decoder, frame.data)  # for what it adds to the table
        if not self._was_reset_by_us(frame.stream_id):
            closed = RstStreamFrame(frame.stream_id, ErrorCodes.STREAM_CLOSED)
            self._prepare_for_sending([closed])
        return [_again(frame)]

    def _handle_data_on_closed_stream(
        self, events: list[Event], error: StreamClosedError, frame: DataFrame
    ) -> tuple[list[Frame], list[Event]]:
        """RFC 9113 5.1: what was under way when we reset the stream is ignored, not answered."""
        if not self._was_reset_by_us(frame.stream_id) or error._events:
            frames, events = super()._handle_data_on_closed_stream(events, error, frame)
            return frames, events or [_again(frame)]
        self.acknowledge_received_data(frame.flow_controlled_length, frame.stream_id)
        return [], events

    def _receive_plain_headers(
        self, frame: PlainHeaders
    ) -> tuple[list[Frame], list[Event]]:
        """What the library does with HEADERS that have no priority, but for its limit of streams,
        which is none (see above)."""
        section = _decode_headers(self.decoder, frame.data)
        self.state_machine.process_input(ConnectionInputs.RECV_HEADERS)
        stream = self._get_or_create_stream(frame.stream_id, self._theirs)
        frames, events = stream.receive_headers(section, frame.ends, None)
        return frames, events

    def _receive_plain_data(self, frame: PlainData) -> tuple[list[Frame], list[Event]]:
        """What the library does with DATA of a message that has begun; it does the rest."""
        stream = self.streams.get(frame.stream_id)
        if stream is None or not _has_begun(stream.state_machine):
            frames, events = self._receive_data_frame(frame)
            return frames, events
        self.state_machine.process_input(ConnectionInputs.RECV_DATA)
        number, data, size = frame.stream_id, frame.data, len(frame.data)
        self._inbound_flow_control_window_manager.window_consumed(size)
        stream._inbound_window_manager.window_consumed(size)
        stream._track_content_length(size, frame.ends)
        event = DataReceived(stream_id=number, data=data, flow_controlled_length=size)
        if frame.ends:
            (ended,) = stream.state_machine.process_input(StreamInputs.RECV_END_STREAM)
            event.stream_ended = cast(StreamEnded, ended)
        return [], [event]

    def _receive_settings_frame(
        self, frame: SettingsFrame
    ) -> tuple[list[Frame], list[Event]]:
        """The library would keep all 65,536 that a peer can invent, and go through them again with
        each frame."""
        others = self.other_settings
        for code in [code for code in frame.settings if code not in _KNOWN]:
            value = frame.settings.pop(code)
            if code in others or len(others) < _MAX_OTHERS:
                others[code] = value
        frames, events = super()._receive_settings_frame(frame)
        self._most_streams = self.remote_settings.max_concurrent_streams
        return frames, events

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        """The library would forget what waits to be sent and stop; streams may go on, though."""
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        return [], [event]

    def _receive_unknown_frame(self, frame: Any) -> tuple[list[Frame], list[Event]]:
        """RFC 9113 5.5: ignored, without an event to be made and looked at."""
        return [], []


def _has_begun(machine: H2StreamStateMachine) -> bool:
    """Whether payload may come on a stream."""
    return machine.state in _BRINGS and bool(machine.headers_received)


def _reason(error: ProtocolError) -> str:
    """For people. Of a stream that is not there the library says only the number."""
    if isinstance(error, NoSuchStreamError):
        return f"a frame came on stream {error.stream_id}, which is not open"
    return str(error)


def _again(frame: Frame) -> StreamReset:
    """A frame came on a stream that is over: what the peer may make of that is counted."""
    return StreamReset(stream_id=frame.stream_id, remote_reset=False)
