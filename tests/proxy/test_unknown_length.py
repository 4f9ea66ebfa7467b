"""Requests that do not say how long they are: those whose end comes soon go like those that do, and
all others go as they come. Whatever they do, the model server sees their bytes or a break."""

from __future__ import annotations

import json
from typing import Any

import pytest
from edge import JSON, ON, Edge
from ends import Ask
from known_words import Words
from link import SPLITS, Split
from test_link import KEY, check, conversation, core_of, crossed, say, words
from world import World

from m2mproxy.guard.scanner import Scanner
from m2mproxy.http.body import CHUNK_COST, Body, Gate
from m2mproxy.http.faults import ClientGone
from m2mproxy.http.flow import Flow
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request
from m2mproxy.net.connection import Stream
from m2mproxy.proxy import sizing
from m2mproxy.proxy.gather import whole
from m2mproxy.proxy.held import Held, Holds
from m2mproxy.proxy.ledger import Ledger
from m2mproxy.proxy.sizing import LONGEST, SILENCE, Sizing

PATH = b"/v1/chat/completions"
ROOM = 1 << 20
EACH_CLIENT = pytest.mark.parametrize("version", ["1.1", "2"])
EACH_SPLIT = pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)


class Spoken(Edge):
    """Whose clients speak the given version."""

    def __init__(self, version: str, core: World | None = None, **more: Any) -> None:
        super().__init__(core or World(**ON), "2", **more)
        self.pair = (version, "2")


def linked(version: str = "1.1", **more: Any) -> Spoken:
    """Two proxies with a link on which turns have crossed, and room for a few bodies."""
    edge = Spoken(version, holds=Holds(ROOM), **more)
    for body, message in list(conversation(2)):
        say(edge, body, message)
    assert edge.upstream_links.is_open
    return edge


def begin(edge: Edge, *fields: tuple[bytes, bytes]) -> Ask:
    """A request whose body has not begun."""
    return edge.ask(b"", PATH, JSON, KEY, *fields, whole=False, counted=False)


def replied(edge: Edge, ask: Ask, body: bytes) -> None:
    """Answer what came to the model server, as chunked as it was."""
    call = edge.core.call()
    assert (call.body, call.complete, call.get(b"content-length")) == (body, True, None)
    call.reply(b"{}", JSON)
    edge.run()
    assert (ask.status, ask.body, ask.complete) == (200, b"{}", True)


def why(edge: Edge) -> str:
    """What spoke against a coding of the last request that is over."""
    ledger = edge.ended[-1].ledger
    assert ledger is not None and ledger.upstream_out.coding == "identity"
    return ledger.why


def assert_nothing_is_held(edge: Edge) -> None:
    assert edge.context.holds.room.free == ROOM
    assert edge.at_rest and edge.core.at_rest
    assert all(exchange.bug is None for world in (edge, edge.core) for exchange in world.ended)


@EACH_SPLIT
@EACH_CLIENT
def test_a_conversation_goes_by_the_link(version: str, split: Split) -> None:
    edge = Spoken(version, World(split=split, **ON), split=split)
    for number, (body, message) in enumerate(conversation(5)):
        reply = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
        ask = begin(edge)
        for at in range(0, len(body), 500):
            ask.send(body[at : at + 500])
            edge.advance(SILENCE / 10)
        ask.end()
        call = edge.core.call()
        call.reply(reply, JSON)
        edge.run()
        assert (call.body, ask.body, ask.complete) == (body, reply, True)
        if number >= 1:  # nothing was known of the core before
            check(ask, call, body, reply)  # with content-length
            assert call.get(b"transfer-encoding") is None
        if number >= 2:
            assert crossed(edge)[0] == "m2m-link" and crossed(edge)[1] < 150, number
    assert edge.upstream_links.report()["misses"] == 0
    assert edge.at_rest and edge.core.at_rest


@EACH_CLIENT
def test_who_waits_for_the_reply_is_not_held_up_for_longer_than_that(version: str) -> None:
    edge = linked(version)
    before = len(edge.core.calls)
    ask = begin(edge)
    ask.send(b'{"messages":')
    edge.advance(SILENCE - 0.1)
    assert len(edge.core.calls) == before
    edge.advance(0.3)
    call = edge.core.call()
    assert (call.body, call.complete) == (b'{"messages":', False)
    assert call.get(b"transfer-encoding") == b"chunked"
    call.respond(200, JSON)
    call.send(b"now")
    edge.run()
    assert (ask.status, ask.body) == (200, b"now")
    ask.send(b"[]")
    edge.run()
    assert call.body == b'{"messages":[]'
    ask.send(b"}")
    ask.end()
    edge.run()
    assert (call.body, call.complete) == (b'{"messages":[]}', True)
    assert edge.context.holds.room.free == ROOM  # though the reply goes on
    call.end()
    edge.run()
    assert ask.complete
    assert_nothing_is_held(edge)


@EACH_CLIENT
def test_one_that_has_sent_nothing_yet_is_not_held_up_either(version: str) -> None:
    edge = linked(version)
    ask = begin(edge)
    edge.advance(SILENCE + 0.2)
    call = edge.core.call()
    assert (call.head, call.body, call.complete) == (True, b"", False)
    ask.send(b"[1]")
    ask.end()
    replied(edge, ask, b"[1]")
    assert_nothing_is_held(edge)


def test_one_that_comes_slowly_goes_on_after_a_while() -> None:
    edge = linked()
    before = len(edge.core.calls)
    ask = begin(edge)
    sent = 0
    while len(edge.core.calls) == before:
        assert sent * SILENCE / 2 < LONGEST + 0.5
        ask.send(b"x")
        sent += 1
        edge.advance(SILENCE / 2)
    assert sent * SILENCE / 2 >= LONGEST
    assert edge.core.call().body == b"x" * sent
    ask.end()
    replied(edge, ask, b"x" * sent)
    assert why(edge) == "no end"
    assert_nothing_is_held(edge)


@EACH_CLIENT
def test_a_large_one_goes_on_with_backpressure(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "MOST_HELD", 200_000)
    edge = linked(version)
    body = words(400_000, 7).encode()[:3_000_000]
    ask = begin(edge)
    edge.core.upstreams[-1].transport.pause_reading()
    for at in range(0, len(body), 50_000):
        ask.send(body[at : at + 50_000])
    ask.end()
    edge.run()
    asker = ask.connection  # type: ignore[attr-defined]
    unsent = asker.transport.under_way
    unsent += sum(len(data) for data, _ in getattr(asker, "unsent", {}).values())
    assert unsent > 1_000_000
    assert 0 < ROOM - edge.context.holds.room.free <= 200_000  # until it has left
    edge.core.upstreams[-1].transport.resume_reading()
    edge.run()
    replied(edge, ask, body)
    assert_nothing_is_held(edge)


def test_one_of_many_small_chunks_takes_no_more_memory_than_a_large_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sizing, "MOST_HELD", 50_000)
    edge = linked()
    ask = begin(edge)
    before = len(edge.core.calls)
    for _ in range(700):
        ask.send(b"x")
        edge.run()
    assert len(edge.core.calls) == before
    for _ in range(100):
        ask.send(b"x")
        edge.run()
    assert len(edge.core.calls) > before
    ask.end()
    replied(edge, ask, b"x" * 800)
    assert why(edge) == "too large"
    assert_nothing_is_held(edge)


def test_one_for_which_there_is_no_room_goes_as_it_is() -> None:
    edge = linked()
    others = []
    for _ in range(2):
        others.append(edge.start(b"", PATH, JSON, KEY, whole=False, counted=False, new=True))
        others[-1].send(b"x" * 450_000)
        edge.run()
    before = len(edge.core.calls)
    body = b'{"x":"%b"}' % (b"y" * 300_000)
    ask = edge.start(b"", PATH, JSON, KEY, whole=False, counted=False, new=True)
    ask.send(body)
    edge.run()
    assert len(edge.core.calls) == before + 1 and not edge.core.call().complete
    ask.end()
    replied(edge, ask, body)
    assert edge.context.holds.report()["refused"] == 1 and why(edge) == "no room"
    for other in others:
        other.abort()
    edge.run()
    assert_nothing_is_held(edge)


@EACH_CLIENT
def test_trailers_reach_the_model_server(version: str) -> None:
    edge = linked(version)
    ask = begin(edge)
    ask.send(b'{"prompt":"%b"}' % (b"x" * 100))
    ask.end((b"x-sum", b"1"))
    call = edge.core.call()
    assert call.trailers == [(b"x-sum", b"1")]
    replied(edge, ask, b'{"prompt":"%b"}' % (b"x" * 100))
    assert why(edge) == "trailers"
    assert_nothing_is_held(edge)


@EACH_CLIENT
@pytest.mark.parametrize("waits", [0, SILENCE + 0.2])
def test_one_that_is_broken_off_never_looks_complete(version: str, waits: float) -> None:
    edge = linked(version)
    before = len(edge.core.calls)
    ask = begin(edge)
    ask.send(b'{"messages":[]}')
    edge.advance(waits)
    ask.abort()
    edge.run()
    for call in edge.core.calls[before:]:
        assert call.broken
    assert len(edge.core.calls) - before == bool(waits)
    assert_nothing_is_held(edge)


def test_one_that_is_no_chunked_body_is_refused_before_anything_goes_on() -> None:
    edge = linked()
    before = len(edge.core.calls)
    client = edge.client()
    head = b"POST %b HTTP/1.1\r\nhost: proxy\r\ncontent-type: application/json\r\n" % PATH
    client.send(head + b"transfer-encoding: chunked\r\n\r\n2\r\n[]\r\nno chunk\r\n")
    edge.run()
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert len(edge.core.calls) == before
    assert_nothing_is_held(edge)


@EACH_CLIENT
def test_who_waits_to_be_asked_is_asked_once(version: str) -> None:
    edge = linked(version)
    ask = begin(edge, (b"expect", b"100-continue"))
    assert ask.informational == [100]
    body, _ = list(conversation(3))[2]
    ask.send(body)
    ask.end()
    call = edge.core.call()
    assert (call.body, call.get(b"expect")) == (body, None)
    assert call.get(b"content-length") == b"%d" % len(body)
    call.reply(b"{}", JSON)
    edge.run()
    assert (ask.informational, ask.status) == ([100], 200)
    assert crossed(edge)[0] == "m2m-link" and crossed(edge)[1] < 150
    assert_nothing_is_held(edge)


def test_its_room_is_free_when_the_answer_begins() -> None:
    edge = linked()
    ask = begin(edge)
    ask.send(list(conversation(3))[2][0])
    ask.end()
    call = edge.core.call()
    assert edge.context.holds.room.free < ROOM
    call.respond(200, JSON)
    edge.run()
    assert ask.status == 200 and edge.context.holds.room.free == ROOM
    call.end()
    edge.run()
    assert_nothing_is_held(edge)


def test_an_empty_one_says_so() -> None:
    edge = linked()
    ask = begin(edge)
    ask.end()
    call = edge.core.call()
    assert (call.body, call.complete, call.get(b"content-length")) == (b"", True, b"0")
    call.reply(b"{}", JSON)
    edge.run()
    assert ask.complete
    assert_nothing_is_held(edge)


@pytest.mark.parametrize("most", [5000, 100_000])
def test_one_that_is_larger_than_any_may_be_is_refused(most: int) -> None:
    edge = linked(max_body=f"{most}")
    before = len(edge.core.calls)
    ask = begin(edge)
    ask.send(b"x" * 2 * most)
    ask.end()
    edge.run()
    assert (ask.status, json.loads(ask.body)["error"]["code"]) == (413, "body_too_large")
    assert all(call.broken for call in edge.core.calls[before:])
    assert_nothing_is_held(edge)


@pytest.mark.parametrize(("size", "length"), [(5000, 5000), (5001, None)])
def test_one_that_is_here_before_it_is_waited_for_is_no_larger_either(
    size: int, length: int | None
) -> None:
    got, request, errors = sized(whole(bytes(size)), 5000)
    assert request.length == length and got[0].ended and got[0].held == size
    assert errors == [None]


def test_one_of_which_not_all_was_taken_has_no_length_though_its_end_is_here() -> None:
    body = Body(lambda: None)
    for _ in range(100):
        body.feed(b"x")
    body.end()
    [got], request, errors = sized(body, 50 * (1 + CHUNK_COST))
    assert request.length is None and errors == [None]
    chunks = iter(got.take, None)
    assert b"".join(map(bytes, chunks)) == b"x" * 100 and got.ended  # type: ignore[arg-type]


def test_one_that_is_broken_already_is_not_waited_for() -> None:
    body, gone = Body(lambda: None), ClientGone()
    body.feed(b"[]")
    body.fail(gone)
    got, request, errors = sized(body, 5000)
    assert (got, request.length, errors) == ([], None, [gone])


def sized(body: Body, limit: int) -> tuple[list[Body], Request, list[BaseException | None]]:
    """What becomes of a body in one go, of its request, and how that ends."""
    request = Request(b"POST", PATH, b"proxy", Headers([JSON]), None)
    held, ledger, stream = Held(Holds()), Ledger(), Stream(body, Gate(), "", b"")
    got: list[Body] = []
    errors: list[BaseException | None] = []

    async def run() -> None:
        waiting = Sizing(lambda: 0.0)
        got.append(await waiting.of(request, stream, body, limit, held, ledger))

    Flow(run(), errors.append).start()
    return got, request, errors


def test_one_that_is_missed_or_refused_goes_again() -> None:
    edge = linked()
    window = core_of(edge)._window
    while window.drop_oldest():
        pass
    body, _ = list(conversation(3))[2]
    ask = begin(edge)
    ask.send(body)
    ask.end()
    call = edge.core.call()
    call.reply(b"{}", JSON)
    edge.run()
    assert (call.body, call.get(b"content-length")) == (body, b"%d" % len(body))
    assert edge.upstream_links.report()["misses"] == 1
    assert (ask.status, ask.complete) == (200, True)
    assert_nothing_is_held(edge)


def test_without_a_link_it_goes_in_the_static_form_and_is_not_waited_for_elsewhere() -> None:
    edge = Edge(World(**ON), "1.1", link_enabled=False)
    body = json.dumps({"messages": [{"role": "user", "content": "the weather in Paris " * 100}]})
    for number in range(2):
        ask = begin(edge)
        assert len(edge.core.calls) == 1  # the first goes on at once: nothing is known yet
        ask.send(body.encode())
        ask.end()
        call = edge.core.call()
        assert call.body == body.encode()
        length = None if number == 0 else b"%d" % len(body)
        assert call.get(b"content-length") == length
        call.reply(b"{}", JSON)
        edge.run()
        assert ask.complete
    assert crossed(edge)[0].startswith("m2m-") and crossed(edge)[1] < len(body) / 2
    other = edge.ask(b"", b"/v1/files", (b"content-type", b"audio/wav"), whole=False, counted=False)
    assert edge.core.call().path == b"/v1/files" and not edge.core.call().complete
    other.abort()
    edge.run()
    assert edge.at_rest and edge.core.at_rest


def test_one_that_was_scanned_is_here_already() -> None:
    edge = linked(scanner=Scanner(Words()))
    ask = begin(edge)
    body, _ = list(conversation(3))[2]
    ask.send(body)
    edge.advance(5)  # a scan needs all of it, however long that takes
    ask.end()
    call = edge.core.call()
    assert (call.body, call.get(b"content-length")) == (body, b"%d" % len(body))
    call.reply(b"{}", JSON)
    edge.run()
    assert ask.status == 200 and crossed(edge)[0] == "m2m-link"
    assert_nothing_is_held(edge)
