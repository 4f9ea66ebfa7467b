"""The work of `m2m compress`, `decompress` and `inspect`: one form, or the best (codec.named).

The one rule: what is written is in the form that was asked for, or the reason why it cannot be is
said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from m2mproxy.cli.data import Failure, utf8
from m2mproxy.cli.options import EXIT_USAGE
from m2mproxy.cli.vocabularies import OnDemand
from m2mproxy.codec import dictionaries, forms, frame, static
from m2mproxy.codec.base import DEFAULT_LIMITS, CannotEncode, Codec, WireError
from m2mproxy.codec.header import FrameSecurity
from m2mproxy.codec.named import (
    AUTO,
    CANDIDATES,
    STANDARD,
    STATIC,
    StaticCodec,
    canonical,
    decode,
    recognised,
    table,
)
from m2mproxy.codec.token_native import NoVocabulary

PLAIN = "plain"
VOCABULARIES = OnDemand()
FRAMES = ("m2m", "m2m-text")
# What "auto" compares where text is asked for.
_TEXT_CANDIDATES = ("m2m-text", "t1")

_WITH_LEVELS = frozenset((*FRAMES, "m2m-v3", *STANDARD))
_TEXT_OF = {"m2m": "m2m-text"}
_UNTOLD = "br, deflate and binary token ids cannot be told by their bytes"


def _way(response: bool) -> static.Way:
    return static.Way.RESPONSE if response else static.Way.REQUEST


def _named(name: str, known: Mapping[str, Codec]) -> str:
    """The table's name for the form. Raises Failure."""
    name = canonical(name)
    if name != AUTO and name not in known:
        names = ", ".join((AUTO, *known))
        raise Failure(f'no form is called "{name}": choose one of {names}', EXIT_USAGE)
    return name


def seals(hmac: bytes | None, aead: bytes | None) -> tuple[frame.Seal, ...]:
    """What frames are secured with, by the keys; none for none. Raises Failure."""
    found: list[frame.Seal] = []
    try:
        if hmac is not None:
            found.append(frame.HmacSeal(hmac))
        if aead is not None:
            from m2mproxy.codec.sealed import AeadSeal  # ten megabytes that few need

            found.append(AeadSeal(aead))
    except ValueError as error:
        why = "an AEAD key has 32 bytes" if aead is not None and len(aead) != 32 else str(error)
        raise Failure(f"{why}; written in hex that is twice as many digits") from None
    return tuple(found)


def _reason(name: str, error: ValueError) -> str:
    """Why a form could not be written or read, with what to do about it."""
    text = f"{name}: {error}"
    if isinstance(error, NoVocabulary):
        text += "; m2mproxy[llama] brings it"  # the others come with m2mproxy
    if isinstance(error, frame.NotAccepted) and error.security is not FrameSecurity.NONE:
        text += f"; --{error.security.name.lower()}-key-file opens it"
    if name == STATIC:
        version = dictionaries.version()
        text += f" (the way has to be the same, see --response, and the version m2m-{version})"
    return text


# ---- writing ------------------------------------------------------------------------------------


class FormWriter:
    """One form, or the smallest of several."""

    def __init__(
        self,
        form: str,
        level: int | None = None,
        text: bool = False,
        response: bool = False,
        keys: Sequence[frame.Seal] = (),
    ) -> None:
        """Raises Failure where what is asked for does not go together."""
        if len(keys) > 1:
            raise Failure("a frame is secured with one key, not with two", EXIT_USAGE)
        self._table = table(keys or (frame.PLAIN,), level, _way(response), VOCABULARIES)
        name = _named(form, self._table)
        self._may_be_plain = name == AUTO and not keys
        self._text = text
        self._names = self._chosen(name, text, bool(keys))
        if name == AUTO:
            return
        name = self._names[0]
        for asked, able, what in (
            (level is not None, name in _WITH_LEVELS, "--level"),
            (response, name == STATIC, "--response"),
        ):
            if asked and not able:
                raise Failure(f"{what} means nothing to {name}", EXIT_USAGE)

    def _chosen(self, name: str, text: bool, secured: bool) -> tuple[str, ...]:
        if name == AUTO:
            if secured:
                return (FRAMES[text],)
            return _TEXT_CANDIDATES if text else CANDIDATES
        if text and not self._table[name].is_text:
            name = _TEXT_OF.get(name, name.removesuffix("-binary"))
            if not self._table[name].is_text:
                raise Failure(f"{name} has no text form; --json prints it in base64", EXIT_USAGE)
        if secured and name not in FRAMES:
            raise Failure(f"{name} cannot be secured; {' and '.join(FRAMES)} can", EXIT_USAGE)
        return (name,)

    def encode(self, body: bytes) -> tuple[str, bytes]:
        """The form and the message; the form "plain" where nothing makes the body smaller. Raises
        Failure."""
        made: list[tuple[str, bytes]] = []
        why = ""
        for name in self._names:
            try:
                made.append((name, self._table[name].encode(body)))
            except CannotEncode as refusal:
                why = _reason(name, refusal)
        if not made:
            raise Failure(why)
        name, message = min(made, key=lambda each: len(each[1]))
        if len(message) >= len(body) and self._goes_plain(body):
            return PLAIN, body
        if len(message) > DEFAULT_LIMITS.message:
            raise Failure(f"{name}: it would be longer than {DEFAULT_LIMITS.message} bytes")
        return name, message

    def _goes_plain(self, body: bytes) -> bool:
        """Whether it may be left as it is: not if it would then be taken for something else."""
        text = not self._text or utf8(body) is not None
        return self._may_be_plain and text and recognised(body) is None

    def is_text(self, name: str) -> bool:
        """Whether the form is one of text."""
        return name == PLAIN or self._table[name].is_text


# ---- reading ------------------------------------------------------------------------------------


def _static_body(message: bytes) -> bytes | None:
    """What the static form of either way carries. Its length and checksum leave no doubt."""
    for way in static.Way:
        try:
            return static.decode(message, way, DEFAULT_LIMITS.decoded)
        except WireError:
            continue
    return None


class FormReader:
    """Reads one form, or whatever comes."""

    def __init__(
        self, form: str = AUTO, response: bool = False, keys: Sequence[frame.Seal] = ()
    ) -> None:
        """With `keys` only what they secure is read. Raises Failure where what is asked for does
        not go together."""
        self._seals = tuple(keys) or (frame.PLAIN,)
        self._keyed = bool(keys)
        self._table = table(self._seals, way=_way(response), vocabularies=VOCABULARIES)
        self._form = _named(form, self._table)
        if keys and self._form not in (AUTO, *FRAMES):
            raise Failure(f"{self._form} cannot be secured, and a key is given", EXIT_USAGE)
        if response and self._form not in (AUTO, STATIC):
            raise Failure(f"--response means nothing to {self._form}", EXIT_USAGE)

    def decode(self, message: bytes) -> tuple[str, bytes, dict[str, object] | None]:
        """The form, the body, and a frame's header. Raises Failure."""
        name: str | None = self._form
        if name == AUTO:
            name = recognised(message)
            if self._keyed and name not in FRAMES:
                raise Failure("a key is given, and this is no M2M frame")
            if name is None:
                return self._untold(message)
        assert name is not None
        try:
            body = decode(name, message, self._table, self._seals, VOCABULARIES)
            header = frame.peek(message).as_dict() if name in FRAMES else None
        except WireError as error:
            raise Failure(_reason(name, error)) from None
        if header is not None:
            name = recognised(message) or name
        return name, body, header

    def _untold(self, message: bytes) -> tuple[str, bytes, None]:
        body = _static_body(message)
        if body is None:
            raise Failure(f"this begins like no form; {_UNTOLD}, so name such a one with --form")
        return STATIC, body, None


# ---- looking ------------------------------------------------------------------------------------


def look(message: bytes, keys: Sequence[frame.Seal] = ()) -> dict[str, object]:
    """What `message` is, and what every form would make of what it carries; values as JSON has.

    Of `codec.forms.inspect` it has everything; besides `note` where the bytes may be of a form that
    they do not tell, and `forms` where they can be decoded.
    """
    seen = forms.inspect(message, seals=(frame.PLAIN, *keys), vocabularies=VOCABULARIES)
    name = recognised(message)
    body: bytes | None = message
    if name is None:
        found = _static_body(message)
        if found is not None:
            body = found
            seen.update(form=STATIC, decoded_bytes=len(found))
        elif utf8(message) is None:
            seen["note"] = _UNTOLD
    else:
        seen["form"] = name
        body = _decoded(name, message, keys, seen)
    if body is not None:
        seen["forms"] = [_row(size, len(body)) for size in forms.compare(body, _compared())]
    return seen


def _decoded(
    name: str, message: bytes, keys: Sequence[frame.Seal], seen: dict[str, object]
) -> bytes | None:
    try:
        seals = (frame.PLAIN, *keys)
        body = decode(name, message, table(seals), seals, VOCABULARIES)
    except WireError as error:
        seen.pop("decoded_bytes", None)
        seen["error"] = _reason(name, error)
        return None
    seen["decoded_bytes"] = len(body)
    return body


def _compared() -> dict[str, Codec]:
    every = table(vocabularies=VOCABULARIES)
    return {**every, f"{STATIC} --response": StaticCodec(static.Way.RESPONSE)}


def _row(size: forms.Size, plain: int) -> dict[str, object]:
    if size.size is None:
        return {"form": size.name, "reason": size.refusal}
    return {"form": size.name, "bytes": size.size, "saved_percent": saved(plain, size.size)}


def saved(plain: int, coded: int) -> float:
    """How much smaller `coded` bytes are, in percent."""
    return round(100 * (1 - coded / plain), 1) if plain else 0.0
