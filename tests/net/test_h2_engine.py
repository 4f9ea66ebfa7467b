"""What the engine makes of frames, beside the library's connection (tests/fuzz) and in itself."""

from __future__ import annotations

from typing import Any

import pytest
from h2.errors import ErrorCodes
from heard import Heard, hear
from hpack import Decoder, Encoder
from hyperframe.frame import (
    AltSvcFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from m2mproxy.net.h2_engine import (
    CONNECTION_WINDOW,
    MAX_STREAMS,
    STREAM_WINDOW,
    Engine,
)
from m2mproxy.net.h2_frames import AnyFrame, Data, FieldBlock, FrameError, Reset, Settings
from m2mproxy.net.h2_window import Window

GET = [(b":method", b"GET"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"a")]
OK = [(b":status", b"200")]
MOST = 2**31 - 1


def engine(client: bool) -> Engine:
    made = Engine(client, 4096, 8192, {}, Heard())
    made.receive(settings({}))
    made.data_to_send()
    return made


def settings(codes: dict[int, int]) -> Settings:
    return Settings(list(codes.items()), False)


def server(*requests: FieldBlock) -> Engine:
    made = engine(False)
    for request in requests:
        made.receive(request)
    return made


def block(number: int, fields: list[tuple[bytes, bytes]] = GET, end: bool = False) -> FieldBlock:
    return FieldBlock(number, Encoder().encode(fields), end)


def said(by: Engine) -> list[Frame]:
    """What it wants to say."""
    wire, frames = by.data_to_send(), []
    while wire:
        frame, size = Frame.parse_frame_header(memoryview(wire[:9]))
        frame.parse_body(memoryview(wire[9 : 9 + size]))
        frames.append(frame)
        wire = wire[9 + size :]
    return frames


def error(by: Engine, frame: AnyFrame) -> int:
    """With which code the connection ends."""
    with pytest.raises(FrameError) as caught:
        by.receive(frame)
    return caught.value.code


def broken(told: list[tuple[Any, ...]]) -> int:
    """The one stream that broke the rules, of which nothing else is told."""
    ((kind, number, _),) = told
    assert kind == "broken"
    return int(number)


def reset_codes(by: Engine) -> list[tuple[int, int]]:
    return [(each.stream_id, each.error_code) for each in said(by) if hasattr(each, "error_code")]


# -- what is said ----------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [True, False])
def test_a_connection_begins_with_what_we_take(client: bool) -> None:
    begun = Engine(client, 4096, 8192, {0x4D36: 7}, Heard())
    if client:
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        assert begun.output.startswith(preface)
        del begun.output[: len(preface)]
    first, more = said(begun)
    offer = {1: 4096, 3: MAX_STREAMS, 4: STREAM_WINDOW, 5: 16384, 6: 4096, 0x4D36: 7}
    assert isinstance(first, SettingsFrame)
    assert first.settings == (offer | {2: 0} if client else offer)
    assert isinstance(more, WindowUpdateFrame) and not more.stream_id
    assert more.window_increment == CONNECTION_WINDOW - 65535


@pytest.mark.parametrize("size", [10, 16_384, 70_000])
@pytest.mark.parametrize("end", [True, False])
def test_a_head_of_any_size_is_sent(size: int, end: bool) -> None:
    fields = [*GET, (b"x-a", bytes(range(33, 127)) * (size // 94))]
    ours = engine(True)
    assert ours.open(fields, end) == 1
    frames = said(ours)
    names = [type(each).__name__ for each in frames]
    assert names == ["HeadersFrame"] + ["ContinuationFrame"] * (len(frames) - 1)
    assert ["END_HEADERS" in each.flags for each in frames][-2:] == [False, True][-len(frames) :]
    assert ("END_STREAM" in frames[0].flags) is end
    decoder = Decoder(1 << 20)
    whole = b"".join(each.data for each in frames)
    assert [tuple(field) for field in decoder.decode(whole, raw=True)] == fields


def test_no_more_streams_are_opened_than_the_peer_takes() -> None:
    ours = engine(True)
    ours.receive(settings({SettingsFrame.MAX_CONCURRENT_STREAMS: 1}))
    assert ours.open(GET, False) == 1
    assert ours.open(GET, False) == 0
    ours.reset_stream(1, ErrorCodes.CANCEL)
    assert ours.open(GET, False) == 3


def test_payload_that_is_sent_elsewhere_takes_of_both_windows() -> None:
    ours = engine(True)
    ours.open(GET, False)
    assert ours.data_header(1, 1000, False) == b"\0\x03\xe8\0\0\0\0\0\1"
    assert ours.window_of(1) == ours.room == 64_535
    ours.receive(WindowUpdateFrame(1, 500))
    assert ours.window_of(1) == 64_535
    ours.receive(WindowUpdateFrame(0, 9000))
    assert (ours.window_of(1), ours.room) == (65_035, 73_535)
    assert ours.data_header(1, 0, True) == b"\0\0\0\0\1\0\0\0\1"
    assert ours.is_open(1)  # the other half is


# -- streams ---------------------------------------------------------------------------------------


def test_a_stream_is_over_when_both_messages_are() -> None:
    ours = server(block(1))
    assert hear(ours, Data(1, b"x", 1, True)) == [("data", 1, b"x", 1, True)]
    assert ours.is_open(1)
    ours.send_headers(1, OK, True)
    assert not ours.is_open(1)


def test_what_comes_after_the_end_of_a_message_is_its_streams_error() -> None:
    """RFC 9113 5.1, half-closed (remote)."""
    for frame in (Data(1, b"x", 1, False), block(1, GET, True)):
        ours = server(block(1, end=True))
        assert broken(hear(ours, frame)) == 1
        assert reset_codes(ours) == [(1, ErrorCodes.STREAM_CLOSED)]


def test_trailers_that_are_no_end_are_their_streams_error() -> None:
    ours = server(block(1))
    assert broken(hear(ours, block(1, [(b"x", b"y")]))) == 1
    assert reset_codes(ours) == [(1, ErrorCodes.PROTOCOL_ERROR)]


def test_a_reply_has_heads_before_its_body_and_one_that_is_its_last() -> None:
    early = [(b":status", b"103")]
    whole = ["informational", "head", "trailers"]
    for number, frames, kinds in [
        (1, [block(1, early), block(1, OK), block(1, [(b"x", b"y")], True)], whole),
        (3, [Data(3, b"x", 1, False)], ["broken"]),
        (5, [block(5, early, True)], ["broken"]),
    ]:
        ours = engine(True)
        while ours.highest_outbound_stream_id < number:
            ours.open(GET, True)
        told = [each for frame in frames for each in hear(ours, frame)]
        assert [(kind, stream) for kind, stream, *_ in told] == [(kind, number) for kind in kinds]
        assert not ours.is_open(number)


def late(reset_by: str) -> Engine:
    ours = server(block(1))
    if reset_by == "us":
        ours.reset_stream(1, ErrorCodes.CANCEL)
    elif reset_by == "the peer":
        assert hear(ours, Reset(1, 8)) == [("reset", 1, ErrorCodes.CANCEL)]
    else:
        ours.receive(Data(1, b"", 0, True))
        ours.send_headers(1, OK, True)
    ours.data_to_send()
    return ours


@pytest.mark.parametrize("reset_by", ["us", "the peer", "nobody"])
def test_what_comes_late_is_told_apart_by_how_the_stream_ended(reset_by: str) -> None:
    """RFC 9113 5.1, closed."""
    ours = late(reset_by)
    assert hear(ours, Reset(1, 8)) == hear(ours, WindowUpdateFrame(1, 9)) == []
    told = hear(ours, Data(1, b"x", 1, False))
    if reset_by == "us":
        assert told == [] and not said(ours)  # it was under way
    else:
        assert broken(told) == 1
        assert reset_codes(ours) == [(1, ErrorCodes.STREAM_CLOSED)]
    if reset_by == "nobody":
        assert error(ours, block(1)) == ErrorCodes.STREAM_CLOSED
        return
    assert broken(hear(ours, block(1))) == 1
    answer = [] if reset_by == "us" else [(1, ErrorCodes.STREAM_CLOSED)]
    assert reset_codes(ours) == answer


def test_fields_that_come_late_are_remembered_as_the_peer_thinks() -> None:
    ours, encoder = late("us"), Encoder()
    ours.receive(FieldBlock(1, encoder.encode([*GET, (b"x-new", b"1")]), True))
    again = FieldBlock(3, encoder.encode([*GET, (b"x-new", b"1")]), True)
    assert hear(ours, again) == [("head", 3, [*GET, (b"x-new", b"1")], True)]


def test_how_streams_ended_is_forgotten_in_time() -> None:
    ours = engine(False)
    for number in range(1, 2101, 2):
        ours.receive(block(number, end=True))
        ours.reset_stream(number, ErrorCodes.CANCEL)
    assert len(ours._closed) == 3 * MAX_STREAMS
    assert not ours._streams
    assert broken(hear(ours, block(2099))) == 2099
    assert error(ours, block(1)) == ErrorCodes.PROTOCOL_ERROR


def test_a_late_answer_to_what_was_given_up_long_ago_costs_nobody_the_connection() -> None:
    ours = engine(True)
    for _ in range(4 * MAX_STREAMS):
        ours.reset_stream(ours.open(GET, True), ErrorCodes.CANCEL)
    assert broken(hear(ours, block(1, OK))) == 1


def test_streams_that_are_not_the_peers_to_open_end_the_connection() -> None:
    for ours, number in ((engine(False), 2), (engine(True), 2), (engine(True), 1)):
        assert error(ours, block(number)) == ErrorCodes.PROTOCOL_ERROR
    assert error(server(block(5)), block(3)) == ErrorCodes.PROTOCOL_ERROR


@pytest.mark.parametrize("client", [True, False])
@pytest.mark.parametrize("number", [1, 2])
def test_frames_on_streams_that_were_never_open_end_the_connection(
    client: bool, number: int
) -> None:
    for frame in (Data(number, b"", 0, False), Reset(number, 8), WindowUpdateFrame(number, 1)):
        assert error(engine(client), frame) == ErrorCodes.PROTOCOL_ERROR


def test_nobody_pushes() -> None:
    ours = engine(True)
    ours.open(GET, True)
    assert error(ours, PushPromiseFrame(1, 2, b"\x82")) == ErrorCodes.PROTOCOL_ERROR


# -- windows ---------------------------------------------------------------------------------------


def test_a_window_is_granted_anew_by_halves_and_sooner_when_it_is_used_up() -> None:
    window = Window(10_000)
    window.came(6000)
    assert (window.taken(4999), window.taken(1)) == (0, 5000)
    window.came(9000)
    assert (window.taken(1024), window.taken(1)) == (0, 1025)
    window.came(1025)
    window.widen(10_000)
    assert (window.taken(9974), window.taken(26)) == (0, 10_000)


def test_more_than_there_is_room_for_ends_the_connection() -> None:
    ours = server(block(1))
    ours.receive(Data(1, bytes(16), STREAM_WINDOW, False))
    assert error(ours, Data(1, b"x", 1, False)) == ErrorCodes.FLOW_CONTROL_ERROR
    ours = server(*[block(number) for number in range(1, 2 * MAX_STREAMS + 2, 2)])
    for number in range(1, 2 * MAX_STREAMS, 2):
        ours.receive(Data(number, b"", STREAM_WINDOW, False))
    last = Data(2 * MAX_STREAMS + 1, b"x", 1, False)
    assert error(ours, last) == ErrorCodes.FLOW_CONTROL_ERROR


def test_streams_that_nobody_reads_from_leave_the_others_their_room() -> None:
    """What was taken last need not be told yet when the room is used up."""
    last = 2 * MAX_STREAMS - 1
    ours = server(*[block(number) for number in range(1, last + 1, 2)])
    room = CONNECTION_WINDOW
    for number in range(1, last, 2):
        ours.receive(Data(number, b"", STREAM_WINDOW, False))
        room -= STREAM_WINDOW
    came = taken = 0
    while came < CONNECTION_WINDOW:
        size = min(10_000, room)
        assert size > 0
        ours.receive(Data(last, b"", size, False))
        came, room = came + size, room - size
        if came - taken >= 16_384:
            ours.taken(came - taken, last)
            taken = came
        room += sum(frame.window_increment for frame in said(ours) if not frame.stream_id)


def test_what_belongs_to_no_message_gives_back_its_room() -> None:
    for frame in (Data(1, b"", 20_000, False), Data(3, b"", 20_000, False)):
        ours = server(block(1, end=True), block(3, end=True))
        ours.reset_stream(3, ErrorCodes.CANCEL)
        for _ in range(2 * CONNECTION_WINDOW // 20_000):
            ours.receive(frame)
        assert ours._window._left > 0


def test_no_room_is_granted_on_a_stream_that_is_complete() -> None:
    ours = server(block(1), block(3))
    ours.receive(Data(1, b"", STREAM_WINDOW, True))
    ours.receive(Data(3, b"", STREAM_WINDOW, False))
    ours.taken(STREAM_WINDOW, 1)
    ours.taken(STREAM_WINDOW, 3)
    assert [each.stream_id for each in said(ours)] == [3]


def test_a_peers_window_that_is_too_large_is_refused() -> None:
    assert error(server(), WindowUpdateFrame(0, MOST)) == ErrorCodes.FLOW_CONTROL_ERROR
    ours = server(block(1))
    assert broken(hear(ours, WindowUpdateFrame(1, MOST))) == 1
    assert reset_codes(ours) == [(1, ErrorCodes.FLOW_CONTROL_ERROR)]
    ours = server(block(1))
    ours.receive(WindowUpdateFrame(1, MOST - 65535))
    more = settings({SettingsFrame.INITIAL_WINDOW_SIZE: 65536})
    assert error(ours, more) == ErrorCodes.FLOW_CONTROL_ERROR


def test_streams_that_are_open_get_the_difference_of_a_new_first_window() -> None:
    ours = server(block(1))
    ours.data_header(1, 1000, False)
    ours.receive(settings({SettingsFrame.INITIAL_WINDOW_SIZE: 100}))
    ours.receive(block(3))
    assert (ours.window_of(1), ours.window_of(3)) == (-900, 100)


# -- the connection --------------------------------------------------------------------------------


def test_a_goaway_keeps_what_waits_and_the_connection() -> None:
    ours = engine(True)
    ours.open(GET, True)
    waiting = len(ours.output)
    reserved = 2**31  # to be ignored (RFC 9113 6.8)
    last = GoAwayFrame(0, last_stream_id=reserved + 1, error_code=99)
    assert hear(ours, last) == [("go_away", 1)]
    assert len(ours.output) == waiting
    assert hear(ours, block(1, OK)) == [("head", 1, OK, False)]


def test_a_ping_is_answered_and_an_answer_told() -> None:
    ours = engine(True)
    assert hear(ours, PingFrame(0, b"12345678")) == []
    (answer,) = said(ours)
    assert isinstance(answer, PingFrame)
    assert answer.opaque_data == b"12345678" and "ACK" in answer.flags
    answer = PingFrame(0, b"87654321", flags=["ACK"])
    assert hear(ours, answer) == [("ping_ack", b"87654321")]


def test_settings_that_nobody_knows_are_kept_beside_the_others() -> None:
    ours = Engine(False, 4096, 8192, {}, Heard())
    for first in range(0x100, 0x4000, 0x100):
        codes = {code: code + 1 for code in range(first, first + 0x100)}
        ours.receive(settings(codes | {SettingsFrame.INITIAL_WINDOW_SIZE: first}))
    assert ours.peer.others == {code: code + 1 for code in range(0x100, 0x110)}
    assert ours.peer.stream_room == 0x3F00


WRONG = [
    (SettingsFrame.ENABLE_PUSH, 2, ErrorCodes.PROTOCOL_ERROR),
    (SettingsFrame.INITIAL_WINDOW_SIZE, 2**31, ErrorCodes.FLOW_CONTROL_ERROR),
    (SettingsFrame.MAX_FRAME_SIZE, 16383, ErrorCodes.PROTOCOL_ERROR),
    (SettingsFrame.MAX_FRAME_SIZE, 2**24, ErrorCodes.PROTOCOL_ERROR),
    (SettingsFrame.ENABLE_CONNECT_PROTOCOL, 2, ErrorCodes.PROTOCOL_ERROR),
]


@pytest.mark.parametrize("code,value,expected", WRONG)
@pytest.mark.parametrize("client", [True, False])
def test_settings_that_may_not_be(client: bool, code: int, value: int, expected: int) -> None:
    assert error(engine(client), settings({code: value})) == expected


def test_settings_at_their_limits_are_taken() -> None:
    limits = {1: 2**32 - 1, 2: 1, 3: 0, 4: MOST, 5: 2**24 - 1, 6: 0, 8: 1}
    assert hear(engine(False), settings(limits)) == [("settings",)]
    assert hear(engine(True), settings(limits | {2: 0, 5: 16384})) == [("settings",)]
    # RFC 9113 6.5.2: no server can say that it takes pushes.
    assert error(engine(True), settings({2: 1})) == ErrorCodes.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "frame",
    [
        PriorityFrame(1, depends_on=1),
        AltSvcFrame(0, b"a", b"b"),
        ExtensionFrame(0xBE, 0),
        Settings([], True),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_what_has_no_meaning_brings_nothing(frame: AnyFrame) -> None:
    ours = server(block(1))
    assert hear(ours, frame) == []
    assert not ours.output


def test_a_field_section_that_cannot_be_read_ends_the_connection() -> None:
    for number in (1, 3, 5):
        ours = server(block(1), block(3))
        ours.reset_stream(3, ErrorCodes.CANCEL)
        assert error(ours, FieldBlock(number, b"\xff", True)) == ErrorCodes.COMPRESSION_ERROR
