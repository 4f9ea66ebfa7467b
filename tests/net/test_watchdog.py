"""Peers that are gone without a word, and those that only take their time."""

from __future__ import annotations

import socket
import struct

import pytest
from clock import DrivenLoop
from link import Raw, Transport, join
from world import SSE_HEAD, World, chunk, post

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
