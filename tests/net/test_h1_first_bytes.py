"""What comes before a head: nothing that a reader could go round in circles with."""

from __future__ import annotations

import itertools

import pytest
from link import Split
from world import World, get, reply


@pytest.mark.parametrize("lines", [1, 2, 7])
def test_some_empty_lines_before_a_request_are_passed_over(lines: int, split: Split) -> None:
    world = World(split)
    client = world.client()
    client.send(b"\r\n" * lines + get())
    upstream = world.upstream()
    assert upstream.take().startswith(b"GET /v1/models ")
    upstream.send(reply(b"[]"))
    world.run()
    assert client.take() == reply(b"[]")


def test_nothing_but_empty_lines_is_no_request() -> None:
    world = World()
    client = world.client()
    client.send(b"\r\n" * 20)
    world.run()
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert client.eof


@pytest.mark.parametrize("start", [b"\rX", b"\r\r\n", b"\r\n\rGET", b"\r\x00"])
def test_a_lone_return_at_the_start_is_refused(start: bytes, split: Split) -> None:
    """Once it made the reader go round for ever; tools/soak found it."""
    world = World(split)
    client = world.client()
    client.send(start + b" / HTTP/1.1\r\n\r\n")
    world.run()
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert client.eof
    assert world.at_rest


def test_every_short_beginning_comes_to_an_end() -> None:
    """All sequences of up to five of the bytes that mean something to a reader."""
    for length in range(1, 6):
        parts_of = itertools.product((b"\r", b"\n", b"G", b" ", b":", b"\r\n\r\n"), repeat=length)
        for parts in parts_of:
            world = World()
            client = world.client()
            client.send(b"".join(parts))
            world.run()
            assert client.received[:9] in (b"", b"HTTP/1.1 ")
            client.transport.close()
            world.run()
            assert world.proxy.connections == 0


@pytest.mark.parametrize("start", [b"\rX", b"\r\r\n", b"\n", b"X\r\n\r\n"])
def test_an_upstream_cannot_do_it_either(start: bytes, split: Split) -> None:
    world = World(split)
    client = world.client()
    client.send(get())
    world.upstream().send(start + reply(b"[]"))
    world.run()
    assert client.take().startswith(b"HTTP/1.1 502 ")
    assert world.at_rest


def test_tls_to_a_plain_port_is_told_so_at_once() -> None:
    world = World()
    client = world.client()
    client.send(b"\x16")
    world.run()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"This port speaks http, and the client began with TLS" in answer
    assert [fault.code for fault in world.refusals] == ["wrong_scheme"]
    assert client.eof
    assert world.at_rest


def test_an_upstream_that_answers_in_tls_is_told_so() -> None:
    world = World()
    client = world.client()
    client.send(get())
    world.upstream().send(b"\x15\x03\x03\x00\x02\x02\x32")  # decode_error
    world.run()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"what was sent is TLS" in answer
    assert world.at_rest


def test_an_upstream_that_says_nothing_to_plain_text_may_speak_tls() -> None:
    """Most servers of https close without a word."""
    world = World()
    client = world.client()
    client.send(get())
    world.upstream().transport.close()
    world.run()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"closed the connection before its response (is it https?)" in answer


def test_an_empty_line_behind_a_request_begins_no_head() -> None:
    """Some clients end a body so. The connection is idle, and has as long as an idle one has."""
    world = World()
    client = world.client()
    client.send(get())
    world.upstream().send(reply(b"[]"))
    world.run()
    client.send(b"\r\n")
    world.advance(60)
    assert not client.eof
    client.send(get())
    world.upstream().send(reply(b"[]"))
    world.run()
    assert client.take() == reply(b"[]") * 2
