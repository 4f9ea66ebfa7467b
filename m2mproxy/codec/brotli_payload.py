"""A whole payload to and from brotli (RFC 7932), as M2M v1 frames and the v3.0 text carry it.

The one rule: output comes in small steps and is counted at each, so that what 300 bytes claim to be
costs no more memory than the limit allows.
"""

from __future__ import annotations

import brotli  # type: ignore[import-untyped]

from m2mproxy.codec.base import Limits, WireError

QUALITY = 5  # what the crate uses for frames; a tenth larger than 11 at a hundredth of the time
_WINDOW = 22  # what the crate uses everywhere
# How much the decompressor may put out at a time; it can go over by about half (brotli >= 1.2).
_STEP = 64 * 1024


def compress(body: bytes, quality: int = QUALITY) -> bytes:
    """`body` as one brotli stream. `quality` is 0 to 11."""
    coded: bytes = brotli.compress(body, quality=quality, lgwin=_WINDOW)
    return coded


def expand(payload: bytes | memoryview, limits: Limits) -> list[bytes]:
    """What `payload` holds, in pieces.

    Raises:
        TooLarge: it is more than `limits.decoded` bytes.
        WireError: it is not one whole brotli stream and nothing else.
    """
    decompressor = brotli.Decompressor()
    pieces: list[bytes] = []
    size = 0
    data: bytes | memoryview = payload
    try:
        while not decompressor.is_finished():
            piece = decompressor.process(data, output_buffer_limit=_STEP)
            if not piece and not decompressor.is_finished():
                raise WireError("the brotli stream is cut short")
            data = b""
            size += len(piece)
            limits.check_decoded(size)
            pieces.append(piece)
    except brotli.error:
        raise WireError("the payload is not brotli") from None
    return pieces
