"""A point in time at which something gives up.

The one rule: moving a deadline further away costs no timer. The handle that is already there fires
early, sees that the time has not come, and is set again; a connection that moves its deadline with
every request therefore has one timer, not one for each request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_EARLY = 0.002  # seconds by which a timer of a coarse clock may fire too soon


class Deadline:
    """At most one point in time, and what is called then."""

    __slots__ = ("_action", "_handle", "_loop", "_set_for", "when")

    def __init__(self, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
        self._loop = loop
        self._action = action
        self._handle: asyncio.TimerHandle | None = None
        self._set_for = 0.0
        self.when: float | None = None

    def at(self, when: float) -> None:
        """Move the deadline to `when`, in the loop's time."""
        self.when = when
        if self._handle is not None:
            if self._set_for <= when:
                return
            self._handle.cancel()
        self._set(when)

    def after(self, seconds: float) -> None:
        """Move the deadline to `seconds` from now."""
        self.at(self._loop.time() + seconds)

    def clear(self) -> None:
        """No deadline for now. The timer may stay for the next one."""
        self.when = None

    def cancel(self) -> None:
        """No deadline any more."""
        self.when = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self, when: float) -> None:
        self._set_for = when
        self._handle = self._loop.call_at(when, self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self.when is None:
            return
        if self.when - self._loop.time() > _EARLY:
            self._set(self.when)
        else:
            self.when = None
            self._action()
