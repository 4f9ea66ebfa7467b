"""Request bodies that are held until the head of the answer shows that they are not sent again:
those that go on a link, or coded.

The one rule: all of them together take no more than their room, and an exchange gives back what it
took, however it ends. Where there is none, the request passes unheld, as it is.
"""

from __future__ import annotations

from m2mproxy.proxy.room import MOST_IN_ALL, Room


class Holds:
    """The room of a process."""

    def __init__(self, most: int = MOST_IN_ALL) -> None:
        """`most` in bytes."""
        self.room = Room(most)
        self.most = most
        self.refused = 0
        """Requests that were not held, since the start."""

    def report(self) -> dict[str, int]:
        """For people."""
        return {"bytes": self.most - self.room.free, "refused": self.refused}


class Held:
    """What one exchange has of it."""

    __slots__ = ("_holds", "_is_refused", "_size")

    def __init__(self, holds: Holds) -> None:
        self._holds = holds
        self._size = 0
        self._is_refused = False

    def take(self, size: int) -> bool:
        """Whether a body of so many bytes may be held, once more or still."""
        if self._is_refused:
            return False
        if size > self._size and not self._holds.room.take(size - self._size):
            self._is_refused = True
            self._holds.refused += 1
            return False
        self._size = max(size, self._size)
        return True

    def free(self) -> None:
        """Nothing is held any more."""
        self._holds.room.give(self._size)
        self._size = 0
