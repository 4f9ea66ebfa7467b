"""Law 3 over HTTP/1.1, beside what test_pairs_pressure.py tries: requests sent ahead, replies that
close, chunks of a byte."""

from __future__ import annotations

from link import WIRE
from world import World, chunk, get, post, reply

BOUND = 400 * 1024
MEGABYTES = b"z" * (8 << 20)


def test_what_is_sent_ahead_is_bounded_and_not_lost() -> None:
    world = World()
    client = world.client()
    requests = post(b"x" * 1000) * 1000
    client.send(requests)
    upstream = world.upstream()
    assert len(requests) - client.transport.under_way < BOUND
    upstream.take()
    for _ in range(1000):
        upstream.send(reply(b"ok"))
        world.run()
    assert client.take() == reply(b"ok") * 1000


def test_an_upload_nobody_reads_any_more_does_not_pile_up() -> None:
    """The upstream has answered; the rest of the request is thrown away for a while, then cut."""
    world = World()
    client = world.client()
    client.half_open = True
    client.send(post(MEGABYTES)[: 1 << 20])
    upstream = world.upstream()
    upstream.send(reply(b"no", status=b"413 Too Large"))
    world.run()
    assert client.take().endswith(b"no")
    client.send(MEGABYTES[: 1 << 20])
    world.run()
    assert client.transport.under_way <= WIRE
    world.advance(6)
    assert world.proxy.connections == 0


def test_a_slow_reader_gets_all_of_a_reply_that_closes() -> None:
    """Closing has a deadline for clients that read nothing, not for those that take their time."""
    world = World(timeouts_close=5)
    client = world.client()
    client.transport.pause_reading()
    client.send(get(b"/v1/models", b"connection: close"))
    body = b"z" * 400_000
    world.upstream().send(reply(body))
    world.run()
    for _ in range(100):
        client.transport.resume_reading()
        world.loop.turn()
        client.transport.pause_reading()
        world.advance(4)
    client.transport.resume_reading()
    world.run()
    assert client.take().endswith(b"\r\n\r\n" + body)
    assert client.eof


def test_a_client_that_reads_nothing_of_a_reply_that_closes_is_given_up() -> None:
    world = World(timeouts_close=5)
    client = world.client()
    client.transport.pause_reading()
    client.send(get(b"/v1/models", b"connection: close"))
    world.upstream().send(reply(b"z" * 150_000))
    world.advance(11)
    assert world.proxy.connections == 0


def test_small_chunks_are_counted_with_what_they_cost_us() -> None:
    """A chunk of one byte is an object of fifty: 64 KiB of them would be megabytes."""
    world = World()
    world.accepting = False
    client = world.client()
    client.send(b"POST /v1/x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
    world.run()
    for _ in range(250):
        client.send(chunk(b"x") * 40)
        world.run()
    assert client.transport.under_way > 40_000
