"""From bytes to HTTP/2 frames (RFC 9113 4), one at a time and within bounds.

The one rule: what is too long, out of place or one too many is refused when its nine bytes of
header are there, before anything of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from h2.errors import ErrorCodes
from hyperframe.exceptions import HyperframeError, InvalidFrameError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
)

from m2mproxy.net.h2_budget import FrameBudget

__all__ = [
    "MAX_FRAME",
    "DataFrame",
    "Frame",
    "FrameError",
    "FrameReader",
    "GoAwayFrame",
    "HeadersFrame",
    "PlainData",
    "PlainHeaders",
    "PlainReset",
    "RstStreamFrame",
    "SettingsFrame",
    "WholeSettings",
    "data_frame",
    "head_frames",
    "worth",
]

# RFC 9113 6.5.2: the least that everybody must accept, and all that we do.
MAX_FRAME = 16384

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 8, 9
_HEADER = 9
_ACK = END_STREAM = 0x1
_END_HEADERS = 0x4
_NONE: Any = frozenset()
_END: Any = frozenset(("END_STREAM",))
_WHOLE: Any = frozenset(("END_HEADERS",))
_WHOLE_AND_END: Any = _WHOLE | _END
# DATA of fewer bytes than these is not worth the frames that grant room for it.
_WORTH = 32


class FrameError(Exception):
    """The connection has to end. `code` is what GOAWAY says (RFC 9113 7)."""

    def __init__(self, code: ErrorCodes, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class FrameReader:
    """Cuts a peer's bytes into frames; HEADERS come with their CONTINUATIONs joined."""

    __slots__ = (
        "_block", "_block_size", "_budget", "_header_bytes", "_in_pieces", "_left", "_of",
        "_rest", "_started",
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
        # HEADERS and its CONTINUATIONs so far.
        self._block: list[HeadersFrame | PushPromiseFrame | ContinuationFrame] = []
        self._block_size = 0

    @property
    def in_block(self) -> bool:
        """Whether a header block has begun and not ended."""
        return bool(self._block)

    def feed(self, data: bytes) -> Iterator[Frame]:
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
            size = int.from_bytes(source[start : start + 3], "big")
            self._check(source[start + 3], source[start + 4], size)
            after = start + _HEADER + size
            if after > end:
                if self._in_pieces and self._begins(bytes(source[start : start + _HEADER]), size):
                    if start + _HEADER < end:
                        yield self._piece(bytes(source[start + _HEADER : end]))
                    start = end
                break
            # Copies, since what is handed out outlives `source`.
            frame = self._frame(bytes(source[start:after]))
            start = after
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

    def _begins(self, header: bytes, size: int) -> bool:
        """Whether a frame, of which this is the header, can come in pieces: DATA without padding.
        If so, it does."""
        stream_id = int.from_bytes(header[5:], "big") & 0x7FFFFFFF
        if header[3] != _DATA or header[4] > END_STREAM or not stream_id:
            return False
        self._left, self._of = size, (stream_id, bool(header[4]))
        self._account(_DATA, header[4], size)
        return True

    def _piece(self, data: bytes) -> Frame:
        """The next bytes of the DATA frame that has begun."""
        self._left -= len(data)
        stream_id, ends = self._of
        return PlainData(stream_id, data, ends and not self._left)

    def _frame(self, raw: bytes) -> Frame | None:
        frame = _ordinary(raw) or _parsed(raw)
        self._started = True
        size = len(frame.data) if isinstance(frame, DataFrame) else len(raw) - _HEADER
        self._account(raw[3], raw[4], size)  # padding brings nothing
        if isinstance(frame, ContinuationFrame):
            return self._continued(frame)
        if isinstance(frame, HeadersFrame | PushPromiseFrame) and "END_HEADERS" not in frame.flags:
            self._block = [frame]
            self._block_size = len(raw)
            return None
        return frame

    def _continued(self, frame: ContinuationFrame) -> Frame | None:
        first = self._block[0]
        if frame.stream_id != first.stream_id:
            raise FrameError(ErrorCodes.PROTOCOL_ERROR, "a frame inside of a header block")
        self._block.append(frame)
        self._block_size += len(frame.data)
        if "END_HEADERS" not in frame.flags:
            return None
        first.data = b"".join([each.data for each in self._block])
        first.flags.add("END_HEADERS")
        self._block = []
        return first

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
        elif not (kind == _DATA and flags & END_STREAM) and not self._budget.spend():
            raise FrameError(ErrorCodes.ENHANCE_YOUR_CALM, "too many frames that bring nothing")


class PlainData(DataFrame):
    """DATA without padding. Made and looked at without ado: the library prints every frame that it
    gets, for a log that nobody keeps."""

    def __init__(self, stream_id: int, data: bytes, end: bool) -> None:
        self.stream_id = stream_id
        self.data = data
        self.ends = end
        self.flags = _END if end else _NONE

    @property
    def flow_controlled_length(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return "DATA"


class PlainHeaders(HeadersFrame):
    """HEADERS without padding and priority, and whole."""

    def __init__(self, stream_id: int, data: bytes, end: bool) -> None:
        self.stream_id = stream_id
        self.data = data
        self.ends = end
        self.flags = _WHOLE_AND_END if end else _WHOLE

    def __repr__(self) -> str:
        return "HEADERS"


class PlainReset(RstStreamFrame):
    """RST_STREAM, of which thousands may come at once (h2_budget.py)."""

    def __init__(self, stream_id: int, code: int) -> None:
        self.stream_id = stream_id
        self.error_code = code
        self.flags = _NONE

    def __repr__(self) -> str:
        return "RST_STREAM"


class WholeSettings(SettingsFrame):
    """SETTINGS to be sent, with codes of 16 bits (RFC 9113 6.5.1): the library writes eight."""

    def serialize_body(self) -> bytes:
        return b"".join(
            code.to_bytes(2, "big") + value.to_bytes(4, "big")
            for code, value in self.settings.items()
        )


def _ordinary(raw: bytes) -> Frame | None:
    """Frames in their plainest form, which need no parsing."""
    kind, flags = raw[3], raw[4]
    stream_id = int.from_bytes(raw[5:9], "big") & 0x7FFFFFFF
    if not stream_id:
        return None
    end = bool(flags & END_STREAM)
    if kind == _DATA and flags <= END_STREAM:
        return PlainData(stream_id, raw[_HEADER:], end)
    if kind == _HEADERS and flags | END_STREAM == _END_HEADERS | END_STREAM:
        return PlainHeaders(stream_id, raw[_HEADER:], end)
    if kind == _RST_STREAM and len(raw) == _HEADER + 4:
        return PlainReset(stream_id, int.from_bytes(raw[_HEADER:], "big"))
    return None


def _parsed(raw: bytes) -> Frame:
    if raw[3] == _WINDOW_UPDATE and len(raw) > _HEADER:
        raw = raw[:_HEADER] + bytes((raw[_HEADER] & 0x7F,)) + raw[_HEADER + 1 :]  # reserved bit
    try:
        frame, _ = Frame.parse_frame_header(memoryview(raw[:_HEADER]))
        frame.parse_body(memoryview(raw)[_HEADER:])
    except InvalidFrameError as error:
        raise FrameError(ErrorCodes.FRAME_SIZE_ERROR, f"a broken frame: {error}") from None
    except HyperframeError as error:
        raise FrameError(ErrorCodes.PROTOCOL_ERROR, f"a broken frame: {error}") from None
    return frame


def data_frame(stream_id: int, size: int, end: bool) -> bytes:
    """The header of a DATA frame whose payload of `size` bytes follows (RFC 9113 6.1)."""
    return size.to_bytes(3, "big") + (b"\0\1" if end else b"\0\0") + stream_id.to_bytes(4, "big")


def head_frames(stream_id: int, block: bytes, end: bool) -> bytes:
    """HEADERS with a header block, and CONTINUATIONs for what it has above MAX_FRAME bytes (RFC
    9113 6.2 and 6.10). `end`: no payload follows."""
    number = stream_id.to_bytes(4, "big")
    frames, kind, flags = b"", _HEADERS, END_STREAM if end else 0
    for at in range(0, len(block), MAX_FRAME):
        part = block[at : at + MAX_FRAME]
        if at + MAX_FRAME >= len(block):
            flags |= _END_HEADERS
        frames += b"%b%c%c%b%b" % (len(part).to_bytes(3, "big"), kind, flags, number, part)
        kind, flags = _CONTINUATION, 0
    return frames


def worth(size: int) -> int:
    """How many frames of the peer DATA of `size` bytes pays for: room granted for the stream and
    the connection, in steps of a KiB where a peer likes it small (HAProxy)."""
    return 2 + size // 1024 if size >= _WORTH else 0
