"""How much memory decoding a stream takes, by its coding and how it begins.

A coding's window is most of it: what was decoded last is kept, since what comes next refers to it.
How large it is the first byte of a brotli stream says (RFC 7932 9.1), and the first frame of a zstd
stream: the frames that follow may have larger ones, which is for their decoder to refuse.

The one rule: the decoder never takes more than what is said here.
"""

from __future__ import annotations

from m2mproxy.codec import zstd
from m2mproxy.codec.coding import BR, DEFLATE, GZIP, ZSTD

_KIB, _MIB = 1 << 10, 1 << 20
# Beside the window: tables, and blocks on their way.
_BESIDE = 256 * _KIB
_INFLATER = 64 * _KIB
# Of zstd: its tables, and three blocks of as much as the window, up to 128 KiB each.
_ZSTD_TABLES, _ZSTD_BLOCK = 192 * _KIB, 128 * _KIB
_MOST_BROTLI = 16 * _MIB + _BESIDE


def needed(coding: bytes, head: bytes) -> int:
    """The most bytes of memory that a decoder of `coding`, in lower case, takes for a stream that
    begins with `head`, if it was made for that (`coding.decoder`); `head` is b"" where that is not
    known."""
    if coding in (GZIP, DEFLATE, b"x-gzip"):
        return _INFLATER
    if coding != BR:  # a form whose window is not known here has zstd in it
        return _of_zstd(head if coding == ZSTD else b"")
    return (1 << _window_log(head[0])) + _BESIDE if head else _MOST_BROTLI


def _of_zstd(head: bytes) -> int:
    window = min(zstd.window(head) or zstd.MOST_WINDOW, zstd.MOST_WINDOW)
    # What the decoder accepts is up to the next power of two.
    window = max(1 << (window - 1).bit_length(), _KIB)
    return window + 3 * min(window, _ZSTD_BLOCK) + _ZSTD_TABLES


def _window_log(first: int) -> int:
    """WBITS, which is written in one to seven bits, the lowest first."""
    if not first & 1:
        return 16
    if bits := first >> 1 & 7:
        return 17 + bits
    bits = first >> 4 & 7
    return 17 if not bits else 8 + bits
