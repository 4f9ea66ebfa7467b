"""Peers that are gone without a word, and those that only take their time."""

from __future__ import annotations

import socket
import struct

import pytest
from clock import DrivenLoop
from link import Raw, Transport, join
from world import SSE_HEAD, World, chunk, post

from m2mproxy.net.h2_client import GIVE_UP_AFTER
from m2mproxy.net.tcp import Tcp
from m2mproxy.net.watchdog import PATIENCE, Watchdog


def says(sent: int, delivered: int) -> bytes:
    """TCP_INFO: segments that are under way, and bytes that were acknowledged."""
    said = bytearray(232)
    struct.pack_into("=I", said, 24, sent)
    struct.pack_into("=Q", said, 120, delivered)
    return bytes(said)


class Recorder:
    """A connection that remembers whether it is over."""

    is_lost = False

    def attach(self, transport: object) -> None:
        """Nothing to do."""

    def lost(self, error: Exception | None) -> None:
        self.is_lost = True


class Watched:
    """One connection, watched over."""

    def __init__(self, watchdog: Watchdog, loop: DrivenLoop) -> None:
        self.made = Recorder()
        _, near = join(loop, Raw(), Tcp(lambda _: self.made, watchdog))  # type: ignore[arg-type, return-value]
        self.transport = near
        loop.run()

    def say(self, said: bytes) -> None:
        self.transport.socket.said = said


def test_who_acknowledges_nothing_of_what_is_under_way_is_gone() -> None:
    loop = DrivenLoop()
    watched = Watched(Watchdog(loop), loop)
    watched.say(says(sent=3, delivered=1000))
    loop.advance(PATIENCE)
    assert not watched.made.is_lost
    loop.advance(11)
    assert watched.made.is_lost
    assert loop.timers == 0


@pytest.mark.parametrize("sent", [0, 3], ids=["nothing under way", "something acknowledged"])
def test_who_is_there_stays(sent: int) -> None:
    """A reader that has stopped is there: with a window of 0 nothing is under way."""
    loop = DrivenLoop()
    watched = Watched(Watchdog(loop), loop)
    for second in range(0, 600, 30):
        watched.say(says(sent, second if sent else 7))
        loop.advance(30)
    assert not watched.made.is_lost


def test_a_minute_of_silence_before_is_not_counted() -> None:
    loop = DrivenLoop()
    watched = Watched(Watchdog(loop), loop)
    watched.say(says(sent=0, delivered=1000))
    loop.advance(600)
    watched.say(says(sent=1, delivered=1000))
    loop.advance(PATIENCE - 6)
    assert not watched.made.is_lost


def test_what_the_kernel_does_not_say_is_no_silence() -> None:
    loop = DrivenLoop()
    watched = Watched(Watchdog(loop), loop)
    watched.say(b"")
    loop.advance(600)
    assert not watched.made.is_lost


def test_many_are_looked_at_in_turn() -> None:
    loop = DrivenLoop()
    watchdog = Watchdog(loop)
    all_of_them = [Watched(watchdog, loop) for _ in range(450)]
    for each in all_of_them[::2]:
        each.say(says(sent=1, delivered=0))
    loop.advance(PATIENCE + 11)
    assert [each.made.is_lost for each in all_of_them] == [True, False] * 225
    watchdog.close()
    assert loop.timers == 0


def test_who_comes_back_later_is_told() -> None:
    """The kernel would keep what is unsent for minutes, and say meanwhile that all is well."""
    loop = DrivenLoop()
    watched = Watched(Watchdog(loop), loop)
    watched.say(says(sent=3, delivered=1000))
    loop.advance(PATIENCE + 11)
    assert (socket.SOL_SOCKET, socket.SO_LINGER) in watched.transport.socket.options


def ours(end: Raw) -> Transport:
    """Our end of a connection."""
    return end.transport.peer


def test_a_model_is_stopped_that_works_for_a_client_which_is_gone() -> None:
    loop = DrivenLoop()
    world = World(loop=loop, watchdog=Watchdog(loop))
    client = world.client()
    client.send(post(b"{}"))
    upstream = world.upstream()
    upstream.send(SSE_HEAD + chunk(b"data: 1\n\n"))
    world.run()
    ours(client).socket.said = says(sent=1, delivered=0)
    for _ in range(7):
        world.advance(10)
        upstream.send(chunk(b"data: 2\n\n"))
    world.run()
    assert upstream.is_gone
    assert [exchange.fault.code for exchange in world.ended if exchange.fault] == ["client_gone"]


def test_a_client_is_told_when_the_upstream_is_gone() -> None:
    loop = DrivenLoop()
    world = World(loop=loop, watchdog=Watchdog(loop))
    client = world.client()
    client.send(post(b"{}"))
    ours(world.upstream()).socket.said = says(sent=1, delivered=0)
    world.advance(70)
    assert client.take().startswith(b"HTTP/1.1 502 ")
    assert world.at_rest


# -- in doubt, before that ----------------------------------------------------------------------

STUCK, ARRIVED = says(sent=1, delivered=0), says(sent=0, delivered=9)
LOOKS = 6.0  # seconds that have two


class Stuck:
    """A request on the only connection to an upstream of HTTP/2, which stands still."""

    def __init__(self, accepting: bool = True, limit: int = 10) -> None:
        """`accepting` is whether others are taken, `limit` that of all."""
        loop = DrivenLoop()
        self.world = world = World(
            loop=loop,
            pair=("1.1", "2"),
            watchdog=Watchdog(loop),
            limits_upstream_connections=limit,
        )
        self.ask = world.ask(b"1", new=True)
        self.call = world.call()
        world.accepting = accepting
        self.end = world.upstreams[0]
        self.end.transport.pause_reading()
        ours(self.end).socket.said = STUCK

    def goes_on(self) -> None:
        ours(self.end).socket.said = ARRIVED
        self.end.transport.resume_reading()
        self.world.run()

    def next(self) -> Raw:
        """The connection on which the next request is answered."""
        before = [len(each.received) for each in self.world.upstreams]
        ask = self.world.ask(b"second", new=True)
        self.world.call().reply(b"here")
        self.world.run()
        assert ask.body == b"here"
        pairs = zip(self.world.upstreams, [*before, 0], strict=False)
        [end] = [each for each, size in pairs if b"second" in each.received[size:]]
        return end


def test_requests_do_not_follow_one_of_which_nothing_arrives() -> None:
    stuck = Stuck()
    stuck.world.advance(LOOKS)
    assert stuck.next() is not stuck.end
    assert not stuck.ask.status


def test_another_connection_is_tried_though_no_request_waits_for_it() -> None:
    """And where that comes about, it is not the line: a sign of life is due."""
    stuck = Stuck()
    stuck.world.advance(LOOKS)
    assert len(stuck.world.upstreams) == 2
    stuck.world.advance(GIVE_UP_AFTER)
    assert stuck.ask.status == 502


def test_where_no_other_connection_comes_about_the_line_may_be_back_in_a_minute() -> None:
    stuck = Stuck(accepting=False)
    for _ in range(5):
        stuck.world.advance(LOOKS)
        assert len(stuck.world.dials) == 1
        stuck.world.refuse()
    stuck.goes_on()
    stuck.call.reply(b"late")
    stuck.world.run()
    assert stuck.ask.body == b"late"


def test_a_request_has_a_dial_of_its_own_and_does_not_fail_with_the_one_that_is_under_way() -> None:
    stuck = Stuck(accepting=False)
    stuck.world.advance(LOOKS)
    ask = stuck.world.ask(b"second", new=True)
    stuck.world.refuse()
    stuck.world.run()
    assert not ask.status
    stuck.world.accept()
    stuck.world.call().reply(b"here")
    stuck.world.run()
    assert ask.body == b"here"


def test_who_waits_for_the_place_of_a_dial_that_was_only_to_tell_gets_it_when_that_fails() -> None:
    stuck = Stuck(accepting=False, limit=2)
    stuck.world.advance(LOOKS)
    ask = stuck.world.ask(b"second", new=True)
    assert len(stuck.world.dials) == 1
    stuck.world.refuse()
    stuck.world.run()
    assert len(stuck.world.dials) == 1
    stuck.world.accept()
    stuck.world.call().reply(b"here")
    stuck.world.run()
    assert ask.body == b"here"


def test_a_connection_that_is_heard_in_time_takes_requests_again() -> None:
    stuck = Stuck()
    stuck.world.advance(LOOKS)
    stuck.goes_on()  # and answers
    stuck.world.advance(4 * GIVE_UP_AFTER)  # the other one is not kept as long
    assert not stuck.ask.status
    assert stuck.next() is stuck.end


def test_who_is_there_is_never_in_doubt() -> None:
    stuck = Stuck()
    for delivered in range(50):
        ours(stuck.end).socket.said = says(sent=1, delivered=delivered)
        stuck.world.advance(1)
    assert len(stuck.world.upstreams) == 1
