"""The exchange under way on an HTTP/1 connection, as its owner sees it.

The one rule: once the exchange is over, every call is a no-op. Whoever still holds the stream
cannot touch the next one.
"""

from __future__ import annotations

from typing import Protocol

from m2mproxy.http.body import Body, Chunk, Gate
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.net.connection import Stream
from m2mproxy.net.h1_writer import MessageWriter


class StreamOwner(Protocol):
    """What a stream needs of its connection."""

    def credit(self) -> None:
        """Payload of a throttled body was taken."""

    def send_request(self, request: Request) -> None:
        """See `Stream`."""

    def send_response(self, response: Response) -> None:
        """See `Stream`."""

    def finish(self, trailers: Headers | None) -> None:
        """See `Stream`."""

    def give_up(self, stream: H1Stream) -> None:
        """`stream` is reset by its owner."""


class H1Stream(Stream):
    """A stream, which is the only one of its connection."""

    __slots__ = ("_connection", "_writer")

    def __init__(
        self,
        connection: StreamOwner,
        writer: MessageWriter,
        gate: Gate,
        client: str,
        certificate: bytes,
    ) -> None:
        super().__init__(Body(connection.credit), gate, client, certificate)
        self._connection: StreamOwner | None = connection
        self._writer = writer

    def send_request(self, request: Request) -> None:
        if self._connection is not None:
            self._connection.send_request(request)

    def send_response(self, response: Response) -> None:
        if self._connection is not None:
            self._connection.send_response(response)

    def write(self, chunk: Chunk) -> None:
        if self._connection is not None:
            self._writer.payload(chunk)

    def finish(self, trailers: Headers | None = None) -> None:
        if self._connection is not None:
            self._connection.finish(trailers)

    def reset(self) -> None:
        if self._connection is not None:
            self._connection.give_up(self)

    def end(self) -> None:
        """The connection takes leave of the stream."""
        self._connection = None
