"""The blocks of a zstd frame (RFC 8878 3.1.1), for two who know already what its header says.

Of a small frame the header, and that of its only block, are a twentieth. Both ends know how much
the frame holds, that there is no checksum and no dictionary's number, and where it ends; so the
reader puts a header before the blocks that says so: of a single segment, with the content's size.
Whatever window the writer had is smaller.

The one rule: nothing is left out that the other end cannot put back.
"""

from __future__ import annotations

import struct

from m2mproxy.codec.base import WireError

_MAGIC = b"\x28\xb5\x2f\xfd"
# A frame's header as the writer's: no size, checksum or number, one byte of a window.
_PLAIN_HEADER = 2
# And as the reader's: a single segment, whose size has four bytes.
_SINGLE_SEGMENT = 0xA0
_header = struct.Struct("<BI")
_MOST = 0xFFFFFFFF
_BLOCK_HEADER = 3
_LAST, _COMPRESSED = 1, 2


def of(frame: bytes) -> tuple[bytes, bool]:
    """What of a bare frame (zstd.py) the reader does not know, and whether that is a single
    compressed block without its header."""
    if frame[0]:
        raise ValueError("the frame's header has more than a window")
    first = int.from_bytes(frame[_PLAIN_HEADER : _PLAIN_HEADER + _BLOCK_HEADER], "little")
    if first & 7 == _LAST | _COMPRESSED << 1:
        return frame[_PLAIN_HEADER + _BLOCK_HEADER :], True
    return frame[_PLAIN_HEADER:], False


def frame(blocks: bytes | memoryview, is_one: bool, size: int) -> bytes:
    """The whole frame, of which `of` gave the rest, with its magic number. It holds `size` bytes.

    Raises:
        WireError: no frame, or no block, is as large.
    """
    if size > _MOST or (is_one and len(blocks) >> 21):
        raise WireError("the frame is too large")
    parts = [_MAGIC, _header.pack(_SINGLE_SEGMENT, size), blocks]
    if is_one:
        block = _LAST | _COMPRESSED << 1 | len(blocks) << 3
        parts.insert(2, block.to_bytes(_BLOCK_HEADER, "little"))
    return b"".join(parts)
