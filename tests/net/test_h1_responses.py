"""Replies that could be read in two ways: the upstream's fault, and nothing of them passes."""

from __future__ import annotations

import json

import pytest
from link import Split
from world import World, get, reply

OK = b"HTTP/1.1 200 OK"


def head(*lines: bytes, first: bytes = OK) -> bytes:
    return b"\r\n".join((first, *lines)) + b"\r\n\r\n"


CASES = {
    "length and chunks": head(b"content-length: 5", b"transfer-encoding: chunked"),
    "chunks and length": head(b"transfer-encoding: chunked", b"content-length: 5"),
    "two equal lengths": head(b"content-length: 1", b"content-length: 1") + b"x",
    "two equal lengths in HTTP/1.0": head(
        b"content-length: 1", b"content-length: 1", first=b"HTTP/1.0 200 OK"
    ),
    "two lengths": head(b"content-length: 1", b"content-length: 2"),
    "a list of lengths": head(b"content-length: 1, 1"),
    "a list of lengths in HTTP/1.0": head(b"content-length: 1, 1", first=b"HTTP/1.0 200 OK"),
    "a signed length": head(b"content-length: +1"),
    "a huge length": head(b"content-length: " + b"9" * 19),
    "another coding": head(b"transfer-encoding: gzip, chunked"),
    "identity": head(b"transfer-encoding: identity"),
    "two codings": head(b"transfer-encoding: chunked", b"transfer-encoding: chunked"),
    "chunks in HTTP/1.0": head(b"transfer-encoding: chunked", first=b"HTTP/1.0 200 OK"),
    "a space before the colon": head(b"content-length : 5"),
    "a folded line": head(b"x: 1", b" content-length: 5"),
    "a folded first line": head(b" content-length: 5"),
    "a bare line feed": head(b"x: 1\ncontent-length: 5"),
    "a bare return": head(b"x: 1\rcontent-length: 5"),
    "NUL in a value": head(b"x: a\x00b"),
    "a control in a value": head(b"x: a\x01b"),
    "DEL in a value": head(b"x: a\x7fb"),
    "a control in the reason": head(first=b"HTTP/1.1 200 O\x01K"),
    "a name with a bracket": head(b"x(: 1"),
    "an empty name": head(b": 1"),
    "no colon": head(b"content-length"),
    "a status of two digits": head(first=b"HTTP/1.1 20 OK"),
    "a status of four digits": head(first=b"HTTP/1.1 2000 OK"),
    "a status below 100": head(first=b"HTTP/1.1 099 OK"),
    "a switch of protocols": head(b"upgrade: x", first=b"HTTP/1.1 101 Switching Protocols"),
    "HTTP/0.9": head(first=b"HTTP/0.9 200 OK"),
    "HTTP/1.2": head(first=b"HTTP/1.2 200 OK"),
    "no version": b"hello\r\n\r\n",
}


@pytest.mark.parametrize("case", list(CASES))
def test_an_ambiguous_reply_is_502(case: str, split: Split) -> None:
    world = World(split)
    client = world.client()
    client.send(get())
    upstream = world.upstream()
    upstream.send(CASES[case])
    world.run()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 502 ")
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert error["code"] == "upstream_protocol_error"
    assert upstream.is_gone
    assert not client.is_gone
    assert world.at_rest


@pytest.mark.parametrize(
    "case", ["two equal lengths", "length and chunks", "a switch of protocols"]
)
def test_nor_does_one_pass_behind_an_informational_reply(case: str, split: Split) -> None:
    world = World(split)
    client = world.client()
    client.send(get())
    upstream = world.upstream()
    upstream.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + CASES[case])
    world.run()
    assert client.take().startswith(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 502 ")
    assert upstream.is_gone


def test_a_reply_before_any_request_is_not_the_next_requests() -> None:
    """It came on a connection that was dialled for somebody who left."""
    world = World()
    world.accepting = False
    client = world.client()
    client.send(get())
    world.run()
    client.transport.close()
    world.run()
    early = world.accept()
    early.send(reply(b"poison"))
    world.run()
    assert early.is_gone
    world.accepting = True
    second = world.client()
    second.send(get())
    world.upstream().send(reply(b"honest"))
    world.run()
    assert second.take() == reply(b"honest")


def test_a_retry_does_not_take_another_idle_connection() -> None:
    """That may be as stale as the first: an upstream that restarts leaves all of them behind."""
    world = World()
    clients = [world.client(), world.client()]
    for client in clients:
        client.send(get())
    world.run()
    for upstream in world.upstreams:
        upstream.take()
        upstream.send(reply(b""))
    world.run()
    assert len(world.upstreams) == 2
    clients[0].take()
    clients[0].send(get())
    world.run()
    (stale,) = [upstream for upstream in world.upstreams if upstream.received]
    (idle,) = [upstream for upstream in world.upstreams if upstream is not stale]
    stale.transport.die()
    fresh = world.upstream()
    assert idle.received == b""
    assert fresh not in (stale, idle)
    fresh.send(reply(b"second"))
    world.run()
    assert clients[0].take() == reply(b"second")
    assert not idle.is_gone


def test_a_status_of_later_times_passes() -> None:
    world = World()
    client = world.client()
    client.send(get())
    world.upstream().send(reply(b"", status=b"599 Odd"))
    world.run()
    assert client.take() == reply(b"", status=b"599 Odd")
