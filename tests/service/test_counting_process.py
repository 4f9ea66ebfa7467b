"""The program with the process that counts beside it: what it says, and how both end."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from program import NOWHERE, SECONDS, Program

from upstream import Upstream, ask, read_all, read_head  # isort: skip (program finds it)

CONFIG = '[tokens]\ncount = "all"\nvocabularies = []\n'
BODY = b'{"model":"m","messages":[{"role":"user","content":"one two three"}]}'
POST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n" % len(BODY)
) + BODY
SILENT = b'{"choices":[{"message":{"content":"four five"}}]}'
REPLY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    % len(SILENT)
) + SILENT


def serve(connection: socket.socket) -> None:
    while True:
        _, _, body = read_head(connection).partition(b"\r\n\r\n")
        while len(body) < len(BODY):
            body += connection.recv(65536)
        connection.sendall(REPLY)


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until_gone(pid: int) -> None:
    """It has ended. Whether its end is asked for is a matter of the machine's first process."""
    for _ in range(200):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        if stat.rpartition(")")[2].split()[0] in "ZX":
            return
        time.sleep(0.05)
    raise AssertionError("it is still there")


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "m2m.toml"
    path.write_text(CONFIG)
    return str(path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_end(start: Any, config: str, number: int) -> None:
    with Upstream(serve) as upstream:
        program = start(upstream.url, "--config", config)
        (child,) = children(program.process.pid)
        assert read_all(ask(program.url, POST)).endswith(SILENT)
        line = program.until("path=/v1/chat/completions")
        assert " tokens_in=" in line
        assert " tokens_estimated=in,out " in line
        os.kill(child, number)  # as a terminal and a supervisor signal all of a group
        figures = program.get("/stats")[1]["tokens"]
        assert (figures["counted"], figures["waiting"], figures["dropped"]) == (1, 0, 0)
        code, _ = program.stop(number)
    assert code == 0
    until_gone(child)


def test_what_ends_while_the_program_stops_is_counted(start: Any, config: str) -> None:
    asked, go_on = socket.socketpair()

    def late(connection: socket.socket) -> None:
        read_head(connection)
        asked.send(b"x")
        asked.recv(1)
        connection.sendall(REPLY)

    with Upstream(late) as upstream:
        program = start(upstream.url, "--config", config)
        (child,) = children(program.process.pid)
        client = ask(program.url, POST)
        go_on.recv(1)
        program.say(signal.SIGTERM, "stopping: ")
        os.kill(child, signal.SIGSTOP)  # so that it has not counted before the client is gone
        try:
            go_on.send(b"x")
            assert read_all(client).endswith(SILENT)
        finally:
            os.kill(child, signal.SIGCONT)
        line = program.until("path=/v1/chat/completions")
        assert " tokens_in=- " not in line
        assert " tokens_estimated=in,out " in line
        assert program.process.wait(SECONDS) == 0


def test_without_its_process_the_proxy_goes_on(start: Any, config: str) -> None:
    with Upstream(serve) as upstream:
        program = start(upstream.url, "--config", config)
        (child,) = children(program.process.pid)
        os.kill(child, signal.SIGKILL)
        assert "none are counted any more" in program.until(" error: ")
        assert read_all(ask(program.url, POST)).endswith(SILENT)
        assert " tokens_in=- tokens_out=- " in program.until("path=/v1/chat/completions")
        figures = program.get("/stats")[1]["tokens"]
        assert (figures["unknown"], figures["dropped"]) == (1, 1)
        assert program.stop()[0] == 0


def test_both_end_where_nobody_waits_for_children(start: Any, config: str) -> None:
    """SIGCHLD stays ignored across `exec`."""
    program = start(
        "http://127.0.0.1:1/v1",
        "--config",
        config,
        before=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    )
    (child,) = children(program.process.pid)
    code, rest = program.stop()
    assert code == 0
    assert "cannot" not in rest
    until_gone(child)


def test_a_killed_program_leaves_no_process(start: Any, config: str) -> None:
    with Upstream(serve) as upstream:
        program = start(upstream.url, "--config", config)
        (child,) = children(program.process.pid)
        program.kill()
    until_gone(child)


def test_off_is_no_process(start: Any) -> None:
    with Upstream(serve) as upstream:
        program = start(upstream.url)
        assert children(program.process.pid) == []
        assert "counted" not in program.get("/stats")[1]["tokens"]


FORKS = """
import os, sys
from m2mproxy.cli.daemon import main

fork = os.fork

def told():
    print("threads:", len(os.listdir("/proc/self/task")), file=sys.stderr, flush=True)
    return fork()

os.fork = told
sys.exit(main())
"""


def test_whatever_forks_does_so_before_there_are_threads(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that a thread held would be held for ever in the child; Python 3.12 warns of it."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    Path(config).write_text(CONFIG + "[proxy.security]\nenabled = true\n")
    flags = ("--config", config, "--listen", "127.0.0.1:0", "--upstream", NOWHERE)
    program = Program([sys.executable, "-c", FORKS, *flags])
    try:
        # The rules, the engine's patterns, and what counts.
        assert program.before == ["threads: 1\n"] * 3
    finally:
        program.kill()
