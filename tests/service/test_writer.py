"""The log's descriptor, of every kind: never waited for, never grows, nothing lost that fits."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import pty
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from m2mproxy.service import writer as module
from m2mproxy.service.writer import LineWriter

LINE = b"x" * 99 + b"\n"
KEPT = 256 * 1024


class Ends:
    """A descriptor to write to, and how to read what was written."""

    def __init__(self, reader: int, out: int, *close: Callable[[], None]) -> None:
        self.reader = reader
        self.out = out
        self.close = close or (lambda: os.close(reader), lambda: os.close(out))
        os.set_blocking(reader, False)

    def read(self) -> bytes:
        data = b""
        try:
            while piece := os.read(self.reader, 65536):
                data += piece
        except BlockingIOError:
            pass
        return data.replace(b"\r\n", b"\n")  # a terminal's line ends


def a_pipe() -> Ends:
    return Ends(*os.pipe())


def a_terminal() -> Ends:
    return Ends(*pty.openpty())


def a_socket() -> Ends:
    reader, out = socket.socketpair()
    return Ends(reader.fileno(), out.fileno(), reader.close, out.close)


KINDS = {"pipe": a_pipe, "terminal": a_terminal, "socket": a_socket}


@pytest.fixture(params=[*KINDS, "asked first"])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    if request.param == "asked first":  # somebody else's pipe, which cannot be opened again
        monkeypatch.setattr(module.os, "open", refuse)
    made = KINDS.get(request.param, a_pipe)()
    yield made
    for close in made.close:
        close()


def refuse(*_: object) -> int:
    raise PermissionError(errno.EACCES, "no")


def run(test: Callable[[asyncio.AbstractEventLoop], Any]) -> None:
    """Run `test` in a loop, with an end in any case."""

    async def within() -> None:
        async with asyncio.timeout(10):
            await test(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(within())


def test_lines_arrive_whole_and_in_order(ends: Ends) -> None:
    lines = [b"%d\n" % number for number in range(100)]

    async def test(loop: asyncio.AbstractEventLoop) -> None:
        writer = LineWriter(loop, ends.out)
        for line in lines:
            writer.write(line)
        writer.flush()
        assert ends.read() == b"".join(lines)
        writer.close()

    run(test)


def test_a_line_is_written_soon(ends: Ends) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        writer = LineWriter(loop, ends.out)
        writer.write(LINE)
        assert ends.read() == b""
        arrived = asyncio.Event()
        loop.add_reader(ends.reader, arrived.set)
        await arrived.wait()
        loop.remove_reader(ends.reader)
        assert ends.read() == LINE
        writer.close()

    run(test)


def test_many_lines_do_not_wait_for_the_moment_to_be_over(ends: Ends) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        writer = LineWriter(loop, ends.out)
        for _ in range(400):
            writer.write(LINE)
        assert ends.read()
        writer.close()

    run(test)


def test_when_nobody_reads_what_fits_is_kept_and_the_rest_counted(ends: Ends) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        writer = LineWriter(loop, ends.out)
        written = 0
        while not writer.dropped:
            writer.write(b"%099d\n" % written)
            written += 1
            await asyncio.sleep(0)
        written -= 1
        assert written * 100 >= KEPT - 100
        received = b""
        while received.count(b"\n") < written:  # the reader is back: all of them come
            received += ends.read()
            await asyncio.sleep(0)
        assert received == b"".join(b"%099d\n" % number for number in range(written))
        writer.write(LINE)
        writer.flush()
        assert ends.read() == LINE
        assert writer.dropped == 1
        writer.close()

    run(test)


def test_those_who_share_the_descriptor_find_it_as_it_was(ends: Ends) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        before = fcntl.fcntl(ends.out, fcntl.F_GETFL)
        writer = LineWriter(loop, ends.out)
        writer.write(LINE)
        writer.close()
        assert fcntl.fcntl(ends.out, fcntl.F_GETFL) == before
        assert not before & os.O_NONBLOCK

    run(test)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_when_the_reader_is_gone_lines_are_counted(kind: str) -> None:
    ends = KINDS[kind]()
    ends.close[0]()

    async def test(loop: asyncio.AbstractEventLoop) -> None:
        writer = LineWriter(loop, ends.out)
        for number in (1, 2):
            writer.write(LINE + LINE)
            writer.flush()
            assert writer.dropped == 2 * number
        writer.close()

    run(test)
    ends.close[1]()


def test_the_end_waits_for_a_reader_that_lags(ends: Ends) -> None:
    received = []

    async def test(loop: asyncio.AbstractEventLoop) -> None:
        writer = LineWriter(loop, ends.out)
        for _ in range(2000):
            writer.write(LINE)
        reader = threading.Thread(target=lambda: received.append(read_lines(ends, 2000)))
        reader.start()
        writer.close()
        reader.join()
        assert writer.dropped == 0

    run(test)
    assert received == [LINE * 2000]


def read_lines(ends: Ends, count: int) -> bytes:
    data = b""
    while data.count(b"\n") < count:
        data += ends.read()
    return data


def test_the_end_does_not_wait_for_long(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LAST_WAIT", 0.05)

    async def test(loop: asyncio.AbstractEventLoop) -> None:
        writer = LineWriter(loop, ends.out)
        for _ in range(2600):
            writer.write(LINE)
        begun = loop.time()
        writer.close()
        assert loop.time() - begun < 1
        lost = writer.dropped
        assert ends.read().count(b"\n") == 2600 - lost
        assert lost

    run(test)


def test_a_file_takes_everything(tmp_path: Path) -> None:
    path = tmp_path / "log"

    async def test(loop: asyncio.AbstractEventLoop) -> None:
        with path.open("ab") as file:
            writer = LineWriter(loop, file.fileno())
            for _ in range(20_000):  # more than is kept, without a turn of the loop
                writer.write(LINE)
            writer.close()
            assert writer.dropped == 0

    run(test)
    assert path.read_bytes() == LINE * 20_000


def test_a_full_disk_is_survived() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        writer = LineWriter(loop, full)
        for number in (1, 2):
            writer.write(LINE)
            writer.flush()
            assert writer.dropped == number
        writer.close()

    full = os.open("/dev/full", os.O_WRONLY)
    run(test)
    os.close(full)
