"""When a connection is known to be a link, when it is taken for one before, and what happens to
requests that were to go by one and meet another connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from edge import JSON, ON, Edge
from frames import PREFACE, settings
from test_link import KEY, conversation, crossed, sessions, two, words
from world import World

from m2mproxy.link.edge import Edge as LinkEdge
from m2mproxy.net.attempt import PAUSE
from m2mproxy.net.connection import Session
from m2mproxy.proxy import codings
from m2mproxy.proxy.links import DICTIONARIES, SCOPE, SECONDS, SETTING

STATIC = codings.static_form().decode()


def turn(edge: Edge, body: bytes, message: dict[str, Any]) -> tuple[str, int]:
    """One turn; the form in which it went to the core, and in how many bytes."""
    reply = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
    ask, call = edge.exchange(body, reply, KEY)
    assert call.body == body and (ask.status, ask.body) == (200, reply)
    return crossed(edge)


def lose(edge: Edge) -> None:
    """The connection to the core breaks."""
    for wire in edge.wires:
        wire.die()
    edge.run()


def test_who_reads_a_reply_for_a_minute_still_has_a_link() -> None:
    """The second request on a connection comes long after its SETTINGS."""
    edge = two()
    found = []
    for body, message in conversation(4):
        found.append(turn(edge, body, message))
        edge.advance(60)
    assert [coding for coding, _ in found[1:]] == ["m2m-link"] * 3
    assert found[3][1] < 150
    assert len(edge.wires) == 1


def test_the_first_request_after_a_lost_link_is_coded_and_remembered() -> None:
    edge = two()
    bodies = list(conversation(6))
    for body, message in bodies[:3]:
        turn(edge, body, message)
    lose(edge)
    coding, wire = turn(edge, *bodies[3])
    assert coding == "m2m-link" and wire < len(bodies[3][0])
    coding, wire = turn(edge, *bodies[4])
    assert coding == "m2m-link" and wire < 150
    assert edge.upstream_links.report()["misses"] == 0 and not edge.ended[-2].retried


def test_after_a_while_nothing_is_expected_any_more() -> None:
    edge = two(link_ttl=30)
    bodies = list(conversation(6))
    for body, message in bodies[:3]:
        turn(edge, body, message)
    lose(edge)
    edge.advance(31)
    assert turn(edge, *bodies[3])[0] == STATIC
    assert turn(edge, *bodies[4])[0] == "m2m-link"


@pytest.mark.parametrize("status", [400, 415, 422, 500])
def test_what_is_no_link_any_more_gets_the_bytes_after_all(status: int) -> None:
    """Another server took the place of the core: the edge learns it and the client never does."""
    world = World(pair=("1.1", "2"), **ON)
    world.upstream_settings = dict(world.links.announce)
    bodies = [body for body, _ in conversation(5)]

    def ask(body: bytes, refused: bool) -> bytes | None:
        asked = world.ask(body, b"/v1/chat/completions", JSON, KEY)
        coding = world.call().get(b"content-encoding")
        if refused:
            assert coding == b"m2m-link"
            world.call().reply(b"what?", status=status)
            assert world.call().get(b"content-encoding") is None
        call = world.call()
        have = [(b"m2m-link", b"have")] if coding and not refused else []
        call.reply(b"{}", JSON, *have)
        world.run()
        assert (asked.status, asked.body) == (200, b"{}")
        if call.get(b"content-encoding") is None:
            assert call.body == body
        return coding

    assert ask(bodies[0], False) is None
    assert ask(bodies[1], False) == b"m2m-link"
    for upstream in world.upstreams:
        upstream.transport.abort()
    world.run()
    world.upstream_settings = {}
    ask(bodies[2], True)
    assert ask(bodies[3], False) is None
    assert not world.upstream_links.is_open and world.links.report()["memory"] == 0


def test_a_key_is_not_remembered_by_what_is_only_expected_to_be_a_link() -> None:
    edge = two()
    field = (b"authorization", b"Bearer " + b"k" * 33)
    for number, (body, message) in enumerate(conversation(4)):
        if number == 2:
            lose(edge)
        reply = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
        edge.exchange(body, reply, field)
        [connection] = edge.core.proxy._connections
        table = connection._engine.decoder.header_table.dynamic_entries
        assert (field in map(tuple, table)) == (number in (1, 3))


def test_a_link_that_offers_less_than_the_last_one_is_taken_at_its_word() -> None:
    edge = two()
    bodies = list(conversation(6))
    for body, message in bodies[:3]:
        turn(edge, body, message)
    lose(edge)
    edge.core.proxy._announce = {**edge.core.links.announce, SETTING: 2 << 24 | 1024}
    for body, message in bodies[3:]:
        assert turn(edge, body, message)[0] == "m2m-link"
    [session] = edge.upstream_links._met
    assert session.kept._window._bounds.connection < 1 << 20
    assert crossed(edge)[1] < 150


@pytest.mark.parametrize("more,less", [({}, {}), ({"link_ttl": "30"}, {"link_ttl": "20"})])
def test_an_edge_keeps_no_more_and_no_longer_than_its_core(
    more: dict[str, str], less: dict[str, str]
) -> None:
    """Else what it refers to would be missed."""
    core = World(**ON, link_credential_memory="64KiB", **less)
    edge = Edge(core, "2", link_credential_memory="1MiB", **more)
    for seed in range(12):  # of some 10 KiB each
        for body, message in conversation(3, seed=100 * seed):
            turn(edge, body, message)
    [session] = edge.upstream_links._met
    bounds = session.kept._window._bounds
    assert (bounds.scope, bounds.seconds) == (56 << 10, 20.0 if less else 900.0)
    assert session.idle_seconds == bounds.seconds
    assert session.kept.size <= bounds.scope
    assert edge.upstream_links.report()["misses"] == 0


def test_a_core_offers_one_connection_no_more_than_all_may_take() -> None:
    """Else an edge would refer to what was forgotten."""
    told = World(**ON, link_memory="2MiB", link_connection_memory="32MiB").links.announce
    assert (told[SETTING] & 0xFFFFFF, told[SCOPE]) == (2048, 2048)


@pytest.mark.parametrize(
    "changed,level,news",
    [
        ({}, "info", "a link to http://core:8081, which remembers 32MiB for 900 s"),
        ({SETTING: 3 << 24 | 1024}, "warning",
         "no link to http://core:8081: it has v=3 of m2m-link, and this is v=2"),
        ({DICTIONARIES: 0xAB}, "warning",
         "no link to http://core:8081: it has dictionaries 000000ab, and these are "
         + STATIC.removeprefix("m2m-")),
        ({SECONDS: 0}, "warning", "no link to http://core:8081: it remembers nothing"),
        ({SETTING: 0}, "", ""),
    ],
)  # fmt: skip
def test_what_is_told_of_a_link_and_once(changed: dict[int, int], level: str, news: str) -> None:
    edge = two({**World().links.announce, **changed})
    told: list[tuple[str, str]] = []
    edge.upstream_links.on_news = lambda *what: told.append(what)
    for body, message in conversation(3):
        turn(edge, body, message)
        lose(edge)
    origin = str(edge.upstream_links._destination.origin)
    assert told == ([(level, news.replace("http://core:8081", origin))] if news else [])


def test_of_a_link_of_another_version_the_response_is_enough() -> None:
    world = World(**ON)
    told: list[tuple[str, str]] = []
    world.upstream_links.on_news = lambda *what: told.append(what)
    for value in (b"v=3", b"v=3", b"have", b"v=\xe9", b"v=3333"):
        ask = world.ask(b"{}", b"/v1/chat/completions", JSON)
        world.call().reply(b"{}", (b"m2m-link", value))
        world.run()
        assert ask.status == 200
    origin = world.upstream_links._destination.origin
    assert told == [
        ("warning", f"no link to {origin}: it has v=3 of m2m-link, and this is v=2")
    ]


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", settings()])
def test_that_something_stands_between_is_told_once(said: bytes) -> None:
    """Such as nginx: what the core offers passes it, and HTTP/2 ends there."""
    world = World(**ON)
    told: list[tuple[str, str]] = []
    world.upstream_links.on_news = lambda *what: told.append(what)
    for _ in range(2):
        ask = world.ask(b"{}", b"/v1/chat/completions", JSON)
        world.call().reply(b"{}", (b"m2m-link", b"v=2"))
        world.accepting = world.neutral = False  # the attempt is answered here
        world.run()
        assert ask.status == 200
        end = world.accept()
        world.run()
        assert bytes(end.received).startswith(PREFACE)
        end.send(said)
        world.run()
        assert end.is_gone
        world.accepting = True
        world.advance(PAUSE + 1)
    origin = world.upstream_links._destination.origin
    why = "it offers one, but not over HTTP/2 (is something between the two?)"
    assert told == [("warning", f"no link to {origin}: {why}")]


def test_a_core_that_keeps_nothing_for_long_offers_nothing() -> None:
    edge = two({**World().links.announce, SECONDS: 0})
    for body, message in conversation(3):
        assert turn(edge, body, message)[0] != "m2m-link"


def session(settings: dict[int, int]) -> Session:
    return Session(settings, lambda: None, lambda _: None)


def opened(settings: Mapping[int, int]) -> Session:
    made = session(dict(settings))
    made.opened.set(True)
    return made


def test_a_connection_whose_core_refused_is_no_link_and_another_can_be_one() -> None:
    world = World(**ON)
    found, announce = world.upstream_links, world.links.announce
    first = opened(announce)
    edge = found.edge(first)
    assert edge is not None and found.is_open
    found.refused(first, edge)
    assert edge.is_given_up and found.edge(first) is None and not found.is_open
    second = opened(announce)
    assert found.edge(second) is not None
    assert found.edge(first) is None  # as its requests ask, which go plain
    second.end()
    assert found.edge(session({})) is not None and found.report()["links"] == 1


def test_a_core_that_refused_before_its_settings_came_is_no_link_for_what_they_say() -> None:
    world = World(**ON)
    found, announce = world.upstream_links, world.links.announce
    last = opened(announce)
    assert found.edge(last) is not None
    last.end()
    expected = session({})
    edge = found.edge(expected)
    assert edge is not None
    found.refused(expected, edge)
    expected.settings.update(announce)  # type: ignore[attr-defined]
    expected.opened.set(True)
    assert found.edge(expected) is None and not found.is_open
    assert world.links.report()["memory"] == 0


def test_each_connection_is_held_to_what_it_was_expected_to_offer() -> None:
    """A core that was restarted keeps less, and several connections to it come up at once."""
    world = World(**ON)
    found = world.upstream_links

    def bound(of: Session) -> int:
        edge = found.edge(of)
        assert isinstance(edge, LinkEdge)
        return edge._window._bounds.connection

    first = opened(world.links.announce)
    most = bound(first)
    first.end()
    less = {**world.links.announce, SETTING: 2 << 24 | 1024}
    later = [session({}) for _ in range(3)]
    assert [bound(each) for each in later] == [most] * 3
    for each in later:
        each.settings.update(less)  # type: ignore[attr-defined]
        each.opened.set(True)
    assert [bound(each) for each in later] == [7 << 17] * 3
    assert world.links.report()["memory"] == 0


def test_while_a_link_drains_other_connections_get_what_both_know() -> None:
    """Its long stream goes on, it takes no more requests: those go over HTTP/1.1, not plain."""
    edge = Edge(World(**ON), "1.1")
    bodies = list(conversation(8))
    for body, message in bodies[:5]:
        coding, _ = turn(edge, body, message)
    assert coding == "m2m-link"
    long = edge.ask(bodies[5][0], b"/v1/chat/completions", JSON, KEY)
    call = edge.core.call()
    [drained] = [each for each in edge.core.proxy._connections if hasattr(each, "session")]
    drained.drain()
    edge.run()
    coding, wire = turn(edge, *bodies[6])
    assert coding == STATIC and wire < len(bodies[6][0])
    call.reply(b"{}", JSON)
    edge.run()
    assert (long.status, long.body) == (200, b"{}")
    assert edge.at_rest and edge.core.at_rest


def test_beside_a_link_that_is_old_and_drains_the_next_one_is_expected() -> None:
    edge = two(link_ttl=30)
    bodies = list(conversation(6))
    for body, message in bodies[:3]:
        turn(edge, body, message)
    long = edge.ask(bodies[3][0], b"/v1/chat/completions", JSON, KEY)
    call = edge.core.call()
    edge.advance(31)
    [drained] = edge.core.proxy._connections
    drained.drain()
    edge.run()
    assert turn(edge, *bodies[4])[0] == "m2m-link" and len(edge.wires) == 2
    coding, wire = turn(edge, *bodies[5])
    assert coding == "m2m-link" and wire < 150
    call.reply(b"{}", JSON)
    edge.run()
    assert long.body == b"{}" and edge.at_rest and edge.core.at_rest


def test_a_lost_link_leaves_no_memory_for_what_never_came() -> None:
    edge = two()
    for body, message in conversation(3):
        turn(edge, body, message)
    lose(edge)
    edge.ask(words(300, 1).encode(), b"/v1/chat/completions", JSON, KEY)
    lose(edge)
    assert edge.links.report()["memory"] == 0 and not sessions(edge.core)
