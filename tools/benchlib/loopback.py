"""Enough of HTTP/1.1 in asyncio for a model server and a client that know what the other sends."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable

HOST = "127.0.0.1"
CHUNKED = b"Transfer-Encoding: chunked"
LAST_CHUNK = b"0\r\n\r\n"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_MOST_HEAD = 1 << 20

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serve(stack: contextlib.AsyncExitStack, handler: Handler) -> int:
    """Listen until the stack unwinds; the port. A connection's end is the handler's."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled when the loop ends: asyncio would report that as an error of ours.
        over = (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError)
        with contextlib.suppress(*over):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, HOST, 0, limit=_MOST_HEAD)
    stack.callback(server.close)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """The next request's body."""
    length = _LENGTH.search(await read_head(reader))
    return await reader.readexactly(int(length[1])) if length else b""


async def read_body(reader: asyncio.StreamReader, head: bytes) -> AsyncIterator[bytes]:
    """The pieces of a reply's body (RFC 9112, 6.3)."""
    length = _LENGTH.search(head)
    if length:
        yield await reader.readexactly(int(length[1]))
        return
    while size := int(await reader.readline(), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readline()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
