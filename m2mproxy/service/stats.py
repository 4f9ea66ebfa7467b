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
from collections.abc import Callable

from m2mproxy.http.faults import Fault
from m2mproxy.proxy.exchange import Exchange

# Upper bounds of the buckets in seconds, each 1/8 of an octave above the last. From a microsecond
# to an hour a quantile is at most 9 % more than the truth.
_BOUNDS = [1e-6 * 2 ** (step / 8) for step in range(32 * 8)]


class Histogram:
    """Durations in seconds."""

    __slots__ = ("_counts", "count", "total")

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self.count = 0
        self.total = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration."""
        self.count += 1
        self.total += seconds
        self._counts[bisect_left(_BOUNDS, seconds)] += 1

    @property
    def mean(self) -> float:
        """The average, 0 when nothing was recorded."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, q: float) -> float:
        """A duration which a share `q` of those recorded does not exceed, 0 when there are none."""
        wanted = math.ceil(self.count * q)
        seen = 0
        for bound, count in zip(_BOUNDS, self._counts, strict=False):
            seen += count
            if count and seen >= wanted:
                return bound
        return _BOUNDS[-1] if self.count else 0.0


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
        self._up = 0
        self._down = 0
        self._by_status: dict[int, int] = defaultdict(int)
        self._errors: dict[str, int] = defaultdict(int)
        self._added = Histogram()

    def record(self, x: Exchange) -> None:
        """Count an exchange that ended."""
        error = error_of(x)
        if error:
            self._errors[error] += 1
        elif not x.forwarded:
            return
        self._by_status[status_of(x)] += 1
        self._up += x.bytes_up
        self._down += x.bytes_down
        if x.relayed:
            self._added.record(x.added)
        if x.retried:
            self._retries += 1

    def refused(self, fault: Fault) -> None:
        """Count what never became an exchange: no request, or one too many."""
        self._errors[fault.code] += 1
        self._by_status[fault.status] += 1

    def snapshot(self) -> dict[str, object]:
        """The figures. Nothing is compressed yet, so what goes out is what came in."""
        now = self._clock()
        bytes_in = bytes_out = self._up + self._down
        return {
            "requests_total": sum(self._by_status.values()),
            "requests_by_status": {str(k): v for k, v in sorted(self._by_status.items())},
            "errors": dict(sorted(self._errors.items())),
            "retries": self._retries,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
            "compression_ratio": round(bytes_out / bytes_in, 4) if bytes_in else 1.0,
            "request_bytes": {"in": self._up, "out": self._up},
            "response_bytes": {"in": self._down, "out": self._down},
            "avg_latency_ms": round(self._added.mean * 1e3, 4),
            "p99_latency_ms": round(self._added.quantile(0.99) * 1e3, 4),
            "uptime_s": round(now - self._started, 3),
            "counted_s": round(now - self._since, 3),
        }


def status_of(x: Exchange) -> int:
    """The status that the client got; 499 when it left before it got one."""
    if x.response is not None:
        return x.response.status
    return x.fault.status if x.fault is not None else 500


def error_of(x: Exchange) -> str:
    """The code of what went wrong, "" for nothing."""
    if x.fault is not None:
        return x.fault.code
    return "internal_error" if x.bug is not None else ""
