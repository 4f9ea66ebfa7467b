"""The outgoing half of an HTTP/1 connection: heads and payload to what a transport takes.

The one rule: payload is never joined or copied here; the object given reaches the transport. A
message that says less or more than its head promised is a bug of the caller and raises.
"""

from __future__ import annotations

import asyncio

from m2mproxy.http.body import Chunk, Gate
from m2mproxy.http.headers import Headers
from m2mproxy.net.connection import Connection, LoopTurn
from m2mproxy.net.h1_chunked import frame, last_chunk
from m2mproxy.net.tcp import write_joined

# Payload that is taken in one turn, before the transport has seen any of it.
_ROOM = 256 * 1024


class MessageWriter:
    """Collects what is written in a turn."""

    __slots__ = ("_chunked", "_connection", "_gate", "_left", "_out", "_size", "_turn")

    def __init__(self, turn: LoopTurn, connection: Connection, gate: Gate) -> None:
        """`gate` is shut when too much is written in one turn."""
        self._turn = turn
        self._connection: Connection | None = connection
        self._gate = gate
        self._size = 0  # of the payload in `_out`
        self._out: list[Chunk] = []
        self._chunked = False
        self._left: int | None = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for the end of the turn."""
        return not self._out

    @property
    def ends_with_connection(self) -> bool:
        """Whether only the end of the connection will end the message."""
        return self._left is None and not self._chunked

    def put(self, *pieces: Chunk) -> None:
        """Write `pieces` as they are."""
        if self._connection is None:
            return
        if not self._out:
            self._turn.add(self._connection)
        self._out += pieces

    def begin(self, head: bytes, length: int | None, chunked: bool) -> None:
        """A head, and how the body that follows is framed."""
        self._left = length
        self._chunked = chunked
        self.put(head)

    def payload(self, chunk: Chunk) -> None:
        """A piece of the body."""
        size = len(chunk)
        if not size:
            return  # an empty chunk would end a chunked body
        self._size += size
        if self._size > _ROOM:
            self._gate.shut()
        if self._chunked:
            self.put(*frame(chunk))
            return
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise RuntimeError("more payload than the content-length says")
        self.put(chunk)

    def end(self, trailers: Headers | None) -> None:
        """The end of the body. One that ends with the connection is the caller's to close."""
        if self._chunked:
            self.put(last_chunk(trailers))
        elif self._left:
            raise RuntimeError("less payload than the content-length says")

    def flush(self, transport: asyncio.Transport, secure: bool) -> bool:
        """Hand over what was written, in one call. Returns whether that had shut the gate."""
        out, self._out = self._out, []
        overfull, self._size = self._size > _ROOM, 0
        if secure:
            write_joined(transport, out)
        elif len(out) == 1:
            transport.write(out[0])
        elif out:
            transport.writelines(out)
        return overfull

    def drop(self) -> None:
        """Nobody will take what was written, or is yet. Let go of the connection, which holds
        us."""
        self._connection = None
        self._out.clear()
        self._size = 0
