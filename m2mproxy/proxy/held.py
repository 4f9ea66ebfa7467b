"""Room for bodies that are in memory as a whole. Of requests: those that are read before they go
on, to be decoded or scanned, and those that are held until the head of the response shows that they
need not be sent again, since they went on a link, or coded. Of replies: those that are read as they
pass, to be remembered or scanned.

The one rule: all of them together take no more than their room, and an exchange gives back what it
took, however it ends. A request that there is no room to hold passes as it is; one that there is no
room to read is refused.
"""

from __future__ import annotations

from m2mproxy.http.faults import Busy
from m2mproxy.proxy.room import MOST_IN_ALL, Room

MOST_HELD = 8 << 20
"""Bytes of a body that is held, to go coded or by a link, and plain after all if it has to. A
larger one passes as it comes."""
MOST_READ = 256 << 20
"""Bytes of all bodies that are read whole at a time, beyond the first ones of each."""
# Of each request so many bytes are not counted: `limits.requests` is their bound, and large bodies
# that come slowly leave the others alone.
_UNCOUNTED = 64 << 10


class Holds:
    """The room for the bodies of all exchanges of a process."""

    def __init__(self, most: int = MOST_IN_ALL, read: int = MOST_READ) -> None:
        """In bytes: `most` of what is held, `read` of what is read."""
        self.room = Room(most)
        self.reading = Room(read)
        self.replies = Room(most)
        """For the replies of all exchanges, which go on unread where there is none left."""
        self.most = most
        self.refused = 0
        """Requests that were not held, since the start."""

    def report(self) -> dict[str, int]:
        """For people."""
        return {"bytes": self.most - self.room.free, "refused": self.refused}


class Held:
    """The room that one exchange has taken."""

    __slots__ = ("_holds", "_is_refused", "_read", "_size")

    def __init__(self, holds: Holds) -> None:
        self._holds = holds
        self._size = 0
        self._read = -_UNCOUNTED
        self._is_refused = False

    def take(self, size: int) -> bool:
        """Whether a body of `size` bytes may be held. To ask again for more, or for as much, takes
        only what is missing."""
        if self._is_refused:
            return False
        if size > self._size and not self._holds.room.take(size - self._size):
            self._is_refused = True
            self._holds.refused += 1
            return False
        self._size = max(size, self._size)
        return True

    def read(self, size: int) -> None:
        """`size` more bytes have come of a body that is read whole.

        Raises:
            Busy: there is no room for them.
        """
        taken = max(0, self._read)
        self._read += size
        if not self._holds.reading.take(max(0, self._read) - taken):
            self._read -= size
            raise Busy("too_many_bodies", "request bodies take all the memory there is for them")

    def free(self) -> None:
        """Nothing is held any more."""
        if self._size:
            self._holds.room.give(self._size)
            self._size = 0
        if self._read > -_UNCOUNTED:
            self._holds.reading.give(max(0, self._read))
            self._read = -_UNCOUNTED
