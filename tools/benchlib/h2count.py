"""What an HTTP/2 connection spends its bytes on: counted by type of frame, in one direction.

The one rule: every byte is counted once, and the frame that it belongs to gets it; frame headers
are part of their frames (RFC 9113, 4.1).
"""

from collections import Counter

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADER = 9
DATA, HEADERS, CONTINUATION, PREFACE = 0, 1, 9, 256


class FrameCounter:
    """Counts bytes, and frames, by type."""

    def __init__(self, from_client: bool) -> None:
        self.bytes: Counter[int] = Counter()
        self.frames: Counter[int] = Counter()
        self._preface = len(_PREFACE) if from_client else 0  # bytes of it to come
        self._header = b""
        self._type, self._left = 0, 0

    def feed(self, data: bytes) -> None:
        """More bytes, cut anywhere."""
        while data:
            size = self._step(data)
            data = data[size:]

    def _step(self, data: bytes) -> int:
        """Count the beginning of `data`; how much of it."""
        if self._preface:
            size = min(self._preface, len(data))
            self._preface -= size
            self.bytes[PREFACE] += size
        elif self._left:
            size = min(self._left, len(data))
            self._left -= size
            self.bytes[self._type] += size
        else:
            size = _HEADER - len(self._header)
            self._header += data[:size]
            if len(self._header) == _HEADER:
                self._begin(self._header)
                self._header = b""
        return size

    def _begin(self, header: bytes) -> None:
        self._type, self._left = header[3], int.from_bytes(header[:3])
        self.bytes[self._type] += _HEADER
        self.frames[self._type] += 1

    def take(self) -> "Count":
        """What came since it was last asked."""
        count = Count(self.bytes, self.frames)
        self.bytes, self.frames = Counter(), Counter()
        return count


class Count:
    """Bytes and frames by type; those of bodies, of heads, and of the rest."""

    def __init__(
        self, of_bytes: Counter[int] | None = None, frames: Counter[int] | None = None
    ) -> None:
        self.bytes: Counter[int] = Counter(of_bytes or {})
        self.frames: Counter[int] = Counter(frames or {})

    def __iadd__(self, other: "Count") -> "Count":
        self.bytes += other.bytes
        self.frames += other.frames
        return self

    @property
    def all(self) -> int:
        return self.bytes.total()

    @property
    def bodies(self) -> int:
        """DATA frames, their headers and padding included."""
        return self.bytes[DATA]

    @property
    def payload(self) -> int:
        """What is in DATA frames."""
        return self.bodies - _HEADER * self.frames[DATA]

    @property
    def heads(self) -> int:
        return self.bytes[HEADERS] + self.bytes[CONTINUATION]

    @property
    def others(self) -> int:
        return self.all - self.bodies - self.heads
