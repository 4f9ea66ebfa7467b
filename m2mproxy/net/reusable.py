"""The pool's interfaces (a connection that takes streams, and who opens such ones), and when a
request whose connection ended may be sent again.

The one rule: nothing here says which HTTP version it is about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from m2mproxy.http.faults import Fault, UpstreamFault
from m2mproxy.http.message import Origin
from m2mproxy.net.connection import Connection, Owner, Session, Stream

# Requests that may be done twice (RFC 9110 9.2.2).
_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
# More than a round trip, in seconds. Who closed before our request came is heard of within one.
_AT_ONCE = 1.0
# Of one request that nobody has looked at.
_MOST_TRIES = 3


def may_go_again(method: bytes, seconds: float) -> bool:
    """Whether a request may be sent once more whose connection, used before, ended without a word
    so many seconds after it was sent. Later than at once, the upstream was at work on it."""
    return seconds <= _AT_ONCE or method in _IDEMPOTENT


class Tries:
    """How often one request has been sent, and whether it may be sent once more.

    A connection that ended without a word is followed by one other, since nobody knows what became
    of the request. An upstream that says of each that it did not look at it, as those do which
    change their connections every few requests, is asked up to three times.
    """

    __slots__ = ("failed",)

    def __init__(self) -> None:
        self.failed = 0

    def one_more(self, fault: UpstreamFault) -> bool:
        """Whether `fault` may be followed by another try, on a connection never used before."""
        may = fault.retry and (not self.failed or (fault.unseen and self.failed < _MOST_TRIES - 1))
        self.failed += 1
        return may


class Reusable(Connection, Protocol):
    """A client-role connection as the pool sees it."""

    @property
    def is_usable(self) -> bool:
        """Whether another stream may be opened: there is room, and the upstream has not closed, as
        far as is known."""

    @property
    def is_leaving(self) -> bool:
        """Whether the upstream has said that it takes no further streams on it, ever."""

    @property
    def streams(self) -> int:
        """Streams that are open."""

    @property
    def expected_streams(self) -> int:
        """Streams that a connection like this one takes; to be asked once its session is open."""

    @property
    def session(self) -> Session | None:
        """What its streams share; None where the version has none."""

    def open_stream(self) -> Stream:
        """A stream for the next request."""

    def doubt(self) -> None:
        """Nothing that is under way arrives, for some seconds now."""

    def ask(self) -> None:
        """Another connection to the same place has come about: if this one is in doubt, its peer
        has to give a sign of life soon."""


class Dial(Protocol):
    """How new connections come about: `Dialler`, or a test's wire."""

    def dial(
        self,
        origin: Origin,
        owner: Owner,
        report: Callable[[Reusable | Fault], None],
        http2: bool = False,
    ) -> None:
        """Connect to `origin` on behalf of `owner`, then `report` once. `http2` is for HTTP/2 with
        prior knowledge (RFC 9113 3.3) where the version is left open."""

    def may_be_http2(self, origin: Origin) -> bool:
        """Whether HTTP/2 may be spoken on what `dial` opens without being asked for it."""
