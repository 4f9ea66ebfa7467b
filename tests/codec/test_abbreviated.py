"""`#T1|`: byte-exact or not at all; the crate's own messages as it reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from json_texts import CHAT, REPLY, json_texts

from m2mproxy.codec.abbreviated import decode, encode
from m2mproxy.codec.base import CannotEncode, DecodeLimits, TooLarge, WireError
from m2mproxy.codec.jsontext import MAX_VALUES


def test_a_request_byte_by_byte() -> None:
    assert encode(CHAT) == b'#T1|{"M":"g4o","messages":[{"role":"user","c":"Hi"}]}'
    assert decode(b'#T1|{"M":"g4o","messages":[{"role":"user","c":"Hi"}]}') == CHAT


def test_a_reply_byte_by_byte() -> None:
    assert encode(REPLY) == (
        b'#T1|{"id":"chatcmpl-1","object":"chat.completion","M":"g4o","C":[{"index":0,'
        b'"message":{"role":"A","c":"Hi","refusal":null},"fr":"stop"}],'
        b'"usage":{"pt":200,"ct":5,"tt":205,"prompt_tokens_details":{"cached_tokens":128},'
        b'"completion_tokens_details":{"reasoning_tokens":3}}}'
    )
    assert decode(encode(REPLY)) == REPLY


KEYS = (
    "content c, model M, temperature T, max_tokens x, stream s, stop S, top_p p, "
    "frequency_penalty f, presence_penalty P, function_call fc, arguments a, tool_calls tc, "
    "tool_choice tx, response_format rf, logit_bias lb, logprobs lp, top_logprobs tlp, choices C, "
    "finish_reason fr, prompt_tokens pt, completion_tokens ct, total_tokens tt, delta D, "
    "system_fingerprint sf, error E"
)
MODELS = (
    "gpt-4o g4o, gpt-4o-mini g4om, gpt-4-turbo g4t, gpt-4 g4, gpt-3.5-turbo g35t, "
    "llama-3.1-405b l31405, llama-3.1-70b l3170, llama-3.1-8b l318, llama-3.3-70b l3370, "
    "mistral-large-latest mll, mistral-small-latest msl, mixtral-8x7b mx87, mixtral-8x22b mx822, "
    "deepseek-v3 dv3, deepseek-r1 dr1, deepseek-coder dc, qwen-2.5-72b q2572, "
    "qwen-2.5-32b q2532, qwen-2.5-coder-32b qc32"
)
ROLES = "system S, assistant A, function F, tool T"


def pairs(table: str) -> list[list[str]]:
    return [pair.split() for pair in table.split(", ")]


@pytest.mark.parametrize(("long", "short"), pairs(KEYS))
def test_each_key(long: str, short: str) -> None:
    body = b'[{"%b":1}]' % long.encode()
    assert encode(body) == b'#T1|[{"%b":1}]' % short.encode()
    assert decode(encode(body)) == body


@pytest.mark.parametrize(
    ("key", "short_key", "long", "short"),
    [("model", "M", *pair) for pair in pairs(MODELS)]
    + [("role", "role", *pair) for pair in pairs(ROLES)],
)
def test_each_value(key: str, short_key: str, long: str, short: str) -> None:
    body = b'{"%b":"%b"}' % (key.encode(), long.encode())
    assert encode(body) == b'#T1|{"%b":"%b"}' % (short_key.encode(), short.encode())
    assert decode(encode(body)) == body


# Bodies that a parser and a serialiser would change; each stays what it is.
KEPT = {
    "spaces": b' {"model" : "gpt-4o",\n\t"stop":[ "a" ,"b"] }\r\n',
    "spaced as Python's json does": json.dumps({"model": "x", "messages": [{"content": ""}]}),
    "a float that is whole": b'{"temperature":1.0,"top_p":1}',
    "exponents": b'{"temperature":1e5,"top_p":1E+05}',
    "minus nought": b'{"temperature":-0,"top_p":-0.0}',
    "a huge integer": b'{"seed":123456789012345678901234567890}',
    "a long fraction": b'{"temperature":0.1000000000000000055511151231257827}',
    "escapes": rb'{"content":"\u0041\/\b\f\ud83d\ude00 caf\u00e9"}',
    "keys that occur twice": b'{"content":"a","content":"b","model":1,"model":2}',
    "keys written with escapes": rb'{"c\u006fntent":"gpt-4o","mod\u0065l":"gpt-4o"}',
    "a role written with escapes": rb'{"role":"\u0073ystem"}',
    "what looks like structure in a string": rb'{"content":"{\"c\":[\"M\": \\\\"}',
    "a value that looks like a key": b'{"content":"model","stop":["c","M"]}',
    "an abbreviation as another key's value": b'{"content":"g4o","name":"S"}',
    "defaults and null": b'{"temperature":1.0,"n":1,"stream":false,"stop":null,"logit_bias":{}}',
    "a key with a quote": rb'{"a\"b":1,"\\":2}',
    "no object": b'"content"',
    "a number": b"1",
    "other letters": '{"内容":"é","model":"日本"}'.encode(),
}


@pytest.mark.parametrize("body", KEPT.values(), ids=KEPT.keys())
def test_what_stays_exactly_as_it_is(body: bytes | str) -> None:
    data = body if isinstance(body, bytes) else body.encode()
    assert decode(encode(data)) == data


REFUSED = {
    "a property of a tool named as an abbreviation": b'{"tools":[{"properties":{"c":{}}}]}',
    "an abbreviation, escaped": rb'{"\u0063":1}',
    "a model with the name of an abbreviation": b'{"model":"g4o"}',
    "the same, escaped": rb'{"model":"g\u0034o"}',
    "a role with the name of an abbreviation": b'{"role":"S"}',
    "the same in a list": b'{"role":["user","S"]}',
    "the old name of role": b'{"r":"S"}',
    "the value of an escaped key": rb'{"r\u006fle":"S"}',
    "a lone surrogate": rb'{"content":"\ud800"}',
    "not UTF-8": b'{"content":"\xff"}',
    "no JSON": b"content",
    "nothing": b"",
    "NaN": b'{"temperature":NaN}',
    "beyond double precision": b'{"seed":1e400}',
    "a comma too much": b'{"content":1,}',
    "a byte order mark": b'\xef\xbb\xbf{"content":1}',
    "too deep": b"[" * 33 + b"]" * 33,
    "far too deep": b"[" * 100_000 + b"]" * 100_000,
    "too many values": b"[" + b"1," * MAX_VALUES + b"1]",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_written(body: bytes) -> None:
    with pytest.raises(CannotEncode):
        encode(body)


def test_32_levels_are_not_too_deep() -> None:
    body = b'{"content":' * 32 + b"1" + b"}" * 32
    assert decode(encode(body)) == body
    with pytest.raises(CannotEncode):
        encode(body, DecodeLimits(depth=31))


@given(json_texts)
def test_any_json_comes_back_or_is_refused(body: bytes) -> None:
    try:
        message = encode(body)
    except CannotEncode:
        return
    assert decode(message) == body
    # And as others read it, it is JSON that differs in names only.
    assert str(shape(message[4:])) == str(shape(body))


def shape(text: bytes) -> Any:
    """The values of a text without the names of keys, and without what strings say."""
    value = json.loads(text, object_pairs_hook=lambda pairs: [item for _, item in pairs])

    def without_strings(item: Any) -> Any:
        if isinstance(item, list):
            return [without_strings(inner) for inner in item]
        return None if isinstance(item, str) else item

    return without_strings(value)


@pytest.mark.parametrize(
    ("message", "body"),
    [
        # Its defaults are gone, and stay gone.
        (
            b'{"M":"g4o","messages":[{"role":"S","c":"Hi"}],"x":100}',
            b'{"model":"gpt-4o","messages":[{"role":"system","content":"Hi"}],"max_tokens":100}',
        ),
        # A property that was named `c` all along becomes `content`, as in the crate.
        (b'{"properties":{"c":{"type":"null"}}}', b'{"properties":{"content":{"type":"null"}}}'),
        # Written by others, with escapes and spaces; the spelling of what is no short name stays.
        (rb'{ "\u0063" : 1, "r\u006fle":"\u0053" }', rb'{ "content" : 1, "r\u006fle":"system" }'),
        # A list's strings belong to its key; an object's to their own.
        (b'{"role":["T",["T"],{"u":"A"},"F"]}', b'{"role":["tool",["tool"],{"u":"A"},"function"]}'),
        (b'{"M":{"c":"g4o"},"model":"g4"}', b'{"model":{"content":"g4o"},"model":"gpt-4"}'),
        (b'{"r":"S","n":"S"}', b'{"r":"system","n":"S"}'),
        (b'["S","g4o"]', b'["S","g4o"]'),
    ],
)  # fmt: skip
def test_the_crates_messages(message: bytes, body: bytes) -> None:
    assert decode(b"#T1|" + message) == body


@pytest.mark.parametrize(
    "message",
    [b"", b"#T1", b"#T1|", b"#T2|{}", b"#T1|{", b"#T1|{}x", b'#T1|{"c":"\x01"}', b"#T1|\xff"],
)
def test_what_is_broken_is_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        decode(message)


def test_what_grows_is_stopped_before_it_has_grown() -> None:
    message = b"#T1|[" + b",".join([b'{"f":0}'] * 100_000) + b"]"
    with pytest.raises(TooLarge):
        decode(message, DecodeLimits(decoded=len(message) + 100))
