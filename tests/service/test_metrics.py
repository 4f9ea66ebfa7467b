"""`/metrics`: the figures of `/stats`, as Prometheus' own parsers read them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import pytest
from program import NOWHERE, SECONDS, Program
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_text
from test_accounts import Setup, usage
from test_stats import served
from world import post, reply

from m2mproxy.config import Price, Prices
from m2mproxy.service import process
from m2mproxy.service.exposition import COUNTER, OPEN_METRICS, TEXT, written
from m2mproxy.service.metrics import families
from m2mproxy.service.stats import Stats

from upstream import Upstream, read_head  # isort: skip (program finds it)

Values = dict[str, dict[tuple[str, ...], float]]
UPSTREAM = "http://h:1"
ASKS_FOR_OPEN = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"


def figures(stats: Stats | None = None, **others: Any) -> dict[str, Any]:
    """As /stats has them where nothing has happened, with some others."""
    link = {"links": 0, "turns": 0, "conversation_bytes": 0, "wire_bytes": 0, "misses": 0}
    return {
        **(stats or Stats()).snapshot(),
        "open_streams": 0,
        "client_connections": 1,
        "upstream_connections": {
            UPSTREAM: {"active": 0, "idle": 0, "connecting": 0, "waiting": 0}
        },
        "held_bodies": {"bytes": 0, "refused": 0},
        "links": {"memory": 0, UPSTREAM: {**link, "memory": 0}},
        "tokens": {"models": {}, "unknown": 0, "currency": None},
        "guard": {},
        "certificates": {},
        "tls_handshakes": {},
        "log_lines_dropped": 0,
        "process": process.figures(),
        "version": "1",
        **others,
    }


def read(text: str, parser: Any = read_text) -> Values:
    """By the name, and the values of the labels in the order in which they are."""
    found: Values = {}
    for family in parser(text):
        for sample in family.samples:
            series = found.setdefault(sample.name.removeprefix("m2mproxy_"), {})
            labels = tuple(sample.labels.values())
            assert labels not in series, f"{sample.name}{labels} is there twice"
            series[labels] = sample.value
    return found


def values(stats: Stats | None = None, **others: Any) -> Values:
    return read(written(families(figures(stats, **others)), False).decode())


# ---- what the figures become ---------------------------------------------------------------------


def test_the_families_are_always_the_same() -> None:
    full = figures(
        tokens={"models": {}, "unknown": 1, "unread": 2, "counted": 3, "dropped": 4, "failed": 5,
                "waiting": 6, "currency": "USD"},
        tls_handshakes={"open": 1, "failed": 2},
    )  # fmt: skip
    names = [[each.name for each in families(some)] for some in (figures(), full)]
    assert names[0] == names[1]
    assert len(set(names[0])) == len(names[0])


def test_names_are_those_that_others_expect() -> None:
    for family in families(figures()):
        assert re.fullmatch(r"(m2mproxy|process)(_[a-z0-9]+)+", family.name)
        assert not family.name.endswith(("_total", "_sum", "_count", "_bucket", "_created"))
        assert re.fullmatch(r'[A-Z][^\\"\n]*\.', family.help)
        units = re.findall(r"_(ms|millis|kb|kib|mb|mib|microseconds|minutes)\b", family.name)
        assert not units, "base units: seconds and bytes"


def test_the_manual_page_has_every_name() -> None:
    page = (Path(__file__).parents[2] / "man" / "m2mproxy.8").read_text()
    section = page.split(".Ss Metrics\n")[1].split(".Ss ")[0]
    said = " , ".join(re.findall(r"^\.It (.+)$", section, re.M)).split(" , ")
    kinds = {COUNTER: "_total"}
    assert sorted(said) == sorted(f"{x.name}{kinds.get(x.kind, '')}" for x in families(figures()))


def test_requests_errors_and_times() -> None:
    stats = Stats()
    world = served(post(b"abc"), reply(b"hello"))
    for exchange in world.ended:
        exchange.started, exchange.answered, exchange.ended = 10.0, 10.2, 17.0
        stats.record(exchange)
    found = values(stats)
    assert found["requests_total"] == {("200",): 1}
    assert "errors_total" not in found
    assert found["body_bytes_total"][("client", "request")] == 3
    assert found["body_bytes_total"][("upstream", "response")] == 5
    first = found["time_to_first_byte_seconds_bucket"]
    total = found["request_duration_seconds_bucket"]
    assert (first[("0.1",)], first[("0.25",)], first[("+Inf",)]) == (0, 1, 1)
    assert (total[("5.0",)], total[("10.0",)], total[("+Inf",)]) == (0, 1, 1)
    assert found["time_to_first_byte_seconds_sum"] == {(): pytest.approx(0.2)}
    assert found["request_duration_seconds_sum"] == {(): 7}
    assert found["added_seconds_count"] == {(): 1}


def test_what_never_reached_the_upstream_has_no_time() -> None:
    stats = Stats()
    for exchange in served(b"GET /nowhere HTTP/1.1\r\nhost: h\r\n\r\n").ended:
        stats.record(exchange)
    found = values(stats)
    assert (found["requests_total"], found["errors_total"]) == (
        {("404",): 1}, {("unknown_path",): 1},
    )  # fmt: skip
    assert found["request_duration_seconds_count"] == {(): 0}
    assert found["time_to_first_byte_seconds_count"] == {(): 0}


def test_tokens_and_costs_by_model() -> None:
    it = Setup(Prices("EUR", (Price("m", 1.0, 1.0, 2.0, 1.0, 1.0),)))
    it.exchange(usage(1000, 100, cached=10, reasoning=5))
    found = values(tokens=it.accounts.snapshot())
    assert found["tokens_total"] == {
        ("m", "input", "reported"): 1000, ("m", "output", "reported"): 100,
    }  # fmt: skip
    assert found["cached_tokens_total"] == {("m",): 10}
    assert found["reasoning_tokens_total"] == {("m",): 5}
    assert found["token_requests_total"] == {("m",): 1}
    assert found["cost_total"] == {("m", "priced", "EUR"): pytest.approx(0.0012)}


def test_models_are_few_whatever_clients_name() -> None:
    it = Setup()
    for number in range(100):
        it.exchange(usage(1, 1), model=f"m{number} 7}}\u2028#")
    found = values(tokens=it.accounts.snapshot())["token_requests_total"]
    assert len(found) == 65
    assert (found[("m0 7}\u2028#",)], found[("other",)]) == (1, 36)


def test_what_scans_found() -> None:
    guard = {
        "scanned": 10, "flagged": 4, "blocked": 1, "skipped": {"empty": 2},
        "findings": {"jailbreak": {"dan": 3, "model": 1}}, "bytes": 100, "cached_parts": 5,
        "seconds": 0.5, "replies": 0, "reply_links": 0,
    }  # fmt: skip
    found = values(guard=guard)
    assert found["scans_total"] == {("clean",): 6, ("flagged",): 3, ("blocked",): 1}
    assert found["scan_findings_total"] == {("jailbreak", "dan"): 3, ("jailbreak", "model"): 1}
    assert found["scans_skipped_total"] == {("empty",): 2}
    assert "scans_total" not in values()


def test_certificates_and_what_a_path_may_hold() -> None:
    found = values(certificates={'/a "b"\\.pem': 1.5e9})
    assert found["certificate_expiry_timestamp_seconds"] == {('/a "b"\\.pem',): 1.5e9}


def test_the_process_is_this_one() -> None:
    found = values()
    assert 1 << 20 < found["process_resident_memory_bytes"][()] < 1 << 40
    assert found["process_resident_memory_bytes"][()] < found["process_virtual_memory_bytes"][()]
    with open(os.devnull):
        assert values()["process_open_fds"][()] == found["process_open_fds"][()] + 1
    assert 0 < found["process_cpu_seconds_total"][()] <= values()["process_cpu_seconds_total"][()]


# ---- through the real program --------------------------------------------------------------------


def chats(connection: Any) -> None:
    while True:
        read_head(connection)
        body = orjson.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)


def scraped(program: Program, accept: str = "") -> tuple[bytes, str]:
    """The type and the text."""
    request = urllib.request.Request(program.url + "/metrics", headers={"accept": accept})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return answer.headers["content-type"].encode(), answer.read().decode()


def test_metrics_and_stats_have_the_same_figures(start: Any) -> None:
    with Upstream(chats) as upstream:
        program = start(upstream.url)
        chat = b'{"model":"a\xc3\xa9","messages":[]}'
        assert program.get("/v1/chat/completions", "POST", data=chat)[0] == 200
        assert program.get("/nowhere")[0] == 404
        stats, (kind, text) = program.get("/stats")[1], scraped(program)
        opened_kind, opened = scraped(program, ASKS_FOR_OPEN)
    found = read(text)
    assert (kind, opened_kind) == (TEXT, OPEN_METRICS)
    assert found.keys() == read(opened, read_open).keys()
    assert found["build_info"] == {(stats["version"],): 1}
    by_status = {code: n for (code,), n in found["requests_total"].items()}
    assert by_status == stats["requests_by_status"] == {"200": 1, "404": 1}
    assert {code: n for (code,), n in found["errors_total"].items()} == stats["errors"]
    wire = found["body_bytes_total"]
    assert wire[("client", "request")] == stats["request_bytes"]["in"] == len(chat)
    assert wire[("client", "response")] == stats["response_bytes"]["out"]
    assert sum(found["body_plain_bytes_total"].values()) == stats["bytes_plain"]
    assert found["tokens_total"][("aé", "input", "reported")] == 7
    assert found["upstream_connections"][(upstream.url.removesuffix("/v1"), "idle")] == 1
    assert found["client_connections"] == {(): 1}
    assert found["request_duration_seconds_count"] == {(): 1}
    assert stats["duration_seconds"]["count"] == 1
    assert 0 < found["process_open_fds"][()] < found["process_max_fds"][()]


def test_asking_for_metrics_is_no_traffic(start: Any) -> None:
    program = start(NOWHERE)
    scraped(program)
    _, text = scraped(program)
    assert "requests_total" not in read(text)
    assert program.get("/metrics", "POST")[0] == 405


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing(start: Any) -> None:
    with Upstream(chats) as upstream:
        program = start(upstream.url)
        program.get("/v1/chat/completions", "POST", data=b'{"model":"m"}')
        _, text = scraped(program)
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
