"""Conversations over a line that breaks: an edge and a core, a relay between them, seeds that are
fixed.

The relay (tools/relay.py) delays what passes and, again and again, resets a connection, cuts it
with bytes under way, or lets it stand still. Meanwhile many conversations go on. Each answer has
to be right to the byte, or an error that says so, or a stream that is seen to be cut; none may
hang. Then the relay mends, and what is left is looked at: a model that works for nobody, streams,
memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator

from relay import Line, Relay
from soak import Program, Streams, at_rest, chunk, program, stats

CLIENTS = 24
# No answer takes as long, on a line that is so often new.
PATIENCE = 30.0
EVENTS, EVERY = 20, 0.02
KEY = "sk-" + "k" * 45
ALLOWED_GROWTH_KIB = 16 * 1024
# What an edge may say where the line has failed.
ERRORS = frozenset({502, 503, 504})
CODES = frozenset(
    {"upstream_disconnected", "upstream_unreachable", "upstream_connect_timeout", "upstream_busy"}
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n%b\r\n"


def reply_of(body: bytes) -> bytes:
    """What the model says to a request, whole: nothing else is right."""
    text = hashlib.sha256(body).hexdigest()
    message = {"role": "assistant", "content": f"{text} " * 8}
    return json.dumps({"object": "chat.completion", "choices": [{"message": message}]}).encode()


def events_of(body: bytes) -> list[bytes]:
    """And piece by piece."""
    text = hashlib.sha256(body).hexdigest()
    deltas = [{"choices": [{"delta": {"content": text[n : n + 3]}}]} for n in range(EVENTS)]
    return [b"data: %b\n\n" % json.dumps(each).encode() for each in deltas] + [b"data: [DONE]\n\n"]


class Model:
    """The far end. `at_work` is how many answers it is writing now."""

    def __init__(self) -> None:
        self.at_work = 0

    async def start(self) -> str:
        """Listen on a free port; the base URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                await self._answer(body, writer)
        writer.close()

    async def _answer(self, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.at_work += 1
        try:
            if b'"stream": true' in body:
                writer.write(HEAD % (b"text/event-stream", b"transfer-encoding: chunked\r\n"))
                for event in events_of(body):
                    writer.write(chunk(event))
                    await writer.drain()
                    if writer.transport.is_closing():
                        raise ConnectionResetError
                    await asyncio.sleep(EVERY)
                writer.write(b"0\r\n\r\n")
            else:
                await asyncio.sleep(EVERY)
                reply = reply_of(body)
                writer.write(
                    HEAD % (b"application/json", b"content-length: %d\r\n" % len(reply)) + reply
                )
            await writer.drain()
        finally:
            self.at_work -= 1


def turns(source: random.Random) -> Iterator[bytes]:
    """The bodies of a conversation, each with all that came before."""
    system = {"role": "system", "content": source.randbytes(source.randint(100, 20_000)).hex()}
    messages = [system]
    for _ in range(source.randint(2, 8)):
        messages.append({"role": "user", "content": source.randbytes(400).hex()})
        stream = source.random() < 0.5
        yield json.dumps({"model": "m", "stream": stream, "messages": messages}).encode()
        messages.append({"role": "assistant", "content": source.randbytes(300).hex()})


class Applications:
    """Many at once. `seen` counts what became of their requests, `wrong` what should not have."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(self, seconds: float, seed: int) -> None:
        """All of them, for so long."""
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._one(seed * CLIENTS + n, end) for n in range(CLIENTS)))

    async def _one(self, seed: int, end: float) -> None:
        source = random.Random(seed)
        while time.monotonic() < end:
            for body in turns(source):
                if time.monotonic() > end:
                    return
                leaves = source.random() < 0.05
                try:
                    async with asyncio.timeout(PATIENCE):
                        outcome = await self._turn(body, leaves, source)
                except TimeoutError:
                    self.wrong.append("a request that hangs")
                    outcome = "hang"
                self.seen[outcome] += 1
                await asyncio.sleep(source.random() * 0.1)

    async def _turn(self, body: bytes, leaves: bool, source: random.Random) -> str:
        streams = await asyncio.open_connection("127.0.0.1", self._port)
        fields = f"host: h\r\ncontent-type: application/json\r\nauthorization: Bearer {KEY}\r\n"
        fields += f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        streams[1].write(b"POST /v1/chat/completions HTTP/1.1\r\n" + fields.encode() + body)
        try:
            if leaves:
                await asyncio.sleep(source.random() * 0.3)
                return "left"
            return self._judge(body, await _whole(streams))
        finally:
            streams[1].close()

    def _judge(self, body: bytes, answer: bytes) -> str:
        head, _, rest = answer.partition(b"\r\n\r\n")
        status = int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else 0
        if status in ERRORS and _code(rest) in CODES:
            return f"error {status}"
        if status != 200:
            self.wrong.append(f"an answer that nobody gave: {answer[:300]!r}")
            return "wrong"
        text, is_whole = _unchunked(rest) if b"chunked" in head else (rest, False)
        if b"text/event-stream" in head:
            return self._stream(b"".join(events_of(body)), text, is_whole)
        expected = reply_of(body)
        if not expected.startswith(text) or (is_whole and text != expected):
            self.wrong.append(f"another reply: {text[:100]!r}")
        return "whole" if text == expected else "cut"

    def _stream(self, expected: bytes, text: bytes, is_whole: bool) -> str:
        if is_whole:
            if text != expected:
                self.wrong.append(f"a stream that looks complete: {text[-200:]!r}")
            return "whole"
        known, _, error = text.partition(b'data: {"error"')
        if not expected.startswith(known.rstrip(b"\n")):
            self.wrong.append(f"another stream: {known[-200:]!r}")
        if not error:
            self.wrong.append("a stream that was cut without a word")
        return "cut"


async def _whole(streams: Streams) -> bytes:
    answer = b""
    with contextlib.suppress(OSError):
        while data := await streams[0].read(65536):
            answer += data
    return answer


def _code(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    """What chunks hold, and whether the last one is there."""
    text = b""
    while True:
        size, found, data = data.partition(b"\r\n")
        if not found:
            return text, False
        length = int(size, 16)
        if not length:
            return text, data == b"\r\n"
        text, data = text + data[:length], data[length + 2 :]


async def flaky(seconds: float, seed: int, version: str) -> bool:
    """One edge and one core; whether all was right."""
    model = Model()
    memory = {"M2M_LINK_CONNECTION_MEMORY": "1MiB"}  # so that what is old is forgotten, too
    async with program("core", await model.start(), **memory) as core:
        relay = Relay(core.port, Line(delay=0.02, lifetime=1.0, stall=2.0), seed)
        url = f"http://127.0.0.1:{await relay.start()}/v1"
        async with program("edge", url, M2M_UPSTREAM_HTTP=version, **memory) as edge:
            applications = Applications(edge.port)
            await applications.run(seconds / 3, seed)
            for each in (edge, core):
                each.before = each.held
            await applications.run(seconds * 2 / 3, seed + 1)
            relay.line = Line()
            wrong = applications.wrong + await left(model, edge, core)
            link = await links(edge)
        await relay.close()
    done = ", ".join(f"{count} {name}" for name, count in sorted(applications.seen.items()))
    ends = ", ".join(f"{count} {how}" for how, count in sorted(relay.ends.items()))
    print(f"distant: HTTP {version}, seed {seed}: {done}; connections: {ends}; {link}")
    if not applications.seen["whole"]:
        wrong.append("nothing came through")
    for line in sorted(set(wrong))[:20]:
        print(f"distant: WRONG: {line} ({wrong.count(line)} times)")
    return not wrong


async def left(model: Model, *programs: Program) -> list[str]:
    """What is wrong once nobody asks any more."""
    wrong = []
    for each in programs:
        found = await at_rest(each, alone=False)
        if found["open_streams"]:
            wrong.append(f"{found['open_streams']} streams left open in the {each.name}")
        errors = found["errors"]
        if isinstance(errors, dict) and "internal_error" in errors:
            wrong.append(f"{errors['internal_error']} bugs in the {each.name}")
        before, after = each.before[1], each.held[1]
        if after > before + ALLOWED_GROWTH_KIB:
            wrong.append(f"memory of the {each.name} grew from {before} to {after} KiB")
    for _ in range(120):  # an answer sees that nobody waits for it at its next event
        if not model.at_work:
            break
        await asyncio.sleep(0.1)
    if model.at_work:
        wrong.append(f"the model works on {model.at_work} answers for nobody")
    return wrong


async def links(edge: Program) -> str:
    """What the links were worth, for people."""
    found = (await stats(edge.port))["links"]
    assert isinstance(found, dict)
    [link] = [each for each in found.values() if isinstance(each, dict)]
    return f"{link['turns']} turns by a link, {link['misses']} of them missed"


async def all_of_them(seconds: float, seed: int) -> int:
    """The exit code."""
    results = [await flaky(seconds / 2, seed, version) for version in ("auto", "2")]
    return 0 if all(results) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="10 seconds, for CI")
    args = parser.parse_args()
    return asyncio.run(all_of_them(10 if args.short else args.seconds, args.seed))


if __name__ == "__main__":
    sys.exit(main())
