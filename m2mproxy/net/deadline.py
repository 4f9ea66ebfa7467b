"""A point in time at which something gives up.

Nearly all are moved or cleared long before they come, and a timer of the loop is half a kilobyte:
after the transport the most that an idle client takes. So those that are far away share some.

The one rule: moving a deadline further away costs no timer. The timer that is already there fires
early, sees that the time has not come, and is set again; a connection that moves its deadline with
every request therefore has one timer at most, not one for each request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_EARLY = 0.002  # seconds by which a timer of a coarse clock may fire too soon
# Deadlines at least so many seconds away share a timer with others of the same part of a second. It
# fires when that begins, and then each has a timer of its own.
_FAR = 1.0
_PARTS = 4


class Deadlines:
    """The deadlines of a process that are far away, by the part of a second in which they come."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[int, tuple[asyncio.TimerHandle, set[Deadline]]] = {}

    def add(self, deadline: Deadline, when: float) -> None:
        """Call `deadline` back less than a part of a second before `when`, which is far away."""
        part = int(when * _PARTS)
        if part not in self._waiting:
            timer = self._loop.call_at(part / _PARTS, self._begin, part)
            self._waiting[part] = timer, set()
        self._waiting[part][1].add(deadline)

    def remove(self, deadline: Deadline, when: float) -> None:
        """Do not call it for that time, for which it was added."""
        part = int(when * _PARTS)
        timer, deadlines = self._waiting[part]
        deadlines.discard(deadline)
        if not deadlines:
            timer.cancel()
            del self._waiting[part]

    def _begin(self, part: int) -> None:
        for deadline in self._waiting.pop(part)[1]:
            deadline.comes_near()


class Deadline:
    """At most one point in time, and what is called then."""

    __slots__ = ("_action", "_loop", "_set_for", "_shared", "_timer", "when")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        action: Callable[[], None],
        shared: Deadlines | None = None,
    ) -> None:
        """`shared` is for one of very many; without it, it has a timer of its own at all times."""
        self._loop = loop
        self._action = action
        self._shared = shared
        self._timer: asyncio.TimerHandle | None = None
        self._set_for: float | None = None  # which it waits for, alone or with others
        self.when: float | None = None

    def at(self, when: float) -> None:
        """Move the deadline to `when`, in the loop's time."""
        self.when = when
        if self._set_for is not None:
            if self._set_for <= when:
                return
            self._unset(self._set_for)
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
        if self._set_for is not None:
            self._unset(self._set_for)

    def end(self) -> None:
        """No deadline ever again: let go of its owner, who holds us."""
        self.cancel()
        self._action = _nothing

    def comes_near(self) -> None:
        """What it waited for with others is less than a part of a second away."""
        self._set_for = None
        if self.when is not None:
            self._set(self.when)

    def _set(self, when: float) -> None:
        self._set_for = when
        if self._shared is not None and when - self._loop.time() >= _FAR:
            self._shared.add(self, when)
        else:
            self._timer = self._loop.call_at(when, self._fire)

    def _unset(self, when: float) -> None:
        self._set_for = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif self._shared is not None:
            self._shared.remove(self, when)

    def _fire(self) -> None:
        self._timer = self._set_for = None
        if self.when is None:
            return
        if self.when - self._loop.time() > _EARLY:
            self._set(self.when)
        else:
            self.when = None
            self._action()


def _nothing() -> None:
    """The owner is gone."""
