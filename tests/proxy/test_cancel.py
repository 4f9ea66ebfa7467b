"""The cancel sweep: end an exchange at every turn of the loop, in every scenario, in every way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from link import bytewise
from sweep import WAYS, Scenario, Way, sweep
from world import SSE_HEAD, World, chunk, get, post, reply


def plain(world: World) -> Iterator[None]:
    client = world.client()
    client.send(post(b'{"model":"m"}'))
    yield
    world.upstreams[-1].send(reply(b'{"answer":42}'))
    yield


def plain_byte_by_byte(world: World) -> Iterator[None]:
    world.split = bytewise
    yield from plain(world)


def stream(world: World) -> Iterator[None]:
    client = world.client()
    client.send(post(b'{"stream":true}'))
    yield
    upstream = world.upstreams[-1]
    upstream.send(SSE_HEAD)
    yield
    for number in range(3):
        upstream.send(chunk(b"data: %d\n\n" % number))
        yield
    upstream.send(b"0\r\n\r\n")
    yield


def upload(world: World) -> Iterator[None]:
    client = world.client()
    request = post(b"x" * 300_000)
    for start in range(0, len(request), 60_000):
        client.send(request[start : start + 60_000])
        yield
    world.upstreams[-1].send(reply(b"{}"))
    yield


def slow_reader(world: World) -> Iterator[None]:
    client = world.client()
    client.send(get())
    yield
    client.transport.pause_reading()
    world.upstreams[-1].send(reply(b"y" * 600_000))
    yield
    client.transport.resume_reading()
    yield


def stale_and_once_more(world: World) -> Iterator[None]:
    client = world.client()
    client.send(get())
    yield
    world.upstreams[-1].send(reply(b"1"))
    yield
    client.send(post(b"{}"))
    yield
    world.upstreams[0].transport.die()
    yield
    world.upstreams[-1].send(reply(b"2"))
    yield


def queue_for_the_only_connection(world: World) -> Iterator[None]:
    first, second = world.client(), world.client()
    first.send(get(b"/v1/first"))
    second.send(get(b"/v1/second"))
    yield
    world.upstreams[-1].send(reply(b"1"))
    yield
    world.upstreams[-1].send(reply(b"2"))
    yield


def pipelined(world: World) -> Iterator[None]:
    client = world.client()
    client.send(get(b"/v1/a") + post(b"{}") + get(b"/v1/c"))
    yield
    for _ in range(3):
        world.upstreams[-1].send(reply(b"ok"))
        yield


def expectation(world: World) -> Iterator[None]:
    client = world.client()
    head, _, body = post(b"{}", b"/v1/x", b"expect: 100-continue").partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    yield
    world.upstreams[-1].send(b"HTTP/1.1 100 Continue\r\n\r\n")
    yield
    client.send(body)
    yield
    world.upstreams[-1].send(reply(b"ok"))
    yield


def early_answer(world: World) -> Iterator[None]:
    client = world.client()
    client.send(post(b"x" * 100_000)[:50_000])
    yield
    world.upstreams[-1].send(reply(b"no", status=b"413 Too Large"))
    yield


SCENARIOS: list[Scenario] = [
    plain,
    plain_byte_by_byte,
    stream,
    upload,
    slow_reader,
    stale_and_once_more,
    queue_for_the_only_connection,
    pipelined,
    expectation,
    early_answer,
]


def the_next_one_works(world: World) -> None:
    client = world.client()
    client.send(get(b"/v1/next"))
    upstream = world.upstream()
    assert b"GET /v1/next " in upstream.take()
    upstream.send(reply(b"works"))
    world.run()
    assert client.take() == reply(b"works")


@pytest.mark.parametrize("end", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_is_left_behind(scenario: Scenario, end: Way) -> None:
    sweep(lambda: World(limits_upstream_connections=1), scenario, end, the_next_one_works)
