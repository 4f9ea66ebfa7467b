"""Part `streams`: what a server adds to each event, and how many paced streams it carries.

Every stream brings 50 events of 320 bytes a second. Transit is the time from an event's sending to
its arrival at the client; what a server adds is its percentile less the direct one's.

A window of half a second is without a stall when all of its events came, and at most one in a
thousand more than a period (20 ms) after it was due. A server carries a number of streams when it
has enough such windows in a few seconds. Not all of them, because other work on the machine spoils
some; but a server with too many streams falls further behind in each, and has none.
"""

from dataclasses import dataclass

from .native import StreamRun
from .process import ProcessFailed
from .results import Row
from .servers import Bench, Server

PART = "streams"
PERIOD = 0.020
STREAMS = 100
WINDOW = 0.5

CPU = Row(PART, f"CPU an event, {STREAMS} streams", "µs", 1)
CARRIED = Row(PART, "streams without a stall, at least", "")


def transit_row(percentile: str) -> Row:
    return Row(PART, f"event transit {percentile}, {STREAMS} streams", "µs", 1, added=True)


@dataclass(frozen=True)
class Size:
    repetitions: int
    seconds: float
    levels: tuple[int, ...]
    windows_wanted: int
    windows_tried: int

    @classmethod
    def of(cls, bench: Bench) -> "Size":
        if bench.short:
            return cls(1, 1.0, (100, 400), 1, 6)
        return cls(5, 2.0, (100, 200, 400, 600, 800, 1000, 1200, 1600), 4, 16)


def measure(bench: Bench) -> None:
    bench.results.notes[PART] = "50 events of 320 bytes a second on each stream, a chunk an event"
    size = Size.of(bench)
    with bench.source(PERIOD) as upstream, bench.all_peers(upstream) as servers:
        for _ in range(size.repetitions):
            _clock_events(bench, servers, size)
        for server in servers:
            _find_capacity(bench, server, size)


def _clock_events(bench: Bench, servers: list[Server], size: Size) -> None:
    direct = 0.0, 0.0
    for server in servers:
        server.check()
        with bench.sink(server, STREAMS) as sink:
            before = server.process.cpu_seconds() if server.process else 0
            run = sink.run(size.seconds)
            after = server.process.cpu_seconds() if server.process else 0
        if not run.events:
            raise ProcessFailed(f"{server.name}: no events in {size.seconds:g} s")
        transit = run.transit.p50, run.transit.p99
        if server.process:
            bench.results.add(CPU, server.name, (after - before) / run.events * 1e6)
            transit = transit[0] - direct[0], transit[1] - direct[1]
        else:
            direct = transit
        bench.results.add(transit_row("p50"), server.name, transit[0])
        bench.results.add(transit_row("p99"), server.name, transit[1])


def _find_capacity(bench: Bench, server: Server, size: Size) -> None:
    carried = 0
    for level in size.levels:
        if not _carries(bench, server, level, size):
            break
        carried = level
    bench.results.add(CARRIED, server.name, carried)


def _carries(bench: Bench, server: Server, streams: int, size: Size) -> bool:
    server.check()
    good = 0
    try:
        with bench.sink(server, streams) as sink:
            for _ in range(size.windows_tried):
                good += _without_stall(sink.run(WINDOW), streams)
                if good == size.windows_wanted:
                    return True
    except ProcessFailed as failure:
        bench.results.fail(f"{server.name}, {streams} streams: {failure}")
    return False


def _without_stall(run: StreamRun, streams: int) -> bool:
    due = streams * run.seconds / PERIOD
    return run.events >= 0.99 * due and run.lateness.p999 <= PERIOD * 1e6
