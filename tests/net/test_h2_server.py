"""HTTP/2 towards clients, frame by frame: what the protocol promises beside the exchange."""

from __future__ import annotations

import pytest
from frames import GET, POST, PREFACE, FrameClient, data, ping, raw, rst, settings, window
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from link import WIRE, Raw, Split, join
from world import World, chunk, get, reply, transport_of

from m2mproxy.http.faults import Busy
from m2mproxy.net.h2_engine import STREAM_WINDOW
from m2mproxy.net.tcp import WRITE_HIGH

REPLY = reply(b"0123456789" * 10)


def test_settings_come_first_and_are_answered(split: Split) -> None:
    world = World(split)
    client = FrameClient(world)
    first, *rest = client.frames
    assert isinstance(first, SettingsFrame) and "ACK" not in first.flags
    assert first.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 100
    assert SettingsFrame.ENABLE_PUSH not in first.settings
    assert [f for f in rest if isinstance(f, SettingsFrame) and "ACK" in f.flags]


def test_what_the_proxy_announces_is_in_its_first_settings(split: Split) -> None:
    client = FrameClient(World(split, announce={0x4D32: 0xFFFFFFFF, 0x4D33: 0}))
    first = client.frames[0]
    assert first.settings[0x4D32] == 0xFFFFFFFF
    assert first.settings[0x4D33] == 0
    assert first.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 100


def test_a_request_in_any_pieces(split: Split) -> None:
    world = World(split)
    client = FrameClient(world)
    client.say(client.headers(1, POST, end=False), data(1, b"{}" * 50), data(1, b"!", end=True))
    upstream = world.upstream()
    assert upstream.take().endswith(b"64\r\n" + b"{}" * 50 + b"\r\n1\r\n!\r\n0\r\n\r\n")
    upstream.send(REPLY)
    world.run()
    assert client.status(1) == b"200"
    assert client.payload(1) == b"0123456789" * 10
    assert client.is_ended(1)


def test_a_body_that_ends_too_soon_with_trailers_does_not_look_whole() -> None:
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1, [*POST, (b"content-length", b"10")], end=False), data(1, b"abc"))
    upstream = world.upstream()
    client.say(client.headers(1, [(b"x-t", b"1")]))
    assert client.reset(1) == 1  # PROTOCOL_ERROR
    assert upstream.is_gone
    assert client.goaway is None


def test_a_reply_of_known_length_ends_with_its_last_frame() -> None:
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1))
    world.upstream().send(REPLY)
    world.run()
    (frame,) = client.of(DataFrame)
    assert "END_STREAM" in frame.flags
    assert client.transport.peer.writes[-1] == 3  # HEADERS, a frame's header, its payload


def test_a_header_block_in_many_frames() -> None:
    world = World()
    client = FrameClient(world)
    block = client.encoder.encode([*GET, (b"x-long", b"v" * 300)])
    client.say(raw(1, 1, 1, block[:5]), raw(9, 0, 1, block[5:50]), raw(9, 4, 1, block[50:]))
    assert b"x-long: " + b"v" * 300 in world.upstream().take()


def test_padding_and_priority_are_taken_off() -> None:
    world = World()
    client = FrameClient(world)
    block = client.encoder.encode(POST)
    client.say(raw(1, 0x2C, 1, b"\x03" + b"\0\0\0\0\x10" + block + b"\0" * 3))
    client.say(raw(0, 0x09, 1, b"\x04abc" + b"\0" * 4))
    assert world.upstream().take().endswith(b"3\r\nabc\r\n0\r\n\r\n")


def test_padding_is_credited() -> None:
    """A megabyte of it, which nobody takes, must not use up the windows."""
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1, POST, end=False))
    for _ in range(4096):
        client.say(raw(0, 0x08, 1, b"\xff" + b"x" + b"\0" * 255))
    granted = sum(f.window_increment for f in client.frames if type(f).__name__.startswith("Win"))
    assert granted > 1 << 20
    client.say(raw(0, 1, 1))
    assert client.goaway is None
    assert world.upstream().take().count(b"1\r\nx\r\n") == 4096


def test_ping_is_answered_while_idle_and_in_a_stream() -> None:
    world = World()
    client = FrameClient(world)
    client.say(ping(b"abcdefgh"))
    client.say(client.headers(1), ping(b"ijklmnop"))
    answers = [frame.opaque_data for frame in client.of(PingFrame)]
    assert answers == [b"abcdefgh", b"ijklmnop"]


def test_streams_take_turns() -> None:
    """A large reply does not hold up a small one that came later."""
    world = World()
    client = FrameClient(world, PREFACE + settings(INITIAL_WINDOW_SIZE=1 << 20))
    client.say(window(0, 1 << 24), client.headers(1), client.headers(3))
    large, small = world.upstreams[0], world.upstreams[1]
    client.transport.pause_reading()
    large.send(reply(b"l" * 500_000))
    world.run()
    small.send(reply(b"s" * 1000))
    world.run()
    client.transport.resume_reading()
    world.run()
    frames = [frame.stream_id for frame in client.of(DataFrame)]
    assert client.is_ended(1) and client.is_ended(3)
    assert frames.index(3) < len(frames) - 8


def test_a_stalled_stream_does_not_stop_its_neighbours() -> None:
    world = World()
    client = FrameClient(world, PREFACE + settings(INITIAL_WINDOW_SIZE=1000))
    client.say(window(0, 1 << 24), client.headers(1))
    world.upstream().send(reply(b"z" * 5_000_000))
    world.run()
    for number in range(3, 40, 2):
        client.say(client.headers(number))
        world.upstream().send(reply(b"ok"))
        world.run()
        assert client.payload(number) == b"ok"
    assert len(client.payload(1)) == 1000


def test_a_table_size_that_is_said_twice_is_heard() -> None:
    world = World()
    client = FrameClient(world)
    client.say(settings(HEADER_TABLE_SIZE=0), settings(HEADER_TABLE_SIZE=0))
    client.decoder.max_allowed_table_size = 0
    client.say(client.headers(1))
    world.upstream().send(reply(b"[]"))
    world.run()
    assert client.status(1) == b"200"


def test_settings_are_heard_in_the_order_in_which_they_come() -> None:
    """RFC 9113 6.5.3, RFC 7541 4.2: a table that was of no size for a moment is empty."""
    world = World()
    client = FrameClient(world)
    for number in (1, 3):
        client.say(client.headers(number))
        world.upstream().send(reply(b"[]", b"x-a: 1"))
        world.run()
        client.say(raw(4, 0, 0, b"\0\1\0\0\0\0" + b"\0\1\0\0\x10\0"))
    (second,) = client.of(HeadersFrame, 3)
    assert second.data.startswith(b"\x20\x3f\xe1\x1f")  # 0, then 4096


def test_a_smaller_window_in_the_middle_of_a_reply() -> None:
    """RFC 9113 6.9.2: a window can become negative."""
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1))
    world.upstream().send(reply(b"z" * 100_000))
    world.run()
    assert len(client.payload(1)) == 65_535
    client.say(window(0, 1 << 20), settings(INITIAL_WINDOW_SIZE=10))
    client.say(window(1, 65_000))
    assert len(client.payload(1)) == 65_535
    client.say(window(1, 526))
    assert len(client.payload(1)) == 65_536
    client.say(settings(INITIAL_WINDOW_SIZE=1 << 20))
    assert len(client.payload(1)) == 100_000
    assert client.is_ended(1)


def test_draining_says_goodbye_twice_and_takes_what_is_under_way() -> None:
    """RFC 9113 6.8: a request that crosses the first GOAWAY is not lost."""
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1))
    world.proxy.drain()
    client.send(client.headers(3))
    world.run()
    (goaway,) = client.of(GoAwayFrame)
    assert (goaway.last_stream_id, goaway.error_code) == (2**31 - 1, 0)
    question = client.of(PingFrame)[-1].opaque_data
    client.say(ping(question, ack=True))
    assert client.of(GoAwayFrame)[-1].last_stream_id == 3
    client.say(client.headers(5))
    assert client.reset(5) == 7  # REFUSED_STREAM: safe to try elsewhere
    for upstream in world.upstreams:
        upstream.send(REPLY)
    world.run()
    assert client.is_ended(1) and client.is_ended(3)
    assert client.is_gone
    assert world.proxy.connections == 0


def test_draining_an_idle_connection_closes_it() -> None:
    world = World()
    client = FrameClient(world)
    world.proxy.drain()
    world.run()
    assert client.goaway == 0
    assert client.is_gone


def test_a_client_that_does_not_answer_the_goodbye_keeps_its_streams() -> None:
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1))
    world.proxy.drain()
    world.advance(5)
    world.upstream().send(REPLY)
    world.run()
    assert client.is_ended(1)
    world.advance(1)
    assert world.proxy.connections == 0


def test_a_client_that_says_goaway_gets_its_answers() -> None:
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1), GoAwayFrame(0).serialize())
    world.upstream().send(REPLY)
    world.run()
    assert client.is_ended(1)
    assert client.is_gone


def test_of_many_clients_over_the_limit_only_some_are_told_so() -> None:
    """A refusal waits for its client to read it: that is a place, too."""
    world = World(limits_connections=1)
    for _ in range(80):
        end = Raw()
        end.half_open = True  # it does not go when it is told
        join(world.loop, end, world.proxy.accept(), world.split)
        world.clients.append(end)
        world.run()
    told = [b" 503 " in client.take() for client in world.clients]
    assert told == [False] + [True] * 64 + [False] * 15
    assert world.proxy.connections == 65


def test_a_client_over_the_limit_of_connections_is_turned_away() -> None:
    world = World(limits_connections=1)
    first = FrameClient(world)
    second = FrameClient(world)
    assert second.is_gone
    first.say(first.headers(1))
    assert len(world.upstreams) == 1
    assert isinstance(world.refusals[-1], Busy)


def test_who_is_one_too_many_and_asks_at_once_is_turned_away_and_not_served() -> None:
    """What it asks can come in the same turn of the loop as its connection, as with uvloop."""
    world = World(limits_connections=1)
    world.client()
    end, protocol = Raw(), world.proxy.accept()
    join(world.loop, end, protocol, world.split)
    protocol.data_received(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n")
    world.run()
    answer = end.take()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert world.upstreams == []


def test_too_many_requests_are_503() -> None:
    world = World(limits_requests=2)
    client = FrameClient(world)
    client.say(*(client.headers(number) for number in (1, 3, 5)))
    assert [client.status(number) for number in (1, 3, 5)] == [None, None, b"503"]
    assert client.is_ended(5)


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_too_many_requests_are_503_without_a_body_for_head(version: str) -> None:
    world = World(pair=(version, "1.1"), limits_requests=1)
    world.ask(new=True)
    ask = world.ask(method=b"HEAD", new=True)
    assert (ask.status, ask.body, ask.complete) == (503, b"", True)
    if version == "1.1":  # where nothing else would tell it from the next answer
        assert isinstance(world.askers[1], Raw)
        assert world.askers[1].take().endswith(b"\r\n\r\n")


def test_a_head_that_is_too_large_gets_no_body_for_head() -> None:
    """It could not read one, and would take the answer for a broken one."""
    client = FrameClient(World(limits_header_count=8))
    many = [(b"x-a", b"1")] * 9
    client.say(client.headers(1, [(b":method", b"HEAD"), *GET[1:], *many]))
    client.say(client.headers(3, [*GET, *many]))
    assert [client.status(number) for number in (1, 3)] == [b"431", b"431"]
    assert [bool(client.payload(number)) for number in (1, 3)] == [False, True]
    assert client.is_ended(1) and client.is_ended(3)


def test_the_largest_head_that_is_announced_is_the_largest_that_passes() -> None:
    world = World(limits_header_bytes=2048, limits_header_count=8)
    client = FrameClient(world)
    (said,) = [frame.settings for frame in client.of(SettingsFrame) if frame.settings]
    own = [(b"x-%d" % number, b"v" * 253) for number in range(8)]
    some = [*GET, *[(b"via", b"v")] * (64 - len(GET)), *own]
    listed = sum(len(name) + len(value) + 32 for name, value in some)
    most = said[SettingsFrame.MAX_HEADER_LIST_SIZE] - listed
    for number, more in ((1, 0), (3, 1)):
        client.say(client.headers(number, [*some[:-9], (b"via", b"v" * (1 + most + more)), *own]))
    assert client.status(1) is None
    assert world.upstream().take().count(b"x-7: ") == 1
    assert client.status(3) == b"431"


def test_what_is_not_http2_after_all_is_refused() -> None:
    world = World()
    client = FrameClient(world, PREFACE + get())
    assert client.goaway == 1
    assert world.proxy.connections == 0


@pytest.mark.parametrize("first", [ping(), settings()[:4] + b"\1" + settings()[5:], rst(1)])
def test_the_first_frame_is_settings(first: bytes) -> None:
    client = FrameClient(World(), PREFACE + first)
    assert client.goaway == 1


def test_the_preface_decides_and_nothing_less(split: Split) -> None:
    for wrong in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", b"PRI * HTTP/1.1\r\nhost: h\r\n\r\n"):
        world = World(split)
        client = world.client()
        client.half_open = True
        client.send(wrong)
        world.run()
        assert client.take().startswith(b"HTTP/1.1 ")


def test_a_client_that_says_nothing_is_let_go() -> None:
    world = World(timeouts_keepalive=20, timeouts_header=5)
    client = world.client()
    world.advance(19)
    assert not client.is_gone
    world.advance(2)
    assert client.is_gone
    hesitant = world.client()
    hesitant.send(b"PRI * HT")
    world.advance(11)
    assert b" 408 " in hesitant.take()
    assert world.proxy.connections == 0
    assert world.loop.timers == 0


def test_an_undecided_client_is_closed_when_the_proxy_drains() -> None:
    world = World()
    client = world.client()
    client.send(b"P")
    world.run()
    world.proxy.drain()
    world.run()
    assert client.is_gone
    assert world.proxy.connections == 0


def test_an_event_that_cannot_leave_at_once_leaves_when_there_is_room() -> None:
    world = World()
    client = FrameClient(world, PREFACE + settings(INITIAL_WINDOW_SIZE=5))
    client.say(client.headers(1))
    upstream = world.upstream()
    upstream.send(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        + chunk(b"data: 1\n\n")
    )
    world.run()
    assert client.payload(1) == b"data:"
    client.say(window(1, 100))
    assert client.payload(1) == b"data: 1\n\n"


def test_a_transport_that_is_exactly_full_is_full() -> None:
    """It says nothing of it, and there would be another try in every turn of the loop."""
    world = World()
    most = 1 << 30
    client = FrameClient(world, PREFACE + settings(INITIAL_WINDOW_SIZE=most) + window(0, most))
    client.say(client.headers(1))
    upstream = world.upstream()
    upstream.send(b"HTTP/1.1 200 OK\r\n\r\n")
    world.run()
    client.transport.reading = False
    ours, sent = transport_of(client), b""

    def send(size: int) -> None:
        nonlocal sent
        upstream.send(b"x" * size)
        sent += b"x" * size
        world.run()

    send(WIRE - 4 * 9)  # four frames
    assert ours.get_write_buffer_size() == 0
    for _ in range(4):
        send(16384 - 9)
    assert ours.get_write_buffer_size() == WRITE_HIGH
    send(100)
    client.transport.resume_reading()
    world.run()
    assert client.payload(1) == sent


def test_an_answer_without_a_body_may_come_of_the_last_frame_of_a_request() -> None:
    world = World(max_body=1000)
    client = FrameClient(world)
    client.say(client.headers(1, [(b":method", b"HEAD"), *POST[1:]], end=False))
    client.say(data(1, bytes(1001), end=True))
    assert client.status(1) == b"413" and client.is_ended(1)
    assert world.at_rest and world.ended[-1].bug is None


def answered_early(size: int) -> FrameClient:
    """A client that has filled its window with a body of `size`, and been answered meanwhile."""
    world = World()
    world.accepting = False  # so that nobody has taken anything
    client = FrameClient(world)
    length = (b"content-length", b"%d" % size)
    client.say(client.headers(1, [*POST, length], end=False))
    client.say(*[data(1, b"x" * 16384)] * (STREAM_WINDOW // 16384))
    assert client.status(1) is None
    world.refuse()
    world.run()
    assert client.status(1) == b"502"
    assert client.is_ended(1)
    return client


def test_a_body_of_some_size_is_taken_though_its_answer_is_there() -> None:
    """Not all clients survive being told to stop."""
    client = answered_early(800_000)
    sent = STREAM_WINDOW
    while sent < 800_000:
        room = STREAM_WINDOW + sum(f.window_increment for f in client.of(WindowUpdateFrame, 1))
        piece = min(16384, 800_000 - sent, room - sent)
        assert piece
        client.say(data(1, b"x" * piece, end=sent + piece == 800_000))
        sent += piece
    assert client.reset(1) is None
    assert client.world.at_rest


def test_a_client_whose_body_is_not_wanted_has_room_for_all_of_it() -> None:
    """httpx waits for room, and does not see meanwhile that it is to stop."""
    size = 4 << 20
    client = answered_early(size)
    kinds = [type(frame) for frame in client.frames if frame.stream_id == 1]
    assert (kinds[-1], client.reset(1)) == (RstStreamFrame, 0)
    room = sum(frame.window_increment for frame in client.of(WindowUpdateFrame, 1))
    assert STREAM_WINDOW + room >= size
    for _ in range((size - STREAM_WINDOW) // 16384):
        client.say(data(1, b"x" * 16384))
    again = sum(frame.window_increment for frame in client.of(WindowUpdateFrame, 0))
    assert again >= size - STREAM_WINDOW
    assert client.goaway is None
    assert client.world.at_rest


WAITS = [*POST, (b"expect", b"100-continue")]


@pytest.mark.parametrize("size", [1000, 4 << 20])
def test_who_waits_for_a_word_and_gets_an_answer_is_given_some_time_to_end(size: int) -> None:
    """curl does not show the answer if it is told to stop as well."""
    world = World(timeouts_body=5, timeouts_keepalive=5)
    client = FrameClient(world)
    fields = [*WAITS, (b"content-length", b"%d" % size)]
    client.say(client.headers(1, fields, end=False), client.headers(3, fields, end=False))
    for upstream in world.upstreams:
        upstream.send(reply(b"too much", status=b"413 X"))
    world.run()
    client.say(data(1, end=True))
    for stream_id in (1, 3):
        assert (client.status(stream_id), client.is_ended(stream_id)) == (b"413", True)
    assert client.reset(3) is None
    world.advance(60)
    assert client.reset(3) == 0
    assert world.proxy.connections == 0


@pytest.mark.parametrize("length", [[], [(b"content-length", b"%d" % (1 << 30))]])
def test_who_waits_for_a_word_with_a_body_without_bound_is_told_to_stop(
    length: list[tuple[bytes, bytes]],
) -> None:
    world = World(max_body=1 << 40)
    client = FrameClient(world)
    client.say(client.headers(1, [*WAITS, *length], end=False))
    world.upstream().send(reply(b"too much", status=b"413 X"))
    world.run()
    assert (client.status(1), client.is_ended(1), client.reset(1)) == (b"413", True, 0)
