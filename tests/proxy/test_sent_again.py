"""A request that goes to the upstream more than once: what goes the second time, for each form in
which it went the first time, and each reason."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from edge import JSON, ON, Edge
from ends import Ask
from hyperframe.frame import GoAwayFrame
from test_link import KEY, conversation, crossed
from world import World

from m2mproxy.codec import coding, static
from m2mproxy.proxy import codings

PATH = b"/v1/chat/completions"
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "word " * 800}]}).encode()
GZIP = (b"accept-encoding", b"gzip")
FORM = codings.static_form()
REFUSED_STREAM = 7


def shown() -> World:
    """A world whose upstream has shown that it reads gzip, on a connection that is at rest."""
    world = World(pair=("1.1", "2"), **ON)
    world.ask(b"{}", b"/v1/x", JSON)
    world.call().reply(b"{}", GZIP)
    world.run()
    return world


def linked(turns: list[bytes]) -> World:
    """A world whose upstream has said that it reads links, and had the first of the `turns`."""
    world = World(pair=("1.1", "2"), **ON)
    world.upstream_settings = dict(world.links.announce)
    world.ask(turns[0], PATH, JSON, KEY)
    world.call().reply(b"{}", JSON)
    world.run()
    return world


def unseen(world: World) -> None:
    """The upstream says of the last request that it did not look at it."""
    call = world.call()
    call.connection.h2.reset_stream(call.id, REFUSED_STREAM)  # type: ignore[attr-defined]
    call.connection.flush()  # type: ignore[attr-defined]
    world.run()


def last(world: World) -> tuple[bytes | None, bytes]:
    """The coding and the plain bytes of the request that came last; none of those of a link."""
    call = world.call()
    assert call.complete
    name, body = call.get(b"content-encoding"), call.body
    return name, coding.decode(name, body, 1 << 20) if name == b"gzip" else body


def answer(world: World, ask: Ask, body: bytes = b"[]") -> None:
    world.call().reply(body, JSON)
    world.run()
    assert (ask.status, ask.body) == (200, body)
    assert world.ended[-1].retried and world.ended[-1].model == "m"
    assert world.at_rest and world.context.holds.report()["bytes"] == 0


def test_what_was_coded_goes_again_as_it_was_coded() -> None:
    world = shown()
    ask = world.ask(BODY, b"/v1/x", JSON)
    assert last(world) == (b"gzip", BODY)
    unseen(world)
    assert len(world.calls) == 3 and last(world) == (b"gzip", BODY)
    answer(world, ask)


@pytest.mark.parametrize("status", [200, 415])
def test_what_was_refused_goes_plain_as_often_as_any_request(status: int) -> None:
    """And that it was refused counts, or does not, as if it had gone once."""
    world = shown()
    ask = world.ask(BODY, b"/v1/x", JSON)
    world.call().reply(b"", status=415)
    assert last(world) == (None, BODY)
    unseen(world)
    assert len(world.calls) == 4 and last(world) == (None, BODY)
    world.call().reply(b"[]", JSON, status=status)
    world.run()
    assert (ask.status, ask.body) == (status, b"[]")
    ledger = world.ended[-1].ledger
    assert ledger is not None and ledger.why == "refused with 415"
    assert ledger.upstream_out.wire > len(BODY) == ledger.upstream_out.plain
    world.ask(BODY, b"/v1/x", JSON)
    assert last(world)[0] == (b"gzip" if status == 415 else None)


def test_a_refusal_counts_for_the_codings_of_that_path_alone() -> None:
    world = shown()
    world.ask(BODY, b"/v1/x", JSON)
    world.call().reply(b"", (b"accept-encoding", b"br"), status=415)
    world.call().reply(b"[]")
    world.run()
    world.ask(BODY, b"/v1/x", JSON)
    assert last(world)[0] == b"br"  # what it said, as it refused


def test_a_turn_that_a_core_refused_goes_plain_again_where_that_was_lost() -> None:
    turns = [body for body, _ in conversation(3)]
    world = linked(turns)
    ask = world.ask(turns[1], PATH, JSON, KEY)
    assert last(world)[0] == b"m2m-link"
    world.call().reply(b"", status=415)
    assert last(world) == (None, turns[1])
    unseen(world)
    assert len(world.calls) == 4 and last(world) == (None, turns[1])
    answer(world, ask)


def test_a_turn_whose_link_was_lost_is_coded_for_the_next_one() -> None:
    turns = [body for body, _ in conversation(3)]
    world = linked(turns)
    ask = world.ask(turns[1], PATH, JSON, KEY)
    unseen(world)
    assert len(world.calls) == 3 and last(world)[0] == b"m2m-link"
    world.call().reply(b"", (b"m2m-link", b"miss"), status=409)  # whatever it continues
    assert last(world)[0] == b"m2m-link"
    unseen(world)
    world.call().reply(b"[]", JSON, (b"m2m-link", b"have"))
    world.run()
    assert (ask.status, ask.body) == (200, b"[]") and len(world.calls) == 5
    assert world.ended[-1].retried and world.upstream_links.report()["misses"] == 1
    assert world.at_rest and world.context.holds.report()["bytes"] == 0


def beside_a_link(**more: Any) -> Edge:
    """One whose link takes no more requests, as long as a stream on it goes on."""
    edge = Edge(World(**ON), "1.1", **more)
    for body, message in conversation(4):
        reply = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
        edge.exchange(body, reply, KEY)
    assert crossed(edge)[0] == "m2m-link"
    edge.ask(BODY, PATH, JSON, KEY)
    [link] = [each for each in edge.core.proxy._connections if hasattr(each, "session")]
    link.drain()
    edge.run()
    return edge


@pytest.mark.parametrize("size,form", [("1KiB", FORM.decode()), ("1MiB", "identity")])
def test_where_the_next_connection_is_no_link_a_turn_goes_as_without_links(
    size: str, form: str
) -> None:
    edge = beside_a_link(compression_min_size=size)
    turn = [body for body, _ in conversation(5)][4]
    ask = edge.ask(turn, PATH, JSON, KEY)
    assert edge.core.call().body == turn
    edge.wires[0].die()  # which was used before
    edge.run()
    call = edge.core.call()
    assert [each.body for each in edge.core.calls[-2:]] == [turn, turn]
    call.reply(b"[]", JSON)
    edge.run()
    assert (ask.status, ask.body) == (200, b"[]")
    assert edge.ended[-1].retried and crossed(edge)[0] == form


@pytest.mark.parametrize("size,form", [("1KiB", FORM), ("1MiB", None)])
def test_where_a_link_is_lost_and_there_is_no_other_a_turn_goes_as_without_links(
    size: str, form: bytes | None
) -> None:
    turns = [body for body, _ in conversation(3)]
    world = World(compression_min_size=size, **ON)
    world.upstream_settings = dict(world.links.announce)
    world.ask(turns[0], PATH, JSON, KEY)
    world.call().reply(b"{}", JSON, (b"accept-encoding", FORM), (b"m2m-link", b"v=2"))
    world.run()
    ask = world.ask(turns[1], PATH, JSON, KEY)
    assert last(world)[0] == b"m2m-link"
    unseen(world)
    name, body = last(world)
    assert name == form
    plain = body if form is None else static.decode(body, static.Way.REQUEST, 1 << 20)
    assert plain == turns[1]
    if form is not None:
        world.call().reply(b"", status=415)
        assert last(world) == (None, turns[1])
    answer(world, ask)
    assert said(world) == ("identity", "small" if form is None else "refused with 415", "")


def said(world: World) -> tuple[str, str, str]:
    """What the log says of how the last request went: its coding, why, and after what."""
    ledger = world.ended[-1].ledger
    assert ledger is not None
    return ledger.upstream_out.coding, world.ended[-1].why, ledger.reference


def test_what_was_refused_is_counted_once_where_nothing_goes_after_it() -> None:
    turns = [body for body, _ in conversation(3)]
    world = linked(turns)
    ask = world.ask(turns[1], PATH, JSON, KEY)
    call, world.accepting = world.call(), False
    goaway = GoAwayFrame(0, last_stream_id=call.id).serialize()  # type: ignore[attr-defined]
    call.connection.send(goaway)  # type: ignore[attr-defined]
    call.reply(b"", (b"m2m-link", b"miss"), status=409)
    world.run()
    world.refuse()
    world.run()
    assert ask.status == 502 and said(world) == ("identity", "refused with 409", "")
    ledger = world.ended[-1].ledger
    assert ledger is not None and ledger.upstream_out.wire == len(call.body)


def test_a_turn_that_is_answered_before_it_has_gone_is_not_held_to_go_again() -> None:
    world = linked([next(conversation(1))[0]])
    call = world.call()
    call.connection.keeps_reading = False  # type: ignore[attr-defined]
    text = random.Random(1).randbytes(100_000).hex()
    world.ask(json.dumps({"messages": [{"role": "user", "content": text}]}).encode(), PATH, JSON)
    world.call().respond(200, JSON, (b"m2m-link", b"have"))
    world.run()
    [exchange] = world.proxy._exchanges
    assert exchange.linked is not None and exchange.linked.turn is not None
    assert exchange.linked.turn._look is None
    assert exchange._sending is not None  # the room that it takes is its own as long as it waits
