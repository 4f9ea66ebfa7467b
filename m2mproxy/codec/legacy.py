"""`#M2M[v3.0]|DATA:`: brotli in base64, as the 0.2 and 0.3 ancestors of the crate write it.

The one rule: it carries text and nothing else, since those who read it expect text.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass

from m2mproxy.codec import brotli
from m2mproxy.codec.base import (
    DEFAULT_LIMITS,
    LEGACY_PREFIX,
    CannotEncode,
    DecodeLimits,
    WireError,
    check_text,
)


def encode(body: bytes, quality: int = brotli.DEFAULT_LEVEL) -> bytes:
    """The message that carries `body`. The crate's own quality is 11, which no reader can tell.

    Raises:
        CannotEncode: the body is not UTF-8.
    """
    try:
        check_text((body,))
    except WireError:
        raise CannotEncode("this form carries UTF-8 only") from None
    return LEGACY_PREFIX + binascii.b2a_base64(brotli.compress(body, quality), newline=False)


def decode(message: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
    """The body that `message` carries.

    Raises:
        WireError: it has another prefix, is not base64 of brotli of UTF-8, or passes a limit.
    """
    limits.check_message(len(message))
    if not message.startswith(LEGACY_PREFIX):
        raise WireError("this is no v3.0 message")
    try:
        payload = binascii.a2b_base64(message[len(LEGACY_PREFIX) :], strict_mode=True)
    except binascii.Error:
        raise WireError("the message is not base64") from None
    body = brotli.decompress(payload, limits.decoded)
    check_text((body,))
    return body


@dataclass(frozen=True, slots=True)
class LegacyCodec:
    """The v3.0 text as a Codec."""

    quality: int = brotli.DEFAULT_LEVEL

    @property
    def is_text(self) -> bool:
        return True

    def encode(self, body: bytes) -> bytes:
        return encode(body, self.quality)

    def decode(self, message: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
        return decode(message, limits)
