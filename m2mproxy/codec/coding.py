"""The standard content codings, by the names that header fields have for them (RFC 9110 8.4.1).

The one rule: a decoder puts out no more than its limit and accepts nothing that is cut short or
goes on; an encoder's flush makes everything that was fed readable, and what it makes any HTTP
client reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from m2mproxy.codec import brotli, deflate, zstd
from m2mproxy.codec.base import Transform

ZSTD, BR, GZIP, DEFLATE = b"zstd", b"br", b"gzip", b"deflate"


@dataclass(frozen=True, slots=True)
class _Coding:
    """What one coding is made of."""

    levels: range
    default_level: int
    compress: Callable[[bytes, int], bytes]
    encoder: Callable[[int], Transform]
    decoder: Callable[[int], Transform]

    def level(self, wanted: int | None) -> int:
        """The nearest level that there is."""
        if wanted is None:
            return self.default_level
        return max(self.levels[0], min(wanted, self.levels[-1]))


def _deflate(wbits: int, decoder: Callable[[int], Transform]) -> _Coding:
    return _Coding(
        deflate.LEVELS,
        deflate.DEFAULT_LEVEL,
        lambda body, level: deflate.compress(body, wbits, level),
        partial(deflate.DeflateEncoder, wbits),
        decoder,
    )


# Best first, for whoever takes several.
_CODINGS: Mapping[bytes, _Coding] = {
    ZSTD: _Coding(
        zstd.LEVELS, zstd.DEFAULT_LEVEL, zstd.compress, zstd.ZstdEncoder, zstd.ZstdDecoder
    ),
    BR: _Coding(
        brotli.LEVELS,
        brotli.DEFAULT_LEVEL,
        brotli.compress,
        brotli.BrotliEncoder,
        brotli.BrotliDecoder,
    ),
    GZIP: _deflate(deflate.GZIP, deflate.GzipDecoder),
    DEFLATE: _deflate(deflate.ZLIB, deflate.DeflateDecoder),
}
STANDARD = tuple(_CODINGS)
# RFC 9110 8.4.1.3: a recipient takes x-gzip for gzip.
_ALIASES = {b"x-gzip": GZIP}


def _find(coding: bytes) -> _Coding:
    return _CODINGS[_ALIASES.get(coding, coding)]


def is_standard(coding: bytes) -> bool:
    """Whether `coding`, in lower case, is one of these."""
    return _ALIASES.get(coding, coding) in _CODINGS


def encoder(coding: bytes, level: int | None = None) -> Transform:
    """What codes a stream of any length.

    Args:
        coding: one of STANDARD.
        level: zstd 1 to 19, br 0 to 11, gzip and deflate 1 to 9; one outside counts as the nearest,
            None as the coding's default.
    """
    kind = _find(coding)
    return kind.encoder(kind.level(level))


def decoder(coding: bytes, limit: int, head: bytes = b"") -> Transform:
    """What decodes a stream.

    Args:
        coding: one of STANDARD, or an alias.
        limit: bytes that it puts out at most; each further gzip member or zstd frame counts as
            one KiB.
        head: how the stream begins, for one that takes no more memory than `memory.needed` says of
            that: no frame of zstd has then a larger window than the first.
    """
    if coding == ZSTD and (window := zstd.window(head)):
        return zstd.ZstdDecoder(limit, window=window)
    return _find(coding).decoder(limit)


def encode(coding: bytes, body: bytes, level: int | None = None) -> bytes:
    """`body`, coded whole. Of zstd it is one complete frame that says its content's size and whose
    window is at most 8 MiB, as Ollama wants it."""
    kind = _find(coding)
    return kind.compress(body, kind.level(level))


def decode(coding: bytes, body: bytes | memoryview, limit: int) -> bytes:
    """What the coded `body` holds.

    Raises:
        TooLarge: more than `limit` bytes.
        WireError: it is not of that coding, is cut short, or goes on.
    """
    transform = decoder(coding, limit)
    pieces = [*transform.feed(body), *transform.finish()]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
