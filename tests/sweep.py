"""Ending an exchange at every turn of the loop: whatever the moment, nothing is left behind: no
exchange, no connection in use, no place in a queue, no timer, nothing that waits for the cycle
collector; and the next request works."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ends import H2Client
from link import Raw
from world import World, transport_of

from m2mproxy.http.body import Body
from m2mproxy.http.faults import Fault
from m2mproxy.net.connection import Session, Stream
from m2mproxy.net.h1 import H1
from m2mproxy.net.h2 import H2
from m2mproxy.net.h2_engine import Engine
from m2mproxy.net.preface import Undecided
from m2mproxy.proxy.exchange import Exchange
from m2mproxy.proxy.pump import Pump

Scenario = Callable[[World], Iterator[None]]
Way = Callable[[World], None]


def near(world: World) -> list[Raw]:
    """The clients' ends."""
    return [*world.clients, *world.askers]


def the_client_dies(world: World) -> None:
    for client in near(world):
        client.transport.die()


def the_client_closes(world: World) -> None:
    for client in near(world):
        client.transport.close()


def the_upstream_dies(world: World) -> None:
    for upstream in world.upstreams:
        upstream.transport.die()
    read_on(world)  # or what it has not read would be kept for it


def the_proxy_stops(world: World) -> None:
    world.proxy.stop()


WAYS: list[Way] = [the_client_dies, the_client_closes, the_upstream_dies, the_proxy_stops]


def read_on(world: World) -> None:
    """Let every client read again."""
    for client in near(world):
        if isinstance(client, H2Client):
            client.read_on()
        client.transport.resume_reading()


def sweep(
    make: Callable[[], World], scenario: Scenario, end: Way, check_next: Callable[[World], None]
) -> None:
    """Play the scenario again and again, and end it one turn of the loop later each time.

    An `end` that is called the_upstream_... is the upstream's.
    """
    turns, finished = 0, False
    with _no_collector():
        while not finished:
            turns += 1
            assert turns < 3000
            world = make()
            finished = _play(world, scenario, turns)
            end(world)
            world.run()
            if end.__name__.startswith("the_upstream"):
                _take_away_upstreams(world)
            assert world.at_rest
            assert all(exchange.bug is None for exchange in world.ended)
            check_next(world)
            _assert_nothing_left(world)
            _assert_nothing_waits_for_the_collector(world)
    assert turns > 4  # the sweep did sweep


def _play(world: World, scenario: Scenario, turns: int) -> bool:
    """Play the scenario for so many turns of the loop. True when it ended before."""
    for _ in scenario(world):
        while world.loop.turn():
            if world.loop.turns >= turns:
                return False
    return True


def _take_away_upstreams(world: World) -> None:
    """Requests that got another upstream wait for that one, rightly: take it away, too."""
    while not world.at_rest and any(not upstream.is_gone for upstream in world.upstreams):
        the_upstream_dies(world)
        world.run()


def _assert_nothing_left(world: World) -> None:
    for client in near(world):
        if isinstance(client, H2Client):
            client.read_on()
    world.advance(200)
    assert world.proxy.connections == 0
    assert world.pool.counts()["http://upstream:9"] == {
        "active": 0,
        "idle": 0,
        "connecting": 0,
        "waiting": 0,
    }
    assert world.loop.timers == 0


@contextmanager
def _no_collector() -> Iterator[None]:
    """What is made from here on, and only that, is what `gc.get_objects` finds."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def _assert_nothing_waits_for_the_collector(world: World) -> None:
    """It comes by seldom, and a body that waits for it is memory that nobody has counted."""
    for end in [*near(world), *world.upstreams]:
        del transport_of(end).protocol  # a pair of transports is a cycle of the test's own
    for made in (world.ended, world.refusals, world.calls, world.askers, world.clients):
        made.clear()
    world.upstreams.clear()
    kinds = (Exchange, Pump, Stream, Body, H1, H2, Engine, Session, Undecided, Fault)
    left = Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, kinds))
    assert not left
    gc.collect()  # the test's own
