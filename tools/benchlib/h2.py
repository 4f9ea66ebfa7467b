"""Part `h2`: clients that speak HTTP/2 over cleartext, on one connection with many streams.

Requests: h2load keeps 32 streams busy; nginx and the proxy forward them over HTTP/1.1 to the model
server of part `requests`, hypercorn answers them itself. Events: those of part `streams`, on 100
streams of one connection; "direct" is the model server over HTTP/1.1, clocked the same way.
Multiplexing: a download whose reader stops at its first 64 KiB is one stream, requests are the
others; the bare client (`h2stall`) is the same with and without it, so only the ratio means much.
"""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from . import h2load, messages
from .native import Sink
from .process import ProcessFailed
from .results import Row
from .servers import Bench, Server
from .streams import PERIOD

PART = "h2"
STREAMS = 32
EVENT_STREAMS = 100
PAIRS = 4
HYPERCORN = "hypercorn"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
SETTINGS = 4

RATE = Row(PART, f"requests a second, {STREAMS} streams", "/s")
CPU = Row(PART, f"CPU a request, {STREAMS} streams", "µs", 1)
CPU_EVENT = Row(PART, f"CPU an event, {EVENT_STREAMS} streams", "µs", 1)
ALONE = Row(PART, "requests a second, bare client", "/s")
BESIDE = Row(PART, "requests a second, beside a stalled download", "/s")
KEPT = Row(PART, "of its rate kept beside a stalled download", "times", 2)


def transit_row(percentile: str) -> Row:
    return Row(PART, f"event transit {percentile}, {EVENT_STREAMS} streams", "µs", 1, added=True)


@dataclass(frozen=True)
class Size:
    repetitions: int
    seconds: float
    warm_requests: int

    @classmethod
    def of(cls, bench: Bench) -> "Size":
        return cls(1, 0.4, 500) if bench.short else cls(5, 1.0, 3000)


def measure(bench: Bench) -> None:
    bench.results.notes[PART] = (
        "cleartext, all on one connection; requests and events as in the other parts"
    )
    size = Size.of(bench)
    with bench.model() as upstream, _peers(bench, upstream) as peers:
        with bench.hypercorn() as hypercorn:
            _requests(bench, [*peers, hypercorn], size)
        _stalled_stream(bench, peers, size)
    with bench.source(PERIOD) as upstream, _peers(bench, upstream) as peers:
        for _ in range(size.repetitions):
            _events(bench, Server("direct", upstream, None), peers, size)


@contextlib.contextmanager
def _peers(bench: Bench, upstream: int) -> Iterator[list[Server]]:
    """The peers that speak HTTP/2; for one that does not, the run has failed."""
    with bench.all_peers(upstream, http2=True) as servers:
        peers = []
        for server in servers:
            failure = f"{server.name}: does not speak HTTP/2 over cleartext"
            if server.process and _speaks_http2(server.port):
                peers.append(server)
            elif server.process and failure not in bench.results.failures:
                bench.results.fail(failure)
        yield peers


def _speaks_http2(port: int) -> bool:
    """Does the server's first frame come, and is it SETTINGS as it must be?"""
    with socket.create_connection(("127.0.0.1", port), 5) as probe, contextlib.suppress(OSError):
        probe.sendall(PREFACE)
        head = b""
        while len(head) < 9 and (data := probe.recv(9 - len(head))):
            head += data
        return len(head) == 9 and head[3] == SETTINGS
    return False


# ---- Requests ----


def _requests(bench: Bench, servers: list[Server], size: Size) -> None:
    body = bench.path("chat-body")
    body.write_bytes(messages.chat_body(messages.BODY_SIZE))
    fields = messages.h2_fields(messages.SDK_FIELDS, messages.BODY_SIZE)
    plan = h2load.Plan(STREAMS, body, fields, messages.REPLY_SIZE)
    counts = {}
    for server in servers:  # warm, and find out how many requests fill the time
        url = _chat_url(server)
        h2load.run(url, plan, size.warm_requests)
        counts[server] = int(h2load.run(url, plan, size.warm_requests) * size.seconds)
    for _ in range(size.repetitions):
        for server, count in counts.items():
            assert server.process
            before = server.process.cpu_seconds()
            rate = h2load.run(_chat_url(server), plan, count)
            cpu = server.process.cpu_seconds() - before
            bench.results.add(RATE, server.name, rate)
            bench.results.add(CPU, server.name, cpu / count * 1e6)


def _chat_url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}/v1/chat/completions"


# ---- Events ----


def _events(bench: Bench, direct: Server, peers: list[Server], size: Size) -> None:
    with bench.sink(direct, EVENT_STREAMS) as sink:
        base, _ = _transit(bench, direct, sink, size)
    for server in peers:
        with bench.h2_sink(server, EVENT_STREAMS) as sink:
            transit, cpu = _transit(bench, server, sink, size)
        bench.results.add(CPU_EVENT, server.name, cpu)
        for percentile, value in transit.items():
            bench.results.add(transit_row(percentile), server.name, value - base[percentile])
    for percentile, value in base.items():
        bench.results.add(transit_row(percentile), direct.name, value)


def _transit(
    bench: Bench, server: Server, sink: Sink, size: Size
) -> tuple[dict[str, float], float]:
    """The percentiles of one window, and the CPU an event in µs."""
    before = server.process.cpu_seconds() if server.process else 0
    run = sink.run(size.seconds * 2)
    after = server.process.cpu_seconds() if server.process else 0
    if not run.events:
        raise ProcessFailed(f"{server.name}: no events in {size.seconds * 2:g} s")
    transit = {"p50": run.transit.p50, "p99": run.transit.p99}
    return transit, (after - before) / run.events * 1e6


# ---- Multiplexing ----


def _stalled_stream(bench: Bench, peers: list[Server], size: Size) -> None:
    """Many short windows in turn, so that the machine is alike for both of a pair."""
    seconds = size.seconds / PAIRS
    for server in peers:
        with (
            bench.h2_load(server, STREAMS, stalled=False) as alone,
            bench.h2_load(server, STREAMS, stalled=True) as beside,
        ):
            for load in (alone, beside):
                load.run(seconds)
            for _ in range(size.repetitions * PAIRS):
                rates = alone.run(seconds), beside.run(seconds)
                bench.results.add(ALONE, server.name, rates[0])
                bench.results.add(BESIDE, server.name, rates[1])
                bench.results.add(KEPT, server.name, rates[1] / rates[0])
