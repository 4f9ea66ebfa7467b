"""Two proxies in a row over HTTP/1.1 or HTTP/2: what crosses between them is small, and what the
application and the model see is byte for byte the same."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from edge import JSON, ON, SSE, Edge
from ends import Ask, Call, H1Server
from hypothesis import given, settings
from hypothesis import strategies as st
from world import Pair, World

from m2mproxy.codec.events import EventsDecoder, EventsEncoder
from m2mproxy.proxy import codings


def chat(words: int) -> bytes:
    source = random.Random(words)
    text = " ".join(source.choice(["model", "answer", "token", "zebra"]) for _ in range(words))
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()


def two(http: str = "1.1", **more: Any) -> Edge:
    """Without a link between them, which is another file's matter (test_link.py)."""
    return Edge(World(**ON), http, link_enabled="false", **more)


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_the_second_request_is_coded_and_all_is_the_same(http: str) -> None:
    edge = two(http)
    body, reply = chat(600), json.dumps({"choices": [chat(300).decode()]}).encode()
    for number in range(3):
        ask, call = edge.exchange(body, reply)
        assert (call.body, call.get(b"content-encoding")) == (body, None)
        assert call.get(b"content-length") == b"%d" % len(body)
        assert (ask.body, ask.get(b"content-encoding"), ask.complete) == (reply, None, True)
        ledger = edge.ended[-1].ledger
        assert ledger is not None
        assert ledger.upstream_in.coding == codings.static_form().decode()
        assert ledger.upstream_in.wire < ledger.upstream_in.plain / 2
        if number:
            assert ledger.upstream_out.coding == codings.static_form().decode()
            assert ledger.upstream_out.wire < ledger.upstream_out.plain / 2
    assert edge.at_rest and edge.core.at_rest


@pytest.mark.parametrize("http", ["1.1", "2"])
@pytest.mark.parametrize("client", ["1.1", "2"])
def test_as_many_fields_as_one_takes_two_take(client: Any, http: str) -> None:
    """Both add some, up and down."""
    core = World(pair=(client, "1.1"), api_key="sk-core", **ON)
    edge = Edge(core, http, link_enabled="false", api_key="sk-edge")
    body = chat(600)
    most = [JSON, *[(b"x-%d" % at, b"1") for at in range(127)]]
    for _ in range(2):  # it is coded, the second time
        ask = edge.ask(body, b"/v1/chat/completions", *most)
        call = core.call()
        call.reply(body, *most)
        edge.run()
        assert (ask.status, ask.body, call.body) == (200, body, body)
        assert {*ask.headers} >= {*most}
        assert {*call.headers} >= {*most}
    assert edge.ended[-1].ledger.upstream_out.coding != "identity"  # type: ignore[union-attr]
    assert edge.ask(body, b"/v1/chat/completions", *most, (b"x-more", b"1")).status == 431


@pytest.mark.parametrize("size", [2 << 10, 8 << 10])
@pytest.mark.parametrize("http", ["1.1", "2"])
@pytest.mark.parametrize("client", ["1.1", "2"])
def test_fields_as_large_as_one_takes_two_take(client: Any, http: str, size: int) -> None:
    """Few and many, up, down and behind a body, however each version counts them."""
    core = World(pair=(client, "1.1"), limits_header_bytes=size, api_key="sk-core", **ON)
    edge = Edge(core, http, limits_header_bytes=size, api_key="sk-edge")
    body = chat(600)
    one = len(b"x-100") + 5
    many = [(b"x-%d" % at, b"v" * 5) for at in range(100, 200)]
    rest = size - 100 * one
    for fields in [(b"x", b"v" * (size - 1))], [*many, (b"y", b"v" * (rest - 1))]:
        ask = edge.start(body, b"/v1/chat/completions", *fields, whole=False)
        ask.send(body)
        ask.end()
        call = core.call()
        call.respond(200, *fields)
        call.send(b"{}")
        call.end(*fields)
        edge.run()
        assert (ask.status, ask.body, call.body) == (200, b"{}", body)
        assert {*ask.headers} >= {*fields}
        assert {*call.headers} >= {*fields}
        assert ask.trailers == fields
        name, value = fields[-1]
        more = [*fields[:-1], (name, value + b"v")]
        assert edge.ask(body, b"/v1/chat/completions", *more).status == 431


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_events_cross_coded_and_one_by_one(http: str) -> None:
    edge = two(http)
    ask = edge.ask(chat(10), b"/v1/chat/completions", JSON)
    call = edge.core.call()
    call.respond(200, SSE)
    sent = []
    for number in range(200):
        event = b'data: {"id":"chatcmpl-1","choices":[{"delta":{"content":" w%d"}}]}\n\n' % number
        sent.append(event)
        call.send(event)
        edge.run()
        assert ask.chunks == sent
    call.end()
    edge.run()
    assert ask.complete
    ledger = edge.ended[-1].ledger
    assert ledger is not None
    assert ledger.upstream_in.plain == sum(map(len, sent))
    assert ledger.upstream_in.wire < ledger.upstream_in.plain / 4


EVENTS = [b'data: {"choices":[{"delta":{"content":" w%d"}}]}\n\n' % at for at in range(50)]


def in_events(world: World, ask: Ask, encoder: EventsEncoder | None = None) -> None:
    """The upstream answers in EVENTS, which another m2mproxy has coded with the `encoder`."""
    call = world.call()
    if encoder is None:
        call.respond(200, SSE)
    else:
        call.respond(200, SSE, (b"content-encoding", codings.static_form()))
    for event in EVENTS:
        for piece in [event] if encoder is None else encoder.feed(event) + encoder.flush():
            call.send(piece)
        world.run()
    for piece in encoder.finish() if encoder is not None else []:
        call.send(piece)
    call.end()
    world.run()
    assert ask.complete


def test_an_edge_that_spells_no_words_has_the_older_form() -> None:
    world = World(**ON)
    sizes = []
    for name, spells in ((codings.static_form(), False), (codings.events_form(), True)):
        accepts = (b"accept-encoding", b", ".join([name, codings.static_form(), b"zstd"]))
        ask = world.ask(chat(10), b"/v1/chat/completions", JSON, accepts)
        in_events(world, ask)
        assert ask.get(b"content-encoding") == name
        decoder = EventsDecoder(1 << 20, spells=spells)
        assert decoder.feed(ask.body) == EVENTS
        decoder.finish()
        sizes.append(len(ask.body))
    assert sizes[1] < sizes[0]


def test_a_core_that_spells_no_words_is_read() -> None:
    world = World(**ON)
    ask = world.ask(chat(10), b"/v1/chat/completions", JSON)
    asked = world.call().get(b"accept-encoding") or b""
    assert asked.startswith(codings.events_form() + b", " + codings.static_form() + b", ")
    in_events(world, ask, EventsEncoder(spells=False))
    assert (ask.body, ask.get(b"content-encoding")) == (b"".join(EVENTS), None)


def test_no_request_is_coded_in_the_form_for_events() -> None:
    world = World(**ON)
    form = (b"content-encoding", codings.events_form())
    ask = world.ask(b"\x00", b"/v1/chat/completions", JSON, form)
    world.run()
    assert ask.status == 415 and not world.calls


def test_a_reply_of_unknown_length_crosses_in_what_both_know_and_waits_for_nothing() -> None:
    edge = two()
    ask = edge.ask(chat(10), b"/v1/chat/completions", JSON)
    call = edge.core.call()
    call.respond(200, JSON)
    parts = [chat(200), b"\n", chat(300)]
    for part in parts:
        call.send(part)
        edge.run()
        assert ask.chunks[-1] == part
    call.end()
    edge.run()
    assert ask.complete and ask.body == b"".join(parts)
    ledger = edge.ended[-1].ledger
    assert ledger is not None
    assert ledger.upstream_in.coding == codings.static_form().decode()
    assert ledger.upstream_in.wire < ledger.upstream_in.plain / 3


def test_an_application_that_takes_gzip_gets_gzip_from_the_edge() -> None:
    edge = two()
    ask, _ = edge.exchange(chat(500), chat(500), (b"accept-encoding", b"gzip"))
    ledger = edge.ended[-1].ledger
    assert ledger is not None
    assert ledger.upstream_in.coding == codings.static_form().decode()
    assert ask.get(b"content-encoding") == b"gzip"


def test_a_core_with_other_dictionaries_is_spoken_to_in_what_both_know() -> None:
    """Its form has another name, so it is not used, in either direction."""
    edge = two()
    edge.exchange(chat(500), chat(500))
    readable = edge.context.routes.upstream.requests.readable
    readable._shown = frozenset({b"m2m-00000000", b"zstd"})
    _, call = edge.exchange(chat(500), chat(500))
    assert call.body == chat(500)
    ledger = edge.ended[-1].ledger
    assert ledger is not None and ledger.upstream_out.coding == "zstd"


def test_a_stream_that_breaks_behind_the_core_breaks_for_the_application() -> None:
    edge = two()
    ask = edge.ask(chat(10), b"/v1/chat/completions", JSON)
    call = edge.core.call()
    call.respond(200, SSE)
    call.send(b"data: 1\n\n")
    edge.run()
    call.abort()
    edge.run()
    assert ask.broken and not ask.complete
    assert ask.body.startswith(b'data: 1\n\ndata: {"error"')
    assert edge.at_rest and edge.core.at_rest


def test_a_core_that_was_replaced_by_another_server_gets_plain_bytes() -> None:
    edge = two()
    for _ in range(2):
        edge.exchange(chat(500), chat(500))
    edge.core = Stranger(edge.core)  # type: ignore[assignment]
    for wire in edge.wires:
        wire.die()
    edge.run()
    ask = edge.ask(chat(500), b"/v1/chat/completions", JSON)
    edge.run()
    assert ask.status == 200
    assert ask.body == chat(500)


class Stranger:
    """In place of a core: answers coded requests 415, as llama.cpp does, and plain ones with their
    own body."""

    def __init__(self, core: World) -> None:
        self.pair = core.pair
        self.proxy = self
        self.loop = core.loop

    def accept(self) -> Any:
        return H1Server(self.answer)

    def answer(self, call: Call) -> None:
        def respond() -> None:
            if call.get(b"content-encoding") is not None:
                call.reply(b"", status=415)
            else:
                call.reply(call.body)

        self.loop.call_soon(respond)


bodies = st.binary(max_size=400) | st.integers(1000, 100_000).map(
    lambda size: random.Random(size).randbytes(size)
)
texts = st.integers(0, 3000).map(chat)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(bodies | texts, bodies | texts), min_size=1, max_size=4))
def test_any_bodies_cross_unchanged(several: list[tuple[bytes, bytes]]) -> None:
    for http in ("1.1", "2"):
        edge = two(http)
        for body, reply in several:
            ask, call = edge.exchange(body, reply)
            assert (call.body, ask.body, ask.complete) == (body, reply, True)


def test_pairs_are_four(pair: Pair) -> None:
    """The application's version and the model server's change nothing of it."""
    core = World(pair=pair, **ON)
    edge = Edge(core)
    for _ in range(2):
        ask, call = edge.exchange(chat(500), chat(400))
        assert (call.body, ask.body) == (chat(500), chat(400))
