"""A process we started: where it runs, what it costs, how it ends.

CPU time and memory are read from /proc for the process and its descendants, so that a proxy behind
a wrapper script or with several workers is counted whole. CPU time comes from the scheduler's own
nanoseconds (schedstat), because a clock tick of 10 ms is coarse beside a window of a second.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent() -> None:
    """For a child before its exec: even if we are killed outright, nothing of ours stays behind."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class ProcessFailed(Exception):
    """A server or a load program that did not do its work."""


@dataclass(frozen=True)
class Memory:
    """In bytes. `unique` is what would be free again if the process ended."""

    resident: int
    unique: int

    def __sub__(self, other: "Memory") -> "Memory":
        return Memory(self.resident - other.resident, self.unique - other.unique)


class Process:
    def __init__(
        self, argv: Sequence[str], cpu: int, log: Path, stdin: int = subprocess.DEVNULL
    ) -> None:
        self.argv = argv
        self.log = log
        stdout = subprocess.PIPE if stdin == subprocess.PIPE else subprocess.DEVNULL

        def before_exec() -> None:
            os.sched_setaffinity(0, {cpu})
            die_with_parent()

        with log.open("wb") as stderr:
            self._popen = subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=_environment(),
                preexec_fn=before_exec,
                bufsize=0,
            )
        self.pid = self._popen.pid

    @property
    def stdin(self) -> IO[bytes]:
        assert self._popen.stdin is not None
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self._popen.stdout is not None
        return self._popen.stdout

    def check(self) -> None:
        """Raise if the process has ended, with the last thing it said."""
        code = self._popen.poll()
        if code is not None:
            raise ProcessFailed(f"{self.argv[0]} ended with {code}: {self.last_words()}")

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "(said nothing)"

    def stop(self) -> None:
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                stream.close()
        if self._popen.poll() is None:
            self._popen.terminate()
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def cpu_seconds(self) -> float:
        self.check()
        return sum(_cpu_seconds(pid) for pid in _family(self.pid))

    def memory(self) -> Memory:
        self.check()
        each = [_memory(pid) for pid in _family(self.pid)]
        return Memory(sum(m.resident for m in each), sum(m.unique for m in each))

    def settled_memory(self) -> Memory:
        """Memory once it has been the same for a moment, within two seconds at most."""
        memory = self.memory()
        for _ in range(8):
            time.sleep(0.25)
            before, memory = memory, self.memory()
            if before == memory:
                break
        return memory


@contextlib.contextmanager
def running(process: Process) -> Iterator[Process]:
    try:
        yield process
    finally:
        process.stop()


def _environment() -> dict[str, str]:
    """Ours, without what would configure the proxy behind the bench's back."""
    return {name: value for name, value in os.environ.items() if not name.startswith("M2M_")}


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in _of_each_thread(pid, "children"):
        for child in children.split():
            yield from _family(int(child))


def _of_each_thread(pid: int, name: str) -> Iterator[str]:
    """A file of /proc for each thread; one that ends while we look has nothing more to say."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            yield Path(f"/proc/{pid}/task/{thread}/{name}").read_text()


def _cpu_seconds(pid: int) -> float:
    if os.path.exists("/proc/self/schedstat"):
        return sum(int(stat.split()[0]) for stat in _of_each_thread(pid, "schedstat")) / 1e9
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> Memory:
    kibibytes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        kibibytes[name] = int(value.split()[0])
    unique = kibibytes["Private_Clean"] + kibibytes["Private_Dirty"]
    return Memory(kibibytes["Rss"] * 1024, unique * 1024)
