"""The life of the program: the log of what it does, signals, and how it ends."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
from typing import Any

import pytest
from program import NOWHERE, SECONDS

from upstream import Upstream, ask, read_all, read_head  # isort: skip (program finds it)

GET = b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

# ---- the log -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_for_each_exchange_without_what_was_said(start: Any, form: str) -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nanswer")

    with Upstream(serve) as upstream:
        program = start(upstream.url, "--log-format", form, "--api-key", "sk-operator")
        body = b'{"messages":"question","model":"gpt-x"}'
        head = b"POST /v1/chat/completions?key=sk-query HTTP/1.1\r\nhost: h"
        length = b"\r\nauthorization: sk-own\r\nconnection: close"
        length += b"\r\ncontent-length: %d\r\n\r\n" % len(body)
        read_all(ask(program.url, head + length + body))
        _, log = program.stop()
    (line,) = (line for line in log.splitlines() if "gpt-x" in line)
    for secret in ("sk-", "question", "answer"):
        assert secret not in log
    if form == "json":
        fields = json.loads(line)
        assert fields["status"] == 200
        assert fields["path"] == "/v1/chat/completions"
        assert fields["client_in"] == len(body)
        assert fields["client_out"] == 6
        # What the proxy added may be more than the upstream's part of it, on a slow machine.
        assert fields["total_ms"] >= fields["first_byte_ms"] >= 0
        assert fields["total_ms"] >= fields["added_ms"] >= 0
        assert all(json.loads(line) for line in log.splitlines())
    else:
        assert " method=POST path=/v1/chat/completions model=gpt-x status=200 " in line
        assert f" client_in={len(body)} client_out=6 " in line
        assert line.endswith(" error=- reason=-")


def test_what_is_no_request_is_a_line_too(start: Any) -> None:
    program = start(NOWHERE)
    read_all(ask(program.url, b"GET /v1/x?sk-query HTTP/1.1\r\nsk-own: \x00\r\n\r\n"))
    _, log = program.stop()
    assert " status=400 error=bad_request\n" in log
    assert "sk-" not in log


def test_nobody_reading_the_log_is_survived(start: Any) -> None:
    program = start(NOWHERE)
    program.log.close()
    for _ in range(3):
        assert program.get("/v1/models")[0] == 502
    program.process.terminate()
    assert program.process.wait(SECONDS) == 0


def test_a_full_log_pipe_holds_nobody_up(start: Any) -> None:
    """Nobody reads the pipe, which holds 64 KiB: requests go on, lines wait and are then lost."""
    program = start(NOWHERE)
    client = ask(program.url, b"")
    path = b"/v1/" + b"x" * 500
    for _ in range(1000):
        client.sendall(b"GET %b HTTP/1.1\r\nhost: h\r\n\r\n" % path)
        assert client.recv(65536).startswith(b"HTTP/1.1 502 ")
    dropped = program.get("/stats")[1]["log_lines_dropped"]
    assert dropped > 0
    client.close()
    _, log = program.stop()  # read again: all that was not counted as dropped is there
    assert log.count("path=/v1/xxx") == 1000 - dropped


# ---- signals -------------------------------------------------------------------------------------


def test_term_lets_a_stream_finish_and_takes_no_new_connections(start: Any) -> None:
    told, go_on = socket.socketpair()

    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(STREAM + b"9\r\ndata: 1\n\n\r\n")
        go_on.recv(1)
        connection.sendall(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    with Upstream(serve) as upstream:
        program = start(upstream.url)
        idle = ask(program.url, b"")
        client = ask(program.url, GET)
        while b"data: 1" not in client.recv(65536):
            pass
        program.say(signal.SIGTERM, "stopping: 30 s for 1 request")
        with pytest.raises(ConnectionRefusedError):
            ask(program.url, GET)
        assert idle.recv(1) == b""
        told.send(b"x")
        assert read_all(client).endswith(b"data: 2\n\n\r\n0\r\n\r\n")
        assert program.process.wait(SECONDS) == 0


def test_what_is_answered_after_term_says_that_it_was_the_last(start: Any) -> None:
    told, go_on = socket.socketpair()

    def serve(connection: socket.socket) -> None:
        read_head(connection)
        told.send(b"x")
        told.recv(1)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    with Upstream(serve) as upstream:
        program = start(upstream.url)
        client = ask(program.url, GET)
        go_on.recv(1)
        program.say(signal.SIGTERM, "stopping: ")
        go_on.send(b"x")
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nconnection: close\r\n" in answer
        assert answer.endswith(b"ok")
        assert program.process.wait(SECONDS) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_with_nothing_under_way_it_ends_at_once(start: Any, number: int) -> None:
    program = start(NOWHERE)
    idle = ask(program.url, b"")
    assert program.get("/health")[0] == 200
    code, log = program.stop(number)
    assert code == 0
    said = "stopping at once" if number == signal.SIGINT else "stopping: 30 s for 0 requests"
    assert log.endswith(f" info: {said}\n")
    assert idle.recv(1) == b""


@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT,)],
    ids=["TERM TERM", "TERM INT", "INT"],
)
def test_a_second_signal_or_an_int_cuts_at_once(start: Any, numbers: tuple[int, ...]) -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(STREAM)
        connection.recv(1)

    with Upstream(serve) as upstream:
        program = start(upstream.url)
        client = ask(program.url, GET)
        assert client.recv(65536)
        at_once = numbers[0] == signal.SIGINT
        program.say(numbers[0], "stopping at once" if at_once else "stopping: 30 s for 1 request")
        for number in numbers[1:]:
            program.process.send_signal(number)
        answer = read_all(client)
        assert b'"code":"shutting_down"' in answer
        assert not answer.endswith(b"0\r\n\r\n")
        assert program.process.wait(SECONDS) == 0
        assert "warning: cutting 1 request short" in program.log.read()


def test_drain_has_an_end(start: Any) -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.recv(1)

    with Upstream(serve) as upstream:
        program = start(upstream.url, "--drain", "0.3")
        client = ask(program.url, GET)
        while program.get("/stats")[1]["open_streams"] == 0:
            pass
        code, log = program.stop()
        assert read_all(client).startswith(b"HTTP/1.1 503 ")
    assert code == 0
    assert "cutting 1 request short" in log
    assert " status=503 " in log and " error=shutting_down reason=-\n" in log


@pytest.mark.parametrize("attempt", range(5))  # it is about a moment that may be missed
def test_a_storm_of_signals_is_one_clean_end(start: Any, attempt: int) -> None:
    program = start(NOWHERE)
    while program.process.poll() is None:
        program.process.send_signal(signal.SIGTERM)
    assert program.process.returncode == 0


@pytest.mark.parametrize("attempt", range(3))
def test_hangups_do_not_change_the_end(start: Any, attempt: int) -> None:
    program = start(NOWHERE)
    program.process.send_signal(signal.SIGTERM)
    while program.process.poll() is None:
        program.process.send_signal(signal.SIGHUP)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.process.wait(0.001)  # each is a line of the log, and nobody reads it
    assert program.process.returncode == 0


def test_hangup_is_survived(start: Any) -> None:
    program = start(NOWHERE)
    program.say(signal.SIGHUP, "warning: SIGHUP: the configuration cannot be reloaded yet")
    assert program.get("/health")[0] == 200
