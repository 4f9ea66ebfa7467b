"""Work in a process of its own, which takes its memory with it: a compiler of patterns and what it
works in are 30 MiB, of which 6 would stay.

The one rule: what comes of it is what would come of it here, and no process is left behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable

_SIZE = 8
"""Bytes that say how many follow."""
_PR_SET_PDEATHSIG = 1
_ENDING = (signal.SIGINT, signal.SIGTERM)


def beside(work: Callable[[], bytes]) -> bytes:
    """What `work` returns, done in a process of its own; if that fails, in this one."""
    return _beside(work) or work()


def _beside(work: Callable[[], bytes]) -> bytes:
    """Nothing if it fails there."""
    reading, writing = os.pipe()
    ours = os.getpid()
    # What the handler of a signal raises within `fork`, Python drops.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    pid = os.fork()
    if not pid:
        failed = 1
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(reading)
            _end_with(ours)
            made = work()
            with open(writing, "wb") as pipe:
                pipe.write(len(made).to_bytes(_SIZE, "big") + made)
            failed = 0
        finally:
            os._exit(failed)
    os.close(writing)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        with open(reading, "rb") as pipe:
            # Of so many bytes: a buffer that grows leaves holes.
            size = int.from_bytes(pipe.read(_SIZE), "big")
            data = pipe.read(size)
    except BaseException:  # as when somebody ends us: it would go on for seconds
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _failed(pid)
        raise
    return b"" if _failed(pid) or len(data) < size else data


def _end_with(parent: int) -> None:
    """Leave no process behind, whatever ends the one that waits for it: a signal, most likely."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:  # Linux
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _failed(child: int) -> bool:
    """Whether it ended otherwise than well, as far as that is known."""
    try:
        return bool(os.waitpid(child, 0)[1])
    except ChildProcessError:  # whoever started us ignores SIGCHLD, so that nobody is waited for
        return False


def give_back() -> None:
    """What was taken for a moment, which glibc would keep; other libraries do not."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
