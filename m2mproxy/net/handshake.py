"""The beginning and the end of a client's TLS, which asyncio keeps to itself.

Until its handshake is complete a connection is nobody's. This is how many there may be of those,
and what a client is told when its handshake fails, for asyncio would close without a word. And at
the end asyncio would wait for every client to agree.

The one rule: a client that never completes its handshake costs a bounded amount, and no line of a
log that is not asked for.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from m2mproxy.net.certificate import words

_ERROR = (
    b'{"error":{"message":"This port speaks https, and the request came as http.",'
    b'"type":"invalid_request_error","param":null,"code":"wrong_scheme"}}\n'
)
_NOT_TLS = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%b" % (len(_ERROR), _ERROR)
)


class Handshakes:
    """All handshakes of clients: those under way, and how many have failed."""

    def __init__(self) -> None:
        self.room: Callable[[], float] = lambda: float("inf")
        """How many may be under way."""
        self.on_failure: Callable[[str], None] = lambda _: None
        """Called with the reason of each that fails by what the client sent."""
        # One that is given up, by its client or at its deadline, leaves by being collected.
        self._open: WeakSet[Secured] = WeakSet()
        self._begun = self._complete = 0

    def counts(self) -> dict[str, int]:
        """For operators: those under way, and those that ended without a connection."""
        under_way = len(self._open)
        return {"open": under_way, "failed": self._begun - self._complete - under_way}

    def admit(self) -> None:
        """Count one. Raises OSError if it is too many, and asyncio closes the connection."""
        self._begun += 1
        if len(self._open) >= self.room():
            raise ConnectionAbortedError("too many connections")

    def add(self, connection: Secured, outgoing: ssl.MemoryBIO) -> None:
        """Watch over one that was admitted."""
        connection.watched_by(self, outgoing)
        self._open.add(connection)

    def complete(self, connection: Secured) -> None:
        """It is a connection now."""
        self._open.discard(connection)
        self._complete += 1


class Secured(ssl.SSLObject):
    """The TLS of one client's connection.

    Attributes:
        awaits_end: whether the client is waited for to say that it ends too, when we do.
    """

    awaits_end = True
    _handshakes: Handshakes
    _outgoing: ssl.MemoryBIO
    _failure = ""

    def watched_by(self, handshakes: Handshakes, outgoing: ssl.MemoryBIO) -> None:
        """`outgoing` is what asyncio sends."""
        self._handshakes = handshakes
        self._outgoing = outgoing

    def do_handshake(self) -> None:
        """Go on with what the client has sent."""
        if self._failure:
            raise ssl.SSLError(self._failure)
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self._fail(error)
            if not self._outgoing.pending:
                raise
            # asyncio closes at once when a handshake fails, and sends what there is when more is
            # wanted from the client. So more is wanted, once: the client reads why and closes, or
            # the deadline of handshakes comes.
            raise ssl.SSLWantReadError from None
        self._handshakes.complete(self)

    def unwrap(self) -> Any:
        """End TLS. Our word is enough (RFC 8446 6.1), if the client is not in the middle of its."""
        try:
            return super().unwrap()
        except ssl.SSLWantReadError:
            if self.awaits_end:
                raise
            return None

    def _fail(self, error: ssl.SSLError) -> None:
        # OpenSSL has written an alert, but for what is not TLS at all.
        self._failure = getattr(error, "verify_message", "") or words(error)
        if error.reason == "HTTP_REQUEST":
            self._outgoing.write(_NOT_TLS)
        self._handshakes.on_failure(self._failure)
