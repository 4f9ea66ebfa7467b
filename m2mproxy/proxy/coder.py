"""A body that changes its coding as it passes: decoded, looked at, coded again.

The one rule: what is fed comes out whole and in order or not at all, and whatever can be read so
far leaves with the next flush; nothing waits here for more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from m2mproxy.codec.base import Transform
from m2mproxy.http.body import Chunk
from m2mproxy.proxy.ledger import Direction
from m2mproxy.proxy.tap import Tap

# Coded bytes that are decoded at a time. A hostile sender makes megabytes of a few hundred bytes,
# and between two slices the receiver's room is looked at.
SLICE = 512
# Coded bytes that do not wait for the flush.
_ENOUGH = 16 * 1024


class Coder:
    """What stands between two streams. Either half may be missing."""

    __slots__ = (
        "_decoder",
        "_encoder",
        "_fed",
        "_held",
        "_held_size",
        "_into",
        "_out_of",
        "filler",
        "may_be_empty",
        "tap",
    )

    def __init__(
        self,
        decoder: Transform | None,
        encoder: Transform | None,
        out_of: Direction,
        into: Direction,
    ) -> None:
        """`out_of` and `into` are told what came and what left."""
        self._decoder = decoder
        self._encoder = encoder
        self._out_of = out_of
        self._into = into
        self._held: list[bytes] = []  # coded, and not yet handed on
        self._held_size = 0
        self._fed = False  # anything since the last flush, which costs bytes
        self.filler = b""
        """See `Stream`."""
        self.may_be_empty = False
        """Whether not a byte is decoded to none: most clients do that, decoders do not."""
        self.tap: Tap | None = None
        """Sees the plain bytes."""

    @property
    def decodes(self) -> bool:
        """Whether what is fed should come in slices."""
        return self._decoder is not None

    def feed(self, chunk: Chunk) -> Iterable[Chunk]:
        """What can leave now that `chunk` came. To be taken to its end before the next call; what
        holds much is decoded as it is taken.

        Raises:
            WireError: it cannot be decoded.
        """
        if self._decoder is None:
            return self._encode([chunk], len(chunk))
        plain = self._decoder.feed(chunk)
        if isinstance(plain, list):
            return self._encode(plain, len(chunk))
        self._out_of.add(len(chunk), 0)
        return self._encode_each(plain)

    def _encode_each(self, plain: Iterable[bytes]) -> Iterator[Chunk]:
        for piece in plain:
            yield from self._encode([piece], 0)

    def _encode(self, plain: Sequence[Chunk], came: int) -> list[Chunk]:
        size = sum(map(len, plain))
        self._out_of.add(came, size)
        if self.tap is not None:
            for chunk in plain:
                self.tap(chunk)
        if self._encoder is None:
            self._into.add(size, size)
            return list(plain)
        self._into.plain += size
        self._fed = self._fed or size > 0
        for chunk in plain:
            self._hold(self._encoder.feed(chunk))
        return self._take() if self._held_size >= _ENOUGH else []

    def flush(self) -> list[Chunk]:
        """What makes everything fed so far readable, in one piece."""
        if self._encoder is None or not self._fed:
            return []
        self._fed = False
        self._hold(self._encoder.flush())
        return self._take()

    def finish(self) -> list[Chunk]:
        """What is left at the end.

        Raises:
            WireError: the end came too early.
        """
        is_empty = self.may_be_empty and not self._out_of.wire
        last = list(self._decoder.finish()) if self._decoder is not None and not is_empty else []
        rest = self._encode(list(last), 0)
        if self._encoder is not None:
            self._hold(self._encoder.finish())
            rest += self._take()
        return rest

    def inject(self, data: bytes) -> list[Chunk]:
        """Plain bytes of our own, readable at once."""
        if self._encoder is None:
            return [data]
        self._hold(self._encoder.feed(data))
        self._hold(self._encoder.flush())
        return self._take()

    def _hold(self, pieces: Iterable[bytes]) -> None:
        """Until the flush that always follows: an event is one chunk, coded or not."""
        for piece in pieces:
            self._held.append(piece)
            self._held_size += len(piece)

    def _take(self) -> list[Chunk]:
        held, self._held = self._held, []
        self._into.wire += self._held_size
        self._held_size = 0
        return [b"".join(held)] if held else []
