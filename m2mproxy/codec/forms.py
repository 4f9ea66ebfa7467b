"""All forms in one table: to write any by its name, to read whatever comes, to look at it.

The one rule: what comes says by itself which form it is, and what is in no form is a body as it is.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from m2mproxy.codec import abbreviated, frame, legacy, token_native
from m2mproxy.codec.base import (
    DEFAULT_LIMITS,
    CannotEncode,
    Codec,
    DecodeLimits,
    Form,
    WireError,
    sniff,
)
from m2mproxy.codec.brotli import DEFAULT_LEVEL as BROTLI_LEVEL

NO_VOCABULARIES: token_native.Vocabularies = {}


def codecs(
    seals: Sequence[frame.Seal] = (frame.PLAIN,),
    vocabularies: token_native.Vocabularies = NO_VOCABULARIES,
    quality: int = BROTLI_LEVEL,
) -> dict[str, Codec]:
    """Every form that can be written, by the name that a person gives it.

    Args:
        seals: for frames: the first is written with, all are read with.
        vocabularies: by letter; without one its form refuses.
        quality: brotli's, 0 to 11.
    """
    table: dict[str, Codec] = {
        "m2m": frame.FrameCodec(False, seals, quality),
        "m2m-text": frame.FrameCodec(True, seals, quality),
    }
    for letter in token_native.VOCABULARIES:
        name = f"tk-{letter.lower()}"
        table[name] = token_native.TokenCodec(letter, vocabularies)
        table[f"{name}-binary"] = token_native.TokenCodec(letter, vocabularies, binary=True)
    table["t1"] = abbreviated.AbbreviatedCodec()
    table["m2m-v3"] = legacy.LegacyCodec(quality)
    return table


def decode_any(
    body: bytes,
    limits: DecodeLimits = DEFAULT_LIMITS,
    seals: Sequence[frame.Seal] = (frame.PLAIN,),
    vocabularies: token_native.Vocabularies = NO_VOCABULARIES,
) -> tuple[Form | None, bytes]:
    """The form that `body` is in, and what it carries; once, whatever that looks like in turn.

    In no form (None), it is given back as it is; the limit on a message holds all the same.

    Raises:
        WireError: it begins as a form but cannot be read, or passes a limit.
    """
    form = sniff(body)
    if form is None:
        limits.check_message(len(body))
        return None, body
    return form, _decode(form, body, limits, seals, vocabularies)


def _decode(
    form: Form,
    body: bytes,
    limits: DecodeLimits,
    seals: Sequence[frame.Seal],
    vocabularies: token_native.Vocabularies,
) -> bytes:
    if form is Form.TOKENS:
        return token_native.decode(body, vocabularies, limits)
    if form is Form.ABBREVIATED:
        return abbreviated.decode(body, limits)
    if form is Form.LEGACY:
        return legacy.decode(body, limits)
    return frame.decode(body, limits, seals)


def inspect(
    body: bytes,
    limits: DecodeLimits = DEFAULT_LIMITS,
    seals: Sequence[frame.Seal] = (frame.PLAIN,),
    vocabularies: token_native.Vocabularies = NO_VOCABULARIES,
) -> dict[str, object]:
    """What `body` is, for a person to look at; values are such as JSON has.

    `form` ("plain" for none) and `bytes` are always there; `header` where a frame's can be read;
    `decoded_bytes` where the body can be, else `error`, which says why not.
    """
    form = sniff(body)
    seen: dict[str, object] = {"form": form.value if form else "plain", "bytes": len(body)}
    try:
        if form in (Form.M2M, Form.M2M_TEXT):
            seen["header"] = frame.peek(body).as_dict()
        seen["decoded_bytes"] = len(decode_any(body, limits, seals, vocabularies)[1])
    except WireError as error:
        seen["error"] = str(error)
    return seen


@dataclass(frozen=True, slots=True)
class Size:
    """What a form would make of a body: bytes, or the reason why it cannot carry it."""

    name: str
    size: int | None
    refusal: str = ""


def compare(body: bytes, table: Mapping[str, Codec]) -> list[Size]:
    """What every form of `table` would make of `body`, in the table's order."""
    return [_size(name, codec, body) for name, codec in table.items()]


def _size(name: str, codec: Codec, body: bytes) -> Size:
    try:
        return Size(name, len(codec.encode(body)))
    except CannotEncode as refusal:
        return Size(name, None, str(refusal))


def sizes(name: str, plain: int, coded: int) -> dict[str, object]:
    """How large a body is plain and in the form of that name; values are such as JSON has."""
    return {
        "algorithm": name,
        "original_bytes": plain,
        "compressed_bytes": coded,
        "ratio": round(coded / plain, 4) if plain else 1.0,
    }


def in_json(data: bytes, may_be_text: bool = True) -> dict[str, object]:
    """`data` as a member of JSON: as text where it is UTF-8, and may be, else in base64."""
    try:
        if may_be_text:
            return {"data": data.decode(), "encoding": "text"}
    except UnicodeDecodeError:
        pass
    return {"data": b64encode(data).decode(), "encoding": "base64"}
