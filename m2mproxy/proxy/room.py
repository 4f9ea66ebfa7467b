"""A bound on memory that many share: whoever keeps something asks for room first.

The one rule: what was taken is given back once, by whoever took it.
"""

from __future__ import annotations

MOST_IN_ALL = 64 << 20
"""Bytes that all who share a room keep at a time."""


class Room:
    """Bytes of memory to be shared; `free` of them are left."""

    __slots__ = ("free",)

    def __init__(self, most: int = MOST_IN_ALL) -> None:
        self.free = most

    def take(self, size: int) -> bool:
        """Take `size` bytes; False, and none taken, where there are fewer."""
        if size > self.free:
            return False
        self.free -= size
        return True

    def give(self, size: int) -> None:
        """Give `size` bytes back."""
        self.free += size
