"""Peers that are gone without a word: a cable was pulled, a radio lost, an address forgotten.

TCP says so after a quarter of an hour, while a model works on for nobody. Its own shorter limit,
TCP_USER_TIMEOUT, would end those who only do not read, too. What tells the two apart is that a
machine that is there acknowledges what arrives.

The one rule: a connection ends here when what is under way was not acknowledged for a minute, none
of it. One on which nothing is under way is the kernel's to ask about (`tune` in tcp.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from m2mproxy.net.path import delivered

# Seconds without an acknowledgement: longer than a tunnel, shorter than most answers.
PATIENCE = 60.0
# How often each connection is looked at, in seconds, and how many in one turn of the loop.
_EVERY = 5.0
_AT_ONCE = 200


@dataclass(slots=True)
class _Seen:
    """What a connection had delivered, and when that was first seen with more under way."""

    give_up: Callable[[], None]
    count: int | None = None
    since: float = 0.0


class Vigil:
    """All TCP connections of a process."""

    __slots__ = ("_loop", "_rest", "_seen", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._seen: dict[asyncio.Transport, _Seen] = {}
        self._rest: Iterator[asyncio.Transport] = iter(())  # of this round
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport, give_up: Callable[[], None]) -> None:
        """Watch over a connection; `give_up` is called if its peer is gone."""
        self._seen[transport] = _Seen(give_up)
        if self._timer is None:
            self._timer = self._loop.call_later(_EVERY, self._round)

    def end(self, transport: asyncio.Transport) -> None:
        """It is gone."""
        self._seen.pop(transport, None)

    def close(self) -> None:
        """Watch over none any more."""
        self._seen.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _round(self) -> None:
        self._rest = iter(list(self._seen))
        self._look()

    def _look(self) -> None:
        now = self._loop.time()
        for number, transport in enumerate(self._rest, 1):
            self._one(transport, now)
            if number == _AT_ONCE:
                self._timer = self._loop.call_later(0, self._look)
                return
        self._timer = self._loop.call_later(_EVERY, self._round) if self._seen else None

    def _one(self, transport: asyncio.Transport, now: float) -> None:
        seen = self._seen.get(transport)
        if seen is None:
            return
        count = delivered(transport)
        if count is None or count != seen.count:
            seen.count, seen.since = count, now
        elif now - seen.since >= PATIENCE:
            seen.give_up()
