"""How exchanges end before their time, over HTTP/1.1 and byte by byte: who is told, what is cut,
what is tried again. What holds for all versions is in test_pairs_endings.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from link import Raw, Split, bytewise, randomly, whole
from wire import is_complete, read_response
from world import SSE_HEAD, World, chunk, get, post, reply, transport_of

HEADER_BYTES = 8 << 10  # the most of a head where one is too long


def begin(world: World, request: bytes = b"") -> tuple[Raw, Raw]:
    """A client with a request under way, and the upstream that has seen it."""
    client = world.client()
    client.send(request or post(b'{"model":"m"}'))
    upstream = world.upstream()
    upstream.take()
    return client, upstream


def error_of(answer: bytes) -> dict[str, str]:
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return dict(error)


# -- the client leaves --------------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["close", "die", "half-close"])
@pytest.mark.parametrize("stage", ["before the head", "in a stream", "in a counted body"])
def test_a_client_that_leaves_ends_the_upstreams_work(leave: str, stage: str) -> None:
    world = World()
    client, upstream = begin(world)
    if stage == "in a stream":
        upstream.send(SSE_HEAD + chunk(b"data: 1\n\n"))
    elif stage == "in a counted body":
        upstream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
    world.run()
    server = client.transport.peer.protocol
    if leave == "die":
        server.connection_lost(ConnectionResetError())
    else:
        server.eof_received()
    # In the very call in which it is noticed, not a turn later.
    assert upstream.transport.peer.closing
    world.run()
    assert upstream.is_gone
    assert world.at_rest
    assert world.ended[-1].fault is not None
    assert world.ended[-1].fault.code == "client_gone"


def test_a_client_that_leaves_while_we_dial_costs_nothing() -> None:
    world = World()
    world.accepting = False
    client = world.client()
    client.send(post(b"{}"))
    world.run()
    client.transport.close()
    world.run()
    assert world.at_rest
    # The dial was the pool's: what it brings serves the next request.
    upstream = world.accept()
    second = world.client()
    second.send(post(b"{}"))
    world.run()
    assert upstream.take().startswith(b"POST ")


# -- the upstream dies --------------------------------------------------------------------------


def test_a_cut_stream_ends_with_an_error_event_and_no_terminator() -> None:
    world = World()
    client, upstream = begin(world)
    upstream.send(SSE_HEAD + chunk(b"data: 1\n\n"))
    world.run()
    client.take()
    upstream.transport.close()
    world.run()
    last = client.take()
    assert last.startswith(b"%x\r\ndata: " % (len(last) - 6))
    event = json.loads(last.split(b"\r\n")[1].removeprefix(b"data: "))
    assert event["error"]["code"] == "upstream_disconnected"
    assert not last.endswith(b"0\r\n\r\n")
    assert client.eof
    assert world.at_rest


def test_an_event_that_was_cut_is_ended_before_the_error() -> None:
    world = World()
    client, upstream = begin(world)
    upstream.send(SSE_HEAD + chunk(b'data: {"half'))
    upstream.transport.close()
    world.run()
    assert b'data: {"half\r\n2\r\n\n\n\r\n' in client.take()


def test_messages_streams_get_their_own_kind_of_error() -> None:
    world = World()
    client, upstream = begin(world, post(b"{}", b"/v1/messages"))
    upstream.send(SSE_HEAD)
    upstream.transport.close()
    world.run()
    assert b'event: error\ndata: {"type":"error","error":{' in client.take()


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/messages"])
@pytest.mark.parametrize("split", [whole, bytewise, randomly(1), randomly(2), randomly(3)])
def test_an_error_that_has_been_told_is_not_told_again(path: bytes, split: Split) -> None:
    """An edge gets the error of its core, and then the cut, in whatever pieces."""
    core = World()
    client, upstream = begin(core, post(b"{}", path))
    upstream.send(SSE_HEAD + chunk(b"data: 1\n\n"))
    upstream.transport.close()
    core.run()
    sent = client.take()
    edge = World(split=split)
    client, upstream = begin(edge, post(b"{}", path))
    upstream.send(sent)
    upstream.transport.close()
    edge.run()
    answer, last = client.take(), b"0\r\n\r\n"
    assert not is_complete(answer)
    body = read_response(answer + last)[1]
    assert body == read_response(sent + last)[1]
    assert body.count(b"upstream_disconnected") == 1
    assert client.eof


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\r\r"])
def test_an_error_that_has_been_told_in_a_stream_of_other_line_ends_is_not_told_again(
    end: bytes,
) -> None:
    """Ours ends with line feeds, wherever it stands; the upstream's own as its events do."""
    core = World()
    client, upstream = begin(core)
    upstream.send(SSE_HEAD + chunk(b"data: 1%b" % end))
    upstream.transport.close()
    core.run()
    told = client.take()
    assert told.count(b'"error"') == 1
    for sent in (told, SSE_HEAD + chunk(b'data: 1%bdata: {"error":{}}%b' % (end, end))):
        edge = World()
        client, upstream = begin(edge)
        upstream.send(sent)
        upstream.transport.close()
        edge.run()
        assert client.take().count(b'"error"') == 1
        assert client.eof


@pytest.mark.parametrize(
    "events",
    [
        b'data: {"error":null,"id":"1"}\n\n',
        b'data: {"error": null,"id":"1"}\n\n',
        b'data: {"error":1}\n\ndata: 1\n\n',
    ],
)
def test_a_last_event_that_is_no_error_does_not_hide_that_the_stream_was_cut(
    events: bytes,
) -> None:
    world = World()
    client, upstream = begin(world)
    upstream.send(SSE_HEAD + chunk(events))
    upstream.transport.close()
    world.run()
    assert b"upstream_disconnected" in client.take()


def test_a_coded_stream_is_cut_without_plain_bytes_in_it() -> None:
    world = World()
    client, upstream = begin(world)
    coded = SSE_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    upstream.send(coded + chunk(b"\x1f\x8b"))
    upstream.transport.close()
    world.run()
    assert b"error" not in client.take()
    assert client.eof


RESPONSES = {
    "counted": reply(b"0123456789", b"x-a: 1"),
    "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "events": SSE_HEAD + chunk(b"data: 1\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n",
    "trailers": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nt: 1\r\n\r\n",
}


@pytest.mark.parametrize("how", ["close", "die"])
@pytest.mark.parametrize("kind", list(RESPONSES))
def test_no_cut_looks_like_the_end(kind: str, how: str) -> None:
    """Cut after every byte: the client gets an error, or a body that shows that it was cut."""
    whole = RESPONSES[kind]
    for at in range(len(whole)):
        world = World()
        client, upstream = begin(world)
        upstream.send(whole[:at])
        world.run()
        getattr(upstream.transport, how)()
        world.run()
        answer = client.take()
        if b"\r\n\r\n" not in whole[:at]:
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert error_of(answer)["code"] == "upstream_disconnected"
        else:
            assert client.is_gone
            assert not is_complete(answer)
        assert world.at_rest


def test_a_cut_reply_to_http10_ends_in_a_reset() -> None:
    """Nothing but the connection's end ends such a body, so an orderly end would be a lie."""
    world = World()
    client, upstream = begin(world, b"GET /v1/models HTTP/1.0\r\nhost: h\r\n\r\n")
    upstream.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    world.run()
    upstream.transport.close()
    world.run()
    assert client.was_reset


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\nx: a\n\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * HEADER_BYTES + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 200 + b"\r\n",
    ],
)
def test_broken_replies_are_the_upstreams_fault(response: bytes, split: Split) -> None:
    world = World(split, limits_header_bytes=HEADER_BYTES)
    client, upstream = begin(world)
    upstream.send(response)
    world.run()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert error_of(answer)["code"] == "upstream_protocol_error"
    assert upstream.is_gone
    assert not client.is_gone
    assert world.at_rest


def test_bytes_after_a_reply_do_not_reach_the_next_client() -> None:
    world = World()
    client, upstream = begin(world)
    upstream.send(reply(b"{}") + reply(b"smuggled"))
    world.run()
    assert client.take() == reply(b"{}")
    assert upstream.is_gone
    client.send(post(b"{}"))
    second = world.upstream()
    assert second is not upstream
    second.send(reply(b"honest"))
    world.run()
    assert client.take() == reply(b"honest")


def test_an_early_answer_is_passed_on_though_the_upstream_closes_while_we_write(
    tmp_path: Path,
) -> None:
    """As 413 and 401 come: before the request has been read, with a reset after it."""
    world = World()
    client = world.client()
    client.send(post(b"x" * 500_000)[:300_000])
    upstream = world.upstream()
    (tmp_path / "kernel").write_bytes(reply(b"too large", status=b"413 Too Large"))
    with open(tmp_path / "kernel", "rb") as rest:
        transport_of(upstream).socket.descriptor = rest.fileno()
        upstream.transport.die()
        world.run()
    head, _, body = client.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert body == b"too large"
    assert len(world.upstreams) == 1
    assert world.at_rest


# -- once more, or not --------------------------------------------------------------------------


def reused(world: World) -> tuple[Raw, Raw]:
    """A client and an upstream that have had an exchange with each other."""
    client, upstream = begin(world)
    upstream.send(reply(b"first"))
    world.run()
    client.take()
    return client, upstream


def test_a_retry_is_made_once() -> None:
    world = World()
    client, stale = reused(world)
    client.send(post(b"{}"))
    world.run()
    stale.transport.die()
    world.upstream().transport.die()
    world.run()
    assert client.take().startswith(b"HTTP/1.1 502 ")
    assert len(world.upstreams) == 2
    assert world.at_rest


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.1 103 E\r\n\r\n"])
def test_no_retry_after_a_sign_of_life(said: bytes) -> None:
    world = World()
    client, stale = reused(world)
    client.send(post(b"{}"))
    world.run()
    stale.send(said)
    world.run()
    stale.transport.die()
    world.run()
    assert b"HTTP/1.1 502 " in client.take()
    assert len(world.upstreams) == 1


@pytest.mark.parametrize("pair", [("1.1", "1.1"), ("1.1", "2")])
@pytest.mark.parametrize(("method", "seconds"), [(b"POST", 0.9), (b"POST", 1.1), (b"GET", 50)])
def test_a_request_that_an_upstream_was_at_work_on_is_not_done_twice(
    method: bytes, seconds: float, pair: tuple[str, str]
) -> None:
    """A worker that is killed after a minute closes without a word, too."""
    world = World(pair=pair)
    world.ask(b"{}")
    world.call().reply(b"first")
    world.run()
    ask = world.ask(b"", method=method)
    world.advance(seconds)
    assert len(world.calls) == 2
    world.upstreams[0].transport.die()
    world.run()
    if (method, seconds) == (b"POST", 1.1):
        assert (ask.status, len(world.calls)) == (502, 2)
    else:
        world.call(2).reply(b"second")
        world.run()
        assert (ask.status, ask.body) == (200, b"second")
    assert world.at_rest


def test_no_retry_of_a_body_that_is_no_longer_held() -> None:
    world = World(limits_retry_body=1000)
    client, stale = reused(world)
    client.send(post(b"x" * 1001))
    world.run()
    stale.transport.die()
    world.run()
    assert client.take().startswith(b"HTTP/1.1 502 ")
    assert len(world.upstreams) == 1


def test_without_room_for_bodies_a_request_without_one_is_still_sent_again() -> None:
    world = World(limits_retry_body=0)
    client, stale = reused(world)
    client.send(get())
    world.run()
    stale.transport.die()
    world.upstream().send(reply(b"[]"))
    world.run()
    assert client.take() == reply(b"[]")
    client.send(post(b"x"))
    world.run()
    world.upstream().transport.die()
    world.run()
    assert client.take().startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("is_answered", [False, True])
def test_a_request_that_is_being_answered_is_not_held_any_longer(is_answered: bool) -> None:
    world = World()
    _, upstream = begin(world, post(b"x" * 1000)[:-1])
    (exchange,) = world.proxy._exchanges
    if is_answered:
        upstream.send(SSE_HEAD)
        world.run()
    assert exchange.upload is not None and exchange.upload.halt() is not is_answered


def test_a_body_in_many_pieces_is_held_as_what_it_costs() -> None:
    world = World(limits_retry_body=1000)
    client, stale = reused(world)
    request = post(b"x" * 100)
    client.send(request[:-100])
    for _ in range(100):
        client.send(b"x")
        world.run()
    stale.transport.die()
    world.run()
    assert client.take().startswith(b"HTTP/1.1 502 ")


# -- early answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b'{"x', b""])
def test_the_model_is_seen_that_is_named_after_the_answer_began(first: bytes) -> None:
    world = World()
    body = first + b'{"model":"late"}'
    client, upstream = begin(world, post(body)[: -len(body)] + first)
    upstream.send(SSE_HEAD + chunk(b"data: 1\n\n"))
    world.run()
    client.send(body[len(first) :])
    world.run()
    upstream.send(b"0\r\n\r\n")
    world.run()
    (exchange,) = world.ended
    assert (exchange.model, exchange.bytes_up, exchange.fault) == ("late", len(body), None)


def test_who_goes_on_sending_after_an_early_answer_is_read_and_let_go() -> None:
    """Unread, its bytes would make the kernel throw the answer away, and keep the connection."""
    world = World(timeouts_close=5)
    client = world.client()
    client.half_open = True
    client.send(post(b"x" * 2_000_000)[:400_000])
    upstream = world.upstream()
    upstream.transport.reading = False  # so that a part of the body waits here
    world.run()
    client.send(b"x" * 400_000)
    world.run()
    assert client.transport.under_way
    upstream.send(reply(b"too much", status=b"413 Content Too Large"))
    world.run()
    assert b"too much" in client.take()
    assert not client.transport.under_way
    client.send(b"x" * 400_000)
    world.run()
    assert not client.transport.under_way
    assert (client.eof, world.proxy.connections) == (True, 1)
    world.advance(5.1)
    assert world.proxy.connections == 0
    assert world.at_rest


def test_a_bug_of_ours_is_a_500_and_a_traceback_for_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from m2mproxy.proxy.forwarding import Forwarding

    def fails(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Forwarding, "prepare", fails)
    world = World()
    client = world.client()
    client.send(get())
    world.run()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert error_of(answer)["code"] == "internal_error"
    assert b"a bug" not in answer
    assert isinstance(world.ended[-1].bug, KeyError)
    assert world.at_rest


def test_a_connection_that_its_upstream_is_closing_is_not_used_again() -> None:
    """Between the upstream's end and the loss of the transport lies a turn or more."""
    world = World()
    client, closing = reused(world)
    closing.transport.peer.protocol.eof_received()
    client.transport.peer.protocol.data_received(post(b"{}"))
    fresh = world.upstream()
    assert fresh is not closing
    assert b"POST" not in closing.take()
    fresh.send(reply(b"second"))
    world.run()
    assert client.take() == reply(b"second")
    assert not world.ended[-1].retried


@pytest.mark.parametrize("status", [b"200 OK", b"413 X"])
@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_an_answer_that_leaves_much_unread_says_that_it_is_the_last(
    status: bytes, size: int
) -> None:
    """Or the client's next request would find a connection that has just closed."""
    world = World()
    client, upstream = begin(world, post(b"x" * size)[: -size + 10])
    upstream.send(reply(b"[]", status=status))
    world.run()
    answer = client.take()
    assert answer.endswith(b"\r\n\r\n[]")
    assert (b"\r\nconnection: close\r\n" in answer) == client.eof == (size > 1000)
