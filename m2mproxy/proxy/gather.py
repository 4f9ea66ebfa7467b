"""A whole request body in memory, for the few requests whose forwarding needs to read it.

The one rule: bounded, and the bytes that go on are the bytes that came.
"""

from __future__ import annotations

from m2mproxy.http.body import CHUNK_COST, Body, Chunk
from m2mproxy.http.flow import Signal
from m2mproxy.proxy.held import Held
from m2mproxy.proxy.pump import too_large


async def gather(body: Body, limit: int, held: Held | None = None) -> tuple[bytes, Body]:
    """Wait for all of `body`. Returns its bytes joined, and a Body that holds the same chunks.
    `held` is where they are counted as they come, None where they are already.

    Raises:
        ClientFault: more than `limit` bytes (413).
        Busy: there is no room for them (503).
        Fault: what ended the body before its end.
    """
    chunks: list[Chunk] = []
    size = 0
    while True:
        while (chunk := body.take()) is not None:
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            if held is not None:
                held.read(len(chunk) + CHUNK_COST)
            chunks.append(chunk)
        if body.ended:
            break
        if body.fault is not None:
            raise body.fault
        await change(body)
    whole = Body(credit=lambda: None)  # its sender has had its credit
    for chunk in chunks:
        whole.feed(chunk)
    whole.end(body.trailers)
    return b"".join(chunks), whole


async def change(body: Body) -> None:
    """Wait for something to arrive, or for an end."""
    changed: Signal[None] = Signal()
    body.on_change = lambda: changed.set(None)
    await changed
    body.on_change = None
