"""An event loop whose time moves by hand, for protocols without sockets.

`turn` runs what is ready, once; `run` goes on until nothing is; `advance` moves time through every
timer on the way. What a callback raises is kept and raised again where the test is.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any


class DrivenLoop(asyncio.AbstractEventLoop):
    """Enough of an event loop for callbacks, timers, futures and tasks."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.turns = 0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = itertools.count()
        self._errors: list[BaseException] = []

    # -- what is driven -------------------------------------------------------------------------

    def time(self) -> float:
        return self.now

    def call_soon(
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._errors.append(context.get("exception") or RuntimeError(context["message"]))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    # -- what drives it -------------------------------------------------------------------------

    @property
    def timers(self) -> int:
        """Timers that are set and not cancelled."""
        return sum(not handle.cancelled() for _, _, handle in self._timers)

    def turn(self) -> bool:
        """Run what is ready now, not what that makes ready. False when nothing was."""
        self._due()
        count = len(self._ready)
        for _ in range(count):
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()
        self.turns += count > 0
        if self._errors:
            raise self._errors.pop(0)
        return count > 0

    def run(self) -> None:
        """Turn until nothing is ready."""
        for _ in range(100_000):
            if not self.turn():
                return
        raise AssertionError("the loop does not come to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at every timer."""
        end = self.now + seconds
        self.run()
        while self._timers and self._timers[0][0] <= end:
            self.now = max(self.now, self._timers[0][0])
            self.run()
        self.now = end
        self.run()

    def _due(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            handle = heapq.heappop(self._timers)[2]
            if not handle.cancelled():
                self._ready.append(handle)
