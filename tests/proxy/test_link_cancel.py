"""The cancel sweep with a link: end an exchange at every turn of the loop, at the application, at
the model server, at either proxy or on the link between them. Nothing is left behind at either end:
no exchange, no stream, no place in a queue, no byte of an entry, no timer; and the next one works.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clock import DrivenLoop
from sweep import read_on
from test_edge_core import JSON, ON, SSE, Edge
from test_link import KEY, conversation
from world import World

from m2mproxy.http.flow import Signal
from m2mproxy.proxy.sizing import SILENCE

Scenario = Callable[[Edge], Iterator[None]]
Way = Callable[[Edge], None]

BODIES = list(conversation(4))
PATH = b"/v1/chat/completions"


class Later:
    """In place of threads: what is done elsewhere is done two turns of the loop later."""

    def __init__(self, loop: DrivenLoop) -> None:
        self._loop = loop

    async def run(self, size: int, work: Callable[[], Any]) -> Any:
        done: Signal[Any] = Signal()

        def finish() -> None:
            try:
                done.set(work())
            except Exception as error:
                done.fail(error)

        self._loop.call_soon(lambda: self._loop.call_soon(finish))
        return await done


def make(http: str = "2", **more: Any) -> Edge:
    """Two proxies with a link on which turns have crossed."""
    edge = Edge(World(**more, **ON), http, **ON)
    for world in (edge, edge.core):
        world.context.offload.run = Later(edge.loop).run  # type: ignore[method-assign]
    for _ in range(2):
        for number in range(2):
            edge.exchange(BODIES[number][0], answer(number), KEY)
    assert edge.upstream_links.is_open
    return edge


def answer(number: int) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": BODIES[number][1]}]}).encode()


def turn(edge: Edge) -> Iterator[None]:
    edge.start(BODIES[2][0], PATH, JSON, KEY)
    yield
    edge.core.calls[-1].reply(answer(2), JSON)
    yield


def missed(edge: Edge) -> Iterator[None]:
    for connection in edge.core.proxy._connections:
        window = connection.session.kept._window  # type: ignore[attr-defined]
        while window.drop_oldest():
            pass
    yield from turn(edge)


def slow_upload(edge: Edge, counted: bool = True) -> Iterator[None]:
    body = BODIES[2][0]
    ask = edge.start(body, PATH, JSON, KEY, whole=False, counted=counted)
    for at in range(0, len(body), 600):
        ask.send(body[at : at + 600])
        yield
    ask.end()
    yield
    edge.core.calls[-1].reply(answer(2), JSON)
    yield


def slow_upload_of_unknown_length(edge: Edge) -> Iterator[None]:
    yield from slow_upload(edge, counted=False)


def upload_that_is_not_waited_for(edge: Edge) -> Iterator[None]:
    ask = edge.start(b"", PATH, JSON, KEY, whole=False, counted=False)
    ask.send(BODIES[2][0])
    yield
    edge.loop.now += SILENCE
    for exchange in list(edge.proxy._exchanges):
        exchange.check(edge.loop.now)
    yield
    ask.end()
    yield
    edge.core.calls[-1].reply(answer(2), JSON)
    yield


def stream(edge: Edge) -> Iterator[None]:
    edge.start(BODIES[2][0], PATH, JSON, KEY)
    yield
    call = edge.core.calls[-1]
    call.respond(200, SSE)
    yield
    for word in ("one", "two"):
        event = {"choices": [{"index": 0, "delta": {"content": word}}]}
        call.send(b"data: " + json.dumps(event).encode() + b"\n\n")
        yield
    call.end()
    yield


def slow_reader(edge: Edge) -> Iterator[None]:
    ask = edge.start(BODIES[2][0], PATH, JSON, KEY)
    yield
    ask.connection.transport.pause_reading()  # type: ignore[attr-defined]
    edge.core.calls[-1].reply(bytes(600_000), JSON)
    yield
    ask.connection.transport.resume_reading()  # type: ignore[attr-defined]
    yield


def two_at_once(edge: Edge) -> Iterator[None]:
    for number in (2, 3):
        edge.start(BODIES[number][0], PATH, JSON, KEY)
    yield
    for _ in range(2):
        waiting = [call for call in edge.core.calls if call.complete and not call.headers_sent]
        if waiting:
            waiting[0].reply(answer(2), JSON)
        yield


SCENARIOS: list[Scenario] = [
    turn,
    missed,
    slow_upload,
    slow_upload_of_unknown_length,
    upload_that_is_not_waited_for,
    stream,
    slow_reader,
    two_at_once,
]


def the_application_leaves(edge: Edge) -> None:
    for asker in edge.askers:
        asker.transport.die()


def the_link_dies(edge: Edge) -> None:
    for wire in edge.wires:
        wire.die()


def the_model_server_dies(edge: Edge) -> None:
    for upstream in edge.core.upstreams:
        upstream.transport.die()


def the_edge_stops(edge: Edge) -> None:
    edge.proxy.stop()


def the_core_stops(edge: Edge) -> None:
    edge.core.proxy.stop()


WAYS: list[Way] = [
    the_application_leaves,
    the_link_dies,
    the_model_server_dies,
    the_edge_stops,
    the_core_stops,
]


def play(edge: Edge, scenario: Scenario, turns: int) -> bool:
    """Play the scenario for so many turns of the loop. True when it ended before."""
    last = edge.loop.turns + turns
    for _ in scenario(edge):
        while edge.loop.turn():
            if edge.loop.turns >= last:
                return False
    return True


def end_all(edge: Edge) -> None:
    """What goes on, rightly, elsewhere than where it was ended."""
    read_on(edge)
    edge.run()
    for call in edge.core.calls:
        if not call.headers_sent and call.complete and call.reset is None:
            call.reply(answer(2), JSON)
    edge.run()
    the_application_leaves(edge)
    edge.run()


def assert_nothing_is_held(edge: Edge) -> None:
    for world in (edge, edge.core):
        assert world.at_rest
        assert world.context.holds.report()["bytes"] == 0
        assert all(exchange.bug is None for exchange in world.ended)
    linked = edge.upstream_links.report()
    assert edge.links.report()["memory"] == linked["memory"]
    assert len(edge.upstream_links._met) == edge.pool.counts()["http://upstream:9"]["idle"]


def the_next_one_works(edge: Edge) -> None:
    ask = edge.ask(BODIES[3][0], PATH, JSON, KEY, new=True)
    call = edge.core.call()
    assert call.body == BODIES[3][0]
    call.reply(answer(3), JSON)
    edge.run()
    assert (ask.status, ask.body, ask.complete) == (200, answer(3), True)


def assert_nothing_is_left(edge: Edge) -> None:
    """Once everything has been idle for long enough."""
    edge.advance(2000)
    for world in (edge, edge.core):
        assert world.proxy.connections == 0
        assert not any(world.pool.counts()["http://upstream:9"].values())
        assert world.links.report()["memory"] == 0
    assert not edge.upstream_links._met
    assert edge.loop.timers == 0


@pytest.mark.parametrize("end", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_is_left_behind_at_either_end(scenario: Scenario, end: Way) -> None:
    turns, finished = 0, False
    while not finished:
        turns += 1
        assert turns < 500
        edge = make(limits_upstream_connections=1)
        finished = play(edge, scenario, turns)
        end(edge)
        edge.run()
        end_all(edge)
        assert_nothing_is_held(edge)
        the_next_one_works(edge)
        assert_nothing_is_left(edge)
    assert turns > 10  # the sweep did sweep


def answered_all(cores: list[World]) -> None:
    for core in cores:
        for call in core.calls:
            if call.complete and not call.headers_sent:
                call.reply(answer(2), JSON)


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_a_core_that_is_restarted_gracefully_fails_no_request(http: str) -> None:
    turns, finished = 0, False
    while not finished:
        turns += 1
        edge = make(http)
        old = edge.core
        asks = []

        def load(edge: Edge = edge, old: World = old, asks: list[Any] = asks) -> Iterator[None]:
            for number in (2, 3, 2):
                asks.append(edge.start(BODIES[number][0], PATH, JSON, KEY, new=True))
                yield
                answered_all([old])
                yield

        finished = play(edge, lambda _: load(), turns)
        edge.core = World(loop=edge.loop, **ON)
        edge.core.neutral = True
        old.proxy.drain()
        for number in (2, 3):
            asks.append(edge.start(BODIES[number][0], PATH, JSON, KEY, new=True))
        for _ in range(4):
            edge.run()
            answered_all([old, edge.core])
        edge.run()
        assert [(ask.status, ask.body) for ask in asks] == [(200, answer(2))] * len(asks), turns
        edge.advance(1)
        assert old.proxy.exchanges == edge.core.proxy.exchanges == edge.proxy.exchanges == 0
    assert turns > 10


def test_clients_that_cancel_in_a_hurry_do_not_end_the_link_for_others() -> None:
    """One that asks with every key that is pressed gives up what it asked before, soon and often,
    which the core cannot tell from a flood of the edge's."""
    edge = make()
    other = edge.start(BODIES[2][0], PATH, JSON, KEY)
    edge.run()
    call = edge.core.calls[-1]
    call.respond(200, SSE)
    for _ in range(300):
        hasty = edge.start(BODIES[2][0], PATH, JSON, KEY, new=True)
        edge.run()
        edge.advance(0.0125)
        hasty.connection.transport.die()  # type: ignore[attr-defined]
        edge.run()
    call.send(b"data: {}\n\n")
    call.end()
    edge.run()
    assert (other.body, other.complete) == (b"data: {}\n\n", True)
    assert len(edge.wires) == 1
    edge.advance(1)
    assert_nothing_is_held(edge)
