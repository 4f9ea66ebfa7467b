"""Hyperscan: all patterns over a text in one pass, in time that is linear in its length.

The one rule: hyperscan is imported and spoken to here only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

_SIZE = 8
"""Bytes that say how many follow."""
_PR_SET_PDEATHSIG = 1


class EngineMissing(Exception):
    """Hyperscan is not installed. Its text says what to do, in one line."""


class Engine:
    """Sets of patterns, compiled. Each set is reported once a scan, or at each end of a match."""

    def __init__(self, once: Sequence[Sequence[str]], each: Sequence[Sequence[str]]) -> None:
        """Raises EngineMissing."""
        try:
            import hyperscan
        except ImportError as error:
            raise EngineMissing("the scanner needs hyperscan: install m2mproxy[guard]") from error
        expressions: list[bytes] = []
        ids: list[int] = []
        flags: list[int] = []
        for number, patterns in enumerate([*once, *each]):
            single = hyperscan.HS_FLAG_SINGLEMATCH if number < len(once) else 0
            for pattern in patterns:
                expressions.append(pattern.encode())
                ids.append(number)
                flags.append(hyperscan.HS_FLAG_DOTALL | single)

        def compiled() -> Any:
            database = hyperscan.Database()
            database.compile(expressions=expressions, ids=ids, elements=len(ids), flags=flags)
            return database

        data = _beside(lambda: hyperscan.dumpb(compiled()))
        self._database = hyperscan.loadb(data, hyperscan.HS_MODE_BLOCK) if data else compiled()
        del data
        _give_back()
        # A scan works in memory of its own and without the interpreter's lock, so that threads may
        # scan at once: each takes one that is free, or a new one.
        self._scratch = hyperscan.Scratch
        self._free: list[Any] = [hyperscan.Scratch(self._database)]

    def scan(self, data: bytes) -> list[tuple[int, int]]:
        """Which sets match, by their number (`once`, then `each`), and where it ends; by ends."""
        found: list[tuple[int, int]] = []
        add = found.append

        def on_match(number: int, start: int, end: int, flags: int, context: object) -> None:
            add((number, end))

        try:
            scratch = self._free.pop()
        except IndexError:
            scratch = self._scratch(self._database)
        try:
            self._database.scan(data, match_event_handler=on_match, scratch=scratch)
        finally:
            self._free.append(scratch)
        return found


def _beside(work: Callable[[], bytes]) -> bytes:
    """What `work` returns in a process of its own, which takes its memory with it: a compiler and
    what it works in are 30 MiB, of which 6 would stay. Nothing if that process fails."""
    reading, writing = os.pipe()
    ours, pid = os.getpid(), os.fork()
    if not pid:
        failed = 1
        try:
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


def _give_back() -> None:
    """What was taken for a moment, which glibc would keep; other libraries do not."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
