"""Tokens by model: input and output, how each figure is known, and what they cost.

An exchange is booked, and its line of the log written, when its tokens are known. If they are still
being counted when it ends, the line waits a moment for them and no longer; what is counted later is
in the figures only. A cost that a reply reports takes precedence over our prices; the two are not
added up, since their currencies may differ.

The one rule: every figure has a fixed size, whatever clients name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from m2mproxy.config import Price, Prices
from m2mproxy.proxy.record import Record
from m2mproxy.proxy.tally import Tally
from m2mproxy.tokens.job import TokenCount

# Models that have figures of their own; clients name what they like.
MOST_MODELS = 64
OTHER = "other"
# How long a line of the log waits for what is being counted, in seconds.
PATIENCE = 1.0

REPORTED, COUNTED, ESTIMATED = range(3)
_BY = ("reported", "counted", "estimated")


class _Cost:
    """A sum, None as long as nothing is known."""

    __slots__ = ("sum",)

    def __init__(self) -> None:
        self.sum: float | None = None

    def add(self, cost: float) -> None:
        self.sum = cost if self.sum is None else self.sum + cost

    def figure(self) -> float | None:
        return None if self.sum is None else round(self.sum, 6)


class _Model:
    """The figures of one model. `price` is None where there is none."""

    __slots__ = (
        "cached", "input", "output", "price", "priced", "reasoning", "reported", "requests",
        "written",
    )  # fmt: skip

    def __init__(self, price: Price | None) -> None:
        self.price = price
        self.requests = 0
        self.input = [0, 0, 0]
        self.output = [0, 0, 0]
        self.cached = self.written = 0
        self.reasoning = 0
        self.reported, self.priced = _Cost(), _Cost()

    def add(self, tally: Tally, price: Price | None) -> None:
        given, made, cached = tally.input, tally.output, tally.cached or 0
        self.requests += 1
        if given is not None:
            self.input[REPORTED if tally.is_reported[0] else _by(given)] += given.number
        if made is not None:
            self.output[REPORTED if tally.is_reported[1] else _by(made)] += made.number
        self.cached += cached
        self.written += tally.written
        self.reasoning += tally.reasoning or 0
        if tally.cost is not None:
            self.reported.add(tally.cost)
        elif price is not None:
            numbers = (given.number if given else 0, cached, made.number if made else 0)
            tally.cost = price.cost(*numbers, tally.written, tally.written_1h)
            self.priced.add(tally.cost)

    def figures(self) -> dict[str, object]:
        return {
            "requests": self.requests,
            "input": dict(zip(_BY, self.input, strict=True)),
            "output": dict(zip(_BY, self.output, strict=True)),
            "cached_input": self.cached,
            "cache_write_input": self.written,
            "reasoning_output": self.reasoning,
            "cost": {"reported": self.reported.figure(), "priced": self.priced.figure()},
        }


def _by(tokens: TokenCount) -> int:
    return COUNTED if tokens.is_exact else ESTIMATED


class Accounts:
    """What all exchanges took since the start or the last reset."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        prices: Prices,
        write: Callable[[Record], None],
    ) -> None:
        """`write` writes an exchange's line of the log."""
        self._loop = loop
        self._prices = prices
        self._write = write
        self._waiting: dict[Record, asyncio.TimerHandle] = {}
        self._settled = asyncio.Event()  # no line waits
        self._settled.set()
        self.reset()

    def reset(self) -> None:
        """Begin again at zero."""
        self._models: dict[str, _Model] = {}
        self._unknown = 0

    def ended(self, x: Record) -> None:
        """An exchange is over."""
        tally = x.tally
        if tally is None or not tally.is_pending:
            if tally is not None:
                self._book(tally)
            self._write(x)
            return
        self._settled.clear()
        self._waiting[x] = self._loop.call_later(PATIENCE, self._line, x)
        tally.on_settled = lambda: self._counted(x, tally)

    def _counted(self, x: Record, tally: Tally) -> None:
        self._book(tally)
        self._line(x)

    def _line(self, x: Record) -> None:
        timer = self._waiting.pop(x, None)
        if timer is not None:
            timer.cancel()
            self._write(x)
        if not self._waiting:
            self._settled.set()

    async def settled(self) -> None:
        """Return when no line waits any more: PATIENCE after the last exchange, or sooner."""
        await self._settled.wait()

    def close(self) -> None:
        """Wait for nothing more."""
        for x in list(self._waiting):
            self._line(x)

    def _book(self, tally: Tally) -> None:
        if not tally.is_due:
            return
        if tally.input is None or tally.output is None:
            self._unknown += 1
        if tally.input is None and tally.output is None:
            return
        model = self._models.get(tally.model)
        if model is not None:
            model.add(tally, model.price)
            return
        price = self._prices.of(tally.model)
        self._new(tally.model, price).add(tally, price)

    def _new(self, name: str, price: Price | None) -> _Model:
        if len(self._models) >= MOST_MODELS:
            name, price = OTHER, None
        return self._models.setdefault(name, _Model(price))

    def snapshot(self) -> dict[str, object]:
        """The figures."""
        return {
            "models": {name: model.figures() for name, model in sorted(self._models.items())},
            "unknown": self._unknown,
            "currency": self._prices.currency or None,
        }
