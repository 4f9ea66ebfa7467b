"""M2M v1 frames: a header that anyone can read, and a body that arrives exactly or not at all.

The one rule: the payload is the body's own bytes, never re-serialised, and nothing of it is handed
out before its security, its length and its checksum agree.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from m2mproxy.codec import brotli
from m2mproxy.codec.base import (
    DEFAULT_LIMITS,
    M2M_PREFIX,
    CannotEncode,
    DecodeLimits,
    Form,
    WireError,
    sniff,
)
from m2mproxy.codec.batches import Batches, HmacBatches, derive, stream_key
from m2mproxy.codec.header import (
    FIXED,
    MAX_HEADER,
    FrameSecurity,
    Header,
    read_header,
    write_header,
)
from m2mproxy.codec.routing import Routing, Schema, describe

_section = struct.Struct("<II")  # payload length, crc32 of the body
COMPRESS_FROM = 100  # bytes, as the crate; below, brotli costs more than it saves
# What cryptography encrypts at once is under 2 GiB, and what a length field says under 4.
_MAX_BODY = 1 << 30

_MIN_HMAC_KEY = 16  # bytes, as the crate
_TAG = 32


class NotAccepted(WireError):
    """The frame is secured in a way that is not among the accepted ones."""

    def __init__(self, security: FrameSecurity) -> None:
        super().__init__(f"security {security.name} is not accepted here")
        self.security = security


class Seal(Protocol):
    """How frames are secured: one mode with one key."""

    @property
    def security(self) -> FrameSecurity:
        """The mode, as the header says it."""
        ...

    def close(self, head: bytes, section: bytes) -> bytes:
        """What follows `head` on the wire.

        Args:
            head: the whole header without the prefix, which stays readable.
            section: payload length, checksum and payload.
        """
        ...

    def open(self, head: bytes, rest: memoryview) -> bytes | memoryview:
        """The section, of what follows `head` on the wire.

        Raises:
            WireError: it was not closed with this key, or was changed since.
        """
        ...


class Plain:
    """No security: what follows the header is the section itself."""

    security = FrameSecurity.NONE

    def close(self, head: bytes, section: bytes) -> bytes:
        return section

    def open(self, head: bytes, rest: memoryview) -> bytes | memoryview:
        return rest


PLAIN = Plain()


class HmacSeal:
    """HMAC-SHA256 (RFC 2104) of header and section, after both."""

    security = FrameSecurity.HMAC

    def __init__(self, key: bytes) -> None:
        """`key` is at least 16 bytes, and a secret.

        Raises:
            ValueError: it is shorter.
        """
        if len(key) < _MIN_HMAC_KEY:
            raise ValueError(f"an HMAC key has at least {_MIN_HMAC_KEY} bytes")
        self._key = key

    def close(self, head: bytes, section: bytes) -> bytes:
        return section + self._tag(head, section)

    def open(self, head: bytes, rest: memoryview) -> bytes | memoryview:
        section, tag = rest[:-_TAG], rest[-_TAG:]
        if not hmac.compare_digest(tag, self._tag(head, section)):
            raise WireError("the frame was changed, or closed with another key")
        return section

    def derived(self, purpose: bytes) -> HmacSeal:
        """See `StreamSeal`."""
        return HmacSeal(derive(self._key, purpose))

    def batches(self, start: bytes) -> Batches:
        """See `StreamSeal`."""
        return HmacBatches(stream_key(self._key, start))

    def _tag(self, head: bytes, section: bytes | memoryview) -> bytes:
        code = hmac.new(self._key, head, hashlib.sha256)
        code.update(section)
        return code.digest()


def encode(
    body: bytes,
    *,
    text: bool = False,
    seal: Seal = PLAIN,
    quality: int = brotli.DEFAULT_LEVEL,
    schema: Schema | None = None,
    routing: Routing | None = None,
) -> bytes:
    """The frame that carries `body`, which may be any bytes.

    Args:
        text: base64 after the prefix, for carriers that are not safe for other bytes.
        seal: with which security, and key.
        quality: brotli's, 0 to 11.
        schema: what the body is known to be; None to tell by its keys.
        routing: what the header says, instead of what the body does.

    Raises:
        CannotEncode: the body is larger than 1 GiB.
    """
    if len(body) > _MAX_BODY:
        raise CannotEncode("the body is too large for a frame")
    payload = brotli.compress(body, quality) if len(body) >= COMPRESS_FROM else body
    compressed = len(payload) < len(body)
    if not compressed:
        payload = body
    head = write_header(routing or describe(body, schema), seal.security, compressed)
    section = _section.pack(len(payload), zlib.crc32(body)) + payload
    rest = seal.close(head, section)
    if text:
        return M2M_PREFIX + binascii.b2a_base64(head + rest, newline=False)
    return b"".join((M2M_PREFIX, head, rest))


def decode(
    frame: bytes, limits: DecodeLimits = DEFAULT_LIMITS, seals: Sequence[Seal] = (PLAIN,)
) -> bytes:
    """The body that `frame`, binary or text, carries.

    Args:
        seals: the ways of securing that are accepted. Without PLAIN among them an unsecured frame
            is refused; several of one mode are tried in order, so that keys can be exchanged.

    Raises:
        NotAccepted: it is secured in another way.
        WireError: it is no frame, is damaged, or passes a limit.
    """
    limits.check_message(len(frame))
    raw = _binary(frame)
    header = read_header(raw)
    section = _open(header, raw, seals)
    if len(section) < _section.size:
        raise WireError("the frame is cut short before its payload")
    length, checksum = _section.unpack_from(section)
    payload = memoryview(section)[_section.size :]
    if len(payload) != length:
        raise WireError("the frame's payload is not as long as it says")
    if header.is_compressed:
        body = brotli.decompress(payload, limits.decoded)
    else:
        limits.check_decoded(length)
        body = bytes(payload)
    if zlib.crc32(body) != checksum:
        raise WireError("the frame's checksum is not that of its body")
    return body


def peek(frame: bytes) -> Header:
    """The header of a frame, or of the first part of one that holds it all.

    Nothing of it is verified, not even where the frame is secured: that takes `decode`.

    Raises:
        WireError: it is no frame, or the header is not whole.
    """
    return read_header(_binary(frame, head_only=True))


def _binary(frame: bytes, head_only: bool = False) -> bytes:
    """What follows the prefix, of a text frame too; of the header at least all there is."""
    form = sniff(frame)
    start = len(M2M_PREFIX)
    if form is Form.M2M:
        return frame[start : start + MAX_HEADER] if head_only else frame[start:]
    if form is not Form.M2M_TEXT:
        raise WireError("this is no M2M frame")
    end = start + _digits_of_header(frame[start : start + 4]) if head_only else None
    return _from_base64(frame[start:end])


def _digits_of_header(first: bytes) -> int:
    """How many base64 digits hold the header, from the first four of them."""
    size = max(FIXED, int.from_bytes(_from_base64(first)[:2], "little"))
    return -(-size // 3) * 4


def _from_base64(digits: bytes) -> bytes:
    try:
        return binascii.a2b_base64(digits, strict_mode=True)
    except binascii.Error:
        raise WireError("the frame is not base64") from None


def _open(header: Header, raw: bytes, seals: Sequence[Seal]) -> bytes | memoryview:
    head, rest = raw[: header.size], memoryview(raw)[header.size :]
    refusal = ""
    for seal in seals:
        if seal.security is header.security:
            try:
                return seal.open(head, rest)
            except WireError as error:
                refusal = str(error)
    if refusal:
        raise WireError(refusal)
    raise NotAccepted(header.security)


@dataclass(frozen=True, slots=True)
class FrameCodec:
    """Frames as a Codec; the first of `seals` is the one to write with."""

    is_text: bool = False
    seals: Sequence[Seal] = (PLAIN,)
    quality: int = brotli.DEFAULT_LEVEL

    def encode(self, body: bytes) -> bytes:
        return encode(body, text=self.is_text, seal=self.seals[0], quality=self.quality)

    def decode(self, message: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
        return decode(message, limits, self.seals)
