"""Whole exchanges in memory: what goes in at one end comes out at the other."""

from __future__ import annotations

import pytest
from link import Split
from world import SSE_HEAD, World, chunk, get, post, reply

BODY = b'{"model": "m",  "messages": [{"role":"user","content":"\\u00e9 \xc3\xa9"}]}\n'


def body_of(message: bytes) -> bytes:
    return message.partition(b"\r\n\r\n")[2]


def test_bodies_pass_unchanged_both_ways(split: Split) -> None:
    world = World(split)
    client = world.client()
    client.send(post(BODY))
    upstream = world.upstream()
    assert body_of(upstream.take()) == BODY
    upstream.send(reply(b'{ "choices":[ ] }'))
    world.run()
    assert body_of(client.take()) == b'{ "choices":[ ] }'
    assert world.at_rest


def test_the_next_request_uses_the_same_connections() -> None:
    world = World()
    client = world.client()
    for number in range(3):
        client.send(post(BODY))
        upstream = world.upstream()
        assert body_of(upstream.take()) == BODY
        upstream.send(reply(b"%d" % number))
        world.run()
        assert body_of(client.take()) == b"%d" % number
    assert len(world.upstreams) == 1
    assert not client.is_gone


def test_a_head_and_its_body_leave_in_one_write() -> None:
    world = World()
    client = world.client()
    client.send(post(BODY))
    upstream = world.upstream()
    upstream.send(reply(b"{}"))
    world.run()
    assert upstream.transport.peer.writes == [2]
    assert client.transport.peer.writes == [2]


def test_every_event_leaves_in_the_turn_in_which_it_came() -> None:
    world = World()
    client = world.client()
    client.send(post(BODY))
    upstream = world.upstream()
    upstream.send(SSE_HEAD)
    world.run()
    client.take()
    for event in (b"data: 1\n\n", b": comment\n\n", b"data: 2\r\n\r\n", b"data: hal", b"f\n\n"):
        # Straight into the proxy, so that the wire's own turns do not count.
        upstream.transport.peer.protocol.data_received(chunk(event))
        world.loop.turn()
        assert client.transport.peer.under_way or client.received
        world.run()
        assert client.take() == chunk(event)
    upstream.send(b"0\r\n\r\n")
    world.run()
    assert client.take() == b"0\r\n\r\n"
    assert world.at_rest


def test_events_that_come_together_stay_apart() -> None:
    world = World()
    client = world.client()
    client.send(post(BODY))
    upstream = world.upstream()
    upstream.send(SSE_HEAD + chunk(b"data: 1\n\n") + chunk(b"data: 2\n\n"))
    world.run()
    assert client.take().endswith(chunk(b"data: 1\n\n") + chunk(b"data: 2\n\n"))


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_replies_without_a_body_end_with_their_head(status: bytes) -> None:
    world = World()
    client = world.client()
    client.send(get())
    world.upstream().send(b"HTTP/1.1 %b\r\nx-a: 1\r\n\r\n" % status)
    world.run()
    assert client.take() == b"HTTP/1.1 %b\r\nx-a: 1\r\n\r\n" % status
    assert world.at_rest


def test_head_keeps_the_length_that_get_would_have() -> None:
    world = World()
    client = world.client()
    client.send(get().replace(b"GET", b"HEAD", 1))
    world.upstream().send(b"HTTP/1.1 200 OK\r\ncontent-length: 717\r\n\r\n")
    world.run()
    assert client.take() == b"HTTP/1.1 200 OK\r\ncontent-length: 717\r\n\r\n"
    assert world.at_rest
