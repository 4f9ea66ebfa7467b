"""ChaCha20-Poly1305 for M2M v1 frames (RFC 8439): in its own place, since cryptography is large.

The one rule: a nonce is random and used once. With 12 random bytes one key is good for about four
thousand million frames (NIST SP 800-38D 8.3 counts the same for nonces of this size); whoever sends
more takes a new key, and lists the old one beside it for as long as it may still be used.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from m2mproxy.codec.base import WireError
from m2mproxy.codec.batches import CHANGED, NUMBER, Batches, derive, stream_key
from m2mproxy.codec.header import FrameSecurity

_NONCE = 12
_TAG = 16


class AeadSeal:
    """The header in clear but authenticated; everything after it encrypted. A `Seal`."""

    security = FrameSecurity.AEAD

    def __init__(self, key: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        """`key` is 32 bytes, and a secret. `random` gives nonces; only tests pass their own.

        Raises:
            ValueError: the key has another length.
        """
        self._cipher = ChaCha20Poly1305(key)
        self._random = random
        self._key = key

    def close(self, head: bytes, section: bytes) -> bytes:
        nonce = self._random(_NONCE)
        return nonce + self._cipher.encrypt(nonce, section, head)

    def open(self, head: bytes, rest: memoryview) -> bytes | memoryview:
        if len(rest) < _NONCE + _TAG:
            raise WireError("the frame is cut short")
        try:
            return self._cipher.decrypt(bytes(rest[:_NONCE]), rest[_NONCE:], head)
        except InvalidTag:
            raise WireError("the frame was changed, or closed with another key") from None

    def derived(self, purpose: bytes) -> AeadSeal:
        """See `StreamSeal`."""
        return AeadSeal(derive(self._key, purpose), self._random)

    def batches(self, start: bytes) -> Batches:
        """See `StreamSeal`."""
        return AeadBatches(stream_key(self._key, start))


class AeadBatches:
    """Encrypted batches. `key` is the stream's, so that their numbers are nonces."""

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)

    def close(self, number: int, plain: bytes) -> bytes:
        return self._cipher.encrypt(number.to_bytes(NUMBER, "big"), plain, None)

    def open(self, number: int, sealed: bytes) -> bytes:
        try:
            return self._cipher.decrypt(number.to_bytes(NUMBER, "big"), sealed, None)
        except InvalidTag:
            raise WireError(CHANGED) from None
