"""Instances that share a key: what crosses between them is sealed, what does not open goes nowhere,
and nobody is sent what he has not shown to open."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from edge import JSON, ON, SSE, Edge
from ends import Ask, Call
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep import WAYS, Way, sweep
from test_edge_core import chat
from world import World, get, post, reply

from m2mproxy.codec import frame
from m2mproxy.codec.base import WireError
from m2mproxy.codec.batches import BatchSealer
from m2mproxy.codec.routing import Schema
from m2mproxy.codec.sealed import AeadSeal
from m2mproxy.proxy import codings
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.readable import LIFETIME
from m2mproxy.proxy.sealing import PeerSeal, key_id

KEY, OTHER = bytes(range(32)), bytes(32)
PATH = b"/v1/chat/completions"
M2M = (b"content-encoding", b"m2m")
MODES = ("aead", "hmac")

each_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, str]:
    """The files of both keys."""
    folder, files = tmp_path_factory.mktemp("keys"), {}
    for name, key in (("one", KEY), ("other", OTHER)):
        path: Path = folder / name
        path.write_text(key.hex())
        path.chmod(0o600)
        files[key] = str(path)
    return files


def name_of(key: bytes = KEY, mode: str = "aead") -> bytes:
    return f"m2m-{mode}-{key_id(key)}".encode()


def seal_of(key: bytes = KEY, mode: str = "aead") -> PeerSeal:
    return PeerSeal(key, mode, AeadSeal(key))


class Pairing:
    """An edge and a core with keys, or without."""

    def __init__(
        self,
        keys: dict[bytes, str],
        edge: bytes | None = KEY,
        core: bytes | None = KEY,
        mode: str = "aead",
        http: str = "1.1",
        core_settings: Any = None,
        **more: Any,
    ) -> None:
        at_core: dict[str, Any] = {**ON, **(core_settings or {})}
        if core is not None:
            at_core.update(peer_psk_file=keys[core], peer_seal=mode)
        if edge is not None:
            more.update(peer_psk_file=keys[edge], peer_seal=mode)
        self.core = World(**at_core)
        self.edge = Edge(self.core, http, **more)

    def exchange(self, body: bytes, reply: bytes, *fields: Any) -> tuple[Ask, Call]:
        return self.edge.exchange(body, reply, *fields)

    @property
    def ledger(self) -> Any:
        return self.edge.ended[-1].ledger

    def tamper(self, change: Any, upwards: bool) -> None:
        """Let `change` be done to what crosses from now on."""

        def split(data: bytes) -> Iterable[bytes]:
            return (change(data),)

        for wire in self.edge.wires:
            (wire if upwards else wire.peer).split = split


# -- two instances ------------------------------------------------------------------------------


@each_mode
@pytest.mark.parametrize("http", ["1.1", "2"])
def test_bodies_cross_sealed_and_are_the_same(
    keys: dict[bytes, str], mode: str, http: str
) -> None:
    both = Pairing(keys, mode=mode, http=http)
    for number in range(3):
        body, reply = chat(600), chat(300)
        ask, call = both.exchange(body, reply)
        assert (call.body, call.get(b"content-encoding")) == (body, None)
        assert call.get(b"content-length") == b"%d" % len(body)
        assert (ask.body, ask.get(b"content-encoding"), ask.complete) == (reply, None, True)
        assert both.ledger.upstream_in.coding == f"m2m-{mode}"
        assert both.ledger.upstream_in.wire < both.ledger.upstream_in.plain / 2
        if number:
            assert both.ledger.upstream_out.coding == f"m2m-{mode}"
            assert both.ledger.why == "shown"
            assert both.ledger.upstream_out.wire < both.ledger.upstream_out.plain / 2
            assert both.core.ended[-1].ledger.client_in.coding == f"m2m-{mode}"
    assert both.edge.at_rest and both.core.at_rest


@pytest.mark.parametrize(
    "body,kind",
    [(b"{}", b"application/json"), (bytes(range(256)) * 40, b"audio/wav"), (b"x", b"text/plain")],
)
def test_once_the_key_is_shown_no_body_is_too_small_or_of_a_wrong_kind(
    keys: dict[bytes, str], body: bytes, kind: bytes
) -> None:
    both = Pairing(keys)
    both.exchange(chat(10), b"{}")
    seen = bytearray()
    both.tamper(lambda data: seen.extend(data) or data, upwards=True)
    ask = both.edge.ask(body, b"/v1/x", (b"content-type", kind))
    call = both.core.call()
    call.reply(body, (b"content-type", kind), (b"cache-control", b"no-transform"))
    both.edge.run()
    assert (call.body, ask.body) == (body, body)
    assert both.ledger.upstream_out.coding == both.ledger.upstream_in.coding == "m2m-aead"
    assert b"#M2M|1|" in seen and (len(body) < 9 or body not in seen)


def test_a_request_of_unknown_length_and_one_that_waits_to_be_asked(keys: dict[bytes, str]) -> None:
    both = Pairing(keys)
    both.exchange(chat(10), b"{}")
    for more in ((), ((b"expect", b"100-continue"),)):
        ask = both.edge.ask(b"", PATH, JSON, *more, whole=False, counted=False)
        assert ask.informational == ([100] if more else [])
        ask.send(chat(20))
        ask.end()
        call = both.core.call()
        assert (call.body, call.get(b"expect")) == (chat(20), None)
        call.reply(b"{}", JSON)
        both.edge.run()
        assert ask.body == b"{}" and both.ledger.upstream_out.coding == "m2m-aead"


def test_what_a_client_coded_is_decoded_and_sealed(keys: dict[bytes, str]) -> None:
    """Although the core would read it as it came."""
    both = Pairing(keys)
    both.exchange(chat(10), b"{}")
    coded = codings.coding.encode(b"zstd", chat(300))
    _, call = both.exchange(coded, b"{}", (b"content-encoding", b"zstd"))
    assert call.body == chat(300)
    assert both.ledger.upstream_out.coding == "m2m-aead"


@pytest.mark.parametrize("settings", [{"compression_requests": "off"}, {}])
def test_compression_that_is_off_does_not_keep_from_sealing(
    keys: dict[bytes, str], settings: dict[str, str]
) -> None:
    off = {**settings, "compression_responses": "off"}
    both = Pairing(keys, core_settings=off, **off)
    for _ in range(2):
        ask, call = both.exchange(chat(300), chat(200))
        assert (call.body, ask.body) == (chat(300), chat(200))
    assert both.ledger.upstream_out.coding == both.ledger.upstream_in.coding == "m2m-aead"


@pytest.mark.parametrize("responses", ["on", "off"])
@pytest.mark.parametrize("kind", [JSON, SSE])
def test_what_the_upstream_coded_is_sealed_though_the_client_would_take_it(
    keys: dict[bytes, str], kind: tuple[bytes, bytes], responses: str
) -> None:
    at_edge = {"peer_required": "true", "compression_responses": "off"}
    both = Pairing(keys, core_settings={"compression_responses": responses}, **at_edge)
    opened(both)
    coded = codings.coding.encode(b"gzip", chat(300))
    ask = both.edge.ask(chat(10), PATH, JSON, (b"accept-encoding", b"gzip, deflate"))
    call = both.core.call()
    call.respond(200, kind, (b"content-encoding", b"gzip"))
    call.send(coded)
    call.end()
    both.edge.run()
    assert (ask.status, ask.get(b"content-encoding"), ask.body) == (200, None, chat(300))
    assert both.ledger.upstream_in.coding == "m2m-aead"


def test_a_coding_that_nobody_here_reads_cannot_be_sealed(keys: dict[bytes, str]) -> None:
    both = Pairing(keys)
    both.exchange(chat(10), b"{}")
    ask = both.edge.ask(chat(10), PATH, JSON, (b"accept-encoding", b"x"))
    both.core.call().reply(b"abc", JSON, (b"content-encoding", b"x"))
    both.edge.run()
    assert (ask.body, ask.get(b"content-encoding")) == (b"abc", b"x")


@each_mode
@pytest.mark.parametrize("http", ["1.1", "2"])
def test_events_cross_sealed_and_one_by_one(keys: dict[bytes, str], mode: str, http: str) -> None:
    both = Pairing(keys, mode=mode, http=http)
    ask = both.edge.ask(chat(10), PATH, JSON)
    call = both.core.call()
    call.respond(200, SSE)
    sent = []
    for number in range(200):
        delta = b'{"id":"chatcmpl-1","choices":[{"delta":{"content":" w%d"}}]}' % number
        sent.append(b"data: %b\n\n" % delta)
        call.send(sent[-1])
        both.edge.run()
        assert ask.chunks == sent
    call.end()
    both.edge.run()
    assert ask.complete
    assert both.ledger.upstream_in.coding == f"m2m-{mode}"
    assert both.ledger.upstream_in.wire < both.ledger.upstream_in.plain / 2


def test_a_response_of_unknown_length_and_a_large_one(keys: dict[bytes, str]) -> None:
    both = Pairing(keys)
    large = random.Random(1).randbytes(3 << 20)
    for counted in (False, True):
        ask = both.edge.ask(chat(10), PATH, JSON)
        call = both.core.call()
        length = ((b"content-length", b"%d" % len(large)),) if counted else ()
        call.respond(200, (b"content-type", b"image/png"), *length)
        call.send(large)
        call.end()
        both.edge.run()
        assert (ask.body == large, ask.complete) == (True, True)
        assert both.ledger.upstream_in.coding == "m2m-aead"
        assert both.ledger.upstream_in.wire > len(large)


bodies = st.binary(max_size=400) | st.integers(0, 3000).map(chat)


@settings(max_examples=25, deadline=None)
@given(several=st.lists(st.tuples(bodies, bodies), min_size=1, max_size=3))
def test_any_bodies_cross_unchanged(
    keys: dict[bytes, str], several: list[tuple[bytes, bytes]]
) -> None:
    both = Pairing(keys)
    for body, answer in several:
        ask, call = both.exchange(body, answer)
        assert (call.body, ask.body, ask.complete) == (body, answer, True)


# -- without the key ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edge,core", [(KEY, None), (None, KEY), (KEY, OTHER)], ids=["edge", "core", "different"]
)
def test_without_the_same_key_it_is_as_without_any(
    keys: dict[bytes, str], edge: bytes | None, core: bytes | None
) -> None:
    both = Pairing(keys, edge, core)
    for _ in range(2):
        ask, call = both.exchange(chat(500), chat(300))
        assert (call.body, ask.body) == (chat(500), chat(300))
    static = codings.static_form().decode()
    assert both.ledger.upstream_out.coding == both.ledger.upstream_in.coding == static
    why = "other key" if edge and core else "shown"
    assert both.ledger.why == why
    both.exchange(b"{}", b"")  # too small to be coded, and not sealed either
    assert both.edge.ended[-1].why == ("other key" if edge and core else "small")


def test_one_key_in_two_modes_is_as_two_keys(keys: dict[bytes, str]) -> None:
    both = Pairing(keys, core_settings={"peer_seal": "hmac", "peer_psk_file": keys[KEY]}, core=None)
    for _ in range(2):
        both.exchange(chat(500), chat(300))
    assert both.ledger.upstream_out.coding == codings.static_form().decode()
    assert both.ledger.why == "other key"


def test_the_first_request_goes_before_the_key_is_shown(keys: dict[bytes, str]) -> None:
    both = Pairing(keys)
    seen = bytearray()
    ask = both.edge.ask(chat(500), PATH, JSON, whole=False)
    both.tamper(lambda data: seen.extend(data) or data, upwards=True)
    ask.send(chat(500))
    ask.end()
    both.core.call().reply(b"{}", JSON)
    both.edge.run()
    assert chat(500)[:100] in seen


# -- what does not open -------------------------------------------------------------------------


def flipped(data: bytes) -> bytes:
    """A bit of the last byte that is there."""
    return data[:-1] + bytes([data[-1] ^ 1])


@each_mode
def test_a_sealed_request_that_was_changed_goes_no_further(
    keys: dict[bytes, str], mode: str
) -> None:
    both = Pairing(keys, mode=mode, peer_required="true")
    opened(both)
    calls = len(both.core.calls)
    both.tamper(lambda data: flipped(data) if b"#M2M|1|" in data else data, upwards=True)
    ask = both.edge.ask(chat(400), PATH, JSON)
    both.edge.run()
    assert (ask.status, len(both.core.calls)) == (502, calls)
    error = both.core.ended[-1].fault
    assert error is not None and (error.status, error.code) == (400, "undecodable_body")  # type: ignore[attr-defined]


def opened(both: Pairing) -> None:
    """A first exchange of a pair that needs the key."""
    ask = both.edge.ask(chat(10), PATH, JSON)
    asked = both.core.call()
    assert (asked.method, asked.path, asked.body) == (b"HEAD", b"/v1/models", b"")
    asked.respond(200, (b"content-length", b"100"))
    asked.end()
    both.core.call().reply(b"{}", JSON)
    both.edge.run()
    assert (ask.status, ask.body) == (200, b"{}")


@each_mode
@pytest.mark.parametrize("events", [False, True])
def test_a_sealed_response_that_was_changed_is_the_upstreams_fault(
    keys: dict[bytes, str], mode: str, events: bool
) -> None:
    both = Pairing(keys, mode=mode)
    both.exchange(chat(10), b"{}")
    ask = both.edge.ask(chat(10), PATH, JSON)
    call = both.core.call()
    call.respond(200, SSE if events else JSON, (b"content-length", b"12"))
    both.tamper(
        lambda data: data.replace(b"#M2M|1|\x14\x00", b"#M2M|1|\x14\x01", 1), upwards=False
    )
    call.send(b"data: 1234\n\n")
    call.end()
    both.edge.run()
    assert not ask.complete and b"1234" not in ask.body
    assert both.edge.ended[-1].fault is not None
    assert both.edge.ended[-1].fault.code == "upstream_protocol_error"
    assert both.edge.at_rest


def test_a_stream_that_is_cut_or_repeated_breaks(keys: dict[bytes, str]) -> None:
    for change in (lambda data: b"", lambda data: data + data):
        both = Pairing(keys, http="1.1")
        ask = both.edge.ask(chat(10), PATH, JSON)
        call = both.core.call()
        call.respond(200, SSE)
        call.send(b"data: 1\n\n")
        both.edge.run()
        assert ask.chunks == [b"data: 1\n\n"]
        both.tamper(change, upwards=False)  # whole chunks of HTTP/1.1
        call.send(b"data: 2\n\n")
        both.edge.run()
        both.tamper(lambda data: data, upwards=False)
        call.end()
        both.edge.run()
        assert not ask.complete
        assert both.edge.ended[-1].fault is not None
        assert ask.body.count(b"data: 1\n\n") == 1 and ask.body.count(b"data: 2\n\n") <= 1


def test_an_answer_says_to_what_codings_the_seal_was_added() -> None:
    """Who takes one away, or turns a request round, has nothing that opens."""
    seal = seal_of()
    request = seal.close(b"body", Schema.REQUEST, [b"zstd"])
    assert seal.open(request, Schema.REQUEST, [b"zstd"], 100) == b"body"
    for way, inner in (
        (Schema.REQUEST, []),
        (Schema.REQUEST, [b"gzip"]),
        (Schema.RESPONSE, [b"zstd"]),
    ):
        with pytest.raises(WireError, match="another key"):
            seal.open(request, way, inner, 100)
    with pytest.raises(WireError, match="another key"):
        frame.decode(request, seals=seal.opened)


def test_the_id_shows_the_key_and_nothing_of_it() -> None:
    assert key_id(KEY) != key_id(OTHER) and key_id(KEY) not in KEY.hex()
    assert len(name_of()) == len("m2m-aead-") + 8


# -- what is refused ----------------------------------------------------------------------------


def resealed(both: Pairing) -> None:
    """The core's key is exchanged while the edge believes the old one."""
    forms = Forms(seal_of(OTHER), False, 1 << 20)
    context = both.core.context
    object.__setattr__(context, "forms", forms)
    object.__setattr__(context.routes.upstream.responses, "forms", forms)


def test_a_core_that_has_another_key_now_gets_the_plain_body(keys: dict[bytes, str]) -> None:
    both = Pairing(keys)
    both.exchange(chat(10), b"{}")
    resealed(both)
    ask, call = both.exchange(chat(500), chat(300))
    assert (call.body, ask.body, ask.status) == (chat(500), chat(300), 200)
    assert both.ledger.why == "refused with 415"
    assert both.edge.ended[-1].retried


def test_it_does_not_where_the_key_is_required(keys: dict[bytes, str]) -> None:
    both = Pairing(keys, peer_required="true")
    opened(both)
    resealed(both)
    calls = len(both.core.calls)
    ask = both.edge.ask(chat(500), PATH, JSON)
    both.edge.run()
    assert (ask.status, json.loads(ask.body)["error"]["code"]) == (502, "upstream_not_sealed")
    assert len(both.core.calls) == calls and not both.edge.ended[-1].retried
    assert both.core.ended[-1].fault is not None and both.core.ended[-1].fault.status == 415
    assert "another key" in both.core.ended[-1].fault.message


def test_a_400_of_the_model_itself_does_not_bring_the_body_in_clear(keys: dict[bytes, str]) -> None:
    """It comes back sealed, so the request was opened."""
    for required in ("false", "true"):
        both = Pairing(keys, peer_required=required)
        (opened(both) if required == "true" else both.exchange(chat(10), b"{}"))
        calls = len(both.core.calls)
        ask = both.edge.ask(chat(500), PATH, JSON)
        both.core.call().reply(b'{"error":1}', JSON, status=400)
        both.edge.run()
        assert (ask.status, ask.body) == (400, b'{"error":1}')
        assert len(both.core.calls) == calls + 1 and not both.edge.ended[-1].retried
        both.edge.ask(chat(500), PATH, JSON)
        both.core.call().reply(b"{}", JSON)
        both.edge.run()
        assert both.ledger.upstream_out.coding == "m2m-aead"


# -- required -----------------------------------------------------------------------------------


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_nothing_with_a_body_leaves_before_the_key_is_shown(
    keys: dict[bytes, str], http: str
) -> None:
    both = Pairing(keys, http=http, peer_required="true")
    secret = (b"authorization", b"Bearer sk-secret")
    ask = both.edge.ask(chat(500), PATH, JSON, secret)
    asked = both.core.call()
    assert (asked.method, asked.get(b"authorization")) == (b"HEAD", None)
    asked.respond(103, (b"link", b"</a>"))  # nothing that the client has asked for
    both.core.run()
    asked.respond(401, (b"content-length", b"30"))
    asked.end()
    call = both.core.call()
    assert (call.body, call.get(b"authorization")) == (chat(500), secret[1])
    call.reply(chat(300), JSON)
    both.edge.run()
    assert (ask.body, ask.informational) == (chat(300), [])
    assert both.ledger.upstream_out.coding == both.ledger.upstream_in.coding == "m2m-aead"
    both.exchange(chat(500), chat(300))
    assert sum(each.method == b"HEAD" for each in both.core.calls) == 1


def test_what_was_shown_long_ago_is_asked_for_again(keys: dict[bytes, str]) -> None:
    both = Pairing(keys, peer_required="true")
    opened(both)
    both.edge.advance(LIFETIME)
    opened(both)
    assert sum(each.method == b"HEAD" for each in both.core.calls) == 2


@pytest.mark.parametrize("core", [None, OTHER])
def test_an_upstream_without_the_key_gets_no_body(
    keys: dict[bytes, str], core: bytes | None
) -> None:
    both = Pairing(keys, core=core, peer_required="true")
    for _ in range(2):
        ask = both.edge.ask(chat(500), PATH, JSON)
        asked = both.core.call()
        asked.respond(200, (b"content-length", b"0"))
        asked.end()
        both.edge.run()
        error = json.loads(ask.body)["error"]
        assert (ask.status, error["code"]) == (502, "upstream_not_sealed")
        assert "has not shown the key" in error["message"]
    assert {call.method for call in both.core.calls} == {b"HEAD"}
    assert both.edge.at_rest and both.core.at_rest


@pytest.mark.parametrize("end", WAYS, ids=lambda way: way.__name__)
def test_ending_it_while_the_key_is_asked_for_leaves_nothing(
    keys: dict[bytes, str], end: Way
) -> None:
    def scenario(world: World) -> Iterator[None]:
        client = world.client()
        client.send(post(chat(20)))
        yield
        shown = b"accept-encoding: " + name_of()
        world.upstreams[-1].send(reply(b"", shown))
        yield
        sealed = seal_of().close(b"{}", Schema.RESPONSE, [])
        world.upstreams[-1].send(reply(sealed, b"content-encoding: " + name_of()))
        yield

    def the_next_one_works(world: World) -> None:
        client = world.client()
        client.send(get(b"/v1/next"))
        upstream = world.upstream()
        assert b"GET /v1/next " in upstream.take()
        upstream.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        world.run()
        assert client.take() == b"HTTP/1.1 204 No Content\r\n\r\n"

    def make() -> World:
        one = {"limits_upstream_connections": 1, "compression_responses": "off"}
        return World(peer_psk_file=keys[KEY], peer_required="true", **one)

    sweep(make, scenario, end, the_next_one_works)


def test_an_upstream_that_is_no_m2mproxy_gets_no_body(keys: dict[bytes, str]) -> None:
    world = World(**ON, peer_psk_file=keys[KEY], peer_required="true")
    ask = world.ask(chat(500), PATH, JSON)
    asked = world.call()
    asked.respond(200, (b"content-length", b"0"), (b"accept-encoding", b"zstd, m2m"))
    asked.end()
    world.run()
    assert ask.status == 502 and [call.method for call in world.calls] == [b"HEAD"]
    assert world.at_rest


FORGED = {
    "plain": (),
    "coded": ((b"content-encoding", b"m2m"),),
    "said to be sealed": ((b"content-encoding", name_of()),),
    "said to be a part": ((b"content-encoding", name_of()),),
    "sealed and unknown": ((b"content-encoding", b"x, " + name_of()),),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_response_is_not_passed_on(keys: dict[bytes, str], case: str) -> None:
    world = World(**ON, peer_psk_file=keys[KEY], peer_required="true")
    ask = world.ask(b"", b"/v1/models", method=b"GET")
    call = world.call()
    body = frame.encode(b'{"forged":1}') if case == "coded" else b'{"forged":1}'
    status = 206 if case == "said to be a part" else 200
    call.reply(body, JSON, *FORGED[case], status=status)
    world.run()
    assert b"forged" not in ask.body and not (ask.status < 300 and ask.complete)
    assert world.ended[-1].fault is not None and world.ended[-1].fault.status == 502
    assert world.at_rest


def test_a_response_without_a_body_needs_no_seal(keys: dict[bytes, str]) -> None:
    world = World(**ON, peer_psk_file=keys[KEY], peer_required="true")
    ask = world.ask(b"", b"/v1/models", method=b"GET")
    world.call().reply(b"", status=204)
    world.run()
    assert ask.status == 204


# -- frames of clients --------------------------------------------------------------------------


def client(keys: dict[bytes, str], body: bytes, *fields: Any, key: Any = KEY) -> tuple[World, Ask]:
    more = {} if key is None else {"peer_psk_file": keys[key]}
    world = World(**ON, **more)
    return world, world.ask(body, b"/v1/x", *fields)


SECURED = {
    "aead": AeadSeal(KEY),
    "hmac": frame.HmacSeal(KEY),
    "none": frame.PLAIN,
}


@pytest.mark.parametrize("mode", SECURED)
@pytest.mark.parametrize("text", [False, True])
def test_frames_of_the_key_are_opened(keys: dict[bytes, str], mode: str, text: bool) -> None:
    body = frame.encode(chat(100), seal=SECURED[mode], text=text)
    for fields in ((JSON, M2M), ((b"content-type", b"application/x-m2m"),)):
        world, _ = client(keys, body, *fields)
        assert world.call().body == chat(100)


@pytest.mark.parametrize(
    "mode,key,why",
    [
        ("aead", None, "secured with AEAD, and this proxy has no key"),
        ("hmac", None, "secured with HMAC, and this proxy has no key"),
        ("aead", OTHER, "was changed, or closed with another key"),
        ("hmac", OTHER, "was changed, or closed with another key"),
    ],
)
def test_frames_that_cannot_be_opened(
    keys: dict[bytes, str], mode: str, key: bytes | None, why: str
) -> None:
    body = frame.encode(chat(100), seal=SECURED[mode])
    for fields in ((JSON, M2M), ((b"content-type", b"application/x-m2m"),)):
        world, ask = client(keys, body, *fields, key=key)
        error = json.loads(ask.body)["error"]
        assert (ask.status, error["code"]) == (400, "undecodable_body")
        assert why in error["message"] and not world.calls


def test_a_changed_frame_is_told_like_one_of_another_key(keys: dict[bytes, str]) -> None:
    whole = frame.encode(chat(100), seal=SECURED["aead"])
    changed = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (40, 200, -1)]
    other = frame.encode(chat(100), seal=AeadSeal(OTHER))
    answers = {client(keys, body, JSON, M2M)[1].body for body in (*changed, other)}
    assert len(answers) == 1


@pytest.mark.parametrize("key,why", [(None, "has no key"), (OTHER, "has another key")])
def test_the_coding_of_a_key_that_is_not_here(
    keys: dict[bytes, str], key: bytes | None, why: str
) -> None:
    world, ask = client(keys, b"x", JSON, (b"content-encoding", name_of()), key=key)
    error = json.loads(ask.body)["error"]
    assert (ask.status, error["code"]) == (415, "unsupported_coding")
    assert why in error["message"]
    assert ask.get(b"accept-encoding") == world.forms.readable
    assert not world.calls


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m"}',
        frame.encode(b"{}"),
        frame.encode(b"{}", seal=AeadSeal(KEY)),
        frame.encode(b"{}", seal=frame.HmacSeal(KEY)),
        seal_of().close(b"{}", Schema.RESPONSE, []),
        b"".join(BatchSealer(AeadSeal(KEY)).finish()),
    ],
    ids=["plain", "frame", "sealed frame", "tagged frame", "sealed response", "batch"],
)
def test_what_is_said_to_be_sealed_and_is_not(keys: dict[bytes, str], body: bytes) -> None:
    world, ask = client(keys, body, JSON, (b"content-encoding", name_of()))
    assert (ask.status, json.loads(ask.body)["error"]["code"]) == (400, "undecodable_body")
    assert not world.calls


def test_a_sealed_bomb_is_too_large(keys: dict[bytes, str]) -> None:
    world = World(**ON, peer_psk_file=keys[KEY], max_body=1_000_000)
    bomb = seal_of().close(bytes(5_000_000), Schema.REQUEST, [])
    assert len(bomb) < 1000
    ask = world.ask(bomb, b"/v1/x", JSON, (b"content-encoding", name_of()))
    assert ask.status == 413 and not world.calls
