"""HTTP/2 frames as bytes, well-formed or not (RFC 9113 4 and 6).

Nothing here checks anything: a case must be able to send what no library would build.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
UNKNOWN = 0xBB
_TYPES = (
    *("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS"),
    *("PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"),
)

ACK = END_STREAM = 0x01
END_HEADERS = 0x04
PADDED = 0x08
WITH_PRIORITY = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS = range(1, 4)
INITIAL_WINDOW, MAX_FRAME, MAX_HEADER_LIST = range(4, 7)

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT = range(5)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = range(10, 14)
_CODES = (
    *("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT"),
    *("STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR"),
    *("CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"),
)

MAX_WINDOW = 2**31 - 1


def code_name(code: int) -> str:
    """An error code in words."""
    return _CODES[code] if code < len(_CODES) else f"error {code:#x}"


class Frame(NamedTuple):
    """A frame that was received."""

    type: int
    flags: int
    stream: int
    payload: bytes

    @property
    def ends_stream(self) -> bool:
        """Whether it is the last of its stream."""
        return self.type in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def code(self) -> int:
        """The error code of RST_STREAM and GOAWAY."""
        return number(self.payload[4:] if self.type == GOAWAY else self.payload)

    def __str__(self) -> str:
        name = _TYPES[self.type] if self.type < len(_TYPES) else f"type {self.type:#x}"
        if self.type in (RST_STREAM, GOAWAY):
            return f"{name} {code_name(self.code)}" + (f" on {self.stream}" if self.stream else "")
        ack = " ack" if self.type in (SETTINGS, PING) and self.flags & ACK else ""
        end = " END_STREAM" if self.ends_stream else ""
        size = f" of {len(self.payload)}" if self.type == DATA else ""
        return f"{name}{ack}{size}{end}" + (f" on {self.stream}" if self.stream else "")


def number(octets: bytes) -> int:
    """The first four octets as an integer."""
    return int.from_bytes(octets[:4], "big")


def u32(value: int) -> bytes:
    """An integer as four octets."""
    return struct.pack(">I", value)


def frame(type: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Any frame. A `stream` of more than 31 bits sets the reserved bit."""
    return struct.pack(">I", len(payload))[1:] + bytes((type, flags)) + u32(stream) + payload


def settings(values: dict[int, int] | list[tuple[int, int]], flags: int = 0) -> bytes:
    """A SETTINGS frame; a list may name a setting twice."""
    pairs = values.items() if isinstance(values, dict) else values
    return frame(SETTINGS, flags, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, u32(increment))


def rst_stream(stream: int, code: int = CANCEL) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, u32(code))


def goaway(code: int = NO_ERROR, last: int = 0, debug: bytes = b"") -> bytes:
    """A GOAWAY frame."""
    return frame(GOAWAY, 0, 0, u32(last) + u32(code) + debug)


def priority(depends_on: int, weight: int = 15, exclusive: bool = False) -> bytes:
    """The five octets of a priority; the payload of PRIORITY."""
    return u32(depends_on | exclusive << 31) + bytes((weight,))


def padded(content: bytes, length: int, padding: int | None = None) -> bytes:
    """The payload of a padded frame: says `length`, has `padding` octets (as many unless told)."""
    return bytes((length,)) + content + bytes(length if padding is None else padding)
