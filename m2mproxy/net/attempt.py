"""HTTP/2 tried on an origin whose connections speak HTTP/1.1.

In cleartext nothing is negotiated: whoever wants HTTP/2 begins with it (RFC 9113 3.3), and sees by
the first bytes of the other side whether that was right.

The one rule: no request is on such a connection before the peer's SETTINGS came and suit. What
fails is a connection that nobody used. What was not reached is tried again soon, and what did not
suit after an hour.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial

from m2mproxy.http.faults import Fault
from m2mproxy.http.message import Origin
from m2mproxy.net.connection import Connection, Owner, Session
from m2mproxy.net.deadline import Deadline
from m2mproxy.net.reusable import Dial, Reusable

# Seconds from an attempt to the next: when the origin was not reached, and when it did not suit.
SOON = 30.0
PAUSE = 3600.0

Fits = Callable[[Session], bool]


class Attempt:
    """The attempts on one origin, one at a time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        dialler: Dial,
        seconds: float,
        on_success: Callable[[Reusable], None],
        on_failure: Callable[[], None],
    ) -> None:
        """`seconds` is how long an open connection waits for the peer's SETTINGS. `on_success` gets
        one that fits."""
        self._loop = loop
        self._dialler = dialler
        self._on_success = on_success
        self._on_failure = on_failure
        self._seconds = seconds
        self._deadline = Deadline(loop, self._unanswered)
        self._not_before = -math.inf
        self._on_silence: Callable[[], None] = _nobody
        self.is_under_way = False
        """Whether it has a connection, or a dial for one, that it may have to give up yet."""
        self._connection: Reusable | None = None  # under way, or found to fit and still open

    def begin(
        self, origin: Origin, owner: Owner, fits: Fits, on_silence: Callable[[], None]
    ) -> None:
        """Dial, unless one is under way or open, or it is too early. `on_silence` is called if the
        peer takes the connection and sends no SETTINGS, as one that does not speak HTTP/2."""
        if self.is_under_way or self._connection is not None:
            return
        if self._loop.time() < self._not_before:
            return
        self.is_under_way = True
        self._on_silence = on_silence
        self._dialler.dial(origin, owner, partial(self._dialled, fits), http2=True)

    def closed(self, connection: Connection) -> None:
        """A connection of the origin is gone, this one or another."""
        if connection is self._connection:
            self._connection = None

    def close(self) -> None:
        """Give up what is under way, begin nothing new."""
        if self.is_under_way:
            self._fail()
        self._not_before = math.inf

    # -- steps ----------------------------------------------------------------------------------

    def _dialled(self, fits: Fits, outcome: Reusable | Fault) -> None:
        if isinstance(outcome, Fault):
            self._fail(SOON)
            return
        session = outcome.session
        if not self.is_under_way or session is None:
            outcome.abort()
            self._fail()
            return
        self._connection = outcome
        opened = partial(self._opened, fits, outcome, session)
        if session.opened.done:
            opened()
        else:
            self._deadline.after(self._seconds)
            session.opened.subscribe(opened)

    def _opened(self, fits: Fits, connection: Reusable, session: Session) -> None:
        """The peer's first SETTINGS came, or will not come."""
        if not self.is_under_way:
            return
        if not session.opened.result():
            self._unanswered()
        elif not fits(session):
            self._fail()
        else:
            self._deadline.cancel()
            self.is_under_way = False
            self._on_success(connection)

    def _unanswered(self) -> None:
        self._fail()
        self._on_silence()

    def _fail(self, pause: float = PAUSE) -> None:
        if not self.is_under_way:
            return
        self.is_under_way = False
        self._deadline.cancel()
        self._not_before = self._loop.time() + pause
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._on_failure()


def _nobody() -> None:
    """Nobody is told."""
