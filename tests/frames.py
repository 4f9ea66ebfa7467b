"""A client that sends whatever frames a test likes, and reads what comes back."""

from __future__ import annotations

import struct
from typing import Any

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from link import Raw, join
from world import World

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"proxy"),
    (b":path", b"/v1/models"),
]
POST = [(b":method", b"POST"), *GET[1:]]


def raw(kind: int, flags: int, stream_id: int, payload: bytes = b"", size: int = -1) -> bytes:
    """A frame; `size` is what its header claims."""
    length = len(payload) if size < 0 else size
    head = length.to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big")
    return head + payload


def settings(**values: int) -> bytes:
    """SETTINGS, such as `settings(INITIAL_WINDOW_SIZE=0)`."""
    codes = {getattr(SettingsFrame, name): value for name, value in values.items()}
    return SettingsFrame(0, codes).serialize()


def setting_codes(codes: dict[int, int]) -> bytes:
    """SETTINGS by code. The library writes only eight bits of each."""
    return raw(4, 0, 0, b"".join(struct.pack(">HL", *setting) for setting in codes.items()))


def window(stream_id: int, increment: int) -> bytes:
    return WindowUpdateFrame(stream_id, increment).serialize()


def rst(stream_id: int, code: int = 8) -> bytes:
    return RstStreamFrame(stream_id, code).serialize()


def ping(data: bytes = b"12345678", ack: bool = False) -> bytes:
    return PingFrame(0, data, flags=["ACK"] if ack else []).serialize()


def data(stream_id: int, payload: bytes = b"", end: bool = False) -> bytes:
    return DataFrame(stream_id, payload, flags=["END_STREAM"] if end else []).serialize()


class FrameClient(Raw):
    """A client connection to the proxy of `world`."""

    def __init__(self, world: World, first: bytes | None = None) -> None:
        super().__init__()
        self.world = world
        self.encoder, self.decoder = Encoder(), Decoder()
        self.frames: list[Any] = []
        self.heads: dict[int, list[tuple[bytes, bytes]]] = {}
        self._unread = bytearray()
        join(world.loop, self, world.proxy.accept(), world.split)
        self.say(PREFACE + settings() if first is None else first)

    def say(self, *frames: bytes) -> None:
        """Send and let everything happen."""
        self.send(b"".join(frames))
        self.world.run()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._unread += data
        while len(self._unread) >= 9:
            frame, size = Frame.parse_frame_header(memoryview(bytes(self._unread[:9])))
            if len(self._unread) < 9 + size:
                return
            frame.parse_body(memoryview(bytes(self._unread[9 : 9 + size])))
            del self._unread[: 9 + size]
            self.frames.append(frame)
            if isinstance(frame, HeadersFrame):
                head = self.decoder.decode(frame.data, raw=True)
                self.heads.setdefault(frame.stream_id, list(head))

    def headers(self, stream_id: int, fields: Any = GET, end: bool = True) -> bytes:
        """HEADERS in one frame."""
        block = self.encoder.encode(fields)
        flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
        return HeadersFrame(stream_id, block, flags=flags).serialize()

    def of(self, kind: type[Frame], stream_id: int | None = None) -> list[Any]:
        """The frames of a kind that have come, of one stream or of all."""
        found = [frame for frame in self.frames if isinstance(frame, kind)]
        return [f for f in found if stream_id is None or f.stream_id == stream_id]

    @property
    def goaway(self) -> int | None:
        """The code of the last GOAWAY."""
        found = self.of(GoAwayFrame)
        return int(found[-1].error_code) if found else None

    def status(self, stream_id: int) -> bytes | None:
        head = self.heads.get(stream_id)
        return dict(head)[b":status"] if head else None

    def reset(self, stream_id: int) -> int | None:
        """The code of the RST_STREAM that ended a stream."""
        found = self.of(RstStreamFrame, stream_id)
        assert len(found) < 2  # it ends it once
        return int(found[0].error_code) if found else None

    def payload(self, stream_id: int) -> bytes:
        return b"".join(frame.data for frame in self.of(DataFrame, stream_id))

    def is_ended(self, stream_id: int) -> bool:
        """Whether END_STREAM has come."""
        frames = self.of(DataFrame, stream_id) + self.of(HeadersFrame, stream_id)
        return any("END_STREAM" in frame.flags for frame in frames)


__all__ = ["ContinuationFrame", "FrameClient", "HeadersFrame", "RstStreamFrame"]
