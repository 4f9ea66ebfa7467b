"""HTTP/2 towards upstreams, frame by frame, and the pool's share in it."""

from __future__ import annotations

from typing import Any

import pytest
from ends import H2Server
from frames import PREFACE, data, ping, raw, rst, settings, window
from h2.events import PingReceived
from hpack import Encoder, NeverIndexedHeaderTuple
from hyperframe.frame import GoAwayFrame, HeadersFrame
from link import Raw
from world import World, get, transport_of

from m2mproxy.http.faults import UpstreamFault
from m2mproxy.http.message import Origin
from m2mproxy.net.connection import MOST_INFORMATIONAL
from m2mproxy.net.h2_engine import MAX_STREAMS
from m2mproxy.net.reusable import Tries

PAIR = ("1.1", "2")
OK = [(b":status", b"200")]


def server(world: World, number: int = -1) -> H2Server:
    world.run()
    end = world.upstreams[number]
    assert isinstance(end, H2Server)
    return end


def say(world: World, frame: bytes) -> None:
    """A frame from the upstream that its library would not send."""
    server(world).send(frame)
    world.run()


def head(fields: Any, stream_id: int = 1, end: bool = False) -> bytes:
    flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
    return HeadersFrame(stream_id, Encoder().encode(fields), flags=flags).serialize()


def opened(end: Raw) -> int:
    """Streams that we have opened on a connection."""
    received, at, number = bytes(end.received), len(PREFACE), 0
    while at < len(received):
        number += received[at + 3] == HeadersFrame.type
        at += 9 + int.from_bytes(received[at : at + 3])
    return number


def code(world: World) -> str | None:
    fault = world.ended[-1].fault
    return fault.code if fault is not None else None


def test_a_request_goes_out_before_settings_come_in() -> None:
    world = World(pair=PAIR)
    world.accepting = False
    world.ask(b"{}")
    world.accept()
    world.loop.turn()
    assert b"PRI * HTTP/2.0" in bytes(world.upstreams[0].transport.peer._buffer)
    assert world.call().body == b"{}"


def test_streams_share_a_connection_up_to_the_upstreams_limit() -> None:
    world = World(pair=PAIR)
    world.upstream_settings = {3: 4}  # MAX_CONCURRENT_STREAMS
    asks = [world.ask(b"%d" % number, new=True) for number in range(10)]
    assert [call.body for call in map(world.call, range(10))] == [b"%d" % n for n in range(10)]
    assert len(world.upstreams) == 3
    for call in world.calls:
        call.reply(call.body)
    world.run()
    assert [ask.body for ask in asks] == [b"%d" % number for number in range(10)]
    assert world.at_rest


@pytest.mark.parametrize(
    ("said", "streams"), [({}, [100, 100, 50]), ({3: 30}, [30] * 8 + [10])]
)
def test_a_burst_opens_as_many_connections_as_it_needs(
    said: dict[int, int], streams: list[int]
) -> None:
    world = World(pair=PAIR)
    world.upstream_settings = said
    for number in range(250):
        world.start(b"%d" % number, new=True)
    world.run()
    taken = [len(server(world, number).streams) for number in range(len(world.upstreams))]
    assert sorted(taken, reverse=True) == streams


def test_a_connection_that_nobody_waited_for_takes_no_more_than_it_can() -> None:
    world = World(pair=PAIR)
    world.neutral = True
    reached = world.context.routes.upstream.destination.reached()
    world.run()
    assert reached.done
    for number in range(150):
        world.start(b"%d" % number, new=True)
    world.run()
    assert [len(server(world, number).streams) for number in (0, 1)] == [100, 50]


def test_a_burst_before_settings_is_cautious() -> None:
    """Ten streams a connection, until the upstream has said how many it takes."""
    world = World(pair=PAIR)
    world.accepting = False
    for number in range(25):
        world.start(b"%d" % number, new=True)
    world.run()
    assert len(world.dials) == 1
    world.neutral = False  # the other end says nothing by itself
    end = world.accept()
    world.run()
    assert len(world.upstreams) == 1
    assert opened(end) == 10
    world.askers[0].transport.die()  # which makes room for one, and says nothing of the others
    world.run()
    assert opened(end) == 11 and not world.dials
    end.send(settings())
    world.run()
    assert opened(end) == 25


def test_what_was_dialled_for_many_may_take_one_at_a_time() -> None:
    """TLS may negotiate HTTP/1.1."""

    class Negotiated(World):
        def may_be_http2(self, origin: Origin) -> bool:
            return True

    world = Negotiated()
    for number in range(20):
        world.start(b"%d" % number, new=True)
    world.run()
    assert len(world.upstreams) == 20


def test_requests_wait_for_room_when_no_further_connection_is_allowed() -> None:
    world = World(pair=PAIR, limits_upstream_connections=1)
    world.upstream_settings = {3: 2}
    asks = [world.ask(b"%d" % number, new=True) for number in range(5)]
    answered = 0
    while answered < 5:
        world.call(answered).reply(b"ok")
        world.run()
        answered += 1
    assert all(ask.body == b"ok" for ask in asks)
    assert len(world.upstreams) == 1


def test_requests_that_wait_go_out_once_the_upstream_takes_more() -> None:
    world = World(pair=PAIR, limits_upstream_connections=1)
    world.upstream_settings = {3: 2}
    for number in range(5):
        world.ask(b"%d" % number, new=True)
    assert len(world.calls) == 2
    server(world).h2.update_settings({3: 4})
    server(world).flush()
    world.run()
    assert [call.body for call in world.calls] == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize("when", ["at rest", "at work", "at the start"])
def test_a_connection_that_takes_no_streams_at_all_leaves_its_place(when: str) -> None:
    world = World(pair=PAIR, limits_upstream_connections=1)
    first = world.ask(b"1")
    if when == "at rest":
        world.call().reply(b"ok")
        world.run()
    say(world, settings(MAX_CONCURRENT_STREAMS=0))
    if when == "at the start":
        say(world, rst(1, 7))
    elif when == "at work":
        assert not world.upstreams[0].is_gone
        world.call().reply(b"ok")
        world.run()
    assert world.upstreams[0].is_gone
    last = first if when == "at the start" else world.ask(b"2")
    world.call().reply(b"ok")
    world.run()
    assert (first.body, last.body, len(world.upstreams)) == (b"ok", b"ok", 2)
    assert world.at_rest


def test_a_connection_that_has_no_number_left_for_a_stream_leaves_its_place() -> None:
    world = World(pair=PAIR, limits_upstream_connections=1)
    first = world.ask(b"1")
    connection: Any = transport_of(server(world)).protocol
    connection.connection._engine.highest_outbound_stream_id = 2**31 - 101
    world.call().reply(b"ok")
    world.run()
    assert world.upstreams[0].is_gone
    last = world.ask(b"2")
    world.call().reply(b"ok")
    world.run()
    assert (first.body, last.body, len(world.upstreams)) == (b"ok", b"ok", 2)


def test_a_connection_has_our_own_number_of_streams_where_the_upstream_takes_more() -> None:
    world = World(pair=PAIR, limits_upstream_connections=1)
    world.upstream_settings = {3: 10 * MAX_STREAMS}
    for _ in range(MAX_STREAMS + 2):
        world.ask(b"{}", new=True)
    assert len(world.calls) == MAX_STREAMS


def test_a_connection_that_the_upstream_closes_takes_no_other_ones_place() -> None:
    world = World(pair=PAIR, limits_upstream_connections=1)
    long = world.ask(b"{}")
    call = world.call()
    call.respond(200, (b"content-type", b"text/event-stream"))
    call.send(b"data: 1\n\n")
    say(world, GoAwayFrame(0, last_stream_id=1).serialize())
    other = world.ask(b"{}", new=True)
    world.call().reply(b"ok")
    world.run()
    assert (other.status, len(world.upstreams)) == (200, 2)
    call.end()
    world.run()
    assert long.complete
    assert world.at_rest


def test_a_refused_stream_is_sent_again() -> None:
    world = World(pair=PAIR)
    ask = world.ask(b"payload")
    server(world).h2.reset_stream(1, 7)
    server(world).flush()
    world.run()
    assert [call.body for call in world.calls] == [b"payload", b"payload"]
    world.call().reply(b"ok")
    world.run()
    assert ask.body == b"ok"
    assert len(world.upstreams) == 2


@pytest.mark.parametrize(
    "refusal",
    [rst(1, 7), GoAwayFrame(0, last_stream_id=0).serialize()],
    ids=["REFUSED_STREAM", "GOAWAY"],
)
@pytest.mark.parametrize("times", [2, 3])
def test_a_request_that_nobody_looks_at_is_sent_three_times_at_most(
    refusal: bytes, times: int
) -> None:
    """Some change their connections every few requests, and others come first on the new one."""
    world = World(pair=PAIR)
    ask = world.ask(b"payload")
    for _ in range(times):
        say(world, refusal)
    assert [call.body for call in world.calls] == [b"payload"] * 3
    if times < 3:
        world.call().reply(b"ok")
        world.run()
    assert ask.status == (200 if times < 3 else 502)
    assert len({id(end) for end in world.upstreams}) == 3
    world.advance(60)
    assert world.at_rest


@pytest.mark.parametrize(
    ("faults", "may"),
    [
        ("unseen unseen unseen", [True, True, False]),
        ("silent silent", [True, False]),
        ("unseen silent", [True, False]),
        ("silent unseen unseen", [True, True, False]),
        ("other", [False]),
    ],
)
def test_a_request_that_may_have_been_seen_is_not_sent_a_third_time(
    faults: str, may: list[bool]
) -> None:
    kinds = {"unseen": (False, True), "silent": (True, False), "other": (False, False)}
    tries = Tries()
    asked = [UpstreamFault("disconnected", "", *kinds[kind]) for kind in faults.split()]
    assert [tries.one_more(fault) for fault in asked] == may


def test_streams_above_the_last_of_a_goaway_are_sent_again_and_the_others_finish() -> None:
    world = World(pair=PAIR)
    first, second = world.ask(b"1", new=True), world.ask(b"2", new=True)
    say(world, GoAwayFrame(0, last_stream_id=1).serialize())
    assert [call.body for call in world.calls] == [b"1", b"2", b"2"]
    world.calls[0].reply(b"one")
    world.calls[2].reply(b"two")
    world.run()
    assert (first.body, second.body) == (b"one", b"two")
    assert world.upstreams[0].is_gone
    third = world.ask(b"3", new=True)
    world.call().reply(b"three")
    world.run()
    assert third.body == b"three"
    assert len(world.upstreams) == 2


def test_who_says_goaway_is_asked_once_for_a_sign_of_life_while_streams_go_on() -> None:
    """Servers built on Python's h2 library answer nothing any more: asked, they close."""
    world = World(pair=PAIR)
    ask = world.ask(b"1")
    for _ in range(2):
        say(world, GoAwayFrame(0, last_stream_id=1).serialize())
    assert [type(event) for event in server(world).events].count(PingReceived) == 1
    world.call().reply(b"one")
    world.run()
    assert ask.body == b"one"
    assert world.upstreams[0].is_gone


def test_who_says_goaway_and_closes_when_asked_fails_what_it_has_not_answered() -> None:
    world = World(pair=PAIR)
    ask = world.ask(b"1")
    say(world, GoAwayFrame(0, last_stream_id=1).serialize())
    if any(isinstance(event, PingReceived) for event in server(world).events):
        server(world).transport.close()
    world.run()
    assert (ask.status, code(world)) == (502, "upstream_disconnected")
    assert b"closed the connection before its response" in ask.body


def test_a_goaway_while_idle_closes_and_the_next_request_dials() -> None:
    world = World(pair=PAIR)
    world.ask(b"1")
    world.call().reply(b"1")
    world.run()
    say(world, GoAwayFrame(0, last_stream_id=1).serialize())
    assert world.upstreams[0].is_gone
    world.ask(b"2")
    assert world.call().body == b"2"
    assert len(world.upstreams) == 2


def test_a_stream_that_the_upstream_resets_is_502_and_not_sent_again() -> None:
    world = World(pair=PAIR)
    ask = world.ask(b"{}")
    world.call().abort()
    world.run()
    assert (ask.status, code(world)) == (502, "upstream_disconnected")
    assert len(world.calls) == 1


def test_a_reset_without_error_after_the_answer_is_no_fault() -> None:
    """RFC 9113 8.1: the rest of the request is not wanted."""
    world = World(pair=PAIR)
    ask = world.ask(b"x" * 100_000, whole=False)
    ask.send(b"x" * 10)
    say(world, head(OK) + raw(0, 1, 1, b"enough") + rst(1, 0))
    assert (ask.status, ask.body, ask.complete) == (200, b"enough", True)
    assert code(world) is None
    assert world.at_rest


BROKEN = {
    "a length unlike the body": head([*OK, (b"content-length", b"5")]) + raw(0, 1, 1, b"123"),
    "a length unlike the body before trailers": head([*OK, (b"content-length", b"5")])
    + raw(0, 0, 1, b"123")
    + head([(b"x-t", b"1")], end=True),
    "a body before its head": raw(0, 0, 1, b"123"),
    "trailers that are no end": head(OK) + raw(0, 0, 1, b"1") + head([(b"x-t", b"1")]),
    "103 that is the end": head([(b":status", b"103")], end=True),
    "no body where one is declared": head([*OK, (b"content-length", b"5")], end=True),
    "a line break in a value": head([*OK, (b"x-a", b"1\r\nx: y")], end=True),
    "connection": head([*OK, (b"connection", b"close")], end=True),
    "no status": head([(b"x-a", b"1")], end=True),
    "101": head([(b":status", b"101")]),
    "a trailer with a status": head(OK) + raw(0, 0, 1, b"1") + head(OK, end=True),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_a_broken_reply_never_looks_whole_and_costs_only_its_stream(case: str) -> None:
    world = World(pair=PAIR)
    ask, other = world.ask(b"1", new=True), world.ask(b"2", new=True)
    say(world, BROKEN[case])
    assert ask.status == 502 or (ask.broken and not ask.complete)
    assert code(world) == "upstream_protocol_error"
    world.calls[1].reply(b"fine")
    world.run()
    assert other.body == b"fine"


def test_a_reply_that_cannot_be_decoded_may_end_with_the_frame_that_shows_it() -> None:
    world = World(pair=PAIR, compression_responses="auto")
    ask = world.ask(b"{}")
    gzipped = head([*OK, (b"content-encoding", b"gzip")])
    say(world, gzipped + data(1, b"\x1f\x8b\x08\0\0\0\0\0\0\3no gzip at all", end=True))
    assert ask.broken and world.at_rest
    assert code(world) == "upstream_protocol_error" and world.ended[-1].bug is None


@pytest.mark.parametrize(
    "frame",
    [
        raw(5, 4, 1, b"\0\0\0\2\x82"),  # PUSH_PROMISE
        raw(0, 0, 0, b"x"),
        raw(1, 4, 1, b"\xff\xff\xff\xff\xff\xff"),
        raw(6, 0, 0, b"short"),
        raw(0, 0, 1, b"", size=20_000),
        raw(1, 4, 2, b"\x88"),  # HEADERS on a stream of its own
        raw(1, 0x24, 2, b"\0\0\0\0\0\x88"),  # with a priority
        raw(1, 0, 2, b"") + raw(9, 4, 2, b"\x88"),  # in two frames
    ],
)
def test_a_broken_connection_fails_all_its_streams(frame: bytes) -> None:
    world = World(pair=PAIR)
    asks = [world.ask(b"1", new=True), world.ask(b"2", new=True)]
    say(world, frame)
    assert [ask.status for ask in asks] == [502, 502]
    assert world.upstreams[0].is_gone
    assert world.at_rest


def test_an_upstream_that_does_not_speak_http2() -> None:
    world = World(pair=PAIR)
    client = world.client()
    client.send(b"GET /v1/x HTTP/1.1\r\nhost: h\r\n\r\n")
    world.upstream().send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    world.run()
    assert b" 502 " in client.take()
    assert "not HTTP/2" in str(world.ended[-1].fault)


def test_credentials_are_never_indexed() -> None:
    """Streams of many tenants share the connection's compression (RFC 7541 7.1.3)."""
    world = World(pair=PAIR)
    secrets = [(b"authorization", b"Bearer sk-1"), (b"x-api-key", b"k"), (b"cookie", b"a=1")]
    world.ask(b"{}", b"/v1/x", *secrets, (b"x-other", b"1"))
    event = next(e for e in server(world).events if type(e).__name__ == "RequestReceived")
    kinds = {field[0]: isinstance(field, NeverIndexedHeaderTuple) for field in event.headers}
    assert {name for name, never in kinds.items() if never} == {name for name, _ in secrets}


def test_an_idle_connection_is_closed_in_time() -> None:
    world = World(pair=PAIR, timeouts_upstream_keepalive=4)
    world.ask(b"{}")
    world.call().reply(b"ok")
    world.advance(3)
    assert not world.upstreams[0].is_gone
    world.advance(2)
    assert world.upstreams[0].is_gone


def test_a_connection_with_a_long_stream_is_not_idle() -> None:
    world = World(pair=PAIR, timeouts_upstream_keepalive=4)
    long = world.ask(b"long", new=True)
    world.ask(b"short", new=True)
    world.calls[1].reply(b"")
    world.advance(60)
    world.calls[0].reply(b"at last")
    world.run()
    assert long.body == b"at last"
    assert len(world.upstreams) == 1


def test_fewer_streams_in_the_middle_of_it() -> None:
    world = World(pair=PAIR)
    asks = [world.ask(b"%d" % number, new=True) for number in range(3)]
    say(world, settings(MAX_CONCURRENT_STREAMS=1))
    more = world.ask(b"more", new=True)
    assert len(world.upstreams) == 2
    for call in world.calls:
        call.reply(call.body)
    world.run()
    assert [ask.body for ask in (*asks, more)] == [b"0", b"1", b"2", b"more"]


def test_late_frames_on_a_stream_that_is_over_are_ignored() -> None:
    world = World(pair=PAIR)
    ask = world.ask(b"1", new=True)
    other = world.ask(b"2", new=True)
    call = world.calls[0]
    call.respond(200)
    call.send(b"x" * 1000)
    world.run()
    ask.abort()
    world.loop.turn()
    server(world).send(raw(0, 0, 1, b"late") + rst(1))
    world.run()
    world.calls[1].reply(b"fine")
    world.run()
    assert other.body == b"fine"
    assert not world.upstreams[0].is_gone


@pytest.mark.parametrize("seen", ["nothing", "its head"])
def test_a_request_that_is_given_up_is_reset_once_whatever_comes_late(seen: str) -> None:
    """Upstreams count what they are sent, as we do: nghttp2, Go and Envoy end the connection."""
    world = World(pair=PAIR)
    client = world.client()
    client.send(b"POST /v1/x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}")
    upstream = world.upstream()
    upstream.send(settings())
    encoder = Encoder()
    answer = raw(1, 4, 1, encoder.encode([*OK, (b"x-kept", b"in the table")]))
    if seen == "its head":
        upstream.send(answer + data(1, b"x"))
        answer = b""
    world.run()
    client.transport.die()
    world.run()
    assert upstream.take().endswith(rst(1))
    indexed = [(b"x-kept", b"in the table"), (b"x-too", b"this")]
    trailers = raw(1, 5, 1, encoder.encode(indexed))
    upstream.send(answer + data(1, b"late") * 100 + window(1, 5) + trailers)
    world.run()
    assert upstream.take() == b""
    client = world.client()
    client.send(get())
    world.run()
    assert len(world.upstreams) == 1
    upstream.send(raw(1, 5, 3, encoder.encode([*OK, *indexed])))
    world.run()
    assert b"x-kept: in the table\r\nx-too: this\r\n" in client.take()


def test_a_new_connection_that_dies_without_a_word_is_no_reason_to_send_again() -> None:
    """It may have been at work; only one that had been at rest is known to have gone stale."""
    world = World(pair=PAIR)
    client = world.client()  # and so the upstream is one that says nothing
    client.send(b"POST /v1/x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}")
    assert b"PRI * HTTP/2.0" in world.upstream().take()
    world.upstreams[0].transport.die()
    world.run()
    assert b" 502 " in client.take()
    assert len(world.upstreams) == 1
    assert world.at_rest


def test_an_early_answer_ends_a_request_that_waits_for_room() -> None:
    """The upstream has answered and gives no more room for the body: a stream that nobody ends
    would count against its limit for as long as the connection lives."""
    world = World(pair=PAIR)
    world.upstream_settings = {4: 1000}  # INITIAL_WINDOW_SIZE
    world.ask(b"{}")
    world.call().reply(b"")
    end = server(world)
    end.keeps_reading = False
    ask = world.ask(b"x" * 50_000)
    call = world.call()
    assert len(call.body) == 1000
    call.reply(b"no", status=401)
    world.run()
    assert (ask.status, ask.body) == (401, b"no")
    assert call.reset == 8  # CANCEL
    assert end.h2.open_inbound_streams == 0


FLOODS = {
    "PING": ping(),
    "SETTINGS": settings(),
    "PRIORITY": raw(2, 0, 1, bytes(5)),
    "empty DATA": data(1),
    "DATA that is all padding": raw(0, 8, 1, b"\xff" + bytes(255)),
    "WINDOW_UPDATE": window(1, 1),
    "CONTINUATION": raw(9, 0, 1),
}


@pytest.mark.parametrize("what", list(FLOODS))
def test_an_upstream_that_sends_frames_that_bring_nothing_loses_the_connection(what: str) -> None:
    world = World(pair=PAIR)
    ask = world.ask(b"{}")
    world.call()
    say(world, raw(1, 0, 1, b"\x88") if what == "CONTINUATION" else head(OK))
    say(world, FLOODS[what] * 200)
    assert not world.upstreams[0].is_gone
    say(world, FLOODS[what] * 200)
    assert world.upstreams[0].is_gone
    assert ask.broken or ask.status == 502
    assert code(world) == "upstream_protocol_error"
    assert world.at_rest


@pytest.mark.parametrize("status", [b"204", b"304"])
def test_a_body_where_there_is_none_breaks_only_its_stream(status: bytes) -> None:
    world = World(pair=PAIR)
    ask, other = world.ask(b"{}"), world.ask(b"{}", new=True)
    world.call()
    body = data(1, b"hello", end=True)
    say(world, head([(b":status", status), (b"content-length", b"5")]) + body)
    assert (ask.status, ask.body) == (int(status), b"")
    assert code(world) == "upstream_protocol_error"
    say(world, head(OK, 3, end=True))
    assert other.status == 200
    assert world.at_rest


BODILESS = {
    "HEAD": (b"HEAD", [*OK, (b"content-length", b"5")]),
    "204": (b"POST", [(b":status", b"204")]),
    "304": (b"GET", [(b":status", b"304"), (b"content-length", b"5")]),
    "a length of 0": (b"GET", [*OK, (b"content-length", b"0")]),
}


@pytest.mark.parametrize("kind", BODILESS)
@pytest.mark.parametrize("pair", [PAIR, ("2", "2")])
def test_a_response_without_body_is_complete_with_its_head(pair: Any, kind: str) -> None:
    world = World(pair=pair)
    method, fields = BODILESS[kind]
    ask = world.ask(method=method)
    world.call()
    say(world, head(fields))
    assert ask.complete
    assert world.at_rest
    assert world.ended[-1].fault is None
    late = world.ask(method=method)
    say(world, data(1, b"hello", end=True) + head(fields, 3, end=True))
    assert late.complete
    assert len(world.upstreams) == 1


@pytest.mark.parametrize("kind", BODILESS)
def test_the_end_of_a_response_without_body_may_come_after_its_head(kind: str) -> None:
    world = World(pair=PAIR)
    method, fields = BODILESS[kind]
    ask = world.ask(method=method)
    call = world.call()
    say(world, head(fields) + data(1, end=True))
    assert ask.complete
    assert world.ended[-1].fault is None
    assert call.reset is None


@pytest.mark.parametrize("frames", [b"", window(3, 1000)], ids=["nothing", "room for its body"])
def test_a_connection_that_dies_after_any_frame_is_no_reason_to_send_again(frames: bytes) -> None:
    world = World(pair=PAIR)
    world.ask(b"{}")
    world.call().reply(b"")
    world.run()
    ask = world.ask(b"{}")
    world.call()
    say(world, frames)
    world.upstreams[0].transport.die()
    world.run()
    assert len(world.calls) == (2 if frames else 3)
    assert ask.status == (502 if frames else 0)


def test_a_connection_that_served_no_request_to_its_end_is_no_reason_to_send_again() -> None:
    """One that was given up shows nothing of whether it had gone stale."""
    world = World(pair=PAIR)
    given_up = world.ask(b"{}")
    world.call()
    given_up.abort()
    world.run()
    ask = world.ask(b"{}", new=True)
    world.call()
    world.upstreams[0].transport.die()
    world.run()
    assert (ask.status, len(world.calls), len(world.upstreams)) == (502, 2, 1)


@pytest.mark.parametrize("more", [0, 1])
def test_informational_responses_pass_up_to_a_bound(more: int) -> None:
    world = World(pair=PAIR)
    ask = world.ask(b"{}")
    world.call()
    hints = Encoder()
    early = [(b":status", b"103")]
    count = MOST_INFORMATIONAL + more
    say(world, b"".join(raw(1, 4, 1, hints.encode(early)) for _ in range(count)))
    say(world, raw(1, 4, 1, hints.encode(OK)) + data(1, b"ok", end=True))
    assert ask.status == (502 if more else 200)
    assert len(ask.informational) == MOST_INFORMATIONAL


def test_a_client_that_does_not_read_letters_one_by_one_holds_them_back_and_gets_all() -> None:
    """A window full of frames of one letter: what they take of memory is no reason to end it."""
    world = World(pair=PAIR)
    ask = world.ask(b"{}")
    call = world.call()
    call.respond(200, (b"content-type", b"text/event-stream"))
    world.run()
    ask.connection.transport.pause_reading()  # type: ignore[attr-defined]
    [stream] = server(world).transport.peer.protocol.connection._streams.values()
    first = b""
    while stream.body.held < 16_000:  # all that takes more than the body does is full
        call.send(b"x" * 16_000)
        first += b"x" * 16_000
        world.run()
    window = call.connection.h2.local_flow_control_window(call.id)  # type: ignore[attr-defined]
    words = b"a\n" * (window // 2)
    say(world, b"".join([data(call.id, b"a"), data(call.id, b"\n")]) * (window // 2))  # type: ignore[attr-defined]
    assert not call.broken
    assert stream.body.held > 60_000 and stream.body.weight < 1 << 21
    ask.connection.transport.resume_reading()  # type: ignore[attr-defined]
    say(world, data(call.id, b"", True))  # type: ignore[attr-defined]
    assert (ask.body, ask.complete) == (first + words, True)
    assert world.at_rest


def test_a_frame_on_a_stream_that_is_over_is_told_as_such() -> None:
    world = World(pair=PAIR)
    world.ask(new=True)
    world.ask(new=True)
    say(world, head(OK, 1, end=True) + head(OK, 1))
    assert code(world) == "upstream_protocol_error"
    assert "stream 1, which is not open" in str(world.ended[-1].fault)
