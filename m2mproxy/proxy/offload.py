"""Work that nobody should be held up by: what takes long, in a thread (Run), and what nobody waits
for, when the bytes of this turn have left (Later).

The one rule: a caller waits for a thread as for anything else, and may leave; what it no longer
waits for is not begun, or thrown away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from m2mproxy.http.flow import Signal

T = TypeVar("T")

# Above so many bytes a body is coded elsewhere: below, a thread costs more than it spares.
WORTH_A_THREAD = 64 * 1024
# One is busy with the interpreter's lock held less than half of the time; more would only queue.
_THREADS = 2


Later = Callable[[Callable[[], None]], None]
"""Does something when what is being written has left (`LoopTurn.later`)."""


class Run(Protocol):
    """Does `work` where it holds nobody up. `Offload.run`, or a test's."""

    def __call__(self, size: int, work: Callable[[], T], /) -> Awaitable[T]:
        """What `work` returns or raises, which takes about as long as coding `size` bytes."""


class Offload:
    """A few threads, begun when they are needed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._threads: ThreadPoolExecutor | None = None

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """What `work` returns or raises; here at once when it is about `size` bytes and few."""
        if size <= WORTH_A_THREAD:
            return work()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "m2mproxy-coding")
        done: Signal[T] = Signal()

        def finished(future: Future[T]) -> None:
            if future.cancelled() or self._loop.is_closed():
                return  # we are stopping, and nobody waits
            error = future.exception()
            if error is not None:
                self._loop.call_soon_threadsafe(done.fail, error)
            else:
                self._loop.call_soon_threadsafe(done.set, future.result())

        future = self._threads.submit(work)
        future.add_done_callback(finished)
        try:
            return await done
        finally:
            future.cancel()  # nobody waits any more: it need not begin, if it has not

    def close(self) -> None:
        """Wait for nothing that has not begun."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
