"""A rig that plays sessions through an edge and a core: a client before them, a model server
behind, and between the two a relay that counts. All three are here, in one loop.

The client sends one request at a time, as the OpenAI SDK does over HTTP/1.1, so the model server
knows which reply is due. It writes a stream's next event when the client has the one before: every
event crosses by itself, and the bytes of a run do not depend on the machine's speed.

The one rule: what arrives has to be, byte for byte, what was sent; anything else fails the run.
"""

import asyncio
import contextlib
import random
import re
from dataclasses import dataclass, field

from sessions import Turn

from .h2count import Count, FrameCounter
from .loopback import CHUNKED, HOST, LAST_CHUNK, chunk, read_body, read_head, read_request, serve
from .messages import REPLY_FIELDS, SDK_FIELDS, chat_request
from .process import ProcessFailed

_PATIENCE = 20.0
# How long nothing more has to come for what has come to be all, in seconds.
_QUIET = 0.004


@dataclass
class Played:
    """What one turn took. `plain` are the bytes that would cross without edge and core: what the
    client wrote, head and body, and what the model server wrote, head, chunk sizes and body."""

    turn: Turn
    plain_out: int
    plain_back: int
    out: Count
    back: Count


@dataclass
class _Due:
    """The exchange under way."""

    turn: Turn
    received: int = 0
    more: asyncio.Event = field(default_factory=asyncio.Event)
    request: bytes | None = None
    written: int = 0


class Rig:
    """`origin` and `relay` are ports; `edge` is to be set to where the edge listens."""

    def __init__(self) -> None:
        self.origin = self.relay = self.edge = self.core = 0
        self.connections = 0
        """How many have been made through the relay."""
        self._due: _Due | None = None
        self._random = random.Random(1)
        self._pairs: set[asyncio.StreamWriter] = set()
        self._out, self._back = FrameCounter(True), FrameCounter(False)
        self._apart = asyncio.Event()  # while no connection is relayed
        self._apart.set()
        self._moved = 0
        self._client: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    # -- the client ---------------------------------------------------------------------------

    async def play(self, turn: Turn, settle: bool) -> Played:
        """Send a request and read its reply. `settle` waits for all that crosses after it.

        Raises:
            ProcessFailed: something else arrived than what was sent.
        """
        self._due = due = _Due(turn)
        head_and_body = chat_request(SDK_FIELDS, self.origin, turn.request)
        async with asyncio.timeout(_PATIENCE):
            status, reply = await self._ask(head_and_body, due)
        if status != 200 or reply != b"".join(turn.reply):
            raise ProcessFailed(f"a reply arrived changed: {status}, {reply[:200]!r}")
        if due.request != turn.request:
            raise ProcessFailed("a request arrived changed at the model server")
        if settle:
            await self.settle()
        out, back = self._out.take(), self._back.take()
        return Played(turn, len(head_and_body), due.written, out, back)

    async def _ask(self, request: bytes, due: _Due) -> tuple[int, bytes]:
        if self._client is None:
            self._client = await asyncio.open_connection(HOST, self.edge)
        reader, writer = self._client
        writer.write(request)
        head = await read_head(reader)
        reply = b""
        async for piece in read_body(reader, head):
            reply += piece
            due.received = len(reply)
            due.more.set()
        return int(head.split(b" ", 2)[1]), reply

    async def settle(self) -> None:
        """Wait until nothing crosses any more."""
        moved = -1
        while moved != self._moved:
            moved = self._moved
            await asyncio.sleep(_QUIET)

    async def cut(self) -> None:
        """End the connection between edge and core, and all that was remembered of it."""
        for writer in self._pairs:
            writer.transport.abort()
        await self._apart.wait()
        await asyncio.sleep(_QUIET)  # the two have to notice
        self._out, self._back = FrameCounter(True), FrameCounter(False)

    # -- the model server ---------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            if self._due is None:
                raise ProcessFailed("a request that nobody sent")
            self._due.request = request
            await self._reply(writer, self._due)

    async def _reply(self, writer: asyncio.StreamWriter, due: _Due) -> None:
        if not due.turn.is_stream:
            (body,) = due.turn.reply
            whole = self._head("application/json", b"Content-Length: %d" % len(body)) + body
            due.written += len(whole)
            writer.write(whole)
            return
        head = self._head("text/event-stream; charset=utf-8", CHUNKED)
        due.written += len(head)
        writer.write(head)
        sent = 0
        for event in due.turn.reply:
            while due.received < sent:
                due.more.clear()
                await due.more.wait()
            piece = chunk(event)
            due.written += len(piece)
            writer.write(piece)
            sent += len(event)
        due.written += len(LAST_CHUNK)
        writer.write(LAST_CHUNK)

    def _head(self, media_type: str, framing: bytes) -> bytes:
        """OpenAI's, with what is different each time ('#') made up anew."""
        fields = REPLY_FIELDS | {"Content-Type": media_type}
        del fields["Content-Length"]
        text = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        text = re.sub("#", lambda _: self._random.choice("0123456789"), text)
        return b"HTTP/1.1 200 OK\r\n" + text.encode() + framing + b"\r\n\r\n"

    # -- the relay ----------------------------------------------------------------------------

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._apart.clear()
        far_reader, far_writer = await asyncio.open_connection(HOST, self.core)
        self._pairs |= {writer, far_writer}
        out = self._copy(reader, far_writer, self._out)
        back = self._copy(far_reader, writer, self._back)
        await asyncio.gather(out, back)
        self._pairs -= {writer, far_writer}
        if not self._pairs:
            self._apart.set()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: FrameCounter
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                count.feed(data)
                self._moved += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def start(self, stack: contextlib.AsyncExitStack) -> None:
        """Start the model server and the relay; the stack ends them."""
        self.origin = await serve(stack, self._serve)
        self.relay = await serve(stack, self._relay)
