"""The check against request smuggling: each trap by itself, and its harmless neighbour."""

from __future__ import annotations

import pytest

from m2mproxy.http import validate
from m2mproxy.http.headers import Headers
from m2mproxy.http.validate import Malformed

CONTROLS = [bytes((byte,)) for byte in (*range(0x20), 0x7F)]
TOKEN_CHARACTERS = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ALL_BYTES = [bytes((byte,)) for byte in range(256)]


def refused(call: object, *arguments: object) -> Malformed | None:
    """The refusal, None if there is none."""
    assert callable(call)
    try:
        call(*arguments)
    except Malformed as error:
        return error
    return None


# -- the raw head -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"GET / HTTP/1.1\nhost: h", "line feed without"),
        (b"GET / HTTP/1.1\r\nhost: h\nx: 1", "line feed without"),
        (b"\nGET / HTTP/1.1", "line feed without"),
        (b"GET / HTTP/1.1\r\nhost: h\rx: 1", "carriage return without"),
        (b"GET / HTTP/1.1\r\nhost: h\r\r\nx: 1", "carriage return without"),
        (b"GET / HTTP/1.1\r\nhost: h\r", "carriage return without"),
        (b"GET / HTTP/1.1\r\nx: a\x00b", "NUL"),
        (b"GET / HTTP/1.1\r\nx: 1\r\n y", "folded"),
        (b"GET / HTTP/1.1\r\nx: 1\r\n\ty", "folded"),
        (b"GET / HTTP/1.1\r\n host: h", "folded"),
        (b"GET / HTTP/1.1\r\nhost : h", "white space before the colon"),
        (b"GET / HTTP/1.1\r\nhost\t: h", "white space before the colon"),
        (b"GET / HTTP/1.1\r\nx: 1\r\nContent-Length : 5", "white space before the colon"),
    ],
)
def test_what_lenient_parsers_repair_is_refused(head: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason) as caught:
        validate.check_raw_head(head)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1\r\nhost: h\r\nx: a : b",
        b"GET / HTTP/1.1\r\nx:\t1 \r\ny: 2",
        b"GET /a%20:b HTTP/1.1\r\nx-empty:",
        b"HTTP/1.1 200 It works: yes\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT",
    ],
)
def test_an_honest_head_passes(head: bytes) -> None:
    validate.check_raw_head(head)


# -- names, values, methods, targets ------------------------------------------------------------


@pytest.mark.parametrize("byte", ALL_BYTES, ids=bytes.hex)
def test_a_name_is_a_token_in_lower_case(byte: bytes) -> None:
    allowed = byte in TOKEN_CHARACTERS.lower()
    for name in (byte, b"x" + byte, byte + b"x"):
        assert (refused(validate.check_fields, [(name, b"1")]) is None) == allowed


def test_a_name_is_not_empty() -> None:
    assert refused(validate.check_fields, [(b"", b"1")])


@pytest.mark.parametrize("byte", ALL_BYTES, ids=bytes.hex)
def test_a_value_has_no_control_but_tab(byte: bytes) -> None:
    allowed = byte == b"\t" or byte not in CONTROLS
    assert (refused(validate.check_fields, [(b"x", b"a" + byte + b"b")]) is None) == allowed
    assert (refused(validate.check_reason, b"a" + byte) is None) == allowed


@pytest.mark.parametrize("byte", ALL_BYTES, ids=bytes.hex)
def test_a_method_is_a_token(byte: bytes) -> None:
    assert (refused(validate.check_method, b"G" + byte) is None) == (byte in TOKEN_CHARACTERS)


@pytest.mark.parametrize("byte", ALL_BYTES, ids=bytes.hex)
def test_a_target_is_visible_ascii(byte: bytes) -> None:
    assert (refused(validate.check_target, b"/" + byte) is None) == (b"!" <= byte <= b"~")


def test_method_and_target_are_not_empty() -> None:
    assert refused(validate.check_method, b"")
    assert refused(validate.check_target, b"")


# -- authority ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authority",
    [b"h", b"api.example.com", b"h:80", b"h:", b"127.0.0.1:8080", b"[::1]", b"[::1]:443", b"a_b"],
)
def test_an_authority_is_a_host_and_perhaps_a_port(authority: bytes) -> None:
    validate.check_authority(authority)


@pytest.mark.parametrize(
    "authority",
    [
        b"",
        b"user@h",
        b"user:pass@h",
        b"h/path",
        b"h?x",
        b"h#x",
        b"h h",
        b" h",
        b"h\t",
        b"h:x",
        b"h:-1",
        b"h:123456",
        b"h:80:80",
        b"[::1",
        b"::1",
        b"[::1]x",
        b"[h]",
        b"h\\x",
        b"h\r\n",
        b"h\x00",
        b"\xc3\xa9",
        b"h\x7f",
        b"<h>",
        b'"h"',
    ],
)
def test_what_is_no_authority(authority: bytes) -> None:
    assert refused(validate.check_authority, authority)


# -- framing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [b"0", b"5", b"005", b"9" * 18])
def test_a_length_is_digits(value: bytes) -> None:
    assert validate.parse_length(value) == int(value)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" 5",
        b"5 ",
        b"+5",
        b"-5",
        b"5.0",
        b"5e1",
        b"0x5",
        b"1_0",
        b"5,5",
        b"5, 5",
        b"five",
        b"\xb2",
        "٣".encode(),  # a digit to str.isdigit and int, though not to us
        b"9" * 19,
        b"5\n",
        b"5\x00",
    ],
)
def test_what_is_no_length(value: bytes) -> None:
    error = refused(validate.parse_length, value)
    assert error is not None
    assert error.status == 400


def test_a_length_may_be_absent_or_once() -> None:
    assert validate.declared_length(Headers()) is None
    assert validate.declared_length(Headers([(b"content-length", b"5")])) == 5


@pytest.mark.parametrize("second", [b"5", b"6"])
def test_a_length_that_comes_twice_is_refused_even_when_both_agree(second: bytes) -> None:
    headers = Headers([(b"content-length", b"5"), (b"x", b"1"), (b"content-length", second)])
    assert refused(validate.declared_length, headers)


def test_what_may_occur_once() -> None:
    headers = Headers([(b"host", b"a"), (b"x", b"1"), (b"x", b"1")])
    assert validate.the_one(headers, b"host") == b"a"
    assert validate.the_one(headers, b"absent") is None
    assert refused(validate.the_one, headers, b"x")


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b"CHUNKED"])
def test_chunked_alone_is_understood(value: bytes) -> None:
    validate.check_chunked(Headers([(b"transfer-encoding", value)]), 1)


@pytest.mark.parametrize(
    "value",
    [
        b"gzip",
        b"identity",
        b"",
        b"gzip, chunked",
        b"chunked, chunked",
        b"chunked, identity",
        b"chunked,",
        b",chunked",
        b"chunked;q=1",
        b"xchunked",
        b"chunked\x0b",
        b"\x0bchunked",
        b'"chunked"',
        b"chun\xc5\xbfed",
        b"chun\xe2\x84\xaaed",  # the sign for Kelvin, which str.lower makes a k
    ],
)
def test_another_coding_is_not_implemented(value: bytes) -> None:
    error = refused(validate.check_chunked, Headers([(b"transfer-encoding", value)]), 1)
    assert error is not None
    assert error.status == 501


def test_chunked_with_a_length_is_refused_in_either_order() -> None:
    fields = [(b"transfer-encoding", b"chunked"), (b"content-length", b"5")]
    for headers in (Headers(fields), Headers(fields[::-1])):
        error = refused(validate.check_chunked, headers, 1)
        assert error is not None
        assert "both" in str(error)
        assert error.status == 400


def test_chunked_twice_is_refused() -> None:
    headers = Headers([(b"transfer-encoding", b"chunked")] * 2)
    error = refused(validate.check_chunked, headers, 1)
    assert error is not None
    assert error.status == 400


def test_chunked_is_not_of_http_1_0() -> None:
    error = refused(validate.check_chunked, Headers([(b"transfer-encoding", b"chunked")]), 0)
    assert error is not None
    assert error.status == 400


# -- dot segments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        b"/..",
        b"/.",
        b"/a/../b",
        b"/a/./b",
        b"/a/..",
        b"..",
        b"../x",
        b"/%2e%2e/x",
        b"/%2E%2e/x",
        b"/.%2e/x",
        b"/%2e/x",
        b"/a\\..\\b",
        b"/a/..\\b",
        b"/v1/..%2fadmin",
        b"/v1/x%2F../admin",
        b"/v1/%2e.%5Cadmin",
        b"/v1/..;/admin",
    ],
)
def test_dot_segments_are_seen(path: bytes) -> None:
    assert validate.has_dot_segment(path)


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/a",
        b"/...",
        b"/a..b",
        b"/.a",
        b"/a.",
        b"/..a/b",
        b"/%2ea",
        b"/a%2fb.c",
        b"/%252e/x",
        b"",
    ],
)
def test_dots_in_names_are_harmless(path: bytes) -> None:
    assert not validate.has_dot_segment(path)
