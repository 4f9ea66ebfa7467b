"""The C programs of the bench: compiling them, and speaking with them a line at a time.

They are C because the load must not be what is measured: one core has to pace, send and check more
than any proxy under test can carry. What they say and obey is at the top of each source.
"""

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from .process import Process, ProcessFailed, running

SOURCES = Path(__file__).parent
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")


def compile_all(directory: Path) -> Path:
    """Compile what is older than its sources into `directory`, and return that."""
    directory.mkdir(parents=True, exist_ok=True)
    headers = max(path.stat().st_mtime for path in SOURCES.glob("*.h"))
    for source in SOURCES.glob("*.c"):
        program = directory / source.stem
        newest = max(headers, source.stat().st_mtime)
        if not program.exists() or program.stat().st_mtime < newest:
            subprocess.run(["gcc", *FLAGS, "-o", program, source], check=True)
    return directory


@dataclass(frozen=True)
class Quantiles:
    """Durations in microseconds."""

    p50: float
    p90: float
    p99: float
    p999: float
    max: float


@dataclass(frozen=True)
class LoadRun:
    requests: int
    seconds: float
    failures: int
    first_failure: str
    latency: Quantiles


@dataclass(frozen=True)
class StreamRun:
    events: int
    seconds: float
    transit: Quantiles
    lateness: Quantiles


class Program:
    """A started C program: one JSON object comes back for each line that goes in."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._read = b""

    def hear(self, timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while b"\n" not in self._read:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise ProcessFailed(f"{self.process.argv[0]} said nothing for {timeout:.0f} s")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise ProcessFailed(f"{Path(self.process.argv[0]).name}: {self._end()}")
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def ask(self, line: str, timeout: float) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):  # hear() tells why it is broken
            self.process.stdin.write(f"{line}\n".encode())
        return self.hear(timeout)

    def _end(self) -> str:
        self.process.stop()
        return self.process.last_words()

    @classmethod
    @contextlib.contextmanager
    def started(cls, argv: Sequence[str], cpu: int, log: Path) -> Iterator[Self]:
        with running(Process(argv, cpu, log, stdin=subprocess.PIPE)) as process:
            yield cls(process)


class Load(Program):
    """`load`: requests over kept-alive connections."""

    def wait_ready(self) -> None:
        self.hear(60)

    def run(self, seconds: float, rate: float = 0) -> LoadRun:
        heard = self.ask(f"run {seconds} {rate}", seconds + 30)
        return LoadRun(**heard | {"latency": Quantiles(**heard["latency"])})


class StreamLoad(Program):
    """`h2stall`: requests on one HTTP/2 connection."""

    def wait_ready(self) -> None:
        self.hear(60)

    def run(self, seconds: float) -> float:
        """Requests a second."""
        heard = self.ask(f"run {seconds}", seconds + 30)
        rate: float = heard["requests"] / heard["seconds"]
        return rate


class Model(Program):
    """`reply` or `ssesource`: a model server."""

    def port(self) -> int:
        port: int = self.hear(10)["port"]
        return port


class Sink(Program):
    """`ssesink` or `h2sink`: clients that clock the events."""

    def wait_ready(self) -> None:
        self.hear(60)

    def run(self, seconds: float) -> StreamRun:
        heard = self.ask(f"run {seconds}", seconds + 30)
        return StreamRun(
            heard["events"],
            heard["seconds"],
            Quantiles(**heard["transit"]),
            Quantiles(**heard["lateness"]),
        )
