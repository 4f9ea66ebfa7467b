"""What a body says, and the header that says it."""

from __future__ import annotations

import struct

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_texts import CHAT, LONG_CHAT, REPLY, any_body

from m2mproxy.codec.base import WireError
from m2mproxy.codec.header import (
    COMPRESSED,
    EXTENSIONS,
    FIXED,
    FrameSecurity,
    pack_roles,
    read_header,
    unpack_roles,
    write_header,
)
from m2mproxy.codec.jsontext import MAX_VALUES
from m2mproxy.codec.routing import (
    Finish,
    RequestFields,
    ResponseFields,
    Routing,
    Schema,
    describe,
)


def test_a_short_request() -> None:
    fields = RequestFields("gpt-4o", b"\x01", 2)
    assert describe(CHAT) == Routing(Schema.REQUEST, 0, fields)


def test_a_request_with_everything() -> None:
    """All fifteen flags, every role, text in parts, bytes rather than characters."""
    size = len("You are hélpful.".encode()) + len("What is this?") + len("42") + len("f")
    fields = RequestFields("gpt-4o-mini", bytes((0, 1, 2, 3, 3)), size, 300)
    assert describe(LONG_CHAT) == Routing(Schema.REQUEST, 0x7FFF, fields)


@pytest.mark.parametrize(
    ("member", "flags"),
    [
        ('"messages":[{"role":"developer"}]', 1 << 0),
        ('"messages":[{"role":"system"}]', 1 << 0),
        ('"functions":[]', 1 << 1),
        ('"function_call":"auto"', 1 << 2),
        ('"stream":true', 1 << 4),
        ('"stream":false', 0),
        ('"stream":1', 0),
        ('"tools":null', 0),
        ('"max_completion_tokens":1', 1 << 6),
        ('"max_tokens":null', 0),
        ('"max_tokens":1.5', 0),
        ('"max_tokens":-1', 0),
        ('"max_tokens":true', 0),
        ('"max_tokens":18446744073709551615', 1 << 6),
        ('"max_tokens":18446744073709551616', 0),
        ('"logprobs":false', 1 << 10),
        ('"stop":null', 0),
    ],
)
def test_each_flag(member: str, flags: int) -> None:
    body = b'{"messages":[],%b}' % member.encode()
    assert describe(body).flags == flags


def test_max_tokens_comes_before_max_completion_tokens() -> None:
    routing = describe(b'{"messages":[],"max_completion_tokens":7,"max_tokens":9}')
    assert isinstance(routing.fields, RequestFields)
    assert routing.fields.max_tokens == 9


@pytest.mark.parametrize(
    "message", ["1", "null", "{}", '{"role":1}', '{"role":"function"}', '{"role":["user"]}']
)
def test_a_role_for_every_message(message: str) -> None:
    routing = describe(b'{"messages":[%b,{"role":"user"}]}' % message.encode())
    assert isinstance(routing.fields, RequestFields)
    assert routing.fields.roles == bytes((3, 1))


def test_a_reply() -> None:
    fields = ResponseFields("chatcmpl-1", "gpt-4o", Finish.STOP, 200, 5, 128, 3)
    assert describe(REPLY) == Routing(Schema.RESPONSE, 1 << 3 | 1 << 5 | 1 << 6, fields)


@pytest.mark.parametrize(
    ("choice", "flags", "finish"),
    [
        ('{"message":{"tool_calls":[{}]},"finish_reason":"tool_calls"}', 1, Finish.TOOL_CALLS),
        ('{"message":{"refusal":"no"}}', 1 << 1, Finish.OTHER),
        ('{"finish_reason":"content_filter"}', 1 << 2, Finish.CONTENT_FILTER),
        ('{"finish_reason":"length"}', 1 << 4, Finish.LENGTH),
        ('{"finish_reason":null}', 0, Finish.OTHER),
        ('{"message":{"tool_calls":null,"refusal":null}}', 0, Finish.OTHER),
        ("1", 0, Finish.OTHER),
    ],
)
def test_flags_of_replies(choice: str, flags: int, finish: Finish) -> None:
    routing = describe(b'{"choices":[%b],"usage":null}' % choice.encode())
    assert routing.flags == flags
    assert isinstance(routing.fields, ResponseFields)
    assert routing.fields.finish is finish


@pytest.mark.parametrize(
    ("body", "schema"),
    [
        (b'{"error":{"message":"no"}}', Schema.ERROR),
        (b'{"error":"no"}', Schema.ERROR),
        (b'{"object":"chat.completion.chunk","choices":[]}', Schema.STREAM),
        (b'{"model":"e","input":"text"}', Schema.EMBEDDING_REQUEST),
        (b'{"model":"e","input":["a","b"],"dimensions":8}', Schema.EMBEDDING_REQUEST),
        (b'{"object":"list","data":[{"object":"embedding"}]}', Schema.EMBEDDING_RESPONSE),
        (b'{"object":"list","data":[{"object":"model"}]}', Schema.CUSTOM),
        (b'{"model":"m","input":"text","instructions":"x"}', Schema.CUSTOM),
        (b'{"model":"m","prompt":"x"}', Schema.CUSTOM),
        (b'{"error":null}', Schema.CUSTOM),
        (b"[]", Schema.CUSTOM),
        (b"1", Schema.CUSTOM),
        (b"", Schema.UNKNOWN),
        (b"data: {}\n\n", Schema.UNKNOWN),
        (b"{", Schema.UNKNOWN),
        (b'{"model":"\xff"}', Schema.UNKNOWN),
        (b'{"model":"\\ud800"}', Schema.UNKNOWN),
        (b"[" * 100_000, Schema.UNKNOWN),
        (b'{"messages":[' + b"1," * MAX_VALUES + b"1]}", Schema.UNKNOWN),
    ],
)
def test_other_shapes(body: bytes, schema: Schema) -> None:
    routing = describe(body)
    assert routing.schema is schema
    if schema in (Schema.CUSTOM, Schema.UNKNOWN, Schema.STREAM):
        assert routing == Routing(schema)


def test_what_the_path_says_comes_first() -> None:
    routing = describe(b'{"model":"m","prompt":"x"}', Schema.REQUEST)
    assert routing == Routing(Schema.REQUEST, 0, RequestFields("m"))
    assert describe(b"x", Schema.REQUEST).schema is Schema.UNKNOWN


def test_an_embedding_request_counts_its_texts() -> None:
    routing = describe('{"model":"e","input":["é","ab"]}'.encode())
    assert isinstance(routing.fields, RequestFields)
    assert routing.fields.content_bytes == 4


# ---- Bytes, laid out by hand ----

REQUEST_HEADER = bytes.fromhex(
    "2200"  # 34 = 20 + 14
    "01"  # request
    "00"  # no security
    "51000001"  # system (0), stream (4), max_tokens (6); compressed (24)
    "000000000000000000000000"
    "026d31"  # "m1"
    "05"  # five messages:
    "e403"  # system 0, user 1, assistant 2, tool 3 = 11 10 01 00; tool 3
    "ac02"  # 300 bytes of content
    "8008"  # 1024 tokens
    "0000003f"  # 0.5 USD
)
REQUEST = Routing(Schema.REQUEST, 0x51, RequestFields("m1", bytes((0, 1, 2, 3, 3)), 300, 1024, 0.5))
RESPONSE_HEADER = bytes.fromhex(
    "2500"  # 37 = 20 + 17
    "02"  # response
    "01"  # HMAC
    "e9000000"  # tool calls (0), usage (3), cached (5), reasoning (6), cost (7)
    "000000000000000000000000"
    "0161"  # "a"
    "026d31"  # "m1"
    "02"  # tool_calls
    "c801"  # 200 prompt tokens
    "05"  # 5 completion tokens
    "8001"  # 128 cached
    "8101"  # 129 reasoning
    "0000803e"  # 0.25 USD
)
RESPONSE = Routing(
    Schema.RESPONSE, 0xE9, ResponseFields("a", "m1", Finish.TOOL_CALLS, 200, 5, 128, 129, 0.25)
)


def test_a_request_header_byte_by_byte() -> None:
    assert write_header(REQUEST, FrameSecurity.NONE, compressed=True) == REQUEST_HEADER
    header = read_header(REQUEST_HEADER + b"payload")
    assert header.size == 34
    assert header.schema is Schema.REQUEST
    assert header.security is FrameSecurity.NONE
    assert header.flags == 0x51 | COMPRESSED
    assert header.fields == REQUEST.fields
    assert header.as_dict() == {
        "schema": "request",
        "security": "none",
        "compressed": True,
        "flags": ["system", "stream", "max_tokens"],
        "model": "m1",
        "messages": 5,
        "roles": ["system", "user", "assistant", "tool", "tool"],
        "content_bytes": 300,
        "max_tokens": 1024,
        "cost_usd": 0.5,
    }


def test_a_response_header_byte_by_byte() -> None:
    assert write_header(RESPONSE, FrameSecurity.HMAC, compressed=False) == RESPONSE_HEADER
    header = read_header(RESPONSE_HEADER)
    assert header.security is FrameSecurity.HMAC
    assert header.fields == RESPONSE.fields
    assert header.as_dict() == {
        "schema": "response",
        "security": "hmac",
        "compressed": False,
        "flags": ["tool_calls", "usage", "cached_tokens", "reasoning_tokens", "cost"],
        "id": "a",
        "model": "m1",
        "finish_reason": "tool_calls",
        "prompt_tokens": 200,
        "completion_tokens": 5,
        "cached_tokens": 128,
        "reasoning_tokens": 129,
        "cost_usd": 0.25,
    }


@pytest.mark.parametrize("whole", [REQUEST_HEADER, RESPONSE_HEADER])
def test_a_header_cut_anywhere_is_refused(whole: bytes) -> None:
    for size in range(len(whole)):
        with pytest.raises(WireError):
            read_header(whole[:size])


def fixed(size: int, schema: int = 1, security: int = 0, flags: int = 0) -> bytes:
    return struct.pack("<HBBI12x", size, schema, security, flags)


@pytest.mark.parametrize("size", [0, 19])
def test_a_header_shorter_than_itself_is_refused(size: int) -> None:
    with pytest.raises(WireError):
        read_header(fixed(size) + bytes(100))


def test_unknown_security_is_refused() -> None:
    with pytest.raises(WireError):
        read_header(fixed(20, security=3))


def test_an_unknown_schema_says_nothing() -> None:
    header = read_header(fixed(22, schema=0x77) + b"xx")
    assert header.schema is Schema.UNKNOWN
    assert header.fields is None


VARIABLE = {
    "a role byte is missing: the crate skips roles that it does not know": "016d" + "05e4" + "02",
    "the model's length has wrapped": "05" + "6d" * 261,
    "the model is cut within a character": "01c3" + "00" + "00",
    "more messages than any header has roles": "016d" + "ff" * 9 + "01" + "00",
    "a number that does not end": "016d" + "00" + "8080",
    "three bytes left over": "016d" + "00" + "00" + "000000",
    "nothing at all": "",
}


@pytest.mark.parametrize("variable", VARIABLE.values(), ids=VARIABLE.keys())
def test_fields_that_make_no_sense_say_nothing(variable: str) -> None:
    data = bytes.fromhex(variable)
    header = read_header(fixed(FIXED + len(data)) + data + bytes(50))
    assert header.fields is None
    assert header.size == FIXED + len(data)
    assert header.as_dict()["schema"] == "request"


def test_the_cost_is_there_when_four_bytes_are_left_in_the_header_not_in_the_frame() -> None:
    variable = bytes.fromhex("016d" + "00" + "00")
    header = read_header(fixed(FIXED + len(variable)) + variable + bytes(4))
    assert header.fields == RequestFields("m")


def test_extensions_may_follow_the_fields() -> None:
    variable = bytes.fromhex("016d" + "00" + "00" + "0102030405")
    header = read_header(fixed(FIXED + len(variable), flags=EXTENSIONS) + variable)
    assert header.fields == RequestFields("m")


def test_a_cost_that_is_no_number_is_not_shown() -> None:
    variable = bytes.fromhex("016d" + "00" + "00" + "0000c07f")
    header = read_header(fixed(FIXED + len(variable)) + variable)
    assert header.as_dict()["cost_usd"] is None


@pytest.mark.parametrize(
    ("model", "kept"), [("m" * 300, 255), ("é" * 200, 254), ("日" * 100, 255), ("😀" * 64, 252)]
)
def test_a_long_model_name_is_cut_between_characters(model: str, kept: int) -> None:
    body = orjson.dumps({"model": model, "messages": []})
    header = read_header(write_header(describe(body), FrameSecurity.NONE, False))
    assert isinstance(header.fields, RequestFields)
    assert header.fields.model == model.encode()[:kept].decode()


def test_more_messages_than_a_header_holds() -> None:
    body = b'{"messages":[' + b"1," * 270_000 + b"1]}"
    assert len(getattr(describe(body).fields, "roles")) == 270_001  # noqa: B009
    header = read_header(write_header(describe(body), FrameSecurity.NONE, True))
    assert header.schema is Schema.CUSTOM
    assert header.size == FIXED
    assert header.flags == COMPRESSED


@given(st.lists(st.integers(0, 3), max_size=20).map(bytes))
def test_roles_come_back(roles: bytes) -> None:
    packed = pack_roles(roles)
    assert len(packed) == (len(roles) * 2 + 7) // 8
    assert unpack_roles(packed, len(roles)) == roles


@given(any_body, st.one_of(st.none(), st.sampled_from(Schema)))
def test_any_body_is_described_and_its_header_comes_back(
    body: bytes, schema: Schema | None
) -> None:
    routing = describe(body, schema)
    header = read_header(write_header(routing, FrameSecurity.AEAD, False))
    assert (header.schema, header.flags, header.fields) == (
        routing.schema,
        routing.flags,
        routing.fields,
    )
    orjson.dumps(header.as_dict())


@given(st.binary(max_size=80))
def test_any_variable_header_is_read_or_says_nothing(variable: bytes) -> None:
    for schema in Schema:
        for flags in (0, 0xFFFFFFFF):
            header = read_header(fixed(FIXED + len(variable), schema, 0, flags) + variable)
            orjson.dumps(header.as_dict())
