"""Time: what is late is told so, on a clock that the test moves."""

from __future__ import annotations

import json

import pytest
from frames import settings, window
from world import HOST, SSE_HEAD, World, chunk, get, post, reply, transport_of

from m2mproxy.proxy.exchange import Exchange


def code_of(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"])


def test_no_first_byte_in_time_is_504() -> None:
    world = World(timeouts_first_byte=30)
    client = world.client()
    client.send(post(b"{}"))
    upstream = world.upstream()
    world.advance(29.8)
    assert client.take() == b""
    world.advance(0.4)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert code_of(answer) == "upstream_timeout"
    assert upstream.is_gone
    assert not client.is_gone
    assert world.at_rest


def test_the_first_byte_is_waited_for_from_the_end_of_the_request() -> None:
    world = World(timeouts_first_byte=30, timeouts_body=100)
    client = world.client()
    request = post(b"x" * 100)
    client.send(request[:-3])
    upstream = world.upstream()
    for byte in (request[-3:-2], request[-2:-1], request[-1:]):
        world.advance(20)
        client.send(byte)
        world.run()
    world.advance(29.8)
    assert client.take() == b""
    upstream.send(reply(b"in time"))
    world.run()
    assert client.take() == reply(b"in time")


def test_a_stream_that_falls_silent_is_cut_with_an_error_event() -> None:
    world = World(timeouts_idle=60)
    client = world.client()
    client.send(post(b"{}"))
    upstream = world.upstream()
    upstream.send(SSE_HEAD)
    world.advance(59)
    upstream.send(chunk(b": ping\n\n"))
    world.advance(59)
    assert not client.is_gone
    world.advance(1.5)
    assert b'"code":"upstream_idle_timeout"' in client.take()
    assert client.eof
    assert upstream.is_gone
    assert world.at_rest


def test_an_exchange_may_take_so_long_in_all() -> None:
    world = World(timeouts_idle=60, timeouts_total=100)
    client = world.client()
    client.send(post(b"{}"))
    upstream = world.upstream()
    upstream.send(SSE_HEAD)
    for _ in range(11):
        world.advance(10)
        if not upstream.is_gone:
            upstream.send(chunk(b"data: 1\n\n"))
    assert b'"code":"upstream_total_timeout"' in client.take()
    assert world.at_rest


def test_a_client_that_never_reads_again_is_given_up() -> None:
    world = World(timeouts_idle=60)
    client = world.client()
    client.send(get())
    upstream = world.upstream()
    client.transport.pause_reading()
    upstream.send(reply(b"z" * 1_000_000))
    world.advance(61)
    assert world.at_rest
    assert world.ended[-1].fault is not None
    assert world.ended[-1].fault.message == "the client stopped reading"
    world.advance(6)
    assert world.proxy.connections == 0


def test_a_place_in_the_queue_is_kept_so_long() -> None:
    world = World(limits_upstream_connections=1, timeouts_pool=10)
    first, second = world.client(), world.client()
    first.send(get())
    second.send(get())
    upstream = world.upstream()
    world.advance(10.2)
    answer = second.take()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in answer
    assert code_of(answer) == "upstream_busy"
    upstream.send(reply(b"[]"))
    world.run()
    assert first.take() == reply(b"[]")
    assert world.at_rest


def test_a_slow_head_is_408() -> None:
    world = World(timeouts_header=10)
    client = world.client()
    client.half_open = True
    for byte in b"GET /v1/mod":
        client.send(bytes((byte,)))
        world.advance(0.9)
    assert client.take() == b""
    world.advance(0.2)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert code_of(answer) == "request_timeout"
    assert client.eof
    world.advance(6)
    assert world.proxy.connections == 0


def test_a_body_that_stops_is_408_and_ends_the_upstreams_part() -> None:
    world = World(timeouts_body=30)
    client = world.client()
    client.half_open = True
    client.send(post(b"x" * 100)[:-50])
    upstream = world.upstream()
    world.advance(30.2)
    assert client.take().startswith(b"HTTP/1.1 408 ")
    assert upstream.is_gone
    assert world.at_rest


def test_a_body_that_drips_is_408() -> None:
    world = World(timeouts_body=30, limits_body_rate=256)
    client = world.client()
    client.half_open = True
    client.send(post(b"x" * 1000)[:-900])
    world.run()
    for _ in range(40):
        world.advance(1)
        client.send(b"x")
    world.run()
    assert client.take().startswith(b"HTTP/1.1 408 ")
    assert world.at_rest


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_client_that_waits_for_a_word_is_not_late(version: str) -> None:
    """RFC 9110 10.1.1: the upstream may take its time to ask for the body; then the client may
    not."""
    world = World(pair=(version, "1.1"), timeouts_body=30, limits_body_rate=0)
    ask = world.ask(b"late body", b"/v1/x", (b"expect", b"100-continue"), whole=False)
    call = world.call()
    assert call.get(b"expect") == b"100-continue"
    world.advance(100)
    assert ask.status == 0
    call.respond(100)
    world.advance(25)
    assert (ask.status, ask.informational) == (0, [100])
    ask.send(b"late")
    world.advance(25)
    assert (ask.status, call.body) == (0, b"late")
    world.advance(7)
    assert ask.status == 408
    assert world.at_rest


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_client_that_was_told_to_go_on_owes_its_body(version: str) -> None:
    world = World(pair=(version, "1.1"), timeouts_body=30)
    ask = world.ask(b"late body", b"/v1/x", (b"expect", b"100-continue"), whole=False)
    world.advance(100)
    world.call().respond(100)
    world.advance(32)
    assert ask.status == 408
    assert world.at_rest


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_client_that_waits_for_a_word_waits_as_long_as_for_an_answer(version: str) -> None:
    world = World(pair=(version, "1.1"), timeouts_body=30, timeouts_first_byte=200)
    ask = world.ask(b"late body", b"/v1/x", (b"expect", b"100-continue"), whole=False)
    world.advance(201)
    assert ask.status == 504
    world.advance(60)
    assert world.at_rest


def test_a_client_is_not_late_while_the_upstream_does_not_read() -> None:
    world = World(timeouts_body=30, timeouts_first_byte=1000)
    client = world.client()
    request = post(b"x" * 1_000_000)
    client.send(request[:1000])
    upstream = world.upstream()
    upstream.transport.pause_reading()
    client.send(request[1000:])
    world.advance(300)
    assert client.take() == b""
    upstream.transport.resume_reading()
    world.run()
    upstream.send(reply(b"ok"))
    world.run()
    assert client.take() == reply(b"ok")


def test_idle_clients_are_let_go() -> None:
    world = World(timeouts_keepalive=75)
    silent, served = world.client(), world.client()
    served.send(get())
    world.upstream().send(reply(b"[]"))
    world.advance(74)
    assert not silent.is_gone
    assert not served.is_gone
    world.advance(2)
    assert silent.eof
    assert served.eof
    assert served.take() == reply(b"[]")
    assert world.proxy.connections == 0


def test_idle_upstreams_are_let_go_before_they_go() -> None:
    world = World(timeouts_upstream_keepalive=4)
    client = world.client()
    client.send(get())
    upstream = world.upstream()
    upstream.send(reply(b"[]"))
    world.advance(3.9)
    assert not upstream.is_gone
    world.advance(0.2)
    assert upstream.is_gone


def test_silent_streams_show_signs_of_life_where_wanted() -> None:
    world = World(sse_keepalive=15)
    client = world.client()
    client.send(post(b"{}"))
    upstream = world.upstream()
    upstream.send(SSE_HEAD)
    world.run()
    client.take()
    world.advance(31)
    assert client.take() == chunk(b":\n\n") * 2
    upstream.send(chunk(b"data: 1\n\n"))
    world.advance(14)
    assert client.take() == chunk(b"data: 1\n\n")


@pytest.mark.parametrize("half", [b"data: ha", b"data: 1\n", b"data: 1\r\n"])
def test_a_sign_of_life_never_breaks_an_event(half: bytes) -> None:
    world = World(sse_keepalive=15)
    client = world.client()
    client.send(post(b"{}"))
    world.upstream().send(SSE_HEAD + chunk(half))
    world.run()
    client.take()
    world.advance(100)
    assert client.take() == b""


def test_there_is_no_sign_of_life_where_there_is_no_room() -> None:
    world = World(sse_keepalive=1)
    client = world.client()
    client.send(post(b"{}"))
    client.transport.pause_reading()
    event = b"data: %b\n\n" % (b"x" * 1000)
    upstream = world.upstream()
    upstream.send(SSE_HEAD)
    for _ in range(200):  # each by itself, so that the last one that leaves is whole
        upstream.send(chunk(event))
        world.run()
    held = transport_of(client).get_write_buffer_size()
    assert held > 0
    world.advance(100)
    assert transport_of(client).get_write_buffer_size() == held
    client.transport.resume_reading()
    world.advance(3)
    assert client.take().count(b":\n\n") in (2, 3)


def test_there_are_no_signs_of_life_by_default() -> None:
    world = World()
    client = world.client()
    client.send(post(b"{}"))
    world.upstream().send(SSE_HEAD)
    world.run()
    client.take()
    world.advance(200)
    assert client.take() == b""


class TestLimits:
    """What is too much is refused before it costs anything."""

    def test_a_declared_body_over_the_limit_is_413_and_reaches_nobody(self) -> None:
        world = World(max_body=1000)
        client = world.client()
        client.half_open = True
        client.send(post(b"x" * 1001))
        world.run()
        answer = client.take()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert code_of(answer) == "body_too_large"
        assert not world.upstreams

    def test_a_body_that_turns_out_over_the_limit_is_413(self) -> None:
        world = World(max_body=1000)
        client = world.client()
        client.half_open = True
        client.send(b"POST /v1/x HTTP/1.1\r\n%btransfer-encoding: chunked\r\n\r\n" % HOST)
        client.send(chunk(b"x" * 600))
        upstream = world.upstream()
        client.send(chunk(b"x" * 600))
        world.run()
        answer = client.take()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert upstream.is_gone
        assert not upstream.received.endswith(b"0\r\n\r\n")
        assert world.at_rest

    def test_a_body_of_exactly_the_limit_passes(self) -> None:
        world = World(max_body=1000)
        client = world.client()
        client.send(post(b"x" * 1000))
        world.upstream().send(reply(b"ok"))
        world.run()
        assert client.take() == reply(b"ok")

    def test_requests_over_the_limit_are_503(self) -> None:
        world = World(limits_requests=1)
        first, second = world.client(), world.client()
        first.send(get())
        world.run()
        second.send(get())
        world.run()
        answer = second.take()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in answer
        world.upstream().send(reply(b"[]"))
        world.run()
        second.send(get())
        world.upstream().send(reply(b"[]"))
        world.run()
        assert second.take() == reply(b"[]")

    def test_connections_over_the_limit_are_503(self) -> None:
        world = World(limits_connections=2)
        kept = [world.client(), world.client()]
        extra = world.client()
        answer = extra.take()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in answer
        assert extra.eof
        assert not any(client.is_gone for client in kept)
        kept[0].transport.close()
        world.run()
        assert not world.client().is_gone


class TestDrain:
    """Stopping in order: what is under way ends, nothing begins."""

    def test_exchanges_finish_and_their_connections_close(self) -> None:
        world = World()
        idle, busy = world.client(), world.client()
        busy.send(get())
        upstream = world.upstream()
        world.proxy.drain()
        world.run()
        assert idle.eof
        assert not busy.is_gone
        upstream.send(reply(b"[]"))
        world.run()
        assert b"\r\nconnection: close\r\n" in busy.take()
        assert busy.eof
        assert world.proxy.connections == 0

    def test_a_pipelined_request_is_not_begun(self) -> None:
        world = World()
        client = world.client()
        client.send(get(b"/v1/a") + get(b"/v1/b"))
        upstream = world.upstream()
        upstream.take()
        world.proxy.drain()
        upstream.send(reply(b"a"))
        world.run()
        assert upstream.take() == b""
        assert client.eof

    def test_what_has_not_finished_is_cut_so_that_clients_can_tell(self) -> None:
        world = World()
        streaming, waiting = world.client(), world.client()
        streaming.send(post(b"{}"))
        upstream = world.upstream()
        upstream.send(SSE_HEAD)
        waiting.send(post(b"{}"))
        world.run()
        world.proxy.drain()
        world.proxy.stop()
        world.run()
        assert b'"code":"shutting_down"' in streaming.take()
        assert waiting.take().startswith(b"HTTP/1.1 503 ")
        assert streaming.eof
        assert waiting.eof
        assert all(end.is_gone for end in world.upstreams)


def test_a_bug_in_one_exchange_leaves_the_others_their_deadlines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(timeouts_first_byte=30)
    client = world.client()
    client.send(post(b"{}"))
    world.upstream()

    def check(exchange: Exchange, now: float) -> None:
        monkeypatch.undo()
        raise RuntimeError

    monkeypatch.setattr(Exchange, "check", check)
    with pytest.raises(RuntimeError):
        world.advance(1)
    world.advance(30)
    assert code_of(client.take()) == "upstream_timeout"


def test_a_request_that_leaves_slowly_is_on_its_way() -> None:
    """All of it has been written, and the upstream takes it in steps."""
    world = World(pair=("1.1", "2"), timeouts_first_byte=30)
    client = world.client()
    client.send(post(b"x" * 100_000))
    upstream = world.upstream()
    upstream.send(settings())
    for _ in range(4):
        world.advance(20)
        assert client.take() == b""
        upstream.send(window(0, 10_000) + window(1, 10_000))
        world.run()
    world.advance(29)
    assert client.take() == b""
    world.advance(2)
    assert client.take().startswith(b"HTTP/1.1 504 ")
