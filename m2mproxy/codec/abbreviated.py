"""`#T1|`: JSON with shorter keys, roles and model names, as the crate's deprecated token codec.

The one rule: every byte that is not one of the names in the tables stays what it is. The text is
never parsed and written again, so that spaces, escapes, the spelling of numbers, the order of keys
and keys that occur twice all survive; and what is written was decoded once and was the same bytes.
A body with a key that looks like an abbreviation is not written at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from m2mproxy.codec.base import (
    ABBREVIATED_PREFIX,
    DEFAULT_LIMITS,
    CannotEncode,
    DecodeLimits,
    WireError,
)
from m2mproxy.codec.jsontext import read_json

Names = Mapping[bytes, bytes]

# The tables of the crate.
_SHORT_KEYS: Names = {
    b"content": b"c",
    b"model": b"M",
    b"temperature": b"T",
    b"max_tokens": b"x",
    b"stream": b"s",
    b"stop": b"S",
    b"top_p": b"p",
    b"frequency_penalty": b"f",
    b"presence_penalty": b"P",
    b"function_call": b"fc",
    b"arguments": b"a",
    b"tool_calls": b"tc",
    b"tool_choice": b"tx",
    b"response_format": b"rf",
    b"logit_bias": b"lb",
    b"logprobs": b"lp",
    b"top_logprobs": b"tlp",
    b"choices": b"C",
    b"finish_reason": b"fr",
    b"prompt_tokens": b"pt",
    b"completion_tokens": b"ct",
    b"total_tokens": b"tt",
    b"delta": b"D",
    b"system_fingerprint": b"sf",
    b"error": b"E",
}
_SHORT_ROLES: Names = {b"system": b"S", b"assistant": b"A", b"function": b"F", b"tool": b"T"}
_SHORT_MODELS: Names = {
    b"gpt-4o": b"g4o",
    b"gpt-4o-mini": b"g4om",
    b"gpt-4-turbo": b"g4t",
    b"gpt-4": b"g4",
    b"gpt-3.5-turbo": b"g35t",
    b"llama-3.1-405b": b"l31405",
    b"llama-3.1-70b": b"l3170",
    b"llama-3.1-8b": b"l318",
    b"llama-3.3-70b": b"l3370",
    b"mistral-large-latest": b"mll",
    b"mistral-small-latest": b"msl",
    b"mixtral-8x7b": b"mx87",
    b"mixtral-8x22b": b"mx822",
    b"deepseek-v3": b"dv3",
    b"deepseek-r1": b"dr1",
    b"deepseek-coder": b"dc",
    b"qwen-2.5-72b": b"q2572",
    b"qwen-2.5-32b": b"q2532",
    b"qwen-2.5-coder-32b": b"qc32",
}


def _reverse(names: Names) -> Names:
    return {short: long for long, short in names.items()}


_NO_NAMES: Names = {}


@dataclass(frozen=True, slots=True)
class _Tables:
    """What becomes of a key, and of a string that is a value, by the key that it belongs to."""

    keys: Names
    values: Mapping[bytes, Names]


_SHORTEN = _Tables(_SHORT_KEYS, {b"role": _SHORT_ROLES, b"model": _SHORT_MODELS})
# Values by their key's long name. The crate takes the `r` of its ancestors for a role as well.
_LONG_ROLES = _reverse(_SHORT_ROLES)
_LENGTHEN = _Tables(
    _reverse(_SHORT_KEYS),
    {b"role": _LONG_ROLES, b"r": _LONG_ROLES, b"model": _reverse(_SHORT_MODELS)},
)

# In text that is known to be JSON: a string, with the colon that makes it a key, or a bracket.
_token = re.compile(rb'"((?:[^"\\]++|\\.)*+)"([ \t\r\n]*+:)?|[{}\[\]]', re.DOTALL)
_OPENING = (b"{", b"[")


def encode(body: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
    """The message that carries `body`, JSON of any spelling.

    Args:
        limits: those of whoever will read it.

    Raises:
        CannotEncode: the body is not JSON (`read_json`), is deeper than the limit, or has names
            that would come back as others.
    """
    try:
        read_json(body)
        message = ABBREVIATED_PREFIX + _renamed(body, _SHORTEN, limits)
        same = decode(message, limits) == body
    except WireError as error:
        raise CannotEncode(str(error)) from None
    if not same:
        raise CannotEncode("a name in the JSON looks like an abbreviation")
    return message


def decode(message: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
    """The body that `message` carries.

    The crate's messages are read as it reads them, with one exception: it adds the parameters that
    are absent, with their defaults, and we add nothing.

    Raises:
        WireError: it has another prefix, is not JSON, or passes a limit.
    """
    limits.check_message(len(message))
    if not message.startswith(ABBREVIATED_PREFIX):
        raise WireError("this is no abbreviated message")
    text = message[len(ABBREVIATED_PREFIX) :]
    read_json(text)
    return _renamed(text, _LENGTHEN, limits)


def _renamed(text: bytes, tables: _Tables, limits: DecodeLimits) -> bytes:
    """`text`, which is JSON, with the names of `tables` in place of those that they name.

    Raises:
        WireError: it is deeper than the limit, or becomes longer.
    """
    pieces: list[bytes] = []
    done = 0  # what of the text is in `pieces`
    size = len(text)
    for start, name, key in _strings(text, limits.depth):
        names = tables.keys if key is None else tables.values.get(key, _NO_NAMES)
        if not names or (tables is _SHORTEN and b"\\" in name):  # its spelling would be lost
            continue
        other = names.get(_unescaped(name))
        if other is not None:
            pieces += (text[done:start], other)
            done = start + len(name)
            size += len(other) - len(name)
            limits.check_decoded(size)
    limits.check_decoded(size)
    pieces.append(text[done:])
    return b"".join(pieces)


def _strings(text: bytes, depth: int) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Every string: where it is, what is between its quotes, and the key it is a value of.

    The key is None where the string is a key itself; a value that has no key has b"". The items of
    an array belong to the array's own key, as in the crate.
    """
    key = b""
    outer: list[bytes] = []
    for match in _token.finditer(text):
        name, colon = match.groups()
        if name is not None:
            yield match.start(1), name, key if colon is None else None
            if colon is not None:
                key = _long_name(name)
        elif match[0] in _OPENING:
            outer.append(key)
            if len(outer) > depth:
                raise WireError(f"the JSON is deeper than {depth} levels")
            if match[0] == b"{":
                key = b""
        else:
            key = outer.pop()


def _unescaped(name: bytes) -> bytes:
    """A string's text, as UTF-8, from what stands between its quotes."""
    if b"\\" not in name:
        return name
    text: str = orjson.loads(b'"' + name + b'"')
    return text.encode()


def _long_name(name: bytes) -> bytes:
    """The key that `name` is or stands for."""
    plain = _unescaped(name)
    return _LENGTHEN.keys.get(plain, plain)


@dataclass(frozen=True, slots=True)
class AbbreviatedCodec:
    """The abbreviated form as a Codec."""

    @property
    def is_text(self) -> bool:
        return True

    def encode(self, body: bytes) -> bytes:
        return encode(body)

    def decode(self, message: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
        return decode(message, limits)
