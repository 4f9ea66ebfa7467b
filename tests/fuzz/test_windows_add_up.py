"""Clients come and go while an upstream says what it likes, by the rules: in the end every byte of
the connection's window is granted or about to be, and nothing is left of any stream."""

from __future__ import annotations

import gzip
from random import Random
from typing import Any

from frames import data, raw, rst, settings, window
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st
from link import Raw
from mutation import fuzzed
from world import World, get, post, transport_of

GZIPPED = gzip.compress(bytes(range(256)))
REQUESTS = [
    get(),
    post(b"{}"),
    post(bytes(200_000)),
    b"HEAD /v1/x HTTP/1.1\r\nhost: h\r\n\r\n",
    b"POST /v1/x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
]
STATUS = [(b":status", status) for status in (b"200", b"200", b"200", b"204", b"304", b"103")]
ABOUT = [
    (b"x-y", b"z"),
    (b"content-encoding", b"gzip"),
    (b"content-encoding", b"br"),
    (b"content-length", b"5"),
    (b"content-type", b"text/event-stream"),
]
PAYLOADS = [b"", b"x", b"12345", GZIPPED, GZIPPED[:99], b"data: 1\n\n"]
WINDOWS, LIMITS = [0, 10, 65535], [0, 1, 5, 100]


def head(chance: Random, number: int) -> bytes:
    section = [chance.choice(STATUS), chance.choice(ABOUT)]
    return raw(1, chance.choice([4, 4, 5]), number, Encoder().encode(section))


def padded(chance: Random, number: int) -> bytes:
    return raw(0, 8 | chance.randint(0, 1), number, b"\3" + chance.choice(PAYLOADS) + bytes(3))


SAYINGS = [
    *[head] * 6,
    *[lambda chance, number: data(number, chance.choice(PAYLOADS), chance.random() < 0.4)] * 5,
    padded,
    lambda chance, number: raw(1, 5, number, Encoder().encode([(b"x-t", b"1")])),
    lambda chance, number: rst(number, chance.choice([0, 2, 7, 8])),
    lambda chance, number: window(chance.choice([0, number]), 1 << 16),
    lambda chance, number: settings(INITIAL_WINDOW_SIZE=chance.choice(WINDOWS)),
    lambda chance, number: settings(MAX_CONCURRENT_STREAMS=chance.choice(LIMITS)),
]


def connections(world: World) -> list[tuple[Raw, Any]]:
    """Those to upstreams that are open, from both ends."""
    ends = [end for end in world.upstreams if not end.is_gone]
    return [(end, transport_of(end).protocol.connection) for end in ends]


@fuzzed
@given(st.integers(0, 1 << 32))
def test_windows_add_up(seed: int) -> None:
    chance = Random(seed)
    world = World(pair=("1.1", "2"), limits_upstream_connections=2, compression_responses="auto")
    clients: list[Raw] = []
    for _ in range(chance.randint(3, 25)):
        clients.append(world.client())
        clients[-1].send(chance.choice(REQUESTS))
        world.run()
        for upstream, connection in connections(world):
            newest = connection._engine.highest_outbound_stream_id
            numbers = range(1, max(newest, 1) + 1, 2)
            said = [chance.choice(SAYINGS)(chance, chance.choice(numbers)) for _ in range(5)]
            upstream.send(b"".join([settings(), *said]))
        if chance.random() < 0.3:
            chance.choice(clients).transport.close()
    for client in clients:
        client.transport.die()
    world.run()
    assert all(exchange.bug is None for exchange in world.ended) and not world.proxy.exchanges
    for _, connection in connections(world):
        own = connection._engine._window
        assert own._left + own._taken == own._most
        assert not (connection._streams or connection._unsent or connection._engine._streams)
        assert not (connection._writer._ready or connection._growth._extra)
