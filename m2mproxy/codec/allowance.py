"""How much a decoder may still put out.

The one rule: every piece is counted as it comes, before the next one is made, and no size that a
sender declares is believed.
"""

from __future__ import annotations

from m2mproxy.codec.base import TooLarge

# Bytes that a decompressor may put out at a time; brotli's can go over by half.
STEP = 64 * 1024
# Bytes that a decompressor takes at a time. zlib and zstd hand back what they did not use as a
# copy, each time.
SLICE = 16 * 1024
# What each further gzip member or zstd frame counts as, since a thousand of nothing are not free.
MEMBER_COST = 1024


class Allowance:
    """Bytes that may still come out."""

    __slots__ = ("_limit", "_used")

    def __init__(self, limit: int) -> None:
        """`limit` in bytes."""
        self._limit = limit
        self._used = 0

    def take(self, size: int) -> None:
        """`size` bytes came out.

        Raises:
            TooLarge: those were too many.
        """
        self._used += size
        if self._used > self._limit:
            raise TooLarge(f"the body decodes to more than {self._limit} bytes")
