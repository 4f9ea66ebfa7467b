"""Byte identity: captured traffic and arbitrary bodies, in pieces of any size, both ways."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from link import Split, randomly
from wire import read_request, read_response
from world import HOST, World, chunk, post, reply

CAPTURED = Path(__file__).parent / "captured"
REQUESTS = sorted(CAPTURED.glob("*.request"))
RESPONSES = sorted(CAPTURED.glob("*.response"))

# What belongs to a connection, or what we are bound to replace or add (RFC 9110 7.2, 7.6).
OURS = {b"host", b"connection", b"keep-alive", b"transfer-encoding", b"via", b"forwarded"}


def end_to_end(headers: object) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name not in OURS]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_captured_requests_arrive_as_they_were_sent(path: Path, split: Split) -> None:
    raw = path.read_bytes()
    world = World(split)
    client = world.client()
    client.send(raw)
    expected, body = read_request(raw)
    request, got = read_request(world.upstream().take())
    assert (request.method, request.target) == (expected.method, expected.target)
    assert end_to_end(request.headers) == end_to_end(expected.headers)
    assert got == body


@pytest.mark.parametrize("path", RESPONSES, ids=lambda path: path.stem)
def test_captured_replies_arrive_as_they_were_sent(path: Path, split: Split) -> None:
    raw = path.read_bytes()
    method = "HEAD" if "head" in path.stem else "GET"
    world = World(split)
    client = world.client()
    client.send(b"%b /v1/x HTTP/1.1\r\n%b\r\n" % (method.encode(), HOST))
    world.upstream().send(raw)
    world.run()
    expected, body = read_response(raw, method)
    response, got = read_response(client.take(), method)
    assert (response.status_code, response.reason) == (expected.status_code, expected.reason)
    assert end_to_end(response.headers) == end_to_end(expected.headers)
    assert got == body
    assert world.at_rest


def noise(size: int) -> bytes:
    """So many bytes of every kind; drawn as a size, for Hypothesis would rather not draw them."""
    return random.Random(size).randbytes(size)


bodies = st.binary(max_size=300) | st.integers(60_000, 200_000).map(noise)


@settings(max_examples=60, deadline=None)
@given(bodies, bodies, st.integers(0, 999), st.lists(st.integers(1, 40_000), max_size=5))
def test_any_body_passes_in_any_pieces(
    up: bytes, down: bytes, seed: int, chunks: list[int]
) -> None:
    split = randomly(seed) if len(up) + len(down) < 1000 else lambda data: (data,)
    world = World(split)
    client = world.client()
    client.send(post(up))
    upstream = world.upstream()
    assert read_request(upstream.take())[1] == up
    if chunks:
        upstream.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        rest = down
        for size in chunks:
            if rest[:size]:
                upstream.send(chunk(rest[:size]))
                rest = rest[size:]
        upstream.send((chunk(rest) if rest else b"") + b"0\r\n\r\n")
    else:
        upstream.send(reply(down))
    world.run()
    assert read_response(client.take())[1] == down
    assert world.at_rest
