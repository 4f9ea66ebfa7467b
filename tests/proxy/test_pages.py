"""What a page in a browser may ask, where the operator's key would go with it."""

from __future__ import annotations

from typing import Any

import pytest
from clock import DrivenLoop
from edge import Edge
from world import World, get, post, reply

from m2mproxy.http.faults import ClientFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request
from m2mproxy.proxy.pages import Pages, is_preflight
from m2mproxy.proxy.providers import PROFILES

CHAT = "https://chat.example"
KEY = {"api_key": "sk-operator"}
PREFLIGHT = (
    b"OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: localhost:8080\r\norigin: %b\r\n"
    b"access-control-request-method: POST\r\n"
    b"access-control-request-headers: authorization,x-stainless-os\r\n%b\r\n"
)


def pages(
    *listed: str, lends: bool = True, is_loopback: bool = True, always: bool = False
) -> Pages:
    return Pages(listed, lends, is_loopback, PROFILES["openai"], always)


def refusal(
    found: Pages,
    *fields: tuple[bytes, bytes],
    authority: bytes = b"localhost:8080",
    client: str = "127.0.0.1:1",
    method: bytes = b"POST",
    scheme: bytes = b"http",
) -> str:
    """The code of the refusal, "" for none."""
    request = Request(method, b"/v1/models", authority, Headers(fields), scheme=scheme)
    try:
        found.check(request, request.headers, client)
    except ClientFault as fault:
        assert fault.status == 403
        assert "proxy.web_origins" in fault.message
        return fault.code
    return ""


def origin(value: bytes, site: bytes = b"") -> tuple[tuple[bytes, bytes], ...]:
    more = ((b"sec-fetch-site", site),) if site else ()
    return ((b"origin", value), *more)


# -- which pages may ask -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [b"https://evil.example", b"http://evil.example:8080", b"null", b"", b"http://10.0.0.1",
     b"http://127.0.0.1.evil.example", b"https://localhost.evil.example", b"http://a/.localhost",
     b"chrome-extension://abcdef", b"moz-extension://1-2", b"http://localhost evil",
     b"https://chat.example.evil", b"https://CHAT.example:444", b"evil.example",
     b"http://bafy.ipfs.localhost:8080", b"http://k51.IPNS.localhost", b"ipfs://bafy"],
)  # fmt: skip
@pytest.mark.parametrize("method", [b"POST", b"GET", b"DELETE", b"OPTIONS"])
def test_a_page_of_another_site_may_not(value: bytes, method: bytes) -> None:
    for site in (b"", b"cross-site", b"same-site", b"none"):
        assert refusal(pages(CHAT), *origin(value, site), method=method) == "cross_origin"


@pytest.mark.parametrize("site", [b"cross-site", b"same-site", b"", b"x"])
def test_nor_may_what_it_embeds_or_sends_its_visitor_to(site: bytes) -> None:
    assert refusal(pages(CHAT), (b"sec-fetch-site", site), method=b"GET") == "cross_origin"


@pytest.mark.parametrize(
    "value",
    [b"http://localhost:3000", b"https://localhost", b"http://LOCALHOST", b"http://127.0.0.1:5173",
     b"http://127.8.9.1", b"http://[::1]:80", b"http://ui.localhost:3000", b"tauri://localhost",
     b"vscode-webview://1o2", b"app://obsidian.md"],
)  # fmt: skip
def test_a_page_that_this_machine_serves_may(value: bytes) -> None:
    """What serves it can ask without a browser."""
    assert refusal(pages(), *origin(value, b"cross-site")) == ""


def test_a_listed_page_may_and_any_with_an_asterisk() -> None:
    assert refusal(pages(CHAT, "null"), *origin(CHAT.encode(), b"cross-site")) == ""
    assert refusal(pages(CHAT, "null"), *origin(b"null", b"cross-site")) == ""
    assert refusal(pages("*"), *origin(b"https://evil.example", b"cross-site")) == ""


def test_every_origin_that_a_request_names_has_to_be_one_that_may() -> None:
    two = (*origin(CHAT.encode()), *origin(b"https://evil.example"))
    assert refusal(pages(CHAT), *two) == "cross_origin"


def test_a_page_of_the_same_site_may_by_its_browsers_word_or_by_an_address() -> None:
    """A reverse proxy that serves a page beside us may leave Host as it was, or change it."""
    by_word = origin(CHAT.encode(), b"same-origin")
    assert refusal(pages(), *by_word, authority=b"127.0.0.1:8080") == ""
    assert refusal(pages(), *origin(b"http://10.0.0.1:81"), authority=b"10.0.0.1:81") == ""
    assert refusal(pages(), *origin(b"http://Box"), authority=b"box") == ""
    assert refusal(pages(), *origin(b"http://10.0.0.1:81"), authority=b"10.0.0.1") != ""


def test_a_name_that_came_to_mean_this_machine_makes_no_page_its_own() -> None:
    evil = b"evil.example:8080"
    for client in ("127.0.0.1:1", "10.0.0.9:1"):
        for found in (pages(), pages(is_loopback=False)):
            asked = refusal(found, *origin(b"http://" + evil), authority=evil, client=client)
            assert asked == "cross_origin"


def test_who_types_an_address_may() -> None:
    assert refusal(pages(), (b"sec-fetch-site", b"none"), method=b"GET") == ""


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key", b"api-key"])
def test_a_page_with_a_key_of_its_own_needs_nobodys_leave(name: bytes) -> None:
    """It had to ask the upstream first whether it may send one: see the preflight."""
    evil = origin(b"https://evil.example", b"cross-site")
    assert refusal(pages(), *evil, (name, b"Bearer sk-own")) == ""
    assert refusal(pages(), *evil, (name, b"Bearer ")) == "cross_origin"


@pytest.mark.parametrize("method", [b"POST", b"GET"])
def test_a_key_of_its_own_is_no_leave_where_the_operators_goes_with_it_all_the_same(
    method: bytes,
) -> None:
    """A page of a name that has come to mean this machine can send what it likes."""
    evil, key = b"evil.example", (b"authorization", b"Bearer no-key")
    marks = origin(b"http://" + evil) if method == b"POST" else ()
    found = pages(always=True)
    assert refusal(found, *marks, key, authority=evil, method=method)
    assert not refusal(found, key, method=method)
    assert not refusal(pages("http://evil.example", always=True), *marks, key, authority=evil)


def test_where_nothing_is_lent_nobody_is_refused_for_a_page() -> None:
    evil = origin(b"https://evil.example", b"cross-site")
    assert refusal(pages(lends=False), *evil) == ""


@pytest.mark.parametrize("method", [b"POST", b"GET", b"OPTIONS", b"DELETE"])
@pytest.mark.parametrize("more", [(), ((b"sec-fetch-mode", b"cors"), (b"accept-language", b"*"))])
def test_programs_say_nothing_of_pages_and_pass(method: bytes, more: Any) -> None:
    """Those built on Node's fetch say how, but not for whom."""
    assert refusal(pages(), *more, method=method) == ""


# -- what no browser says anything of ------------------------------------------------------------


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("lends", [True, False])
def test_what_a_page_can_ask_of_its_own_site_goes_by_our_names_only(
    method: bytes, lends: bool
) -> None:
    """Nobody behind us sees by which name we were asked, so it is asked where nothing is lent."""

    def asked(name: bytes, **more: Any) -> str:
        return refusal(pages(lends=lends), authority=name + b":8080", method=method, **more)

    assert asked(b"evil.example") == asked(b"localhost.evil.example") == "foreign_host"
    assert asked(b"evil.example", client="[::1]:1") == "foreign_host"
    for name in (b"", b"localhost", b"LOCALHOST", b"a.localhost", b"127.0.0.1", b"[::1]", b"box"):
        assert asked(name) == ""


def test_names_are_not_asked_where_no_page_comes_from_or_everybody_does() -> None:
    evil: dict[str, Any] = {"authority": b"evil.example", "method": b"GET"}
    assert refusal(pages(), **evil) == "foreign_host"
    assert refusal(pages(), **{**evil, "method": b"POST"}) == ""  # browsers say whose it is
    assert refusal(pages(), **evil, client="unix") == ""
    assert refusal(pages(), **evil, client="10.0.0.1:1") == ""
    assert refusal(pages(), **evil, scheme=b"https") == ""
    assert refusal(pages(is_loopback=False), **evil) == ""
    assert refusal(pages(), (b"authorization", b"Bearer sk-own"), **evil) == ""


def test_a_name_that_is_listed_is_one_of_ours() -> None:
    asked: dict[str, Any] = {"authority": b"Proxy.example:81", "method": b"GET"}
    assert refusal(pages("http://proxy.example:81"), **asked) == ""
    assert refusal(pages("*"), **asked) == ""
    assert refusal(pages("null", "http://proxy.example"), **asked) == "foreign_host"


# -- in the way of a request ---------------------------------------------------------------------


def test_nothing_of_a_refused_page_reaches_the_upstream_or_is_read() -> None:
    world = World(**KEY)
    client = world.client()
    head = post(b"", b"/v1/chat/completions", b"origin: https://evil.example")
    client.send(head.replace(b"content-length: 0", b"content-length: 9"))  # and no body
    world.run()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 403 ") and b'"code":"cross_origin"' in answer
    assert b"access-control" not in answer
    assert not world.upstreams


def test_where_no_key_is_lent_a_pages_request_is_as_it_was() -> None:
    world = World()
    client = world.client()
    client.send(post(b"{}", b"/v1/chat/completions", b"origin: https://evil.example"))
    upstream = world.upstream()
    assert b"origin: https://evil.example\r\n" in upstream.take()
    upstream.send(reply(b"{}", b"access-control-allow-origin: *"))
    world.run()
    assert client.take() == reply(b"{}", b"access-control-allow-origin: *")


@pytest.mark.parametrize(
    "settings",
    [KEY, {"upstream": "http://h/v1?key=sk-operator"}],
)
def test_whatever_opens_the_upstream_is_lent(settings: dict[str, str]) -> None:
    world = World(**settings)
    client = world.client()
    client.send(post(b"{}", b"/v1/chat/completions", b"origin: https://evil.example"))
    world.run()
    assert b'"code":"cross_origin"' in client.take()
    own = (b"origin: https://evil.example", b"authorization: Bearer own")
    client.send(post(b"{}", b"/v1/chat/completions", *own))
    world.run()
    assert bool(world.upstreams) is ("api_key" in settings)


def test_a_preflight_of_any_page_is_the_upstreams_to_answer_and_takes_no_key_there() -> None:
    """A page may have a key of its own, and then it is between it and the upstream."""
    world = World(**KEY)
    client = world.client()
    client.send(PREFLIGHT % (b"https://evil.example", b""))
    upstream = world.upstream()
    assert b"sk-operator" not in upstream.take()
    upstream.send(reply(b"", b"access-control-allow-origin: *", status=b"204 No Content"))
    world.run()
    assert client.take().startswith(b"HTTP/1.1 204 ")


def test_what_is_no_preflight_is_a_request_like_any_other() -> None:
    method = (b"access-control-request-method", b"POST")
    evil = (b"origin", b"https://evil.example")
    for fields in ((method,), (evil,), ()):
        assert not is_preflight(Request(b"OPTIONS", b"/v1/x", b"h", Headers(fields)))
    assert not is_preflight(Request(b"POST", b"/v1/x", b"h", Headers((evil, method))))
    assert is_preflight(Request(b"OPTIONS", b"/v1/x", b"h", Headers((evil, method))))


# -- what browsers are told of a listed page -----------------------------------------------------


@pytest.mark.parametrize("settings", [KEY, {}])
def test_a_listed_page_is_answered_here_when_it_asks_whether_it_may(
    settings: dict[str, str],
) -> None:
    world = World(web_origins=[CHAT], **settings)
    client = world.client()
    client.send(PREFLIGHT % (CHAT.encode(), b""))
    world.run()
    assert client.take() == (
        b"HTTP/1.1 204 No Content\r\nserver: m2mproxy\r\n"
        b"access-control-allow-origin: https://chat.example\r\n"
        b"access-control-expose-headers: *\r\nvary: origin\r\n"
        b"access-control-allow-methods: POST\r\n"
        b"access-control-allow-headers: authorization,x-stainless-os\r\n"
        b"access-control-max-age: 7200\r\n\r\n"
    )
    assert not world.upstreams


def test_a_listed_page_may_ask_from_a_public_network() -> None:
    world = World(web_origins=["*"], **KEY)
    client = world.client()
    client.send(PREFLIGHT % (CHAT.encode(), b"access-control-request-private-network: true\r\n"))
    world.run()
    assert b"access-control-allow-private-network: true\r\n" in client.take()


def exchange(world: World, *lines: bytes) -> tuple[bytes, bytes]:
    """What the upstream gets of a listed page's request, and what that page gets."""
    client = world.client()
    client.send(get(b"/v1/models", b"origin: " + CHAT.encode()))
    upstream = world.upstream()
    seen = upstream.take()
    upstream.send(reply(b"[]", *lines))
    world.run()
    return seen, client.take()


def test_a_listed_page_has_the_key_and_may_read_the_answer() -> None:
    seen, answer = exchange(World(web_origins=[CHAT], **KEY), b"x-request-id: 1")
    assert b"authorization: Bearer sk-operator\r\n" in seen
    assert b"origin: https://chat.example\r\n" in seen
    assert answer == reply(
        b"[]", b"x-request-id: 1"
    ).replace(
        b"content-length: 2\r\n",
        b"content-length: 2\r\naccess-control-allow-origin: https://chat.example\r\n"
        b"access-control-expose-headers: *\r\nvary: origin\r\n",
    )


@pytest.mark.parametrize("own", [b"*", CHAT.encode()])
def test_what_the_upstream_says_itself_is_left_as_it_is(own: bytes) -> None:
    _, answer = exchange(World(web_origins=[CHAT], **KEY), b"access-control-allow-origin: " + own)
    assert answer == reply(b"[]", b"access-control-allow-origin: " + own)


def test_what_would_keep_a_listed_page_out_is_replaced() -> None:
    lines = (b"access-control-allow-origin: https://other.example", b"vary: Origin",
             b"access-control-expose-headers: x-request-id")  # fmt: skip
    _, answer = exchange(World(web_origins=[CHAT], **KEY), *lines)
    assert b"other.example" not in answer
    assert answer.count(b"access-control-allow-origin: https://chat.example\r\n") == 1
    assert answer.lower().count(b"vary") == answer.count(b"expose") == 1


def test_a_listed_page_can_read_our_errors() -> None:
    world = World(web_origins=[CHAT], max_body=1)
    client = world.client()
    client.send(post(b"{}", b"/v1/chat/completions", b"origin: " + CHAT.encode()))
    world.run()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"access-control-allow-origin: https://chat.example\r\n" in answer


def test_others_are_told_nothing() -> None:
    world = World(web_origins=[CHAT])
    client = world.client()
    client.send(get(b"/v1/models", b"origin: http://localhost:3000"))
    world.upstream().send(reply(b"[]"))
    world.run()
    assert client.take() == reply(b"[]")


@pytest.mark.parametrize("pair", [("1.1", "1.1"), ("2", "2"), ("2", "1.1"), ("1.1", "2")])
def test_a_listed_page_streams_over_either_version(pair: tuple[str, str]) -> None:
    world = World(pair=pair, web_origins=[CHAT], **KEY)
    ask = world.ask(b"{}", b"/v1/chat/completions", (b"origin", CHAT.encode()))
    world.call().reply(b"data: 1\n\n", (b"content-type", b"text/event-stream"))
    world.run()
    assert (b"access-control-allow-origin", CHAT.encode()) in ask.headers
    assert ask.body == b"data: 1\n\n"


def test_a_core_that_has_the_key_judges_the_pages_of_its_edges_clients() -> None:
    loop = DrivenLoop()
    core = World(loop=loop, web_origins=[CHAT], **KEY)
    edge = Edge(core)
    evil = edge.ask(b"{}", b"/v1/chat/completions", (b"origin", b"https://evil.example"))
    assert (evil.status, b"cross_origin" in evil.body) == (403, True)
    ask, _ = edge.exchange(b"{}", b"[]", (b"origin", CHAT.encode()))
    assert (b"access-control-allow-origin", CHAT.encode()) in ask.headers
