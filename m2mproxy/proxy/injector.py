"""What the proxy itself says inside an event stream that it passes on.

The one rule: bytes of our own stand between two events, and what cannot stand there is not said.
"""

from __future__ import annotations

from m2mproxy.http.faults import Fault
from m2mproxy.net.connection import Stream
from m2mproxy.proxy.errors import fault_event
from m2mproxy.proxy.patience import Patience
from m2mproxy.proxy.pump import Pump
from m2mproxy.proxy.sse import COMMENT, Boundary


class Injector:
    """Speaks between the events of one download. `boundary` has to see the plain bytes pass."""

    __slots__ = ("_every", "_out", "_pump", "boundary")

    def __init__(self, pump: Pump, out: Stream, every: float) -> None:
        """`every` so many seconds of silence there is a sign of life; 0 for never."""
        self._every = every
        self._pump = pump
        self._out = out
        self.boundary = Boundary()

    def fault(self, fault: Fault, target: bytes) -> None:
        """A last event: what ends the stream before its time. It ends what is half out.

        Where another instance stands between us and the model, it has told already.
        """
        if self.boundary.has_told:
            return
        if not self.boundary.between_events:
            self._pump.inject(b"\n\n", self._out)
        self._pump.inject(fault_event(fault, target), self._out)

    def keep_alive(self, patience: Patience, now: float) -> bool:
        """A sign of life for the client of a silent stream, and what stands between, if it is time
        for one and there is a place and room. Whether it was given."""
        is_due = bool(self._every) and patience.silence(now) >= self._every
        if not (is_due and self.boundary.between_events and self._out.gate.is_open):
            return False
        self._pump.inject(COMMENT, self._out)
        patience.last_comment = now
        return True
