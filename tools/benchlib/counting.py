"""Part `counting`: what it costs a request that tokens are counted as it passes.

Three instances take turns before one model server: with tokens off, with what replies report, and
with everything counted. The server's replies report nothing, so that there is something to count;
for CPU they also report. Requests come at half the rate that the slowest carries.

The hold is what one call keeps the event loop for, in CPU time: handing a job of 1 MiB over, piece
by piece, to the process that counts. Beside it stands how long a loop that does nothing else waits
for its next turn meanwhile, and how long if a thread counts the same.

Latencies and waits are the best of several repetitions: what else the machine does comes on top.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from m2mproxy.service import counting
from m2mproxy.service.counting import Counting
from m2mproxy.tokens.count import Counter
from m2mproxy.tokens.job import Job, run
from m2mproxy.tokens.vocabulary import preload

from . import messages
from .native import Load, Model, Quantiles
from .results import Results, Row, Target
from .servers import Bench, Server

PART = "counting"
MODES = ("off", "usage", "all")
HERE, THREAD = "process", "thread"
COLUMNS = (*MODES, HERE, THREAD)
CONNECTIONS = 16
P50 = Row(PART, "latency p50, replies without usage", "µs", 1)
P99 = Row(PART, "latency p99, replies without usage", "µs", 1)
CPU = Row(PART, "CPU a request, replies without usage", "µs", 1)
CPU_REPORTED = Row(PART, "CPU a request, replies with usage", "µs", 1)
HOLD = Row(PART, "longest hold, handing 1 MiB over", "µs", 1)
WAIT = Row(PART, "longest wait of a loop, counting 1 MiB", "µs", 0)
_MOST_RATE = 500  # a second: what is to be counted has to be counted


def measure(bench: Bench) -> None:
    bench.results.notes[PART] = (
        f"2 KiB chat request, 1 KiB reply, {CONNECTIONS} connections, at a fixed rate"
    )
    repetitions, seconds = (1, 0.5) if bench.short else (25, 0.4)
    for reported in (True, False):
        with _model(bench, reported) as upstream, contextlib.ExitStack() as stack:
            servers = [stack.enter_context(_proxy(bench, upstream, mode)) for mode in MODES]
            loads = {s: stack.enter_context(_load(bench, s, reported)) for s in servers}
            for load in loads.values():
                load.run(seconds / 4)
            runs = [
                _once(bench, server, load, seconds, reported)
                for _ in range(repetitions)
                for server, load in loads.items()
            ]
            if not reported:
                _add_latencies(bench.results, runs)
    _holds(bench.results, 3 if bench.short else 15)


def _proxy(bench: Bench, upstream: int, mode: str) -> Any:
    return bench.proxy(upstream, more=f'\n[tokens]\ncount = "{mode}"\n', name=mode)


def _reply(reported: bool, reply: bytes) -> bytes:
    return reply if reported else reply.replace(b'"usage"', b'"other"')


@contextlib.contextmanager
def _model(bench: Bench, reported: bool) -> Iterator[int]:
    directory = bench.path("model")
    reply, *bodies = messages.write_model(directory)
    reply.write_bytes(_reply(reported, reply.read_bytes()))
    argv = [bench.program("reply"), str(reply), *map(str, bodies)]
    with Model.started(argv, bench.cpus.load, directory / "log") as model:
        yield model.port()


@contextlib.contextmanager
def _load(bench: Bench, server: Server, reported: bool) -> Iterator[Load]:
    directory = bench.path("load")
    requests = messages.write_chat_requests(directory, messages.SDK_FIELDS, server.port)
    expected: Path = directory / "expected"
    expected.write_bytes(_reply(reported, messages.reply_body()))
    argv = [bench.program("load"), str(server.port), str(CONNECTIONS), "whole", str(expected)]
    argv += map(str, requests)
    with Load.started(argv, bench.cpus.load, directory / "log") as load:
        load.wait_ready()
        yield load


def _once(
    bench: Bench, server: Server, load: Load, seconds: float, reported: bool
) -> tuple[str, Quantiles]:
    assert server.process
    before = server.process.cpu_seconds()
    run = load.run(seconds, _MOST_RATE)
    if run.failures:
        bench.results.fail(f"{server.name}: {run.failures} failed: {run.first_failure}")
    cpu = (server.process.cpu_seconds() - before) / max(1, run.requests) * 1e6
    bench.results.add(CPU_REPORTED if reported else CPU, server.name, cpu)
    return server.name, run.latency


def _add_latencies(results: Results, runs: list[tuple[str, Quantiles]]) -> None:
    for mode in MODES:
        latencies = [latency for name, latency in runs if name == mode]
        results.add(P50, mode, min(latency.p50 for latency in latencies))
        results.add(P99, mode, min(latency.p99 for latency in latencies))


# ---- how long the loop is held -------------------------------------------------------------------


class _Timed(Counting):
    """Measures each call that the loop makes."""

    longest = 0.0

    def _time(self, call: Callable[[], None]) -> None:
        start = time.thread_time()
        call()
        self.longest = max(self.longest, time.thread_time() - start)

    def _writable(self) -> None:
        self._time(super()._writable)

    def _readable(self) -> None:
        self._time(super()._readable)


def _job() -> Job:
    """A request of 1 MiB, which came in chunks of 16 KiB, and a reply of 1,000 events."""
    body = messages.chat_body(1 << 20)
    event = {"choices": [{"index": 0, "delta": {"content": " well"}}], "model": "gpt-4o"}
    events = [b"data: " + json.dumps(event).encode() + b"\n\n"] * 1000
    chunks = [body[at : at + 16384] for at in range(0, len(body), 16384)]
    return Job.of("gpt-4o", chunks, events, True)


def _holds(results: Results, repetitions: int) -> None:
    counter = Counter(preload(["o200k"]))
    helper = counting.start(counter)
    job = _job()
    try:
        beside = [asyncio.run(_beside(helper.socket, job)) for _ in range(repetitions)]
        threaded = [asyncio.run(_threaded(job, counter)) for _ in range(repetitions)]
        results.add(HOLD, HERE, max(hold for hold, _ in beside) * 1e6)
        results.add(WAIT, HERE, min(wait for _, wait in beside) * 1e6)
        results.add(WAIT, THREAD, min(threaded) * 1e6)
    finally:
        helper.end()


async def _beside(end: Any, job: Job) -> tuple[float, float]:
    """With a process: the longest call, and the longest wait of the loop."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    timed = _Timed(loop, end, done.set)
    start = time.thread_time()
    timed.submit(job, lambda _: done.set())
    timed.longest = time.thread_time() - start
    wait = await _ticking(done)
    loop.remove_reader(end)
    return timed.longest, wait


async def _threaded(job: Job, counter: Counter) -> float:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def work() -> None:
        run(job, counter)
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=work, daemon=True).start()
    return await _ticking(done)


async def _ticking(done: asyncio.Event) -> float:
    """The longest time between two turns of the loop, which does nothing else, until `done`."""
    longest, last = 0.0, time.perf_counter()
    while not done.is_set():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


def targets(results: Results) -> list[Target]:
    def more(row: Row, mode: str) -> float | None:
        pairs = [results.value(row, name) for name in (mode, "off")]
        return None if None in pairs else pairs[0] - pairs[1]  # type: ignore[operator]

    return [
        Target("p99 with counting on, more", more(P99, "all"), 100, "µs"),
        Target("p99 with usage read, more", more(P99, "usage"), 100, "µs"),
        Target(HOLD.name, results.value(HOLD, HERE), 200, "µs"),
    ]
