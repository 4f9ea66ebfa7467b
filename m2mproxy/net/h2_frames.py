"""From bytes to HTTP/2 frames (RFC 9113 4), one at a time and within bounds.

The one rule: what is too long, out of place or one too many is refused when its nine bytes of
header are there, before anything of it is kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from h2.errors import ErrorCodes
from hyperframe.exceptions import HyperframeError, InvalidFrameError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    WindowUpdateFrame,
)

from m2mproxy.net.h2_budget import FrameBudget

__all__ = [
    "MAX_FRAME",
    "SETTINGS_ACK",
    "AnyFrame",
    "Data",
    "FieldBlock",
    "FrameError",
    "FrameReader",
    "GoAwayFrame",
    "PingFrame",
    "PushPromiseFrame",
    "Reset",
    "Settings",
    "WindowUpdateFrame",
    "data_frame",
    "go_away_frame",
    "head_frames",
    "ping_frame",
    "reset_frame",
    "settings_frame",
    "window_frame",
    "worth",
]

# RFC 9113 6.5.2: the least that everybody must accept, and all that we do.
MAX_FRAME = 16384

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9,
)
# Of a frame: its length and type, its flags, its stream (RFC 9113 4.1).
_LAYOUT = struct.Struct(">LBL")
_HEADER = _LAYOUT.size
_ANY_ID = 2**31 - 1  # without the reserved bit
_ACK = END_STREAM = 0x1
_END_HEADERS = 0x4
# DATA of fewer bytes than these is not worth the frames that grant room for it.
_WORTH = 32


@dataclass(slots=True)
class Data:
    """DATA, or as much of it as is there. `size` counts against the windows: padding does."""

    stream_id: int
    data: bytes
    size: int
    ends: bool


@dataclass(slots=True)
class FieldBlock:
    """HEADERS, together with its CONTINUATIONs."""

    stream_id: int
    block: bytes
    ends: bool


@dataclass(slots=True)
class Reset:
    """RST_STREAM."""

    stream_id: int
    code: int


@dataclass(slots=True)
class Settings:
    """SETTINGS, in their order: the same one can be there twice."""

    values: Sequence[tuple[int, int]]
    is_ack: bool


# What nobody sends often is as the library reads it.
AnyFrame = Data | FieldBlock | Reset | Settings | Frame


class FrameError(Exception):
    """The connection has to end. `code` is what GOAWAY says (RFC 9113 7)."""

    def __init__(self, code: ErrorCodes, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class FrameReader:
    """Cuts a peer's bytes into frames; HEADERS come with their CONTINUATIONs joined."""

    __slots__ = (
        "_block", "_block_of", "_block_size", "_blocks", "_budget", "_header_bytes", "_in_pieces",
        "_left", "_of", "_rest", "_started",
    )

    def __init__(self, budget: FrameBudget, header_bytes: int, in_pieces: bool) -> None:
        """`header_bytes` is the most that a header block may have as it is sent; `in_pieces` is
        whether what is there of a DATA frame is handed out as a frame of its own, and does not
        wait for the rest."""
        self._budget = budget
        self._header_bytes = header_bytes
        self._in_pieces = in_pieces
        self._left = 0  # bytes of a DATA frame that has begun, of this stream, which it may end
        self._of = (0, False)
        self._rest = bytearray()
        self._started = False
        # A header block so far, of this stream, which it may end.
        self._block: list[bytes] = []
        self._block_of = (0, False)
        self._block_size = 0
        self._blocks = 0  # that came in more than one frame, this one included

    @property
    def block(self) -> int:
        """The number of the header block that has begun and not ended; 0 for none."""
        return self._blocks if self._block else 0

    def feed(self, data: bytes) -> Iterator[AnyFrame]:
        """The frames that are complete now.

        Raises:
            FrameError: of the first that is not acceptable.
        """
        source: bytes | bytearray = data
        if self._rest:
            self._rest += data
            source = self._rest
        start, end = 0, len(source)
        if self._left and end:
            start = min(self._left, end)
            yield self._piece(bytes(source[:start]))
        while end - start >= _HEADER:
            first, flags, number = _LAYOUT.unpack_from(source, start)
            size, kind, stream_id = first >> 8, first & 0xFF, number & _ANY_ID
            self._check(kind, flags, size)
            begin = start + _HEADER
            if begin + size > end:
                if self._in_pieces and self._begins(kind, flags, stream_id, size):
                    if begin < end:
                        yield self._piece(bytes(source[begin:end]))
                    start = end
                break
            start = begin + size
            # A copy, since what is handed out outlives `source`.
            frame = self._frame(kind, flags, stream_id, bytes(source[begin:start]))
            if frame is not None:
                yield frame
        if source is data:
            self._rest += data[start:]
        else:
            del self._rest[:start]

    def _check(self, kind: int, flags: int, size: int) -> None:
        """What the first bytes of a frame's header tell."""
        if not self._started and (kind != _SETTINGS or flags & _ACK):
            raise FrameError(ErrorCodes.PROTOCOL_ERROR, "what was sent is not HTTP/2")
        if size > MAX_FRAME:
            raise FrameError(ErrorCodes.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
        if self._block and kind != _CONTINUATION:
            raise FrameError(ErrorCodes.PROTOCOL_ERROR, "a frame inside of a header block")
        if kind == _CONTINUATION:
            if not self._block:
                raise FrameError(ErrorCodes.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
            if self._block_size + size > self._header_bytes:
                raise FrameError(ErrorCodes.ENHANCE_YOUR_CALM, "a header block is too large")

    def _begins(self, kind: int, flags: int, stream_id: int, size: int) -> bool:
        """Whether a frame, of which this is the header, can come in pieces: DATA without padding.
        If so, it does."""
        if kind != _DATA or flags > END_STREAM or not stream_id:
            return False
        self._left, self._of = size, (stream_id, bool(flags))
        self._account(_DATA, flags, size)
        return True

    def _piece(self, data: bytes) -> Data:
        """The next bytes of the DATA frame that has begun."""
        self._left -= len(data)
        stream_id, ends = self._of
        return Data(stream_id, data, len(data), ends and not self._left)

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> AnyFrame | None:
        frame = _ordinary(kind, flags, stream_id, payload)
        frame = frame or _parsed(kind, flags, stream_id, payload)
        self._started = True
        size = len(frame.data) if isinstance(frame, Data) else len(payload)
        self._account(kind, flags, size)  # padding brings nothing
        if isinstance(frame, ContinuationFrame):
            return self._continued(frame)
        if isinstance(frame, HeadersFrame):
            self._block = [frame.data]
            self._block_of = (frame.stream_id, "END_STREAM" in frame.flags)
            self._block_size = _HEADER + len(payload)
            self._blocks += 1
            return None
        return frame

    def _continued(self, frame: ContinuationFrame) -> FieldBlock | None:
        stream_id, ends = self._block_of
        if frame.stream_id != stream_id:
            raise FrameError(ErrorCodes.PROTOCOL_ERROR, "a frame inside of a header block")
        self._block.append(frame.data)
        self._block_size += len(frame.data)
        if "END_HEADERS" not in frame.flags:
            return None
        whole, self._block = b"".join(self._block), []
        return FieldBlock(stream_id, whole, ends)

    def _account(self, kind: int, flags: int, size: int) -> None:
        """Frames that bring nothing are paid for by those that do."""
        if kind == _HEADERS:
            self._budget.earn(3)
        elif kind == _DATA and size:
            self._budget.earn(worth(size))
        elif kind == _RST_STREAM:
            # Those that end a stream are counted where streams are.
            if not self._budget.spend_reset():
                raise FrameError(ErrorCodes.ENHANCE_YOUR_CALM, "too many streams were reset again")
        elif kind == _WINDOW_UPDATE:
            if not self._budget.spend_grant():
                raise FrameError(ErrorCodes.ENHANCE_YOUR_CALM, "too many grants of room")
        elif not (kind == _DATA and flags & END_STREAM) and not self._budget.spend():
            raise FrameError(ErrorCodes.ENHANCE_YOUR_CALM, "too many frames that bring nothing")


def _ordinary(kind: int, flags: int, stream_id: int, payload: bytes) -> AnyFrame | None:
    """Frames in their plainest form, which need no parsing."""
    if not stream_id:
        return None
    if kind == _DATA and flags <= END_STREAM:
        return Data(stream_id, payload, len(payload), bool(flags))
    if kind == _HEADERS and flags | END_STREAM == _END_HEADERS | END_STREAM:
        return FieldBlock(stream_id, payload, bool(flags & END_STREAM))
    if kind == _RST_STREAM and len(payload) == 4:
        return Reset(stream_id, int.from_bytes(payload, "big"))
    return None


def _parsed(kind: int, flags: int, stream_id: int, payload: bytes) -> AnyFrame:
    """What the library makes of a frame. HEADERS stay its own while they are not complete."""
    if kind == _SETTINGS:
        return _settings(flags, stream_id, payload)
    if kind == _WINDOW_UPDATE and payload:
        payload = bytes((payload[0] & 0x7F,)) + payload[1:]  # reserved bit
    header = _LAYOUT.pack(len(payload) << 8 | kind, flags, stream_id)
    try:
        frame, _ = Frame.parse_frame_header(memoryview(header))
        frame.parse_body(memoryview(payload))
    except InvalidFrameError as error:
        raise FrameError(ErrorCodes.FRAME_SIZE_ERROR, f"a broken frame: {error}") from None
    except HyperframeError as error:
        raise FrameError(ErrorCodes.PROTOCOL_ERROR, f"a broken frame: {error}") from None
    if isinstance(frame, DataFrame):
        size = frame.flow_controlled_length
        return Data(frame.stream_id, frame.data, size, "END_STREAM" in frame.flags)
    if isinstance(frame, HeadersFrame) and "END_HEADERS" in frame.flags:
        return FieldBlock(frame.stream_id, frame.data, "END_STREAM" in frame.flags)
    return frame


def _settings(flags: int, stream_id: int, payload: bytes) -> Settings:
    """RFC 9113 6.5."""
    is_ack = bool(flags & _ACK)
    if stream_id:
        raise FrameError(ErrorCodes.PROTOCOL_ERROR, "SETTINGS on a stream")
    if len(payload) % 6 or (is_ack and payload):
        raise FrameError(ErrorCodes.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    return Settings(list(struct.iter_unpack(">HL", payload)), is_ack)


def _framed(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return _LAYOUT.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def reset_frame(stream_id: int, code: int) -> bytes:
    """RST_STREAM (RFC 9113 6.4)."""
    return _framed(_RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


def settings_frame(settings: Mapping[int, int]) -> bytes:
    """SETTINGS (RFC 9113 6.5): codes of 16 bits, of which the library writes eight."""
    payload = b"".join(
        code.to_bytes(2, "big") + value.to_bytes(4, "big") for code, value in settings.items()
    )
    return _framed(_SETTINGS, 0, 0, payload)


SETTINGS_ACK = _framed(_SETTINGS, _ACK, 0, b"")


def ping_frame(data: bytes, ack: bool = False) -> bytes:
    """PING (RFC 9113 6.7)."""
    return _framed(_PING, _ACK if ack else 0, 0, data)


def go_away_frame(last: int, code: int) -> bytes:
    """GOAWAY (RFC 9113 6.8)."""
    return _framed(_GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big"))


def window_frame(stream_id: int, by: int) -> bytes:
    """WINDOW_UPDATE (RFC 9113 6.9)."""
    return _framed(_WINDOW_UPDATE, 0, stream_id, by.to_bytes(4, "big"))


def data_frame(stream_id: int, size: int, end: bool) -> bytes:
    """The header of a DATA frame whose payload of `size` bytes follows (RFC 9113 6.1)."""
    return _LAYOUT.pack(size << 8 | _DATA, END_STREAM if end else 0, stream_id)


def head_frames(stream_id: int, block: bytes, end: bool) -> bytes:
    """HEADERS with a header block, and CONTINUATIONs for what it has above MAX_FRAME bytes (RFC
    9113 6.2 and 6.10). `end`: no payload follows."""
    frames, kind, flags = b"", _HEADERS, END_STREAM if end else 0
    for at in range(0, len(block), MAX_FRAME):
        part = block[at : at + MAX_FRAME]
        if at + MAX_FRAME >= len(block):
            flags |= _END_HEADERS
        frames += _framed(kind, flags, stream_id, part)
        kind, flags = _CONTINUATION, 0
    return frames


def worth(size: int) -> int:
    """How many frames of the peer DATA of `size` bytes pays for: room granted for the stream and
    the connection, in steps of a KiB where a peer likes it small (HAProxy)."""
    return 2 + size // 1024 if size >= _WORTH else 0
