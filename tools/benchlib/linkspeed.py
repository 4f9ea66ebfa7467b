"""How late a reply's first byte and its events are: direct, through the proxy, and through an edge
and a core over HTTP/2, with a link between them and without. And what two servers in a row take
that have less to do: nginx twice, and the proxy twice where it codes nothing.

A client sends the turns of an agent's session; the model server answers each with what the session
goes on with, in a few events at a fixed pace. They take turns with each request, in any order, so
that a slow moment of the machine falls on each alike, and so does what another has left in its
caches. Client and model server are one process, which adds the same to all. All run before whatever
else the machine does, if they may: what is slowest of a hundred is else the machine's.
"""

import asyncio
import contextlib
import json
import random
import time
from dataclasses import dataclass, field

import sessions
from openai_replies import compact
from sessions import Session

from . import machine
from .loopback import CHUNKED, HOST, LAST_CHUNK, chunk, read_body, read_head, read_request, serve
from .messages import SDK_FIELDS, chat_request
from .process import ProcessFailed
from .results import Results, Row, Target
from .servers import Bench

PART = "link speed"
DIRECT, NGINX, PROXY, PAIR, LINK = "direct", "nginx", "proxy", "no link", "with link"
TWO_NGINX, TWO_PROXIES = "nginx twice", "proxy twice"
COLUMNS = (TWO_NGINX, TWO_PROXIES, PAIR, LINK)
_CODES_NOTHING = """
[proxy.compression]
requests = "off"
responses = "off"
"""
PERIOD = 0.004
EVENTS = 8
_PATIENCE = 20.0
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + CHUNKED + b"\r\n\r\n"


def _row(what: str, percentile: int) -> Row:
    return Row(PART, f"{what}, p{percentile}", "µs", 0, added=True)


def first_row(percentile: int) -> Row:
    return _row("time to the first event", percentile)


def gap_row(percentile: int) -> Row:
    return _row("between two events", percentile)


@dataclass
class Clocked:
    """In seconds."""

    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)


def measure(bench: Bench) -> None:
    with machine.ahead_of_others() as is_ahead:
        bench.results.notes[PART] = (
            f"an agent's turns of 15 to 28 KiB; {EVENTS} events, one each {PERIOD * 1e3:.0f} ms; "
            f"{'ahead of' if is_ahead else 'beside'} all else that runs"
        )
        asyncio.run(_measure(bench))


async def _measure(bench: Bench) -> None:
    some = sessions.generated(sessions.CLERK, 3 if bench.short else 14).sessions
    async with contextlib.AsyncExitStack() as stack:
        model = _Model()
        origin = await serve(stack, model.serve)
        clients = {
            name: await asyncio.open_connection(HOST, port)
            for name, port in _ports(bench, stack, origin).items()
        }
        clocked = {name: Clocked() for name in clients}
        order = random.Random(PART)
        # The first two warm: a process takes from the kernel what it keeps from then on.
        for session in (some[0][:3], some[1][:3], *some[2:]):
            if session is some[2]:
                clocked = {name: Clocked() for name in clients}
            await _play(model, clients, clocked, session, order)
        for _, writer in clients.values():
            writer.close()
    _report(bench.results, clocked)


def _ports(bench: Bench, stack: contextlib.AsyncExitStack, origin: int) -> dict[str, int]:
    """Where the client connects to, by what is between that and the `origin`."""

    def nginx(upstream: int) -> int:
        return stack.enter_context(bench.peer(NGINX, upstream)).port

    def proxy(upstream: int, http: str = "auto", link: bool = True, more: str = "") -> int:
        return stack.enter_context(bench.proxy(upstream, http, link, more)).port

    ports = {DIRECT: origin}
    if NGINX in bench.peers:
        ports |= {NGINX: nginx(origin), TWO_NGINX: nginx(nginx(origin))}
    second = proxy(origin, link=False, more=_CODES_NOTHING)
    core = proxy(origin)
    return ports | {
        PROXY: proxy(origin),
        TWO_PROXIES: proxy(second, "2", link=False, more=_CODES_NOTHING),
        PAIR: proxy(core, "2", link=False),
        LINK: proxy(core, "2"),
    }


Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _play(
    model: "_Model",
    clients: dict[str, Client],
    clocked: dict[str, Clocked],
    session: Session,
    order: random.Random,
) -> None:
    for turn in session:
        model.events = _events(turn.reply[0])
        for name in order.sample(list(clients), len(clients)):
            async with asyncio.timeout(_PATIENCE):
                await _clock(clients[name], turn.request, clocked[name])


async def _clock(client: Client, body: bytes, into: Clocked) -> None:
    reader, writer = client
    request = chat_request(SDK_FIELDS, 80, body)
    start = time.perf_counter()
    writer.write(request)
    head = await read_head(reader)
    if b" 200 " not in head[:16]:
        raise ProcessFailed(f"link speed: {head!r}")
    before, events = 0.0, 0
    async for piece in read_body(reader, head):
        now = time.perf_counter()
        if before:
            into.gaps.append(now - before)
        else:
            into.first.append(now - start)
        before, events = now, events + piece.count(b"\n\n")
    if events != EVENTS:
        raise ProcessFailed(f"link speed: {events} events of {EVENTS}")


class _Model:
    """A model server that answers with these events at a fixed pace."""

    def __init__(self) -> None:
        self.events: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(_HEAD)
            for number, event in enumerate(self.events):
                await asyncio.sleep(PERIOD if number else 0)
                writer.write(chunk(event))
            writer.write(LAST_CHUNK)


def _events(reply: bytes) -> list[bytes]:
    """A reply as a stream: the text or the arguments of its call come piece by piece."""
    message = json.loads(reply)["choices"][0]["message"]
    call = (message.get("tool_calls") or [None])[0]
    text = call["function"]["arguments"] if call else message["content"]
    size = -(-len(text) // (EVENTS - 1))
    if call:
        call["function"]["arguments"], call["index"] = "", 0
    else:
        message["content"] = ""
    deltas = [message]
    for at in range(0, (EVENTS - 1) * size, size):
        piece = text[at : at + size]
        of_call = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
        deltas.append(of_call if call else {"content": piece})
    return [_event(delta) for delta in deltas]


def _event(delta: dict[str, object]) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    return b"data: " + compact({"id": "chatcmpl-bench", "choices": [choice]}) + b"\n\n"


def _report(results: Results, clocked: dict[str, Clocked]) -> None:
    for row_of, name_of in ((first_row, "first"), (gap_row, "gaps")):
        for percentile in (50, 99):
            row = row_of(percentile)
            direct = _percentile(getattr(clocked[DIRECT], name_of), percentile)
            for name, clock in clocked.items():
                value = _percentile(getattr(clock, name_of), percentile)
                added = value if name == DIRECT else value - direct
                results.add(row, name, added * 1e6)


def _percentile(values: list[float], percentile: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percentile // 100)]


def targets(results: Results) -> list[Target]:
    def over_proxy(row: Row) -> Target:
        ours, plain = results.value(row, LINK), results.value(row, PROXY)
        value = None if ours is None or plain is None else (ours - plain) / 1e3
        return Target(f"link, {row.name}, over the proxy's", value, 1, "ms")

    return [over_proxy(first_row(99)), over_proxy(gap_row(99))]
