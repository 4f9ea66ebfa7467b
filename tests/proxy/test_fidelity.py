"""What the proxy leaves as it is, and the little that it adds or takes away."""

from __future__ import annotations

import pytest
from link import Raw, Split
from wire import read_request
from world import HOST, World, chunk, get, post, reply

from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request
from m2mproxy.proxy.forwarding import forwarded_element


def lines(message: bytes) -> list[bytes]:
    return message.partition(b"\r\n\r\n")[0].split(b"\r\n")


def exchange(world: World, request: bytes, response: bytes) -> tuple[bytes, bytes]:
    """What the upstream gets and what the client gets."""
    client = world.client()
    client.send(request)
    upstream = world.upstream()
    seen = upstream.take()
    upstream.send(response)
    world.run()
    return seen, client.take()


def test_a_request_keeps_its_fields_in_order_with_duplicates(split: Split) -> None:
    world = World(split)
    request = get(b"/v1/models", b"X-B: 1", b"x-a: two  words", b"X-B: 2", b"x-empty:")
    seen, _ = exchange(world, request, reply(b"[]"))
    assert lines(seen)[:6] == [
        b"GET /v1/models HTTP/1.1",
        b"host: upstream:9",
        b"x-b: 1",
        b"x-a: two  words",
        b"x-b: 2",
        b"x-empty: ",
    ]


def test_a_response_keeps_its_fields_in_order_with_duplicates(split: Split) -> None:
    response = reply(b"[]", b"Set-Cookie: a=1", b"x-ratelimit-limit: 5", b"set-cookie: b=2")
    _, seen = exchange(World(split), get(), response)
    assert lines(seen) == [
        b"HTTP/1.1 200 OK",
        b"set-cookie: a=1",
        b"x-ratelimit-limit: 5",
        b"set-cookie: b=2",
        b"content-length: 2",
    ]


@pytest.mark.parametrize("status", [b"429 Too Many Requests", b"503 Slow Down", b"418 Teapot"])
def test_the_upstreams_errors_are_the_clients(status: bytes) -> None:
    response = reply(b'{"error":{}}', b"retry-after: 7", b"x-request-id: r", status=status)
    _, seen = exchange(World(), post(b"{}"), response)
    assert seen == response


@pytest.mark.parametrize(
    ("status", "reason"),
    [(201, b"Created"), (206, b"Partial Content"), (307, b"Temporary Redirect"),
     (401, b"Unauthorized"), (422, b"Unprocessable Content"), (429, b"Too Many Requests"),
     (520, b"")],
)  # fmt: skip
def test_where_http2_has_no_reason_the_usual_one_is_said(status: int, reason: bytes) -> None:
    """Applications show it."""
    world = World(pair=("1.1", "2"))
    world.neutral = True
    client = world.client()
    client.send(get())
    world.call().reply(b"{}", status=status)
    world.run()
    assert lines(client.take())[0] == b"HTTP/1.1 %d %b" % (status, reason)


def test_connection_fields_stay_on_their_connection(split: Split) -> None:
    request = get(
        b"/v1/models",
        b"connection: keep-alive, X-Private",
        b"keep-alive: timeout=5",
        b"x-private: 1",
        b"proxy-connection: keep-alive",
        b"proxy-authorization: Basic x",
        b"x-public: 1",
    )
    response = reply(b"[]", b"connection: x-inner", b"keep-alive: timeout=5", b"x-inner: 1")
    seen, answer = exchange(World(split), request, response)
    names = [line.partition(b":")[0] for line in lines(seen)[1:]]
    assert names == [b"host", b"x-public", b"via", b"forwarded"]
    assert lines(answer) == [b"HTTP/1.1 200 OK", b"content-length: 2"]


def test_nobody_can_nominate_away_what_a_message_means() -> None:
    request = post(b"{}", b"/v1/x", b"connection: authorization, content-type", b"authorization: b")
    seen, _ = exchange(World(api_key="sk-operator"), request, reply(b""))
    assert b"authorization: b" in lines(seen)
    assert b"content-type: application/json" in lines(seen)
    assert b"sk-operator" not in seen


def test_via_and_forwarded_say_where_a_request_came_from() -> None:
    request = get(b"/v1/models", b"via: 1.1 first", b"forwarded: for=1.2.3.4")
    seen, _ = exchange(World(), request, reply(b"[]"))
    assert lines(seen)[2:] == [
        b"via: 1.1 first",
        b"forwarded: for=1.2.3.4",
        b"via: 1.1 m2mproxy",
        b'forwarded: for=192.0.2.7;host="proxy";proto=http',
    ]


def test_a_host_that_is_longer_than_any_is_told_and_not_kept() -> None:
    """An element is remembered for the process's life, and an authority can be a whole head."""
    host = b"h" * 8000
    kept = forwarded_element.cache_info().currsize
    request = get(b"/v1/models").replace(HOST, b"host: %b\r\n" % host)
    seen, _ = exchange(World(), request, reply(b"[]"))
    assert lines(seen)[-1] == b'forwarded: for=192.0.2.7;host="%b";proto=http' % host
    assert forwarded_element.cache_info().currsize == kept


def test_what_is_told_of_a_host_is_remembered_once_whatever_its_port() -> None:
    forwarding = World().context.routes.upstream.forwarding
    kept = forwarded_element.cache_info().currsize
    for port in (40001, 40002, 40003):
        request = Request(b"GET", b"/v1/models", b"one-of-many", Headers())
        forwarding.prepare(request, Headers(), f"192.0.2.9:{port}")
        assert request.headers.get(b"forwarded") == b'for=192.0.2.9;host="one-of-many";proto=http'
    assert forwarded_element.cache_info().currsize == kept + 1


def test_forwarded_can_be_left_out() -> None:
    seen, _ = exchange(World(forwarded=False), get(), reply(b"[]"))
    assert b"forwarded" not in seen


def test_a_request_that_goes_in_circles_is_refused() -> None:
    world = World()
    client = world.client()
    client.send(get(b"/v1/models", *[b"via: 1.1 m2mproxy"] * 4))
    world.run()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 508 ")
    assert b"does its upstream lead back to it?" in answer
    assert not world.upstreams


def test_accept_encoding_is_the_clients_own_or_none() -> None:
    seen, _ = exchange(World(), get(), reply(b"[]"))
    assert b"accept-encoding" not in seen
    seen, _ = exchange(World(), get(b"/v1/models", b"Accept-Encoding: gzip, br"), reply(b"[]"))
    assert b"accept-encoding: gzip, br" in lines(seen)


def test_a_clients_key_is_forwarded_and_ours_stays_here() -> None:
    world = World(api_key="sk-operator")
    seen, _ = exchange(world, get(b"/v1/models", b"authorization: Bearer own"), reply(b"[]"))
    assert b"Bearer own" in seen
    assert b"sk-operator" not in seen


def test_our_key_is_added_where_the_client_has_none() -> None:
    seen, _ = exchange(World(api_key="sk-operator"), get(), reply(b"[]"))
    assert b"authorization: Bearer sk-operator" in lines(seen)


@pytest.mark.parametrize("empty", [b"authorization:", b"authorization: Bearer"])
def test_a_key_field_without_a_key_is_replaced_by_the_configured_one(empty: bytes) -> None:
    seen, _ = exchange(World(api_key="sk-operator"), get(b"/v1/models", empty), reply(b"[]"))
    keys = [line for line in lines(seen) if line.startswith(b"authorization")]
    assert keys == [b"authorization: Bearer sk-operator"]
    seen, _ = exchange(World(), get(b"/v1/models", empty), reply(b"[]"))
    assert empty in seen


def test_a_chunked_upload_stays_chunked(split: Split) -> None:
    request = b"POST /v1/files HTTP/1.1\r\n%btransfer-encoding: chunked\r\n\r\n" % HOST
    request += chunk(b"abc") + b"3;ext=1\r\ndef\r\n" + b"0\r\n\r\n"
    seen, _ = exchange(World(split), request, reply(b""))
    assert b"transfer-encoding: chunked" in lines(seen)
    payload = seen.partition(b"\r\n\r\n")[2]
    if split.__name__ == "whole":
        assert payload == chunk(b"abc") + chunk(b"def") + b"0\r\n\r\n"
    assert b"".join(payload.split(b"\r\n")[1::2]) == b"abcdef"


def test_an_upload_in_single_bytes_goes_on_in_larger_chunks() -> None:
    """Each chunk costs something, and a client decides how many there are."""
    world = World()
    client = world.client()
    letters = [b"ab"[at % 2 :][:1] for at in range(10_000)]
    client.send(b"POST /v1/files HTTP/1.1\r\n%btransfer-encoding: chunked\r\n\r\n" % HOST)
    client.send(b"".join(map(chunk, letters)) + b"0\r\n\r\n")
    seen = world.upstream().take()
    assert read_request(seen)[1] == b"".join(letters)
    assert len(seen) < 11_000


def test_trailers_pass_both_ways(split: Split) -> None:
    request = b"POST /v1/x HTTP/1.1\r\n%bTE: trailers\r\nconnection: TE\r\n" % HOST
    request += b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nb\r\n0\r\nx-t: 2\r\n\r\n"
    seen, answer = exchange(World(split), request, response)
    assert b"te: trailers" in lines(seen)
    assert b"connection: te" in lines(seen)
    assert seen.endswith(b"1\r\na\r\n0\r\nx-sum: 1\r\n\r\n")
    assert answer.endswith(b"1\r\nb\r\n0\r\nx-t: 2\r\n\r\n")


def test_informational_responses_pass(split: Split) -> None:
    world = World(split)
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    of_links = early.replace(b"link: ", b"m2m-link: have\r\nlink: ")  # which is for us
    _, answer = exchange(world, get(), of_links + reply(b"[]"))
    assert answer == early + reply(b"[]")
    assert world.at_rest


def test_expect_continue_is_the_upstreams_to_answer(split: Split) -> None:
    world = World(split)
    client = world.client()
    head, _, body = post(b"{}", b"/v1/x", b"expect: 100-continue").partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    upstream = world.upstream()
    assert b"expect: 100-continue" in lines(upstream.take())
    assert client.take() == b""
    upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    world.run()
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(body)
    world.run()
    assert upstream.take() == b"{}"
    upstream.send(reply(b"ok"))
    world.run()
    assert client.take() == reply(b"ok")
    assert not client.is_gone


def test_a_refused_expectation_ends_the_connection() -> None:
    """Whether the body or the next request follows, nobody could tell (RFC 9110 10.1.1)."""
    world = World()
    client = world.client()
    client.half_open = True
    client.send(post(b"", b"/v1/x", b"expect: 100-continue").replace(b"length: 0", b"length: 9"))
    world.upstream().send(reply(b"no", status=b"401 Unauthorized"))
    world.run()
    assert b"connection: close" in lines(client.take())
    assert client.eof
    assert world.at_rest


class TestHttp10:
    """Clients of HTTP/1.0 know no chunks, no 1xx and no persistence (RFC 9112 C)."""

    REQUEST = b"GET /v1/models HTTP/1.0\r\nhost: proxy\r\n\r\n"

    def answer(self, response: bytes, split: Split) -> tuple[bytes, Raw, World]:
        world = World(split)
        client = world.client()
        client.send(self.REQUEST)
        upstream = world.upstream()
        assert lines(upstream.take())[0] == b"GET /v1/models HTTP/1.1"
        upstream.send(response)
        world.run()
        return client.take(), client, world

    def test_counted_replies_close(self, split: Split) -> None:
        answer, client, world = self.answer(reply(b"[]"), split)
        assert b"connection: close" in lines(answer)
        assert client.eof
        assert world.at_rest

    def test_chunked_replies_become_replies_that_end_with_the_connection(
        self, split: Split
    ) -> None:
        response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        answer, client, _ = self.answer(response, split)
        assert answer == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nab"
        assert client.eof
        assert not client.was_reset

    def test_informational_responses_are_kept_back(self, split: Split) -> None:
        answer, _, _ = self.answer(b"HTTP/1.1 103 Early Hints\r\n\r\n" + reply(b"x"), split)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_body_that_ends_with_the_upstreams_connection_becomes_chunked(split: Split) -> None:
    world = World(split)
    client = world.client()
    client.send(get())
    upstream = world.upstream()
    upstream.send(b"HTTP/1.0 200 OK\r\n\r\nabc")
    upstream.transport.close()
    world.run()
    answer = client.take()
    assert lines(answer) == [b"HTTP/1.1 200 OK", b"transfer-encoding: chunked"]
    assert answer.endswith(b"0\r\n\r\n")
    assert not client.is_gone
    assert world.at_rest


def test_pipelined_requests_are_answered_in_order(split: Split) -> None:
    world = World(split)
    client = world.client()
    client.send(post(b"1") + get(b"/v1/a") + post(b"3"))
    upstream = world.upstream()
    for expected in (b"POST /v1/chat/completions", b"GET /v1/a", b"POST /v1/chat/completions"):
        seen = upstream.take()
        assert seen.startswith(expected + b" HTTP/1.1")
        assert seen.count(b"HTTP/1.1\r\n") == 1
        upstream.send(reply(expected))
        world.run()
        assert client.take() == reply(expected)
    assert len(world.upstreams) == 1


@pytest.mark.parametrize(
    "target",
    [b"/v1/models?limit=2&after=%2Fx", b"/v1/files/a%20b/content", b"/v1/x?q=http://y/../z"],
)
def test_targets_are_not_touched(target: bytes) -> None:
    seen, _ = exchange(World(), get(target), reply(b""))
    assert lines(seen)[0] == b"GET %b HTTP/1.1" % target


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"X-ODD"])
def test_any_method_passes(method: bytes) -> None:
    seen, _ = exchange(World(), get().replace(b"GET", method, 1), reply(b""))
    assert lines(seen)[0] == b"%b /v1/models HTTP/1.1" % method


def test_the_alias_without_v1_is_the_same_path() -> None:
    seen, _ = exchange(World(), post(b"{}", b"/chat/completions"), reply(b""))
    assert lines(seen)[0] == b"POST /v1/chat/completions HTTP/1.1"


def test_an_absolute_target_means_its_path(split: Split) -> None:
    request = get(b"http://other:8/v1/models?x")
    seen, _ = exchange(World(split), request, reply(b""))
    assert lines(seen)[0] == b"GET /v1/models?x HTTP/1.1"
    assert b'host="other:8"' in seen


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (get(b"/nope"), 404, b"unknown_path"),
        (get(b"/models"), 404, b"unknown_path"),
        (get(b"/v1"), 404, b"unknown_path"),
        (get(b"/v1/../admin"), 400, b"bad_path"),
        (get(b"/v1/%2e%2e/admin"), 400, b"bad_path"),
        (get(b"/v1/x/."), 400, b"bad_path"),
        (get(b"/v1/.%2E\\x"), 400, b"bad_path"),
        (get(b"/v1/x", b"connection: upgrade", b"upgrade: websocket"), 501, b"upgrade_not"),
        (get(b"*").replace(b"GET", b"OPTIONS", 1), 404, b"unknown_path"),
        (get(b"a:1").replace(b"GET", b"CONNECT", 1), 501, b"connect_not_supported"),
        (get(b"/v1/models").replace(b"GET", b"CONNECT", 1), 501, b"connect_not_supported"),
        (get(b"http://h/v1/x").replace(b"GET", b"CONNECT", 1), 501, b"connect_not_supported"),
        (get(b"/v1/models").replace(b"GET", b"TRACE", 1), 501, b"trace_not_supported"),
    ],
)
def test_what_is_not_served_is_refused_in_openais_shape(
    request_bytes: bytes, status: int, code: bytes
) -> None:
    world = World()
    client = world.client()
    client.send(request_bytes)
    world.run()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.partition(b"\r\n\r\n")[2].startswith(b'{"error":{"message":"')
    assert b'"code":"' + code in answer
    assert not world.upstreams
    assert world.at_rest


def test_an_offer_of_h2c_is_passed_over() -> None:
    request = get(
        b"/v1/models",
        b"connection: Upgrade, HTTP2-Settings",
        b"upgrade: h2c",
        b"http2-settings: AAMAAABk",
    )
    seen, _ = exchange(World(), request, reply(b"[]"))
    assert b"upgrade" not in seen
    assert b"http2-settings" not in seen
