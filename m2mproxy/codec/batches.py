"""A body that is sealed as it passes: what is readable at one moment is one sealed batch.

    "#M2M|1|"  fixed header (20)  16 random bytes  batches

The header is that of an M2M v1 frame of schema 03 (stream) with the security of the seal and no
flags. A batch is its sealed length as a varint, and 1 to 32768 bytes, sealed; a batch of nothing,
sealed too, is the end, and nothing follows it. A frame for each batch would say the same 27 bytes
every time, and a nonce; here both sides know them:

    key      HMAC-SHA256(the shared key, "m2m stream" and all that stands before the batches)
    AEAD     ChaCha20-Poly1305 with the batch's number (from 0) as nonce, 12 bytes big-endian,
             nothing associated; the tag of 16 bytes follows
    HMAC     the batch, then the first 16 bytes of HMAC-SHA256(key, the number as above and the
             batch)

So a batch is 17 bytes longer than what it carries, up to 111 bytes, and then 18.

The one rule: a batch opens in its own stream at its own place or not at all, so that one which was
changed, left out, repeated, moved or added is noticed, and a stream that was cut has no end.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from typing import Protocol, Self

from m2mproxy.codec.allowance import Allowance
from m2mproxy.codec.base import M2M_PREFIX, WireError
from m2mproxy.codec.header import FrameSecurity, write_header
from m2mproxy.codec.routing import Routing, Schema
from m2mproxy.codec.varint import read_prefixed, write_varint

MOST_PLAIN = 32 * 1024  # bytes of a batch
TAG = 16
NUMBER = 12
_SALT = 16
_MOST_SEALED = MOST_PLAIN + TAG
CHANGED = "a batch was changed, is not in its place, or was sealed with another key"


class Batches(Protocol):
    """Seals the batches of one stream, with a key of its own."""

    def close(self, number: int, plain: bytes) -> bytes:
        """The sealed batch: TAG bytes longer."""
        ...

    def open(self, number: int, sealed: bytes) -> bytes:
        """What the batch carries.

        Raises:
            WireError: it was not sealed so, with this number.
        """
        ...


class StreamSeal(Protocol):
    """What can seal streams: one mode with one key."""

    @property
    def security(self) -> FrameSecurity:
        """The mode, as the header says it."""
        ...

    def batches(self, start: bytes) -> Batches:
        """For the stream that begins with `start`."""
        ...

    def derived(self, purpose: bytes) -> Self:
        """The same mode with a key for `purpose` alone, which begins with "m2m "."""
        ...


def derive(key: bytes, purpose: bytes) -> bytes:
    """A key of 32 bytes for `purpose`, which begins with "m2m ".

    No frame has a tag over the same bytes: what is authenticated of one begins with its header,
    whose third byte is a schema, and "m" is none.
    """
    return hmac.digest(key, purpose, hashlib.sha256)


class HmacBatches:
    """Batches in clear with a tag. `key` is the stream's."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def close(self, number: int, plain: bytes) -> bytes:
        return plain + self._tag(number, plain)

    def open(self, number: int, sealed: bytes) -> bytes:
        plain, tag = sealed[:-TAG], sealed[-TAG:]
        if not hmac.compare_digest(tag, self._tag(number, plain)):
            raise WireError(CHANGED)
        return plain

    def _tag(self, number: int, plain: bytes) -> bytes:
        said = number.to_bytes(NUMBER, "big") + plain
        return hmac.digest(self._key, said, hashlib.sha256)[:TAG]


def stream_key(key: bytes, start: bytes) -> bytes:
    """The key of the stream that begins with `start`."""
    return derive(key, b"m2m stream" + start)


def _opening(seal: StreamSeal) -> bytes:
    return M2M_PREFIX + write_header(Routing(Schema.STREAM), seal.security, compressed=False)


class BatchSealer:
    """A Transform that seals."""

    __slots__ = ("_batches", "_held", "_number", "_start")

    def __init__(self, seal: StreamSeal, random: Callable[[int], bytes] = os.urandom) -> None:
        """`random` gives what no other stream begins with; only tests pass their own."""
        start = _opening(seal) + random(_SALT)
        self._start = start  # leaves with the first batch
        self._batches = seal.batches(start)
        self._held = bytearray()
        self._number = 0

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """Hold `chunk` for the next flush; what fills a batch leaves at once."""
        self._held += chunk
        out: list[bytes] = []
        while len(self._held) >= MOST_PLAIN:
            out.append(self._batch(bytes(self._held[:MOST_PLAIN])))
            del self._held[:MOST_PLAIN]
        return out

    def flush(self) -> list[bytes]:
        """The batch of what is held."""
        if not self._held:
            return []
        plain = bytes(self._held)
        self._held.clear()
        return [self._batch(plain)]

    def finish(self) -> list[bytes]:
        return [*self.flush(), self._batch(b"")]

    def _batch(self, plain: bytes) -> bytes:
        sealed = self._batches.close(self._number, plain)
        self._number += 1
        start, self._start = self._start, b""
        return start + write_varint(len(sealed)) + sealed


class BatchOpener:
    """A Transform for what a BatchSealer made with the same seal."""

    __slots__ = ("_allowance", "_batches", "_ended", "_number", "_opening", "_partial", "_seal")

    def __init__(self, seal: StreamSeal, limit: int) -> None:
        """`limit` in bytes, of all that comes out."""
        self._seal = seal
        self._opening = _opening(seal)
        self._allowance = Allowance(limit)
        self._batches: Batches | None = None
        self._partial = b""  # of the start, or of a batch
        self._number = 0
        self._ended = False

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        data = self._partial + bytes(chunk)
        out: list[bytes] = []
        at = 0
        if self._batches is None:
            at = self._begin(data)
        while at < len(data) and self._batches is not None:
            if self._ended:
                raise WireError("something follows the stream's end")
            span = read_prefixed(data, at, _MOST_SEALED)
            if span is None:
                break
            at = span[1]
            plain = self._batch(self._batches, data[span[0] : at])
            if plain:
                out.append(plain)
        self._partial = data[at:]
        return out

    def _begin(self, data: bytes) -> int:
        """How many bytes of `data` are the start; 0 while it is not whole."""
        size = len(self._opening) + _SALT
        if not data.startswith(self._opening[: len(data)]):
            raise WireError("it is no sealed stream, or of another security")
        if len(data) < size:
            return 0
        self._batches = self._seal.batches(data[:size])
        return size

    def _batch(self, batches: Batches, sealed: bytes) -> bytes:
        plain = batches.open(self._number, sealed)
        self._number += 1
        self._ended = not plain
        self._allowance.take(len(plain))
        return plain

    def flush(self) -> list[bytes]:
        return []

    def finish(self) -> list[bytes]:
        if not self._ended:
            raise WireError("the sealed stream is cut short")
        return []
