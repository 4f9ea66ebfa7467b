"""The suite `http1`: the proxy beside its peers, and the targets it was given.

The upstream speaks HTTP/1.1 in all parts, and so do the clients in all but `h2`. `savings`,
`tokens`, `guard` and `scan` have neither: they measure forms of bodies, counts, texts, and whole
requests. In `link` two instances speak HTTP/2 with each other. `own` takes data of one's own.
"""

from . import (
    bodies,
    counting,
    guard,
    h2,
    link,
    memory,
    off,
    own,
    requests,
    savings,
    scan,
    streams,
    tokens,
)
from .results import Results, Target

PARTS = {
    "requests": requests.measure,
    "streams": streams.measure,
    "memory": memory.measure,
    "bodies": bodies.measure,
    "h2": h2.measure,
    "savings": savings.measure,
    "link": link.measure,
    "tokens": tokens.measure,
    "counting": counting.measure,
    "off": off.measure,
    "guard": guard.measure,
    "scan": scan.measure,
    "own": own.measure,
}

PROXY, NGINX = "proxy", "nginx"


def targets(results: Results) -> list[Target]:
    """nginx sets the scale where speed depends on the machine; the rest is absolute."""
    cpu = results.ratio(requests.CPU_SDK, PROXY, NGINX)
    rate = results.ratio(requests.rate_row(32), PROXY, NGINX)
    latency = results.value(requests.latency_row("p50", 1), PROXY)
    transit = results.value(streams.transit_row("p50"), PROXY)
    idle = results.value(memory.IDLE, PROXY)
    connections = results.value(memory.CONNECTIONS, PROXY)
    live = results.value(memory.STREAMS, PROXY)
    h2_rate = results.ratio(h2.RATE, PROXY, h2.HYPERCORN)
    kept = results.value(h2.KEPT, PROXY)
    return [
        Target("CPU a request, of nginx's, 32 connections", cpu, 3, "times"),
        Target("requests a second, of nginx's, 32 connections", rate, 0.24, "times", at_most=False),
        Target("added latency p50, 1 connection", latency, 200, "µs"),
        Target("added to an event p50, 100 streams", transit, 100, "µs"),
        Target("idle, resident", idle, 26, "MiB"),
        Target("1000 idle keep-alive clients, resident", connections, 4, "MiB"),
        Target("1000 live streams, resident", live, 10, "MiB"),
        Target("h2 requests a second, of hypercorn's", h2_rate, 2, "times", at_most=False),
        Target("h2 rate beside a stalled download", kept, 0.9, "times", at_most=False),
        *_savings(results),
        *link.targets(results),
        *counting.targets(results),
        *off.targets(results),
        *tokens.targets(results),
        *guard.targets(results),
        *scan.targets(results),
    ]


def _savings(results: Results) -> list[Target]:
    def saved(kind: str, form: str, least: float) -> Target:
        value = results.value(savings.saved_row(kind), form)
        return Target(f"saved of {kind}", value, least, "%", at_most=False)

    def cost(size: int, most: float) -> Target:
        row = savings.cost_row(size)
        return Target(row.name, results.value(row, savings.STATIC), most, "µs")

    event = results.value(savings.EVENT_COST, savings.EVENTS)
    return [
        saved(savings.CHATS, savings.STATIC, 58),
        saved(savings.TOOLS, savings.STATIC, 72),
        saved(savings.LONG, savings.STATIC, 78),
        saved(savings.STREAMS, savings.EVENTS, 88),
        cost(savings.SMALL, 150),
        cost(savings.LARGE, 2000),
        Target(savings.EVENT_COST.name, event, 20, "µs"),
    ]
