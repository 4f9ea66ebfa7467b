"""A long or broken line between two programs of one machine: a TCP relay.

It delays what passes, and ends connections in the ways in which networks end them. Ends pass as
they came: half a close as half a close, a reset as a reset. What it cannot show is what TCP itself
does over a distance (slow start, retransmission): both of its legs are short.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

# Bytes of one direction that may be under way.
UNDER_WAY = 256 * 1024
PIECE = 16 * 1024


@dataclass
class Line:
    """What the line is like; it may be changed at any time.

    Attributes:
        delay: seconds one way.
        lifetime: how long the average connection lives, in seconds; 0 for as long as it likes.
        stall: seconds at most for which a connection stands still instead of ending, now and then.
    """

    delay: float = 0.0
    lifetime: float = 0.0
    stall: float = 0.0


class Way:
    """One direction of a connection: what comes in leaves after a while."""

    def __init__(self, line: Line, reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        self._line, self._reader, self._out = line, reader, out
        self._queue: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._changed, self._room = asyncio.Event(), asyncio.Event()
        self.stands_until = 0.0

    async def run(self) -> None:
        """Until its end has been passed on; OSError when either side broke it."""
        await asyncio.gather(self._take(), self._give())

    async def _take(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            data = await self._reader.read(PIECE)
            self._queue.append((now() + self._line.delay, data))
            self._size += len(data)
            self._changed.set()
            if not data:
                return
            if self._size > UNDER_WAY:
                self._room.clear()
                await self._room.wait()

    async def _give(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            while not self._queue:
                self._changed.clear()
                await self._changed.wait()
            due, data = self._queue.popleft()
            await asyncio.sleep(due - now())
            await asyncio.sleep(self.stands_until - now())
            self._size -= len(data)
            self._room.set()
            if not data:
                self._out.write_eof()
                return
            self._out.write(data)
            await self._out.drain()


class Relay:
    """Listens, and connects each client to a port of this machine. `ends` counts how its
    connections ended."""

    def __init__(self, port: int, line: Line, seed: int = 0) -> None:
        self._target = port
        self.line = line
        self.ends: dict[str, int] = {}
        self._random = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """The port on which it listens."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """End everything."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        far: asyncio.StreamWriter | None = None
        how = "reset"
        try:
            await asyncio.sleep(self.line.delay * 2)
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
            ways = (Way(self.line, reader, far), Way(self.line, far_reader, writer))
            how = await self._until(ways)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.ends[how] = self.ends.get(how, 0) + 1
            end: Callable[[asyncio.StreamWriter], None] = _reset if how == "reset" else _close
            for each in (writer, far):
                if each is not None:
                    end(each)

    async def _until(self, ways: tuple[Way, Way]) -> str:
        """Wait for the end of a connection, or bring it about; how it ended."""
        both = asyncio.gather(*(way.run() for way in ways))
        source, line = self._random, self.line
        try:
            while line.lifetime:
                life = source.expovariate(1 / line.lifetime)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(both), life)
                    return "closed"
                how = source.choice(("reset", "cut", "stall"))
                if how != "stall":
                    return how
                until = asyncio.get_running_loop().time() + source.random() * line.stall
                ways[0].stands_until = ways[1].stands_until = until
            await both
            return "closed"
        finally:
            both.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await both


def _close(writer: asyncio.StreamWriter) -> None:
    """What is under way is lost, and the end comes in order."""
    writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
