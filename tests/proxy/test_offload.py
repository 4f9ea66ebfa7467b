"""Work in threads: small at once, large elsewhere, errors and all, and an end to it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from m2mproxy.http.flow import Flow
from m2mproxy.proxy.offload import WORTH_A_THREAD, Offload


def run(size: int, work: Any) -> tuple[Any, Any]:
    """What comes of `work`, as a Flow that waits for it sees it, and how it ended."""

    async def main() -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        offload, ended = Offload(loop), loop.create_future()
        seen: list[Any] = []

        async def flow() -> None:
            seen.append(await offload.run(size, work))

        Flow(flow(), ended.set_result).start()
        error = await ended
        offload.close()
        return (seen[0] if seen else None), error

    return asyncio.run(main())


@pytest.mark.parametrize("size,elsewhere", [(WORTH_A_THREAD, False), (WORTH_A_THREAD + 1, True)])
def test_large_work_is_done_elsewhere(size: int, elsewhere: bool) -> None:
    thread, error = run(size, threading.current_thread)
    assert error is None
    assert (thread is not threading.current_thread()) is elsewhere


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_what_it_raises_is_raised_where_it_is_waited_for(size: int) -> None:
    def work() -> None:
        raise ValueError("no")

    result, error = run(size, work)
    assert result is None
    assert isinstance(error, ValueError)


def test_who_leaves_does_not_keep_it_from_ending() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        offload, begun, go_on = Offload(loop), threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            go_on.wait(10)

        ended: list[Any] = []

        async def waits() -> None:
            await offload.run(1 << 20, work)

        flow = Flow(waits(), ended.append)
        flow.start()
        begun.wait(10)
        flow.throw(KeyError("left"))
        assert isinstance(ended[0], KeyError)
        go_on.set()
        offload.close()

    asyncio.run(main())


def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    """Or whoever sends much and leaves would keep the threads busy for everybody."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        offload, go_on = Offload(loop), threading.Event()
        done: list[str] = []

        def flow(name: str, work: Any) -> Flow:
            async def waits() -> None:
                await offload.run(1 << 20, work)
                done.append(name)

            return Flow(waits(), lambda _: None)

        first = [flow(f"first {number}", lambda: go_on.wait(10)) for number in range(2)]
        left = flow("left", lambda: begun.append("left"))
        last = flow("last", lambda: over.call_soon_threadsafe(ended.set_result, None))
        begun: list[str] = []
        over, ended = loop, loop.create_future()
        for each in (*first, left, last):
            each.start()
        left.throw(KeyError("left"))
        go_on.set()
        await ended
        offload.close()
        return begun

    assert asyncio.run(main()) == []
