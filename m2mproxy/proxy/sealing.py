"""Bodies between two instances that share a key: the coding `m2m-aead-<id>` or `m2m-hmac-<id>`.

It is applied last, over a coding that makes the body smaller, where the other side reads one. A
request, and a response that is there whole, is an M2M v1 frame of that security and of its own
schema, whose header says nothing else; any other response is a sealed stream (codec/batches.py),
which begins like a frame and says so by its schema. <id> is of the key, so that a side which names
the coding has shown that it has the key, and nobody seals for a peer that cannot open it.

    key of a way   HMAC-SHA256(the shared key, "m2m 1 " for requests or "m2m 2 " for responses, and
                   the codings applied before, as Content-Encoding lists them)

The one rule: nothing is handed on of what does not open, and it opens only as what it was sealed:
the way back is not the way there, and the codings under the seal are those that it was put on.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Protocol

from m2mproxy.codec import frame
from m2mproxy.codec.base import M2M_PREFIX, DecodeLimits, Transform, WireError
from m2mproxy.codec.batches import BatchOpener, BatchSealer, StreamSeal
from m2mproxy.codec.brotli import DEFAULT_LEVEL as BROTLI_LEVEL
from m2mproxy.codec.routing import Routing, Schema
from m2mproxy.proxy.codings import Whole

_ID = 4  # bytes
# Where the header has its schema.
_SCHEMA_AT = len(M2M_PREFIX) + 2
# What a frame of a response may carry; one that is larger is sent as a stream.
_MOST_FRAME = 2 << 20
# What a frame may be longer than what it carries: all but the payload, with room.
_SEALED_MORE = 1024
_MOST_DERIVED = 64  # more than there are ways and codings that we write


class BothSeal(frame.Seal, StreamSeal, Protocol):
    """What seals frames and streams."""


class PeerSeal:
    """How this instance seals for those that share its key.

    Attributes:
        name: the coding, as it stands in Content-Encoding and Accept-Encoding.
        label: the same for people, without the key's id.
        opened: what secured and other frames of clients are opened with.
    """

    __slots__ = ("_derived", "_seal", "label", "name", "opened")

    def __init__(self, key: bytes, mode: str, aead: BothSeal) -> None:
        """`key` is the shared one, `mode` "aead" or "hmac", and `aead` that seal with the key, from
        whoever has loaded it."""
        mac = frame.HmacSeal(key)
        self._seal: BothSeal = aead if mode == "aead" else mac
        self._derived: dict[tuple[Schema, Sequence[bytes]], BothSeal] = {}
        self.label = f"m2m-{mode}"
        self.name = f"{self.label}-{key_id(key)}".encode()
        self.opened: Sequence[frame.Seal] = (frame.PLAIN, mac, aead)

    def _of(self, way: Schema, inner: Sequence[bytes]) -> BothSeal:
        """The seal for bodies that go that way, coded as `inner` says."""
        known = self._derived.get((way, tuple(inner)))
        if known is None:
            purpose = b"m2m %d %b" % (way, b", ".join(inner))
            known = self._seal.derived(purpose)
            if len(self._derived) < _MOST_DERIVED:
                self._derived[way, tuple(inner)] = known
        return known

    def close(self, body: bytes, way: Schema, inner: Sequence[bytes]) -> bytes:
        """The frame of `body`, which is made smaller here unless it is coded already."""
        quality = 0 if inner else BROTLI_LEVEL
        return frame.encode(
            body, seal=self._of(way, inner), quality=quality, routing=Routing(way)
        )

    def open(self, message: bytes, way: Schema, inner: Sequence[bytes], limit: int) -> bytes:
        """What a frame that goes that way carries.

        Raises:
            TooLarge: more than `limit` bytes.
            WireError: it does not open.
        """
        limits = DecodeLimits(message=limit + _SEALED_MORE, decoded=limit)
        return frame.decode(message, limits, (self._of(way, inner),))

    def sealer(self, whole: bool, inner: Sequence[bytes]) -> Transform:
        """What seals a response. `whole` ones wait for their end."""
        if whole:
            return Whole(lambda body: self.close(body, Schema.RESPONSE, inner))
        return BatchSealer(self._of(Schema.RESPONSE, inner))

    def opener(self, inner: Sequence[bytes], limit: int) -> Transform:
        """What opens a response; a stream is of at most `limit` bytes."""
        return _Opener(
            Whole(lambda message: self.open(message, Schema.RESPONSE, inner, _MOST_FRAME)),
            BatchOpener(self._of(Schema.RESPONSE, inner), limit),
        )


def key_id(key: bytes) -> str:
    """What shows a key and does not tell it. No frame's or stream's tag is over these bytes."""
    return hmac.digest(key, b"m2m id", hashlib.sha256)[:_ID].hex()


class _Opener:
    """A Transform for what a sealer made, whichever it was."""

    def __init__(self, whole: Transform, stream: Transform) -> None:
        self._whole = whole
        self._stream = stream
        self._start = b""
        self._chosen: Transform | None = None

    def feed(self, chunk: bytes | memoryview) -> Iterable[bytes]:
        """See `Transform`."""
        if self._chosen is not None:
            return self._chosen.feed(chunk)
        self._start += bytes(chunk)
        if len(self._start) <= _SCHEMA_AT:
            return []
        is_stream = self._start[_SCHEMA_AT] == Schema.STREAM
        self._chosen = self._stream if is_stream else self._whole
        return self._chosen.feed(self._start)

    def flush(self) -> list[bytes]:
        """See `Transform`."""
        return []

    def finish(self) -> list[bytes]:
        """See `Transform`."""
        if self._chosen is None:
            raise WireError("the sealed body is cut short")
        return self._chosen.finish()
