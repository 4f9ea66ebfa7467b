"""A body's bytes: one JSON object, each key once, or the reason why not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.guard.document import CHECKS, MAX_DIGITS, MAX_VALUES, Malformed, Tally, parse

HEAD = b'{"model":"m","messages":[{"role":"user","content":"'


def reason(body: bytes) -> tuple[str, int]:
    with pytest.raises(Malformed) as caught:
        parse(body)
    assert caught.value.finding.why == CHECKS[caught.value.finding.source]
    return caught.value.finding.source, caught.value.finding.offset


@pytest.mark.parametrize(
    ("source", "body", "offset"),
    [
        ("utf8", b'{"a":"\xc0\xaf"}', 6),
        ("utf8", b'{"a":"\xed\xa0\x80"}', 6),
        ("utf8", b'{"a":"\xf4\x90\x80\x80"}', 6),
        ("utf8", '{"a":1}'.encode("utf-16"), 0),
        ("utf8", b'\xef\xbb\xbf{"a":"\xff"}', 9),
        ("surrogate", b'{"a":"\\ud800"}', 7),
        ("surrogate", b'{"\\udc00":1}', 3),
        ("surrogate", b'{"a":"\\ud83d\\u0041"}', 7),
        ("control", b'{"a":"\0"}', 6),
        ("control", '{"ä":"\x1b[2J"}'.encode(), 7),
        ("json", b"", 0),
        ("json", b" \n", 0),
        ("json", b"garbage", 0),
        ("json", b'{"a":"b', 7),
        ("json", b'{"a":1,}', 7),
        ("json", b"{'a':1}", 1),
        ("json", b'{"a":Nano}', 5),
        ("json", b"[" * 40, 40),
        ("trailing", b'{"a":1}{"b":2}', 7),
        ("trailing", b'{"a":1} x', 8),
        ("number", b'{"a":NaN}', 5),
        ("number", b'{"a":Infinity}', 5),
        ("number", b'{"a":[1,-Infinity]}', 9),
        ("number", b'{"a":1e99999}', 5),
        ("number", b'{"a":' + b"9" * 20_000 + b"}", 5),
        ("number", b'{"a":0.' + b"0" * MAX_DIGITS + b"1}", 5),
        ("number", b'{"a":"x","b":-' + b"1" * MAX_DIGITS + b"}", 13),
        ("nesting", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", 1029),
        ("object", b"[1,2,3]", 0),
        ("object", b'"text"', 0),
        ("object", b"null", 0),
        ("values", b'{"a":[' + b"0," * MAX_VALUES + b"0]}", 0),
        ("values", b'{"a":[' + b"[]," * MAX_VALUES + b"[]]}", 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_why_a_body_is_none(source: str, body: bytes, offset: int) -> None:
    found, at = reason(body)
    assert found == source
    assert abs(at - offset) <= (4 if source == "nesting" else 1)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b' {"a" : 1}\r\n',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\\ud83d\\ude00 \\\\u0000"}',
        b'{"a":' + b"1" * (MAX_DIGITS - 100) + b"}",
        b'{"a":"' + b"3.14159" * 500 + b'"}',  # digits in a string
        b'{"a":"x\\"' + b"7" * 900 + b'"}',
        b'{"a":[' + b"1," * 300_000 + b"1]}",
        b'{"a":"' + b"," * (2 * MAX_VALUES) + b'"}',
        b'{"a":1.7976931348623157e308,"b":18446744073709551616}',
    ],
    ids=range(10),
)
def test_what_is_good(body: bytes) -> None:
    value, text = parse(body)
    assert value == json.loads(text, parse_int=lambda digits: pytest.approx(int(digits)))
    assert body.endswith(text)


@pytest.mark.parametrize("at", range(0, 130, 7))
def test_a_long_number_is_seen_wherever_it_is(at: int) -> None:
    """Not only where the bytes that are looked at first happen to be."""
    body = b'{"' + b"k" * at + b'":' + b"1" * (MAX_DIGITS + 1) + b"}"
    assert reason(body) == ("number", at + 4)
    parse(body.replace(b"1" * (MAX_DIGITS + 1), b"1" * MAX_DIGITS))


def tally(value: Any) -> Tally:
    result = Tally()

    def see(each: Any) -> None:
        if isinstance(each, dict):
            result.add(len(each), sum(key.count(":") for key in each))
            for item in each.values():
                see(item)
        elif isinstance(each, list):
            for item in each:
                see(item)
        elif isinstance(each, str):
            result.add(0, each.count(":"))

    see(value)
    return result


def has_each_key_once(body: bytes) -> bool:
    value, text = parse(body)
    return tally(value).has_all_of(text)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"x":[{"role":"user","role":"system"}]}',
        b'{"a":"::","a":"\\u003a"}',
        b'{"a":1,"a":"\\u003a"}',  # the escaped colon does not stand for the missing one
        b'{"a":1,"a":"\\\\\\u003A"}',
        b'{"a":{"b":{"c":1}},"a":null}',
        b'{"":1,"":2}',
        b'{":":1,":":2}',
    ],
)
def test_a_key_that_is_given_twice(body: bytes) -> None:
    assert not has_each_key_once(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
        b'{"a:b":"c:d::","\\u003a":"\\\\u003a\\u003A\\\\\\u003a"}',
        b'{"a":"\\\\\\\\u003a : \\u003c\\u003e"}',
        b'{"a":"\\"a\\":1,\\"a\\":2"}',
    ],
)
def test_keys_that_are_not(body: bytes) -> None:
    assert has_each_key_once(body)


# -- against Python's own parser -------------------------------------------------------------------

TEXT = st.text(st.sampled_from('ab:\\"u003aA/é\n'), max_size=6)


def written(text: str, draw: Any) -> str:
    """A JSON string of it, some of its characters escaped."""
    pieces = []
    for each in text:
        if draw(st.booleans()) or each in '"\\\n':
            digits = f"{ord(each):04x}"
            pieces.append("\\u" + (digits.upper() if draw(st.booleans()) else digits))
        else:
            pieces.append(each)
    return '"' + "".join(pieces) + '"'


@st.composite
def document(draw: Any, depth: int = 0) -> str:
    """JSON text in which keys repeat now and then."""
    kind = draw(st.integers(0, 4 if depth < 3 else 1))
    if kind == 0:
        return str(draw(st.integers(-5, 5)))
    if kind == 1:
        return written(draw(TEXT), draw)
    inner = draw(st.lists(document(depth + 1), max_size=3))  # type: ignore[call-arg]
    if kind == 2:
        return "[" + ",".join(inner) + "]"
    keys = [written(draw(TEXT), draw) for _ in inner]
    return "{" + ", ".join(f"{k} : {v}" for k, v in zip(keys, inner, strict=True)) + "}"


@given(document())
def test_keys_are_counted_as_python_sees_them(text: str) -> None:
    twice = False

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        twice = twice or len(dict(members)) < len(members)
        return dict(members)

    body = '{"x":' + text + "}"
    value = json.loads(body, object_pairs_hook=pairs)
    parsed, plain = parse(body.encode())
    assert parsed == value
    assert tally(parsed).has_all_of(plain) is not twice


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_a_reason(data: bytes) -> None:
    for body in (data, HEAD + data + b'"}]}'):
        try:
            parse(body)
        except Malformed as error:
            assert 0 <= error.finding.offset <= len(body)
