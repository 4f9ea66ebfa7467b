"""What decoding a stream takes of memory, by its coding and how it begins.

A coding's window is most of it: what was decoded last is kept, since what comes next refers to it.
How large it is the first byte of a brotli stream says (RFC 7932 9.1); a zstd stream may have more
than one frame, each with a window of its own, so that only the decoder's own cap counts.

The one rule: it is never less than what is taken.
"""

from __future__ import annotations

from m2mproxy.codec.coding import BR, DEFLATE, GZIP

_KIB, _MIB = 1 << 10, 1 << 20
# Beside the window: tables, and blocks on their way.
_BESIDE = 256 * _KIB
_INFLATER = 64 * _KIB
# zstd's cap (RFC 9659), and that of a form whose window is not known here.
_MOST = 8 * _MIB + _BESIDE
_MOST_BROTLI = 16 * _MIB + _BESIDE


def needed(coding: bytes, head: bytes) -> int:
    """Bytes of memory that a decoder of `coding`, in lower case, takes at most for a stream that
    begins with `head`; b"" where that is not known."""
    if coding in (GZIP, DEFLATE, b"x-gzip"):
        return _INFLATER
    if coding != BR:
        return _MOST
    return (1 << _window_log(head[0])) + _BESIDE if head else _MOST_BROTLI


def _window_log(first: int) -> int:
    """WBITS, which is written in one to seven bits, the lowest first."""
    if not first & 1:
        return 16
    if bits := first >> 1 & 7:
        return 17 + bits
    bits = first >> 4 & 7
    return 17 if not bits else 8 + bits
