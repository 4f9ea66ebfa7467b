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
    return _Tee(first, all_of(others), later).see if others else first


class _Tee:
    """Shows a chunk to one tap as it passes, and to another when it has left. One object and a
    method of it, where closures would take four times the memory of every live stream."""

    __slots__ = ("_first", "_later", "_rest")

    def __init__(self, first: Tap | None, rest: Tap, later: Later) -> None:
        self._first, self._rest, self._later = first, rest, later

    def see(self, chunk: Chunk) -> None:
        if self._first is not None:
            self._first(chunk)
        self._later(partial(self._rest, chunk))
