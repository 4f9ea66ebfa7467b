"""What the program answers itself, through the real program."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack
from typing import Any

import pytest
from program import NOWHERE, SECONDS

from m2mproxy import __version__

from upstream import (  # isort: skip (program finds it)
    Upstream,
    ask,
    half_at_first,
    read_all,
    read_head,
)


def hello(connection: socket.socket) -> None:
    """Answers `hello` to every request."""
    while True:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")


def test_alive_is_not_ready(start: Any) -> None:
    program = start(NOWHERE)
    assert program.get("/health") == (200, {"status": "ok"})
    status, content = program.get("/health/ready")
    assert (status, content["status"]) == (503, "not ready")
    (upstream,) = content["upstreams"]
    assert upstream.pop("reason")
    assert upstream == {
        "url": "http://127.0.0.1:1",
        "reachable": False,
        "code": "upstream_unreachable",
    }


def test_ready_and_no_longer_ready(start: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:  # connected to is ready
        url = f"http://127.0.0.1:{upstream.getsockname()[1]}"
        program = start(f"{url}/v1")
        report = {"status": "ready", "upstreams": [{"url": url, "reachable": True}]}
        assert program.get("/health/ready") == (200, report)
        # The connection that was tried is kept for the first request, and tried again.
        assert program.get("/health/ready") == (200, report)
        counts = program.get("/stats")[1]["upstream_connections"]
        assert counts == {url: {"active": 0, "idle": 1, "connecting": 0, "waiting": 0}}
    end = time.monotonic() + SECONDS
    while program.get("/health/ready")[0] == 200:  # until its end has been seen
        assert time.monotonic() < end
    assert program.get("/health/ready")[1]["upstreams"][0]["code"] == "upstream_unreachable"


def test_ready_while_every_connection_is_in_use(start: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        url = f"http://127.0.0.1:{upstream.getsockname()[1]}"
        program = start(f"{url}/v1", env={**os.environ, "M2M_LIMITS_UPSTREAM_CONNECTIONS": "1"})
        with ask(program.url, b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n"):
            connection, _ = upstream.accept()
            with connection:
                assert program.get("/health/ready")[0] == 200


def test_who_asks_for_readiness_and_leaves_does_not_wait_on(start: Any) -> None:
    def connections() -> int:
        return int(program.get("/stats")[1]["client_connections"])

    with socket.socket() as upstream, ExitStack() as stack:
        upstream.bind(("127.0.0.1", 0))
        upstream.listen(0)
        for _ in range(4):  # what fills its queue, so that the next one is kept waiting
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(upstream.getsockname())
        patient = {**os.environ, "M2M_TIMEOUTS_CONNECT": "60"}
        program = start(f"http://127.0.0.1:{upstream.getsockname()[1]}/v1", env=patient)
        client = ask(program.url, b"GET /health/ready HTTP/1.1\r\nhost: h\r\n\r\n")
        end = time.monotonic() + SECONDS
        while connections() < 2:  # the one that asks, and ours
            assert time.monotonic() < end
        client.close()
        while connections() > 1:
            assert time.monotonic() < end


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/stats", "/metrics"])
def test_head(start: Any, path: str) -> None:
    with Upstream(hello) as upstream:
        program = start(upstream.url)
        head = f"HEAD {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n".encode()
        answer = read_all(ask(program.url, head))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/health", 405, "method_not_allowed"),
        ("DELETE", "/stats", 405, "method_not_allowed"),
        ("GET", "/stats/reset", 405, "method_not_allowed"),
        ("GET", "/", 404, "unknown_path"),
        ("GET", "/v2/models", 404, "unknown_path"),
        ("GET", "/health/", 404, "unknown_path"),
        ("GET", "/v1/../stats", 400, "bad_path"),
        ("GET", "/v1/models", 502, "upstream_unreachable"),
        ("POST", "/chat/completions", 502, "upstream_unreachable"),
    ],
)
def test_errors_are_openais(start: Any, method: str, path: str, status: int, code: str) -> None:
    program = start(NOWHERE)
    found, content = program.get(path, method)
    assert found == status
    error = content["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert (error["code"], error["param"]) == (code, None)
    assert error["message"]
    stats = program.get("/stats")[1]
    assert stats["requests_by_status"] == {str(status): 1}
    assert stats["errors"] == {code: 1}


@pytest.mark.parametrize(
    ("path", "methods"), [("/health", b"GET, HEAD"), ("/stats/reset", b"POST")]
)
def test_who_takes_a_wrong_method_is_told_the_right_ones(
    start: Any, path: str, methods: bytes
) -> None:
    program = start(NOWHERE)
    head = f"PUT {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n".encode()
    answer = read_all(ask(program.url, head))
    assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"\r\nallow: %b\r\n" % methods in answer


def test_stats_count_what_was_asked_of_the_upstream_or_refused(start: Any) -> None:
    with Upstream(hello) as upstream:
        program = start(upstream.url)
        head = b"POST /v1/x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n"
        request = head + b"content-length: 3\r\n\r\nabc"
        assert read_all(ask(program.url, request)).endswith(b"hello")
        assert program.get("/nowhere")[0] == 404
        assert read_all(ask(program.url, b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        stats = program.get("/stats")[1]
        port = upstream.port
    assert stats["requests_total"] == 3
    assert stats["requests_by_status"] == {"200": 1, "400": 1, "404": 1}
    assert stats["errors"] == {"bad_request": 1, "unknown_path": 1}
    assert stats["bytes_in"] == stats["bytes_out"] == 8
    assert stats["compression_ratio"] == 1.0
    assert 0 < stats["avg_latency_ms"] <= stats["p99_latency_ms"] * 1.1
    assert stats["upstream_connections"] == {
        f"http://127.0.0.1:{port}": {"active": 0, "idle": 1, "connecting": 0, "waiting": 0}
    }
    assert (stats["open_streams"], stats["client_connections"]) == (0, 1)
    assert (stats["retries"], stats["log_lines_dropped"]) == (0, 0)
    assert stats["version"] == __version__


def test_asking_for_figures_and_health_is_no_traffic(start: Any) -> None:
    program = start(NOWHERE)
    for path in ("/stats", "/health", "/health/ready", "/stats"):
        program.get(path)
    stats = program.get("/stats")[1]
    assert (stats["requests_total"], stats["errors"], stats["open_streams"]) == (0, {}, 0)


def test_an_open_stream_is_seen(start: Any) -> None:
    asked, go_on = socket.socketpair()

    with Upstream(half_at_first(go_on)) as upstream:
        program = start(upstream.url)
        client = ask(program.url, b"GET /v1/x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        while b"\r\n\r\na" not in (client.recv(65536)):
            pass
        stats = program.get("/stats")[1]
        assert (stats["open_streams"], stats["client_connections"]) == (1, 2)
        assert stats["requests_total"] == 0  # it is counted when it has ended
        asked.send(b"x")
        assert read_all(client) == b"b"
        stats = program.get("/stats")[1]
        assert (stats["open_streams"], stats["requests_total"]) == (0, 1)


def test_a_reset_sets_the_counters_to_zero(start: Any) -> None:
    program = start(NOWHERE)
    program.get("/v1/models")
    before = program.get("/stats")[1]
    assert before["requests_total"] == 1
    assert program.get("/stats/reset", "POST") == (200, {"status": "reset"})
    after = program.get("/stats")[1]
    assert (after["requests_total"], after["requests_by_status"], after["errors"]) == (0, {}, {})
    assert (after["avg_latency_ms"], after["p99_latency_ms"]) == (0, 0)
    assert after["counted_s"] <= after["uptime_s"]
    assert before["uptime_s"] <= after["uptime_s"] < SECONDS
