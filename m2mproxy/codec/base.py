"""What every form of a body shares: its name, its limits, its errors, and how it is recognised.

The one rule: a decoder, given any bytes, returns the whole body or raises WireError, and an encoder
writes what decodes to exactly the same bytes or raises CannotEncode. Nothing in between.
"""

from __future__ import annotations

import codecs
import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

MiB = 1024 * 1024


class WireError(ValueError):
    """The bytes are not what their form promises. The only thing a decoder raises."""


class TooLarge(WireError):
    """A limit is reached: the message is, or would decode to, more than is allowed."""


class CannotEncode(ValueError):
    """This form cannot carry this body exactly; another one has to."""


class Form(enum.Enum):
    """The forms that say by their own bytes how to read them.

    The binary variant of token ids is not among them: nothing tells it from other bytes, and it is
    read only where somebody says that it is there (token_native.decode_binary).
    """

    M2M = "m2m"
    M2M_TEXT = "m2m-text"
    TOKENS = "tk"
    ABBREVIATED = "t1"
    LEGACY = "m2m-v3"


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What a decoder accepts: bytes of a message, bytes it decodes to, levels of JSON."""

    message: int = 16 * MiB
    decoded: int = 16 * MiB
    depth: int = 32

    def check_message(self, size: int) -> None:
        """Refuse a message of `size` bytes that is too long to look at.

        Raises:
            TooLarge: it is.
        """
        if size > self.message:
            raise TooLarge(f"the message is longer than {self.message} bytes")

    def check_decoded(self, size: int) -> None:
        """Refuse to go on where `size` bytes were decoded already.

        Raises:
            TooLarge: that is more than allowed.
        """
        if size > self.decoded:
            raise TooLarge(f"the message decodes to more than {self.decoded} bytes")


DEFAULT_LIMITS = DecodeLimits()

M2M_PREFIX = b"#M2M|1|"
TOKENS_PREFIX = b"#TK|"
ABBREVIATED_PREFIX = b"#T1|"
LEGACY_PREFIX = b"#M2M[v3.0]|DATA:"

# How much of a body `sniff` needs to see; it may be given all of it.
SNIFF_BYTES = len(LEGACY_PREFIX)

_PREFIXES = (
    (M2M_PREFIX, Form.M2M),
    (TOKENS_PREFIX, Form.TOKENS),
    (ABBREVIATED_PREFIX, Form.ABBREVIATED),
    (LEGACY_PREFIX, Form.LEGACY),
)
# Where a binary frame says how it is secured, in three small numbers. No base64 has such bytes, so
# this one byte tells the two apart, whatever else the frame holds.
_SECURITY_AT = len(M2M_PREFIX) + 3
_MAX_SECURITY = 2


def sniff(prefix: bytes) -> Form | None:
    """The form of a body that begins with `prefix`; None where it is no form but a body as it is.

    Args:
        prefix: the first SNIFF_BYTES bytes or more, or all there are.
    """
    if not prefix.startswith(b"#"):
        return None
    for marker, form in _PREFIXES:
        if prefix.startswith(marker):
            return Form.M2M_TEXT if form is Form.M2M and _is_text(prefix) else form
    return None


def _is_text(frame: bytes) -> bool:
    """Whether base64 follows. A frame that ends before it says so is refused as either."""
    return len(frame) > _SECURITY_AT and frame[_SECURITY_AT] > _MAX_SECURITY


def check_text(pieces: Iterable[bytes]) -> None:
    """Refuse what is not UTF-8, where a form carries text only.

    Raises:
        WireError: it is not.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()  # strict, and nothing is kept of the text
    try:
        for piece in pieces:
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise WireError("the message does not decode to UTF-8") from None


class Codec(Protocol):
    """One way to write a body, whole: what `m2m compress` names, and what the proxy chooses."""

    @property
    def is_text(self) -> bool:
        """Whether a carrier of text can have what it writes: UTF-8 where the body is."""
        ...

    def encode(self, body: bytes) -> bytes:
        """The message that carries `body`.

        Raises:
            CannotEncode: this form cannot carry it exactly.
        """
        ...

    def decode(self, message: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
        """The body that `message` carries.

        Raises:
            WireError: it is not of this form, is damaged, or passes a limit.
        """
        ...


class Transform(Protocol):
    """One way to code a body as it passes, in one direction; it keeps what it needs to go on."""

    def feed(self, chunk: bytes | memoryview) -> Iterable[bytes]:
        """What can leave now that `chunk` came; often nothing. To be taken to its end before the
        next call; a little that holds much is decoded as it is taken.

        Raises:
            WireError: when decoding: the bytes are damaged, or pass a limit.
        """
        ...

    def flush(self) -> list[bytes]:
        """What must leave for the other side to have all that was fed; the stream goes on."""
        ...

    def finish(self) -> list[bytes]:
        """What is left at the end.

        Raises:
            WireError: when decoding: the end came too early.
        """
        ...


def some(piece: bytes) -> list[bytes]:
    """What a Transform puts out: `piece`, or nothing."""
    return [piece] if piece else []
