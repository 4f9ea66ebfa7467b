"""What a tally looks at and keeps, and what not: decisions that its larger tests do not see."""

from __future__ import annotations

import gzip
import random
from typing import Any

import orjson
import pytest
from tallies import Jobs
from world import World

from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.proxy.coder import SLICE
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.room import Room
from m2mproxy.proxy.tally import Tallies, Tally
from m2mproxy.tokens.job import TokenCount

JSON = (b"content-type", b"application/json")
ASKED = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "one two three"}]})
ANSWER = b'{"usage":{"prompt_tokens":20,"completion_tokens":5,"total_tokens":25}}'
SILENT = b'{"choices":[{"message":{"content":"four five"}}]}'


def begun(method: bytes = b"POST") -> Tally | None:
    return Tallies(None, Room()).begin(Request(method, b"/v1/responses", b"h", Headers()))


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"PATCH", b"DELETE"])
def test_only_what_is_posted_has_a_tally(method: bytes) -> None:
    assert begun(method) is None and begun() is not None


@pytest.mark.parametrize(("status", "taps"), [(199, 0), (200, 1), (299, 1), (300, 0), (304, 0)])
def test_only_a_reply_that_is_one_is_looked_at(status: int, taps: int) -> None:
    tally = begun()
    assert tally is not None
    assert len(tally.taps(Response(status, Headers([JSON]), None), True, Forms(None))) == taps


@pytest.mark.parametrize("kind", [b"Text/Event-Stream", b"text/event-stream; charset=utf-8"])
def test_a_stream_is_one_however_its_type_is_written(kind: bytes) -> None:
    """Of a body only the last usage would count."""
    world = World()
    world.ask(ASKED, b"/v1/messages")
    first = b'data: {"message":{"usage":{"input_tokens":9,"output_tokens":1}}}\n\n'
    reply = first + b'data: {"usage":{"output_tokens":4}}\n\n'
    world.call().reply(reply, (b"content-type", kind))
    world.run()
    tally = world.ended[0].tally
    assert tally is not None
    assert (tally.input, tally.output) == (TokenCount(9, True), TokenCount(4, True))


def test_a_type_of_json_in_capitals_is_json() -> None:
    tally = begun()
    assert tally is not None
    reply = Response(200, Headers([(b"content-type", b"Application/JSON")]), None)
    assert len(tally.taps(reply, True, Forms(None))) == 1


@pytest.mark.parametrize(("path", "is_kept"), [(b"/v1/messages", True), (b"/v1/files", False)])
def test_bodies_are_kept_only_where_a_model_is_asked(path: bytes, is_kept: bool) -> None:
    world = World(tokens_count="all", submit=Jobs())
    world.ask(ASKED, path)
    call = world.call()
    assert world.tallies is not None
    asked = world.tallies.room.free
    assert (asked < Room().free) is is_kept
    call.respond(200, JSON)
    call.send(SILENT)
    world.run()
    assert (world.tallies.room.free < asked) is is_kept


def test_a_job_has_the_sizes_of_what_it_has() -> None:
    world = World(tokens_count="all", submit=(jobs := Jobs()))
    world.ask(ASKED)
    world.call().reply(SILENT, JSON)
    world.run()
    (job,) = jobs.taken
    assert (job.asked_size, job.replied_size) == (len(ASKED), len(SILENT))


def test_a_coded_piece_of_several_slices_is_opened_once() -> None:
    noise = random.Random(5).randbytes(SLICE).hex().encode()
    coded = gzip.compress(b'{"x":"' + noise + b'",' + ANSWER[1:])
    assert len(coded) > SLICE
    world = World(compression_responses="on")
    world.ask(ASKED, b"/v1/chat/completions", (b"accept-encoding", b"gzip"))
    world.call().reply(coded, JSON, (b"content-encoding", b"gzip"))
    world.run()
    tally: Any = world.ended[0].tally
    assert (tally.input, tally.is_reported) == (TokenCount(20, True), (True, True))


def test_a_usage_makes_due_what_is_asked_of_no_path_of_a_model() -> None:
    world = World()
    world.ask(b"{}", b"/v1/rerank")
    world.call().reply(ANSWER, JSON)
    world.run()
    tally = world.ended[0].tally
    assert tally is not None and tally.is_due


def test_a_half_that_a_reply_does_not_say_is_not_reported() -> None:
    world = World()
    world.ask(ASKED)
    world.call().reply(b'{"usage":{"completion_tokens":3}}', JSON)
    world.run()
    tally = world.ended[0].tally
    assert tally is not None
    assert (tally.input, tally.output) == (None, TokenCount(3, True))
    assert tally.is_reported == (False, True)


def test_embeddings_have_no_output_whatever_the_query() -> None:
    world = World(tokens_count="all", submit=Jobs())
    world.ask(ASKED, b"/v1/embeddings?a=b")
    world.call().reply(b'{"data":[{"embedding":[0.5]}]}', JSON)
    world.run()
    tally = world.ended[0].tally
    assert tally is not None and tally.output == TokenCount(0, True)
