"""Attacks on HTTP/2, driven frame by frame: each ends early, and costs us little until then."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from frames import (
    GET,
    POST,
    PREFACE,
    FrameClient,
    data,
    ping,
    raw,
    rst,
    setting_codes,
    settings,
    window,
)
from hyperframe.frame import DataFrame, GoAwayFrame, RstStreamFrame
from wire import read_request
from world import SSE_HEAD, World, chunk, reply, transport_of

from m2mproxy.net.h2_engine import STREAM_WINDOW
from m2mproxy.net.h2_stream import H2Stream

NO_ERROR, PROTOCOL, FLOW, FRAME_SIZE, COMPRESSION, CALM = 0, 1, 3, 6, 9, 11
ROUNDS = 20_000
# What an attacker may make us hold, whatever it sends.
HELD = 1 << 20


def attack(client: FrameClient, piece: Callable[[int], bytes], at_once: int = 50) -> int:
    """Send until the proxy has had enough; how many pieces that took, and bounded memory."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        number = 0
        while number < ROUNDS and not client.is_gone and client.goaway is None:
            client.say(*(piece(number + i) for i in range(at_once)))
            number += at_once
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < HELD + 2000 * len(client.frames)  # what the test itself keeps
    return number


def test_rapid_reset(  # CVE-2023-44487
) -> None:
    world = World()
    client = FrameClient(world)

    def piece(number: int) -> bytes:
        stream_id = 2 * number + 1
        return client.headers(stream_id) + rst(stream_id)

    assert attack(client, piece) <= 200
    assert client.goaway == CALM
    assert len(world.upstreams) <= 200
    assert world.at_rest
    assert all(upstream.is_gone for upstream in world.upstreams)


MADE = {
    "window overflow": lambda i: window(i, 2**31 - 1),
    "more data than declared": lambda i: data(i, b"xx"),
    "less data than declared": lambda i: data(i, b"", end=True),
    "trailers that do not end it": lambda i: raw(1, 4, i, b"\x82"),
    "malformed trailers": lambda i: data(i, b"x") + raw(1, 5, i, b"\x82"),
}


MADE_ON_ENDED = {
    "DATA after its end": lambda client, i: data(i, b"x"),
    "HEADERS after its end": lambda client, i: client.headers(i),
}


@pytest.mark.parametrize("how", list(MADE_ON_ENDED))
def test_streams_that_the_client_has_ended_and_makes_us_reset(how: str) -> None:
    world = World()
    client = FrameClient(world)

    def piece(number: int) -> bytes:
        stream_id = 2 * number + 1
        return client.headers(stream_id, POST) + MADE_ON_ENDED[how](client, stream_id)

    assert attack(client, piece) <= 200
    assert client.goaway == CALM
    assert world.at_rest


@pytest.mark.parametrize("how", list(MADE))
def test_streams_that_the_client_makes_us_reset(how: str) -> None:  # CVE-2025-8671
    world = World()
    client = FrameClient(world)
    fields = [*POST, (b"content-length", b"1")]

    def piece(number: int) -> bytes:
        stream_id = 2 * number + 1
        return client.headers(stream_id, fields, end=False) + MADE[how](stream_id)

    assert attack(client, piece) <= 200
    assert client.goaway == CALM
    assert world.at_rest


def test_streams_whose_answer_has_begun_may_be_cancelled_as_often_as_one_likes() -> None:
    """As completions in an editor are, with each key."""
    world = World()
    client = FrameClient(world)
    for number in range(500):
        stream_id = 2 * number + 1
        client.say(client.headers(stream_id))
        world.upstream().send(SSE_HEAD)
        world.run()
        client.say(rst(stream_id))
        assert world.at_rest
    assert client.goaway is None


@pytest.mark.parametrize(("waited", "verdict"), [(0.3, None), (0.2, CALM)])
def test_streams_may_be_cancelled_together_if_they_have_waited_for_their_answer(
    waited: float, verdict: int | None
) -> None:
    """A model thinks before it says anything, and an instance cancels for all of its clients."""
    world = World()
    client = FrameClient(world)
    for number in range(20):
        ids = range(200 * number + 1, 200 * number + 181, 2)
        client.say(*[client.headers(stream_id) for stream_id in ids])
        world.advance(waited)
        client.say(*map(rst, ids))
        assert world.at_rest
    assert client.goaway == verdict


def test_malformed_requests_are_counted_too() -> None:
    world = World()
    client = FrameClient(world)
    bad = [(b":method", b"G T"), *GET[1:]]
    assert attack(client, lambda n: client.headers(2 * n + 1, bad)) <= 200
    assert client.goaway == CALM
    assert not world.upstreams


def test_a_client_that_cancels_now_and_then_is_served() -> None:
    world = World()
    client = FrameClient(world)
    for number in range(1000):
        stream_id = 2 * number + 1
        client.say(client.headers(stream_id))
        if number % 2:
            client.say(rst(stream_id))
        else:
            world.upstream().send(reply(b"[]"))
            world.run()
            assert client.is_ended(stream_id)
    assert client.goaway is None


def busy_streams(world: World, client: FrameClient, count: int, events: int) -> None:
    """Streams 3, 5 and so on, each with so many small frames on their way to the client."""
    for number in range(1, count + 1):
        client.say(client.headers(2 * number + 1))
        world.upstream().send(SSE_HEAD + chunk(b"data: 1\n\n") * events)
        world.run()
        assert len(client.of(DataFrame, 2 * number + 1)) == events


def test_each_frame_that_was_under_way_to_a_cancelled_stream_may_be_reset_again() -> None:
    """As clients on Python's h2 do. The other streams go on."""
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1))
    other = world.upstream()
    other.send(SSE_HEAD)
    busy_streams(world, client, 20, 100)
    for stream_id in range(3, 43, 2):
        client.say(rst(stream_id) * 101)
    assert client.goaway is None
    other.send(chunk(b"data: 1\n\n") + b"0\r\n\r\n")
    world.run()
    assert client.payload(1) == b"data: 1\n\n"
    assert client.is_ended(1)
    assert world.at_rest
    assert not client.of(RstStreamFrame)


def test_resets_of_streams_that_are_over_are_bounded_by_what_was_sent_on_them() -> None:
    world = World()
    client = FrameClient(world)
    busy_streams(world, client, 1, 1000)
    assert 1000 <= attack(client, lambda _: rst(3)) <= 1000 + 400
    assert client.goaway == CALM
    assert world.at_rest


def test_frames_sent_pay_for_no_rapid_resets() -> None:
    world = World()
    client = FrameClient(world)
    busy_streams(world, client, 1, 1000)

    def piece(number: int) -> bytes:
        stream_id = 2 * number + 5
        return client.headers(stream_id) + rst(stream_id)

    assert attack(client, piece) <= 200
    assert client.goaway == CALM


LATE = {
    "DATA of a stream that is complete": lambda client: data(1, b"x" * 100),
    "HEADERS of a stream that we have reset": lambda client: client.headers(3),
    "DATA of a stream that it has reset": lambda client: data(5, b"x" * 100),
    "HEADERS of a stream that it has reset": lambda client: client.headers(5),
}


@pytest.mark.parametrize("what", list(LATE))
def test_frames_on_streams_that_are_over_are_counted(what: str) -> None:
    """They look like progress."""
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1))
    world.upstream().send(reply(b"[]"))
    client.say(client.headers(3, [*POST, (b"content-length", b"1")], end=False), data(3, b"xx"))
    assert client.reset(3) == PROTOCOL
    client.say(client.headers(5, POST, end=False), rst(5))
    assert attack(client, lambda _: LATE[what](client)) <= 200
    assert client.goaway == CALM
    assert world.at_rest


FLOODS = {
    "SETTINGS": settings(INITIAL_WINDOW_SIZE=65535),
    "SETTINGS without change": settings(),
    "PING": ping(),
    "PRIORITY": raw(2, 0, 1, b"\0\0\0\3\x10"),
    "PRIORITY_UPDATE": raw(0x10, 0, 0, b"\0\0\0\1u=1"),  # RFC 9218
    "SETTINGS answers nobody asked for": raw(4, 1, 0),
    "an unknown type": raw(0xBE, 0, 0, b"grease"),
    "RST_STREAM of a closed stream": rst(1),
    "WINDOW_UPDATE": window(0, 1),
    "empty DATA": data(3),
    "DATA that is all padding": raw(0, 8, 3, b"\xff" + bytes(255)),
    "PING answers nobody asked for": ping(ack=True),
}


@pytest.mark.parametrize("what", list(FLOODS))
def test_frames_that_bring_nothing(what: str) -> None:
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1))
    world.upstream().send(reply(b"[]"))
    world.run()
    client.say(client.headers(3, POST, end=False))
    assert attack(client, lambda _: FLOODS[what]) <= 400
    assert client.goaway == CALM
    assert world.at_rest


def test_a_client_that_does_not_cease_to_say_goaway() -> None:
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1), raw(7, 0, 0, bytes(8)))
    assert client.goaway == NO_ERROR and not client.is_gone  # its stream goes on
    client.say(raw(7, 0, 0, bytes(8)) * 400)
    assert client.goaway == CALM
    assert world.at_rest


def test_settings_that_nobody_knows_are_not_kept() -> None:
    """All 65,536 of them would cost us 54 MB, and 65,536 looks at each further SETTINGS."""
    client = FrameClient(World())

    pieces = [
        setting_codes(dict.fromkeys(range(first, first + 2000), 7))
        for first in range(16, 60_016, 2000)
    ]
    assert attack(client, lambda number: pieces[number % len(pieces)], 2) <= 400
    assert client.goaway == CALM


@pytest.mark.parametrize("what", ["PING", "SETTINGS"])
def test_replies_to_a_client_that_reads_nothing_do_not_pile_up(what: str) -> None:
    world = World()
    client = FrameClient(world)
    client.transport.pause_reading()
    for _ in range(200):
        client.send(FLOODS[what] * 50)
        world.loop.turn()
        world.advance(1)  # time enough to be allowed some
    assert client.transport.peer.under_way < 300_000


def test_answers_to_a_client_that_reads_nothing_do_not_pile_up() -> None:
    """A reply without a body is over when it is written: only the transport holds it."""
    world = World()
    client = FrameClient(world)
    client.transport.pause_reading()
    client.transport.peer.set_write_buffer_limits(high=1000)
    head = [(b":method", b"HEAD"), *GET[1:3], (b":path", b"/nope")]
    for number in range(8000):
        client.send(client.headers(2 * number + 1, head))
        if not number % 100:
            world.run()
    world.run()
    assert client.transport.peer.under_way < 300_000
    assert client.transport.under_way > 10_000  # it was made to wait
    client.transport.resume_reading()
    world.run()
    assert len(client.heads) == 8000


@pytest.mark.parametrize("size", [0, 1, 16_384])
def test_continuation_without_end(size: int) -> None:  # CVE-2024-27316 and its kin
    world = World()
    client = FrameClient(world)
    client.send(raw(1, 0, 1, b"\x82"))
    assert attack(client, lambda _: raw(9, 0, 1, b"\x82" * size), 5) <= 400
    assert client.goaway == CALM
    assert not world.upstreams


def test_a_header_block_that_does_not_end_in_time() -> None:
    world = World(timeouts_header=10)
    client = FrameClient(world)
    client.say(raw(1, 0, 1, b"\x82"))
    world.advance(9)
    assert client.goaway is None
    for _ in range(4):
        client.say(raw(9, 0, 1, b"\x84"))
        world.advance(1)
    assert client.goaway == CALM
    assert world.proxy.connections == 0


@pytest.mark.parametrize("seconds", [9, 11])
def test_a_header_block_has_its_time_and_no_more_where_it_begins_as_another_ends(
    seconds: int,
) -> None:
    world = World(timeouts_header=10)
    client = FrameClient(world)
    first, second = client.headers(1)[9:], client.headers(3)[9:]
    client.say(raw(1, 1, 1, first[:1]))
    world.advance(9)
    client.say(raw(9, 4, 1, first[1:]) + raw(1, 1, 3, second[:1]))
    world.advance(seconds)
    assert client.goaway == (CALM if seconds > 10 else None)
    client.say(raw(9, 4, 3, second[1:]))
    assert len(world.upstreams) == (1 if seconds > 10 else 2)


def test_an_hpack_bomb() -> None:
    """One large entry in the table, referred to thousands of times."""
    world = World()
    client = FrameClient(world)
    big = b"\x40\x01x" + b"\x7f\x80\x1e" + b"v" * 3967
    bomb = client.encoder.encode(GET) + big + b"\xbe" * 12_000
    tracemalloc.start()
    client.say(raw(1, 5, 1, bomb))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert client.goaway in (CALM, COMPRESSION)
    assert peak < HELD
    assert not world.upstreams


def test_a_header_section_that_is_a_little_too_large_is_431() -> None:
    world = World(limits_header_bytes=4096)
    client = FrameClient(world)
    client.say(client.headers(1, [*GET, (b"x-large", b"v" * 5000)]))
    assert client.status(1) == b"431"
    assert client.is_ended(1)
    client.say(client.headers(3, [*GET, *[(b"x-%d" % n, b"1") for n in range(200)]]))
    assert client.status(3) == b"431"
    client.say(client.headers(5))
    assert len(world.upstreams) == 1
    client = FrameClient(World())
    client.say(client.headers(1, [*GET, *[(b"x-large", b"a" * 4000)] * 20]))
    assert client.status(1) == b"431"
    long = b"/v1/" + b"a" * (72 << 10)  # what is not counted is bounded, too
    for stream_id, fields in (3, [*GET[:3], (b":path", long)]), (5, [*GET, (b"cookie", long)]):
        block = client.encoder.encode(fields)
        pieces = [block[at : at + 16384] for at in range(0, len(block), 16384)]
        client.say(raw(1, 1, stream_id, pieces[0]))
        client.say(*[raw(9, 0, stream_id, piece) for piece in pieces[1:]], raw(9, 4, stream_id))
        assert client.status(stream_id) == b"431"


def test_a_frame_that_is_too_long_is_refused_by_its_header() -> None:
    world = World()
    for kind in (0, 1, 4, 0xBE):
        client = FrameClient(world)
        client.say(raw(kind, 0, 1 if kind < 4 else 0, b"", size=16_385))
        assert client.goaway == FRAME_SIZE
        assert client.is_gone


def test_the_connections_window_overflows() -> None:
    client = FrameClient(World())
    client.say(window(0, 2**31 - 1))
    assert client.goaway == FLOW


def test_a_streams_window_overflows() -> None:
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1), client.headers(3), window(1, 2**31 - 1))
    assert client.reset(1) == FLOW
    assert client.goaway is None
    assert world.proxy.exchanges == 1  # the other one


def test_a_window_of_nothing_holds_the_upstream_and_ends_in_time() -> None:
    world = World(timeouts_idle=20)
    client = FrameClient(world, PREFACE + settings(INITIAL_WINDOW_SIZE=0))
    client.say(client.headers(1))
    upstream = world.upstream()
    upstream.send(reply(b"z" * 4_000_000))
    world.run()
    assert client.status(1) == b"200"
    assert client.payload(1) == b""
    assert 4_000_000 - upstream.transport.under_way < 400 * 1024
    world.advance(21)
    assert upstream.is_gone
    assert world.at_rest
    assert client.reset(1) is not None


@pytest.mark.parametrize("of", ["the stream", "the connection"])
def test_what_has_no_room_waits_where_it_holds_back_the_upstream(of: str) -> None:
    """And not in a buffer of the stream, on top of that."""
    world = World()
    first = settings(INITIAL_WINDOW_SIZE=0 if of == "the stream" else 1 << 20)
    client = FrameClient(world, PREFACE + first)
    if of == "the connection":
        client.say(client.headers(1))
        world.upstream().send(reply(b"z" * 65535))
        world.run()
    client.say(client.headers(3))
    upstream = world.upstream()
    upstream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n")
    for _ in range(50):
        upstream.send(b"z" * 1000)
        world.run()
    (exchange,) = world.proxy._exchanges
    assert isinstance(exchange.downstream, H2Stream)
    assert exchange.downstream.size <= 2000


def test_the_last_of_a_reply_that_nobody_takes_is_given_up() -> None:
    """All of it is here, so the exchange is over; the stream is not."""
    world = World(timeouts_idle=5)
    client = FrameClient(world, PREFACE + settings(INITIAL_WINDOW_SIZE=0))
    client.say(client.headers(1))
    world.upstream().send(reply(b"[]"))
    world.advance(3)
    assert client.reset(1) is None
    world.advance(5)
    assert client.reset(1) is not None
    assert not client.is_ended(1)


def test_the_last_of_a_reply_waits_for_a_client_as_the_rest_of_it_does() -> None:
    """One that was suspended goes on, such as the edge of a link: nobody closed the connection."""
    world = World(timeouts_close=5, timeouts_idle=300)
    client = FrameClient(world, PREFACE + settings(INITIAL_WINDOW_SIZE=0))
    client.say(client.headers(1))
    world.upstream().send(reply(b"[]"))
    world.advance(290)
    client.say(window(1, 100))
    assert client.is_ended(1)


def test_windows_of_a_few_bytes() -> None:
    world = World()
    client = FrameClient(world, PREFACE + settings(INITIAL_WINDOW_SIZE=1))
    client.say(client.headers(1))
    world.upstream().send(reply(b"z" * 100_000))
    world.run()
    assert attack(client, lambda _: window(1, 1)) <= 600
    assert client.goaway == CALM
    assert all(len(frame.data) <= 50 for frame in client.of(DataFrame))
    assert world.at_rest


@pytest.mark.parametrize("step", [1024, 4000])
def test_a_download_by_a_client_that_grants_room_in_small_steps(step: int) -> None:
    """As HAProxy does, for the stream and for the connection."""
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1))
    size = 3_000_000
    world.upstream().send(reply(b"z" * size))
    world.run()
    for _ in range(size // step):
        client.say(window(1, step), window(0, step))
    assert client.goaway is None
    assert len(client.payload(1)) == size
    assert client.is_ended(1)


def downloads(streams: int, size: int) -> tuple[World, FrameClient]:
    """A client that has just got replies of so many bytes, and granted no room for them yet."""
    world = World()
    wide = settings(INITIAL_WINDOW_SIZE=1 << 22) + window(0, 1 << 28)
    client = FrameClient(world, PREFACE + wide)
    ids = range(1, 2 * streams, 2)
    client.say(*[client.headers(stream_id) for stream_id in ids])
    for upstream in world.upstreams:
        upstream.send(reply(b"z" * size))
    world.run()
    assert all(len(client.payload(stream_id)) == size for stream_id in ids)
    return world, client


def test_what_is_granted_for_many_downloads_may_come_at_once() -> None:
    """Go's client grants room for the stream and for the connection with every 4 KiB that are
    read, and its streams are read beside each other."""
    _, client = downloads(60, 60_000)
    grants = [(1, 4096), (0, 4096)] * (60 * 60_000 // 4096)
    client.say(*[window(stream_id, by) for stream_id, by in grants])
    assert client.goaway is None
    client.say(client.headers(121))
    assert client.goaway is None


def test_what_may_be_granted_at_once_is_bounded_by_what_was_taken() -> None:
    world, client = downloads(1, 600_000)
    number = attack(client, lambda _: window(0, 1))
    assert 600 <= number <= 1600
    assert client.goaway == CALM
    assert world.at_rest


def test_a_body_in_single_bytes_is_held_in_little_more_than_its_size() -> None:
    """The upstream does not read yet, and of each byte an object would be kept. To refuse it would
    be wrong: an edge sends its client's body so, if that comes so."""
    world = World()
    world.accepting = False
    client = FrameClient(world)
    letters = [b"ab"[at % 2 :][:1] for at in range(STREAM_WINDOW)]
    client.say(client.headers(1, POST, end=False), *[data(1, letter) for letter in letters])
    [stream] = transport_of(client).protocol.connection._streams.values()
    assert STREAM_WINDOW - 40_000 < stream.body.held < stream.body.weight < 1 << 21
    assert client.reset(1) is None and client.goaway is None
    upstream = world.accept()
    client.say(data(1, b"", end=True))
    world.run()
    assert read_request(upstream.take())[1] == b"".join(letters)
    upstream.send(reply(b"[]"))
    world.run()
    assert client.status(1) == b"200"
    assert world.at_rest


def test_an_upload_in_drops_is_too_slow() -> None:
    world = World(timeouts_body=5, limits_body_rate=100)
    client = FrameClient(world)
    client.say(client.headers(1, POST, end=False))
    for _ in range(20):
        client.say(data(1, b"x"))
        world.advance(1)
    assert client.status(1) == b"408"
    assert client.reset(1) == NO_ERROR
    assert client.goaway is None
    assert world.at_rest


def test_an_upload_in_drops_is_too_slow_however_busy_its_connection_is() -> None:
    world = World(timeouts_body=5, limits_body_rate=100)
    client = FrameClient(world)
    client.say(client.headers(1, POST, end=False))
    for number in range(80):
        client.say(client.headers(2 * number + 3, [*GET[:3], (b":path", b"/nope")]))
        world.advance(0.2)
    assert client.status(1) == b"408"
    assert client.goaway is None


def test_a_client_that_sends_nothing_is_let_go() -> None:
    world = World(timeouts_keepalive=30)
    client = FrameClient(world)
    for _ in range(29):
        client.say(ping())  # which does not make it any busier
        world.advance(1)
    assert client.goaway is None
    world.advance(2)
    assert client.goaway == NO_ERROR
    assert world.proxy.connections == 0


def test_more_streams_than_announced_are_refused_one_by_one() -> None:
    world = World()
    client = FrameClient(world)
    for number in range(110):
        client.say(client.headers(2 * number + 1))
    assert world.proxy.exchanges == 100
    assert [client.reset(2 * n + 1) for n in range(99, 102)] == [None, 7, 7]
    assert client.goaway is None


def test_streams_that_are_refused_are_counted_too() -> None:
    world = World()
    client = FrameClient(world)
    client.say(*(client.headers(2 * number + 1) for number in range(100)))
    assert attack(client, lambda n: client.headers(2 * (n + 100) + 1)) <= 200
    assert client.goaway == CALM


def test_a_reset_of_a_stream_that_was_never_open_ends_the_connection() -> None:
    world = World()
    for stream_id in (3, 2):  # the client's, and one that would be ours
        client = FrameClient(world)
        client.say(client.headers(1), rst(stream_id))
        assert client.goaway == PROTOCOL


def test_after_an_error_nothing_more_is_read() -> None:
    world = World()
    client = FrameClient(world)
    client.send(raw(0, 0, 0) + client.headers(1) * 1000)
    world.run()
    assert client.goaway == PROTOCOL
    assert len(client.of(GoAwayFrame)) == 1
    assert not world.upstreams
    assert world.proxy.connections == 0


def test_a_client_that_stays_after_its_goaway_is_cut_off() -> None:
    world = World(timeouts_close=5)
    client = FrameClient(world)
    client.half_open = True
    client.say(raw(0, 0, 0))
    world.advance(6)
    assert world.proxy.connections == 0
