"""What a run needs from the machine: two CPUs to tell apart, open files, free ports, and its name.

The one rule: the measured process has a CPU to itself, and whatever loads it stays on the other.
"""

import contextlib
import os
import platform
import random
import resource
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Cpus:
    """Where the measured server runs, and where everything else does."""

    server: int
    load: int


def choose_cpus() -> Cpus:
    """The first two CPUs we may use; on a single one everything shares it."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cpus(server=allowed[0], load=allowed[min(1, len(allowed) - 1)])


@contextlib.contextmanager
def ahead_of_others() -> Iterator[bool]:
    """We, and what we start meanwhile, run before all that is not of a real-time class (sched(7)).
    Whether we may, which root may."""
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, policy, param)


def raise_open_files() -> int:
    """Lift the soft limit to the hard one; processes we start inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port() -> int:
    """A port that was free a moment ago, for servers that cannot report one they chose; none that
    the system gives to whoever asks for any, so that nobody gets it meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def cpu_model() -> str:
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def commit() -> str:
    """Which commit the working tree is at, "" outside a repository."""
    asked = ["git", "-C", os.path.dirname(__file__), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def describe() -> dict[str, str | int]:
    return {
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
