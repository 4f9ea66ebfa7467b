"""Counters for operators: what GET /stats says.

The one rule: every figure has a fixed size, whatever happens; recording costs a few additions.
"""

from __future__ import annotations

import math
from collections import Counter

from m2mproxy.http.faults import Fault
from m2mproxy.proxy.exchange import Exchange

# Buckets of a factor of 2**(1/8): a quantile is read with an error of at most 9 %.
_PER_OCTAVE = 8
_SMALLEST = 1e-6
_BUCKETS = 30 * _PER_OCTAVE


class Histogram:
    """Durations in seconds, from a microsecond to a quarter of an hour."""

    __slots__ = ("_counts", "count", "total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.total = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration."""
        self.count += 1
        self.total += seconds
        if seconds > _SMALLEST:
            bucket = int(math.log2(seconds / _SMALLEST) * _PER_OCTAVE)
            self._counts[min(bucket, _BUCKETS - 1)] += 1
        else:
            self._counts[0] += 1

    @property
    def mean(self) -> float:
        """The average, 0 when nothing was recorded."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, q: float) -> float:
        """A duration which a share `q` of those recorded does not exceed."""
        wanted = math.ceil(self.count * q)
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= wanted and count:
                return float(_SMALLEST * 2 ** ((bucket + 1) / _PER_OCTAVE))
        return 0.0


class Stats:
    """Everything counted since the start or the last reset."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin again at zero."""
        self.requests = 0
        self.retries = 0
        self.up = 0
        self.down = 0
        self.by_status: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.added = Histogram()

    def record(self, exchange: Exchange) -> None:
        """Count an exchange that ended. Those that we answer ourselves are no traffic."""
        if exchange.fault is not None:
            self.errors[exchange.fault.code] += 1
        elif exchange.bug is not None:
            self.errors["internal_error"] += 1
        if not exchange.forwarded:
            return
        self.requests += 1
        self.by_status[status_of(exchange)] += 1
        self.retries += exchange.retried
        self.up += exchange.bytes_up
        self.down += exchange.bytes_down
        if exchange.relayed:
            self.added.record(exchange.added)

    def refused(self, fault: Fault) -> None:
        """Count what never became an exchange."""
        self.errors[fault.code] += 1

    def snapshot(self) -> dict[str, object]:
        """The figures. Nothing is compressed yet, so both sides of the upstream leg are equal."""
        total = self.up + self.down
        return {
            "requests_total": self.requests,
            "bytes_in": total,
            "bytes_out": total,
            "compression_ratio": 1.0,
            "avg_latency_ms": round(self.added.mean * 1e3, 4),
            "p99_latency_ms": round(self.added.quantile(0.99) * 1e3, 4),
            "requests_by_status": {str(k): v for k, v in sorted(self.by_status.items())},
            "request_bytes": {"in": self.up, "out": self.up},
            "response_bytes": {"in": self.down, "out": self.down},
            "retries": self.retries,
            "errors": dict(sorted(self.errors.items())),
        }


def status_of(exchange: Exchange) -> int:
    """The status that the client got; 499 when it left before it got one."""
    if exchange.response is not None:
        return exchange.response.status
    return exchange.fault.status if exchange.fault is not None else 500
