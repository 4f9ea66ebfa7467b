"""Every form of a body by the name that a person gives it: those of forms, the standard content
codings, and the static form between two m2mproxy instances.

The one rule: a form is recognised by its bytes only where those leave no doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m2mproxy.codec import coding, dictionaries, forms, frame, static
from m2mproxy.codec.base import DEFAULT_LIMITS, Codec, DecodeLimits, Form, sniff
from m2mproxy.codec.brotli import DEFAULT_LEVEL as BROTLI_LEVEL
from m2mproxy.codec.token_native import Vocabularies

AUTO, STATIC = "auto", "static"
STANDARD = tuple(name.decode() for name in coding.STANDARD)
# What AUTO compares.
CANDIDATES = ("m2m", "zstd", "br", "gzip", STATIC)

_MAGIC = ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\x1f\x8b", "gzip"))


@dataclass(frozen=True, slots=True)
class _Coding:
    """A standard content coding as a Codec."""

    name: bytes
    level: int | None

    @property
    def is_text(self) -> bool:
        return False

    def encode(self, body: bytes) -> bytes:
        return coding.encode(self.name, body, self.level)

    def decode(self, message: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
        limits.check_message(len(message))
        return coding.decode(self.name, message, limits.decoded)


@dataclass(frozen=True, slots=True)
class StaticCodec:
    """The static form of one way as a Codec."""

    way: static.Way

    @property
    def is_text(self) -> bool:
        return False

    def encode(self, body: bytes) -> bytes:
        return static.encode(body, self.way)

    def decode(self, message: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
        limits.check_message(len(message))
        return static.decode(message, self.way, limits.decoded)


def table(
    seals: Sequence[frame.Seal] = (frame.PLAIN,),
    level: int | None = None,
    way: static.Way = static.Way.REQUEST,
    vocabularies: Vocabularies = forms.NO_VOCABULARIES,
) -> dict[str, Codec]:
    """Every form by its name.

    Args:
        seals: for frames: the first is written with, all are read with.
        level: of what compresses, where not its own; the nearest that there is.
        way: which dictionary the static form has.
        vocabularies: as `forms.codecs`.
    """
    quality = BROTLI_LEVEL if level is None else min(level, 11)
    return {
        **forms.codecs(seals, vocabularies, quality),
        **{name.decode(): _Coding(name, level) for name in coding.STANDARD},
        STATIC: StaticCodec(way),
    }


def canonical(name: str) -> str:
    """The table's name for a form; the static one has another on the wire, with its version."""
    return STATIC if name in ("m2m-static", f"m2m-{dictionaries.version()}") else name


def recognised(message: bytes) -> str | None:
    """The form, by the first bytes; None where they do not tell."""
    form = sniff(message)
    if form is not None:
        return form.value
    return next((name for magic, name in _MAGIC if message.startswith(magic)), None)


def decode(
    name: str,
    message: bytes,
    known: dict[str, Codec],
    seals: Sequence[frame.Seal] = (frame.PLAIN,),
    vocabularies: Vocabularies = forms.NO_VOCABULARIES,
) -> bytes:
    """What a message of the form carries: one that `known` names, or that was recognised.

    Raises:
        WireError: it is not of this form, is damaged, or passes a limit.
    """
    if name == Form.TOKENS.value:  # the message itself says of which vocabulary
        return forms.decode_any(message, DEFAULT_LIMITS, seals, vocabularies)[1]
    return known[name].decode(message, DEFAULT_LIMITS)
