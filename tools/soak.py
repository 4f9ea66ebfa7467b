"""A soak test: a mix of good and bad clients against the real program, then a look at what is left.

Some clients finish; others leave before the answer, in the middle of a stream or of their own
upload; some upstream replies are cut. Afterwards the program must hold no stream, no file
descriptor and no memory more than after the warm-up.
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
from collections.abc import Awaitable, Callable
from pathlib import Path

CLIENTS = 32
WARM_UP_SECONDS = 3.0
ALLOWED_GROWTH_KIB = 4 * 1024
EVENT = b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Upstream:
    """Answers as the path asks: `/v1/json`, `/v1/stream`, `/v1/cut`, `/v1/slow`."""

    async def start(self) -> str:
        """Listen on a free port; the base URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        kind = head.split(b" ")[1].rpartition(b"/")[2]
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

    def __init__(self, port: int) -> None:
        self._port = port
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
        head = f"POST /v1/{kind} HTTP/1.1\r\nhost: h\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    async def _echo(self, streams: Streams, source: random.Random) -> None:
        for _ in range(source.randint(1, 4)):
            body = source.randbytes(source.randint(1, 100_000))
            streams[1].write(self._post("json", body))
            head = await streams[0].readuntil(b"\r\n\r\n")
            got = await streams[0].readexactly(len(body))
            self._expect(head.startswith(b"HTTP/1.1 200") and got == body, "an echo differs")

    async def _stream(self, streams: Streams, source: random.Random) -> None:
        streams[1].write(self._post("stream", b"{}"))
        answer = await streams[0].readuntil(b"0\r\n\r\n")
        self._expect(answer.endswith(chunk(EVENT) * 10 + b"0\r\n\r\n"), "a stream differs")

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


async def at_rest(port: int) -> dict[str, object]:
    """Wait until no client but ourselves is connected; what is left by then."""
    for _ in range(120):
        found = await stats(port)
        if found["open_streams"] == 0 and found["client_connections"] == 1:
            break
        await asyncio.sleep(0.1)
    return found


def held(pid: int) -> tuple[int, int]:
    """Open files and resident KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+)", status)
    assert resident
    return len(os.listdir(f"/proc/{pid}/fd")), int(resident[1])


async def soak(seconds: float) -> int:
    """Everything. The exit code."""
    upstream = await Upstream().start()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "m2mproxy", "--listen", "127.0.0.1:0", "--upstream", upstream),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "M2M_LOGGING_ACCESS": "false"},
    )
    assert process.stderr is not None
    try:
        first = (await process.stderr.readline()).decode()
        port = int(re.search(r"listens on 127\.0\.0\.1:(\d+)", first)[1])  # type: ignore[index]
        clients = Clients(port)
        await clients.run(WARM_UP_SECONDS)
        await at_rest(port)
        before = held(process.pid)
        await clients.run(seconds)
        left = await at_rest(port)
        after = held(process.pid)
    finally:
        process.terminate()
        await process.wait()
    return report(clients, left, before, after)


def report(
    clients: Clients,
    left: dict[str, object],
    before: tuple[int, int],
    after: tuple[int, int],
) -> int:
    """Print what was found."""
    wrong = clients.wrong
    errors = left["errors"]
    assert isinstance(errors, dict)
    if "internal_error" in errors:
        wrong.append(f"{errors['internal_error']} bugs in the proxy")
    if left["open_streams"] != 0 or left["client_connections"] != 1:
        wrong.append(f"left open: {left['open_streams']} {left['client_connections']}")
    if after[0] > before[0] + 40:  # idle upstream connections come and go
        wrong.append(f"open files grew from {before[0]} to {after[0]}")
    if after[1] > before[1] + ALLOWED_GROWTH_KIB:
        wrong.append(f"memory grew from {before[1]} to {after[1]} KiB")
    done = ", ".join(f"{count} {name}" for name, count in sorted(clients.seen.items()))
    print(f"soak: {sum(clients.seen.values())} clients: {done}")
    print(f"soak: files {before[0]} -> {after[0]}, resident {before[1]} -> {after[1]} KiB")
    for line in sorted(set(wrong))[:20]:
        print(f"soak: WRONG: {line} ({wrong.count(line)} times)")
    print(f"soak: {'nothing is left' if not wrong else 'failed'}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--short", action="store_true", help="8 seconds, for CI")
    args = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return asyncio.run(soak(8 if args.short else args.seconds))


if __name__ == "__main__":
    sys.exit(main())
