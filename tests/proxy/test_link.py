"""m2m-link between two proxies: each byte of a conversation crosses once, and whatever becomes of
the link, the application and the model see what they would see without it."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from edge import JSON, ON, SSE, Edge
from ends import Ask, Call
from known_words import Words
from world import World

from m2mproxy.guard.scanner import Scanner
from m2mproxy.http.flow import Signal
from m2mproxy.link.core import Core
from m2mproxy.link.edge import Edge as LinkEdge
from m2mproxy.link.message import encode
from m2mproxy.net.h2_engine import MAX_STREAMS
from m2mproxy.proxy import codings, links

KEY = (b"authorization", b"Bearer a")


def two(announce: dict[int, int] | None = None, **more: Any) -> Edge:
    return Edge(World(announce=announce, **ON, **more), "2", **more)


def words(count: int, seed: int) -> str:
    source = random.Random(seed)
    return " ".join(f"{source.getrandbits(30):x}" for _ in range(count))


def conversation(turns: int, seed: int = 0) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Bodies, each with the reply that the next one has."""
    history = [{"role": "system", "content": words(100, seed)}]
    for turn in range(turns):
        history.append({"role": "user", "content": words(10, seed + turn + 1)})
        body = {"model": "m", "messages": history}
        message = {"role": "assistant", "content": words(50, seed - turn - 1)}
        yield json.dumps(body).encode(), message
        history.append(message)


def say(edge: Edge, body: bytes, message: dict[str, Any], *fields: tuple[bytes, bytes]) -> Ask:
    """One turn, answered in JSON; checks that nothing was changed."""
    reply = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
    ask, call = edge.exchange(body, reply, *(fields or (KEY,)))
    check(ask, call, body, reply)
    return ask


def check(ask: Ask, call: Call, body: bytes, reply: bytes) -> None:
    assert call.body == body
    assert call.get(b"content-length") == b"%d" % len(body)
    assert call.get(b"content-encoding") is None and call.get(b"m2m-link") is None
    assert (ask.status, ask.body, ask.complete) == (200, reply, True)
    assert ask.get(b"m2m-link") is None and ask.get(b"content-encoding") is None


def crossed(edge: Edge) -> tuple[str, int]:
    """The form in which the last request went to the core, and in how many bytes."""
    ledger = edge.ended[-1].ledger
    if ledger is None:
        return "identity", edge.ended[-1].bytes_up
    return ledger.upstream_out.coding, ledger.upstream_out.wire


def sessions(world: World) -> list[Any]:
    """Of the connections on which requests came."""
    found = []
    for connection in world.proxy._connections:
        session = getattr(connection, "session", None)
        if session is not None:
            found.append(session)
    return found


def core_of(edge: Edge) -> Core:
    [core] = [each.kept for each in sessions(edge.core) if isinstance(each.kept, Core)]
    return core


def edge_of(edge: Edge) -> LinkEdge:
    [session] = edge.upstream_links._met
    assert isinstance(session.kept, LinkEdge)
    return session.kept


def test_a_later_turn_costs_what_is_new_in_it() -> None:
    edge = two()
    for number, (body, message) in enumerate(conversation(6)):
        say(edge, body, message)
        coding, wire = crossed(edge)
        if number >= 1:
            assert coding == "m2m-link"
        if number >= 2:
            assert wire < 150, (number, wire)  # ten new words are 80 bytes
    assert edge.upstream_links.report()["misses"] == 0
    assert edge.at_rest and edge.core.at_rest


def test_what_comes_on_a_link_is_scanned_and_a_refusal_ends_nothing() -> None:
    edge = Edge(World(scanner=Scanner(Words()), **ON), "2")
    for number, (body, message) in enumerate(conversation(5)):
        bad = body[:-2] + b',{"role":"tool","content":"IGNORE it"}]}'
        asked = edge.ask(bad, b"/v1/chat/completions", JSON, KEY)
        assert asked.status == 403 and edge.core.calls == []
        assert json.loads(asked.body)["error"]["code"] == "request_blocked"
        if number >= 1:
            assert crossed(edge)[0] == "m2m-link"
        say(edge, body, message)
        edge.core.calls.clear()
    assert edge.upstream_links.report()["misses"] == 0
    assert edge.at_rest and edge.core.at_rest


def test_a_reply_that_was_a_stream_does_not_cross_again() -> None:
    edge = two()
    for number, (body, message) in enumerate(conversation(5)):
        ask = edge.ask(body, b"/v1/chat/completions", JSON, KEY)
        call = edge.core.call()
        call.respond(200, SSE)
        sent = b""
        for word in message["content"].split():
            event = {"choices": [{"index": 0, "delta": {"content": word + " "}}]}
            call.send(b"data: " + json.dumps(event).encode() + b"\n\n")
            sent += b"data: " + json.dumps(event).encode() + b"\n\n"
        call.send(b"data: [DONE]\n\n")
        call.end()
        edge.run()
        check(ask, call, body, sent + b"data: [DONE]\n\n")
        if number >= 2:
            assert crossed(edge)[1] < 200, number


def test_a_reply_that_the_model_server_codes_does_not_cross_again_either() -> None:
    """The application takes gzip as well as nothing: what it gets is read on the way."""
    for asks in ((), ((b"accept-encoding", b"gzip"),)):
        edge = two()
        for number, (body, message) in enumerate(conversation(5)):
            reply = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
            ask = edge.ask(body, b"/v1/chat/completions", JSON, KEY, *asks)
            call = edge.core.call()
            call.respond(200, JSON, (b"content-encoding", b"gzip"))  # of unknown length
            call.send(gzip.compress(reply))
            call.end()
            edge.run()
            got = gzip.decompress(ask.body) if ask.get(b"content-encoding") else ask.body
            assert (call.body, got, ask.complete) == (body, reply, True)
            if number >= 2:
                assert crossed(edge)[1] < 150, number
        assert edge.upstream_links.report()["misses"] == 0


def test_what_must_not_be_transformed_is_not_opened_to_be_read() -> None:
    edge = two()
    for body, message in conversation(3):
        reply = gzip.compress(json.dumps({"choices": [{"index": 0, "message": message}]}).encode())
        ask = edge.ask(body, b"/v1/chat/completions", JSON, KEY, (b"accept-encoding", b"gzip"))
        how = (b"content-encoding", b"gzip"), (b"cache-control", b"no-transform")
        edge.core.call().reply(reply, JSON, *how)
        edge.run()
        assert (ask.body, ask.complete, ask.get(b"content-encoding")) == (reply, True, b"gzip")
    assert crossed(edge)[0] == "m2m-link"
    assert edge.upstream_links.report()["misses"] == 0


def test_trailers_of_a_request_reach_the_model_server() -> None:
    edge = Edge(World(pair=("2", "2"), **ON), "2", **ON)
    for body, message in conversation(2):
        say(edge, body, message)
    body = b'{"model":"m","prompt":"%b"}' % (b"x" * 100)
    length = (b"content-length", b"%d" % len(body))
    ask = edge.ask(body, b"/v1/completions", JSON, KEY, length, whole=False, counted=False)
    ask.send(body)
    ask.end((b"x-sum", b"1"))
    call = edge.core.call()
    assert (call.body, call.trailers) == (body, [(b"x-sum", b"1")])
    call.reply(b"{}", JSON)
    edge.run()
    assert ask.complete


def test_a_core_that_hears_otherwise_is_no_longer_believed_to_know_replies() -> None:
    edge = two()
    for body, message in conversation(12):
        say(edge, body, message)
        if edge.upstream_links.is_open and crossed(edge)[0] == "m2m-link":
            for entry in core_of(edge)._window._all.entries.values():
                entry.reply = entry.reply[::-1]
    assert edge.upstream_links.report()["misses"] == 3
    assert crossed(edge)[0] == "m2m-link"


def test_a_link_is_found_from_http_1_1_without_being_configured() -> None:
    edge = Edge(World(**ON), "1.1", **ON)
    for number, (body, message) in enumerate(conversation(6)):
        say(edge, body, message)
        if number >= 3:
            assert crossed(edge)[0] == "m2m-link"
            assert crossed(edge)[1] < 150
    assert len(edge.wires) == 2


def test_another_credential_starts_from_nothing() -> None:
    edge = two()
    bodies = list(conversation(3))
    for body, message in bodies:
        say(edge, body, message)
    before = crossed(edge)[1]
    say(edge, *bodies[-1], (b"authorization", b"Bearer b"))
    assert crossed(edge)[0] == "m2m-link"
    assert crossed(edge)[1] > 5 * before


def test_the_text_of_an_error_is_not_remembered() -> None:
    edge = two()
    for body, message in conversation(2):
        say(edge, body, message)
    told = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
    ask = edge.ask(body, b"/v1/chat/completions", JSON, KEY)
    edge.core.call().reply(told, JSON, status=500)
    edge.run()
    assert (ask.status, ask.body) == (500, told)
    (entry,) = edge_of(edge)._window._all.entries.values()
    assert (entry.body, entry.reply, entry.usable) == (body, b"", True)


def test_what_does_not_get_smaller_goes_plain() -> None:
    edge = two()
    for body, message in conversation(2):
        say(edge, body, message)
    noise = random.Random(1).randbytes(3000)
    say(edge, noise, {"role": "assistant", "content": "what?"})
    assert crossed(edge) == ("identity", len(noise))


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    edge = two()
    for body, message in conversation(2):
        say(edge, body, message)
    expect = (b"expect", b"100-continue")
    ask = edge.ask(body, b"/v1/chat/completions", JSON, KEY, expect, whole=False)
    edge.run()
    assert ask.informational == [100] and len(edge.core.calls) == 2  # asked here, and only once
    ask.send(body)
    ask.end()
    call = edge.core.call()
    call.reply(b"{}", JSON)
    edge.run()
    assert (call.body, call.get(b"expect"), ask.body) == (body, None, b"{}")
    assert crossed(edge)[0] == "m2m-link"


def test_a_body_that_waits_for_a_connection_is_held_once() -> None:
    edge = two(limits_upstream_connections=1)
    for body, message in conversation(2):
        say(edge, body, message)
    for _ in range(MAX_STREAMS):  # of the one connection
        edge.ask(body, b"/v1/chat/completions", JSON, KEY, new=True)
    large = b'{"prompt":"%b"}' % (b"x" * (2 << 20))
    tracemalloc.start()
    ask = edge.ask(large, b"/v1/completions", JSON, KEY, new=True)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not ask.head and edge.pool.counts()["http://upstream:9"]["waiting"] == 1
    assert len(large) < taken < 1.5 * len(large)


def test_time_for_a_connection_does_not_go_on_while_the_body_is_coded_for_it() -> None:
    core = World(limits_upstream_connections=200, **ON)
    edge = Edge(core, "2", limits_upstream_connections=1, timeouts_pool=10)
    bodies = list(conversation(3))
    for body, message in bodies:
        say(edge, body, message)
    asks = [
        edge.ask(bodies[-1][0], b"/v1/chat/completions", JSON, KEY, new=True)
        for _ in range(MAX_STREAMS + 1)
    ]
    edge.advance(9)
    coded: Signal[None] = Signal()

    async def run(size: int, work: Callable[[], Any]) -> Any:
        await coded
        return work()

    edge.context.offload.run = run  # type: ignore[method-assign]
    asks[0].abort()
    edge.advance(2)
    assert not asks[-1].head
    coded.set(None)
    edge.run()
    assert not asks[-1].head and len(core.calls) == 3 + MAX_STREAMS + 1


@pytest.mark.parametrize("more", [b"?alt=json&Key=%b", b"?api-key=%b&x=1", b"?access_token=%b"])
def test_a_key_in_the_query_is_a_credential(more: bytes) -> None:
    edge = two()
    body, message = next(conversation(1))
    say(edge, body, message)  # the link is found
    sizes = []
    for key in (b"a", b"a", b"b", b"b"):
        ask, call = edge.exchange(body, b"{}", path=b"/v1/chat/completions" + more % key)
        check(ask, call, body, b"{}")
        sizes.append(crossed(edge)[1])
    edge.exchange(body, b"{}", path=b"/v1/chat/completions?" + more[1:] % b"b" + b"&user=1")
    sizes.append(crossed(edge)[1])
    assert sizes[1] < 50 > sizes[3]
    assert sizes[2] > 5 * sizes[1]
    assert sizes[4] < 50  # what is no key in the query makes no difference


def test_what_the_core_forgot_is_sent_again_and_nobody_notices() -> None:
    edge = two()
    bodies = list(conversation(5))
    for body, message in bodies[:3]:
        say(edge, body, message)
    window = core_of(edge)._window
    while window.drop_oldest():
        pass
    say(edge, *bodies[3])
    assert edge.upstream_links.report()["misses"] == 1
    assert edge.ended[-1].retried
    assert crossed(edge)[0] == "m2m-link"
    say(edge, *bodies[4])
    assert edge.upstream_links.report()["misses"] == 1
    assert crossed(edge)[1] < 150
    assert edge.at_rest and edge.core.at_rest


def test_an_entry_that_differs_is_missed_and_nothing_of_it_is_forwarded() -> None:
    edge = two()
    bodies = list(conversation(4))
    for body, message in bodies[:3]:
        say(edge, body, message)
    for entry in core_of(edge)._window._all.entries.values():
        entry.body = entry.body.replace(b"role", b"r0le")
    say(edge, *bodies[3])
    assert edge.upstream_links.report()["misses"] == 1


@pytest.mark.parametrize("status", [400, 409, 415, 422])
@pytest.mark.parametrize("said", [None, b"miss"])
def test_a_core_that_reads_nothing_is_asked_once(status: int, said: bytes | None) -> None:
    world = World(pair=("1.1", "2"), **ON)
    world.upstream_settings = dict(world.links.announce)
    fields = [(b"m2m-link", said)] if said else []
    for number, (body, _) in enumerate(conversation(3)):
        ask = world.ask(body, b"/v1/chat/completions", JSON, KEY)
        for _ in range(2 if said == b"miss" else 1):
            if number == 1:
                assert world.call().get(b"content-encoding") == b"m2m-link"
                world.call().reply(b"", *fields, status=status)
        call = world.call()
        assert call.body == body and call.get(b"content-encoding") is None
        call.reply(b"{}", JSON)
        world.run()
        assert (ask.status, ask.body) == (200, b"{}")
    assert world.links.report()["memory"] == 0 and not world.upstream_links.is_open


def test_a_core_that_was_restarted_answers_as_before() -> None:
    edge = two()
    bodies = list(conversation(6))
    for body, message in bodies[:3]:
        say(edge, body, message)
    for wire in edge.wires:
        wire.die()
    edge.run()
    for body, message in bodies[3:]:
        say(edge, body, message)
    assert crossed(edge) == ("m2m-link", crossed(edge)[1])
    assert edge.upstream_links.report()["links"] == 1


def test_memory_goes_with_the_connection() -> None:
    edge = two()
    for body, message in conversation(3):
        say(edge, body, message)
    assert edge.links.report()["memory"] != 0
    assert edge.core.links.report()["memory"] != 0
    for wire in edge.wires:
        wire.die()
    edge.run()
    assert edge.links.report()["memory"] == edge.core.links.report()["memory"] == 0


@pytest.mark.parametrize("status", [400, 401, 409, 422, 500])
def test_an_error_of_the_model_server_is_passed_on_and_not_tried_again(status: int) -> None:
    edge = two()
    bodies = list(conversation(4))
    for body, message in bodies[:3]:
        say(edge, body, message)
    ask = edge.ask(bodies[3][0], b"/v1/chat/completions", JSON, KEY)
    call = edge.core.call()
    call.reply(b'{"error":{}}', JSON, status=status)
    edge.run()
    assert (ask.status, ask.body) == (status, b'{"error":{}}')
    assert not edge.ended[-1].retried
    assert edge.at_rest and edge.core.at_rest


@pytest.mark.parametrize("status", [400, 409, 415, 422])
def test_a_body_that_is_too_large_to_be_remembered_is_forwarded_once(status: int) -> None:
    edge = two(link_credential_memory="64KiB")
    for body, message in conversation(2):
        say(edge, body, message)
    large = json.dumps({"model": "m", "prompt": words(12_000, 1)}).encode()
    ask = edge.ask(large, b"/v1/chat/completions", JSON, KEY)
    edge.core.call().reply(b'{"error":{}}', JSON, status=status)
    edge.run()
    assert crossed(edge)[0] == "m2m-link"
    assert len(edge.core.calls) == 3 and not edge.ended[-1].retried
    assert (ask.status, ask.body) == (status, b'{"error":{}}')


def test_a_frame_that_is_long_to_decode_is_decoded_elsewhere() -> None:
    """Of nothing: blocks that have no bytes."""
    world = World(pair=("2", "1.1"), **ON)
    blocks = bytes(3 * 100_000)
    message = b"\x00\x01" + bytes(4) + blocks + b"\x01\x00\x00"
    coding = (b"content-encoding", b"m2m-link")
    world.ask(message, b"/v1/chat/completions", coding)
    assert world.call().body == b""
    assert world.context.offload.sizes[0] > len(blocks)  # type: ignore[attr-defined]


def test_a_body_is_looked_at_elsewhere_if_it_is_large() -> None:
    edge = two()
    for body, message in conversation(2):
        say(edge, body, message)
    large = json.dumps({"model": "m", "prompt": words(60_000, 1)}).encode()
    for world in (edge, edge.core):
        world.context.offload.sizes.clear()  # type: ignore[attr-defined]
    say(edge, large, {"content": "x"})
    finding, choosing, coding = edge.context.offload.sizes  # type: ignore[attr-defined]
    assert finding == coding == len(large) // 4
    assert choosing > len(large)  # of what the conversation before may have in common with it
    assert edge.core.context.offload.sizes[0] == len(large)  # type: ignore[attr-defined]


@pytest.mark.parametrize("other", [{}, {links.SETTING: 1 << 24 | 1024}, {links.DICTIONARIES: 1}])
def test_a_core_of_another_version_gets_what_both_know(other: dict[int, int]) -> None:
    announce = {**World().links.announce, **other} if other else {}
    edge = two(announce)
    for body, message in conversation(3):
        say(edge, body, message)
    assert crossed(edge)[0] == codings.static_form().decode()
    assert crossed(edge)[0] != "m2m-link"


def test_links_can_be_switched_off_at_either_end() -> None:
    for more in ({"core": "false"}, {"edge": "false"}):
        core = World(**ON, link_enabled=more.get("core", "true"))
        edge = Edge(core, "2", link_enabled=more.get("edge", "true"))
        for body, message in conversation(3):
            say(edge, body, message)
        assert crossed(edge)[0] != "m2m-link"


def test_a_request_that_the_application_leaves_does_no_harm() -> None:
    edge = two()
    bodies = list(conversation(6))
    for number, (body, message) in enumerate(bodies):
        if number in (2, 4):
            ask = edge.ask(body, b"/v1/chat/completions", JSON, KEY)
            edge.core.call()
            ask.abort()
            edge.run()
        say(edge, body, message)
    assert crossed(edge)[1] < 150
    assert edge.upstream_links.report()["misses"] == 0
    assert edge.at_rest and edge.core.at_rest


def test_conversations_side_by_side_do_not_disturb_each_other() -> None:
    edge = two()
    talks = [list(conversation(5, 1000 * seed)) for seed in range(4)]
    for turn in range(5):
        for talk in talks:
            say(edge, *talk[turn])
            if turn >= 2:
                assert crossed(edge)[1] < 150
    assert edge.upstream_links.report()["misses"] == 0


def test_an_edge_that_waits_to_be_asked_for_its_message_is_asked() -> None:
    world = World(pair=("2", "1.1"), **ON)
    body = b'{"messages":[]}'
    fields = (b"content-encoding", b"m2m-link"), (b"expect", b"100-continue"), JSON
    ask = world.ask(b"", b"/v1/chat/completions", *fields, whole=False, counted=False)
    assert ask.informational == [100]
    ask.send(encode(body).message(0))
    ask.end()
    assert (world.call().body, world.call().get(b"expect")) == (body, None)
    world.call().reply(b"{}", JSON)
    world.run()
    assert (ask.status, ask.informational) == (200, [100])


@pytest.mark.parametrize("pair", [("1.1", "1.1"), ("2", "1.1")])
def test_a_body_that_only_looks_like_a_links_is_refused(pair: Any) -> None:
    world = World(pair=pair, **ON)
    coding = (b"content-encoding", b"m2m-link")
    ask = world.ask(b"\x00\x05nonsense", b"/v1/chat/completions", coding)
    world.run()
    assert ask.status == (415 if pair[0] == "1.1" else 400)
    assert json.loads(ask.body)["error"]["code"] in ("unsupported_coding", "undecodable_body")
    assert world.at_rest


@pytest.mark.parametrize("others", [(b"identity",), (b"gzip",), (b"m2m-link",)])
def test_a_body_in_a_links_coding_and_another_is_refused(others: tuple[bytes, ...]) -> None:
    world = World(pair=("2", "1.1"), **ON)
    body = encode(b'{"messages":[]}').message(0)
    fields = [(b"content-encoding", coding) for coding in (b"m2m-link", *others)]
    ask = world.ask(body, b"/v1/chat/completions", *fields)
    world.run()
    assert ask.status == 415
    assert json.loads(ask.body)["error"]["code"] == "unsupported_coding"
    assert world.at_rest


def test_an_upstream_cannot_speak_to_the_application_of_links() -> None:
    world = World(**ON)
    ask = world.ask(b"{}")
    call = world.call()
    call.reply(b"{}", (b"m2m-link", b"have"))
    world.run()
    assert ask.get(b"m2m-link") is None


def remembered(edge: Edge) -> set[tuple[bytes, bytes]]:
    """The fields that the core's end of each connection has in its compression's memory."""
    return {
        tuple(field)
        for connection in edge.core.proxy._connections
        for field in connection._engine.decoder.header_table.dynamic_entries
    }


@pytest.mark.parametrize(
    ("field", "is_kept"),
    [
        ((b"authorization", b"Bearer " + b"k" * 33), True),
        ((b"x-api-key", b"k" * 40), True),
        ((b"authorization", b"Bearer " + b"k" * 32), False),  # it could be guessed
        ((b"authorization", b"Bearer " + b"k" * 506), False),  # other fields need the room
        ((b"cookie", b"k" * 40), False),
    ],
)
def test_a_long_key_crosses_a_link_once(field: tuple[bytes, bytes], is_kept: bool) -> None:
    edge = two()
    for number, (body, message) in enumerate(conversation(3)):
        say(edge, body, message, field)
        assert (field in remembered(edge)) == (is_kept and number > 0), number


def test_a_key_is_not_remembered_where_there_is_no_link() -> None:
    """Whatever stands at the other end could let others guess it."""
    edge = two(link_enabled=False)
    field = (b"authorization", b"Bearer " + b"k" * 33)
    for body, message in conversation(3):
        say(edge, body, message, field)
    assert remembered(edge) and field not in remembered(edge)


# -- what is held, and what is only between the two ------------------------------------------------


def test_what_the_application_coded_goes_on_the_link_all_the_same() -> None:
    """The core would read gzip as well: as it came it goes only where no link is known."""
    edge = two()
    coding = (b"content-encoding", b"gzip")
    for turn, (body, message) in enumerate(conversation(5)):
        reply = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
        ask = edge.ask(gzip.compress(body), b"/v1/chat/completions", JSON, KEY, coding)
        call = edge.core.call()
        call.reply(reply, JSON)
        edge.run()
        check(ask, call, body, reply)
        assert edge.ended[-1].ledger.client_in.coding == "gzip"
        form, wire = crossed(edge)
        assert form == ("m2m-link" if turn else "identity")
    assert wire < 120
    ask, call = edge.exchange(gzip.compress(body), b"{}", KEY, coding, path=b"/v1/embeddings")
    assert (ask.status, call.body) == (200, body)
    assert edge.ended[-1].ledger is None, "it was read on the way"


@pytest.mark.parametrize("taken", [(), ((b"accept-encoding", b"gzip, zstd"),)])
def test_what_a_core_reads_is_not_told_to_the_application(taken: tuple[Any, ...]) -> None:
    for edge in (two(), Edge(World(**ON), "1.1")):
        for body, message in conversation(3):
            ask, _ = edge.exchange(body, json.dumps(message).encode(), KEY, *taken)
            assert (ask.status, ask.get(b"accept-encoding")) == (200, None)


def test_what_another_upstream_reads_is_told() -> None:
    world = World(**ON)
    ask = world.ask(b"{}")
    world.call().reply(b"{}", (b"accept-encoding", b"gzip"))
    world.run()
    assert ask.get(b"accept-encoding") == b"gzip"


def test_bodies_are_held_until_their_answer_begins() -> None:
    edge = two()
    for body, message in conversation(2):
        say(edge, body, message)
    holds = edge.context.holds
    assert holds.report() == {"bytes": 0, "refused": 0}
    [(body, message)] = conversation(1, seed=9)
    ask = edge.ask(body, b"/v1/chat/completions", JSON, KEY)
    call = edge.core.call()
    assert holds.report()["bytes"] == len(body)
    call.respond(200, SSE)
    edge.run()
    assert holds.report()["bytes"] == 0
    call.end()
    edge.run()
    assert ask.complete


def test_a_body_for_which_there_is_no_room_passes_as_it_is() -> None:
    edge = two()
    turns = list(conversation(4))
    for body, message in turns[:2]:
        say(edge, body, message)
    holds = edge.context.holds
    assert holds.room.take(holds.room.free - 100)
    say(edge, *turns[2])
    ledger = edge.ended[-1].ledger
    assert ledger is not None and ledger.why == "no room"
    assert crossed(edge)[1] == len(turns[2][0])
    assert holds.report() == {"bytes": holds.most - 100, "refused": 1}
    holds.room.give(holds.most - 100)
    say(edge, *turns[3])
    assert crossed(edge)[0] == "m2m-link" and holds.refused == 1


@pytest.mark.parametrize("moment", ["held", "answered"])
def test_room_is_given_back_however_a_request_ends(moment: str) -> None:
    edge = two()
    for body, message in conversation(2):
        say(edge, body, message)
    [(body, _)] = conversation(1, seed=9)
    ask = edge.ask(body, b"/v1/chat/completions", JSON, KEY)
    edge.run()
    if moment == "answered":
        edge.core.call().respond(200, SSE)
        edge.run()
    ask.abort()
    edge.run()
    assert edge.context.holds.report() == {"bytes": 0, "refused": 0}
