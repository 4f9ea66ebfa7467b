"""The tokens of exchanges, by what their replies say or as they are counted, in every version."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import brotli  # type: ignore[import-untyped]
import orjson
import pytest
from allocations import allocating_at_most
from sweep import WAYS, Way, sweep
from tallies import Jobs
from world import World, get, post, reply

from m2mproxy.codec import coding, memory
from m2mproxy.codec.sealed import AeadSeal
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.room import Room
from m2mproxy.proxy.sealing import PeerSeal
from m2mproxy.proxy.tally import MOST_KEPT, Kept, Opened, Tallies, Tally
from m2mproxy.tokens.job import TokenCount

SSE = (b"content-type", b"text/event-stream")
JSON = (b"content-type", b"application/json")
LINES = (b"content-type", b"application/x-ndjson")
PAIRS = pytest.mark.parametrize("pair", [("1.1", "1.1"), ("1.1", "2"), ("2", "1.1"), ("2", "2")])

ASKED = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "one two three"}]})
USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25,
         "prompt_tokens_details": {"cached_tokens": 16},
         "completion_tokens_details": {"reasoning_tokens": 3}}  # fmt: skip
ANSWER = orjson.dumps({"choices": [{"message": {"content": "four five"}}], "usage": USAGE})
SILENT = orjson.dumps({"choices": [{"message": {"content": "four five"}}]})


def event(**event: Any) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"


def word(text: str) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}}])


def tally_of(world: World) -> Tally:
    world.run()
    (x,) = world.ended
    assert x.bug is None
    assert x.tally is not None
    return x.tally


def figures(tally: Tally) -> tuple[Any, ...]:
    numbers = [tokens.number if tokens else None for tokens in (tally.input, tally.output)]
    return (*numbers, tally.is_reported)


# ---- what replies say ----------------------------------------------------------------------------


@PAIRS
def test_the_usage_of_a_reply(pair: Any) -> None:
    world = World(pair=pair)
    ask = world.ask(ASKED)
    world.call().reply(ANSWER, JSON)
    world.run()
    assert ask.body == ANSWER
    tally = tally_of(world)
    assert (tally.input, tally.output) == (TokenCount(20, True), TokenCount(5, True))
    assert (tally.cached, tally.reasoning, tally.is_reported) == (16, 3, (True, True))
    assert (tally.model, tally.is_due) == ("m", True)


@PAIRS
def test_the_usage_of_a_stream(pair: Any) -> None:
    world = World(pair=pair)
    ask = world.ask(ASKED)
    call = world.call()
    call.respond(200, SSE)
    events = [word("four"), event(choices=[], usage=USAGE), b"data: [DONE]\n\n"]
    for each in events:
        call.send(each)
        world.run()
        assert ask.body.endswith(each)  # nothing waits
    call.end()
    assert figures(tally_of(world)) == (20, 5, (True, True))


@pytest.mark.parametrize("coding", [b"gzip", b"zstd"])
def test_a_reply_that_is_coded_for_the_client_is_seen(coding: bytes) -> None:
    world = World(compression_responses="on", compression_min_size=1)
    ask = world.ask(ASKED, b"/v1/chat/completions", (b"accept-encoding", coding))
    world.call().reply(ANSWER, JSON)
    world.run()
    assert ask.get(b"content-encoding") == coding
    assert figures(tally_of(world)) == (20, 5, (True, True))


def pass_on(coded: bytes, kind: tuple[bytes, bytes], coding: bytes, **more: Any) -> Any:
    """The tally of a reply that goes to the client as it is coded, whole and byte by byte."""
    tallies = []
    for pieces in ([coded], [coded[at : at + 1] for at in range(len(coded))]):
        world = World(compression_responses="on", **more)
        ask = world.ask(ASKED, b"/v1/chat/completions", (b"accept-encoding", coding))
        call = world.call()
        call.respond(200, kind, (b"content-encoding", coding))
        for piece in pieces:
            call.send(piece)
            world.run()
        call.end()
        tallies.append(tally_of(world))
        assert ask.body == coded
    assert figures(tallies[0]) == figures(tallies[1])
    return tallies[0]


@pytest.mark.parametrize(("coding", "code"), [(b"gzip", gzip.compress), (b"br", brotli.compress)])
def test_the_usage_of_a_coded_reply_that_is_passed_on(
    coding: bytes, code: Callable[[bytes], bytes]
) -> None:
    assert figures(pass_on(code(ANSWER), JSON, coding)) == (20, 5, (True, True))
    stream = word("four") + event(choices=[], usage=USAGE) + b"data: [DONE]\n\n"
    assert figures(pass_on(code(stream), SSE, coding)) == (20, 5, (True, True))


@pytest.mark.parametrize("name", [b"zstd", b"br"])
def test_of_a_reply_that_explodes_no_more_is_opened_than_is_looked_at(name: bytes) -> None:
    coded, lost = coding.encode(name, bytes(50_000_000)), 0
    size = 0

    def see(piece: bytes | memoryview) -> None:
        nonlocal size
        size += len(piece)

    def lose() -> None:
        nonlocal lost
        lost += 1

    make = partial(coding.decoder, name, 1 << 30)
    opened = Opened(make, [name], Room(), see, lose)
    with allocating_at_most(1 << 20):
        opened.feed(coded)
    assert lost == 1 and size <= 64 << 10


def test_a_reply_that_is_sealed_for_the_client_is_not_opened() -> None:
    seal = PeerSeal(bytes(32), "aead", AeadSeal(bytes(32)))
    tally = Tallies(None, Room()).begin(Request(b"POST", b"/v1/x", b"h", Headers()))
    assert tally is not None
    for name, taps in ((seal.name, 0), (b"gzip", 1)):
        reply = Response(200, Headers([SSE, (b"content-encoding", name)]), None)
        assert len(tally.taps(reply, False, Forms(seal))) == taps


@pytest.mark.parametrize(
    ("coded", "coding"),
    [
        (gzip.compress(ANSWER), b"compress"),  # not known here
        (gzip.compress(ANSWER)[:20] + b"?" * 200, b"gzip"),
        (gzip.compress(b" " * (70 << 10) + ANSWER), b"gzip"),  # too much at once
    ],
    ids=["not known", "broken", "too much"],
)
def test_a_coded_reply_that_cannot_be_looked_at_is_passed_on_and_unknown(
    coded: bytes, coding: bytes
) -> None:
    world = World(compression_responses="on", tokens_count="all", submit=Jobs())
    ask = world.ask(ASKED, b"/v1/chat/completions", (b"accept-encoding", coding))
    world.call().reply(coded, JSON, (b"content-encoding", coding))
    tally = tally_of(world)
    assert ask.body == coded
    assert (tally.output, tally.is_due) == (None, True)
    assert world.tallies is not None
    assert world.tallies.unread == 1
    assert nothing_kept(world)
    assert (tally.input, tally.is_reported) == (TokenCount(103, False), (False, False))


CODED = gzip.compress(ANSWER, mtime=0)


def test_what_decodes_a_reply_takes_room_and_gives_it_back() -> None:
    world = World(compression_responses="on")
    assert world.tallies is not None
    world.ask(ASKED, b"/v1/chat/completions", (b"accept-encoding", b"gzip"))
    call = world.call()
    call.respond(200, JSON, (b"content-encoding", b"gzip"))
    for piece in (CODED[:20], CODED[20:]):
        call.send(piece)
        world.run()
        assert world.tallies.room.free == Room().free - memory.needed(b"gzip", b"")
    call.end()
    assert figures(tally_of(world)) == (20, 5, (True, True))
    assert world.tallies.unread == 0
    assert nothing_kept(world)


def test_a_reply_in_zstd_takes_room_for_the_window_that_it_says() -> None:
    """So that a hundred replies that say their size are read at a time, and not seven."""
    coded = coding.encode(b"zstd", ANSWER)
    world = World(compression_responses="on")
    assert world.tallies is not None
    asks = [
        world.ask(ASKED, b"/v1/chat/completions", (b"accept-encoding", b"zstd"), new=True)
        for _ in range(100)
    ]
    calls = list(world.calls)
    for call in calls:
        call.respond(200, JSON, (b"content-encoding", b"zstd"))
        call.send(coded[:30])
    world.run()
    taken = 100 * memory.needed(b"zstd", coded[:18])
    assert world.tallies.room.free == Room().free - taken > 0
    for call in calls:
        call.send(coded[30:])
        call.end()
    world.run()
    assert all(ask.body == coded for ask in asks)
    assert world.tallies.unread == 0
    assert all(figures(each.tally) == (20, 5, (True, True)) for each in world.ended)
    assert nothing_kept(world)


def test_without_room_a_coded_reply_is_not_read() -> None:
    world = World(compression_responses="on")
    assert world.tallies is not None
    world.tallies.room.free = memory.needed(b"gzip", b"") - 1
    world.ask(ASKED, b"/v1/chat/completions", (b"accept-encoding", b"gzip"))
    world.call().reply(CODED, JSON, (b"content-encoding", b"gzip"))
    assert figures(tally_of(world)) == (None, None, (False, False))
    assert world.tallies.unread == 1
    assert world.tallies.room.free == memory.needed(b"gzip", b"") - 1


def test_off_is_nothing() -> None:
    world = World(tokens_count="off", submit=Jobs())
    world.ask(ASKED)
    world.call().reply(ANSWER, JSON)
    world.run()
    assert world.tallies is None
    assert world.ended[0].tally is None


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "is_due"),
    [
        (b"POST", b"/v1/chat/completions", 200, JSON, True),
        (b"POST", b"/v1/chat/completions?a=b", 200, JSON, True),
        (b"POST", b"/v1/messages", 200, JSON, True),
        (b"POST", b"/v1/api/chat", 200, LINES, True),
        (b"POST", b"/v1/api/pull", 200, LINES, False),
        (b"POST", b"/v1/chat/completions", 429, JSON, False),
        (b"POST", b"/v1/audio/speech", 200, (b"content-type", b"audio/mpeg"), False),
        (b"POST", b"/v1/files", 200, JSON, False),
        (b"GET", b"/v1/responses/r1", 200, JSON, None),
    ],
)
def test_what_costs_tokens(
    method: bytes, path: bytes, status: int, kind: tuple[bytes, bytes], is_due: bool | None
) -> None:
    world = World(tokens_count="all", submit=(jobs := Jobs()))
    world.ask(ASKED if method == b"POST" else b"", path, method=method)
    world.call().reply(SILENT, kind, status=status)
    world.run()
    tally = world.ended[0].tally
    assert (tally.is_due if tally is not None else None) is is_due
    assert bool(jobs.taken) is bool(is_due)
    assert nothing_kept(world)


def test_what_says_its_usage_costs_tokens_whatever_it_is() -> None:
    world = World()
    world.ask(b'{"model":"img"}', b"/v1/images/generations")
    world.call().reply(b'{"usage":{"input_tokens":5,"output_tokens":6,"total_tokens":11}}', JSON)
    assert figures(tally_of(world)) == (5, 6, (True, True))


def test_an_error_costs_nothing() -> None:
    world = World()
    world.ask(ASKED)
    world.call().reply(ANSWER, JSON, status=400)
    tally = tally_of(world)
    assert (tally.is_due, tally.input, tally.output) == (False, None, None)


# ---- what is counted -----------------------------------------------------------------------------


def nothing_kept(world: World) -> bool:
    assert world.tallies is not None
    return world.tallies.room.free == Room().free


@PAIRS
def test_a_reply_without_usage_is_counted(pair: Any) -> None:
    world = World(pair=pair, tokens_count="all", submit=Jobs())
    world.ask(ASKED)
    world.call().reply(SILENT, JSON)
    tally = tally_of(world)
    assert (tally.input, tally.output) == (TokenCount(103, False), TokenCount(2, False))
    assert (tally.is_reported, tally.is_pending) == ((False, False), False)
    assert nothing_kept(world)


def test_what_a_model_is_yet_to_write_is_not_counted_as_nothing() -> None:
    world = World(tokens_count="all", submit=Jobs())
    world.ask(ASKED, b"/v1/responses")
    world.call().reply(b'{"background":true,"status":"queued","output":[],"usage":null}', JSON)
    tally = tally_of(world)
    assert (tally.input, tally.output) == (TokenCount(103, False), None)
    assert nothing_kept(world)


@PAIRS
def test_a_stream_without_usage_is_counted(pair: Any) -> None:
    world = World(pair=pair, tokens_count="all", submit=Jobs())
    world.ask(ASKED.replace(b'"m"', b'"exact"'))
    call = world.call()
    call.respond(200, SSE)
    for text in ("four", " five", " six"):
        call.send(word(text))
        world.run()
    call.end()
    tally = tally_of(world)
    assert (tally.input, tally.output) == (TokenCount(103, True), TokenCount(3, True))
    assert tally.is_reported == (False, False)


@PAIRS
def test_a_stream_whose_client_left_is_counted_as_far_as_it_came(pair: Any) -> None:
    world = World(pair=pair, tokens_count="all", submit=Jobs())
    ask = world.ask(ASKED)
    call = world.call()
    call.respond(200, SSE)
    call.send(word("four") + word(" five"))
    world.run()
    ask.abort()
    assert figures(tally_of(world)) == (103, 2, (False, False))
    assert nothing_kept(world)


@PAIRS
def test_a_stream_whose_upstream_broke_is_counted_as_far_as_it_came(pair: Any) -> None:
    world = World(pair=pair, tokens_count="all", submit=Jobs())
    world.ask(ASKED)
    call = world.call()
    call.respond(200, SSE)
    call.send(word("four") + word(" five")[:20])
    world.run()
    call.abort()
    assert figures(tally_of(world)) == (103, 1, (False, False))


START = event(
    type="message_start",
    message={"usage": {"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens": 1}},
)
HALF = START + event(type="content_block_delta", delta={"text": "four five six"})


@pytest.mark.parametrize(("count", "output"), [("usage", 1), ("all", 3)])
def test_half_of_a_message_is_reported_and_half_counted(count: str, output: int) -> None:
    world = World(tokens_count=count, submit=(jobs := Jobs()))
    ask = world.ask(ASKED, b"/v1/messages")
    call = world.call()
    call.respond(200, SSE)
    call.send(HALF)
    world.run()
    ask.abort()
    tally = tally_of(world)
    assert (tally.input, tally.cached) == (TokenCount(10, True), 3)
    assert tally.output == TokenCount(output, False)
    assert tally.is_reported == (True, False)
    assert all(job.asked is None for job in jobs.taken)  # nobody counts what is known


@pytest.mark.parametrize("said", [True, False])
def test_embeddings_put_nothing_out(said: bool) -> None:
    world = World(tokens_count="all", submit=Jobs())
    world.ask(b'{"model":"e","input":"one two"}', b"/v1/embeddings")
    usage = b',"usage":{"prompt_tokens":9,"total_tokens":9}' if said else b""
    world.call().reply(b'{"data":[]' + usage + b"}", JSON)
    tally = tally_of(world)
    assert tally.input == (TokenCount(9, True) if said else TokenCount(102, False))
    assert tally.output == TokenCount(0, True)


def test_ollamas_own_words_are_read() -> None:
    world = World(tokens_count="all", submit=(jobs := Jobs()))
    world.ask(ASKED, b"/v1/api/chat")
    said = b'{"model":"m","message":{"content":"four"},"done":false}\n'
    world.call().reply(said + b'{"done":true,"prompt_eval_count":9,"eval_count":2}\n', LINES)
    assert figures(tally_of(world)) == (9, 2, (True, True))
    assert not jobs.taken


def test_a_stream_of_ollamas_that_broke_is_counted_as_far_as_it_came() -> None:
    world = World(tokens_count="all", submit=Jobs())
    ask = world.ask(ASKED, b"/v1/api/chat")
    call = world.call()
    call.respond(200, LINES)
    call.send(b'{"message":{"content":"four"}}\n{"message":{"content":" five"}}\n')
    world.run()
    ask.abort()
    assert figures(tally_of(world)) == (103, 2, (False, False))


def test_a_request_that_is_no_json_is_not_known() -> None:
    world = World(tokens_count="all", submit=Jobs())
    world.ask(b'{"model":"m",', b"/v1/chat/completions")
    world.call().reply(SILENT, JSON)
    assert figures(tally_of(world)) == (None, 2, (False, False))


def test_a_usage_that_is_reported_is_not_counted() -> None:
    world = World(tokens_count="all", submit=(jobs := Jobs()))
    world.ask(ASKED)
    world.call().reply(ANSWER, JSON)
    assert figures(tally_of(world)) == (20, 5, (True, True))
    assert not jobs.taken
    assert nothing_kept(world)


def test_what_is_kept_are_the_chunks_themselves() -> None:
    world = World(tokens_count="all", submit=(jobs := Jobs(at_once=False)))
    world.ask(ASKED)
    world.call().reply(SILENT, JSON)
    world.run()
    (job,) = jobs.taken
    assert job.asked is not None and job.replied is not None
    assert b"".join(job.asked) == ASKED
    assert b"".join(job.replied) == SILENT
    assert not nothing_kept(world)  # until it is counted
    jobs.count()
    assert nothing_kept(world)


# ---- requests that are held or coded -------------------------------------------------------------

LONG = orjson.dumps({"model": "m", "messages": [{"content": "word " * 2000}]})


def test_a_request_that_the_client_coded_is_counted_in_plain() -> None:
    import gzip

    world = World(tokens_count="all", submit=Jobs())
    world.ask(gzip.compress(LONG), b"/v1/chat/completions", (b"content-encoding", b"gzip"))
    world.call().reply(SILENT, JSON)
    assert figures(tally_of(world)) == (2100, 2, (False, False))


@pytest.mark.parametrize("refuses", [False, True])
def test_a_request_that_is_coded_for_the_upstream_is_counted_once(refuses: bool) -> None:
    world = World(compression_requests="gzip", tokens_count="all", submit=Jobs())
    world.ask(LONG, b"/v1/chat/completions", JSON)
    assert len(world.call().body) < 1000
    if refuses:
        world.call().reply(b"", status=415)
        assert world.call().body == LONG
    world.call().reply(SILENT, JSON)
    tally = tally_of(world)
    assert (world.ended[0].retried, tally.model) == (refuses, "m")
    assert figures(tally) == (2100, 2, (False, False))
    assert nothing_kept(world)


def test_a_request_in_many_pieces_is_counted_once() -> None:
    world = World(tokens_count="all", submit=Jobs())
    ask = world.ask(LONG, whole=False)
    for at in range(0, len(LONG), 1000):
        ask.send(LONG[at : at + 1000])
        world.run()
    ask.end()
    world.call().reply(SILENT, JSON)
    assert figures(tally_of(world)) == (2100, 2, (False, False))


def test_a_request_that_goes_again_while_it_comes_is_counted_whole() -> None:
    world = World(tokens_count="all", submit=Jobs())
    client = world.client()
    client.send(get())
    stale = world.upstream()
    stale.send(reply(b"[]"))
    world.run()
    client.send(post(LONG)[: -len(LONG)] + LONG[:5])
    world.run()
    stale.transport.die()
    fresh = world.upstream()
    client.send(LONG[5:])
    world.run()
    assert fresh.take().endswith(LONG)
    fresh.send(reply(SILENT, b"content-type: application/json"))
    world.run()
    again = world.ended[-1]
    assert again.retried and again.model == "m" and again.tally is not None
    assert figures(again.tally) == (2100, 2, (False, False))


# ---- bounds --------------------------------------------------------------------------------------


def test_no_more_is_kept_of_a_body_than_said() -> None:
    room = Room(10 * MOST_KEPT)
    kept = Kept(room)
    for _ in range(MOST_KEPT // 1000):
        kept.add(b"x" * 1000)
    assert not kept.is_whole
    assert (kept.chunks, room.free) == ([], 10 * MOST_KEPT)
    kept.add(b"x")
    assert kept.chunks == []


def test_small_chunks_cost_what_they_take() -> None:
    kept = Kept(Room())
    for _ in range(MOST_KEPT // 65):
        kept.add(b"x")
    assert kept.is_whole
    kept.add(b"x")
    assert not kept.is_whole


def test_all_bodies_share_a_room() -> None:
    room = Room(1000)
    one, other = Kept(room), Kept(room)
    one.add(b"x" * 700)
    other.add(b"x" * 700)
    assert (one.is_whole, other.is_whole, room.free) == (True, False, 1000 - 764)
    one.free()
    assert room.free == 1000


def test_a_reply_that_is_too_long_is_unknown_and_its_request_counted() -> None:
    world = World(tokens_count="all", submit=(jobs := Jobs()))
    world.ask(ASKED)
    world.call().reply(b'{"choices":[{"text":"%b"}]}' % (b"x" * MOST_KEPT), JSON)
    assert figures(tally_of(world)) == (103, None, (False, False))
    assert world.tallies is not None
    assert world.tallies.unkept == 1
    assert len(jobs.taken) == 1
    assert nothing_kept(world)


def test_what_is_dropped_is_unknown() -> None:
    world = World(tokens_count="all", submit=(jobs := Jobs(at_once=False)))
    world.ask(ASKED)
    world.call().reply(SILENT, JSON)
    tally = tally_of(world)
    assert tally.is_pending
    jobs.drop()
    assert figures(tally) == (None, None, (False, False))
    assert not tally.is_pending
    assert nothing_kept(world)


# ---- ending it at any moment ---------------------------------------------------------------------


def spoken(world: World) -> Iterator[None]:
    world.start(ASKED)
    yield
    world.calls[-1].respond(200, SSE)
    yield
    for text in ("four", " five"):
        world.calls[-1].send(word(text))
        yield
    world.calls[-1].end()
    yield


def refused_and_once_more(world: World) -> Iterator[None]:
    world.start(LONG, b"/v1/chat/completions", JSON)
    yield
    world.calls[-1].reply(b"", status=415)
    yield
    world.calls[-1].reply(SILENT, JSON)
    yield


@PAIRS
@pytest.mark.parametrize("end", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("scenario", [spoken, refused_and_once_more], ids=lambda it: it.__name__)
def test_nothing_is_left_behind(
    scenario: Callable[[World], Iterator[None]], end: Way, pair: Any
) -> None:
    def check(world: World) -> None:
        ended = [x for x in world.ended if x.tally is not None]
        assert not any(x.tally.is_pending for x in ended if x.tally is not None)
        assert nothing_kept(world)

    sweep(
        lambda: World(
            pair=pair, compression_requests="gzip", tokens_count="all", submit=Jobs()
        ),
        scenario,
        end,
        check,
    )
