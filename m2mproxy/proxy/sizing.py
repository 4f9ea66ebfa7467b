"""Waits a moment for the end of a body of unknown length, so that its length becomes known.

What an application sends chunked, or over HTTP/2 without content-length, is nearly always a JSON
text that it has, and all of it is here within milliseconds. So its end is waited for, where the
request would be coded if it said its length, and then it goes the way of those that did.

The one rule: nobody who waits for us is held up. A body that pauses, takes long, or is large goes
on as it comes, with backpressure and to its own end; what came first goes first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from m2mproxy.http.body import CHUNK_COST, Body, Chunk, Resumed
from m2mproxy.http.flow import Signal
from m2mproxy.http.message import Request
from m2mproxy.net.connection import Stream
from m2mproxy.proxy.held import MOST_HELD, Held
from m2mproxy.proxy.intake import invite
from m2mproxy.proxy.ledger import Ledger

# Whoever waits for the reply to begin, or for anything else, before it sends the rest sends nothing
# meanwhile. Two packets of one text are not as far apart, even if one was lost: it is sent again
# after 0.2 seconds, and what a mobile network takes (RFC 6298 2.4, and Linux' TCP_RTO_MIN).
SILENCE = 0.5
# And a body that does come, but slowly: it could have begun to leave meanwhile. A client that is
# near has sent 8 MiB by then, one with 10 Mbit/s two.
LONGEST = 2.0


class Sizing:
    """The wait for one body's end, from now on."""

    __slots__ = ("_arrived", "_begun", "_change", "_clock")

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is in seconds."""
        self._clock = clock
        self._begun = self._arrived = clock()
        self._change: Signal[None] = Signal()

    def check(self, now: float) -> None:
        """Called a few times a second: is it too late?"""
        if self._is_over(now):
            self._change.set(None)

    def _is_over(self, now: float) -> bool:
        return now - self._arrived >= SILENCE or now - self._begun >= LONGEST

    async def of(
        self,
        request: Request,
        downstream: Stream,
        body: Body,
        limit: int,
        held: Held,
        ledger: Ledger,
    ) -> Body:
        """All of `body`, asked for, if its end comes soon, and it takes no more than `limit` bytes,
        MOST_HELD bytes of memory, and what `held` has room for; `request` says how long it is, but
        where there are trailers, which only a body without a length can have. Else one that has the
        same chunks and all that is still to come, and `ledger` says why.

        Raises:
            Fault: what ended `body` before its end. Nothing of it has gone anywhere.
        """
        invite(request, downstream)
        taken, why = await self._take(body, min(limit, MOST_HELD), held)
        size, is_all = sum(map(len, taken)), body.ended and not body.held
        if body.trailers:
            ledger.why = "trailers"
        elif is_all and size <= limit:
            request.set_length(size)
        else:
            ledger.why = why
        return Resumed(taken, body)

    async def _take(self, body: Body, most: int, held: Held) -> tuple[list[Chunk], str]:
        """What comes of `body` in time, and why that may not be all of it."""
        taken: list[Chunk] = []
        weight = 0
        while True:
            while (chunk := body.take()) is not None:
                taken.append(chunk)
                weight += len(chunk) + CHUNK_COST
                self._arrived = self._clock()
                if weight > most or not held.take(weight):
                    return taken, "too large" if weight > most else "no room"
            if body.fault is not None:
                raise body.fault
            if body.ended:
                return taken, ""
            if self._is_over(self._clock()):
                return taken, "no end"
            self._change = Signal()
            body.on_change = partial(self._change.set, None)
            await self._change
