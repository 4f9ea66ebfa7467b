"""Law 3: whoever does not read holds back whoever sends, at a few hundred KiB."""

from __future__ import annotations

import h11
import pytest
from link import WIRE, Raw
from world import SSE_HEAD, World, chunk, get, post, reply

BOUND = 400 * 1024
MEGABYTES = b"z" * (8 << 20)


def stalled(world: World, response: bytes) -> tuple[Raw, Raw]:
    """A client that asks, then reads nothing of the answer."""
    client = world.client()
    client.send(get())
    upstream = world.upstream()
    client.transport.pause_reading()
    upstream.send(response)
    world.run()
    return client, upstream


def payload(response: bytes) -> bytes:
    """The body as h11 reads it."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(response)
    pieces = []
    while not isinstance(event := reader.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            pieces.append(bytes(event.data))
    return b"".join(pieces)


@pytest.mark.parametrize(
    "response",
    [
        reply(MEGABYTES),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        + chunk(MEGABYTES)
        + b"0\r\n\r\n",
        SSE_HEAD + chunk(b"data: 0123456789\n\n") * 40_000 + b"0\r\n\r\n",
    ],
    ids=["counted", "one chunk", "events"],
)
def test_a_client_that_stops_reading_stops_the_upstream(response: bytes) -> None:
    world = World()
    client, upstream = stalled(world, response)
    taken = len(response) - upstream.transport.under_way
    assert 0 < taken < BOUND
    client.transport.resume_reading()
    world.run()
    assert upstream.transport.under_way == 0
    answer = client.take()
    assert payload(answer) == payload(response)
    assert answer.endswith(response[-5:])
    assert world.at_rest


def test_an_upstream_that_stops_reading_stops_the_client() -> None:
    world = World()
    client = world.client()
    request = post(MEGABYTES)
    client.send(request[:1000])
    upstream = world.upstream()
    upstream.transport.pause_reading()
    client.send(request[1000:])
    world.run()
    assert len(request) - client.transport.under_way < BOUND
    upstream.transport.resume_reading()
    world.run()
    assert upstream.take().partition(b"\r\n\r\n")[2] == MEGABYTES
    upstream.send(reply(b"ok"))
    world.run()
    assert client.take() == reply(b"ok")


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


def test_one_stalled_client_costs_the_others_nothing() -> None:
    world = World()
    stalled(world, reply(MEGABYTES))
    other = world.client()
    other.send(get())
    world.upstream().send(reply(b"[]"))
    world.run()
    assert other.take() == reply(b"[]")


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
