"""Whole exchanges in memory, for every pair of versions: what goes in at one end comes out at the
other."""

from __future__ import annotations

import json

import pytest
from link import Split
from world import Pair, World, post, reply

BODY = b'{"model": "m",  "messages": [{"role":"user","content":"\\u00e9 \xc3\xa9"}]}\n'
SSE = (b"content-type", b"text/event-stream")


def test_bodies_pass_unchanged_both_ways(split: Split, pair: Pair) -> None:
    world = World(split, pair)
    ask = world.ask(BODY)
    call = world.call()
    assert (call.method, call.path) == (b"POST", b"/v1/chat/completions")
    assert (call.body, call.complete) == (BODY, True)
    assert call.get(b"content-length") == b"%d" % len(BODY)
    call.reply(b'{ "choices":[ ] }', (b"x-request-id", b"7"))
    world.run()
    assert (ask.status, ask.body, ask.complete) == (200, b'{ "choices":[ ] }', True)
    assert ask.get(b"x-request-id") == b"7"
    assert world.at_rest


def test_the_next_request_uses_the_same_connections(pair: Pair) -> None:
    world = World(pair=pair)
    for number in range(3):
        ask = world.ask(BODY)
        call = world.call()
        assert call.body == BODY
        call.reply(b"%d" % number)
        world.run()
        assert ask.body == b"%d" % number
    assert len(world.upstreams) == len(world.askers) == 1


def test_a_head_and_its_body_leave_in_one_write() -> None:
    world = World()
    client = world.client()
    client.send(post(BODY))
    upstream = world.upstream()
    upstream.send(reply(b"{}"))
    world.run()
    assert upstream.transport.peer.writes == [2]
    assert client.transport.peer.writes == [2]


def test_every_event_leaves_in_the_turn_in_which_it_came(pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(BODY)
    call = world.call()
    call.respond(200, SSE)
    world.run()
    events = (b"data: 1\n\n", b": comment\n\n", b"data: 2\r\n\r\n", b"data: hal", b"f\n\n")
    upstream, client = world.upstreams[0].transport, world.askers[0].transport
    for count, event in enumerate(events, 1):
        call.send(event)
        # Straight into the proxy, so that the wire's own turns do not count.
        data, upstream._buffer = bytes(upstream._buffer), bytearray()
        upstream.peer.protocol.data_received(data)
        world.loop.turn()
        assert client.peer.under_way or len(ask.chunks) == count
        world.run()
        assert ask.chunks == list(events[:count])
    call.end()
    world.run()
    assert ask.complete
    assert world.at_rest


def test_events_that_come_together_stay_apart(pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(BODY)
    call = world.call()
    call.respond(200, SSE)
    call.send(b"data: 1\n\n")
    call.connection.send(b"")  # type: ignore[attr-defined]
    call.send(b"data: 2\n\n")
    world.run()
    assert ask.chunks == [b"data: 1\n\n", b"data: 2\n\n"]


@pytest.mark.parametrize("status", [204, 304])
def test_replies_without_a_body_end_with_their_head(status: int, pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(method=b"GET")
    call = world.call()
    call.respond(status, (b"x-a", b"1"))
    call.end()
    world.run()
    assert (ask.status, ask.headers, ask.complete) == (status, [(b"x-a", b"1")], True)
    assert world.at_rest


@pytest.mark.parametrize("method", [b"POST", b"GET", b"DELETE"])
def test_a_reply_with_nothing_in_it_ends(method: bytes, pair: Pair) -> None:
    """HTTP/2 needs no content-length for that, HTTP/1.1 does."""
    world = World(pair=pair)
    ask = world.ask(method=method, counted=method == b"POST")
    call = world.call()
    assert (call.body, call.complete) == (b"", True)
    call.respond(200, *([] if pair[1] == "2" else [(b"content-length", b"0")]))
    call.end()
    world.run()
    assert (ask.status, ask.body, ask.complete) == (200, b"", True)
    again = world.ask(b"again")
    world.call().reply(b"ok")
    world.run()
    assert again.body == b"ok"
    assert len(world.askers) == 1


def test_head_keeps_the_length_that_get_would_have(pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(method=b"HEAD")
    call = world.call()
    call.respond(200, (b"content-length", b"717"))
    call.end()
    world.run()
    assert (ask.get(b"content-length"), ask.body, ask.complete) == (b"717", b"", True)
    assert world.at_rest


def test_a_body_of_unknown_length_passes_and_ends(pair: Pair, split: Split) -> None:
    world = World(split, pair)
    ask = world.ask(whole=False, counted=False)
    call = world.call()
    assert call.head and not call.complete
    for piece in (b"a" * 10, b"b" * 3000):
        ask.send(piece)
        world.run()
    ask.end()
    world.run()
    assert (call.body, call.complete) == (b"a" * 10 + b"b" * 3000, True)
    assert call.get(b"content-length") is None
    call.respond(200)
    call.send(b"c" * 500)
    call.end()
    world.run()
    assert (ask.body, ask.complete) == (b"c" * 500, True)
    assert world.at_rest


def test_trailers_pass(pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(b"", b"/v1/x", (b"te", b"trailers"), (b"connection", b"te")) if (
        pair[0] == "1.1"
    ) else world.ask(b"", b"/v1/x", (b"te", b"trailers"))
    call = world.call()
    assert call.get(b"te") == b"trailers"
    call.respond(200)
    call.send(b"data")
    call.end((b"x-checksum", b"17"))
    world.run()
    assert (ask.body, ask.trailers, ask.complete) == (b"data", [(b"x-checksum", b"17")], True)
    assert world.at_rest


@pytest.mark.parametrize("name", [b"connection", b"keep-alive", b"te", b"proxy-authenticate"])
@pytest.mark.parametrize("client", ["1.1", "2"])
def test_what_belongs_to_the_connection_goes_no_further_in_trailers(
    name: bytes, client: str
) -> None:
    """In HTTP/2 such a field would break the message."""
    world = World(pair=(client, "1.1"))
    ask = world.ask(b"{}")
    call = world.call()
    call.respond(200)
    call.send(b"data")
    call.end((name, b"x"), (b"x-sum", b"17"))
    world.run()
    assert (ask.body, ask.trailers, ask.complete) == (b"data", [(b"x-sum", b"17")], True)


def test_informational_responses_without_end_are_a_fault(pair: Pair) -> None:
    """They wait for no reader, so a client that reads nothing would make us hold all of them."""
    world = World(pair=pair)
    ask = world.ask(BODY)
    call = world.call()
    for _ in range(100):
        call.respond(103, (b"link", b"</a>"))
    world.run()
    assert (len(ask.informational), ask.head) == (100, False)
    call.respond(103, (b"link", b"</a>"))
    world.run()
    assert ask.status == 502
    error = json.loads(ask.body)["error"]
    assert error["code"] == "upstream_protocol_error"
    assert error["message"].endswith("more than 100 informational responses (1xx) came")
    assert error["message"] in str(world.ended[0].fault)
    assert call.reset is not None
    assert world.at_rest


@pytest.mark.parametrize("status", [100, 103])
def test_informational_responses_pass(status: int, pair: Pair) -> None:
    world = World(pair=pair)
    ask = world.ask(BODY, b"/v1/x", (b"expect", b"100-continue"), whole=False)
    call = world.call()
    call.respond(status, *([(b"link", b"</a>")] if status == 103 else []))
    world.run()
    assert (ask.informational, ask.head) == ([status], False)
    ask.send(BODY)
    ask.end()
    world.run()
    call.reply(b"ok")
    world.run()
    assert (ask.body, ask.complete) == (b"ok", True)
    assert world.at_rest
