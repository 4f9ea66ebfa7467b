"""Part `requests`: requests a second, CPU a request, and the latency that a server adds.

Throughput and CPU come from a closed loop, in which every connection sends as soon as it has its
reply. In such a loop latency is only another word for throughput, but at one connection; so at more
of them requests come at a fixed rate, the same for every server: half of what the slowest carried.
"Added" is a server's percentile less the direct one's in the same repetition.
"""

import contextlib
from dataclasses import dataclass

from .messages import MINIMAL_FIELDS, SDK_FIELDS
from .native import Load, LoadRun
from .results import Row
from .servers import Bench, Server

PART = "requests"
CONNECTIONS = (1, 32, 256)


def at(connections: int) -> str:
    return f"{connections} connection{'s' if connections > 1 else ''}"


def rate_row(connections: int) -> Row:
    return Row(PART, f"requests a second, {at(connections)}", "/s")


def cpu_row(what: str) -> Row:
    return Row(PART, f"CPU a request, {what}", "µs", 1)


def latency_row(percentile: str, connections: int) -> Row:
    return Row(PART, f"latency {percentile}, {at(connections)}", "µs", 1, added=True)


CPU_SDK = cpu_row(at(32))
CPU_MINIMAL = cpu_row("4 header fields")
CPU_LOGGED = cpu_row("access log on")
CPU_SPLIT = cpu_row("head and body sent apart")


@dataclass(frozen=True)
class Size:
    repetitions: int
    seconds: float

    @classmethod
    def of(cls, bench: Bench) -> "Size":
        return cls(1, 0.4) if bench.short else cls(5, 1.0)


def measure(bench: Bench) -> None:
    bench.results.notes[PART] = (
        "2 KiB chat request with the OpenAI SDK's headers, 1 KiB reply, one worker each"
    )
    size = Size.of(bench)
    with bench.model() as upstream, bench.all_peers(upstream) as servers:
        for connections in CONNECTIONS:
            with contextlib.ExitStack() as stack:
                loads = {
                    s: stack.enter_context(bench.load(s, connections, SDK_FIELDS)) for s in servers
                }
                _closed_loop(bench, loads, connections, size)
                if connections > 1:
                    _paced(bench, loads, connections, size)
        _cpu_only(bench, servers, size, CPU_MINIMAL, MINIMAL_FIELDS)
        _cpu_only(bench, servers, size, CPU_SPLIT, SDK_FIELDS, split=True)
    with bench.model() as upstream, bench.all_peers(upstream, access_log=True) as servers:
        _cpu_only(bench, servers, size, CPU_LOGGED, SDK_FIELDS)


def _closed_loop(bench: Bench, loads: dict[Server, Load], connections: int, size: Size) -> None:
    for server, load in loads.items():  # warm: code paths, caches, memory
        _run(bench, server, load, size.seconds / 4)
    for _ in range(size.repetitions):
        runs = {}
        for server, load in loads.items():
            runs[server], cpu = _run(bench, server, load, size.seconds)
            _add_throughput(bench, server, connections, runs[server], cpu)
        if connections == 1:
            _add_latency(bench, runs, connections)


def _paced(bench: Bench, loads: dict[Server, Load], connections: int, size: Size) -> None:
    row = rate_row(connections)
    carried = [bench.results.value(row, server.name) or 0 for server in loads]
    rate = min(carried) / 2
    for _ in range(size.repetitions):
        runs = {s: _run(bench, s, load, size.seconds, rate)[0] for s, load in loads.items()}
        _add_latency(bench, runs, connections)


def _cpu_only(
    bench: Bench, servers: list[Server], size: Size, row: Row, fields: str, split: bool = False
) -> None:
    measured = [server for server in servers if server.process]
    with contextlib.ExitStack() as stack:
        loads = {s: stack.enter_context(bench.load(s, 32, fields, split)) for s in measured}
        for server, load in loads.items():
            _run(bench, server, load, size.seconds / 4)
        for _ in range(size.repetitions):
            for server, load in loads.items():
                run, cpu = _run(bench, server, load, size.seconds)
                bench.results.add(row, server.name, cpu / max(1, run.requests) * 1e6)


def _run(
    bench: Bench, server: Server, load: Load, seconds: float, rate: float = 0
) -> tuple[LoadRun, float]:
    """One window, and the CPU seconds the server spent in it. No reply is out at either end."""
    server.check()
    before = server.process.cpu_seconds() if server.process else 0
    run = load.run(seconds, rate)
    after = server.process.cpu_seconds() if server.process else 0
    if run.failures:
        bench.results.fail(
            f"{server.name}: {run.failures} of {run.requests} requests failed: {run.first_failure}"
        )
    return run, after - before


def _add_throughput(
    bench: Bench, server: Server, connections: int, run: LoadRun, cpu: float
) -> None:
    bench.results.add(rate_row(connections), server.name, run.requests / run.seconds)
    if server.process:
        row = cpu_row(at(connections))
        bench.results.add(row, server.name, cpu / max(1, run.requests) * 1e6)


def _add_latency(bench: Bench, runs: dict[Server, LoadRun], connections: int) -> None:
    direct = next(run for server, run in runs.items() if not server.process)
    for server, run in runs.items():
        for percentile in ("p50", "p99"):
            value = getattr(run.latency, percentile)
            if server.process:
                value -= getattr(direct.latency, percentile)
            bench.results.add(latency_row(percentile, connections), server.name, value)
