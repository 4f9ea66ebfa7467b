"""A body that changes its coding as it passes: decoded, looked at, coded again.

The one rule: what is fed comes out whole and in order or not at all, and whatever can be read so
far leaves with the next flush; nothing waits here for more.
"""

from __future__ import annotations

from collections.abc import Callable

from m2mproxy.codec.base import Transform
from m2mproxy.http.body import Chunk
from m2mproxy.proxy.ledger import Way

# Coded bytes that are decoded at a time. A hostile sender makes megabytes of a few hundred bytes,
# and between two slices the receiver's room is looked at.
SLICE = 512


class Coder:
    """What stands between two streams. Either half may be missing."""

    __slots__ = ("_decoder", "_encoder", "_into", "_out_of", "carries_events", "tap")

    def __init__(
        self,
        decoder: Transform | None,
        encoder: Transform | None,
        out_of: Way,
        into: Way,
    ) -> None:
        """`out_of` and `into` are told what came and what left."""
        self._decoder = decoder
        self._encoder = encoder
        self._out_of = out_of
        self._into = into
        self.carries_events = False
        """Whether the plain bytes are events."""
        self.tap: Callable[[Chunk], None] | None = None
        """Sees the plain bytes."""

    @property
    def decodes(self) -> bool:
        """Whether what is fed should come in slices."""
        return self._decoder is not None

    def feed(self, chunk: Chunk) -> list[Chunk]:
        """What can leave now that `chunk` came.

        Raises:
            WireError: it cannot be decoded.
        """
        if self._decoder is None:
            return self._encode([chunk], len(chunk))
        return self._encode(list(self._decoder.feed(chunk)), len(chunk))

    def _encode(self, plain: list[Chunk], came: int) -> list[Chunk]:
        size = sum(map(len, plain))
        self._out_of.add(came, size)
        if self.tap is not None:
            for chunk in plain:
                self.tap(chunk)
        if self._encoder is None:
            self._into.add(size, size)
            return plain
        coded: list[Chunk] = []
        for chunk in plain:
            coded += self._encoder.feed(chunk)
        self._into.add(sum(map(len, coded)), size)
        return coded

    def flush(self) -> list[Chunk]:
        """What makes everything fed so far readable."""
        return self._left(self._encoder.flush()) if self._encoder is not None else []

    def finish(self) -> list[Chunk]:
        """What is left at the end.

        Raises:
            WireError: the end came too early.
        """
        last = list(self._decoder.finish()) if self._decoder is not None else []
        rest = self._encode(list(last), 0)
        if self._encoder is not None:
            rest += self._left(self._encoder.finish())
        return rest

    def inject(self, data: bytes) -> list[Chunk]:
        """Plain bytes of our own, readable at once."""
        if self._encoder is None:
            return [data]
        return self._left([*self._encoder.feed(data), *self._encoder.flush()])

    def _left(self, pieces: list[bytes]) -> list[Chunk]:
        self._into.add(sum(map(len, pieces)), 0)
        return list(pieces)
