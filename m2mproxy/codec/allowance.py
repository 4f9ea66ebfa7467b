"""The limit on what a decoder puts out: a few hundred coded bytes can hold gigabytes.

The one rule: every piece is counted as it comes, before the next one is made, and no size that a
sender declares is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from m2mproxy.codec.base import TooLarge, some

# Bytes that a decompressor may put out at a time; brotli's can go over by half.
STEP = 64 * 1024
# Bytes that a decompressor takes at a time. zlib and zstd hand back what they did not use as a
# copy, each time.
SLICE = 16 * 1024
# What each further gzip member or zstd frame counts as, since a thousand of nothing are not free.
MEMBER_COST = 1024


class Allowance:
    """Bytes that may still come out."""

    __slots__ = ("_limit", "_used")

    def __init__(self, limit: int) -> None:
        """`limit` in bytes."""
        self._limit = limit
        self._used = 0

    def take(self, size: int) -> None:
        """`size` bytes came out.

        Raises:
            TooLarge: those were too many.
        """
        self._used += size
        if self._used > self._limit:
            raise TooLarge(f"the body decodes to more than {self._limit} bytes")


class StepDecoder:
    """A Transform, but for its end: what makes much of a little, and of that a piece when it is
    asked for, so that whoever takes them can stop between two."""

    __slots__ = ("_allowance", "_rest")

    def __init__(self, limit: int) -> None:
        """`limit` in bytes, of all that comes out."""
        self._allowance = Allowance(limit)
        self._rest: bytes | None = None  # to go on with before more is fed

    def feed(self, chunk: bytes | memoryview) -> Iterable[bytes]:
        if not chunk:
            return []
        if len(chunk) > SLICE:
            view = memoryview(chunk)
            return self._pieces(self._step(view[:SLICE]), view[SLICE:])
        piece = self._step(chunk)
        if self._rest is not None:
            return self._pieces(piece, memoryview(b""))
        return some(piece)

    def _pieces(self, piece: bytes, view: memoryview) -> Iterator[bytes]:
        """`piece`, what is left of what it was made of, and what `view` makes."""
        while True:
            if piece:
                yield piece
            if self._rest is not None:
                piece = self._step(self._rest)
            elif view:
                piece, view = self._step(view[:SLICE]), view[SLICE:]
            else:
                return

    def _step(self, data: bytes | memoryview) -> bytes:
        """What `data` makes, STEP bytes or so of it; `_rest` is set to what is left, or None.

        Raises:
            WireError: it is damaged, or passes the limit.
        """
        raise NotImplementedError

    def flush(self) -> list[bytes]:
        return []
