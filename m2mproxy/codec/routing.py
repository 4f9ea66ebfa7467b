"""What the header of an M2M v1 frame says of its body, so that it can be routed unopened.

The one rule: this is a hint beside the body, never the body: it is read from the JSON once, cannot
fail, and nobody who has the body decides anything by it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from m2mproxy.codec.base import WireError
from m2mproxy.codec.jsontext import read_json


class Schema(enum.IntEnum):
    """What kind of body it is; the first eight values are the wire's."""

    REQUEST = 0x01
    RESPONSE = 0x02
    STREAM = 0x03
    EMBEDDING_REQUEST = 0x04
    EMBEDDING_RESPONSE = 0x05
    ERROR = 0x10
    CUSTOM = 0xFE  # JSON of another shape
    UNKNOWN = 0xFF  # no JSON


class Finish(enum.IntEnum):
    """Why a response ended."""

    STOP = 0
    LENGTH = 1
    TOOL_CALLS = 2
    CONTENT_FILTER = 3
    OTHER = 0xFF


# Which schemas have which variable header; the others have none.
REQUESTS = frozenset((Schema.REQUEST, Schema.EMBEDDING_REQUEST))
RESPONSES = frozenset((Schema.RESPONSE, Schema.EMBEDDING_RESPONSE, Schema.ERROR))

ROLES = ("system", "user", "assistant", "tool")
_ROLE_NUMBERS = {"system": 0, "developer": 0, "user": 1, "assistant": 2, "tool": 3}
_OTHER_ROLE = 3

# The flags of each direction by bit.
REQUEST_FLAGS = (
    "system",
    "tools",
    "tool_choice",
    "images",
    "stream",
    "response_format",
    "max_tokens",
    "reasoning_effort",
    "service_tier",
    "seed",
    "logprobs",
    "user",
    "temperature",
    "top_p",
    "stop",
)
RESPONSE_FLAGS = (
    "tool_calls",
    "refusal",
    "content_filter",
    "usage",
    "length",
    "cached_tokens",
    "reasoning_tokens",
    "cost",
)
SYSTEM, IMAGES, STREAM, MAX_TOKENS = 1 << 0, 1 << 3, 1 << 4, 1 << 6
TOOL_CALLS, REFUSAL, CONTENT_FILTER, USAGE, LENGTH = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4
CACHED_TOKENS, REASONING_TOKENS, COST = 1 << 5, 1 << 6, 1 << 7

# Flags that say that a key is there with a value other than null.
_PRESENT = {
    "tools": 1 << 1,
    "functions": 1 << 1,
    "tool_choice": 1 << 2,
    "function_call": 1 << 2,
    "response_format": 1 << 5,
    "reasoning_effort": 1 << 7,
    "service_tier": 1 << 8,
    "seed": 1 << 9,
    "logprobs": 1 << 10,
    "user": 1 << 11,
    "temperature": 1 << 12,
    "top_p": 1 << 13,
    "stop": 1 << 14,
}
_FINISHES = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "content_filter": Finish.CONTENT_FILTER,
}
_FINISH_FLAGS = {Finish.CONTENT_FILTER: CONTENT_FILTER, Finish.LENGTH: LENGTH}
# All that an embeddings request may have (OpenAI's reference, POST /embeddings). The Responses API
# has `input` too, and nearly always more; where it has no more, the hint is wrong and does no harm.
_EMBEDDING_KEYS = frozenset(("model", "input", "encoding_format", "dimensions", "user"))


@dataclass(frozen=True, slots=True)
class RequestFields:
    """A request's variable header. `roles` has one number a message, an index of ROLES."""

    model: str = ""
    roles: bytes = b""
    content_bytes: int = 0
    max_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class ResponseFields:
    """A response's variable header. Counts of tokens that are None are not on the wire."""

    id: str = ""
    model: str = ""
    finish: Finish = Finish.OTHER
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Routing:
    """What a body says: its kind, the flags of its direction, and the fields where it has any."""

    schema: Schema
    flags: int = 0
    fields: RequestFields | ResponseFields | None = None


_NOT_JSON = Routing(Schema.UNKNOWN)
OTHER_JSON = Routing(Schema.CUSTOM)

Object = Mapping[str, object]
_NOTHING: Object = {}


def describe(body: bytes, schema: Schema | None = None) -> Routing:
    """What `body` says.

    Args:
        schema: what it is known to be, from its path say; None to tell by its keys. A body that is
            no JSON object is never what it should be.
    """
    try:
        value = read_json(body)
    except WireError:
        return _NOT_JSON
    if not isinstance(value, dict):
        return OTHER_JSON
    schema = schema or _schema(value)
    if schema in REQUESTS:
        return _request(value, schema)
    if schema in RESPONSES:
        return _response(value, schema)
    return Routing(schema)


def _schema(value: Object) -> Schema:
    if isinstance(value.get("messages"), list):
        return Schema.REQUEST
    if value.get("object") == "chat.completion.chunk":
        return Schema.STREAM
    if isinstance(value.get("choices"), list):
        return Schema.RESPONSE
    if _first(value.get("data")).get("object") == "embedding":
        return Schema.EMBEDDING_RESPONSE
    if value.get("error") is not None:
        return Schema.ERROR
    if "input" in value and _EMBEDDING_KEYS.issuperset(value):
        return Schema.EMBEDDING_REQUEST
    return Schema.CUSTOM


def _request(value: Object, schema: Schema) -> Routing:
    flags = 0
    for key in _PRESENT.keys() & value.keys():
        if value[key] is not None:
            flags |= _PRESENT[key]
    if value.get("stream") is True:
        flags |= STREAM
    limit = _number(value.get("max_tokens"))
    if limit is None:
        limit = _number(value.get("max_completion_tokens"))
    if limit is not None:
        flags |= MAX_TOKENS
    if schema is Schema.EMBEDDING_REQUEST:
        roles, size = b"", _strings(value.get("input"))
    else:
        roles, size, found = _messages(value.get("messages"))
        flags |= found
    fields = RequestFields(_text(value.get("model")), roles, size, limit)
    return Routing(schema, flags, fields)


def _messages(messages: object) -> tuple[bytes, int, int]:
    """The role of each message, the bytes of their contents, and the flags that they set."""
    if not isinstance(messages, list):
        return b"", 0, 0
    roles = bytearray()
    size = flags = 0
    for message in messages:
        message = _object(message)
        role = message.get("role")
        roles.append(_ROLE_NUMBERS.get(role, _OTHER_ROLE) if type(role) is str else _OTHER_ROLE)
        content = message.get("content")
        if type(content) is str:
            size += _utf8_size(content)
        elif type(content) is list:
            parts = [part for part in content if type(part) is dict]
            size += sum(_utf8_size(_text(part.get("text"))) for part in parts)
            if any(part.get("type") == "image_url" for part in parts):
                flags |= IMAGES
    return bytes(roles), size, flags | SYSTEM if 0 in roles else flags


def _response(value: Object, schema: Schema) -> Routing:
    choice = _first(value.get("choices"))
    message = _object(choice.get("message"))
    finish = _FINISHES.get(_text(choice.get("finish_reason")), Finish.OTHER)
    flags = _FINISH_FLAGS.get(finish, 0)
    if message.get("tool_calls"):
        flags |= TOOL_CALLS
    if message.get("refusal") is not None:
        flags |= REFUSAL
    usage = _object(value.get("usage"))
    if usage:
        flags |= USAGE
    cached = _number(_object(usage.get("prompt_tokens_details")).get("cached_tokens"))
    reasoning = _number(_object(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    if cached:
        flags |= CACHED_TOKENS
    if reasoning:
        flags |= REASONING_TOKENS
    fields = ResponseFields(
        _text(value.get("id")),
        _text(value.get("model")),
        finish,
        _number(usage.get("prompt_tokens")) or 0,
        _number(usage.get("completion_tokens")) or 0,
        cached or None,
        reasoning or None,
    )
    return Routing(schema, flags, fields)


def _object(value: object) -> Object:
    return value if isinstance(value, dict) else _NOTHING


def _first(value: object) -> Object:
    return _object(value[0]) if isinstance(value, list) and value else _NOTHING


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    """A count; True is a number to Python, not to JSON. orjson makes no integer beyond a u64."""
    return value if type(value) is int and value >= 0 else None


def _utf8_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _strings(value: object) -> int:
    """The bytes of one string or of a list of them."""
    if isinstance(value, list):
        return sum(_utf8_size(_text(item)) for item in value)
    return _utf8_size(_text(value))
