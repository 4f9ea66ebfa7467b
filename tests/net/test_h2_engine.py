"""What we rely on in the h2 library beyond its public interface: a change shows up here."""

from __future__ import annotations

import inspect

import h2
import pytest
from h2.connection import H2Connection, _decode_headers
from h2.events import ConnectionTerminated
from h2.stream import H2Stream, StreamClosedBy, StreamInputs
from hyperframe.frame import GoAwayFrame, PingFrame, SettingsFrame

from m2mproxy.net.h2_engine import CONNECTION_WINDOW, Engine


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
    for name in ("_data_to_send", "_frame_dispatch_table", "MAX_CLOSED_STREAMS"):
        assert name in source
    source = inspect.getsource(H2Stream.__init__)
    assert "outbound_flow_control_window" in source and "_expected_content_length" in source


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


def test_the_connections_window_is_opened_at_once() -> None:
    engine = Engine(False, 4096, {})
    assert engine.inbound_flow_control_window == CONNECTION_WINDOW
