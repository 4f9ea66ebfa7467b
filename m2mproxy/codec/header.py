"""The header of an M2M v1 frame to and from bytes: 20 fixed ones, then what the body says.

The one rule: the header's length alone says where the payload begins. What stands in the variable
part is read as far as it makes sense, and where it does not, it says nothing, and the body is read
all the same. Writers differ there: the crate's has fewer roles than its count says where it knows
one not, and a length that wraps of a model's name of more than 255 bytes.
"""

from __future__ import annotations

import enum
import math
import struct
from dataclasses import dataclass

from m2mproxy.codec.base import WireError
from m2mproxy.codec.routing import (
    CACHED_TOKENS,
    COST,
    MAX_TOKENS,
    OTHER_JSON,
    REASONING_TOKENS,
    REQUEST_FLAGS,
    REQUESTS,
    RESPONSE_FLAGS,
    RESPONSES,
    ROLES,
    Finish,
    RequestFields,
    ResponseFields,
    Routing,
    Schema,
)
from m2mproxy.codec.varint import read_varint, write_varint


class FrameSecurity(enum.IntEnum):
    """How a frame is secured."""

    NONE = 0
    HMAC = 1
    AEAD = 2


FIXED = 20
_fixed = struct.Struct("<HBBI12x")
_cost = struct.Struct("<f")
MAX_HEADER = 0xFFFF
_MAX_TEXT = 0xFF

COMPRESSED = 1 << 24
EXTENSIONS = 1 << 25

_SCHEMAS = {schema.value: schema for schema in Schema}
_SECURITIES = {security.value: security for security in FrameSecurity}
_FINISHES = {finish.value: finish for finish in Finish}


@dataclass(frozen=True, slots=True)
class Header:
    """A frame's header as read, before anything says that it is true.

    `size` is in bytes without the prefix. `fields` is None where the schema has none, or where they
    make no sense.
    """

    size: int
    schema: Schema
    security: FrameSecurity
    flags: int
    fields: RequestFields | ResponseFields | None

    @property
    def is_compressed(self) -> bool:
        """Whether the payload is brotli."""
        return bool(self.flags & COMPRESSED)

    def as_dict(self) -> dict[str, object]:
        """Everything by name, as JSON has it."""
        names = RESPONSE_FLAGS if self.schema in RESPONSES else REQUEST_FLAGS
        said = [name for bit, name in enumerate(names) if self.flags >> bit & 1]
        return {
            "schema": self.schema.name.lower(),
            "security": self.security.name.lower(),
            "compressed": self.is_compressed,
            "flags": said if self.schema in REQUESTS | RESPONSES else [],
            **_fields_as_dict(self.fields),
        }


def _fields_as_dict(fields: RequestFields | ResponseFields | None) -> dict[str, object]:
    if fields is None:
        return {}
    cost = fields.cost if fields.cost is not None and math.isfinite(fields.cost) else None
    if isinstance(fields, RequestFields):
        return {
            "model": fields.model,
            "messages": len(fields.roles),
            "roles": [ROLES[role] for role in fields.roles],
            "content_bytes": fields.content_bytes,
            "max_tokens": fields.max_tokens,
            "cost_usd": cost,
        }
    return {
        "id": fields.id,
        "model": fields.model,
        "finish_reason": fields.finish.name.lower(),
        "prompt_tokens": fields.prompt_tokens,
        "completion_tokens": fields.completion_tokens,
        "cached_tokens": fields.cached_tokens,
        "reasoning_tokens": fields.reasoning_tokens,
        "cost_usd": cost,
    }


# ---- Writing ----


def write_header(routing: Routing, security: FrameSecurity, compressed: bool) -> bytes:
    """The header that says `routing`; one too long for its length field says nothing instead."""
    variable = _write_fields(routing.fields)
    if FIXED + len(variable) > MAX_HEADER:  # a quarter of a million messages
        routing, variable = OTHER_JSON, b""
    flags = routing.flags | (COMPRESSED if compressed else 0)
    return _fixed.pack(FIXED + len(variable), routing.schema, security, flags) + variable


def _write_fields(fields: RequestFields | ResponseFields | None) -> bytes:
    if fields is None:
        return b""
    return _write_request(fields) if isinstance(fields, RequestFields) else _write_response(fields)


def _write_request(fields: RequestFields) -> bytes:
    parts = [
        _write_text(fields.model),
        write_varint(len(fields.roles)),
        pack_roles(fields.roles),
        write_varint(fields.content_bytes),
    ]
    if fields.max_tokens is not None:
        parts.append(write_varint(fields.max_tokens))
    if fields.cost is not None:
        parts.append(_cost.pack(fields.cost))
    return b"".join(parts)


def _write_response(fields: ResponseFields) -> bytes:
    parts = [
        _write_text(fields.id),
        _write_text(fields.model),
        bytes((fields.finish,)),
        write_varint(fields.prompt_tokens),
        write_varint(fields.completion_tokens),
    ]
    for count in (fields.cached_tokens, fields.reasoning_tokens):
        if count is not None:
            parts.append(write_varint(count))
    if fields.cost is not None:
        parts.append(_cost.pack(fields.cost))
    return b"".join(parts)


def _write_text(text: str) -> bytes:
    """A length of one byte and the text, cut between characters where it is longer."""
    data = text.encode()
    if len(data) > _MAX_TEXT:
        data = data[:_MAX_TEXT].decode(errors="ignore").encode()
    return bytes((len(data),)) + data


def pack_roles(roles: bytes) -> bytes:
    """Two bits a role, four to a byte, the first lowest."""
    padded = roles + bytes(-len(roles) % 4)
    quads = zip(padded[0::4], padded[1::4], padded[2::4], padded[3::4], strict=True)
    return bytes([a | b << 2 | c << 4 | d << 6 for a, b, c, d in quads])


# ---- Reading ----


def read_header(data: bytes) -> Header:
    """The header at the beginning of `data`, which goes on at least as long.

    Raises:
        WireError: it is cut short, shorter than it can be, or secured as nothing we know.
    """
    if len(data) < FIXED:
        raise WireError("the frame is cut short in its header")
    size, schema_byte, security_byte, flags = _fixed.unpack_from(data)
    if size < FIXED:
        raise WireError("the frame's header is too short")
    if size > len(data):
        raise WireError("the frame is cut short in its header")
    if security_byte not in _SECURITIES:
        raise WireError("the frame is secured in an unknown way")
    schema = _SCHEMAS.get(schema_byte, Schema.UNKNOWN)
    fields = _read_fields(schema, flags, _Reader(data, FIXED, size))
    return Header(size, schema, _SECURITIES[security_byte], flags, fields)


class _Reader:
    """Takes one field after another from `data`, and none from beyond `end`."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self._at = at
        self._end = end

    @property
    def left(self) -> int:
        return self._end - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise WireError("a field is cut short")
        self._at += size
        return self._data[self._at - size : self._at]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        value, self._at = read_varint(self._data, self._at, self._end)
        return value

    def text(self) -> str:
        return self.take(self.byte()).decode()

    def cost(self) -> float:
        value: float = _cost.unpack(self.take(_cost.size))[0]
        return value


def _read_fields(
    schema: Schema, flags: int, reader: _Reader
) -> RequestFields | ResponseFields | None:
    """The fields, or None: they do not fit, or bytes are left over that no field explains."""
    fields: RequestFields | ResponseFields
    try:
        if schema in REQUESTS:
            fields = _read_request(flags, reader)
        elif schema in RESPONSES:
            fields = _read_response(flags, reader)
        else:
            return None
    except (WireError, UnicodeDecodeError):
        return None
    return fields if not reader.left or flags & EXTENSIONS else None


def _read_request(flags: int, reader: _Reader) -> RequestFields:
    model = reader.text()
    count = reader.varint()
    roles = unpack_roles(reader.take((count + 3) // 4), count)
    size = reader.varint()
    limit = reader.varint() if flags & MAX_TOKENS else None
    cost = reader.cost() if reader.left == _cost.size else None
    return RequestFields(model, roles, size, limit, cost)


def _read_response(flags: int, reader: _Reader) -> ResponseFields:
    return ResponseFields(
        reader.text(),
        reader.text(),
        _FINISHES.get(reader.byte(), Finish.OTHER),
        reader.varint(),
        reader.varint(),
        reader.varint() if flags & CACHED_TOKENS else None,
        reader.varint() if flags & REASONING_TOKENS else None,
        reader.cost() if flags & COST else None,
    )


def unpack_roles(packed: bytes, count: int) -> bytes:
    """`count` roles of the at least as many that `packed` has."""
    roles = [byte >> shift & 3 for byte in packed for shift in (0, 2, 4, 6)]
    return bytes(roles[:count])
