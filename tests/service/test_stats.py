"""The figures of /stats: what is counted, what is not, and what they mean."""

from __future__ import annotations

import random

import pytest
from world import SSE_HEAD, World, chunk, get, post, reply

from m2mproxy.http.faults import Busy, ClientFault
from m2mproxy.service.stats import _DURATION, _FIRST_BYTE, Histogram, Stats

# ---- the histogram -------------------------------------------------------------------------------


def test_an_empty_histogram_is_zero() -> None:
    empty = Histogram()
    assert (empty.mean, empty.quantile(0), empty.quantile(0.99), empty.quantile(1)) == (0, 0, 0, 0)


@pytest.mark.parametrize("seconds", [2e-6, 1e-4, 0.0123, 1.0, 59.0, 3000.0])
def test_one_value_is_every_quantile(seconds: float) -> None:
    one = Histogram()
    one.record(seconds)
    assert one.mean == seconds
    for q in (0.01, 0.5, 0.99, 1):
        assert seconds <= one.quantile(q) <= seconds * 1.0906


@pytest.mark.parametrize("seconds", [0.0, -1e-9, 1e-7, 1e-6])
def test_what_is_less_than_the_least_bucket_is_in_it(seconds: float) -> None:
    least = Histogram()
    least.record(seconds)
    assert least.quantile(0.99) == pytest.approx(1e-6)


def test_what_is_more_than_the_last_bucket_is_in_it() -> None:
    most = Histogram()
    most.record(1e9)
    most.record(float("inf"))
    assert 3600 < most.quantile(0.99) < 10_000


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99, 1])
def test_quantiles_are_near_the_true_ones(q: float) -> None:
    source = random.Random(5)
    values = sorted(source.lognormvariate(-8, 2) for _ in range(5000))
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    true = values[max(0, round(len(values) * q) - 1)]
    assert true <= histogram.quantile(q) <= true * 1.1
    assert histogram.mean == pytest.approx(sum(values) / len(values))


def test_the_last_percent_is_the_last_of_a_hundred() -> None:
    histogram = Histogram()
    for _ in range(99):
        histogram.record(0.001)
    histogram.record(1.0)
    assert histogram.quantile(0.99) < 0.0011
    assert histogram.quantile(1) >= 1


def test_what_did_not_exceed_a_bound_is_counted_there_and_above() -> None:
    histogram = Histogram((0.5, 1.0, 2.0))
    assert histogram.figures() == {"count": 0, "sum": 0, "up_to": {"0.5": 0, "1.0": 0, "2.0": 0}}
    for seconds in (0.1, 0.5, 1.5, 2.0, 7.0):
        histogram.record(seconds)
    figures = {"count": 5, "sum": 11.1, "up_to": {"0.5": 2, "1.0": 2, "2.0": 4}}
    assert histogram.figures() == figures


# ---- what is counted -----------------------------------------------------------------------------


def figures(*worlds: World) -> dict[str, object]:
    stats = Stats()
    for world in worlds:
        for exchange in world.ended:
            stats.record(exchange)
        for fault in world.refusals:
            stats.refused(fault)
    return stats.snapshot()


def served(request: bytes, *answers: bytes) -> World:
    world = World(max_body=1000)
    world.client().send(request)
    if answers:
        upstream = world.upstream()
        for answer in answers:
            upstream.send(answer)
    world.run()
    return world


def test_the_figures_are_zero_at_first() -> None:
    stats = Stats(clock=lambda: 1.0)
    assert stats.snapshot() == {
        "requests_total": 0,
        "requests_by_status": {},
        "errors": {},
        "retries": 0,
        "bytes_in": 0,
        "bytes_out": 0,
        "bytes_plain": 0,
        "compression_ratio": 1.0,
        "request_bytes": {"in": 0, "out": 0},
        "response_bytes": {"in": 0, "out": 0},
        "legs": [
            {"leg": f"{leg} {direction}", "plain": 0, "wire": 0}
            for leg in ("client", "upstream")
            for direction in ("request", "response")
        ],
        "codings": [],
        "request_coding_reasons": {},
        "avg_latency_ms": 0,
        "p99_latency_ms": 0,
        "added_seconds": {"count": 0, "sum": 0, "quantiles": {"0.5": 0, "0.9": 0, "0.99": 0}},
        "first_byte_seconds": Histogram(_FIRST_BYTE).figures(),
        "duration_seconds": Histogram(_DURATION).figures(),
        "uptime_s": 0,
        "counted_s": 0,
    }


def test_a_request_and_its_bytes() -> None:
    seen = figures(served(post(b"12345"), reply(b"123", status=b"201 Created")))
    assert seen["requests_total"] == 1
    assert seen["requests_by_status"] == {"201": 1}
    assert seen["errors"] == {}
    assert seen["request_bytes"] == {"in": 5, "out": 5}
    assert seen["response_bytes"] == {"in": 3, "out": 3}
    assert (seen["bytes_in"], seen["bytes_out"], seen["compression_ratio"]) == (8, 8, 1.0)


def test_errors_of_the_upstream_are_no_errors_of_ours() -> None:
    seen = figures(served(get(), reply(b"", status=b"429 Too Many Requests")))
    assert (seen["requests_by_status"], seen["errors"]) == ({"429": 1}, {})


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (get(b"/nowhere"), "404", "unknown_path"),
        (get(b"/v1/../admin"), "400", "bad_path"),
        (post(b"x" * 1001), "413", "body_too_large"),
        (b"GET / HTTP/1.1\r\n\r\n", "400", "bad_request"),  # never became an exchange
        (b"GET /v1/x HTTP/1.1\r\nhost: h\r\nx: " + b"x" * 80_000, "431", "headers_too_large"),
    ],
)
def test_what_is_not_forwarded_counts_by_its_status_too(
    request_bytes: bytes, status: str, code: str
) -> None:
    seen = figures(served(request_bytes))
    assert seen["requests_total"] == 1
    assert seen["requests_by_status"] == {status: 1}
    assert seen["errors"] == {code: 1}
    assert seen["avg_latency_ms"] == 0


def test_a_request_too_many_counts() -> None:
    world = World(limits_requests=1)
    for _ in range(2):
        world.client().send(get())
    world.run()
    seen = figures(world)
    assert (seen["requests_by_status"], seen["errors"]) == ({"503": 1}, {"too_many_requests": 1})


def test_a_client_that_left_is_499() -> None:
    world = served(get())
    world.clients[0].transport.close()
    world.run()
    seen = figures(world)
    assert (seen["requests_by_status"], seen["errors"]) == ({"499": 1}, {"client_gone": 1})


def test_a_stream_that_broke_is_both_its_status_and_an_error() -> None:
    world = served(post(b"{}"), SSE_HEAD + chunk(b"data: 1\n\n"))
    world.upstreams[0].transport.close()
    world.run()
    seen = figures(world)
    assert seen["requests_by_status"] == {"200": 1}
    assert seen["errors"] == {"upstream_disconnected": 1}
    assert seen["response_bytes"] == {"in": 9, "out": 9}


def test_a_bug_is_an_error() -> None:
    world = served(get(), reply(b""))
    world.ended[0].bug = ValueError("x")
    world.ended[0].response = None
    seen = figures(world)
    assert (seen["requests_by_status"], seen["errors"]) == ({"500": 1}, {"internal_error": 1})


def test_a_second_try_is_one_request() -> None:
    world = World()
    client = world.client()
    client.send(get())
    world.upstream().send(reply(b""))
    world.run()
    client.send(get())
    world.upstream(0).transport.close()  # used before, and gone: another one is dialled
    world.upstream(1).send(reply(b""))
    world.run()
    seen = figures(world)
    assert (seen["requests_total"], seen["retries"], seen["errors"]) == (2, 1, {})


def test_latency_is_what_we_added() -> None:
    world = served(get(), reply(b""))
    x = world.ended[0]
    x.started, x.sent, x.answered, x.relayed, x.ended = 1.0, 1.002, 9.0, 9.001, 9.5
    seen = figures(world)
    assert seen["avg_latency_ms"] == 3
    assert 3 <= seen["p99_latency_ms"] <= 3.3  # type: ignore[operator]


# ---- reset ---------------------------------------------------------------------------------------


def test_reset_begins_again() -> None:
    now = 100.0
    stats = Stats(clock=lambda: now)
    empty = stats.snapshot()
    stats.record(served(post(b"12345"), reply(b"123")).ended[0])
    stats.refused(Busy("too_many_requests", ""))
    stats.refused(ClientFault(400, "bad_request", ""))
    now = 160.0
    busy = stats.snapshot()
    assert busy["requests_total"] == 3
    assert (busy["uptime_s"], busy["counted_s"]) == (60, 60)
    stats.reset()
    assert stats.snapshot() == {**empty, "uptime_s": 60}


def test_codings_of_any_name_have_a_bounded_number_of_figures() -> None:
    world, stats = World(compression_responses="on"), Stats()
    client = world.client()
    for number in range(100):
        client.send(get())
        world.upstream().send(reply(b"?", b"content-encoding: x-%d" % number))
        world.run()
    for exchange in world.ended:
        stats.record(exchange)
    codings = stats.snapshot()["codings"]
    assert isinstance(codings, list) and len(codings) == 64
