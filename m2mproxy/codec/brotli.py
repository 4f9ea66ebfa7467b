"""brotli (RFC 7932): the content coding br, and the payload of M2M v1 frames and of the v3.0 text.

The one rule: what comes out is counted step by step, and the stream's end must be the body's.
"""

from __future__ import annotations

import brotli  # type: ignore[import-untyped]

from m2mproxy.codec.allowance import STEP, StepDecoder
from m2mproxy.codec.base import WireError, some

LEVELS = range(12)
DEFAULT_LEVEL = 5  # 11 saves a tenth more and takes a hundred times as long; the crate's own, too
_WINDOW_LOG = 22  # the crate's
# A stream's window. Each one open has its own, and its encoder keeps several times as much.
_STREAM_WINDOW_LOG = 17


def compress(body: bytes, level: int = DEFAULT_LEVEL) -> bytes:
    """`body` as one stream."""
    coded: bytes = brotli.compress(body, quality=level, lgwin=_WINDOW_LOG)
    return coded


def decompress(coded: bytes | memoryview, limit: int) -> bytes:
    """What one stream holds.

    Raises:
        TooLarge: more than `limit` bytes.
        WireError: it is not one whole brotli stream and nothing else.
    """
    decoder = BrotliDecoder(limit)
    return b"".join([*decoder.feed(coded), *decoder.finish()])


class BrotliEncoder:
    """A Transform: one stream, brought to a byte's end at each flush."""

    __slots__ = ("_compressor",)

    def __init__(self, level: int = DEFAULT_LEVEL) -> None:
        self._compressor = brotli.Compressor(quality=level, lgwin=_STREAM_WINDOW_LOG)

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        return some(self._compressor.process(chunk))

    def flush(self) -> list[bytes]:
        return some(self._compressor.flush())

    def finish(self) -> list[bytes]:
        return some(self._compressor.finish())


class BrotliDecoder(StepDecoder):
    """A Transform: one stream."""

    __slots__ = ("_decompressor",)

    def __init__(self, limit: int) -> None:
        """`limit` in bytes, of all that comes out."""
        super().__init__(limit)
        self._decompressor = brotli.Decompressor()

    def _step(self, data: bytes | memoryview) -> bytes:
        decompressor = self._decompressor
        try:
            piece: bytes = decompressor.process(data, output_buffer_limit=STEP)
        except brotli.error:
            raise WireError("the body is not brotli, or something follows it") from None
        self._allowance.take(len(piece))
        # A full piece may have left some more inside.
        is_done = decompressor.can_accept_more_data() and len(piece) < STEP
        self._rest = None if is_done else b""
        return piece

    def finish(self) -> list[bytes]:
        if not self._decompressor.is_finished():
            raise WireError("the brotli stream is cut short")
        return []
