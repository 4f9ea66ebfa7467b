"""Detects dead peers, gone without a word: a cable was pulled, a radio lost, an address forgotten.

TCP says so after a quarter of an hour, while a model works on for nobody. Its own shorter limit,
TCP_USER_TIMEOUT, would end those who only do not read, too. What tells the two apart is that a
machine that is there acknowledges what arrives.

The one rule: a connection ends here when what is under way was not acknowledged for a minute, none
of it; long before that it is in doubt, and others are better used. One on which nothing is under
way is the kernel's to ask about (`tune` in tcp.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol

from m2mproxy.net.path import delivered

# Seconds without an acknowledgement: longer than a tunnel, shorter than most answers.
PATIENCE = 60.0
# How often each connection is looked at, in seconds, and how many in one turn of the loop. Where
# nothing was acknowledged from one look to the next, it is in doubt: longer than any round trip.
_EVERY = 2.5
_AT_ONCE = 200


class Watched(Protocol):
    """A connection, as far as it is watched over."""

    transport: asyncio.Transport

    def doubt(self) -> None:
        """Nothing that is under way arrives. Called again and again while that is so."""

    def give_up(self) -> None:
        """Its peer is gone."""


class Watchdog:
    """All TCP connections of a process."""

    __slots__ = ("_loop", "_rest", "_timer", "_under_way", "_watched")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: set[Watched] = set()
        # What of those with more under way was delivered, and when that was first seen: few.
        self._under_way: dict[Watched, tuple[int, float]] = {}
        self._rest: Iterator[Watched] = iter(())  # of this round
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, each: Watched) -> None:
        """Watch over a connection, from when its transport is there."""
        self._watched.add(each)
        if self._timer is None:
            self._timer = self._loop.call_later(_EVERY, self._round)

    def end(self, each: Watched) -> None:
        """It is gone."""
        self._watched.discard(each)
        self._under_way.pop(each, None)

    def close(self) -> None:
        """Watch over none any more."""
        self._watched.clear()
        self._under_way.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _round(self) -> None:
        self._rest = iter(list(self._watched))
        self._look()

    def _look(self) -> None:
        now = self._loop.time()
        for number, each in enumerate(self._rest, 1):
            self._one(each, now)
            if number == _AT_ONCE:
                self._timer = self._loop.call_later(0, self._look)
                return
        self._timer = self._loop.call_later(_EVERY, self._round) if self._watched else None

    def _one(self, each: Watched, now: float) -> None:
        if each not in self._watched:
            return
        count = delivered(each.transport)
        before, since = self._under_way.get(each, (None, now))
        if count is None:
            self._under_way.pop(each, None)
        elif count != before:
            self._under_way[each] = count, now
        elif now - since >= PATIENCE:
            each.give_up()
        else:
            each.doubt()
