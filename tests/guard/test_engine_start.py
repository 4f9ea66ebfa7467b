"""How patterns are compiled: beside this process, and in it where that fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from m2mproxy.guard import beside
from m2mproxy.guard.engine import Engine

TEXT = b"hay and needle"


def test_no_child_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[int] = []
    fork = os.fork

    def forked() -> int:
        children.append(fork())
        return children[-1]

    monkeypatch.setattr(os, "fork", forked)
    assert Engine(lambda: ([["needle"]], [["n.e"]])).scan(TEXT) == [(1, 11), (0, 14)]
    (child,) = children
    with pytest.raises(ChildProcessError):
        os.waitpid(child, os.WNOHANG)


def test_what_fails_beside_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Engine(lambda: ([["needle"]], [])).scan(TEXT)
    monkeypatch.setattr(beside, "_beside", lambda work: b"")
    assert Engine(lambda: ([["needle"]], [])).scan(TEXT) == expected == [(0, 14)]


def test_where_nobody_waits_for_children() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert beside._beside(lambda: b"made") == b"made"
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_who_is_interrupted_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[int] = []
    fork = os.fork

    def forked() -> int:
        children.append(fork())
        if children[-1]:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        return children[-1]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fork", forked)
    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            beside._beside(lambda: bytes(time.sleep(60) or 0))  # type: ignore[func-returns-value]
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ChildProcessError):
        os.waitpid(children[0], os.WNOHANG)


BUSY = """
import signal
from m2mproxy.guard import beside

def work():
    print("working", flush=True)
    signal.pause()

beside._beside(work)
"""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_who_is_ended_at_once_leaves_no_child(end: signal.Signals) -> None:
    """Before there is anything that handles signals, a service manager may stop us, too."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"working\n"
        process.send_signal(end)
        # Which the child has open, too: it would be there for ever.
        assert process.communicate(timeout=20)[0] == b""
    assert process.returncode == -end


def test_work_beside_that_fails_gives_nothing() -> None:
    assert beside._beside(lambda: b"made") == b"made"
    assert beside._beside(lambda: b"%d" % (1 // 0)) == b""


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(Exception, match=r"[Pp]arenthes"):
        Engine(lambda: ([["(a"]], []))


def test_it_is_built_in_a_thread_too() -> None:
    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(Engine, lambda: ([["abc"]], [])).result()
    assert made.scan(b"xabc") == [(0, 4)]
