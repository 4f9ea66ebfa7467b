"""Part `off`: what tokens and scanning cost a proxy in which both are switched off.

Three take turns before one model server: the proxy without the code of these stages (`bare`, see
launch.py), the proxy with both off, and the proxy as it is by default, which reads of replies what
they took. Instructions are counted by callgrind, where that is installed, in a run of their own;
with --short there is CPU time only. "More time" is what the further instructions take at the pace
of the others: times themselves differ by more than that from one moment to the next.
"""

import contextlib
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from . import callgrind, launch
from .memory import MEBIBYTE
from .messages import SDK_FIELDS
from .native import Load
from .results import Results, Row, Target
from .servers import Bench, Server

PART = "off"
BARE, OFF, DEFAULT = "bare", "off", "usage"
COLUMNS = (BARE, OFF, DEFAULT)
CPU = Row(PART, "CPU a request", "µs", 1)
INSTRUCTIONS = Row(PART, "instructions a request", "thousand", 2)
RESIDENT = Row(PART, "idle, resident", "MiB", 2)
UNIQUE = Row(PART, "idle, unique", "MiB", 2)
MODULES = Row(PART, "modules imported", "")
STAGES = Row(PART, "of them for tokens and scanning", "")
_COUNTED_SECONDS = 5.0  # some 200 requests


def measure(bench: Bench) -> None:
    bench.results.notes[PART] = "2 KiB chat request, 1 KiB reply, 1 connection; warm"
    repetitions, seconds = (2, 0.3) if bench.short else (25, 0.4)
    with bench.model() as upstream:
        with _started(bench, upstream) as servers:
            _memory(bench, servers)
            _cpu(bench, servers, repetitions, seconds)
        for name in COLUMNS:  # they have ended, and have left their lists
            names = Path(_listing(bench, name)).read_text().splitlines()
            bench.results.add(MODULES, name, len(names))
            bench.results.add(STAGES, name, sum(map(launch.is_of_a_stage, names)))
        if not bench.short and callgrind.is_here():
            for name in COLUMNS:
                _instructions(bench, upstream, name)


# ---- the three -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _started(bench: Bench, upstream: int) -> Iterator[list[Server]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_proxy(bench, upstream, name)) for name in COLUMNS]


def _proxy(
    bench: Bench, upstream: int, name: str, counted: bool = False
) -> contextlib.AbstractContextManager[Server]:
    mode = launch.BARE if name == BARE else launch.WHOLE
    flags = [sys.executable, "-m", "benchlib.launch", mode, _listing(bench, name)]
    argv = callgrind.command(flags, _results(bench, name)) if counted else flags
    command = f"{shlex.join(argv)} --config {{config}}"
    count = DEFAULT if name == DEFAULT else "off"
    more = f'\n[tokens]\ncount = "{count}"\n'
    patience = callgrind.SECONDS_TO_START if counted else 15
    return bench.proxy(upstream, more=more, name=name, command=command, patience=patience)


def _listing(bench: Bench, name: str) -> str:
    return str(bench.directory / f"modules-{name}")


def _results(bench: Bench, name: str) -> Path:
    directory = bench.directory / f"callgrind-{name}"
    directory.mkdir(exist_ok=True)
    return directory


# ---- what they take ------------------------------------------------------------------------------


def _memory(bench: Bench, servers: list[Server]) -> None:
    for server in servers:
        assert server.process
        with bench.load(server, 8, SDK_FIELDS) as load:
            load.run(0.1)
        memory = server.process.settled_memory()
        bench.results.add(RESIDENT, server.name, memory.resident / MEBIBYTE)
        bench.results.add(UNIQUE, server.name, memory.unique / MEBIBYTE)


def _cpu(bench: Bench, servers: list[Server], repetitions: int, seconds: float) -> None:
    with contextlib.ExitStack() as stack:
        loads = {s: stack.enter_context(bench.load(s, 1, SDK_FIELDS)) for s in servers}
        for load in loads.values():
            load.run(seconds / 2)
        for _ in range(repetitions):
            for server, load in loads.items():
                assert server.process
                before = server.process.cpu_seconds()
                requests = _run(bench, server, load, seconds)
                taken = server.process.cpu_seconds() - before
                bench.results.add(CPU, server.name, taken / requests * 1e6)


def _run(bench: Bench, server: Server, load: Load, seconds: float) -> int:
    """How many requests were answered; no reply is out at either end."""
    run = load.run(seconds)
    if run.failures:
        bench.results.fail(f"{server.name}: {run.failures} failed: {run.first_failure}")
    return max(1, run.requests)


def _instructions(bench: Bench, upstream: int, name: str) -> None:
    with _proxy(bench, upstream, name, counted=True) as server:
        assert server.process
        with bench.load(server, 1, SDK_FIELDS) as load:
            load.run(2.0)
            callgrind.begin(server.process)
            requests = _run(bench, server, load, _COUNTED_SECONDS)
            count = callgrind.end(server.process, _results(bench, name))
    bench.results.add(INSTRUCTIONS, name, count / requests / 1e3)


def targets(results: Results) -> list[Target]:
    cost: Mapping[str, float | None] = {n: results.value(INSTRUCTIONS, n) for n in (BARE, OFF)}
    bare, off, cpu = cost[BARE], cost[OFF], results.value(CPU, OFF)
    more = (off - bare) / bare * cpu if bare and off and cpu else None
    resident = [results.value(RESIDENT, name) for name in (OFF, BARE)]
    held = resident[0] - resident[1] if resident[0] and resident[1] else None
    return [
        Target("tokens and scanning off, more time", more, 1, "µs"),
        Target("tokens and scanning off, more memory", held, 1, "MiB"),
    ]
