"""Notation, dictionaries and zstd frames: what all messages of m2m-link(7) are made of."""

from __future__ import annotations

import hashlib
import sys
import zlib
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

VERSION = 2

# ---- DICTIONARIES ----

_FILES = Path(__file__).parents[3] / "m2mproxy" / "codec" / "dictionaries"
REQUEST, RESPONSE, STREAM, SPELLING = (
    (_FILES / f"{name}.zdict").read_bytes()
    for name in ("request", "response", "stream", "spelling")
)
NAME = hashlib.sha256(REQUEST + RESPONSE + STREAM).digest()[:4]
STATIC = f"m2m-{NAME.hex()}"
EVENTS = f"m2m-events-{hashlib.sha256(STREAM + SPELLING).hexdigest()[:8]}"

# ---- DISCOVERY, SETTINGS ----

OFFER, DICTIONARIES, SECONDS, SCOPE_SIZE = 0x4D32, 0x4D33, 0x4D34, 0x4D35
TAKES_PIECES, READS_AFTER = 0x4D36, 0x4D38  # of an edge


class Broken(Exception):
    """What came is not what the page says."""


# ---- Notation ----


def varint(number: int) -> bytes:
    """LEB128, in as few bytes as it takes."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


class Reader:
    """Bytes that are taken from the front; `Broken` where there are too few."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if len(self.data) - self.at < count:
            raise Broken("cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self, most: int = 10) -> int:
        """A number in at most so many bytes."""
        number = 0
        for shift in range(0, 7 * most, 7):
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                if number >= 1 << 64:
                    break
                return number
        raise Broken("a number that is too long")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def until(self, end: bytes) -> bytes | None:
        """What is before `end`, which is taken, too; None if it is not there."""
        found = self.data.find(end, self.at)
        if found < 0:
            return None
        taken = self.take(found - self.at)
        self.take(len(end))
        return taken


# ---- zstd, RFC 8878 ----

MAGIC = bytes.fromhex("28b52ffd")
Dictionary = zstd.ZstdDict | tuple[zstd.ZstdDict, int] | None


def dictionary(data: bytes) -> Dictionary:
    """One with tables, as in RFC 8878, section 5."""
    return zstd.ZstdDict(data)


def prefix(data: bytes) -> Dictionary:
    """Content and nothing else. The page: one of fewer than 8 bytes is as none."""
    return zstd.ZstdDict(data, is_raw=True).as_prefix if len(data) >= 8 else None


def frame(data: bytes, use: Dictionary, *, sized: bool, checksum: bool = False) -> bytes:
    """An ordinary frame, without dictionary ID."""
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: 6,
        zstd.CompressionParameter.content_size_flag: int(sized),
        zstd.CompressionParameter.checksum_flag: int(checksum),
        zstd.CompressionParameter.dict_id_flag: 0,
        zstd.CompressionParameter.window_log: 22,
    }
    return zstd.compress(data, options=options, zstd_dict=use)


def unframe(data: bytes, use: Dictionary, limit: int, window_log: int = 23) -> bytes:
    """What one whole frame holds, at most `limit` bytes, with nothing after it."""
    reader = zstd.ZstdDecompressor(
        zstd_dict=use, options={zstd.DecompressionParameter.window_log_max: window_log}
    )
    try:
        plain = reader.decompress(data, max_length=limit + 1)
    except zstd.ZstdError as error:
        raise Broken(f"no frame: {error}") from None
    if not reader.eof or reader.unused_data or len(plain) > limit:
        raise Broken("more or less than a frame, or than it should hold")
    return plain


def head_size(data: bytes) -> int:
    """How long magic number and header of a frame are (RFC 8878, section 3.1.1.1)."""
    descriptor = data[4]
    single = descriptor >> 5 & 1
    size = (single, 2, 4, 8)[descriptor >> 6]
    return 4 + 1 + (1 - single) + (0, 1, 2, 4)[descriptor & 3] + size


def crc32(data: bytes) -> int:
    return zlib.crc32(data)
