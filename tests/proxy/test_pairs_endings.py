"""How exchanges end before their time, for every pair of versions: who is told, and how."""

from __future__ import annotations

import json

import pytest
from ends import Call
from world import Pair, World

from m2mproxy.http.faults import UpstreamFault

SSE = (b"content-type", b"text/event-stream")
STAGES = ["before the head", "in a stream", "in a counted body"]


def get_to(stage: str, call: Call) -> None:
    if stage == "in a stream":
        call.respond(200, SSE)
        call.send(b"data: 1\n\n")
    elif stage == "in a counted body":
        call.respond(200, (b"content-length", b"10"))
        call.send(b"abc")


def test_a_body_over_the_limit_that_is_there_at_once_is_never_whole(pair: Pair) -> None:
    world = World(pair=pair, max_body=1000)
    world.accepting = False
    ask = world.ask(b"", whole=False, counted=False)
    for _ in range(3):
        ask.send(b"x" * 600)
        world.run()
    ask.end()
    world.run()
    world.accept()
    world.run()
    assert ask.status == 413
    assert all(not call.complete and len(call.body) < 1000 for call in world.calls)
    assert world.at_rest


@pytest.mark.parametrize("stage", STAGES)
def test_a_client_that_leaves_ends_the_upstreams_work(stage: str, pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(b"{}")
    call = world.call()
    get_to(stage, call)
    world.run()
    ask.abort()
    world.run()
    assert call.reset == (8 if pair[1] == "2" else 0)  # CANCEL
    assert world.at_rest
    assert world.ended[-1].fault is not None
    assert world.ended[-1].fault.code == "client_gone"


def test_a_client_that_leaves_while_it_uploads_ends_the_upstreams_work(pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(b"x" * 100, whole=False)
    ask.send(b"x" * 50)
    call = world.call()
    assert not call.complete
    ask.abort()
    world.run()
    assert call.broken
    assert world.at_rest


@pytest.mark.parametrize("stage", STAGES[1:])
@pytest.mark.parametrize("how", ["resets", "dies"])
def test_a_reply_that_was_cut_never_looks_complete(stage: str, how: str, pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(b"{}")
    call = world.call()
    get_to(stage, call)
    world.run()
    if how == "dies":
        world.upstreams[0].transport.die()
    else:
        call.abort()
    world.run()
    assert ask.broken and not ask.complete
    assert ask.body.startswith(b"data: 1\n\n" if stage == "in a stream" else b"abc")
    if stage == "in a stream":
        event = json.loads(ask.chunks[-1].removeprefix(b"data: "))
        assert event["error"]["code"] == "upstream_disconnected"
    assert world.at_rest


def test_an_upstream_that_dies_before_it_answers_is_502(pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(b"{}")
    world.call()
    world.upstreams[0].transport.die()
    world.run()
    assert (ask.status, ask.complete) == (502, True)
    assert json.loads(ask.body)["error"]["code"] == "upstream_disconnected"
    assert len(world.calls) == 1  # a new connection: it may have been at work


def test_a_connection_that_was_at_rest_and_dies_is_tried_once_more(pair: Pair) -> None:
    world = World(pair=pair)
    world.ask(b"first")
    world.call().reply(b"1")
    world.run()
    ask = world.ask(b"second")
    assert len(world.calls) == 2
    world.upstreams[0].transport.die()
    world.run()
    assert [call.body for call in world.calls] == [b"first", b"second", b"second"]
    world.call().reply(b"2")
    world.run()
    assert (ask.status, ask.body) == (200, b"2")
    assert world.ended[-1].retried


def test_what_comes_between_two_tries_is_held_for_the_second(pair: Pair) -> None:
    """However much that is: it waits, as for any upstream that takes nothing."""
    world = World(pair=pair, limits_retry_body=1000)
    world.ask()
    world.call().reply(b"{}")
    world.run()
    world.accepting = False
    body = b"first" + b"x" * 5000
    ask = world.ask(body, whole=False)
    ask.send(body[:5])
    world.run()
    world.upstream().transport.close()
    world.run()
    ask.send(body[5:])
    ask.end()
    world.run()
    world.accept()
    call = world.call()
    assert (call.body, call.complete) == (body, True)
    call.reply(b"{}")
    world.run()
    assert (ask.status, ask.body) == (200, b"{}")
    assert world.at_rest


def test_no_upstream_is_502(pair: Pair) -> None:
    world = World(pair=pair)
    world.accepting = False
    ask = world.ask(b"{}")
    world.refuse(UpstreamFault("connect", "nobody there"))
    world.run()
    assert (ask.status, ask.complete) == (502, True)
    error = json.loads(ask.body)["error"]
    assert error["code"] == "upstream_unreachable"
    assert (error["type"], error["message"]) == ("upstream_error", "nobody there")


@pytest.mark.parametrize("size", [1000, 4 << 20])
def test_an_early_answer_reaches_the_client(size: int, pair: Pair) -> None:
    """A small rest of the request is taken, a large one is refused; the answer is whole."""
    world = World(pair=pair)
    ask = world.ask(b"x" * size, whole=False)
    ask.send(b"x" * 500)
    call = world.call()
    call.reply(b"too large", status=413)
    world.run()
    assert (ask.status, ask.body, ask.complete) == (413, b"too large", True)
    if size == 1000:
        assert ask.reset is None
        ask.send(b"x" * 500)
        ask.end()
        world.run()
        again = world.ask(b"again")
        world.call().reply(b"ok")
        world.run()
        assert again.body == b"ok"
        assert len(world.askers) == 1
    else:
        assert ask.reset == 0  # NO_ERROR, or the connection's end
    assert world.at_rest


def test_a_body_that_turns_out_too_large_is_413(pair: Pair) -> None:
    world = World(pair=pair, max_body=1000)
    ask = world.ask(b"x" * 2000, counted=False)
    assert ask.status == 413
    world.run()
    assert world.at_rest
    assert all(not call.complete for call in world.calls)


def test_draining_lets_streams_finish_and_begins_no_others(pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(b"{}")
    call = world.call()
    call.respond(200, SSE)
    call.send(b"data: 1\n\n")
    world.run()
    world.proxy.drain()
    world.run()
    assert not ask.broken
    call.send(b"data: 2\n\n")
    call.end()
    world.run()
    assert (ask.chunks, ask.complete) == ([b"data: 1\n\n", b"data: 2\n\n"], True)
    assert world.proxy.connections == 0


def test_stopping_cuts_what_is_left(pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(b"{}")
    call = world.call()
    call.respond(200, SSE)
    call.send(b"data: 1\n\n")
    world.run()
    world.proxy.stop()
    world.run()
    assert ask.broken
    assert call.reset is not None
    assert world.proxy.connections == 0
    assert world.at_rest
