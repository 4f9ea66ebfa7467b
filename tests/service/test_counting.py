"""The process that counts: both ends of the socket, without a socket, and once with a process."""

from __future__ import annotations

import io
import os
import select
import signal
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallies import WordCounter

from m2mproxy.service import counting
from m2mproxy.service.counting import MOST_JOBS, Counting
from m2mproxy.tokens.job import Job, Result, TokenCount

ASKED = b'{"messages":[{"content":"one two"}]}'
REPLIED = b'{"choices":[{"text":"three"}]}'


class End:
    """In place of the socket: takes `room` bytes at a time, and keeps them."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.sent = b""
        self.answers: list[bytes | OSError] = []
        self.error: OSError | None = None

    def sendmsg(self, pieces: list[memoryview]) -> int:
        if self.error is not None:
            raise self.error
        if not self.room:
            raise BlockingIOError
        data = b"".join(pieces)[: self.room]
        self.sent += data
        return len(data)

    def recv(self, size: int) -> bytes:
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


class Loop:
    """Keeps what waits for the socket."""

    def __init__(self) -> None:
        self.reader: Callable[[], None] | None = None
        self.writer: Callable[[], None] | None = None

    def add_reader(self, end: Any, callback: Callable[[], None]) -> None:
        self.reader = callback

    def add_writer(self, end: Any, callback: Callable[[], None]) -> None:
        self.writer = callback

    def remove_reader(self, end: Any) -> None:
        self.reader = None

    def remove_writer(self, end: Any) -> None:
        self.writer = None


class Setup:
    def __init__(self, room: int = 1 << 30) -> None:
        self.end, self.loop = End(room), Loop()
        self.lost = 0
        self.counting = Counting(self.loop, self.end, self._lose)  # type: ignore[arg-type]
        self.results: list[Result | None] = []

    def _lose(self) -> None:
        self.lost += 1

    def submit(self, job: Job) -> None:
        self.counting.submit(job, self.results.append)

    def write(self) -> int:
        """Let it write until it has nothing more. How often it wrote."""
        times = 0
        while self.loop.writer is not None:
            self.loop.writer()
            times += 1
        return times

    def answer(self, cut: int = 1 << 30) -> None:
        """What the other process makes of what was written, read in pieces."""
        out = io.BytesIO()
        counting.serve(io.BytesIO(self.end.sent), out.write, WordCounter())
        self.end.sent = b""
        data = out.getvalue()
        for at in range(0, len(data), cut):
            self.end.answers.append(data[at : at + cut])
            assert self.loop.reader is not None
            self.loop.reader()


JOBS = [
    (
        Job.of("exact", [ASKED], [REPLIED], False),
        Result(TokenCount(102, True), TokenCount(1, True)),
    ),
    (Job.of("m", [ASKED[:9], memoryview(ASKED)[9:]], None, False), Result(TokenCount(102, False))),
    (Job.of("m", None, [REPLIED], False), Result(None, TokenCount(1, False))),
    (Job.of("m", None, [b"data: ", REPLIED, b"\n\n"], True), Result(None, TokenCount(1, False))),
    (Job.of("m", None, [], True), Result(None, TokenCount(0, False))),
    (Job.of("", [b"no json"], None, False), Result(None, None)),
    (Job.of("日本" * 200, [ASKED], None, False), Result(TokenCount(102, False), None)),
]


@pytest.mark.parametrize(("job", "result"), JOBS)
def test_a_job(job: Job, result: Result) -> None:
    setup = Setup()
    setup.submit(job)
    assert (setup.results, setup.counting.waiting) == ([], 1)
    assert setup.loop.writer is None  # it has been written
    setup.answer()
    assert setup.results == [result]
    assert (setup.counting.counted, setup.counting.waiting, setup.counting.dropped) == (1, 0, 0)


@given(st.lists(st.sampled_from(JOBS), max_size=8), st.integers(1, 300), st.integers(1, 50))
def test_any_jobs_cut_anywhere(jobs: list[Any], room: int, cut: int) -> None:
    setup = Setup(room)
    for job, _ in jobs:
        setup.submit(job)
    setup.write()
    setup.answer(cut)
    assert setup.results == [result for _, result in jobs]


def test_a_full_socket_is_waited_for() -> None:
    setup = Setup(room=0)
    setup.submit(JOBS[0][0])
    assert setup.loop.writer is not None
    setup.loop.writer()
    assert setup.loop.writer is not None
    setup.submit(JOBS[1][0])
    setup.end.room = 1 << 30
    setup.write()
    setup.answer()
    assert setup.results == [JOBS[0][1], JOBS[1][1]]


def test_little_is_written_at_a_time() -> None:
    setup = Setup()
    setup.submit(Job.of("m", [b"x" * 1000] * 1000, None, False))
    assert setup.write() > 10
    setup.submit(Job.of("m", [b"x"] * 2560, None, False))
    assert setup.write() > 10
    setup.submit(Job.of("m", [b"x" * 1_000_000], None, False))  # one chunk
    assert setup.write() > 10


def test_too_many_jobs_are_dropped_at_once() -> None:
    setup = Setup()
    for _ in range(MOST_JOBS + 2):
        setup.submit(JOBS[0][0])
    assert setup.results == [None, None]
    assert (setup.counting.waiting, setup.counting.dropped) == (MOST_JOBS, 2)
    setup.write()
    setup.answer()
    assert len(setup.results) == MOST_JOBS + 2
    setup.submit(JOBS[0][0])
    assert setup.counting.waiting == 1


@pytest.mark.parametrize("end", [b"", ConnectionResetError()])
def test_a_process_that_ended_is_told_once_and_nobody_waits(end: bytes | OSError) -> None:
    setup = Setup()
    setup.submit(JOBS[0][0])
    setup.end.answers.append(end)
    assert setup.loop.reader is not None
    setup.loop.reader()
    assert (setup.lost, setup.results, setup.counting.dropped) == (1, [None], 1)
    assert (setup.loop.reader, setup.loop.writer) == (None, None)
    setup.submit(JOBS[0][0])
    assert (setup.lost, setup.results, setup.counting.dropped) == (1, [None, None], 2)
    assert setup.loop.writer is None


@pytest.mark.parametrize("room", [1 << 30, 0], ids=["at once", "later"])
def test_so_is_one_that_takes_nothing_any_more(room: int) -> None:
    setup = Setup(room)
    if not room:
        setup.submit(JOBS[0][0])
    setup.end.error = BrokenPipeError()
    setup.submit(JOBS[0][0])
    setup.write()
    assert (setup.lost, set(setup.results), setup.loop.writer) == (1, {None}, None)
    assert setup.counting.waiting == 0


def test_at_the_end_whoever_waits_is_told() -> None:
    setup = Setup()
    setup.submit(JOBS[0][0])
    setup.counting.close()
    assert (setup.lost, setup.results) == (0, [None])
    setup.counting.close()
    assert (setup.loop.reader, setup.loop.writer) == (None, None)


class Broken(WordCounter):
    """Has a bug with one model."""

    def request(self, body: Any, model: str) -> Any:
        if model == "bug":
            raise RuntimeError
        return super().request(body, model)


def test_a_bug_of_the_counter_is_that_jobs_alone_and_shows() -> None:
    setup = Setup()
    for model in ("m", "bug", "m"):
        setup.submit(Job.of(model, [ASKED], None, False))
    setup.write()
    out = io.BytesIO()
    counting.serve(io.BytesIO(setup.end.sent), out.write, Broken())
    setup.end.answers.append(out.getvalue())
    assert setup.loop.reader is not None
    setup.loop.reader()
    counted = Result(TokenCount(102, False), None)
    assert setup.results == [counted, None, counted]
    assert (setup.counting.counted, setup.counting.failed, setup.counting.waiting) == (2, 1, 0)


def test_what_is_cut_off_is_no_job() -> None:
    setup = Setup()
    setup.submit(JOBS[0][0])
    setup.write()
    out = io.BytesIO()
    counting.serve(io.BytesIO(setup.end.sent[:10]), out.write, WordCounter())
    assert out.getvalue() == b""


def test_a_process() -> None:
    """The real one: it counts, and is gone when it is ended."""
    helper = counting.start(WordCounter())
    setup = Setup()
    setup.counting = Counting(setup.loop, helper.socket, setup._lose)  # type: ignore[arg-type]
    try:
        words = [b'{"messages":[{"content":"', b"one " * 100_000, b'"}]}']
        big = Job.of("exact", words, None, False)
        setup.submit(big)
        setup.submit(JOBS[0][0])
        while len(setup.results) < 2:
            wanted = [helper.socket] if setup.loop.writer is not None else []
            readable, writable, _ = select.select([helper.socket], wanted, [], 20)
            assert readable or writable
            if writable and setup.loop.writer is not None:
                setup.loop.writer()
            if readable and setup.loop.reader is not None:
                setup.loop.reader()
        assert setup.results == [Result(TokenCount(100_100, True), None), JOBS[0][1]]
        assert os.getpriority(os.PRIO_PROCESS, helper.pid) == 19
    finally:
        helper.end()
    with pytest.raises(ProcessLookupError):
        os.kill(helper.pid, 0)


class Stuck(WordCounter):
    """Has jobs that do not end."""

    def request(self, body: Any, model: str) -> Any:
        signal.pause()


def test_a_process_ends_in_the_middle_of_a_job() -> None:
    helper = counting.start(Stuck())
    setup = Setup()
    setup.counting = Counting(setup.loop, helper.socket, setup._lose)  # type: ignore[arg-type]
    setup.submit(JOBS[0][0])
    helper.end()
    with pytest.raises(ProcessLookupError):
        os.kill(helper.pid, 0)


def test_a_process_ends_when_its_socket_does() -> None:
    helper = counting.start(WordCounter())
    helper.socket.close()
    assert os.waitpid(helper.pid, 0) == (helper.pid, 0)


def test_a_process_that_takes_nothing_holds_nobody_up() -> None:
    helper = counting.start(Stuck())
    setup = Setup()
    setup.counting = Counting(setup.loop, helper.socket, setup._lose)  # type: ignore[arg-type]
    for _ in range(100):
        setup.submit(Job.of("m", [b"x" * 100_000], None, False))
    assert setup.loop.writer is not None
    assert setup.counting.waiting == 100
    helper.end()
