"""Single bytes, hosts, limits and order of requests: what test_smuggling.py does not go through."""

from __future__ import annotations

import json

import pytest
from link import Split, bytewise
from world import HOST, World, get, post, reply, transport_of

ALL_BYTES = range(256)


def refused(raw: bytes, world: World | None = None) -> tuple[int, str]:
    """Send `raw`, which must be refused; the status and OpenAI's `code` of the refusal."""
    world = world or World()
    client = world.client()
    client.half_open = True
    client.send(raw)
    world.run()
    answer = client.take()
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert b"\r\nconnection: close" in head
    assert client.eof
    assert not world.upstreams
    assert world.at_rest
    return int(head[9:12]), error["code"]


def forwarded(raw: bytes, split: Split | None = None) -> bytes:
    """Send `raw`, which must be accepted; what the upstream gets."""
    world = World(split) if split else World()
    client = world.client()
    client.send(raw)
    return world.upstream().take()


# -- single bytes -------------------------------------------------------------------------------

CONTROLS = [byte for byte in ALL_BYTES if byte < 0x20 or byte == 0x7F]


@pytest.mark.parametrize("byte", [byte for byte in CONTROLS if byte != 9])
def test_no_control_but_tab_passes_in_a_value(byte: int) -> None:
    assert refused(get(b"/v1/x", b"x-a: a%cb" % byte)) == (400, "bad_request")


@pytest.mark.parametrize("byte", [0x0B, 0x0C, 0x1C, 0x1F, 0x85, 0xA0])
def test_no_odd_space_makes_a_coding_or_a_length(byte: int) -> None:
    """Python's own idea of space is wider than HTTP's."""
    for line in (b"transfer-encoding: %cchunked", b"content-length: 5%c", b"content-length: %c5"):
        status, _ = refused(get(b"/v1/x", line % byte))
        assert status in (400, 501)


@pytest.mark.parametrize("byte", [*CONTROLS, 0x20, *range(0x80, 0x100)])
def test_nothing_but_visible_ascii_passes_in_a_target(byte: int) -> None:
    assert refused(get(b"/v1/x%cy" % byte))[0] == 400


@pytest.mark.parametrize("byte", [*CONTROLS, *b' "(),/:;<=>?@[\\]{}', *range(0x80, 0x100)])
def test_nothing_but_a_token_passes_as_method_or_name(byte: int) -> None:
    assert refused(get().replace(b"GET", b"G%cT" % byte, 1))[0] == 400
    if byte != 0x3A:  # a colon ends the name
        assert refused(get(b"/v1/x", b"x%ca: 1" % byte))[0] == 400


@pytest.mark.parametrize("byte", [9, 0x20, 0x80, 0xA0, 0xFF, *b"\"(),/:;<=>?@[\\]{}'"])
def test_what_may_be_in_a_value_passes_as_it_is(byte: int) -> None:
    assert b"\r\nx-a: a%cb\r\n" % byte in forwarded(get(b"/v1/x", b"x-a: a%cb" % byte))


# -- host ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [b"h:80x", b"h:123456", b"[::1", b"::1", b"h#f", b"h?q", b"h\\x", b"\xc3\xa9", b"<h>"],
)
def test_what_is_no_host_is_refused(host: bytes) -> None:
    raw = b"GET /v1/x HTTP/1.1\r\nhost: %b\r\n\r\n" % host
    assert refused(raw) == (400, "bad_request")


def test_http_1_0_may_come_without_a_host(split: Split) -> None:
    seen = forwarded(b"GET /v1/x HTTP/1.0\r\n\r\n", split)
    assert seen.startswith(b"GET /v1/x HTTP/1.1\r\nhost: upstream:9\r\n")


@pytest.mark.parametrize(
    "target",
    [
        b"http://user@h/v1/x",
        b"http:///v1/x",
        b"http://h?/v1/x",
        b"ftp://h/v1/x",
        b"//h/v1/x/..",
        b"h:80",
        b"*x",
        b"?x",
        b"http:/v1/x",
    ],
)
def test_a_target_that_names_no_path_of_a_host_is_refused(target: bytes) -> None:
    world = World()
    client = world.client()
    client.send(get(target))
    world.run()
    assert client.take()[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 404")
    assert not world.upstreams


def test_an_absolute_target_does_not_make_a_second_host_right() -> None:
    assert refused(get(b"http://h/v1/x", b"host: other")) == (400, "bad_request")
    assert refused(b"GET http://h/v1/x HTTP/1.1\r\n\r\n") == (400, "bad_request")


# -- limits -------------------------------------------------------------------------------------


def head_of_size(size: int) -> bytes:
    """A request of which a name and its value have `size` bytes."""
    start = b"GET /v1/x HTTP/1.1\r\n%bx-long: " % HOST
    return start + b"v" * (size - len(b"x-long")) + b"\r\n\r\n"


def test_a_head_may_be_as_large_as_the_limit(split: Split) -> None:
    world = World(split, limits_header_bytes=1024)
    client = world.client()
    client.send(head_of_size(1024))
    assert world.upstream().take().startswith(b"GET /v1/x ")


def test_a_large_head_may_come_byte_by_byte() -> None:
    world = World(bytewise, limits_header_bytes=128 << 10)
    client = world.client()
    client.send(head_of_size(128 << 10))
    assert world.upstream().take().startswith(b"GET /v1/x ")


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_line_feed_alone_is_seen_wherever_the_head_was_cut(at: int) -> None:
    world = World()
    client = world.client()
    start = b"GET /v1/x HTTP/1.1\r\nx: y"
    for piece in (start, b"\r\nz: 1\n"[: at + 1], b"\r\nz: 1\n"[at + 1 :]):
        client.send(piece)
        world.run()
    assert client.take().startswith(b"HTTP/1.1 400 ")


def test_many_fields_that_end_here_are_taken_out_at_once() -> None:
    world = World(limits_header_count=10_000, limits_header_bytes=1 << 20)
    client = world.client()
    fields = [*[b"te: a"] * 4000, *[b"connection: x%d" % at for at in range(4000)], b"x7: y"]
    client.send(get(b"/v1/x", *fields, b"y: z"))
    sent = world.upstream().take()
    assert b"\r\ny: z\r\n" in sent
    assert b"x7" not in sent
    assert b"\r\nte: a" not in sent


def test_a_head_over_the_limit_is_refused(split: Split) -> None:
    world = World(split, limits_header_bytes=1024)
    assert refused(head_of_size(1025), world) == (431, "headers_too_large")


def test_a_head_may_have_as_many_fields_as_the_limit(split: Split) -> None:
    world = World(split, limits_header_count=8)
    client = world.client()
    client.send(get(b"/v1/x", *[b"x: y"] * 8))  # and Host, which is not counted
    assert world.upstream().take().startswith(b"GET /v1/x ")


def test_one_field_more_is_refused(split: Split) -> None:
    world = World(split, limits_header_count=8)
    raw = get(b"/v1/x", *[b"x: y"] * 9)
    assert refused(raw, world) == (431, "headers_too_large")


# -- one request after the other ----------------------------------------------------------------

SMUGGLER = post(b"12345", b"/v1/x", b"transfer-encoding: chunked")


def test_a_good_request_is_answered_before_a_bad_one_behind_it_is_refused(split: Split) -> None:
    world = World(split)
    client = world.client()
    client.half_open = True
    client.send(get(b"/v1/first") + SMUGGLER)
    upstream = world.upstream()
    assert upstream.take().startswith(b"GET /v1/first ")
    upstream.send(reply(b"[]"))
    world.run()
    answer = client.take()
    assert answer.startswith(reply(b"[]") + b"HTTP/1.1 400 ")
    assert client.eof
    assert upstream.received == b""


def test_a_repeated_head_is_looked_at_as_closely_as_the_first(split: Split) -> None:
    """The connection knows the head by then; it must not know too much."""
    good = post(b"{}")
    bad = good.replace(b"content-length: 2", b"content-length: +2")
    world = World(split)
    client = world.client()
    client.half_open = True
    for _ in range(3):
        client.send(good)
        upstream = world.upstream()
        assert upstream.take().endswith(b"\r\n\r\n{}")
        upstream.send(reply(b""))
        world.run()
        client.take()
    client.send(bad)
    world.run()
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert client.eof
    assert upstream.received == b""


def test_a_body_of_another_length_with_the_same_head_has_that_length(split: Split) -> None:
    world = World(split)
    client = world.client()
    for size in (2, 2, 2, 10, 0, 300, 2):
        client.send(post(b"b" * size))
        upstream = world.upstream()
        assert upstream.take().partition(b"\r\n\r\n")[2] == b"b" * size
        upstream.send(reply(b""))
        world.run()
        assert client.take() == reply(b"")
    assert len(world.upstreams) == 1


@pytest.mark.parametrize("options", [b"close", b"Close", b"keep-alive, close", b"x,close"])
def test_a_client_that_wants_it_closed_gets_it_closed(options: bytes, split: Split) -> None:
    world = World(split)
    client = world.client()
    client.half_open = True
    client.send(get(b"/v1/first", b"connection: " + options) + get(b"/v1/second"))
    upstream = world.upstream()
    assert upstream.take().startswith(b"GET /v1/first ")
    upstream.send(reply(b"[]"))
    world.run()
    assert b"\r\nconnection: close\r\n" in client.take()
    assert client.eof
    assert upstream.received == b""


# -- requests that come before the answers are read -----------------------------------------------


def test_of_many_requests_that_are_answered_at_once_there_is_one_in_a_turn() -> None:
    """Others are not kept waiting for all of them."""
    world = World()
    client = world.client()
    client.send(get(b"/unknown") * 1000)
    world.run()
    assert client.take().count(b"HTTP/1.1 404 Not Found\r\n") == 1000
    assert transport_of(client).writes == [2] * 1000


def test_who_reads_no_answers_of_ours_gets_no_further_ones() -> None:
    world = World()
    client = world.client()
    ours = transport_of(client)
    client.transport.reading = False
    for _ in range(10):
        client.send(get(b"/unknown") * 500)
        world.run()
    assert ours.get_write_buffer_size() < 2 * 64 * 1024
    client.transport.resume_reading()
    world.run()
    assert client.take().count(b"HTTP/1.1 404 Not Found\r\n") == 5000
    assert not client.is_gone


def test_who_reads_no_answers_asks_the_upstream_nothing_more() -> None:
    """Though none has a body, which would wait."""
    world = World()
    client = world.client()
    client.transport.reading = False
    count, asked = 2000, 0
    client.send(get(b"/v1/nothing") * count)
    answer = b"HTTP/1.1 204 No Content\r\nx-long: %b\r\n\r\n" % (b"x" * 1000)
    while world.upstream().take():
        asked += 1
        world.upstream().send(answer)
    assert asked < 200
    client.transport.resume_reading()
    while world.upstream().take():
        asked += 1
        world.upstream().send(answer)
    assert asked == client.take().count(b"HTTP/1.1 204 No Content\r\n") == count
    assert world.at_rest
