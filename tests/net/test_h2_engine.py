"""What we rely on in the h2 library beyond its public interface: a change shows up here."""

from __future__ import annotations

import inspect

import h2
import pytest
from h2.connection import (
    ConnectionInputs,
    ConnectionState,
    H2Connection,
    H2ConnectionStateMachine,
    _decode_headers,
)
from h2.events import ConnectionTerminated, StreamEnded
from h2.stream import H2Stream, StreamClosedBy, StreamInputs
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame

from m2mproxy.net import h2_engine
from m2mproxy.net.h2_engine import CONNECTION_WINDOW, Engine
from m2mproxy.net.h2_frames import FrameError, PlainData, PlainHeaders


def test_the_library_is_one_that_we_know() -> None:
    assert h2.__version__.split(".")[0] == "4"


def test_the_private_names_are_there() -> None:
    names = {
        "_receive_frame": ["self", "frame"],
        "_receive_goaway_frame": ["self", "frame"],
        "_receive_data_frame": ["self", "frame"],
        "_receive_settings_frame": ["self", "frame"],
        "_receive_headers_frame": ["self", "frame"],
        "_receive_rst_stream_frame": ["self", "frame"],
        "_receive_unknown_frame": ["self", "frame"],
        "_handle_data_on_closed_stream": ["self", "events", "exc", "frame"],
        "_get_or_create_stream": ["self", "stream_id", "allowed_ids"],
        "_prepare_for_sending": ["self", "frames"],
        "_stream_closed_by": ["self", "stream_id"],
    }
    for name, parameters in names.items():
        assert list(inspect.signature(getattr(H2Connection, name)).parameters) == parameters
    parameters = list(inspect.signature(_decode_headers).parameters)
    assert parameters == ["decoder", "encoded_header_block"]
    assert StreamClosedBy.SEND_RST_STREAM and StreamInputs.SEND_END_STREAM
    source = inspect.getsource(H2Connection.__init__)
    assert "_inbound_flow_control_window_manager" in source and "_closed_streams" in source
    for name in ("_data_to_send", "_frame_dispatch_table", "MAX_CLOSED_STREAMS"):
        assert name in source
    source = inspect.getsource(H2Stream.__init__)
    assert "outbound_flow_control_window" in source and "_expected_content_length" in source
    assert "_inbound_window_manager" in source
    for method, named in (("receive_headers", "end_stream"), ("_track_content_length", "length")):
        assert named in inspect.signature(getattr(H2Stream, method)).parameters


def test_a_goaway_keeps_what_waits_and_the_connection() -> None:
    engine = Engine(True, 4096, {})
    engine.send_headers(1, [(b":method", b"GET")], end_stream=True)
    waiting = engine.output_size()
    (event,) = engine.receive(GoAwayFrame(0, last_stream_id=1))
    assert isinstance(event, ConnectionTerminated)
    assert engine.output_size() == waiting
    assert engine.receive(PingFrame(0, b"12345678"))
    assert engine.is_open(1)


def test_settings_that_the_library_does_not_know_are_kept_beside_it() -> None:
    engine = Engine(False, 4096, {})
    known = len(engine.remote_settings)
    for first in range(0x100, 0x4000, 0x100):
        codes = {code: code + 1 for code in range(first, first + 0x100)}
        engine.receive(SettingsFrame(0, codes | {SettingsFrame.INITIAL_WINDOW_SIZE: first}))
    assert len(engine.remote_settings) == known
    assert engine.other_settings == {code: code + 1 for code in range(0x100, 0x110)}
    assert engine.remote_settings.initial_window_size == 0x3F00


def test_windows_that_we_keep_ourselves_are_the_librarys() -> None:
    engine = Engine(True, 4096, {})
    engine.receive(SettingsFrame(0))
    engine.send_headers(1, [(b":method", b"POST")])
    engine.take_window(1, 1000)
    assert engine.window_of(1) == engine.local_flow_control_window(1) == 64_535
    engine.ended(1)
    assert engine.is_open(1)  # the other half is


@pytest.mark.parametrize("method", [b"POST", b"HEAD"])
@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("size", [10, 16_384, 70_000])
def test_a_head_is_sent_as_the_library_sends_it(method: bytes, end: bool, size: int) -> None:
    value = bytes(range(33, 127)) * (size // 94)
    fields = [(b":method", method), (b":path", b"/"), (b"x-a", value)]
    ours, theirs = Engine(True, 1 << 20, {}), Engine(True, 1 << 20, {})
    for _ in range(3):
        number = ours.open(fields, end)
        theirs.send_headers(number, fields, end_stream=end)
        assert ours.data_to_send() == theirs.data_to_send()
        mine, other = ours.streams[number], theirs.streams[number]
        assert mine.request_method == other.request_method
        assert vars(mine.state_machine) == vars(other.state_machine)


def test_no_more_streams_are_opened_than_the_peer_takes() -> None:
    engine = Engine(True, 4096, {})
    engine.receive(SettingsFrame(0, {SettingsFrame.MAX_CONCURRENT_STREAMS: 1}))
    assert engine.open([(b":method", b"GET")], False) == 1
    assert engine.open([(b":method", b"GET")], False) == 0


@pytest.mark.parametrize("state", [ConnectionState.CLIENT_OPEN, ConnectionState.SERVER_OPEN])
@pytest.mark.parametrize("happens", h2_engine._STEADY)
def test_what_is_said_to_change_no_connection_changes_none_of_the_librarys(
    state: ConnectionState, happens: ConnectionInputs
) -> None:
    library = H2ConnectionStateMachine()
    library.state = state
    assert library.process_input(happens) == []
    assert library.state is state


class Pair:
    """Two engines of servers: one gets frames in their plainest form, the other the library's."""

    def __init__(self) -> None:
        self.plain, self.whole = (Engine(False, 4096, {}) for _ in range(2))
        for each in (self.plain, self.whole):
            each.receive(SettingsFrame(0))
        self._encoder = Encoder()

    def head(self, number: int, fields: list[tuple[bytes, bytes]], end: bool = False) -> None:
        block = self._encoder.encode(fields)
        flags = ["END_HEADERS", *(["END_STREAM"] if end else [])]
        self._both(
            PlainHeaders(number, block, end), HeadersFrame(number, block, flags=flags)
        )

    def data(self, number: int, data: bytes, end: bool = False) -> None:
        flags = ["END_STREAM"] if end else []
        self._both(PlainData(number, data, end), DataFrame(number, data, flags=flags))

    def _both(self, plain: Frame, whole: Frame) -> None:
        assert self._received(self.plain, plain) == self._received(self.whole, whole)
        assert self.plain.data_to_send() == self.whole.data_to_send()
        assert self.plain.inbound_flow_control_window == self.whole.inbound_flow_control_window
        for engine in (self.plain, self.whole):
            assert engine.streams.keys() == self.plain.streams.keys()
        for mine, other in zip(
            self.plain.streams.values(), self.whole.streams.values(), strict=True
        ):
            assert mine.inbound_flow_control_window == other.inbound_flow_control_window
            assert vars(mine.state_machine) == vars(other.state_machine)

    @staticmethod
    def _received(engine: Engine, frame: Frame) -> list[str]:
        """What the events say, but for the end, which is said with what it ends, too."""
        try:
            events = engine.receive(frame)
        except FrameError as error:
            return [f"{error.code!r}"]
        return [repr(each) for each in events if not isinstance(each, StreamEnded)]


POST = [(b":method", b"POST"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"a")]
LENGTH = (b"content-length", b"5")


def test_frames_in_their_plainest_form_bring_what_the_librarys_bring() -> None:
    pair = Pair()
    pair.head(1, POST)
    pair.data(1, b"abc")
    pair.data(1, b"", end=True)
    pair.head(3, [*POST, LENGTH])
    pair.data(3, b"abcde", end=True)
    pair.head(5, POST, end=True)
    pair.head(7, POST)
    pair.head(7, [(b"x-trailer", b"1")], end=True)


@pytest.mark.parametrize("wrong", ["long", "short", "late", "closed", "before", "old", "reset"])
def test_frames_in_their_plainest_form_are_refused_as_the_librarys_are(wrong: str) -> None:
    pair = Pair()
    pair.head(3, [*POST, LENGTH])
    match wrong:
        case "long":
            pair.data(3, b"abcdef")
            pair.data(3, b"g")
        case "short":
            pair.data(3, b"abc", end=True)
        case "late":
            pair.data(3, b"abcde", end=True)
            pair.data(3, b"f")
        case "closed":
            pair.data(3, b"abcde", end=True)
            for each in (pair.plain, pair.whole):
                each.send_head(3, [(b":status", b"200")], True)
                each.forget(3)
            pair.data(3, b"f")
        case "before":
            pair.data(5, b"f")
        case "old":
            pair.head(1, POST)
        case "reset":
            for each in (pair.plain, pair.whole):
                each.reset_stream(3)
            pair.data(3, b"f")
            pair.head(3, POST)


def test_streams_that_are_over_are_not_looked_through_again() -> None:
    engine = Engine(True, 4096, {})
    for _ in range(5):
        number = engine.open([(b":method", b"GET")], True)
        block = Encoder().encode([(b":status", b"204")])
        engine.receive(PlainHeaders(number, block, True))
        engine.forget(number)
    for _ in range(5):
        engine.reset_stream(engine.open([(b":method", b"GET")], False))
    assert not engine.streams
    assert engine._stream_closed_by(9) is StreamClosedBy.RECV_END_STREAM
    assert engine._stream_closed_by(19) is StreamClosedBy.SEND_RST_STREAM
    number = engine.open([(b":method", b"GET")], False)
    engine.forget(number)
    assert engine.is_open(number)


def test_the_connections_window_is_opened_at_once() -> None:
    engine = Engine(False, 4096, {})
    assert engine.inbound_flow_control_window == CONNECTION_WINDOW
