"""Replies on a link that repeat what came before them: the reply before, and their requests, of
which the Responses API says instructions and tools again, up to three times."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

import frames
import pytest
from edge import JSON, ON, SSE, Edge
from ends import Ask, Call
from test_link import KEY, conversation, two, words
from world import World

from m2mproxy.link.message import encode
from m2mproxy.proxy import codings, links

INSTRUCTIONS = words(900, 1)
TOOLS = [{"type": "function", "name": words(1, n), "description": words(30, n)} for n in range(9)]
CHAT, PATH = b"/v1/chat/completions", b"/v1/responses"


def request(turn: int, stream: bool = True) -> bytes:
    said = [{"role": "user", "content": words(8, 100 + at)} for at in range(turn + 1)]
    fields = {"model": "m", "instructions": INSTRUCTIONS, "input": said, "tools": TOOLS}
    return json.dumps({**fields, "stream": stream}).encode()


def response(turn: int, output: list[Any] | None = None) -> dict[str, Any]:
    tools = [{**tool, "strict": True} for tool in TOOLS]
    fields = {"id": f"resp_{turn:020}", "object": "response", "instructions": INSTRUCTIONS}
    return {**fields, "output": output or [], "tools": tools}


def event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields}).encode()
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def events(turn: int) -> list[bytes]:
    text = words(40, 200 + turn)
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text"}]}
    item["content"][0]["text"] = text  # type: ignore[index]
    return [
        event("response.created", response=response(turn)),
        event("response.in_progress", response=response(turn)),
        *(event("response.output_text.delta", delta=f"{word} ") for word in text.split()),
        event("response.output_item.done", item=item),
        event("response.completed", response=response(turn, [item])),
    ]


def streamed(edge: Edge, turn: int, body: bytes = b"") -> tuple[Ask, Call]:
    """A turn, each event of which has to be there when it was written."""
    body, said = body or request(turn), b""
    ask = edge.ask(body, PATH, JSON, KEY)
    call = edge.core.call()
    assert call.body == body
    call.respond(200, SSE)
    for each in events(turn):
        call.send(each)
        edge.run()
        said += each
        assert ask.body == said
    call.end()
    edge.run()
    assert ask.complete and ask.get(b"content-encoding") is None
    return ask, call


def begun(edge: Edge, kind: tuple[bytes, bytes]) -> tuple[Ask, Call]:
    """The third turn, which is coded after its request; nothing of the reply but its head is
    there."""
    for turn in range(2):
        streamed(edge, turn)
    ask = edge.ask(request(2), PATH, JSON, KEY)
    call = edge.core.call()
    call.respond(200, kind)
    return ask, call


def replied(edge: Edge) -> tuple[str, int, int]:
    """The form of the last reply between edge and core, and its bytes there and plain."""
    way = edge.ended[-1].ledger.upstream_in  # type: ignore[union-attr]
    return way.coding, way.wire, way.plain


def test_a_stream_that_repeats_its_request_takes_what_is_new_in_it() -> None:
    edge = two()
    for turn in range(4):
        streamed(edge, turn)
        coding, wire, plain = replied(edge)
        assert plain > 35_000
        if turn:
            assert coding == "m2m-link" and wire < 1800
        else:  # it was no link yet
            assert wire > 3000
    assert edge.upstream_links.report()["misses"] == 0
    assert edge.at_rest and edge.core.at_rest


def test_a_whole_reply_that_repeats_its_request_does_so_too() -> None:
    edge = two()
    for turn in range(4):
        body = request(turn, stream=False)
        reply = json.dumps(response(turn)).encode()
        ask, call = edge.exchange(body, reply, KEY, path=PATH)
        assert (call.body, ask.body, ask.complete) == (body, reply, True)
        coding, wire, plain = replied(edge)
        assert plain == len(reply)
        if turn:
            assert coding == "m2m-link" and wire < 400
    assert edge.at_rest and edge.core.at_rest


def completion(message: dict[str, Any], turn: int) -> bytes:
    """What is new in it, beside the message, is short."""
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    same = {"object": "chat.completion", "model": words(3, 1), "system_fingerprint": words(5, 2)}
    return json.dumps({"id": f"chatcmpl-{turn}", "choices": [choice], **same}).encode()


def test_a_reply_takes_what_the_one_before_had_not() -> None:
    edge = two()
    sizes = []
    for turn, (body, message) in enumerate(conversation(5)):
        message["content"] = words(5, turn)
        reply = completion(message, turn)
        ask, call = edge.exchange(body, reply, KEY)
        assert (call.body, ask.body, ask.complete) == (body, reply, True)
        sizes.append(replied(edge)[1])
    assert sizes[0] > 130 and max(sizes[1:]) < 80
    assert edge.upstream_links.report()["misses"] == 0
    assert edge.at_rest and edge.core.at_rest


def test_a_reply_to_another_conversation_takes_all_of_it() -> None:
    edge = two()
    for seed in range(0, 60, 10):
        for turn, (body, message) in enumerate(conversation(1, seed)):
            message["content"] = words(5, seed + turn)
            ask, _ = edge.exchange(body, completion(message, turn), KEY)
            assert ask.complete and replied(edge)[1] > 100


def test_a_stream_begins_small_after_one_of_its_conversation() -> None:
    edge = two()
    sizes = []
    for turn, (body, message) in enumerate(conversation(6)):
        message["content"] = words(5, turn)
        start = json.dumps({"model": words(9, 1), "choices": [{"delta": message}]}).encode()
        ask = edge.ask(body, CHAT, JSON, KEY)
        edge.core.call().reply(b"data: %b\n\ndata: [DONE]\n\n" % start, SSE)
        edge.run()
        assert ask.complete
        sizes.append(replied(edge)[1])
    assert min(sizes[:2]) - max(sizes[2:]) > 30, sizes


def lively(where: str) -> tuple[Edge, World]:
    """Two or three instances, of which one gives signs of life; and the last of them."""
    speaks = {**ON, "sse_keepalive": 15}
    if where == "between":
        core = World(**ON)
        return Edge(Edge(core, "2", **speaks), "2"), core
    core = World(**{**speaks, **({"compression_responses": "off"} if where == "uncoded" else {})})
    return Edge(core, "2"), core


@pytest.mark.parametrize("where", ["core", "uncoded", "between"])
def test_a_sign_of_life_within_a_reply_does_not_spoil_the_next_one(where: str) -> None:
    """Who sees it does not know that it is no part of the reply; who gives it knows the reply
    without it."""
    edge, core = lively(where)
    alive = []
    for turn, (body, message) in enumerate(conversation(6)):
        message["content"] = words(5, turn)
        start = json.dumps({"model": words(9, 1), "choices": [{"delta": message}]}).encode()
        said = [b'data: {"choices": []}\n\n', b"data: %b\n\n" % start, b"data: [DONE]\n\n"]
        ask = edge.ask(body, CHAT, JSON, KEY)
        call = core.call()
        call.respond(200, SSE)
        for each in said:
            call.send(each)
            edge.run()
            edge.advance(31 if turn < 4 else 1)
        call.end()
        edge.run()
        alive.append(b":\n\n" in ask.body)
        assert ask.body.replace(b":\n\n", b"") == b"".join(said)
        assert ask.complete
    assert edge.upstream_links.report()["misses"] == 0
    assert alive[3] and not any(alive[4:])
    coding, size, _ = replied(edge)
    assert coding == "identity" or size < 130  # after the fifth, which has no sign


@pytest.mark.parametrize("where", ["core", "between"])
def test_a_sign_of_life_after_lines_that_end_otherwise_does_not_spoil_the_next_reply(
    where: str,
) -> None:
    """An event may end with two carriage returns, after which the sign is the end of a line that
    begins with something else."""
    edge, core = lively(where)
    alive = []
    for turn, (body, message) in enumerate(conversation(4)):
        start = json.dumps({"model": words(9, 1), "choices": [{"delta": message}]}).encode()
        said = [b"data: %b\n\n" % start, b"data: and\r\r", b"data: [DONE]\n\n"]
        ask = edge.ask(body, CHAT, JSON, KEY)
        call = core.call()
        call.respond(200, SSE)
        for at, each in enumerate(said):
            call.send(each)
            edge.run()
            edge.advance(16 if turn < 2 and at == 1 else 1)  # one sign, and no second one
        call.end()
        edge.run()
        alive.append(b"\r\r:\n\n" in ask.body)
        assert ask.body.replace(b":\n\n", b"") == b"".join(said)
        assert ask.complete
    assert alive[1] and not any(alive[2:])


def test_an_endless_or_large_body_has_the_form_that_it_has_elsewhere() -> None:
    edge = two()
    for turn in range(3):
        streamed(edge, turn)
    long = json.dumps(response(3, [words(40_000, 1)])).encode()
    ask, _ = edge.exchange(request(3, False), long, KEY, path=PATH)
    assert ask.body == long and replied(edge)[0] == codings.static_form().decode()
    ask = edge.ask(request(3), PATH, JSON, KEY)
    call = edge.core.call()
    call.respond(200, JSON)
    call.send(json.dumps(response(3)).encode())
    call.end()
    edge.run()
    assert ask.complete and replied(edge)[0] == codings.static_form().decode()


@pytest.mark.parametrize("size", [3000, 300_000, 3_000_000])
def test_a_reply_that_came_coded_may_be_larger_than_it_looks(size: int) -> None:
    edge = two()
    for turn in range(3):
        reply = json.dumps(response(turn)).encode().ljust(size)
        ask = edge.ask(request(turn, False), PATH, JSON, KEY)
        edge.core.call().reply(gzip.compress(reply), JSON, (b"content-encoding", b"gzip"))
        edge.run()
        assert ask.complete and ask.body == reply
    assert replied(edge)[0] == codings.static_form().decode()


def test_only_our_own_forms_are_replaced() -> None:
    events, whole = codings.Kind.EVENTS, codings.Kind.BODY
    ours = [codings.static_form()]
    assert codings.after_request(ours, whole, 3000) == [codings.LINK]
    for names, kind, size in ((ours, events, 3000), ([b"gzip"], whole, 3000), ([], events, None)):
        assert codings.after_request(names, kind, size) == names


def test_an_edge_that_does_not_read_them_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "READS_AFTER", 0x4DFF)
    edge = two()
    for turn in range(3):
        streamed(edge, turn)
    assert replied(edge)[0] == codings.events_form().decode()


@pytest.mark.parametrize("late", [False, True])
def test_what_an_edge_says_counts_for_the_requests_after_it(late: bool) -> None:
    world = World(pair=("2", "1.1"), **ON)
    world.ask()
    client = world.askers[0]
    says = frames.setting_codes({links.READS_AFTER: 1})
    if not late:
        client.send(says)
    fields = JSON, (b"content-encoding", b"m2m-link"), (b"accept-encoding", codings.static_form())
    ask = world.ask(b"", PATH, *fields, whole=False, counted=False)
    if late:
        client.send(says)
        world.run()
    ask.send(encode(request(1)).message(0))
    ask.end()
    world.call().reply(json.dumps(response(1)).encode(), JSON)
    world.run()
    coding = codings.static_form() if late else b"m2m-link"
    assert (ask.status, ask.get(b"content-encoding")) == (200, coding)


@pytest.mark.parametrize("size", [200_000, 5_000_000])
def test_a_long_request_is_repeated_for_little_too(size: int) -> None:
    edge = two()
    for turn in range(3):
        noise = random.Random(9).randbytes(size // 2).hex()
        body = request(turn)[:-1] + b',"noise":"%b"}' % noise.encode()
        streamed(edge, turn, body)
    assert replied(edge)[0] == "m2m-link" and replied(edge)[1] < 2000


def test_an_edge_that_codes_no_responses_reads_them_too() -> None:
    """Its client is another m2mproxy, of which the core sees what it asks for."""
    edge = Edge(World(**ON), "2", compression_responses="off")
    asks = (b"accept-encoding", codings.static_form() + b", " + codings.events_form())
    for turn in range(3):
        reply = json.dumps(response(turn)).encode()
        ask, _ = edge.exchange(request(turn, False), reply, KEY, asks, path=PATH)
        assert ask.complete
        if turn:
            assert replied(edge)[0] == "m2m-link"
            assert ask.body == reply and ask.get(b"content-encoding") is None
    assert edge.at_rest and edge.core.at_rest


def test_what_the_core_does_not_see_of_a_reply_is_not_referred_to() -> None:
    """An instance between two others sees it all the same, if it decodes it for its own client."""
    core = World(**{**ON, "compression_responses": "off"})
    middle = Edge(core, "2")
    edge = Edge(middle, "2")
    for body, message in conversation(4):
        ask = edge.ask(body, PATH, JSON, KEY)
        coded = gzip.compress(json.dumps({"choices": [{"message": message}]}).encode())
        core.call().reply(coded, JSON, (b"content-encoding", b"gzip"))
        edge.run()
        assert ask.status == 200 and core.calls[-1].body == body
    ledgers = [each.ended[-1].ledger for each in (edge, middle)]
    near, far = [ledger.reference for ledger in ledgers if ledger is not None]
    assert near.endswith("r") and far.isdigit()
    assert middle.upstream_links.report()["misses"] == 0


@pytest.mark.parametrize("status", [200, 206])
def test_a_reply_for_a_link_without_one_is_an_error(status: int) -> None:
    for fields in ((), ((b"accept-encoding", b"m2m-link"),)):
        world = World(**ON)
        ask = world.ask(b"{}", PATH, JSON, *fields)
        coding = (b"content-encoding", b"m2m-link")
        world.call().reply(b"\0\0\0", JSON, coding, status=status)
        world.run()
        assert ask.status == 502
        assert json.loads(ask.body)["error"]["code"] == "upstream_protocol_error"


def test_a_stream_that_is_cut_in_a_large_event_does_not_look_complete() -> None:
    edge = two()
    ask, call = begun(edge, SSE)
    first, *_, last = events(2)
    call.send(first + last[: len(last) // 2])
    edge.run()
    assert ask.body == first + last[: len(last) // 2]
    call.abort()
    edge.run()
    assert ask.broken and ask.body.startswith(first + last[: len(last) // 2])
    streamed(edge, 3)
    assert edge.at_rest and edge.core.at_rest


def test_nothing_of_the_request_is_held_when_the_reply_has_begun() -> None:
    edge = two()
    ask, call = begun(edge, JSON)
    edge.run()
    for world in (edge, edge.core):
        [exchange] = world.proxy._exchanges
        linked = exchange.linked
        assert linked is not None and linked._before is None
        assert linked.turn is None or linked.turn.before is None
    call.end()
    edge.run()
    assert ask.complete
