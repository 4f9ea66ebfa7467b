"""How much a peer may send (RFC 9113 5.2), on a stream or on all of a connection's together.

The one rule: room that was taken is granted again in steps of half a window, so that small frames
cost no frame each; and sooner where the peer has little left, since others hold the rest.
"""

from __future__ import annotations

from h2.errors import ErrorCodes

from m2mproxy.net.h2_frames import FrameError

# RFC 9113 6.9.2 and 6.9.1: at first, and ever.
FIRST_ROOM, MOST_ROOM = 65535, 2**31 - 1
# Bytes that are worth a frame to a peer that cannot go on without.
_ENOUGH = 1024


class Window:
    """Bytes that the peer may send: `_most`, less what came and was not granted again."""

    __slots__ = ("_left", "_most", "_taken")

    def __init__(self, most: int) -> None:
        self._left = self._most = most
        self._taken = 0

    def came(self, size: int) -> bool:
        """So many bytes came. Whether the peer has less room left than it could be granted.

        Raises:
            FrameError: there was no room for them.
        """
        self._left -= size
        if self._left < 0:
            raise FrameError(ErrorCodes.FLOW_CONTROL_ERROR, "it sent more than there was room for")
        return self._left < self._taken > _ENOUGH

    def widen(self, by: int) -> None:
        """The peer is told that it may send `by` bytes more at a time."""
        self._most += by
        self._left += by

    def taken(self, size: int) -> int:
        """So many bytes are out of the way; by how many the peer is to be told that it may go
        on."""
        self._taken += size
        if self._taken < self._most // 2 and (self._left or self._taken <= _ENOUGH):
            return 0
        return self.grant()

    def grant(self) -> int:
        """The peer is told that it may go on, by so many bytes."""
        by, self._taken = self._taken, 0
        self._left += by
        return by
