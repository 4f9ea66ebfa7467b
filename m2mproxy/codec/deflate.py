"""gzip (RFC 1952) and deflate (RFC 1950, RFC 9110 8.4.1.2) as content codings.

The one rule: what comes out is counted step by step, and the end that a stream has must be the end
of the body, but for another gzip member.
"""

from __future__ import annotations

import zlib

from m2mproxy.codec.allowance import MEMBER_COST, STEP, StepDecoder
from m2mproxy.codec.base import WireError, some

LEVELS = range(1, 10)
DEFAULT_LEVEL = 6
_MEMORY = 8  # zlib's own default: 256 KiB to encode a stream
_GOES_ON = "something follows the compressed stream"
GZIP, ZLIB, RAW = 31, 15, -15  # zlib's wbits: which wrapping, and a window of 32 KiB


def compress(body: bytes, wbits: int, level: int = DEFAULT_LEVEL) -> bytes:
    """`body` as one stream, in the wrapping `wbits`."""
    return zlib.compress(body, level, wbits)


class DeflateEncoder:
    """A Transform: one stream, brought to a byte's end at each flush (Z_SYNC_FLUSH)."""

    __slots__ = ("_compressor",)

    def __init__(self, wbits: int, level: int = DEFAULT_LEVEL) -> None:
        self._compressor = zlib.compressobj(level, zlib.DEFLATED, wbits, _MEMORY)

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        return some(self._compressor.compress(chunk))

    def flush(self) -> list[bytes]:
        return some(self._compressor.flush(zlib.Z_SYNC_FLUSH))

    def finish(self) -> list[bytes]:
        return some(self._compressor.flush(zlib.Z_FINISH))


class _Inflater(StepDecoder):
    """What gzip and deflate have in common: one zlib decompressor at a time."""

    __slots__ = ("_stream",)

    def __init__(self, limit: int) -> None:
        """`limit` in bytes, of all that comes out."""
        super().__init__(limit)
        self._stream: zlib._Decompress | None = None

    def _inflated(self, stream: zlib._Decompress, data: bytes | memoryview) -> bytes:
        try:
            piece = stream.decompress(data, STEP)
        except zlib.error:
            raise WireError("the body is not what its content-encoding says") from None
        self._allowance.take(len(piece))
        left = stream.unused_data if stream.eof else stream.unconsumed_tail
        # A full piece may have left some more inside.
        is_done = stream.eof or len(piece) < STEP
        self._rest = left or (None if is_done else b"")
        return piece

    def finish(self) -> list[bytes]:
        if self._stream is None or not self._stream.eof:
            raise WireError("the compressed stream is cut short")
        return []


class GzipDecoder(_Inflater):
    """A Transform: members one after the other (RFC 1952 2.2)."""

    __slots__ = ()

    def _step(self, data: bytes | memoryview) -> bytes:
        stream = self._stream
        if stream is None or stream.eof:
            if stream is not None:
                self._allowance.take(MEMBER_COST)
            stream = self._stream = zlib.decompressobj(GZIP)
        return self._inflated(stream, data)


class DeflateDecoder(_Inflater):
    """A Transform: one zlib stream, or one without its wrapping, as some servers send it and
    browsers read it (RFC 9110 8.4.1.2)."""

    __slots__ = ("_first",)

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._first = b""

    def _step(self, data: bytes | memoryview) -> bytes:
        stream = self._stream
        if stream is None:
            data = self._first + bytes(data)
            if len(data) < 2:
                self._first = data
                return b""
            stream = self._stream = zlib.decompressobj(ZLIB if _is_zlib(data) else RAW)
        elif stream.eof:
            raise WireError(_GOES_ON)
        piece = self._inflated(stream, data)
        if stream.eof and self._rest:
            raise WireError(_GOES_ON)
        return piece


def _is_zlib(head: bytes) -> bool:
    """RFC 1950 2.2: the method is deflate, and the two bytes are a multiple of 31."""
    return head[0] & 0x0F == zlib.DEFLATED and (head[0] << 8 | head[1]) % 31 == 0
