"""Counters for operators: what GET /stats says.

A request is counted when it has ended, whoever answered it: the upstream, or the proxy because it
could not or must not forward it (404, 413, 400, 503, ...). So `requests_by_status` adds up to
`requests_total`, and an operator's error rate is their quotient. Only what our own endpoints answer
is not counted: whoever asks for figures or health does not change them.

The one rule: every figure has a fixed size, whatever happens; recording costs a few additions.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate

from m2mproxy.http.faults import Fault
from m2mproxy.proxy.ledger import IDENTITY, Ledger
from m2mproxy.proxy.record import Record

# Upper bounds of the buckets in seconds, each 1/8 of an octave above the last. From a microsecond
# to an hour a quantile is at most 9 % more than the truth.
_BOUNDS = [1e-6 * 2 ** (step / 8) for step in range(32 * 8)]
# Those that others make quantiles of, of a model server's times: few, since each is a series there.
_FIRST_BYTE = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_DURATION = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Histogram:
    """Durations in seconds."""

    __slots__ = ("_bounds", "_counts", "count", "total")

    def __init__(self, bounds: Sequence[float] = _BOUNDS) -> None:
        """`bounds` are the upper ones of the buckets, ascending."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.count = 0
        self.total = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration."""
        self.count += 1
        self.total += seconds
        self._counts[bisect_left(self._bounds, seconds)] += 1

    @property
    def mean(self) -> float:
        """The average, 0 when nothing was recorded."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, q: float) -> float:
        """A duration which a share `q` of those recorded does not exceed, 0 when there are none."""
        wanted = math.ceil(self.count * q)
        seen = 0
        for bound, count in zip(self._bounds, self._counts, strict=False):
            seen += count
            if count and seen >= wanted:
                return bound
        return self._bounds[-1] if self.count else 0.0

    def summary(self) -> dict[str, object]:
        """How many there were, their sum, and some quantiles."""
        quantiles = {str(q): round(self.quantile(q), 9) for q in (0.5, 0.9, 0.99)}
        return {"count": self.count, "sum": round(self.total, 6), "quantiles": quantiles}

    def figures(self) -> dict[str, object]:
        """How many there were, their sum, and how many did not exceed each bound."""
        below = accumulate(self._counts[:-1])
        return {
            "count": self.count,
            "sum": round(self.total, 6),
            "up_to": {str(bound): count for bound, count in zip(self._bounds, below, strict=True)},
        }


_LEGS = ("client request", "client response", "upstream request", "upstream response")
_MOST_CODINGS = 64  # a client can name what it likes


class Stats:
    """Everything counted since the start or the last reset."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self.reset()

    def reset(self) -> None:
        """Begin again at zero."""
        self._since = self._clock()
        self._retries = 0
        # Bytes on each wire, and as they would have been plain.
        self._wire = [0, 0, 0, 0]
        self._plain = [0, 0, 0, 0]
        self._codings: dict[tuple[str, str], list[int]] = {}
        self._why: dict[str, int] = defaultdict(int)
        self._by_status: dict[int, int] = defaultdict(int)
        self._errors: dict[str, int] = defaultdict(int)
        self._added = Histogram()
        self._first_byte = Histogram(_FIRST_BYTE)
        self._duration = Histogram(_DURATION)

    def record(self, x: Record) -> None:
        """Count an exchange that ended."""
        if error := x.error:
            self._errors[error] += 1
        elif not x.forwarded:
            return
        self._by_status[x.status] += 1
        if why := x.why:
            self._why[why] += 1
        if x.ledger is not None:
            self._coded(x.ledger)
        else:
            up, down = x.bytes_up, x.bytes_down
            for at, size in enumerate((up, down, up, down)):
                self._wire[at] += size
                self._plain[at] += size
        if x.relayed:
            self._added.record(x.added)
            self._first_byte.record(x.answered - x.started)
        if x.forwarded:
            self._duration.record(x.ended - x.started)
        if x.retried:
            self._retries += 1

    def _coded(self, ledger: Ledger) -> None:
        for at, (leg, each) in enumerate(zip(_LEGS, ledger.directions, strict=True)):
            self._wire[at] += each.wire
            self._plain[at] += each.plain
            if each.coding != IDENTITY and (
                (leg, each.coding) in self._codings or len(self._codings) < _MOST_CODINGS
            ):
                counts = self._codings.setdefault((leg, each.coding), [0, 0, 0])
                counts[0] += 1
                counts[1] += each.plain
                counts[2] += each.wire

    def refused(self, fault: Fault) -> None:
        """Count what never became an exchange: no request, or one too many."""
        self._errors[fault.code] += 1
        self._by_status[fault.status] += 1

    def snapshot(self) -> dict[str, object]:
        """The figures. Bytes are those that crossed a wire, coded as they were."""
        now = self._clock()
        from_client, to_client, to_upstream, from_upstream = self._wire
        wire, plain = sum(self._wire), sum(self._plain)
        return {
            "requests_total": sum(self._by_status.values()),
            "requests_by_status": {str(k): v for k, v in sorted(self._by_status.items())},
            "errors": dict(sorted(self._errors.items())),
            "retries": self._retries,
            "bytes_in": from_client + from_upstream,
            "bytes_out": to_upstream + to_client,
            "bytes_plain": plain,
            "compression_ratio": round(wire / plain, 4) if plain else 1.0,
            "request_bytes": {"in": from_client, "out": to_upstream},
            "response_bytes": {"in": from_upstream, "out": to_client},
            "codings": [
                {"leg": leg, "coding": coding, "messages": n, "plain": before, "wire": after}
                for (leg, coding), (n, before, after) in sorted(self._codings.items())
            ],
            "legs": [
                {"leg": leg, "plain": before, "wire": after}
                for leg, before, after in zip(_LEGS, self._plain, self._wire, strict=True)
            ],
            "request_coding_reasons": dict(sorted(self._why.items())),
            "avg_latency_ms": round(self._added.mean * 1e3, 4),
            "p99_latency_ms": round(self._added.quantile(0.99) * 1e3, 4),
            "added_seconds": self._added.summary(),
            "first_byte_seconds": self._first_byte.figures(),
            "duration_seconds": self._duration.figures(),
            "uptime_s": round(now - self._started, 3),
            "counted_s": round(now - self._since, 3),
        }
