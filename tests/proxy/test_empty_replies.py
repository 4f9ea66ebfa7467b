"""Coded replies that have lost their body, or all but its first bytes: an error, or seen to be cut.

An intermediary can end a response with its head, as HAProxy 2.6 does after a 1xx over HTTP/2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from edge import JSON, ON, SSE, Edge
from ends import Ask, Call, Fields, H2Call
from world import Pair, World

from m2mproxy.codec import after, coding, frame, static
from m2mproxy.codec.after import Before
from m2mproxy.codec.events import EventsEncoder
from m2mproxy.proxy import codings

SAID = " ".join(map(str, range(200)))
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": SAID}]}).encode()
REPLY = json.dumps({"choices": [{"message": {"content": "a reply " * 400}}]}).encode()
PATH = b"/v1/chat/completions"
STANDARD = [b"zstd", b"br", b"gzip"]
# By what they are, since some of their names change with the dictionaries.
OURS = {
    "events": codings.events_form(),
    "static": codings.static_form(),
    "m2m": b"m2m",
    "link": b"m2m-link",
    **{name.decode(): name for name in STANDARD},
    "both": b"gzip, " + codings.static_form(),
}
coded = pytest.mark.parametrize("name", list(OURS.values()), ids=list(OURS))


def asked(pair: Pair, *fields: tuple[bytes, bytes], **settings: Any) -> tuple[Ask, Call, World]:
    world = World(pair=pair, **{**ON, **settings})
    ask = world.ask(BODY, PATH, JSON, *fields)
    return ask, world.call(), world


def only_head(call: Call, *fields: tuple[bytes, bytes], status: int = 200) -> None:
    """The response is its head, and says so in the version's own way."""
    if isinstance(call, H2Call):
        head: Fields = [(b":status", b"%d" % status), *fields]
        call.connection.h2.send_headers(call.id, head, end_stream=True)
        call.connection.flush()
        return
    call.respond(status, *fields, *([] if status == 204 else [(b"content-length", b"0")]))
    call.end()


def is_lost(ask: Ask, world: World) -> None:
    """The client was told so."""
    world.run()
    assert (ask.status, ask.complete, ask.get(b"content-encoding")) == (502, True, None)
    assert json.loads(ask.body)["error"]["code"] == "upstream_protocol_error"
    assert world.at_rest


@coded
def test_a_coded_reply_that_is_its_head_is_an_error(name: bytes, pair: Pair) -> None:
    ask, call, world = asked(pair)
    only_head(call, JSON, (b"content-encoding", name))
    is_lost(ask, world)


@coded
def test_an_error_keeps_its_status_though_its_body_is_lost(name: bytes, pair: Pair) -> None:
    ask, call, world = asked(pair)
    only_head(call, JSON, (b"content-encoding", name), (b"retry-after", b"7"), status=429)
    world.run()
    assert (ask.status, ask.complete, ask.body) == (429, True, b"")
    assert (ask.get(b"content-encoding"), ask.get(b"retry-after")) == (None, b"7")


@coded
def test_a_coded_reply_of_no_bytes_is_an_error(name: bytes, pair: Pair) -> None:
    ask, call, world = asked(pair)
    call.reply(b"", JSON, (b"content-encoding", name))
    is_lost(ask, world)


def test_a_sealed_reply_that_is_its_head_is_an_error(tmp_path: Path, pair: Pair) -> None:
    key = tmp_path / "key"
    key.write_text("01" * 32)
    key.chmod(0o600)
    ask, call, world = asked(pair, peer_psk_file=str(key), compression_responses="off")
    named = call.get(b"accept-encoding")
    assert named is not None and named.startswith(b"m2m-aead-")
    only_head(call, JSON, (b"content-encoding", named))
    is_lost(ask, world)


@coded
@pytest.mark.parametrize(
    "method,status", [(b"HEAD", 200), (b"GET", 204), (b"GET", 205), (b"GET", 304)]
)
def test_what_has_no_body_may_say_how_it_would_be_coded(
    name: bytes, method: bytes, status: int, pair: Pair
) -> None:
    world = World(pair=pair, **ON)
    ask = world.ask(b"", b"/v1/x", method=method)
    only_head(world.call(), JSON, (b"content-encoding", name), status=status)
    world.run()
    assert (ask.status, ask.complete, ask.get(b"content-encoding")) == (status, True, name)


@pytest.mark.parametrize("name", STANDARD)
def test_an_empty_reply_in_what_the_client_asked_for_is_the_clients(
    name: bytes, pair: Pair
) -> None:
    ask, call, world = asked(pair, (b"accept-encoding", name))
    call.reply(b"", JSON, (b"content-encoding", name))
    world.run()
    assert (ask.status, ask.complete, ask.body) == (200, True, b"")
    assert ask.get(b"content-encoding") == name


@pytest.mark.parametrize("fields", [(), ((b"accept-encoding", b"br"),)], ids=["no", "another"])
def test_an_empty_reply_in_what_nobody_asked_for_passes_as_it_would_without_us(
    fields: Any, pair: Pair
) -> None:
    ask, call, world = asked(pair, *fields, upstream="http://127.0.0.1:9/v1")
    assert b"gzip" not in (call.get(b"accept-encoding") or b"")
    call.reply(b"", JSON, (b"content-encoding", b"gzip"))
    world.run()
    assert (ask.status, ask.complete, ask.get(b"content-encoding")) == (200, True, b"gzip")


def ended_empty(call: Call, name: bytes, status: int) -> None:
    """The response has a body of which nothing comes, and nobody knows that before its end."""
    call.respond(status, JSON, (b"content-encoding", name))
    call.end()


@pytest.mark.parametrize("key", [key for key in OURS if key != "link"])
def test_an_error_keeps_its_status_also_where_its_end_shows_that_it_is_empty(
    key: str, pair: Pair
) -> None:
    ask, call, world = asked(pair)
    ended_empty(call, OURS[key], 429)
    world.run()
    assert (ask.status, ask.complete, ask.body) == (429, True, b"")
    assert ask.get(b"content-encoding") is None


@pytest.mark.parametrize("name", STANDARD)
@pytest.mark.parametrize("http", ["1.1", "2"])
def test_an_empty_reply_in_a_coding_of_the_clients_is_one_behind_two(
    name: bytes, http: str
) -> None:
    edge = Edge(World(**ON), http)
    for _ in range(3):
        ask = edge.ask(BODY, PATH, JSON, (b"accept-encoding", name))
        ended_empty(edge.core.call(), name, 200)
        edge.run()
        assert (ask.status, ask.complete, ask.get(b"content-encoding")) == (200, True, name)
        assert not ask.body or coding.decode(name, ask.body, 0) == b""
    assert edge.at_rest and edge.core.at_rest


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_an_empty_reply_of_a_model_is_one_behind_two(http: str) -> None:
    edge = Edge(World(**ON), http)
    for _ in range(3):
        ask, call = edge.exchange(BODY, b"")
        assert (ask.status, ask.complete, ask.body) == (200, True, b"")
        ask = edge.ask(BODY, PATH, JSON)
        call = edge.core.call()
        call.respond(200, JSON)  # nobody knows yet that nothing comes
        call.end()
        edge.run()
        assert (ask.status, ask.complete, ask.body) == (200, True, b"")
    assert edge.at_rest and edge.core.at_rest


# -- its end only shows that there was none ------------------------------------------------------


def made(name: bytes) -> bytes:
    """REPLY in that coding."""
    if name == codings.events_form():
        encoder = EventsEncoder()
        return b"".join([*encoder.feed(b"data: %b\n\n" % REPLY), *encoder.finish()])
    if name == codings.static_form():
        return static.encode(REPLY, static.Way.RESPONSE)
    return frame.encode(REPLY) if name == b"m2m" else coding.encode(name, REPLY)


FORMS = [(key, name) for key, name in OURS.items() if key not in ("link", "both")]


@pytest.mark.parametrize("name", [name for _, name in FORMS], ids=[key for key, _ in FORMS])
@pytest.mark.parametrize("size", [0, 1, 5])
@pytest.mark.parametrize("trailers", [(), ((b"x-sum", b"1"),)], ids=["ended", "trailers"])
def test_a_coded_reply_cut_in_its_first_bytes_never_looks_whole(
    name: bytes, size: int, trailers: Any, pair: Pair
) -> None:
    ask, call, world = asked(pair)
    media = SSE if name == codings.events_form() else JSON
    call.respond(200, media, (b"content-encoding", name))
    if size:
        call.send(made(name)[:size])
    call.end(*trailers)
    world.run()
    assert ask.broken and not ask.complete
    fault = world.ended[-1].fault
    assert fault is not None and fault.code == "upstream_protocol_error"
    assert world.at_rest


def test_what_informs_after_the_head_is_no_part_of_the_reply() -> None:
    """A 1xx there is trailers that do not end the stream, so it is malformed (RFC 9113 8.1)."""
    ask, call, world = asked(("2", "2"))
    assert isinstance(call, H2Call)
    call.respond(200, JSON)
    call.send(b"{")
    world.run()
    headers = call.connection.h2.encoder.encode([(b":status", b"103")])
    call.connection.send(len(headers).to_bytes(3, "big") + b"\1\4" + call.id.to_bytes(4, "big"))
    call.connection.send(headers)
    world.run()
    assert (ask.informational, ask.body) == ([], b"{")
    assert ask.broken and not ask.complete


def test_a_reply_that_is_refused_was_kept_for_no_time() -> None:
    """Its head never went on: the log had the clock's own time there, below zero."""
    ask, call, world = asked(("1.1", "1.1"))
    call.reply(b"", JSON, (b"content-encoding", b"gzip"))
    is_lost(ask, world)
    assert 0 <= world.ended[-1].added < 1


# -- on a link -----------------------------------------------------------------------------------

HAVE = (b"m2m-link", b"have, reply")
AFTER = (b"content-encoding", b"m2m-link")


def linked() -> tuple[Ask, H2Call, World]:
    """A request on a link, whose core is the test's."""
    world = World(pair=("1.1", "2"), **ON)
    world.upstream_settings = dict(world.links.announce)
    world.ask(BODY, PATH, JSON)  # which goes before it is known to be a link
    world.call().reply(b"{}", JSON)
    world.run()
    ask = world.ask(BODY, PATH, JSON)
    call = world.call()
    assert call.get(b"content-encoding") == b"m2m-link" and isinstance(call, H2Call)
    return ask, call, world


@pytest.mark.parametrize("fields", [(HAVE,), ()], ids=["read", "unsaid"])
def test_a_reply_on_a_link_that_is_its_head_is_an_error(fields: Any) -> None:
    ask, call, world = linked()
    only_head(call, JSON, AFTER, *fields)
    is_lost(ask, world)


def test_a_reply_after_a_request_that_nobody_says_to_have_read_is_an_error() -> None:
    ask, call, world = linked()
    before = Before.of(BODY, b"")
    call.reply(after.encode(REPLY, before=before), JSON, AFTER)
    is_lost(ask, world)


@pytest.mark.parametrize("media", [JSON, SSE], ids=["body", "events"])
@pytest.mark.parametrize("size", [0, 1, 5, -1, None])
@pytest.mark.parametrize("trailers", [(), ((b"x-sum", b"1"),)], ids=["ended", "trailers"])
def test_a_reply_on_a_link_that_is_cut_never_looks_whole(
    media: tuple[bytes, bytes], size: int | None, trailers: Any
) -> None:
    ask, call, world = linked()
    plain = b"data: %b\n\n" % REPLY if media == SSE else REPLY
    encoder = EventsEncoder(before=Before.of(BODY, b""))
    events = b"".join([*encoder.feed(plain), *encoder.finish()])
    whole = events if media == SSE else after.encode(plain, before=Before.of(BODY, b""))
    call.respond(200, media, AFTER, HAVE)
    call.send(whole[:size])
    call.end(*trailers)
    world.run()
    if size is None:
        assert (ask.complete, ask.body) == (True, plain)
    else:
        assert ask.broken and not ask.complete
        assert world.ended[-1].error == "upstream_protocol_error"
    assert world.at_rest
