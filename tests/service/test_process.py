"""The program as a process: what it says, what it answers, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from upstream import Upstream, ask, read_all, read_head

NOWHERE = "http://127.0.0.1:1/v1"
GET = b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "m2mproxy", *flags]


def run(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        command(*flags),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, **environment},
    )


class Proxy:
    """A running program."""

    def __init__(self, *flags: str) -> None:
        self.process = subprocess.Popen(command(*flags), stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.first = self.process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+(?=/v1)", self.first.partition("base_url")[2])
        self.url = found[0] if found else ""

    def get(self, path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """The exit code, and the rest of what was said."""
        self.process.send_signal(number)
        assert self.process.stderr is not None
        rest = self.process.stderr.read()
        return self.process.wait(20), rest


@pytest.fixture
def start() -> Iterator[Any]:
    started: list[Proxy] = []

    def begin(upstream: str, *flags: str) -> Proxy:
        started.append(Proxy("--listen", "127.0.0.1:0", "--upstream", upstream, *flags))
        return started[-1]

    yield begin
    for proxy in started:
        if proxy.process.poll() is None:
            proxy.process.kill()
        proxy.process.wait()
        assert proxy.process.stderr is not None
        proxy.process.stderr.close()


def test_the_first_line_says_where_from_and_where_to(start: Any) -> None:
    first = start(NOWHERE).first
    assert re.search(r"listens on 127\.0\.0\.1:\d+ and forwards to http://127\.0\.0\.1:1/v1", first)
    assert re.search(r"base_url is http://127\.0\.0\.1:\d+/v1", first)


def test_alive_is_not_ready(start: Any) -> None:
    proxy = start(NOWHERE)
    assert proxy.get("/health") == (200, {"status": "ok"})
    status, content = proxy.get("/health/ready")
    assert status == 503
    assert content["upstreams"][0]["url"] == "http://127.0.0.1:1"
    assert content["upstreams"][0]["reachable"] is False
    assert content["upstreams"][0]["code"] == "upstream_unreachable"


def test_ready_when_the_upstream_takes_connections(start: Any) -> None:
    with Upstream(lambda connection: None) as upstream:
        assert start(upstream.url).get("/health/ready")[0] == 200


def test_stats_count_and_reset(start: Any) -> None:
    def serve(connection: socket.socket) -> None:
        while True:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")

    with Upstream(serve) as upstream:
        proxy = start(upstream.url)
        head = b"POST /v1/x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n"
        request = head + b"content-length: 3\r\n\r\nabc"
        assert read_all(ask(proxy.url, request)).endswith(b"hello")
        assert proxy.get("/nowhere")[0] == 404
        stats = proxy.get("/stats")[1]
        assert stats["requests_total"] == 2
        assert stats["requests_by_status"] == {"200": 1, "404": 1}
        assert stats["errors"] == {"unknown_path": 1}
        assert stats["bytes_in"] == stats["bytes_out"] == 8
        assert stats["compression_ratio"] == 1.0
        assert 0 < stats["avg_latency_ms"] <= stats["p99_latency_ms"] * 1.1
        assert stats["open_streams"] == 0
        assert stats["upstream_connections"][f"http://127.0.0.1:{upstream.port}"]["idle"] == 1
        reset = urllib.request.Request(proxy.url + "/stats/reset", method="POST")
        assert urllib.request.urlopen(reset, timeout=10).status == 200
        assert proxy.get("/stats")[1]["requests_total"] == 0
        assert proxy.get("/stats/reset")[0] == 405


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_for_each_exchange_without_what_was_said(start: Any, form: str) -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nanswer")

    with Upstream(serve) as upstream:
        proxy = start(upstream.url, "--log-format", form, "--api-key", "sk-operator")
        body = b'{"messages":"question","model":"gpt-x"}'
        head = b"POST /v1/chat/completions?key=sk-query HTTP/1.1\r\nhost: h"
        length = b"\r\nauthorization: sk-own\r\nconnection: close"
        length += b"\r\ncontent-length: %d\r\n\r\n" % len(body)
        read_all(ask(proxy.url, head + length + body))
        _, log = proxy.stop()
    line = next(line for line in log.splitlines() if "gpt-x" in line)
    for secret in ("sk-", "question", "answer"):
        assert secret not in log
    if form == "json":
        fields = json.loads(line)
        assert fields["status"] == 200
        assert fields["path"] == "/v1/chat/completions"
        assert fields["client_in"] == len(body)
        assert fields["client_out"] == 6
        assert fields["total_ms"] >= fields["first_byte_ms"] >= fields["added_ms"] >= 0
    else:
        assert " method=POST path=/v1/chat/completions model=gpt-x status=200 " in line
        assert f" client_in={len(body)} client_out=6 " in line
        assert line.endswith(" error=-")


def test_term_lets_a_stream_finish_and_takes_no_new_connections(start: Any) -> None:
    told = socket.socketpair()

    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(STREAM + b"9\r\ndata: 1\n\n\r\n")
        told[1].recv(1)
        connection.sendall(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    with Upstream(serve) as upstream:
        proxy = start(upstream.url)
        client = ask(proxy.url, GET)
        while b"data: 1" not in client.recv(65536):
            pass
        proxy.process.send_signal(signal.SIGTERM)
        assert "stopping: 1 requests" in proxy.process.stderr.readline()
        with pytest.raises(ConnectionRefusedError):
            ask(proxy.url, GET)
        told[0].send(b"x")
        assert read_all(client).endswith(b"data: 2\n\n\r\n0\r\n\r\n")
        assert proxy.process.wait(10) == 0


@pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,)])
def test_a_second_term_or_an_int_cuts_at_once(start: Any, numbers: tuple[int, ...]) -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(STREAM)
        connection.recv(1)

    with Upstream(serve) as upstream:
        proxy = start(upstream.url)
        client = ask(proxy.url, GET)
        assert client.recv(65536)
        for number in numbers:
            proxy.process.send_signal(number)
            assert "stopping" in proxy.process.stderr.readline() or number == signal.SIGTERM
        answer = read_all(client)
        assert b'"code":"shutting_down"' in answer
        assert not answer.endswith(b"0\r\n\r\n")
        assert proxy.process.wait(10) == 0


def test_drain_has_an_end(start: Any) -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.recv(1)

    with Upstream(serve) as upstream:
        proxy = start(upstream.url, "--drain", "0.3")
        client = ask(proxy.url, GET)
        while proxy.get("/stats")[1]["open_streams"] == 0:
            pass
        code, log = proxy.stop()
        assert read_all(client).startswith(b"HTTP/1.1 503 ")
    assert code == 0
    assert "cutting 1 requests short" in log


def test_hangup_is_survived(start: Any) -> None:
    proxy = start(NOWHERE)
    proxy.process.send_signal(signal.SIGHUP)
    assert "SIGHUP" in proxy.process.stderr.readline()
    assert proxy.get("/health")[0] == 200


def test_nobody_reading_the_log_is_survived(start: Any) -> None:
    proxy = start(NOWHERE)
    proxy.process.stderr.close()
    for _ in range(3):
        assert proxy.get("/v1/models")[0] == 502
    proxy.process.terminate()
    assert proxy.process.wait(10) == 0


def test_a_full_log_pipe_holds_nobody_up(start: Any) -> None:
    """Nobody reads the pipe, which holds 64 KiB: requests go on, lines wait and are then lost."""
    proxy = start(NOWHERE)
    client = ask(proxy.url, b"")
    path = b"/v1/" + b"x" * 500
    for _ in range(1500):
        client.sendall(b"GET %b HTTP/1.1\r\nhost: h\r\n\r\n" % path)
        assert client.recv(65536).startswith(b"HTTP/1.1 502 ")
    assert proxy.get("/stats")[1]["log_lines_dropped"] > 0


def test_every_address_is_listened_to(tmp_path: Path) -> None:
    sock = tmp_path / "m2m.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(sock))  # left behind by a predecessor that was killed
    listens = ("--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", f"unix:{sock}")
    proxy = Proxy(*listens, "--upstream", NOWHERE)
    try:
        port = re.search(r"\[::1\]:(\d+)", proxy.first)
        assert port
        for family, address in (
            (socket.AF_INET6, ("::1", int(port[1]))),
            (socket.AF_UNIX, str(sock)),
        ):
            with socket.socket(family) as client:
                client.settimeout(10)
                client.connect(address)
                client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                assert read_all(client).startswith(b"HTTP/1.1 200 OK\r\n")
        taken = run("--listen", f"unix:{sock}", "--upstream", NOWHERE)
        assert taken.returncode == 1
        assert "in use" in taken.stderr
        assert str(sock) in taken.stderr
    finally:
        assert proxy.stop()[0] == 0
    assert not sock.exists()


def test_a_taken_port_is_exit_1_and_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ("--listen", "127.0.0.1:0", "--listen", f"127.0.0.1:{port}")
        done = run(*flags, "--upstream", NOWHERE)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "in use" in done.stderr


@pytest.mark.parametrize(
    ("flags", "environment", "code", "said"),
    [
        (("--check", "--upstream", NOWHERE), {}, 0, ""),
        (("--nonsense",), {}, 2, "--nonsense"),
        (("--upstream", "ftp://x"), {}, 2, "ftp"),
        ((), {"M2M_UPSTREAM": "ftp://x"}, 78, "M2M_UPSTREAM"),
        (("--check", "--upstream", NOWHERE), {"M2M_PROVIDER": "nobody"}, 78, "nobody"),
        (("--check", "--upstream", "https://x"), {"M2M_CA_FILE": "/dev/null"}, 78, "M2M_CA_FILE"),
        (("--check", "--upstream", NOWHERE), {"M2M_TIMEOUTS_IDEL": "1"}, 78, "M2M_TIMEOUTS_IDLE"),
    ],
)
def test_exit_codes(
    flags: tuple[str, ...], environment: dict[str, str], code: int, said: str
) -> None:
    done = run(*flags, **environment)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == (1 if code else 0)
    assert "Traceback" not in done.stderr


def test_a_corrupt_ca_file_stops_the_start(tmp_path: Path) -> None:
    corrupt = tmp_path / "ca.pem"
    corrupt.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    done = run("--check", "--upstream", "https://x", M2M_CA_FILE=str(corrupt))
    assert done.returncode == 78
    assert "environment: M2M_CA_FILE" in done.stderr
    assert str(corrupt) in done.stderr
