"""Part `memory`: what a server holds idle, and for 1,000 idle clients or 1,000 live streams more.

Each figure starts from a fresh process that has served a few requests, so that what is loaded or
allocated once is part of "idle" and not of the thousand. Resident is RSS; unique is what only this
process holds (private pages), as a second worker would cost it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from . import machine
from .messages import SDK_FIELDS
from .process import Memory
from .results import Row
from .servers import Bench, Server

PART = "memory"
CLIENTS = 1000
FILES = 2 * CLIENTS + 200  # of a server, with streams from as many upstream connections
WARM_CONNECTIONS = 8
EVENT_PERIOD = 0.2
MEBIBYTE = 1024 * 1024

IDLE = Row(PART, "idle, resident", "MiB", 1)
IDLE_UNIQUE = Row(PART, "idle, unique", "MiB", 1)
CONNECTIONS = Row(PART, f"{CLIENTS} idle keep-alive clients, resident", "MiB more", 2)
CONNECTIONS_UNIQUE = Row(PART, f"{CLIENTS} idle keep-alive clients, unique", "MiB more", 2)
STREAMS = Row(PART, f"{CLIENTS} live streams, resident", "MiB more", 2)
STREAMS_UNIQUE = Row(PART, f"{CLIENTS} live streams, unique", "MiB more", 2)


def measure(bench: Bench) -> None:
    if (most := machine.raise_open_files()) < FILES:
        print(f"left out {PART}: {FILES} files, and {most} may be open", file=sys.stderr)
        return
    bench.results.notes[PART] = (
        "fresh process, warmed by a few requests; streams with 5 events a second"
    )
    for name in bench.peers:
        _idle_clients(bench, name)
        _live_streams(bench, name)


def _idle_clients(bench: Bench, name: str) -> None:
    with bench.model() as upstream, _warm_peer(bench, name, upstream) as (server, idle):
        _add(bench, name, IDLE, IDLE_UNIQUE, idle)
        with bench.load(server, CLIENTS, SDK_FIELDS):
            _add(bench, name, CONNECTIONS, CONNECTIONS_UNIQUE, _memory(server) - idle)


def _live_streams(bench: Bench, name: str) -> None:
    with bench.source(EVENT_PERIOD) as upstream, bench.peer(name, upstream) as server:
        with bench.sink(server, WARM_CONNECTIONS):
            pass
        idle = _memory(server)
        with bench.sink(server, CLIENTS) as sink:
            sink.run(1.0)
            _add(bench, name, STREAMS, STREAMS_UNIQUE, _memory(server) - idle)


@contextmanager
def _warm_peer(bench: Bench, name: str, upstream: int) -> Iterator[tuple[Server, Memory]]:
    with bench.peer(name, upstream) as server:
        with bench.load(server, WARM_CONNECTIONS, SDK_FIELDS) as load:
            load.run(0.1)
        yield server, _memory(server)


def _memory(server: Server) -> Memory:
    assert server.process
    return server.process.settled_memory()


def _add(bench: Bench, name: str, resident: Row, unique: Row, memory: Memory) -> None:
    bench.results.add(resident, name, memory.resident / MEBIBYTE)
    bench.results.add(unique, name, memory.unique / MEBIBYTE)
