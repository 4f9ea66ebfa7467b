"""Requests that two servers could read in two ways: refused, answered, and never forwarded."""

from __future__ import annotations

import json

import pytest
from link import Split
from world import World

HEADER_BYTES = 8 << 10
LONG = b"x" * (HEADER_BYTES + 1)


def request(*lines: bytes, first: bytes = b"POST /v1/x HTTP/1.1", body: bytes = b"") -> bytes:
    return b"\r\n".join((first, *lines)) + b"\r\n\r\n" + body


HOST = b"host: proxy"

CASES = {
    "length and chunks": (request(HOST, b"content-length: 5", b"transfer-encoding: chunked"), 400),
    "chunks and length": (request(HOST, b"transfer-encoding: chunked", b"content-length: 5"), 400),
    "two equal lengths": (request(HOST, b"content-length: 5", b"content-length: 5"), 400),
    "two lengths": (request(HOST, b"content-length: 5", b"content-length: 6"), 400),
    "a list of lengths": (request(HOST, b"content-length: 5, 5"), 400),
    "a signed length": (request(HOST, b"content-length: +5"), 400),
    "a negative length": (request(HOST, b"content-length: -5"), 400),
    "a hex length": (request(HOST, b"content-length: 0x5"), 400),
    "an empty length": (request(HOST, b"content-length:"), 400),
    "a length with a space": (request(HOST, b"content-length: 1 2"), 400),
    "a huge length": (request(HOST, b"content-length: " + b"9" * 30), 400),
    "equal lengths behind an odd line": (
        request(HOST, b"content-length: 5", b"content-length: 5", first=b"post /v1/x HTTP/1.1"),
        400,
    ),
    "another coding": (request(HOST, b"transfer-encoding: gzip, chunked"), 501),
    "identity": (request(HOST, b"transfer-encoding: identity"), 501),
    "chunked twice": (request(HOST, b"transfer-encoding: chunked, chunked"), 501),
    "a tab in the coding": (request(HOST, b"transfer-encoding: \x0bchunked"), 400),
    "two codings": (
        request(HOST, b"transfer-encoding: chunked", b"transfer-encoding: chunked"),
        400,
    ),
    "chunks in HTTP/1.0": (
        request(HOST, b"transfer-encoding: chunked", first=b"POST /v1/x HTTP/1.0"),
        400,
    ),
    "a space before the colon": (request(HOST, b"content-length : 5"), 400),
    "a folded line": (request(HOST, b"x-a: 1", b" transfer-encoding: chunked"), 400),
    "a line without a colon": (request(HOST, b"transfer-encoding"), 400),
    "an empty name": (request(HOST, b": x"), 400),
    "a bare line feed": (request(HOST, b"x-a: 1\ntransfer-encoding: chunked"), 400),
    "a bare return": (request(HOST, b"x-a: 1\rtransfer-encoding: chunked"), 400),
    "only bare line feeds": (b"GET /v1/x HTTP/1.1\nhost: proxy\n\n", 400),
    "NUL in a value": (request(HOST, b"x-a: 1\x002"), 400),
    "a control in a value": (request(HOST, b"x-a: 1\x012"), 400),
    "DEL in a value": (request(HOST, b"x-a: 1\x7f"), 400),
    "no host": (request(b"x-a: 1"), 400),
    "two hosts": (request(HOST, b"host: other"), 400),
    "two equal hosts": (request(HOST, HOST), 400),
    "a host with a path": (request(b"host: proxy/v1"), 400),
    "a host with a space": (request(b"host: a b"), 400),
    "a host with a user": (request(b"host: user@proxy"), 400),
    "a space in the target": (request(HOST, first=b"GET /v1/x y HTTP/1.1"), 400),
    "a tab in the target": (request(HOST, first=b"GET /v1/x\ty HTTP/1.1"), 400),
    "a byte over 127 in the target": (request(HOST, first=b"GET /v1/\xff HTTP/1.1"), 400),
    "a relative target": (request(HOST, first=b"GET v1/x HTTP/1.1"), 400),
    "a fragment for a scheme": (request(HOST, first=b"GET file:///v1/x HTTP/1.1"), 400),
    "a method with a bracket": (request(HOST, first=b"GE(T /v1/x HTTP/1.1"), 400),
    "two spaces": (request(HOST, first=b"GET  /v1/x HTTP/1.1"), 400),
    "no version": (request(HOST, first=b"GET /v1/x"), 400),
    "HTTP/2.0": (request(HOST, first=b"GET /v1/x HTTP/2.0"), 505),
    "HTTP/1.2": (request(HOST, first=b"GET /v1/x HTTP/1.2"), 505),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "TLS without an end": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "a fragment": (request(HOST, first=b"GET /v1/x#y HTTP/1.1"), 400),
    "a fragment behind a host": (request(HOST, first=b"GET http://proxy/v1/x#y HTTP/1.1"), 400),
    "a long head": (request(HOST, b"x-a: " + LONG), 431),
    "a long head without an end": (b"GET /v1/x HTTP/1.1\r\nx-a: " + 2 * LONG, 431),
    "many fields": (request(HOST, *[b"x: y"] * 200), 431),
}


@pytest.mark.parametrize("case", list(CASES))
def test_an_ambiguous_request_is_refused(case: str, split: Split) -> None:
    raw, status = CASES[case]
    world = World(split, limits_header_bytes=HEADER_BYTES)
    client = world.client()
    client.half_open = True
    client.send(raw)
    world.run()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    assert client.eof
    assert not world.upstreams
    assert world.at_rest


BAD_CHUNKS = {
    "no digits": b"\r\nabc\r\n",
    "a sign": b"+3\r\nabc\r\n",
    "a prefix": b"0x3\r\nabc\r\n",
    "a space before the end": b"3 \r\nabc\r\n",
    "a bare line feed": b"3\nabc\r\n",
    "a line feed in the extension": b"3;a\nb\r\nabc\r\n",
    "a return in the extension": b"3;a\rb\r\nabc\r\n",
    "more than the size": b"3\r\nabcd\r\n",
    "less than the size": b"3\r\nab\r\n0\r\n\r\n",
    "no end of the payload": b"3\r\nabc0\r\n\r\n",
    "a huge size": b"f" * 17 + b"\r\n",
    "a long extension": b"3;" + b"a" * 5000 + b"\r\nabc\r\n",
    "a length in the trailers": b"0\r\ncontent-length: 5\r\n\r\n",
    "a coding in the trailers": b"0\r\ntransfer-encoding: chunked\r\n\r\n",
    "a folded trailer": b"0\r\nx: a\r\n b\r\n\r\n",
}


@pytest.mark.parametrize("case", list(BAD_CHUNKS))
def test_a_broken_chunk_ends_the_request_on_both_sides(case: str, split: Split) -> None:
    world = World(split)
    client = world.client()
    client.half_open = True
    client.send(request(HOST, b"transfer-encoding: chunked", body=BAD_CHUNKS[case]))
    world.run()
    assert client.take().startswith(b"HTTP/1.1 4")
    assert client.eof
    for upstream in world.upstreams:
        assert upstream.is_gone or not upstream.received  # dialled too late to be told anything
        assert not upstream.received.endswith(b"0\r\n\r\n")
    assert world.at_rest


def test_what_follows_a_refused_request_is_not_read(split: Split) -> None:
    world = World(split)
    client = world.client()
    client.half_open = True
    smuggled = request(HOST, first=b"GET /v1/smuggled HTTP/1.1")
    client.send(CASES["length and chunks"][0] + smuggled)
    world.run()
    assert client.take().count(b"HTTP/1.1 ") == 1
    assert not world.upstreams


def test_a_body_that_looks_like_a_request_stays_a_body(split: Split) -> None:
    world = World(split)
    client = world.client()
    inner = request(HOST, first=b"GET /v1/inner HTTP/1.1")
    client.send(request(HOST, b"content-length: %d" % len(inner), body=inner))
    upstream = world.upstream()
    assert upstream.take().endswith(b"\r\n\r\n" + inner)
    assert len(world.upstreams) == 1
