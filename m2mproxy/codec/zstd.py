"""zstd (RFC 8878): as a content coding, and as bare frames between two that share a reference.

The one binding is the standard library's of Python 3.14, backports.zstd before. It is as fast as
python-zstandard where a compressor is used again (30 µs for 4 KiB at level 9 with a dictionary),
takes 9 µs more to decode a small frame, and alone has prefixes.

The one rule: a decoder's window is at most 8 MiB, and what it puts out is counted step by step.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from m2mproxy.codec.allowance import MEMBER_COST, STEP, StepDecoder
from m2mproxy.codec.base import WireError, some

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Dictionary = zstd.ZstdDict
# A dictionary, in the way in which a compressor or decompressor should use it.
Reference = zstd.ZstdDict | tuple[zstd.ZstdDict, int] | None

LEVELS = range(1, 20)  # above, the window is larger than what others must read
DEFAULT_LEVEL = 3
_MAGIC = b"\x28\xb5\x2f\xfd"
# RFC 9659: a content coding's window is at most 8 MiB.
_WINDOW_LOG = 23
MOST_WINDOW = 1 << _WINDOW_LOG
_WINDOW: Mapping[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
# A stream's window. Each one open has its own, and its encoder keeps three times as much.
_STREAM_WINDOW_LOG = 17
_MIN_PREFIX = 8  # the library takes no notice of shorter ones, and the binding refuses them
_LEAST_WINDOW_LOG, _MOST_WINDOW_LOG = 10, 27
_LEVELS_WINDOW_LOG = 21  # up to this size a level's own window is large enough
_parameter = zstd.CompressionParameter
_BLOCK: Final = zstd.ZstdCompressor.FLUSH_BLOCK
_END: Final = zstd.ZstdCompressor.FLUSH_FRAME

# Of a bare frame's header.
_NOTHING_SAID: Final[Mapping[int, int]] = {
    _parameter.content_size_flag: 0,
    _parameter.dict_id_flag: 0,
}
# For little after much: with a window of no more than 16 KiB the library searches chains, which are
# made in a third of the time of what it has for larger ones, and find more.
_LITTLE: Final[Mapping[int, int]] = {
    _parameter.compression_level: 9,
    _parameter.strategy: zstd.Strategy.lazy2,
    _parameter.window_log: 14,
    _parameter.hash_log: 14,
    _parameter.chain_log: 15,
    _parameter.search_log: 5,
    _parameter.min_match: 4,
}
_LEVEL_OF_MUCH = 6
MOST_READY = 1 << _LITTLE[_parameter.window_log]
# After a prefix, level 6 saves 6 % more of a request than 3, and a fifth more of a reply, and takes
# two to three times as long: up to so many bytes, which is about 100 µs. 1 fails with prefixes of
# 100 KiB and more: its table is too small for them.
_LEVEL_AFTER, _LEVEL_AFTER_OF_LARGE, _LARGE = 6, 3, 80 * 1024

# Up to this size the compressors of `pack` are shared: making one costs half of what it does then.
# A larger body would make others wait at its lock.
_SHARED_UP_TO = 8 * 1024


def compress(body: bytes, level: int = DEFAULT_LEVEL) -> bytes:
    """`body` as one complete frame that says how large the content is."""
    return zstd.ZstdCompressor(level=level).compress(body, _END)


class ZstdEncoder:
    """A Transform: one frame, in which each flush ends a block (RFC 8878 3.1.1.2)."""

    __slots__ = ("_compressor",)

    def __init__(self, level: int = DEFAULT_LEVEL, dictionary: Dictionary | None = None) -> None:
        """With a `dictionary` the frame has a checksum, and no dictionary id."""
        options: dict[int, int] = {
            _parameter.compression_level: level,
            _parameter.window_log: _STREAM_WINDOW_LOG,
        }
        if dictionary is not None:
            options[_parameter.checksum_flag] = 1
            options[_parameter.dict_id_flag] = 0
        self._compressor = zstd.ZstdCompressor(options=options, zstd_dict=dictionary)

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        return some(self._compressor.compress(chunk))

    def flush(self) -> list[bytes]:
        return some(self._compressor.flush(_BLOCK))

    def finish(self) -> list[bytes]:
        return some(self._compressor.flush(_END))


class ZstdDecoder(StepDecoder):
    """A Transform: frames, skippable ones among them, one after the other."""

    __slots__ = ("_any", "_dictionary", "_frame", "_options")

    def __init__(
        self, limit: int, dictionary: Dictionary | None = None, window: int = MOST_WINDOW
    ) -> None:
        """`limit` in bytes, of all that comes out; `dictionary` is what all frames were made
        with; `window` in bytes is the largest of any, rounded up to a power of two."""
        super().__init__(limit)
        self._dictionary = dictionary
        log = min(_window_log(window), _WINDOW_LOG)
        self._options: Mapping[int, int] = {zstd.DecompressionParameter.window_log_max: log}
        self._frame: zstd.ZstdDecompressor | None = None  # None between frames
        self._any = False

    def _step(self, data: bytes | memoryview) -> bytes:
        frame = self._frame or self._next()
        try:
            piece = frame.decompress(data, STEP)
        except zstd.ZstdError:
            raise WireError("the body is not zstd, or has too large a window") from None
        self._allowance.take(len(piece))
        if frame.eof:
            self._frame = None
            self._rest = frame.unused_data or None
        else:
            self._rest = None if frame.needs_input else b""
        return piece

    def _next(self) -> zstd.ZstdDecompressor:
        if self._any:
            self._allowance.take(MEMBER_COST)
        self._any = True
        self._frame = zstd.ZstdDecompressor(zstd_dict=self._dictionary, options=self._options)
        return self._frame

    def finish(self) -> list[bytes]:
        if self._frame is not None or not self._any:
            raise WireError("the zstd stream is cut short")
        return []


def window(head: bytes) -> int | None:
    """The bytes of the window of a frame that begins with `head` (RFC 8878 3.1.1.1); None where
    that does not say it."""
    if len(head) < 6 or not head.startswith(_MAGIC):
        return None
    descriptor = head[4]
    if not descriptor & 0x20:
        exponent, mantissa = head[5] >> 3, head[5] & 7
        base = 1 << (10 + exponent)
        return base + (base >> 3) * mantissa
    # A single segment: as large as the content, whose size follows the dictionary's id.
    start = 5 + (0, 1, 2, 4)[descriptor & 3]
    size = (1, 2, 4, 8)[descriptor >> 6]
    field = head[start : start + size]
    if len(field) < size:
        return None
    return int.from_bytes(field, "little") + (256 if size == 2 else 0)


def prefix(data: bytes) -> Reference:
    """`data`, any bytes, as what a frame continues (the library's refPrefix)."""
    return zstd.ZstdDict(data, is_raw=True).as_prefix if len(data) >= _MIN_PREFIX else None


def _window_log(size: int) -> int:
    """That of the smallest window that reaches over `size` bytes, within what the library has."""
    return min(max((size - 1).bit_length(), _LEAST_WINDOW_LOG), _MOST_WINDOW_LOG)


def pack(body: bytes, level: int, dictionary: Dictionary) -> bytes:
    """`body` as a bare frame against a trained dictionary: no magic number, no content size, no
    checksum, no dictionary id."""
    if len(body) > _SHARED_UP_TO:
        return _bare(_compressor(level, dictionary.as_digested_dict), body)
    return _bare(_shared_compressor(level, dictionary), body)


def pack_after(body: bytes, before: bytes, level: int | None = None) -> bytes:
    """`body` as a bare frame, as `pack`'s, that continues `before`, all of which it can reach.
    `level` is the one that so much is worth, unless another is given."""
    size = len(before) + len(body)
    if level is None:
        level = _LEVEL_AFTER if size <= _LARGE else _LEVEL_AFTER_OF_LARGE
    log = _window_log(size) if size > 1 << _LEVELS_WINDOW_LOG else 0
    return _bare(_compressor(level, prefix(before), log), body)


def once(dictionary: bytes) -> Reference:
    """A dictionary, tables and all, that is used a single time."""
    return zstd.ZstdDict(dictionary).as_undigested_dict


def pack_with(body: bytes, dictionary: bytes) -> bytes:
    """`body` as a bare frame, as `pack`'s, with a dictionary of some 32 KiB that is used `once`."""
    return _bare(_compressor_with(dictionary, len(body) <= MOST_READY), body)


def _compressor_with(dictionary: bytes, is_little: bool) -> zstd.ZstdCompressor:
    options: dict[int, int] = {**_NOTHING_SAID, _parameter.compression_level: _LEVEL_OF_MUCH}
    if is_little:
        options |= _LITTLE
    return zstd.ZstdCompressor(options=options, zstd_dict=once(dictionary))


class ReadyPacker:
    """`pack_with` for up to MOST_READY bytes, which has read its dictionary before. It takes some
    300 KiB of memory."""

    __slots__ = ("_compressor",)

    def __init__(self, dictionary: bytes) -> None:
        self._compressor = _compressor_with(dictionary, is_little=True)
        self._compressor.compress(b" ", _END)  # only now is it read

    def pack(self, body: bytes) -> bytes:
        """The frame."""
        return _bare(self._compressor, body)


class ReadyUnpacker:
    """`unpack_frame` of up to MOST_WINDOW bytes for a single frame, which has read its dictionary
    before. It takes some 130 KiB of memory."""

    __slots__ = ("_decompressor",)

    def __init__(self, dictionary: bytes) -> None:
        self._decompressor = zstd.ZstdDecompressor(zstd_dict=once(dictionary), options=_WINDOW)

    def unpack(self, frame: bytes, size: int) -> bytes:
        """What the frame holds; see `unpack_frame`."""
        return _unpack_one(frame, size, self._decompressor)


def _compressor(level: int, reference: Reference, window_log: int = 0) -> zstd.ZstdCompressor:
    """`window_log` is 0 for the level's own."""
    options: dict[int, int] = {**_NOTHING_SAID, _parameter.compression_level: level}
    if window_log:  # and the level's own table would forget how a long prefix began
        options[_parameter.window_log] = window_log
        options[_parameter.enable_long_distance_matching] = 1
    return zstd.ZstdCompressor(options=options, zstd_dict=reference)


@lru_cache(8)  # one a level and way, and a few for whoever compares dictionaries
def _shared_compressor(level: int, dictionary: Dictionary) -> zstd.ZstdCompressor:
    return _compressor(level, dictionary.as_digested_dict)


def _bare(compressor: zstd.ZstdCompressor, body: bytes) -> bytes:
    # The binding cannot leave out the magic number (ZSTD_c_format), which is the first four bytes.
    return compressor.compress(body, _END)[len(_MAGIC) :]


def unpack(frame: bytes | memoryview, size: int, reference: Reference) -> bytes:
    """The `size` bytes that a bare frame holds.

    Args:
        size: the declared one, which the caller has compared with its limit; memory grows with
            what comes out, not with what is declared.
        reference: what `pack` was given.

    Raises:
        WireError: it is no such frame, is cut short, goes on, or holds more or less.
    """
    decompressor = zstd.ZstdDecompressor(zstd_dict=reference, options=_WINDOW)
    decompressor.decompress(_MAGIC)
    return _unpack_one(frame, size, decompressor)


def unpack_frame(frame: bytes, size: int, reference: Reference) -> bytes:
    """The `size` bytes of a whole frame, with its magic number, of a single segment (blocks.py).

    Raises:
        WireError: as `unpack`.
    """
    options: Mapping[int, int] = {zstd.DecompressionParameter.window_log_max: _window_log(size)}
    decompressor = zstd.ZstdDecompressor(zstd_dict=reference, options=options)
    return _unpack_one(frame, size, decompressor)


def _unpack_one(
    frame: bytes | memoryview, size: int, decompressor: zstd.ZstdDecompressor
) -> bytes:
    try:
        body = decompressor.decompress(frame, size + 1)
    except zstd.ZstdError:
        raise WireError("the frame is not zstd, or made with another reference") from None
    if len(body) != size or not decompressor.eof:
        raise WireError("the frame does not hold as much as it says")
    if decompressor.unused_data:
        raise WireError("something follows the frame")
    return body
