"""Law 3 for every pair of versions: whoever does not read holds back whoever sends, and nobody
else."""

from __future__ import annotations

import pytest
from ends import Ask, Call, H2Client
from world import Pair, World

BOUND = 400 * 1024
MEGABYTES = bytes(range(256)) * 32768
SSE = (b"content-type", b"text/event-stream")


def unsent(call: Call | Ask) -> int:
    """Bytes that one of our ends has not got rid of."""
    connection = call.connection  # type: ignore[union-attr]
    return int(connection.transport.under_way + getattr(connection, "waiting", 0))


def stall(world: World, ask: Ask) -> None:
    """Whatever the version has for a client that stops reading."""
    end = ask.connection  # type: ignore[attr-defined]
    if isinstance(end, H2Client):
        end.keeps_reading = False
    else:
        end.transport.pause_reading()


def go_on(world: World, ask: Ask) -> None:
    end = ask.connection  # type: ignore[attr-defined]
    if isinstance(end, H2Client):
        end.read_on()
    else:
        end.transport.resume_reading()
    world.run()


@pytest.mark.parametrize("kind", ["counted", "uncounted", "events"])
def test_a_client_that_stops_reading_stops_the_upstream(kind: str, pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(method=b"GET")
    call = world.call()
    stall(world, ask)
    expected = MEGABYTES
    if kind == "counted":
        call.respond(200, (b"content-length", b"%d" % len(MEGABYTES)))
        call.send(MEGABYTES)
    elif kind == "uncounted":
        call.respond(200)
        call.send(MEGABYTES)
    else:
        call.respond(200, SSE)
        expected = b"data: 0123456789\n\n" * 40_000
        for _ in range(40_000):
            call.send(b"data: 0123456789\n\n")
    call.end()
    world.run()
    assert len(expected) - unsent(call) < BOUND
    go_on(world, ask)
    assert (ask.body, ask.complete) == (expected, True)
    assert world.at_rest


def test_an_upstream_that_stops_reading_stops_the_client(pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(MEGABYTES, whole=False)
    call = world.call()
    end = call.connection  # type: ignore[attr-defined]
    if pair[1] == "2":
        end.keeps_reading = False
    else:
        end.transport.pause_reading()
    ask.send(MEGABYTES)
    ask.end()
    world.run()
    assert len(MEGABYTES) - unsent(ask) < BOUND
    if pair[1] == "2":
        end.read_on()
    else:
        end.transport.resume_reading()
    world.run()
    assert (call.body, call.complete) == (MEGABYTES, True)
    call.reply(b"ok")
    world.run()
    assert ask.body == b"ok"
    assert world.at_rest


def test_one_stalled_client_costs_the_others_nothing(pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(method=b"GET")
    stall(world, ask)
    call = world.call()
    call.respond(200)
    call.send(MEGABYTES)
    for number in range(3):
        other = world.ask(b"other", new=True)
        answering = world.call()
        assert answering.body == b"other"
        answering.reply(b"%d" % number * 30_000)
        world.run()
        assert (other.body, other.complete) == (b"%d" % number * 30_000, True)


def test_an_upload_nobody_reads_any_more_does_not_pile_up(pair: Pair) -> None:
    """The upstream has answered; the rest of the request is thrown away for a while, then cut."""
    world = World(pair=pair)
    ask = world.ask(MEGABYTES, whole=False)
    ask.send(MEGABYTES[: 1 << 20])
    call = world.call()
    call.reply(b"no", status=413)
    world.run()
    assert (ask.status, ask.body) == (413, b"no")
    if not ask.broken and ask.reset is None:
        ask.send(MEGABYTES[: 1 << 20])
    world.advance(6)
    assert world.at_rest
    assert pair[0] == "2" or world.proxy.connections == 0
