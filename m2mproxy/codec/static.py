"""The stateless form of a whole body between two m2mproxy instances (LINK.md, a request body
without ref).

    varint length of the body | u32 crc32 of the body, little-endian | zstd frame

The frame is a bare one (zstd.py) against the static dictionary of its way.

The one rule: nothing is decoded beyond the length that the limit allowed, and nothing is handed out
whose length or checksum is another.
"""

from __future__ import annotations

import enum
import struct
import zlib

from m2mproxy.codec import dictionaries, zstd
from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.varint import read_varint, write_varint

_checksum = struct.Struct("<I")
# By the body's size, as much as a body is worth: level 9 for 4 KiB and 6 for 64 KiB take 65 and 600
# µs and save 2 points more than 3, which takes 350 µs for 100 KiB.
_LEVELS = ((8 * 1024, 9), (64 * 1024, 6))
_LEVEL_OF_LARGE = 3


class Way(enum.Enum):
    """Which way a body goes, and thus which dictionary it is coded with."""

    REQUEST = "request"
    RESPONSE = "response"

    @property
    def dictionary(self) -> zstd.Dictionary:
        """The static one."""
        return dictionaries.request() if self is Way.REQUEST else dictionaries.response()


def level_for(size: int) -> int:
    """The zstd level that a body of that many bytes is worth."""
    return next((level for most, level in _LEVELS if size <= most), _LEVEL_OF_LARGE)


def encode(body: bytes, way: Way, dictionary: zstd.Dictionary | None = None) -> bytes:
    """The message that carries `body`. `dictionary` is the static one unless another is given."""
    frame = zstd.pack(body, level_for(len(body)), dictionary or way.dictionary)
    return write_varint(len(body)) + _checksum.pack(zlib.crc32(body)) + frame


def decode(
    message: bytes, way: Way, limit: int, dictionary: zstd.Dictionary | None = None
) -> bytes:
    """The body that `message` carries.

    Args:
        limit: bytes that the body may have.

    Raises:
        TooLarge: it says that it has more.
        WireError: it is damaged, cut short, goes on, or was made with another dictionary.
    """
    size, at = read_varint(message, 0, len(message))
    if size > limit:
        raise TooLarge(f"the body decodes to more than {limit} bytes")
    start = at + _checksum.size
    if start > len(message):
        raise WireError("the message is cut short before its frame")
    body = zstd.unpack(memoryview(message)[start:], size, dictionary or way.dictionary)
    if zlib.crc32(body) != _checksum.unpack_from(message, at)[0]:
        raise WireError("the body's checksum is not its own")
    return body
