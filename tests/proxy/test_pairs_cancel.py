"""The cancel sweep for every pair of versions: end an exchange at every turn of the loop, in every
scenario, in every way, and nothing is left behind, and the next request works."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ends import H2Client, H2Server
from sweep import WAYS, Scenario, Way, sweep, the_upstream_dies
from world import Pair, World

SSE = (b"content-type", b"text/event-stream")


def plain(world: World) -> Iterator[None]:
    world.start(b'{"model":"m"}')
    yield
    world.calls[-1].reply(b'{"answer":42}')
    yield


def stream(world: World) -> Iterator[None]:
    world.start(b'{"stream":true}')
    yield
    call = world.calls[-1]
    call.respond(200, SSE)
    yield
    for number in range(3):
        call.send(b"data: %d\n\n" % number)
        yield
    call.end()
    yield


def upload(world: World) -> Iterator[None]:
    ask = world.start(b"x" * 300_000, whole=False)
    for _ in range(5):
        ask.send(b"x" * 60_000)
        yield
    ask.end()
    yield
    world.calls[-1].reply(b"{}")
    yield


def slow_reader(world: World) -> Iterator[None]:
    ask = world.start(b"", method=b"GET")
    yield
    end = ask.connection  # type: ignore[attr-defined]
    if isinstance(end, H2Client):
        end.keeps_reading = False
    else:
        end.transport.pause_reading()
    world.calls[-1].reply(b"y" * 600_000)
    yield
    if isinstance(end, H2Client):
        end.read_on()
    else:
        end.transport.resume_reading()
    yield


def two_at_once(world: World) -> Iterator[None]:
    world.start(b"1")
    world.start(b"2")
    yield
    for _ in range(2):
        waiting = [call for call in world.calls if call.complete and not call.headers_sent]
        if waiting:
            waiting[0].reply(b"ok")
        yield


def early_answer(world: World) -> Iterator[None]:
    ask = world.start(b"x" * 100_000, whole=False)
    ask.send(b"x" * 50_000)
    yield
    world.calls[-1].reply(b"no", status=413)
    yield


def stale_and_once_more(world: World) -> Iterator[None]:
    world.start(b"")
    yield
    world.calls[-1].reply(b"1")
    yield
    world.start(b"{}")
    yield
    world.upstreams[0].transport.die()
    yield
    if len(world.calls) > 1:
        world.calls[-1].reply(b"2")
    yield


SCENARIOS: list[Scenario] = [
    plain,
    stream,
    upload,
    slow_reader,
    two_at_once,
    early_answer,
    stale_and_once_more,
]


def the_client_resets(world: World) -> None:
    for asker in world.askers:
        if isinstance(asker, H2Client):
            for ask in asker.streams.values():
                if ask.reset is None and not ask.complete:
                    ask.abort()
        else:
            asker.transport.close()


def the_upstream_resets(world: World) -> None:
    for upstream in world.upstreams:
        if isinstance(upstream, H2Server):
            for number, call in upstream.streams.items():
                stream = upstream.h2.streams.get(number)
                if call.reset is None and stream is not None and not stream.closed:
                    call.abort()
    the_upstream_dies(world)


def the_next_one_works(world: World) -> None:
    ask = world.ask(b"next", b"/v1/next", new=True)
    call = world.call()
    assert (call.path, call.body) == (b"/v1/next", b"next")
    call.reply(b"works")
    world.run()
    assert (ask.body, ask.complete) == (b"works", True)


@pytest.mark.parametrize(
    "end", [*WAYS, the_client_resets, the_upstream_resets], ids=lambda way: way.__name__
)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_is_left_behind(scenario: Scenario, end: Way, pair: Pair) -> None:
    sweep(
        lambda: World(pair=pair, limits_upstream_connections=1), scenario, end, the_next_one_works
    )
