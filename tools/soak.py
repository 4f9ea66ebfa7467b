"""A soak test: a mix of good and bad clients against the real program, then a look at what is left.

Some clients finish; others leave before the answer, in the middle of a stream or of their own
upload; some upstream replies are cut. Afterwards the program must hold no stream, no file
descriptor and no memory more than after the warm-up. All of it once with one instance, and once
with two and a link between them, on which conversations go that are also left at any moment.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLIENTS = 32
WARM_UP_SECONDS = 3.0
# An instance is full-grown after the warm-up. With a link, a core beside three soaks more grew by
# 5 MiB yet, and alone by 1.5 at most.
ALLOWED_GROWTH_KIB, ALLOWED_WITH_LINK_KIB = 4 * 1024, 8 * 1024
LINK_BYTES = 2 << 20  # of one connection: full before the warm-up is over
CHAT = "chat/completions?json"
EVENT = b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def conversation(source: random.Random) -> Iterator[bytes]:
    """The bodies of a few turns."""
    messages = []
    for _ in range(source.randint(1, 5)):
        messages.append({"role": "user", "content": source.randbytes(2000).hex()})
        yield json.dumps({"model": "m", "messages": messages}).encode()


class Upstream:
    """Answers as the path's last word asks: `/v1/json`, `/v1/stream`, `/v1/cut`, `/v1/slow`."""

    async def start(self) -> str:
        """Listen on a free port; the base URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = (OSError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*ends):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        kind = re.split(rb"[/?]", head.split(b" ")[1])[-1]
        if kind == b"json":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        elif kind == b"slow":
            await asyncio.sleep(0.5)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        else:
            writer.write(SSE_HEAD)
            for _ in range(10):
                writer.write(chunk(EVENT))
                await writer.drain()
                await asyncio.sleep(0.002)
            if kind == b"cut":
                return False
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


class Clients:
    """The mix. `seen` counts what happened, `wrong` what should not have."""

    def __init__(self, port: int, exact: bool) -> None:
        """`exact` is whether the chunks of a stream come as they were sent: between two instances
        those that are late can share a frame."""
        self._port = port
        self._exact = exact
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(self, seconds: float) -> None:
        """All clients at once, for so long."""
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._one(number, end) for number in range(CLIENTS)))

    async def _one(self, number: int, end: float) -> None:
        source = random.Random(number)
        deeds: tuple[Callable[[Streams, random.Random], Awaitable[None]], ...] = (
            self._echo,
            self._converse,
            self._leave_conversation,
            self._stream,
            self._cut_stream,
            self._leave_early,
            self._leave_mid_stream,
            self._leave_mid_upload,
            self._nonsense,
        )
        while time.monotonic() < end:
            deed = source.choice(deeds)
            streams = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                await asyncio.wait_for(deed(streams, source), 10)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.wrong.append(f"{deed.__name__}: {error!r}")
            streams[1].close()
            self.seen[deed.__name__.strip("_")] += 1

    def _expect(self, good: bool, what: str) -> None:
        if not good:
            self.wrong.append(what)

    @staticmethod
    def _post(kind: str, body: bytes) -> bytes:
        fields = f"host: h\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        return f"POST /v1/{kind} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body

    async def _echo(self, streams: Streams, source: random.Random) -> None:
        for _ in range(source.randint(1, 4)):
            body = source.randbytes(source.randint(1, 100_000))
            streams[1].write(self._post("json", body))
            head = await streams[0].readuntil(b"\r\n\r\n")
            got = await streams[0].readexactly(len(body))
            self._expect(head.startswith(b"HTTP/1.1 200") and got == body, "an echo differs")

    async def _converse(self, streams: Streams, source: random.Random) -> None:
        """A conversation, in which each turn has all that came before."""
        for body in conversation(source):
            streams[1].write(self._post(CHAT, body))
            head = await streams[0].readuntil(b"\r\n\r\n")
            got = await streams[0].readexactly(len(body))
            self._expect(head.startswith(b"HTTP/1.1 200") and got == body, "a turn differs")

    async def _leave_conversation(self, streams: Streams, source: random.Random) -> None:
        """One that is left with a turn under way, or half of it."""
        bodies = list(conversation(source))
        for body in bodies[:-1]:
            streams[1].write(self._post(CHAT, body))
            await streams[0].readuntil(b"\r\n\r\n")
            await streams[0].readexactly(len(body))
        last = self._post(CHAT, bodies[-1])
        streams[1].write(last[: source.randint(len(last) // 2, len(last))])
        await streams[1].drain()
        await asyncio.sleep(source.random() * 0.004)

    async def _stream(self, streams: Streams, source: random.Random) -> None:
        streams[1].write(self._post("stream", b"{}"))
        answer = await streams[0].readuntil(b"0\r\n\r\n")
        if self._exact:
            self._expect(answer.endswith(chunk(EVENT) * 10 + b"0\r\n\r\n"), "a stream differs")
            return
        body = answer.partition(b"\r\n\r\n")[2]
        events = re.sub(rb"(?:^|\r\n)[0-9a-f]+\r\n", b"", body)
        self._expect(events == EVENT * 10 + b"\r\n", "a stream differs")

    async def _cut_stream(self, streams: Streams, source: random.Random) -> None:
        streams[1].write(self._post("cut", b"{}"))
        answer = await streams[0].read(-1)
        self._expect(b'"code":"upstream_disconnected"' in answer, "a cut without its error")
        self._expect(not answer.endswith(b"0\r\n\r\n"), "a cut stream that looks complete")

    async def _leave_early(self, streams: Streams, source: random.Random) -> None:
        streams[1].write(self._post("slow", b"{}"))
        await streams[1].drain()
        await asyncio.sleep(source.random() * 0.02)

    async def _leave_mid_stream(self, streams: Streams, source: random.Random) -> None:
        streams[1].write(self._post("stream", b"{}"))
        await streams[0].readexactly(source.randint(1, 300))
        if source.random() < 0.5:
            streams[1].transport.abort()

    async def _leave_mid_upload(self, streams: Streams, source: random.Random) -> None:
        whole = self._post("json", b"x" * 300_000)
        streams[1].write(whole[: source.randint(1, len(whole) - 1)])
        await streams[1].drain()

    async def _nonsense(self, streams: Streams, source: random.Random) -> None:
        streams[1].write(source.randbytes(50) + b"\r\n\r\n")
        answer = await streams[0].read(-1)
        self._expect(answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), "nonsense not refused")


async def stats(port: int) -> dict[str, object]:
    """GET /stats."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /stats HTTP/1.0\r\nhost: h\r\n\r\n")
    answer = await reader.read(-1)
    writer.close()
    return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))


@dataclass
class Program:
    """An instance that runs. `before` is what it held when it was warm."""

    name: str
    process: asyncio.subprocess.Process
    port: int
    before: tuple[int, int] = (0, 0)

    @property
    def held(self) -> tuple[int, int]:
        """Open files and resident KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        resident = re.search(r"VmRSS:\s+(\d+)", status)
        assert resident
        return len(os.listdir(f"/proc/{self.process.pid}/fd")), int(resident[1])


@contextlib.asynccontextmanager
async def program(name: str, upstream: str, **settings: str) -> AsyncIterator[Program]:
    """Start an instance, and end it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "m2mproxy", "--listen", "127.0.0.1:0", "--upstream", upstream),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "M2M_LOGGING_ACCESS": "false", **settings},
    )
    assert process.stderr is not None
    try:
        said = ""
        # Where few files may be open, a warning of that comes first.
        while not (found := re.search(r"listens on 127\.0\.0\.1:(\d+)", said)):
            if not (line := (await process.stderr.readline()).decode()):
                raise SystemExit(f"the {name} did not start: {said}")
            said += line
        yield Program(name, process, int(found[1]))
    finally:
        process.terminate()
        await process.wait()


async def at_rest(some: Program, alone: bool) -> dict[str, object]:
    """Wait until nothing is under way and, where it is `alone`, until no client but ourselves is
    connected; what is left by then."""
    for _ in range(120):
        found = await stats(some.port)
        if found["open_streams"] == 0 and (not alone or found["client_connections"] == 1):
            break
        await asyncio.sleep(0.1)
    return found


async def single(seconds: float) -> bool:
    """One instance; whether all was right."""
    async with program("proxy", await Upstream().start()) as proxy:
        return await soak(seconds, proxy)


async def linked(seconds: float) -> bool:
    """Two instances, and a link between them."""
    memory = {"M2M_LINK_CONNECTION_MEMORY": str(LINK_BYTES)}
    async with (
        program("core", await Upstream().start(), **memory) as core,
        program(
            "edge", f"http://127.0.0.1:{core.port}/v1", M2M_UPSTREAM_HTTP="2", **memory
        ) as edge,
    ):
        return await soak(seconds, edge, core)


async def soak(seconds: float, front: Program, *behind: Program) -> bool:
    """All clients against the one in front."""
    clients = Clients(front.port, exact=not behind)
    await clients.run(max(WARM_UP_SECONDS, seconds / 2))
    for each in (front, *behind):
        await at_rest(each, each is front)
        each.before = each.held
    await clients.run(seconds)
    wrong = clients.wrong
    done = ", ".join(f"{count} {name}" for name, count in sorted(clients.seen.items()))
    print(f"soak: {sum(clients.seen.values())} clients: {done}")
    for each in (front, *behind):
        wrong += judge(each, await at_rest(each, each is front), each is front, bool(behind))
    if behind:
        wrong += judge_link(await stats(front.port))
    for line in sorted(set(wrong))[:20]:
        print(f"soak: WRONG: {line} ({wrong.count(line)} times)")
    print(f"soak: {'nothing is left' if not wrong else 'failed'}")
    return not wrong


def judge(some: Program, left: dict[str, Any], alone: bool, links: bool) -> list[str]:
    """What is wrong with an instance after all that."""
    growth = ALLOWED_WITH_LINK_KIB if links else ALLOWED_GROWTH_KIB
    wrong, before, after = [], some.before, some.held
    if "internal_error" in left["errors"]:
        wrong.append(f"{left['errors']['internal_error']} bugs in the {some.name}")
    if left["open_streams"] != 0 or (alone and left["client_connections"] != 1):
        wrong.append(f"left open: {left['open_streams']} {left['client_connections']}")
    if after[0] > before[0] + 40:  # idle upstream connections come and go
        wrong.append(f"open files grew from {before[0]} to {after[0]}")
    if after[1] > before[1] + growth:
        wrong.append(f"memory of the {some.name} grew from {before[1]} to {after[1]} KiB")
    print(
        f"soak: {some.name}: files {before[0]} -> {after[0]}, "
        f"resident {before[1]} -> {after[1]} KiB"
    )
    return wrong


def judge_link(found: dict[str, Any]) -> list[str]:
    """Whether there was a link, and what it remembers is bounded. Of clients that leave faster than
    the edge tells the core, there can be more than one connection takes."""
    [link] = [each for each in found["links"].values() if isinstance(each, dict)]
    print(
        f"soak: link: {link['turns']} turns, {link['conversation_bytes']} bytes crossed as "
        f"{link['wire_bytes']}, {link['misses']} misses, {link['memory']} bytes held for "
        f"{link['links']} connections"
    )
    good = link["turns"] > 0 and link["memory"] <= link["links"] * LINK_BYTES
    return [] if good else ["there was no link, or it holds too much"]


async def both(seconds: float) -> int:
    """The exit code."""
    results = [await single(seconds / 2), await linked(seconds / 2)]
    return 0 if all(results) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--short", action="store_true", help="12 seconds, for CI")
    args = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return asyncio.run(both(12 if args.short else args.seconds))


if __name__ == "__main__":
    sys.exit(main())
