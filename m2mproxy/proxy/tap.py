"""What looks at a body as it passes: its usage, its model, the text of a reply.

The one rule: a tap sees every chunk once and in order, changes none, and holds none up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from m2mproxy.http.body import Chunk
from m2mproxy.proxy.offload import Later

Tap = Callable[[Chunk], None]


def all_of(taps: Sequence[Tap]) -> Tap:
    """One tap for several."""
    if len(taps) == 1:
        return taps[0]

    def see(chunk: Chunk) -> None:
        for tap in taps:
            tap(chunk)

    return see


def tap_of(first: Tap | None, others: Sequence[Tap], later: Later) -> Tap | None:
    """One tap for a download, None for none: `first` sees a chunk as it passes, the `others` when
    it has left, so that it waits for none of them."""
    taps = [first] if first is not None else []
    if others:
        rest = all_of(others)
        taps.append(lambda chunk: later(partial(rest, chunk)))
    return all_of(taps) if taps else None
