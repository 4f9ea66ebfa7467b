"""Bodies that are waited for as a whole."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, cast

import pytest

from m2mproxy.http.body import Body
from m2mproxy.http.faults import ClientFault, ClientGone, Fault
from m2mproxy.http.flow import Flow, Signal
from m2mproxy.proxy.gather import chunks, gather
from m2mproxy.proxy.held import Held, Holds


class Counted:
    """A coroutine, and how often it was run."""

    def __init__(self, coroutine: Coroutine[Signal[Any], None, None]) -> None:
        self.runs = 0
        self.throw = coroutine.throw
        self._coroutine = coroutine

    def send(self, value: None) -> Signal[Any]:
        self.runs += 1
        return self._coroutine.send(value)


class Waiter:
    """Waits for a body in a Flow."""

    def __init__(self, body: Body, limit: int = 100) -> None:
        self.got: bytes | None = None
        self.fault: BaseException | None = None
        self._body, self._limit = body, limit
        self._counted = Counted(self._run())
        Flow(cast(Any, self._counted), self._ended).start()

    @property
    def runs(self) -> int:
        return self._counted.runs

    async def _run(self) -> None:
        self.got = await gather(self._body, self._limit, Held(Holds()))

    def _ended(self, error: BaseException | None) -> None:
        self.fault = error


def test_whoever_waits_for_a_body_is_woken_once_however_many_chunks_it_has() -> None:
    credited: list[int] = []
    body = Body(credit=lambda: credited.append(body.held))
    body.throttled = True
    body.feed(b"a")
    waiter = Waiter(body)
    for chunk in (b"b", b"c", b"d"):
        body.feed(chunk)
        assert body.held == 0  # its sender may go on
    assert waiter.runs == 1 and waiter.got is None
    body.end()
    assert waiter.got == b"abcd"
    assert waiter.runs == 2
    assert len(credited) == 4
    assert body.on_change is None


def test_a_body_that_grows_too_large_ends_the_wait_with_the_chunk_that_is_too_much() -> None:
    body = Body(credit=lambda: None)
    waiter = Waiter(body, limit=3)
    body.feed(b"ab")
    assert waiter.fault is None
    body.feed(b"cd")
    assert isinstance(waiter.fault, ClientFault) and waiter.fault.status == 413
    assert body.on_change is None
    body.feed(b"e")  # it may come all the same


def test_what_ends_a_body_before_its_end_ends_the_wait() -> None:
    body = Body(credit=lambda: None)
    waiter = Waiter(body)
    body.feed(b"ab")
    body.fail(ClientGone())
    assert isinstance(waiter.fault, ClientGone)
    assert body.on_change is None


def test_chunks_that_were_taken_come_again_with_their_trailers() -> None:
    body = Body(credit=lambda: None)
    body.feed(b"ab")
    body.feed(b"c")
    body.end()
    taken: list[list[bytes | memoryview]] = []
    faults: list[BaseException | None] = []

    async def run() -> None:
        taken.append(await chunks(body, 3))

    Flow(run(), faults.append).start()
    assert faults == [None]
    second = Body.complete(list(taken[0]))
    assert [second.take(), second.take(), second.take()] == [b"ab", b"c", None]
    assert second.ended


@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_body_that_is_here_is_not_waited_for(size: int) -> None:
    body = Body(credit=lambda: None)
    for _ in range(size):
        body.feed(b"x")
    body.end()
    waiter = Waiter(body)
    assert waiter.runs == 1 and waiter.got == b"x" * size


def test_a_fault_that_was_there_before_is_raised_at_once() -> None:
    body = Body(credit=lambda: None)
    body.fail(ClientGone())
    assert isinstance(Waiter(body).fault, Fault)
