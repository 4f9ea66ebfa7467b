"""`/metrics`: the figures of `/stats`, under the names that Prometheus' users expect.

Nothing is counted for it: what `/stats` has is put into families when somebody asks. What is a sum
of positive numbers is a counter; bytes saved are none, since a refused coding makes them fewer, and
are the difference of two.

The one rule: a label's values are few, whatever clients name: what they are is bounded where it is
counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from m2mproxy.service.exposition import COUNTER, GAUGE, HISTOGRAM, SUMMARY, Family, Sample

_OWN = "m2mproxy_"
# Of one thing, its figures as /stats has them.
Figures = Mapping[str, Any]


def families(figures: Figures) -> Iterator[Family]:
    """All families, those without a sample too, so that they are always the same."""
    yield _gauge("build_info", "The version, as a label.", [_of("version", figures["version"], 1)])
    yield from _requests(figures)
    yield from _bytes(figures)
    yield from _now(figures)
    yield from _links(figures["links"], figures["upstream_connections"])
    yield from _tokens(figures["tokens"])
    yield from _scans(figures["guard"])
    yield from _process(figures["process"])


def _requests(figures: Figures) -> Iterator[Family]:
    by_status, errors = figures["requests_by_status"], figures["errors"]
    yield _counter("requests", "Requests that have ended, by status.", _by("code", by_status))
    yield _counter("errors", "Errors of the proxy, by their code.", _by("error", errors))
    yield _counter("retries", "Requests that were sent a second time.", _one(figures["retries"]))
    yield _histogram(
        "time_to_first_byte_seconds",
        "From a request to the head of the upstream's response.",
        figures["first_byte_seconds"],
    )
    yield _histogram(
        "request_duration_seconds",
        "From a request for the upstream to the end of its response.",
        figures["duration_seconds"],
    )
    added = figures["added_seconds"]
    quantiles = [Sample(value, {"quantile": q}) for q, value in added["quantiles"].items()]
    total = [Sample(added[each], suffix=f"_{each}") for each in ("sum", "count")]
    what = "What the proxy added to the time of a request, since the start."
    yield Family(_OWN + "added_seconds", SUMMARY, what, [*quantiles, *total])


def _bytes(figures: Figures) -> Iterator[Family]:
    legs = [(_leg(each["leg"]), each) for each in figures["legs"]]
    wire = [Sample(each["wire"], leg) for leg, each in legs]
    yield _counter("body_bytes", "Bytes of bodies, as they crossed.", wire)
    plain = [Sample(each["plain"], leg) for leg, each in legs]
    yield _counter("body_plain_bytes", "Bytes of bodies, as they are without codings.", plain)
    coded = [
        Sample(each["messages"], {**_leg(each["leg"]), "coding": each["coding"]})
        for each in figures["codings"]
    ]
    yield _counter("coded_bodies", "Bodies that crossed in a coding.", coded)
    why = _by("reason", figures["request_coding_reasons"])
    yield _counter("request_codings", "Why request bodies went coded, or not.", why)


def _now(figures: Figures) -> Iterator[Family]:
    open_streams, clients = figures["open_streams"], figures["client_connections"]
    yield _gauge("requests_in_flight", "Requests with the upstream.", _one(open_streams))
    yield _gauge("client_connections", "Connections of clients.", _one(clients))
    pool = figures["upstream_connections"]
    states = [
        Sample(counts[state], {"upstream": upstream, "state": state})
        for upstream, counts in pool.items()
        for state in ("active", "idle", "connecting")
    ]
    yield _gauge("upstream_connections", "Connections to the upstream.", states)
    waiting = [_of("upstream", upstream, counts["waiting"]) for upstream, counts in pool.items()]
    yield _gauge("requests_waiting", "Requests that wait for such a connection.", waiting)
    held, tls = figures["held_bodies"], figures["tls_handshakes"]
    yield _gauge("held_bytes", "Bytes of requests that are held.", _one(held["bytes"]))
    refused = _one(held["refused"])
    yield _counter("bodies_not_held", "Bodies that there was no room to hold.", refused)
    yield _gauge("tls_handshakes", "TLS handshakes of clients under way.", _maybe(tls, "open"))
    failed = _maybe(tls, "failed")
    yield _counter("tls_handshakes_failed", "TLS handshakes of clients that failed.", failed)
    expires = _by("file", figures["certificates"])
    yield _gauge("certificate_expiry_timestamp_seconds", "When certificates expire.", expires)
    lost = figures["log_lines_dropped"]
    yield _counter("log_lines_dropped", "Lines of the log that nobody took.", _one(lost))


def _links(links: Figures, upstreams: Iterable[str]) -> Iterator[Family]:
    def each(figure: str) -> list[Sample]:
        return [_of("upstream", name, links[name][figure]) for name in upstreams if name in links]

    yield _gauge("links", "Connections to the upstream that are links.", each("links"))
    yield _counter("link_requests", "Requests that went by a link.", each("turns"))
    yield _counter(
        "link_plain_bytes", "Bytes that went by a link, as they are.", each("conversation_bytes")
    )
    wire = each("wire_bytes")
    yield _counter("link_wire_bytes", "Bytes that went by a link, as they crossed.", wire)
    yield _counter("link_misses", "Requests of a link that were sent again.", each("misses"))
    yield _gauge("link_memory_bytes", "Bytes that all links hold.", _one(links["memory"]))


def _tokens(tokens: Figures) -> Iterator[Family]:
    models: dict[str, Figures] = tokens["models"]
    by_source = [
        Sample(count, {"model": name, "direction": direction, "source": source})
        for name, model in models.items()
        for direction in ("input", "output")
        for source, count in model[direction].items()
        if count  # a model's tokens seldom have more than one source
    ]

    def each(figure: str) -> list[Sample]:
        return [_of("model", name, model[figure]) for name, model in models.items()]

    yield _counter("tokens", "Tokens, by model and by how they are known.", by_source)
    yield _counter("token_requests", "Requests of which tokens are known.", each("requests"))
    yield _counter("cached_tokens", "Input tokens that a cache had.", each("cached_input"))
    written, reasoning = each("cache_write_input"), each("reasoning_output")
    yield _counter("cache_write_tokens", "Input tokens written to a cache.", written)
    yield _counter("reasoning_tokens", "Output tokens that are reasoning.", reasoning)
    costs = [
        Sample(cost, {"model": name, "source": source, "currency": currency})
        for name, model in models.items()
        for source, currency in (("reported", ""), ("priced", tokens["currency"] or ""))
        if (cost := model["cost"][source]) is not None
    ]
    yield _counter("cost", "What tokens cost, as replies report it or by the prices.", costs)
    unknown, unread = tokens["unknown"], _maybe(tokens, "unread")
    yield _counter("replies_without_tokens", "Replies without known tokens.", _one(unknown))
    yield _counter("replies_unread", "Replies that were not read for their tokens.", unread)
    results = ("counted", "dropped", "failed")
    jobs = _by("result", {each: tokens[each] for each in results if each in tokens})
    waiting = _maybe(tokens, "waiting")
    yield _counter("counting_jobs", "Exchanges whose tokens were to be counted.", jobs)
    yield _gauge("counting_waiting", "Exchanges whose tokens wait to be counted.", waiting)


def _scans(guard: Figures) -> Iterator[Family]:
    verdicts = []
    if guard:
        flagged, blocked = guard["flagged"], guard["blocked"]
        passed = guard["scanned"] - flagged
        counts = {"clean": passed, "flagged": flagged - blocked, "blocked": blocked}
        verdicts = _by("verdict", counts)
    found = [
        Sample(count, {"category": category, "id": source})
        for category, sources in guard.get("findings", {}).items()
        for source, count in sources.items()
    ]
    skipped = _by("reason", guard.get("skipped", {}))
    yield _counter("scans", "Requests that were scanned, by what became of them.", verdicts)
    yield _counter("scans_skipped", "Requests that were not scanned.", skipped)
    yield _counter("scan_findings", "What scans found, each once a request.", found)
    yield _counter("scan_bytes", "Bytes that were scanned.", _maybe(guard, "bytes"))
    yield _counter("scan_seconds", "Seconds that scans took.", _maybe(guard, "seconds"))
    remembered = _maybe(guard, "cached_parts")
    yield _counter("scan_cached_parts", "Scanned parts whose verdict was remembered.", remembered)
    replies, links = _maybe(guard, "replies"), _maybe(guard, "reply_links")
    yield _counter("scanned_replies", "Replies that were looked through for links.", replies)
    yield _counter("reply_links", "Links in replies that could carry data away.", links)


# What every client library of Prometheus has, under the names that it has there.
_OF_A_PROCESS = (
    ("cpu_s", "cpu_seconds", COUNTER, "CPU time, of the user and the system."),
    ("resident_bytes", "resident_memory_bytes", GAUGE, "Memory that is in use."),
    ("virtual_bytes", "virtual_memory_bytes", GAUGE, "Address space that is in use."),
    ("started", "start_time_seconds", GAUGE, "When it started, since 1970."),
    ("open_files", "open_fds", GAUGE, "Open files."),
    ("most_files", "max_fds", GAUGE, "How many it may have."),
)


def _process(process: Figures) -> Iterator[Family]:
    for figure, name, kind, what in _OF_A_PROCESS:
        yield Family(f"process_{name}", kind, what, _maybe(process, figure))


def _counter(name: str, what: str, samples: Iterable[Sample]) -> Family:
    return Family(_OWN + name, COUNTER, what, samples)


def _gauge(name: str, what: str, samples: Iterable[Sample]) -> Family:
    return Family(_OWN + name, GAUGE, what, samples)


def _histogram(name: str, what: str, figures: Figures) -> Family:
    count = figures["count"]
    below = {**figures["up_to"], "+Inf": count}
    buckets = [Sample(number, {"le": bound}, "_bucket") for bound, number in below.items()]
    total = [Sample(figures["sum"], suffix="_sum"), Sample(count, suffix="_count")]
    return Family(_OWN + name, HISTOGRAM, what, [*buckets, *total])


def _one(value: float) -> list[Sample]:
    return [Sample(value)]


def _maybe(figures: Figures, name: str) -> list[Sample]:
    """The figure, if there is one."""
    return _one(figures[name]) if name in figures else []


def _of(label: str, text: str, value: float) -> Sample:
    return Sample(value, {label: text})


def _by(label: str, figures: Mapping[str, float]) -> list[Sample]:
    return [_of(label, text, value) for text, value in figures.items()]


def _leg(name: str) -> dict[str, str]:
    leg, direction = name.split()
    return {"leg": leg, "direction": direction}
