"""Byte identity of captured HTTP/1.1 traffic, to the byte of its heads, in pieces of any size; any
bodies, and all versions, are in test_pairs_identity.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from link import Split
from wire import read_request, read_response
from world import HOST, World

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
