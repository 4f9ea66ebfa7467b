"""The shortcut for ordinary heads against h11: it accepts no more and reads nothing differently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutation import TRAPS, fuzzed, mutated

from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.http.validate import Malformed
from m2mproxy.net.h1_head import (
    judged_request,
    judged_response,
    request_head,
    response_head,
)
from m2mproxy.net.h1_message import RepeatedHead, read_request, read_response

FIELDS = 64

# A real client's head, less its framing.
SDK = (
    b"Host: localhost:8080\r\nAccept-Encoding: gzip, deflate, zstd\r\nConnection: keep-alive\r\n"
    b"Accept: application/json\r\nContent-Type: application/json\r\n"
    b"User-Agent: OpenAI/Python 2.8.1\r\nX-Stainless-Lang: python\r\n"
    b"Authorization: Bearer sk-abc\r\nx-stainless-read-timeout: 600"
)

LINES = [
    b"Host: proxy",
    b"host: proxy:8080",
    b"Host: [::1]:80",
    b"Host:",
    b"Host: a, b",
    b"Host: user@h",
    b"Content-Length: 5",
    b"content-length: 5",
    b"content-length: 05",
    b"Content-Length: 5, 5",
    b"Content-Length: +5",
    b"Content-Length: 5 ",
    b"Content-Length: 1_0",
    b"Content-Length: -1",
    b"Content-Length:",
    b"Content-Length: 999999999999999999",
    b"Content-Length: 9999999999999999999999",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: Chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding:",
    b"Connection: close",
    b"Connection: keep-alive, X-A",
    b"Connection: content-length",
    b"Connection: host, transfer-encoding",
    b"Expect: 100-continue",
    b"Upgrade: h2c",
    b"TE: trailers",
    b"X-A: 1",
    b"x-a:1",
    b"X-A:\t 1 \t",
    b"X-A: a  b",
    b"X-A: \xc3\xa9",
    b"X-A: a\x01b",
    b"X-A: a\x7fb",
    b"X-A:",
    b"X-A",
    b": x",
    b"",
    b" folded",
    b"\tfolded",
    b"X A: 1",
    b"X(A): 1",
    b"X-\xe9: 1",
    b"x-long: " + b"v" * 300,
]

METHODS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"get", b"X-ODD", b"A", b"", b"G T", b"G\x00T"]
TARGETS = [b"/", b"/v1/models", b"/v1/x?y=%20", b"*", b"http://h/v1", b"h:80", b"", b"/a b"]
TARGETS += [b"/\xc3\xa9", b"/\x7f", b"/\x01", b"//x", b"http://u@h/", b"/#f", b"HTTP://h?q"]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"http/1.1", b""]
VERSIONS += [b"HTTP/1.1 ", b"HTTP/1.10", b"HTTP/11", b"HTTPS/1.1", b"HTTP/1,1"]
STATUSES = [b"200 OK", b"204 No Content", b"304 ", b"200", b"101 Switching", b"103 Early"]
STATUSES += [
    b"99 X",
    b"099 X",
    b"600 X",
    b"20 X",
    b"2000 X",
    b"200 \xc3\xa9",
    b"200 a\x01",
    b"200\tOK",
]

_often_ordinary = {
    "method": st.one_of(st.just(b"POST"), st.sampled_from(METHODS)),
    "target": st.one_of(st.just(b"/v1/chat/completions"), st.sampled_from(TARGETS)),
    "version": st.one_of(st.just(b"HTTP/1.1"), st.just(b"HTTP/1.1"), st.sampled_from(VERSIONS)),
    "status": st.sampled_from(STATUSES),
}


@st.composite
def field_lines(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.sampled_from(LINES), max_size=5))
    start = [SDK] if draw(st.booleans()) else [b"Host: proxy"]
    return b"\r\n".join(draw(st.permutations(start + lines)))


@st.composite
def request_heads(draw: st.DrawFn) -> bytes:
    first = b" ".join(draw(_often_ordinary[part]) for part in ("method", "target", "version"))
    return first + b"\r\n" + draw(field_lines())


@st.composite
def response_heads(draw: st.DrawFn) -> bytes:
    first = b" ".join(draw(_often_ordinary[part]) for part in ("version", "status"))
    return first + b"\r\n" + draw(field_lines())


def requested(raw: bytes) -> tuple[Request, bool] | None:
    """What we make of a request's head, None if it is refused."""
    try:
        return read_request(request_head(raw, FIELDS))
    except Malformed:
        return None


def responded(raw: bytes, method: bytes) -> tuple[Response, bool, bool] | None:
    try:
        return read_response(response_head(raw, FIELDS), method)
    except Malformed:
        return None


def spelled_as_h11(head: tuple[object, object, object, Headers]) -> tuple[object, ...]:
    """`head` with the one value in lower case that h11 puts there; it goes no further anyway."""
    fields = [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in head[3]]
    return *head[:3], fields


def check_request(raw: bytes) -> None:
    if requested(raw) is not None:
        # Raises if h11, or a check that stands before it, refuses.
        assert spelled_as_h11(request_head(raw, FIELDS)) == spelled_as_h11(judged_request(raw))


def check_response(raw: bytes) -> None:
    if responded(raw, b"GET") is not None or responded(raw, b"HEAD") is not None:
        assert spelled_as_h11(response_head(raw, FIELDS)) == spelled_as_h11(judged_response(raw))


@fuzzed
@given(mutated(request_heads(), TRAPS))
def test_requests_are_read_as_h11_reads_them(raw: bytes) -> None:
    check_request(raw)


@fuzzed
@given(mutated(response_heads(), TRAPS))
def test_responses_are_read_as_h11_reads_them(raw: bytes) -> None:
    check_response(raw)


@fuzzed
@given(st.one_of(st.binary(), st.builds(bytes.__add__, st.sampled_from(VERSIONS), st.binary())))
def test_any_bytes_are_read_as_h11_reads_them(raw: bytes) -> None:
    check_request(raw)
    check_response(raw)
    check_request(b"GET / HTTP/1.1\r\nhost: h\r\n" + raw)
    check_response(b"HTTP/1.1 200 OK\r\n" + raw)


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_in_every_place_is_read_as_h11_reads_it(byte: int) -> None:
    one = bytes((byte,))
    for raw in (
        b"P%bT / HTTP/1.1\r\nhost: h",
        b"GET /%bx HTTP/1.1\r\nhost: h",
        b"GET / HTTP/1.1%b\r\nhost: h",
        b"GET / HTTP/1.1\r\nhost: h%b",
        b"GET / HTTP/1.1\r\nhost: h\r\nx%b: 1",
        b"GET / HTTP/1.1\r\nhost: h\r\n%bx: 1",
        b"GET / HTTP/1.1\r\nhost: h\r\nx:%b1",
        b"GET / HTTP/1.1\r\nhost: h\r\nx: 1%b2",
        b"GET / HTTP/1.1\r\nhost: h\r\nx: 1%b",
        b"GET / HTTP/1.1\r\nhost: h\r\ncontent-length: 1%b",
        b"GET / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: %bchunked",
    ):
        check_request(raw % one)
    for raw in (
        b"HTTP/1.1 200%bOK\r\nx: 1",
        b"HTTP/1.1 200 O%b\r\nx: 1",
        b"HTTP/1.1 20%b OK\r\nx: 1",
        b"HTTP/1.1%b200 OK\r\nx: 1",
    ):
        check_response(raw % one)


def test_real_heads_are_accepted() -> None:
    """Or the tests above would prove little."""
    assert requested(b"POST /v1/x HTTP/1.1\r\n" + SDK + b"\r\nContent-Length: 5") is not None
    assert responded(b"HTTP/1.1 200 OK\r\ncontent-length: 5", b"GET") is not None


def test_what_comes_twice_is_read_the_same_twice() -> None:
    raw = b"POST /v1/x HTTP/1.1\r\n" + SDK + b"\r\nX-Twice: 1\r\nX-Twice: 1"
    first = request_head(raw, FIELDS)
    first[3].clear()  # what a caller does to its fields is nobody else's business
    assert request_head(raw, FIELDS) == judged_request(raw)


# -- a head that is recognised ------------------------------------------------------------------


def remembered(raw: bytes) -> RepeatedHead | None:
    read = requested(raw)
    return None if read is None else RepeatedHead(raw, *read)


@fuzzed
@given(
    lengths=st.lists(st.integers(0, 10**18 - 1), min_size=1, max_size=3),
    name=st.sampled_from([b"Content-Length", b"content-length"]),
    around=st.permutations([SDK, b"X-A: 1", b"Expect: 100-continue"]),
    place=st.integers(0, 3),
)
def test_a_repeated_head_is_recognised_by_all_but_its_length(
    lengths: list[int], name: bytes, around: list[bytes], place: int
) -> None:
    def head(length: int) -> bytes:
        lines = [*around[:place], b"%b: %d" % (name, length), *around[place:]]
        return b"POST /v1/x HTTP/1.1\r\n" + b"\r\n".join(lines)

    repeated = remembered(head(7))
    assert repeated is not None
    for length in lengths:
        read = repeated.read(head(length))
        assert read == requested(head(length))
        assert read is not None
        read[0].headers.clear()


@fuzzed
@given(first=request_heads(), data=st.data())
def test_another_head_is_not_taken_for_the_repeated_one(first: bytes, data: st.DataObject) -> None:
    repeated = remembered(first)
    if repeated is None:
        first = b"POST /v1/x HTTP/1.1\r\n" + SDK + b"\r\nContent-Length: 5\r\nx-a: 1"
        repeated = remembered(first)
        assert repeated is not None
    again = data.draw(mutated(st.just(first), [*TRAPS, b"5", b"\r\nContent-Length: 6"]))
    read = repeated.read(again)
    assert read is None or read == requested(again)
    assert repeated.read(first) == requested(first)


@pytest.mark.parametrize(
    "more", [b"\r\nx: 1", b"\r\nhost: other", b" ", b"x", b"\r\ncontent-length: 5"]
)
@pytest.mark.parametrize("base", [b"", b"\r\ncontent-length: 5", b"\r\nContent-Length: 5 "])
def test_a_head_that_goes_on_is_another_head(base: bytes, more: bytes) -> None:
    first = b"POST / HTTP/1.1\r\nhost: h" + base
    repeated = remembered(first)
    assert repeated is not None
    for again in (first + more, first[:-1]):
        read = repeated.read(again)
        assert read is None or read == requested(again)


@pytest.mark.parametrize("byte", range(256))
def test_no_byte_in_the_length_passes_by_repetition(byte: int) -> None:
    head = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %b\r\nx: 1"
    repeated = remembered(head % b"5")
    assert repeated is not None
    one = bytes((byte,))
    for value in (one, b"5" + one, one + b"5", b"5" + one + b"5", b"", b"9" * 19, b"5\r\ny: 1"):
        again = repeated.read(head % value)
        assert again is None or again == requested(head % value)
