"""How long an exchange may be silent in each of its phases, and in all.

The one rule: time counts from the last byte that moved, either way.
"""

from __future__ import annotations

import enum

from m2mproxy.config import Timeouts
from m2mproxy.http.faults import Busy, ClientGone, Fault, TooLate
from m2mproxy.proxy.pump import Pump


class Phase(enum.Enum):
    """What an exchange waits for."""

    BODY = "body"
    """The client's body, which its connection watches."""
    CONNECT = "connect"
    """A connection, whose dial has its own deadline."""
    POOL = "pool"
    """Another request's connection."""
    FIRST_BYTE = "first_byte"
    """The response's head."""
    IDLE = "idle"
    """More of the response."""


class Patience:
    """What one exchange waits for, and since when. Times are seconds by its clock."""

    __slots__ = ("_phase", "_timeouts", "last_comment", "silent_since", "started")

    def __init__(self, timeouts: Timeouts, started: float) -> None:
        self._timeouts = timeouts
        self._phase = Phase.BODY
        self.started = self.silent_since = started
        self.last_comment = 0.0
        """When a sign of life was last given to the client."""

    def enter(self, phase: Phase, now: float) -> None:
        """Something else is waited for."""
        self._phase = phase
        self.silent_since = now

    def silence(self, now: float) -> float:
        """How long the client has heard nothing."""
        return now - max(self.silent_since, self.last_comment)

    def ends(self, now: float, moving: Pump | None, sent_at: float = 0.0) -> Fault | None:
        """Whether it is too late. `moving` is what moves bytes to whoever waits for them, `sent_at`
        when any of the request last moved, which can go on beside its response."""
        limits = self._timeouts
        if limits.total and now - self.started > limits.total:
            return TooLate("total", f"the exchange took longer than {limits.total:g} s")
        if moving is not None and moving.touched > self.silent_since:
            self.silent_since = moving.touched
        silent = now - max(self.silent_since, sent_at)
        if self._phase is Phase.POOL and silent > limits.pool:
            return Busy("upstream_busy", "all connections to the upstream are in use")
        if self._phase is Phase.FIRST_BYTE and silent > limits.first_byte:
            return TooLate("first_byte", f"no response within {limits.first_byte:g} s")
        if self._phase is Phase.IDLE and silent > limits.idle:
            if moving is not None and moving.is_held:
                return ClientGone("the client stopped reading")
            return TooLate("idle", f"the upstream sent nothing for {limits.idle:g} s")
        return None
