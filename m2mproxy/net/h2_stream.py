"""One stream of an HTTP/2 connection, as its owner sees it, and what waits to be sent on it.

The one rule: once the stream is over every call is a no-op, but for credit: the connection's window
gets back every byte that came, however the stream ended.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from m2mproxy.http.body import Body, Chunk, Gate
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.net.connection import Session, Stream
from m2mproxy.net.h2_engine import STREAM_WINDOW

# Bytes that a writer may add before anything has been sent.
_ROOM = 64 * 1024


class StreamOwner(Protocol):
    """What a stream needs of its connection."""

    @property
    def session(self) -> Session:
        """See `Stream`."""

    def credit(self, stream: H2Stream) -> None:
        """Payload was taken."""

    def send_request(self, stream: H2Stream, request: Request) -> None:
        """See `Stream`."""

    def send_response(self, stream: H2Stream, response: Response) -> None:
        """See `Stream`."""

    def ready(self, stream: H2Stream) -> None:
        """`stream` has something to send, or has said its last."""

    def give_up(self, stream: H2Stream) -> None:
        """`stream` is reset by its owner."""


class H2Stream(Stream):
    """A stream. What is written waits in `pending` until the peer's windows let it go."""

    __slots__ = (
        "_connection",
        "arrived",
        "credited",
        "ended_in",
        "ended_out",
        "finished",
        "head_sent",
        "id",
        "invited",
        "length",
        "malformed",
        "measured",
        "method",
        "moved",
        "over",
        "pending",
        "request",
        "seen",
        "sent_at",
        "session",
        "size",
        "trailers",
        "trailers_in",
        "window",
    )

    def __init__(
        self, connection: StreamOwner, stream_id: int, client: str, certificate: bytes = b""
    ) -> None:
        super().__init__(Body(self._credit), Gate(), client, certificate)
        self.body.throttled = True  # to be told of every byte that is taken
        self._connection = connection
        self.over = False
        """The connection has taken leave of it."""
        self.id = stream_id
        self.session = connection.session
        self.method = b""
        self.request: Request | None = None
        self.length: int | None = None
        """Bytes of payload that the peer's message is to have, if it has said so."""
        self.head_sent = False
        self.invited = False
        """The client has been told to send its body."""
        self.malformed = False
        """The request: its answer ends with a reset (RFC 9113 8.1.1)."""
        self.ended_in = False
        """The peer's message is complete."""
        self.finished = False
        """Our message is complete, though some of it may wait in `pending`."""
        self.ended_out = False
        """Our message is sent."""
        self.pending: deque[Chunk] = deque()
        self.size = 0
        """Bytes in `pending`."""
        self.trailers: Headers | None = None
        """The trailers of our message."""
        self.trailers_in: Headers | None = None
        """The trailers of the peer's message."""
        self.arrived = self.credited = 0
        """Bytes of payload that came, and those of them that the peer may send again."""
        self.window = STREAM_WINDOW
        """Bytes that the peer may send before they are taken."""
        self.measured = 0
        """What had been taken when that was last looked at."""
        self.seen = 0
        """Frames that the connection had received when the request was sent."""
        self.sent_at = 0.0
        """When the request was sent, or came."""

    def send_request(self, request: Request) -> None:
        if not self.over:
            self._connection.send_request(self, request)

    def send_response(self, response: Response) -> None:
        if not self.over:
            self._connection.send_response(self, response)

    def write(self, chunk: Chunk) -> None:
        if self.over or self.finished or not chunk:
            return
        self.pending.append(chunk)
        self.size += len(chunk)
        if self.size >= _ROOM:
            self.gate.shut()
        self._connection.ready(self)

    def finish(self, trailers: Headers | None = None) -> None:
        if self.over or self.finished:
            return
        self.finished = True
        self.trailers = trailers or None
        self._connection.ready(self)

    def reset(self) -> None:
        self.body.discard()
        if not self.over:
            self._connection.give_up(self)

    def end(self) -> None:
        """The connection takes leave of the stream."""
        self.over = True
        self.pending.clear()
        self.size = 0

    @property
    def awaits_word(self) -> bool:
        """Server role: whether the client waits for 100 before its body (RFC 9110 10.1.1)."""
        return not self.invited and self.request is not None and self.request.expects_continue

    def _credit(self) -> None:
        self._connection.credit(self)
