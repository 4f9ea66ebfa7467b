"""What a peer says of itself in SETTINGS (RFC 9113 6.5.2).

The one rule: of what it can invent little is kept, and what RFC 9113 does not allow ends the
connection.
"""

from __future__ import annotations

from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from m2mproxy.net.h2_frames import MAX_FRAME, FrameError
from m2mproxy.net.h2_tables import TABLE_SIZE
from m2mproxy.net.h2_window import FIRST_ROOM, MOST_ROOM

_UNLIMITED = 2**32
_KNOWN = frozenset(SettingCodes)
# So many settings are kept that RFC 9113 does not know, of 65,536.
_MAX_OTHERS = 16


class PeerSettings:
    """What it has said, or what holds until it does."""

    __slots__ = ("_is_server", "most_streams", "others", "stream_room", "table_size")

    def __init__(self, is_server: bool) -> None:
        """`is_server`: the peer is."""
        self._is_server = is_server
        self.most_streams = _UNLIMITED
        """Streams that we may have open."""
        self.stream_room = FIRST_ROOM
        """Bytes that it takes of a new stream."""
        self.table_size = TABLE_SIZE
        """Bytes of fields that it remembers."""
        self.others: dict[int, int] = {}
        """What RFC 9113 does not know, by code; the first of them."""

    def update(self, code: int, value: int) -> None:
        """It said this.

        Raises:
            FrameError: it may not.
        """
        if code in _KNOWN:
            self._set(SettingCodes(code), value)
        elif code in self.others or len(self.others) < _MAX_OTHERS:
            self.others[code] = value

    def _set(self, code: SettingCodes, value: int) -> None:
        most = 2**32
        match code:
            case SettingCodes.HEADER_TABLE_SIZE:
                self.table_size = value
            case SettingCodes.MAX_CONCURRENT_STREAMS:
                self.most_streams = value
            case SettingCodes.INITIAL_WINDOW_SIZE:
                self.stream_room = value
                most = MOST_ROOM
            case SettingCodes.MAX_FRAME_SIZE:
                most = (1 << 24) - 1 if value >= MAX_FRAME else -1
            case SettingCodes.ENABLE_PUSH:
                most = 0 if self._is_server else 1
            case SettingCodes.ENABLE_CONNECT_PROTOCOL:  # RFC 8441 3
                most = 1
        if value > most:
            is_window = code is SettingCodes.INITIAL_WINDOW_SIZE
            error = ErrorCodes.FLOW_CONTROL_ERROR if is_window else ErrorCodes.PROTOCOL_ERROR
            raise FrameError(error, f"{code.name} must not be {value}")
