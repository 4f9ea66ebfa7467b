"""The helper process that counts tokens, and our end of the socket to it.

Counting is milliseconds of work, much of it with the interpreter's lock held: parsing a body of
1 MiB, making lists of ids. In a thread that would hold the event loop for as long; in a process of
its own, forked before anything listens so that it shares the vocabularies, it holds nothing. What
is left for the loop is to write chunks into a socket, a few at a time: those of most jobs at once.

The one rule: nobody waits for a count. A job that cannot be taken is dropped at once, and reported
as dropped.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from m2mproxy.tokens.job import Chunk, Job, Result, TokenCount, TokenCounter, run

# Jobs that are not answered yet. Their bytes are bounded by who keeps them (tally.Room).
MOST_JOBS = 1024
# Bytes and chunks that are written at a time, which is what the loop is held for.
_STEP, _MOST_PIECES = 16 * 1024, 64

# number, flags, then the bytes of the model's name, of the request and of the reply, which follow.
_JOB = struct.Struct(">IBHII")
_ASKED, _REPLIED, _EVENTS = 1, 2, 4
# number, flags, input, output.
_ANSWER = struct.Struct(">IBQQ")
_KNOWN, _EXACT = 1, 2  # of the input; of the output, two bits higher
_FAILED = 1 << 4
_LONGEST_NAME = 1000
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SupportsRead(Protocol):
    """A file, as far as it is read from."""

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes, fewer at the end."""
        ...


Done = Callable[[Result | None], None]


@dataclass(frozen=True, slots=True)
class Helper:
    """The other process: our end of the socket, and its number."""

    socket: socket.socket
    pid: int

    def end(self) -> None:
        """End it; it has nothing that could be lost."""
        self.socket.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def start(counter: TokenCounter) -> Helper:
    """Fork the process that counts with `counter`. To be called before there are threads, an event
    loop, or sockets that it should not have."""
    # Whoever started us may ignore it. Then a child could not be waited for, and once it has ended
    # its number could be another program's, which `end` would kill.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ours, theirs = socket.socketpair()
    # What the handler of a signal raises within `fork`, Python drops.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _STEP)  # what one call copies
        return Helper(ours, pid)
    try:
        ours.close()
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # it ends when we do, by the socket's end
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.nice(19)
        with theirs, theirs.makefile("rb", _STEP) as jobs:
            serve(jobs, theirs.sendall, counter)
    finally:
        os._exit(0)  # nothing of the parent's is to be cleaned up here


# ---- in the other process ------------------------------------------------------------------------


def serve(jobs: SupportsRead, answer: Callable[[bytes], None], counter: TokenCounter) -> None:
    """Count jobs in their order until there are no more."""
    while len(head := jobs.read(_JOB.size)) == _JOB.size:
        number, flags, name, asked, replied = _JOB.unpack(head)
        model = jobs.read(name).decode()
        request, reply = jobs.read(asked), jobs.read(replied)
        job = Job.of(
            model,
            [request] if flags & _ASKED else None,
            [reply] if flags & _REPLIED else None,
            bool(flags & _EVENTS),
        )
        try:
            answer(_answer(number, run(job, counter)))
        except Exception:  # a bug that shows with this job must not end it for all; it is told
            answer(_ANSWER.pack(number, _FAILED, 0, 0))


def _answer(number: int, result: Result) -> bytes:
    flags, numbers = 0, [0, 0]
    for at, tokens in enumerate((result.input, result.output)):
        if tokens is not None:
            numbers[at] = tokens.number
            flags |= (_KNOWN | (_EXACT if tokens.is_exact else 0)) << 2 * at
    return _ANSWER.pack(number, flags, *numbers)


# ---- in ours -------------------------------------------------------------------------------------


class Counting:
    """Hands jobs to the other process and results to whoever wants them.

    Attributes:
        counted: jobs that were answered.
        dropped: jobs that were not taken, since too many wait, or were lost with the process.
        failed: jobs with which the counter had a bug.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, end: socket.socket, on_lost: Callable[[], None]
    ) -> None:
        """`end` is our end of the socket, `on_lost` is called if the other process ends."""
        self._loop = loop
        self._socket = end
        self._on_lost = on_lost
        self._waiting: dict[int, Done] = {}
        self._number = 0
        self._out: deque[Iterator[Chunk]] = deque()  # a job each
        self._rest: list[memoryview] = []  # of what was to be written
        self._in = b""
        self._is_open = True
        self.counted = self.dropped = self.failed = 0
        loop.add_reader(end, self._readable)

    @property
    def waiting(self) -> int:
        """Jobs that are not answered yet."""
        return len(self._waiting)

    def submit(self, job: Job, done: Done) -> None:
        """Have `job` counted. `done` gets the result, or None at once if it is not taken."""
        if not self._is_open or len(self._waiting) >= MOST_JOBS:
            self.dropped += 1
            done(None)
            return
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._waiting[self._number] = done
        is_first = not self._out and not self._rest
        self._out.append(_frame(self._number, job))
        if is_first:
            self._write()
            if self._out or self._rest:
                self._loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        self._write()
        if not self._rest and not self._out:
            self._loop.remove_writer(self._socket)

    def _write(self) -> None:
        """As much as is written at a time, of what the socket takes."""
        pieces = self._rest
        size = sum(map(len, pieces))
        while size < _STEP and len(pieces) < _MOST_PIECES and self._out:
            chunk = next(self._out[0], None)
            if chunk is None:
                self._out.popleft()
            else:
                pieces.append(memoryview(chunk))
                size += len(chunk)
        try:
            sent = self._socket.sendmsg(_within(pieces, size - _STEP))
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        self._rest = _without(pieces, sent) if sent < size else []

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_STEP)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        data = self._in + data
        whole = len(data) - len(data) % _ANSWER.size
        self._in = data[whole:]
        for number, flags, given, made in _ANSWER.iter_unpack(data[:whole]):
            done = self._waiting.pop(number)
            if flags & _FAILED:
                self.failed += 1
                done(None)
                continue
            self.counted += 1
            done(Result(_tokens(given, flags), _tokens(made, flags >> 2)))

    def _lose(self) -> None:
        """The other process is gone, which it should not be."""
        self.close()
        self._on_lost()

    def close(self) -> None:
        """Nothing is counted any more; whoever waits is told."""
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._out.clear()
        self._rest = []
        waiting, self._waiting = self._waiting, {}
        self.dropped += len(waiting)
        for done in waiting.values():
            done(None)


def _within(pieces: list[memoryview], over: int) -> list[memoryview]:
    """`pieces` without the last `over` bytes, which are of the last one."""
    return [*pieces[:-1], pieces[-1][: len(pieces[-1]) - over]] if over > 0 else pieces


def _without(pieces: list[memoryview], sent: int) -> list[memoryview]:
    """What is left of `pieces` after so many bytes."""
    for at, piece in enumerate(pieces):
        if sent < len(piece):
            return [piece[sent:], *pieces[at + 1 :]]
        sent -= len(piece)
    return []


def _frame(number: int, job: Job) -> Iterator[Chunk]:
    """A job as it is written. Its chunks, which can be thousands, are not looked at yet."""
    asked, replied = job.asked or (), job.replied or ()
    flags = (
        (_ASKED if job.asked is not None else 0)
        | (_REPLIED if job.replied is not None else 0)
        | (_EVENTS if job.events else 0)
    )
    model = job.model[: _LONGEST_NAME // 4].encode()
    head = _JOB.pack(number, flags, len(model), job.asked_size, job.replied_size)
    return chain((head + model,), asked, replied)


def _tokens(number: int, flags: int) -> TokenCount | None:
    return TokenCount(number, bool(flags & _EXACT)) if flags & _KNOWN else None
