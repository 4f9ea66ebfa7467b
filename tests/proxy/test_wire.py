"""Coded bodies on either wire: only for who has shown to read them, and byte for byte."""

from __future__ import annotations

import gc
import gzip
import json
from typing import Any

import pytest
from ends import Ask, Call, H2Client
from link import Split, Transport
from vocabulary import VOCABULARIES
from world import Inline, Pair, World

from m2mproxy.codec import coding, events, frame, static, token_native
from m2mproxy.proxy import codings
from m2mproxy.proxy.request_coding import CodedUpload
from m2mproxy.proxy.response_coding import is_near

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "word " * 800}]}).encode()
REPLY = json.dumps({"choices": [{"message": {"content": "a reply " * 400}}]}).encode()
SSE = (b"content-type", b"text/event-stream")
JSON = (b"content-type", b"application/json")
LIMIT = 1 << 24
PEERS = codings.peer_replies()
STATIC = codings.static_form()


def wire(split: Any = None, pair: Pair = ("1.1", "1.1"), **settings: Any) -> World:
    settings = {"compression_requests": "auto", "compression_responses": "on", **settings}
    return World(split, pair, **settings) if split else World(pair=pair, **settings)


def tokens(body: bytes, letter: str) -> bytes:
    return token_native.encode(body, VOCABULARIES[letter], letter)


def decoded(message: Ask | Call) -> bytes:
    name = message.get(b"content-encoding")
    if name is None:
        return message.body
    if name == b"m2m":
        return frame.decode(message.body)
    if name == STATIC:
        way = static.Way.REQUEST if isinstance(message, Call) else static.Way.RESPONSE
        return static.decode(message.body, way, LIMIT)
    return coding.decode(name, message.body, LIMIT)


# -- requests from clients ----------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"zstd", b"br", b"gzip", b"deflate", b"x-gzip", b"m2m"])
def test_a_coded_request_reaches_the_upstream_plain(
    name: bytes, pair: Pair, split: Split
) -> None:
    world = wire(split, pair)
    coded = frame.encode(BODY) if name == b"m2m" else coding.encode(name, BODY)
    ask = world.ask(coded, b"/v1/x", JSON, (b"content-encoding", name))
    call = world.call()
    assert call.body == BODY
    assert call.get(b"content-length") == b"%d" % len(BODY)
    assert call.get(b"content-encoding") is None
    call.reply(b"ok")
    world.run()
    assert ask.body == b"ok"
    ledger = world.ended[0].ledger
    assert ledger is not None
    assert (ledger.client_in.wire, ledger.client_in.plain) == (len(coded), len(BODY))
    assert (ledger.upstream_out.wire, ledger.upstream_out.plain) == (len(BODY), len(BODY))


@pytest.mark.parametrize("text", [False, True])
def test_a_frame_is_known_by_its_media_type(text: bool) -> None:
    world = wire()
    world.ask(
        frame.encode(BODY, text=text), b"/v1/x", (b"content-type", b"application/x-m2m; v=1")
    )
    call = world.call()
    assert (call.body, call.get(b"content-type")) == (BODY, b"application/json")


def test_codings_that_were_applied_twice() -> None:
    world = wire()
    coded = coding.encode(b"zstd", gzip.compress(BODY))
    world.ask(coded, b"/v1/x", JSON, (b"content-encoding", b"gzip, zstd"))
    assert world.call().body == BODY


REFUSED = {
    "unknown": (415, "unsupported_coding", b"snappy", b"abc"),
    "one unknown of two": (415, "unsupported_coding", b"gzip, snappy", b"abc"),
    "more codings than anybody needs": (415, "unsupported_coding", b"gzip, gzip, gzip, gzip", b"a"),
    "garbage": (400, "undecodable_body", b"zstd", b"garbage"),
    "cut": (400, "undecodable_body", b"gzip", gzip.compress(BODY)[:-9]),
    "followed by more": (400, "undecodable_body", b"gzip", gzip.compress(BODY) + b"x"),
    "no frame": (400, "undecodable_body", b"m2m", b'{"model":"m"}'),
    "a bomb": (413, "body_too_large", b"gzip", gzip.compress(bytes(50_000_000))),
    "a zstd bomb": (413, "body_too_large", b"zstd", coding.encode(b"zstd", bytes(50_000_000))),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_a_request_that_cannot_be_decoded_goes_nowhere(case: str, pair: Pair) -> None:
    status, code, name, body = REFUSED[case]
    world = wire(pair=pair, max_body=10_000_000)
    ask = world.ask(body, b"/v1/x", JSON, (b"content-encoding", name))
    assert (ask.status, json.loads(ask.body)["error"]["code"]) == (status, code)
    assert not world.calls
    if status == 415:
        assert ask.get(b"accept-encoding") == world.forms.readable


# -- requests in token ids ----------------------------------------------------------------------

M2M = (b"content-encoding", b"m2m")


@pytest.mark.parametrize("letter", ["C", "O"])
@pytest.mark.parametrize("field", [M2M, (b"content-type", b"application/x-m2m")])
def test_token_ids_reach_the_upstream_as_text(
    letter: str, field: tuple[bytes, bytes], pair: Pair, split: Split
) -> None:
    world = wire(split, pair, vocabularies=VOCABULARIES)
    world.ask(tokens(BODY, letter), b"/v1/x", field)
    call = world.call()
    assert (call.body, call.get(b"content-encoding")) == (BODY, None)
    assert call.get(b"content-length") == b"%d" % len(BODY)


@pytest.mark.parametrize("letter,name", [("C", "cl100k"), ("O", "o200k"), ("L", "llama3")])
def test_token_ids_of_a_vocabulary_that_is_not_loaded(letter: str, name: str, pair: Pair) -> None:
    loaded = {each: one for each, one in VOCABULARIES.items() if each != letter}
    world = wire(pair=pair, vocabularies=loaded)
    ask = world.ask(b"#TK|%b|AAAA" % letter.encode(), b"/v1/x", JSON, M2M)
    error = json.loads(ask.body)["error"]
    assert (ask.status, error["code"]) == (415, "unsupported_coding")
    key = "proxy.compression.vocabularies"
    assert error["message"] == f"the vocabulary {name} is not loaded: {key} has to name it"
    assert not world.calls


@pytest.mark.parametrize("letter", ["X", ""])
def test_token_ids_of_no_vocabulary(letter: str) -> None:
    world = wire(vocabularies=VOCABULARIES)
    ask = world.ask(b"#TK|%b|AAAA" % letter.encode(), b"/v1/x", JSON, M2M)
    assert (ask.status, json.loads(ask.body)["error"]["code"]) == (400, "undecodable_body")


def test_what_is_slow_to_read_is_read_off_the_loop_where_there_is_much_of_it() -> None:
    """Inside of another coding it cannot be told."""
    short, long = tokens(BODY[:2000], "C"), tokens(BODY * 3, "C")
    few, many = (b'#T1|{"M":[%b]}' % b",".join([b'"a"'] * count) for count in (2000, 3000))
    assert len(short) < 8192 < len(long)
    assert len(few) < 8192 < len(many)
    for body, coding_name, away in (
        (short, b"m2m", 0),
        (long, b"m2m", 1),
        (few, b"m2m", 0),
        (many, b"m2m", 1),
        (coding.encode(b"gzip", short), b"m2m, gzip", 1),
        (coding.encode(b"gzip", BODY * 3), b"gzip", 0),
        (frame.encode(BODY * 3), b"m2m", 0),
    ):
        world = wire(vocabularies=VOCABULARIES)
        world.ask(body, b"/v1/x", JSON, (b"content-encoding", coding_name))
        offload = world.context.offload
        assert isinstance(offload, Inline)
        assert len(offload.sizes) == away
        world.call()


def test_a_coded_request_that_expects_to_be_asked_for() -> None:
    world = wire()
    coded = gzip.compress(BODY)
    ask = world.ask(
        coded, b"/v1/x", JSON, (b"content-encoding", b"gzip"), (b"expect", b"100-continue"),
        whole=False,
    )
    assert ask.informational == [100]
    ask.send(coded)
    ask.end()
    call = world.call()
    assert (call.body, call.get(b"expect")) == (BODY, None)


# -- responses to clients -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "accept,name",
    [
        (b"gzip, deflate", b"gzip"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"br;q=1, zstd;q=0.5", b"br"),
        (b"deflate", b"deflate"),
        (b"m2m", b"m2m"),
        (b"gzip;q=0", None),
        (b"identity", None),
        (b"*", None),
        (None, None),
    ],
)
def test_a_response_is_coded_as_the_client_asks(
    accept: bytes | None, name: bytes | None, pair: Pair
) -> None:
    world = wire(pair=pair)
    fields = [(b"accept-encoding", accept)] if accept is not None else []
    ask = world.ask(BODY, b"/v1/x", *fields)
    call = world.call()
    call.reply(REPLY, JSON, (b"etag", b'"1"'), (b"vary", b"origin"))
    world.run()
    assert ask.complete
    assert ask.get(b"content-encoding") == name
    assert decoded(ask) == REPLY
    if name is not None:
        assert len(ask.body) < len(REPLY) / 4
        assert ask.get(b"etag") == b'W/"1"'
        assert (b"vary", b"accept-encoding") in ask.headers
        ledger = world.ended[0].ledger
        assert ledger is not None
        assert ledger.client_out.wire == len(ask.body)
        assert ledger.client_out.plain == ledger.upstream_in.wire == len(REPLY)


def test_events_are_readable_as_they_come(pair: Pair) -> None:
    world = wire(pair=pair)
    ask = world.ask(BODY, b"/v1/x", (b"accept-encoding", b"gzip"))
    call = world.call()
    call.respond(200, SSE)
    reader = coding.decoder(b"gzip", LIMIT)
    read = 0
    for number in range(50):
        event = b"data: %d\n\n" % number
        call.send(event)
        world.run()
        got = b"".join(piece for each in ask.chunks[read:] for piece in reader.feed(each))
        read = len(ask.chunks)
        assert got == event
    call.end()
    world.run()
    assert ask.complete
    reader.feed(b"".join(ask.chunks[read:]))
    reader.finish()


def test_nothing_leaves_while_there_is_nothing_to_say() -> None:
    """A flush costs bytes: one for what came, none for nothing."""
    world = wire()
    ask = world.ask(BODY, b"/v1/x", (b"accept-encoding", b"gzip"))
    call = world.call()
    call.respond(200, SSE)
    world.run()
    assert (ask.head, ask.body) == (True, b"")
    call.send(b"data: 1\n\n")
    world.advance(60)
    assert len(ask.chunks) == 1


def test_a_coded_stream_that_is_cut_says_so_in_its_coding(pair: Pair) -> None:
    world = wire(pair=pair)
    ask = world.ask(BODY, b"/v1/x", (b"accept-encoding", b"gzip"))
    call = world.call()
    call.respond(200, SSE)
    call.send(b'data: {"half')
    world.run()
    call.abort()
    world.run()
    text = b"".join(coding.decoder(b"gzip", LIMIT).feed(ask.body))
    assert text.startswith(b'data: {"half\n\ndata: {"error":')
    assert ask.broken
    with pytest.raises(ValueError):
        coding.decode(b"gzip", ask.body, LIMIT)


def test_signs_of_life_are_coded_too() -> None:
    world = wire(sse_keepalive=5)
    ask = world.ask(BODY, b"/v1/x", (b"accept-encoding", b"gzip"))
    call = world.call()
    call.respond(200, SSE)
    call.send(b"data: 1\n\n")
    world.advance(6)
    assert b"".join(coding.decoder(b"gzip", LIMIT).feed(ask.body)) == b"data: 1\n\n:\n\n"


@pytest.mark.parametrize(
    "fields,status,size",
    [
        ([JSON, (b"cache-control", b"no-transform")], 200, 5000),
        ([(b"content-type", b"image/png")], 200, 5000),
        ([JSON], 200, 1023),
        ([JSON, (b"content-range", b"bytes 0-4999/9999")], 206, 5000),
    ],
    ids=["no-transform", "an image", "small", "a part"],
)
def test_what_is_not_coded(fields: Any, status: int, size: int) -> None:
    world = wire()
    ask = world.ask(BODY, b"/v1/x", (b"accept-encoding", b"gzip"))
    world.call().reply(b"z" * size, *fields, status=status)
    world.run()
    assert (ask.body, ask.get(b"content-encoding")) == (b"z" * size, None)
    assert ask.headers == [*fields, (b"content-length", b"%d" % size)]


@pytest.mark.parametrize("method,status", [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_what_has_no_body_is_not_touched(method: bytes, status: int) -> None:
    world = wire()
    ask = world.ask(b"", b"/v1/x", (b"accept-encoding", b"gzip"), method=method)
    call = world.call()
    fields = [JSON, *([(b"content-length", b"5000")] if status == 200 else [])]
    call.respond(status, *fields)
    call.end()
    world.run()
    assert (ask.status, ask.headers, ask.complete) == (status, fields, True)


@pytest.mark.parametrize(
    "peer,near",
    [
        ("127.0.0.1:80", True),
        ("[::1]:80", True),
        ("unix", True),
        ("[::ffff:127.0.0.1]:80", True),
        ("192.0.2.1:80", False),
        ("[2001:db8::1]:80", False),
        ("128.0.0.1:80", False),
    ],
)
def test_who_is_near(peer: str, near: bool) -> None:
    assert is_near(peer) is near


def test_clients_on_this_machine_are_spared_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Transport, "name", ("127.0.0.1", 4711))
    world = wire(compression_responses="auto")
    ask = world.ask(BODY, b"/v1/x", (b"accept-encoding", b"gzip"))
    world.call().reply(REPLY, JSON)
    world.run()
    assert ask.get(b"content-encoding") is None
    monkeypatch.undo()
    world = wire(compression_responses="auto")  # from elsewhere
    ask = world.ask(BODY, b"/v1/x", (b"accept-encoding", b"gzip"))
    world.call().reply(REPLY, JSON)
    world.run()
    assert ask.get(b"content-encoding") == b"gzip"


def test_a_slow_reader_of_a_coded_reply_holds_the_upstream(pair: Pair) -> None:
    world = wire(pair=pair)
    import random

    noise = random.Random(1).randbytes(4 << 20).hex().encode()
    ask = world.ask(b"", b"/v1/x", (b"accept-encoding", b"gzip"), method=b"GET")
    end = ask.connection  # type: ignore[attr-defined]
    if isinstance(end, H2Client):
        end.keeps_reading = False
    else:
        end.transport.pause_reading()
    call = world.call()
    call.respond(200, (b"content-type", b"text/plain"))
    call.send(noise)
    call.end()
    world.run()
    upstream = call.connection  # type: ignore[attr-defined]
    assert upstream.transport.under_way + getattr(upstream, "waiting", 0) > len(noise) - (1 << 20)
    if isinstance(end, H2Client):
        end.read_on()
    else:
        end.transport.resume_reading()
    world.run()
    assert decoded(ask) == noise


# -- coded responses of the upstream ------------------------------------------------------------


@pytest.mark.parametrize("name", [b"gzip", b"br", b"zstd", b"deflate"])
def test_what_the_client_cannot_read_is_decoded(name: bytes, pair: Pair, split: Split) -> None:
    world = wire(split, pair)
    ask = world.ask(BODY, b"/v1/x")
    call = world.call()
    assert call.get(b"accept-encoding") == b", ".join([*PEERS, b"zstd, br, gzip"])
    call.reply(coding.encode(name, REPLY), JSON, (b"content-encoding", name))
    world.run()
    assert (ask.body, ask.complete) == (REPLY, True)
    assert ask.get(b"content-encoding") is None


def test_what_the_client_can_read_passes_as_it_is(pair: Pair) -> None:
    world = wire(pair=pair)
    ask = world.ask(BODY, b"/v1/x", (b"accept-encoding", b"gzip, br"))
    call = world.call()
    assert call.get(b"accept-encoding") == b", ".join([*PEERS, b"gzip, br"])
    coded = coding.encode(b"br", REPLY)
    call.reply(coded, JSON, (b"content-encoding", b"br"), (b"etag", b'"1"'))
    world.run()
    assert (ask.body, ask.get(b"content-encoding"), ask.get(b"etag")) == (coded, b"br", b'"1"')


def test_what_the_client_reads_in_another_coding_is_coded_again() -> None:
    world = wire()
    ask = world.ask(BODY, b"/v1/x", (b"accept-encoding", b"gzip"))
    world.call().reply(frame.encode(REPLY), JSON, (b"content-encoding", b"m2m"))
    world.run()
    assert ask.get(b"content-encoding") == b"gzip"
    assert decoded(ask) == REPLY


@pytest.mark.parametrize("how", ["garbage", "cut"])
def test_a_coded_reply_that_is_broken_never_looks_whole(how: str, pair: Pair) -> None:
    world = wire(pair=pair)
    ask = world.ask(BODY, b"/v1/x")
    coded = gzip.compress(REPLY)
    broken = coded[:-5] if how == "cut" else coded[:40] + b"garbage" + coded[47:]
    world.call().reply(broken, JSON, (b"content-encoding", b"gzip"))
    world.run()
    assert ask.broken and not ask.complete
    fault = world.ended[0].fault
    assert fault is not None and fault.code == "upstream_protocol_error"


@pytest.mark.parametrize("names", [b"gzip", b"zstd", b"br", b"br, gzip", b"zstd, br"])
def test_a_reply_that_explodes_is_held_by_a_reader_that_is_slow(names: bytes) -> None:
    """A few bytes that make many MiB do not make them all at once."""
    world = wire()
    ask = world.ask(b"", b"/v1/x", method=b"GET")
    end = ask.connection  # type: ignore[attr-defined]
    end.transport.pause_reading()
    coded = bytes(30_000_000)
    for name in names.split(b", "):
        coded = coding.encode(name, coded)
    world.call().reply(coded, JSON, (b"content-encoding", names))
    world.run()
    assert end.transport.peer.under_way < 3_000_000
    end.transport.resume_reading()
    world.run()
    assert ask.body == bytes(30_000_000)


# -- requests to upstreams ----------------------------------------------------------------------


def shown(world: World, *codings: bytes) -> None:
    """Let the upstream say what it reads."""
    world.ask(b"first", b"/v1/first")
    world.call().reply(b"{}", (b"accept-encoding", b", ".join(codings)))
    world.run()


@pytest.mark.parametrize("name", [b"zstd", b"br", b"gzip"])
def test_a_request_is_coded_for_who_has_shown_to_read_it(name: bytes, pair: Pair) -> None:
    world = wire(pair=pair)
    shown(world, name)
    assert world.calls[0].get(b"content-encoding") is None
    ask = world.ask(BODY, b"/v1/x", JSON)
    call = world.call()
    assert call.get(b"content-encoding") == name
    assert call.get(b"content-length") == b"%d" % len(call.body)
    assert decoded(call) == BODY
    assert len(call.body) < len(BODY) / 4
    call.reply(b"ok")
    world.run()
    assert ask.body == b"ok"
    ledger = world.ended[-1].ledger
    assert ledger is not None
    assert (ledger.upstream_out.wire, ledger.upstream_out.plain) == (len(call.body), len(BODY))
    assert (ledger.client_in.wire, ledger.why) == (len(BODY), "shown")


def test_nothing_is_coded_that_nothing_speaks_for() -> None:
    world = wire()
    world.ask(BODY, b"/v1/x", JSON)
    call = world.call()
    assert (call.body, call.get(b"content-encoding")) == (BODY, None)
    call.reply(b"")
    world.run()
    assert (world.ended[-1].ledger, world.ended[-1].why) == (None, "not shown")


@pytest.mark.parametrize(
    "body,fields,why",
    [
        (b'{"a":"%b"}' % (b"x" * 900), [JSON], "small"),
        (b" " * (8 << 20) + b"{}", [JSON], "too large"),
        (BODY, [(b"content-type", b"image/png")], "content type"),
        (BODY, [JSON, (b"content-encoding", b"identity")], "coded by the client"),
        (BODY, [JSON, (b"content-encoding", b"identity, identity")], "coded by the client"),
        (BODY, [JSON, (b"content-encoding", b"")], "coded by the client"),
    ],
    ids=["small", "large", "an image", "named already", "named twice", "none named"],
)
def test_requests_that_are_not_coded(body: bytes, fields: Any, why: str) -> None:
    world = wire()
    shown(world, b"zstd")
    world.ask(body, b"/v1/x", *fields)
    assert world.call().body == body
    world.call().reply(b"")
    world.run()
    assert (world.ended[-1].ledger, world.ended[-1].why) == (None, why)


def test_what_does_not_get_smaller_goes_plain() -> None:
    import random

    noise = random.Random(1).randbytes(5000)
    world = wire()
    shown(world, b"zstd")
    world.ask(noise, b"/v1/x", JSON)
    assert world.call().body == noise
    world.call().reply(b"")
    world.run()
    ledger = world.ended[-1].ledger
    assert ledger is not None and ledger.why == "no gain"


@pytest.mark.parametrize("status", [400, 415, 422])
def test_a_refusal_is_resent_plain_in_the_same_exchange(status: int, pair: Pair) -> None:
    """As llama.cpp (415, empty body) and vLLM (400) do it; the client does not notice."""
    world = wire(pair=pair)
    shown(world, b"gzip")
    ask = world.ask(BODY, b"/v1/x", JSON, (b"authorization", b"Bearer k"))
    assert world.call().get(b"content-encoding") == b"gzip"
    world.call().reply(b"", status=status)
    call = world.call()
    assert (call.body, call.get(b"content-encoding")) == (BODY, None)
    assert call.get(b"authorization") == b"Bearer k"
    call.reply(b"fine")
    world.run()
    assert (ask.status, ask.body) == (200, b"fine")
    world.ask(BODY, b"/v1/x", JSON)  # and it is remembered
    assert world.call().get(b"content-encoding") is None
    world.call().reply(b"")
    world.run()
    ledger = world.ended[-1].ledger
    assert ledger is not None and ledger.why == f"refused with {status}"
    world.advance(3601)
    shown(world, b"gzip")
    world.ask(BODY, b"/v1/x", JSON)
    assert world.call().get(b"content-encoding") == b"gzip"


def test_a_refusal_of_the_plain_request_is_the_clients() -> None:
    world = wire()
    shown(world, b"gzip")
    ask = world.ask(BODY, b"/v1/x", JSON)
    for _ in range(2):
        world.call().reply(b"no", status=400)
        world.run()
    assert (ask.status, ask.body) == (400, b"no")
    assert len(world.calls) == 3
    world.ask(BODY, b"/v1/x", JSON)  # the coding was not to blame
    assert world.call().get(b"content-encoding") == b"gzip"


def test_what_was_coded_is_not_kept_for_as_long_as_the_answer_takes() -> None:
    gc.collect()
    world = wire()
    shown(world, b"gzip")
    world.ask(BODY, b"/v1/x", JSON)
    call = world.call()
    (exchange,) = world.proxy._exchanges
    assert any(isinstance(each, CodedUpload) for each in gc.get_objects())
    call.respond(200, SSE)
    world.run()
    assert not any(isinstance(each, CodedUpload) for each in gc.get_objects())
    call.end()
    world.run()
    ledger = exchange.ledger
    assert ledger is not None and ledger.upstream_out.plain == len(BODY)


def test_a_little_that_makes_much_is_decoded_elsewhere() -> None:
    world = wire()
    offload = world.context.offload
    world.ask(gzip.compress(BODY), b"/v1/x", JSON, (b"content-encoding", b"gzip"))
    assert offload.sizes == []  # type: ignore[attr-defined]
    world.call().reply(b"")
    world.ask(gzip.compress(bytes(1 << 20)), b"/v1/x", JSON, (b"content-encoding", b"gzip"))
    assert world.call().body == bytes(1 << 20)
    assert len(offload.sizes) == 1  # type: ignore[attr-defined]


def test_ollama_reads_zstd_and_is_not_asked_first() -> None:
    world = wire(provider="ollama")
    world.ask(BODY, b"/v1/x", JSON)
    call = world.call()
    assert call.get(b"content-encoding") == b"zstd"
    assert decoded(call) == BODY


def test_a_trial_is_made_once_and_for_large_bodies_only() -> None:
    world = wire(provider="sglang")
    large = BODY * 10
    world.ask(BODY, b"/v1/x", JSON)
    assert world.call().get(b"content-encoding") is None
    world.call().reply(b"")
    world.ask(large, b"/v1/x", JSON, new=True)
    call = world.call()
    assert (call.get(b"content-encoding"), call.get(b"x-body-compressed")) == (b"zstd", b"zstd")
    call.reply(b"", status=400)
    call = world.call()
    assert (call.body, call.get(b"x-body-compressed")) == (large, None)
    call.reply(b"")
    world.run()
    world.ask(large, b"/v1/y", JSON, new=True)
    assert world.call().get(b"content-encoding") is None


def test_a_trial_that_succeeds_is_remembered() -> None:
    world = wire(provider="sglang")
    for _ in range(2):
        world.ask(BODY * 10, b"/v1/x", JSON)
        call = world.call()
        assert call.get(b"content-encoding") == b"zstd"
        call.reply(b"{}")
        world.run()


@pytest.mark.parametrize("name", ["zstd", "gzip", "m2m"])
def test_what_the_operator_vouches_for(name: str) -> None:
    world = wire(compression_requests=name)
    world.ask(BODY, b"/v1/x", JSON)
    call = world.call()
    assert call.get(b"content-encoding") == name.encode()
    assert decoded(call) == BODY


def test_between_two_of_us_the_smaller_of_frame_and_zstd_goes() -> None:
    world = wire()
    shown(world, b"m2m", b"zstd")
    world.ask(BODY, b"/v1/x", JSON)
    call = world.call()
    sizes = {
        b"m2m": len(frame.encode(BODY)),
        b"zstd": len(coding.encode(b"zstd", BODY, 5)),
    }
    assert call.get(b"content-encoding") == min(sizes, key=lambda name: sizes[name])
    assert decoded(call) == BODY


def test_a_coding_that_the_upstream_reads_is_passed_on_as_it_is() -> None:
    world = wire()
    shown(world, b"zstd")
    coded = coding.encode(b"zstd", BODY)
    world.ask(coded, b"/v1/x", JSON, (b"content-encoding", b"zstd"))
    assert world.call().body == coded


def test_off_touches_nothing() -> None:
    world = World()
    ask = world.ask(BODY, b"/v1/x", JSON, (b"accept-encoding", b"gzip"))
    call = world.call()
    assert call.get(b"accept-encoding") == b"gzip"
    call.reply(REPLY, JSON, (b"accept-encoding", b"zstd"))
    world.run()
    assert (ask.body, ask.get(b"content-encoding")) == (REPLY, None)
    world.ask(BODY, b"/v1/x", JSON)
    assert world.call().body == BODY


def test_large_bodies_are_coded_elsewhere() -> None:
    world = wire()
    shown(world, b"zstd")
    world.ask(BODY * 40, b"/v1/x", JSON)
    offload = world.context.offload
    assert offload.sizes == [len(BODY) * 40]  # type: ignore[attr-defined]


def test_a_client_that_waits_to_be_asked_is_asked_by_the_upstream() -> None:
    """Its body is not here to be coded, and only the upstream knows whether it wants it."""
    world = wire()
    shown(world, b"zstd")
    expecting = (b"expect", b"100-continue")
    ask = world.ask(BODY, b"/v1/x", JSON, expecting, whole=False)
    call = world.call()
    assert (call.get(b"expect"), ask.informational) == (b"100-continue", [])
    call.respond(100)
    world.run()
    ask.send(BODY)
    ask.end()
    world.run()
    assert call.body == BODY


def test_a_wildcard_shows_nothing_so_what_comes_coded_is_decoded() -> None:
    world = wire()
    ask = world.ask(BODY, b"/v1/x", (b"accept-encoding", b"*"))
    world.call().reply(gzip.compress(REPLY), JSON, (b"content-encoding", b"gzip"))
    world.run()
    assert (ask.body, ask.get(b"content-encoding")) == (REPLY, None)


@pytest.mark.parametrize("responses", ["auto", "off"])
def test_no_stream_waits_for_tables_to_be_made(responses: str) -> None:
    events._spelling.cache_clear()
    World(compression_responses=responses)
    assert events._spelling.cache_info().currsize == (responses != "off")
