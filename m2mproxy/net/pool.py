"""Who may use which upstream connection.

The one rule: the pool owns connections and dials, a request only waits to be given a stream. Every
transition is synchronous, so a request that is cancelled at any moment leaves nothing behind but a
connection for the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import cast

from m2mproxy.http.faults import Busy, Fault
from m2mproxy.http.flow import Signal
from m2mproxy.http.message import Origin, Request
from m2mproxy.net.attempt import Attempt
from m2mproxy.net.connection import Connection, Runtime, Session, Stream
from m2mproxy.net.deadline import Deadline
from m2mproxy.net.h2_engine import MAX_STREAMS
from m2mproxy.net.reusable import Dial, Reusable

# Seconds: connections that become too old within so many are closed together.
_TOGETHER = 0.01


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
        runtime: Runtime,
        dialler: Dial,
        limit: int,
    ) -> None:
        loop, timeouts = runtime.loop, runtime.timeouts
        self.origin = origin
        self._loop = loop
        self._dialler = dialler
        self._limit = limit
        # A new one with TLS takes two or three round trips, often long ones.
        self._idle_seconds = (
            timeouts.upstream_keepalive_https
            if origin.scheme == "https"
            else timeouts.upstream_keepalive
        )
        # Those that may have room, newest last, with the time at which they last got some.
        self._open: dict[Reusable, float] = {}
        # Those that come before all others, whether they have room or not, oldest first.
        self._preferred: dict[Reusable, float] = {}
        self._attempt = Attempt(
            loop, dialler, timeouts.connect, self._take_preferred, self._attempt_failed
        )
        self._live: set[Reusable] = set()
        self._dialling = 0
        self._is_checking = False  # whether the upstream can be reached, though nobody waits for it
        self._probes: list[Signal[None]] = []  # who only asks whether the origin can be reached
        # Streams that a new connection is expected to take, and new ones that have not said how
        # many they do take.
        self._each = MAX_STREAMS if dialler.may_be_http2(origin) else 1
        self._unopened: set[Reusable] = set()
        self._waiting: deque[Wait] = deque()  # for any connection
        self._insisting: deque[Wait] = deque()  # for one never used before
        self._sweep = Deadline(loop, self._close_old)

    # -- what requests ask ----------------------------------------------------------------------

    def stream(self, fresh: bool = False) -> Wait:
        """A stream, as soon as a connection has room. `fresh` insists on a connection never used
        before."""
        queue = self._insisting if fresh else self._waiting
        wait = Wait(queue)
        stream = None if fresh else self.at_once()
        if stream is not None:
            wait.set(stream)
        else:
            queue.append(wait)
            self._dial_if_needed()
        return wait

    def at_once(self) -> Stream | None:
        """A stream of a connection that has room now, if nobody waits for one."""
        connection = None if self._waiting else self._with_room()
        return None if connection is None else connection.open_stream()

    def _with_room(self) -> Reusable | None:
        """The oldest of the preferred connections that takes another stream, so that what they
        remember is found again, or else the newest of the others."""
        for connection in self._preferred:
            if connection.is_usable:
                return connection
        while self._open:
            connection = next(reversed(self._open))
            if connection.is_usable:
                return connection
            del self._open[connection]  # full or closing: it says when it has room again
        return None

    @property
    def is_full(self) -> bool:
        """Whether a request has to wait for another one's connection. One that the upstream is
        about to close is none: its last stream can take an hour."""
        most = self._limit - self._opening
        live = self._live
        return len(live) >= most and sum([not each.is_leaving for each in live]) >= most

    @property
    def _opening(self) -> int:
        """Connections that are not there yet, or not known to be of use."""
        return self._dialling + self._attempt.is_under_way + self._is_checking

    def try_http2(self, fits: Callable[[Session], bool], on_silence: Callable[[], None]) -> None:
        """Where connections speak HTTP/1.1 because nothing said otherwise: open one with HTTP/2 in
        the background and, if `fits` says so of it once the peer's SETTINGS came, prefer it. To be
        called at any time; what is open, under way, or has failed lately is left at that.
        `on_silence` is called where the peer does not speak HTTP/2."""
        if self.origin.scheme == "http" and not self.is_full:
            self._attempt.begin(self.origin, self, fits, on_silence)

    def reached(self) -> Signal[None]:
        """Known when a connection is open, in use or not; fails with what the next dial fails with.
        It waits for no request, as a place in the queue could."""
        signal: Signal[None] = Signal()
        if self._live:
            signal.set(None)
        else:
            self._probes.append(signal)
            if not self._dialling:
                self._dial()
        return signal

    def counts(self) -> dict[str, int]:
        """Connections by state, and requests waiting for one."""
        idle = sum(not connection.streams for connection in self._live)
        return {
            "active": len(self._live) - idle,
            "idle": idle,
            "connecting": self._opening,
            "waiting": len(self._waiting) + len(self._insisting),
        }

    def close(self) -> None:
        """Close every connection and turn away every request that waits."""
        while wait := self._next_in_line():
            wait.fail(Busy("shutting_down", "the proxy is stopping"))
        self._attempt.close()
        for connection in list(self._live):
            connection.abort()

    # -- what dials and connections report ------------------------------------------------------

    def _next_in_line(self) -> Wait | None:
        queue = self._insisting or self._waiting
        return queue.popleft() if queue else None

    def _dial_if_needed(self) -> None:
        shared = -(-len(self._waiting) // self._each) - len(self._unopened)
        wanted = len(self._insisting) + max(0, shared)
        while self._dialling < wanted and not self.is_full:
            self._dial()
        if self._insisting and not self._dialling:
            self._make_room()

    def _make_room(self) -> None:
        """All places are taken, and who insists can use none of those: one that is at rest goes."""
        at_rest = [each for each in self._live if not each.streams]
        if at_rest and all(each.is_usable for each in at_rest):  # or one is on its way
            at_rest[0].abort()

    def _dial(self) -> None:
        self._dialling += 1
        self._dialler.dial(self.origin, self, self._dialled)

    def _dialled(self, outcome: Reusable | Fault) -> None:
        self._dialling -= 1
        probes, self._probes = self._probes, []
        for probe in probes:
            probe.fail(outcome) if isinstance(outcome, Fault) else probe.set(None)
        if isinstance(outcome, Fault):
            # It fails for as many as it was made for.
            for _ in range(self._each):
                if (wait := self._next_in_line()) is None:
                    break
                wait.fail(outcome)
            self._dial_if_needed()
            return
        self._take(outcome)

    def _take(self, connection: Reusable) -> None:
        """One that was dialled is there: so the way to the upstream is open."""
        for each in self._live:
            each.ask()
        wait = self._next_in_line()
        self._live.add(connection)
        if connection.session is None or connection.session.opened.done:
            self._each = connection.expected_streams
        elif wait is not None:  # who has a stream of us tells us what it takes (`idle`)
            self._unopened.add(connection)
        self._keep(connection)
        if wait is not None:
            wait.set(connection.open_stream())
        self._offer()
        self._dial_if_needed()

    def _checked(self, outcome: Reusable | Fault) -> None:
        """The dial is over that was made for no request, and fails for none."""
        self._is_checking = False
        if isinstance(outcome, Fault):
            self._dial_if_needed()  # its place was the last one, perhaps
        else:
            self._take(outcome)

    def _take_preferred(self, connection: Reusable) -> None:
        """An attempt has succeeded. It is no dial that anybody waits for, yet serves who waits."""
        self._live.add(connection)
        self._preferred[connection] = 0.0
        self._keep(connection)
        while connection.is_usable and (wait := self._next_in_line()) is not None:
            wait.set(connection.open_stream())

    def _attempt_failed(self) -> None:
        # Once its connection has closed.
        self._loop.call_soon(self._dial_if_needed)

    def idle(self, connection: Connection) -> None:
        """A connection has room: the oldest request that waits gets it."""
        if connection not in self._live:
            connection.abort()
            return
        self._keep(connection)
        session = connection.session
        is_news = session is not None and session.opened.done and connection in self._unopened
        if is_news:
            self._unopened.discard(connection)
            self._each = connection.expected_streams
        # Not from here: this call comes out of another exchange's last step.
        if self._waiting:
            self._loop.call_soon(self._offer)
        if self._insisting or is_news:
            self._loop.call_soon(self._dial_if_needed)

    def _offer(self) -> None:
        while self._waiting and (connection := self._with_room()) is not None:
            self._waiting.popleft().set(connection.open_stream())

    def doubted(self, connection: Connection) -> None:
        """A connection may be dead, or the way to the upstream may: a new one will tell."""
        if not (self._dialling or self._is_checking or self.is_full):
            self._is_checking = True
            self._dialler.dial(self.origin, self, self._checked)

    def closed(self, connection: Connection) -> None:
        """A connection is gone, idle or not: there may be room for another."""
        gone = cast(Reusable, connection)
        self._live.discard(gone)
        self._unopened.discard(gone)
        self._open.pop(gone, None)
        self._preferred.pop(gone, None)
        self._attempt.closed(connection)
        self._dial_if_needed()

    def requested(self, stream: Stream, request: Request) -> None:
        raise RuntimeError("a client's connection receives no requests")

    def refused(self, stream: Stream, fault: Fault) -> None:
        raise RuntimeError("a client's connection receives no requests")

    # -- idle connections -----------------------------------------------------------------------

    def _keep(self, connection: Reusable) -> None:
        now, session = self._loop.time(), connection.session
        self._open.pop(connection, None)  # it becomes the newest
        if session is not None and (
            session.idle_seconds is not None or connection in self._preferred
        ):
            self._preferred[connection] = now
        else:
            self._open[connection] = now
        self._sweep_by(self._until(connection, now))

    def _until(self, connection: Reusable, since: float) -> float:
        """How long a connection may stay that is idle since then."""
        session, seconds = connection.session, self._idle_seconds
        return since + (seconds if session is None else session.idle_time(seconds))

    def _sweep_by(self, when: float) -> None:
        if self._sweep.when is None or self._sweep.when > when:
            self._sweep.at(when)

    def _close_old(self) -> None:
        """Close what has been idle too long: before the upstream does, or a request could meet
        its closing. Each may have an idle time of its own, so all are looked at."""
        now = self._loop.time()
        for connections in (self._open, self._preferred):
            idle = [each for each in connections.items() if not each[0].streams]
            for connection, since in idle:
                until = self._until(connection, since)
                if until <= now + _TOGETHER:
                    connection.abort()
                else:
                    self._sweep_by(until)


class Pool:
    """A Destination for each origin."""

    def __init__(self, runtime: Runtime, dialler: Dial, limit: int) -> None:
        """`limit` is that of the connections to one origin."""
        self._runtime = runtime
        self._dialler = dialler
        self._limit = limit
        self._destinations: dict[Origin, Destination] = {}

    def to(self, origin: Origin) -> Destination:
        """The connections to `origin`. Origins come from the configuration, so they are few."""
        found = self._destinations.get(origin)
        if found is None:
            found = Destination(origin, self._runtime, self._dialler, self._limit)
            self._destinations[origin] = found
        return found

    def counts(self) -> dict[str, dict[str, int]]:
        """`Destination.counts` of each origin."""
        return {str(origin): each.counts() for origin, each in self._destinations.items()}

    def close(self) -> None:
        """Close everything."""
        for destination in self._destinations.values():
            destination.close()
