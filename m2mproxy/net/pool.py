"""Who may use which upstream connection.

The one rule: the pool owns connections and dials, a request only waits to be given a stream. Every
transition is synchronous, so a request that is cancelled at any moment leaves nothing behind but a
connection for the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from m2mproxy.http.faults import Busy, Fault
from m2mproxy.http.flow import Signal
from m2mproxy.http.message import Origin, Request
from m2mproxy.net.connection import Connection, Stream


class Reusable(Connection, Protocol):
    """A client-role connection as the pool sees it."""

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent: the upstream has not closed, as far as is known."""

    def open_stream(self) -> Stream:
        """A stream for the next request."""


class Dial(Protocol):
    """How the pool gets new connections: `Dialler`, or a test's wire."""

    def dial(
        self, origin: Origin, owner: Destination, report: Callable[[Reusable | Fault], None]
    ) -> None:
        """Connect to `origin` on behalf of `owner`, then `report` once."""


class Wait(Signal[Stream]):
    """A request's place in a queue. `leave` gives it up at any time."""

    __slots__ = ("_queue",)

    def __init__(self, queue: deque[Wait]) -> None:
        super().__init__()
        self._queue = queue

    def leave(self) -> None:
        """No longer wanted."""
        if not self.done:
            self._queue.remove(self)
            self.done = True


class Destination:
    """All connections to one origin."""

    def __init__(
        self,
        origin: Origin,
        loop: asyncio.AbstractEventLoop,
        dialler: Dial,
        limit: int,
        idle_seconds: float,
    ) -> None:
        self.origin = origin
        self._loop = loop
        self._dialler = dialler
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._idle: list[tuple[Reusable, float]] = []  # newest last, with the time they came
        self._live: set[Connection] = set()
        self._dialling = 0
        self._waiting: deque[Wait] = deque()  # for any connection
        self._insisting: deque[Wait] = deque()  # for one never used before
        self._sweep: asyncio.TimerHandle | None = None

    # -- what requests ask ----------------------------------------------------------------------

    def stream(self, fresh: bool = False) -> Wait:
        """A stream, at once if a connection is idle. `fresh` insists on one never used before."""
        queue = self._insisting if fresh else self._waiting
        wait = Wait(queue)
        connection = None if fresh or queue else self._take_idle()
        if connection is not None:
            wait.set(connection.open_stream())
        else:
            queue.append(wait)
            self._dial_if_needed()
        return wait

    def _take_idle(self) -> Reusable | None:
        """The newest idle connection that its upstream has not begun to close."""
        while self._idle:
            connection = self._idle.pop()[0]
            if connection.is_usable:
                return connection
        return None

    @property
    def is_full(self) -> bool:
        """Whether a request has to wait for another one's connection."""
        return len(self._live) + self._dialling >= self._limit

    @property
    def is_connected(self) -> bool:
        """Whether any connection is open, in use or not."""
        return bool(self._live)

    def counts(self) -> dict[str, int]:
        """Connections by state, and requests waiting for one."""
        idle = len(self._idle)
        return {
            "active": len(self._live) - idle,
            "idle": idle,
            "connecting": self._dialling,
            "waiting": len(self._waiting) + len(self._insisting),
        }

    def close(self) -> None:
        """Close every connection and turn away every request that waits."""
        while wait := self._next_in_line():
            wait.fail(Busy("shutting_down", "the proxy is stopping"))
        for connection in list(self._live):
            connection.abort()

    # -- what dials and connections report ------------------------------------------------------

    def _next_in_line(self) -> Wait | None:
        queue = self._insisting or self._waiting
        return queue.popleft() if queue else None

    def _dial_if_needed(self) -> None:
        while self._dialling < len(self._waiting) + len(self._insisting) and not self.is_full:
            self._dialling += 1
            self._dialler.dial(self.origin, self, self._dialled)

    def _dialled(self, outcome: Reusable | Fault) -> None:
        self._dialling -= 1
        wait = self._next_in_line()
        if isinstance(outcome, Fault):
            if wait is not None:
                wait.fail(outcome)
            self._dial_if_needed()
            return
        self._live.add(outcome)
        if wait is not None:
            wait.set(outcome.open_stream())
        else:
            outcome.open_stream().reset()  # idle, and as likely to go stale as a used one

    def idle(self, connection: Connection) -> None:
        """A connection is free: the oldest request that waits gets it."""
        if connection not in self._live:
            connection.abort()
            return
        self._keep(cast(Reusable, connection))
        if self._waiting:
            # Not from here: this call comes out of another exchange's last step.
            self._loop.call_soon(self._offer)

    def _offer(self) -> None:
        while self._waiting and (connection := self._take_idle()) is not None:
            self._waiting.popleft().set(connection.open_stream())

    def closed(self, connection: Connection) -> None:
        """A connection is gone, idle or not: there may be room for another."""
        self._live.discard(connection)
        self._idle = [entry for entry in self._idle if entry[0] is not connection]
        self._dial_if_needed()

    def requested(self, stream: Stream, request: Request) -> None:
        raise RuntimeError("a client's connection receives no requests")

    def refused(self, stream: Stream, fault: Fault) -> None:
        raise RuntimeError("a client's connection receives no requests")

    # -- idle connections -----------------------------------------------------------------------

    def _keep(self, connection: Reusable) -> None:
        self._idle.append((connection, self._loop.time()))
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._idle_seconds, self._close_old)

    def _close_old(self) -> None:
        """Close what has been idle too long: before the upstream does, or a request could meet
        its closing."""
        self._sweep = None
        limit = self._loop.time() - self._idle_seconds + 0.01
        old = [entry for entry in self._idle if entry[1] <= limit]
        self._idle = self._idle[len(old) :]
        for connection, _ in old:
            connection.abort()
        if self._idle:
            wait = self._idle[0][1] + self._idle_seconds - self._loop.time()
            self._sweep = self._loop.call_later(max(wait, 0.01), self._close_old)


class Pool:
    """A Destination for each origin."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, dialler: Dial, limit: int, idle_seconds: float
    ) -> None:
        self._loop = loop
        self._dialler = dialler
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._destinations: dict[Origin, Destination] = {}

    def to(self, origin: Origin) -> Destination:
        """The connections to `origin`. Origins come from the configuration, so they are few."""
        found = self._destinations.get(origin)
        if found is None:
            found = Destination(
                origin, self._loop, self._dialler, self._limit, self._idle_seconds
            )
            self._destinations[origin] = found
        return found

    def counts(self) -> dict[str, dict[str, int]]:
        """`Destination.counts` of each origin."""
        return {str(origin): each.counts() for origin, each in self._destinations.items()}

    def close(self) -> None:
        """Close everything."""
        for destination in self._destinations.values():
            destination.close()
