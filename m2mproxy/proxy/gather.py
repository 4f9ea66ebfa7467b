"""A whole request body in memory, for the few requests whose forwarding needs to read it.

The one rule: bounded, and the bytes that go on are the bytes that came.
"""

from __future__ import annotations

from m2mproxy.http.body import CHUNK_COST, Body, Chunk
from m2mproxy.http.faults import Fault
from m2mproxy.http.flow import Signal
from m2mproxy.proxy.held import Held
from m2mproxy.proxy.pump import too_large


async def gather(body: Body, limit: int, held: Held) -> bytes:
    """The bytes of all `chunks`, joined; see there."""
    return b"".join(await chunks(body, limit, held))


async def chunks(body: Body, limit: int, held: Held | None = None) -> list[Chunk]:
    """Wait for all of `body`. `held` is where its bytes are counted as they come, None where they
    are already.

    Raises:
        ClientFault: more than `limit` bytes (413).
        Busy: there is no room for them (503).
        Fault: what ended the body before its end.
    """
    taken: list[Chunk] = []
    size = 0
    done: Signal[None] = Signal()  # whoever waits is woken once, however many chunks there are

    def take() -> None:
        """Take what is here."""
        nonlocal size
        try:
            while (chunk := body.take()) is not None:
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                if held is not None:
                    held.read(len(chunk) + CHUNK_COST)
                taken.append(chunk)
        except Fault as fault:
            done.fail(fault)
        if body.fault is not None:
            done.fail(body.fault)
        elif body.ended:
            done.set(None)

    take()
    body.on_change = take
    try:
        await done
    finally:
        body.on_change = None
    return taken


def whole(data: bytes) -> Body:
    """A body that is all there."""
    return Body.complete([data] if data else [])


async def change(body: Body) -> None:
    """Wait for something to arrive, or for an end."""
    changed: Signal[None] = Signal()
    body.on_change = lambda: changed.set(None)
    await changed
    body.on_change = None
