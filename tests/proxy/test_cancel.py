"""The cancel sweep (test_pairs_cancel.py) for what HTTP/1.1 alone has: bytes that come one by one,
pipelining, `100 Continue` before a body, and heads that are none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from link import bytewise
from sweep import WAYS, Scenario, Way, sweep
from world import World, get, post, reply


def byte_by_byte(world: World) -> Iterator[None]:
    world.split = bytewise
    client = world.client()
    client.send(post(b'{"model":"m"}'))
    yield
    world.upstreams[-1].send(reply(b'{"answer":42}'))
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


def no_http(world: World) -> Iterator[None]:
    world.split = bytewise
    world.client().send(get(b"/v1/a", b"x-a\xff: 1"))
    yield
    world.client().send(get(b"/v1/b"))
    yield
    world.upstreams[-1].send(b"HTTP/1.1 200 OK\r\nx-a\xff: 1\r\n\r\n")
    yield


SCENARIOS: list[Scenario] = [byte_by_byte, pipelined, expectation, no_http]


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
