"""Field sections of HTTP/2: what an HTTP/1 server behind us could misread never reaches it."""

from __future__ import annotations

from typing import Any

import pytest
from frames import FrameClient, data
from hypothesis import given
from hypothesis import strategies as st
from world import World, reply

from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Response
from m2mproxy.http.validate import Malformed
from m2mproxy.net.fields import (
    RepeatedSection,
    read_request,
    read_response,
    read_trailers,
    request_fields,
    response_fields,
)

Fields = list[tuple[bytes, bytes]]
M, S, A, P = (b":method", b":scheme", b":authority", b":path")
BASE: Fields = [(M, b"POST"), (S, b"http"), (A, b"proxy"), (P, b"/v1/x")]


def having(*more: tuple[bytes, bytes], **changed: bytes) -> Fields:
    """A request with pseudo-headers changed (b"-" leaves one out) and fields added."""
    fields = [(name, changed.get(name[1:].decode(), value)) for name, value in BASE]
    return [*((name, value) for name, value in fields if value != b"-"), *more]


REQUESTS: dict[str, Fields] = {
    "a space in the method": having(method=b"GET /v1/admin HTTP/1.1"),
    "an empty method": having(method=b""),
    "no method": having(method=b"-"),
    "a colon in the method": having(method=b"GET:"),
    "a line break in the method": having(method=b"GET\r\nx: y"),
    "a space in the path": having(path=b"/v1/x HTTP/1.1"),
    "a line break in the path": having(path=b"/v1/x\r\nhost: evil"),
    "a bare LF in the path": having(path=b"/v1/x\nhost: evil"),
    "NUL in the path": having(path=b"/v1/\0x"),
    "bytes above ASCII in the path": having(path=b"/v1/\xff"),
    "an empty path": having(path=b""),
    "no path": having(path=b"-"),
    "a path without slash": having(path=b"v1/x"),
    "a whole URL as path": having(path=b"http://evil/v1/x"),
    "a fragment in the path": having(path=b"/v1/x#y"),
    "an asterisk for POST": having(path=b"*"),
    "no scheme": having(scheme=b"-"),
    "another scheme": having(scheme=b"file"),
    "a scheme with spaces": having(scheme=b"http x"),
    "an authority with a path": having(authority=b"proxy/v1"),
    "an authority with a space": having(authority=b"proxy evil"),
    "an authority with userinfo": having(authority=b"me@proxy"),
    "an authority with a line break": having(authority=b"proxy\r\nx: y"),
    "an authority unlike host": having((b"host", b"evil")),
    "two hosts": having((b"host", b"proxy"), (b"host", b"proxy")),
    "a junk host": having((b"host", b"a b"), authority=b"-"),
    "two paths": [*having(), (P, b"/v1/y")],
    "two methods": [(M, b"GET"), *having()],
    "an unknown pseudo-header": [*having(), (b":evil", b"1")],
    "a response's pseudo-header": [*having(), (b":status", b"200")],
    "a pseudo-header after a field": [*having()[:3], (b"x-a", b"1"), (P, b"/v1/x")],
    "upper case": having((b"X-Upper", b"1")),
    "an empty name": having((b"", b"1")),
    "a name with a space": having((b"x a", b"1")),
    "a name with a colon": having((b"x:a", b"1")),
    "a name with a line break": having((b"x\nhost", b"1")),
    "a name with NUL": having((b"x\0", b"1")),
    "a name above ASCII": having((b"x\xe9", b"1")),
    "CR LF in a value": having((b"x-a", b"1\r\nhost: evil")),
    "LF in a value": having((b"x-a", b"1\nhost: evil")),
    "CR in a value": having((b"x-a", b"1\rhost: evil")),
    "NUL in a value": having((b"x-a", b"1\0")),
    "DEL in a value": having((b"x-a", b"1\x7f")),
    "a space before a value": having((b"x-a", b" 1")),
    "a tab after a value": having((b"x-a", b"1\t")),
    "connection": having((b"connection", b"close")),
    "keep-alive": having((b"keep-alive", b"timeout=5")),
    "proxy-connection": having((b"proxy-connection", b"close")),
    "transfer-encoding": having((b"transfer-encoding", b"chunked")),
    "upgrade": having((b"upgrade", b"websocket")),
    "te other than trailers": having((b"te", b"gzip")),
    "te with more than trailers": having((b"te", b"trailers, deflate")),
    "two lengths that differ": having((b"content-length", b"0"), (b"content-length", b"5")),
    "two lengths that agree": having((b"content-length", b"5"), (b"content-length", b"5")),
    "a list of lengths": having((b"content-length", b"5, 5")),
    "a signed length": having((b"content-length", b"+5")),
    "a hexadecimal length": having((b"content-length", b"0x5")),
    "a length with an underscore": having((b"content-length", b"1_0")),
    "an empty length": having((b"content-length", b"")),
    "a length beyond counting": having((b"content-length", b"9" * 40)),
    "CONNECT with a path": having(method=b"CONNECT"),
    "CONNECT without authority": [(M, b"CONNECT")],
    "a protocol without CONNECT": [*having(), (b":protocol", b"websocket")],
}


@pytest.mark.parametrize("case", list(REQUESTS))
def test_what_is_no_request_is_refused(case: str) -> None:
    with pytest.raises(Malformed):
        read_request(REQUESTS[case], False)


@pytest.mark.parametrize("case", list(REQUESTS))
def test_what_is_no_request_goes_nowhere_and_leaves_its_neighbours_alone(case: str) -> None:
    world = World()
    client = FrameClient(world)
    client.say(client.headers(1, BASE, end=False))
    upstream = world.upstream()
    client.say(client.headers(3, REQUESTS[case], end=False), data(3, b"hello", end=True))
    assert client.reset(3) == 1 or client.goaway == 1
    if "length" not in case:  # these the library refuses, more coarsely
        assert client.goaway is None
    if client.goaway is None:
        assert client.status(3) in (b"400", None)
        client.say(data(1, b"fine", end=True))
        assert upstream.take().endswith(b"4\r\nfine\r\n0\r\n\r\n")
    assert len(world.upstreams) == 1


def test_the_body_of_a_malformed_request_is_credited_and_ignored() -> None:
    world = World()
    client = FrameClient(world)
    for stream_id in range(1, 41, 2):
        client.say(client.headers(stream_id, REQUESTS["a space in the path"], end=False))
        client.say(data(stream_id, bytes(16_000)))
        assert client.reset(stream_id) == 1
    client.say(client.headers(41, BASE))
    world.upstream().send(reply(b"fine"))
    world.run()
    assert client.payload(41) == b"fine"


def test_a_malformed_request_is_told_why() -> None:
    client = FrameClient(World())
    client.say(client.headers(1, REQUESTS["a space in the path"]))
    assert client.status(1) == b"400"
    assert b'"code":"bad_request"' in client.payload(1)
    assert not client.is_ended(1)
    assert client.reset(1) == 1


@pytest.mark.parametrize(
    "method,path", [(b"OPTIONS", b"*"), (b"GET", b"/v1/x?y=%20"), (b"M-SEARCH", b"/")]
)
def test_unusual_requests_that_are_fine(method: bytes, path: bytes) -> None:
    request = read_request(having(method=method, path=path), True)
    assert (request.method, request.target) == (method, path)


def test_host_stands_in_for_authority() -> None:
    request = read_request(having((b"host", b"there:81"), authority=b"-"), True)
    assert (request.authority, request.headers) == (b"there:81", [])
    assert read_request(having((b"host", b"PROXY")), True).authority == b"proxy"


def test_what_is_for_us_alone_is_taken_out() -> None:
    request = read_request(having((b"te", b"trailers"), (b"proxy-authorization", b"k")), True)
    assert (request.headers, request.takes_trailers) == ([], True)


def test_a_cookie_in_crumbs_is_one_for_others() -> None:
    crumbs = having((b"cookie", b"a=1"), (b"x-a", b"1"), (b"cookie", b"b=2"))
    assert read_request(crumbs, True).headers == [(b"cookie", b"a=1; b=2"), (b"x-a", b"1")]


def test_the_length_of_a_request() -> None:
    assert read_request(having(), True).length == 0
    assert read_request(having(), False).length is None
    assert read_request(having((b"content-length", b"7")), False).length == 7
    with pytest.raises(Malformed):
        read_request(having((b"content-length", b"7")), True)


def test_connect_names_its_authority() -> None:
    request = read_request([(M, b"CONNECT"), (A, b"there:443")], False)
    assert (request.target, request.authority) == (b"there:443", b"there:443")
    extended = [(M, b"CONNECT"), (b":protocol", b"websocket"), *BASE[1:]]
    assert read_request(extended, False).method == b"CONNECT"


@pytest.mark.parametrize("protocol", [True, False])
def test_connect_is_not_supported(protocol: bool) -> None:
    world = World()
    client = FrameClient(world)
    fields = [(M, b"CONNECT"), (A, b"there:443")]
    if protocol:
        fields = [(M, b"CONNECT"), (b":protocol", b"websocket"), *BASE[1:]]
    client.say(client.headers(1, fields, end=False))
    assert client.status(1) == b"501"
    assert client.is_ended(1)
    assert not world.upstreams


RESPONSES: dict[str, Fields] = {
    "no status": [(b"x-a", b"1")],
    "two statuses": [(b":status", b"200"), (b":status", b"200")],
    "a status of two digits": [(b":status", b"20")],
    "a status below 100": [(b":status", b"099")],
    "a status in letters": [(b":status", b"abc")],
    "101": [(b":status", b"101")],
    "a request's pseudo-header": [(b":status", b"200"), (P, b"/")],
    "connection": [(b":status", b"200"), (b"connection", b"close")],
    "transfer-encoding": [(b":status", b"200"), (b"transfer-encoding", b"chunked")],
    "te": [(b":status", b"200"), (b"te", b"trailers")],
    "a line break": [(b":status", b"200"), (b"x-a", b"1\r\nset-cookie: evil")],
    "two lengths": [(b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"2")],
}


@pytest.mark.parametrize("case", list(RESPONSES))
def test_what_is_no_response_is_refused(case: str) -> None:
    with pytest.raises(Malformed):
        read_response(RESPONSES[case], False, b"GET")


def test_the_length_of_a_response() -> None:
    seven = [(b":status", b"200"), (b"content-length", b"7")]
    assert read_response(seven, False, b"GET").length == 7
    assert read_response(seven, True, b"HEAD").length == 0
    assert read_response([(b":status", b"304"), seven[1]], True, b"GET").length == 0
    assert read_response([(b":status", b"200")], False, b"GET").length is None
    assert read_response([(b":status", b"204"), seven[1]], True, b"GET").headers == []
    with pytest.raises(Malformed):
        read_response(seven, True, b"GET")


@pytest.mark.parametrize(
    "name",
    [
        *(b":path", b":status", b"connection", b"X-A", b"a b"),
        *(b"content-length", b"host", b"trailer", b"transfer-encoding"),
    ],
)
def test_what_trailers_may_not_have(name: bytes) -> None:
    with pytest.raises(Malformed):
        read_trailers([(name, b"1")])


def test_what_is_for_us_alone_goes_no_further_in_trailers() -> None:
    fields = [(b"te", b"trailers"), (b"x-a", b"1"), (b"proxy-authorization", b"k"), (b"x-b", b"2")]
    assert read_trailers(fields) == [(b"x-a", b"1"), (b"x-b", b"2")]


@pytest.mark.parametrize("count", [100, 101])
def test_trailers_have_as_many_fields_as_a_head_may(count: int) -> None:
    world = World(limits_header_count=100)
    client = FrameClient(world)
    client.say(client.headers(1, BASE, end=False), data(1, b"a"))
    client.say(client.headers(1, [(b"x-a", b"1")] * count))
    assert world.upstream().take().count(b"x-a: 1") == (count if count <= 100 else 0)
    assert (client.reset(1) is not None) is (count > 100)


names = st.from_regex(rb"[a-z][a-z0-9-]{0,9}", fullmatch=True).map(lambda name: b"x-" + name)
values = st.binary(max_size=20).filter(
    lambda value: value.strip(b" \t") == value and not set(value) & ({*range(32), 127} - {9})
)
fields = st.lists(st.tuples(names, values), max_size=8)


@given(fields)
def test_fields_are_read_as_they_were_written(some: Fields) -> None:
    request = read_request([*BASE, *some], True)
    assert request_fields(request) == [*BASE, *some]
    response = Response(200, Headers(some))
    assert read_response(response_fields(response), False, b"GET").headers == some


@given(fields, fields, st.booleans(), st.booleans(), st.integers(0, 10**6))
def test_a_section_that_is_repeated_is_read_as_if_it_was_new(
    some: Fields, others: Fields, same: bool, ended: bool, length: int
) -> None:
    first = [*BASE, *some, (b"content-length", b"5"), *others]
    second = [*first[: len(BASE) + len(some)], (b"content-length", b"%d" % length), *others]
    if not same:
        second = [*BASE, *others, *some]
    known = RepeatedSection(first, read_request(first, False))
    read = known.read(second, ended)
    if read is not None:
        assert read == read_request(second, ended)
    elif same:
        assert ended
    bare = [*BASE, *some]
    known = RepeatedSection(bare, read_request(bare, False))
    assert known.read(bare, ended) == read_request(bare, ended)
    assert known.read([*bare, (b"x-more", b"1")], ended) is None


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=6))
def test_any_section_is_read_or_refused(some: Fields) -> None:
    read: list[Any] = [lambda: read_request(some, True), lambda: read_trailers(some)]
    read += [lambda: read_response(some, True, b"GET"), lambda: read_request([*BASE, *some], False)]
    for each in read:
        try:
            message = each()
        except Malformed:
            continue
        for name, value in getattr(message, "headers", message):
            assert name == name.lower() and b":" not in name
            assert not set(b"\r\n\0") & set(name + value)
