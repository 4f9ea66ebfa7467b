"""DATA frames that are longer than what is there: written for a peer that takes their bytes as they
come, and read so."""

from __future__ import annotations

import json
from typing import Any

import frames
import pytest
from edge import JSON, ON, SSE, Edge
from ends import Ask, Call
from frames import FrameClient
from hyperframe.frame import DataFrame, HeadersFrame
from hypothesis import given
from hypothesis import strategies as st
from link import SPLITS, Split
from world import World

from m2mproxy.codec.base import WireError
from m2mproxy.codec.events import EventsDecoder
from m2mproxy.net.h2_budget import FrameBudget
from m2mproxy.net.h2_engine import READS_PIECES
from m2mproxy.net.h2_frames import AnyFrame, Data, FrameError, FrameReader, Settings
from m2mproxy.proxy import codings
from m2mproxy.proxy.links import READS_AFTER

HEAD = frames.settings()


def reader(in_pieces: bool = True) -> FrameReader:
    return FrameReader(FrameBudget(lambda: 0.0, 100, 1), 4096, in_pieces)


def read(parts: Any, in_pieces: bool = True) -> list[AnyFrame]:
    source = reader(in_pieces)
    return [frame for part in parts for frame in source.feed(part)]


# -- reading ---------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=300), st.booleans(), st.randoms(use_true_random=False))
def test_a_data_frame_comes_as_it_arrives(payload: bytes, ends: bool, random: Any) -> None:
    wire = frames.data(1, payload, ends) + frames.ping()
    cuts = sorted(random.randrange(len(wire) + 1) for _ in range(random.randrange(6)))
    parts = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    source = reader()
    assert len(list(source.feed(HEAD))) == 1
    arrived, come, ended = 0, b"", False
    for part in parts:
        arrived += len(part)
        for frame in source.feed(part):
            if isinstance(frame, Data):
                assert not ended and frame.data and frame.stream_id == 1
                come += frame.data
                ended = frame.ends
        assert come == payload[: max(0, arrived - 9)]
        assert ended is (ends and come == payload)
    assert [type(each).__name__ for each in source.feed(frames.ping())] == ["PingFrame"]


@pytest.mark.parametrize("in_pieces", [True, False])
@pytest.mark.parametrize("split", SPLITS)
def test_other_frames_come_whole(in_pieces: bool, split: str) -> None:
    padded = frames.raw(0, 8, 1, b"\x02abcde\0\0")
    head = HeadersFrame(1, b"\x82", flags=["END_HEADERS"]).serialize()
    wire = HEAD + head + padded + frames.rst(1) + frames.data(3, b"", True)
    found = read(SPLITS[split](wire), in_pieces)
    kinds = ["Settings", "FieldBlock", "Data", "Reset", "Data"]
    assert [type(each).__name__ for each in found] == kinds
    assert found[2] == Data(1, b"abcde", 8, False)
    assert found[4] == Data(3, b"", 0, True)


def test_a_client_of_no_link_waits_for_the_frame() -> None:
    wire = frames.data(1, b"abc")
    assert read([HEAD, wire[:-1]], in_pieces=False)[1:] == []
    [frame] = read([HEAD, wire[:-1], wire[-1:]], in_pieces=False)[1:]
    assert frame.data == b"abc"


@pytest.mark.parametrize("split", SPLITS)
def test_data_of_no_stream_is_refused_in_pieces_too(split: str) -> None:
    with pytest.raises(FrameError):
        read([HEAD, *SPLITS[split](frames.raw(0, 0, 0, b"abc"))])


@pytest.mark.parametrize("cut", [9, 500, 1009])
def test_payload_in_pieces_pays_for_frames_that_bring_nothing(cut: int) -> None:
    source = FrameReader(FrameBudget(lambda: 0.0, 2, 0), 4096, True)
    payload = frames.data(1, bytes(1000))
    for part in (HEAD, frames.ping(), payload[:cut], payload[cut:], frames.ping(), frames.ping()):
        for _ in source.feed(part):
            pass
    with pytest.raises(FrameError):
        list(source.feed(frames.ping()))


# -- writing ---------------------------------------------------------------------------------------


class Reader(FrameClient):
    """A client that says that it takes pieces, or does not, and asks for streams."""

    def __init__(self, world: World, takes: bool = True, **more: int) -> None:
        codes = {READS_PIECES: 1} if takes else {}
        super().__init__(world, frames.PREFACE + frames.setting_codes(codes | more_of(more)))
        self.reader = reader()
        self.bodies: dict[int, bytes] = {}
        self.at = 0

    def asks(self, stream_id: int) -> Call:
        accepts = (b"accept-encoding", codings.events_form())
        self.say(self.headers(stream_id, [*frames.GET, accepts]))
        call = self.world.call()
        call.respond(200, SSE)
        self.world.run()
        return call

    def read(self) -> None:
        """All bytes so far, those of a frame that is not complete, too."""
        for frame in self.reader.feed(bytes(self.received[self.at :])):
            if isinstance(frame, Data):
                known = self.bodies.get(frame.stream_id, b"")
                self.bodies[frame.stream_id] = known + frame.data
        self.at = len(self.received)

    def plain(self, stream_id: int) -> bytes:
        """What can be read by now."""
        self.read()
        return b"".join(EventsDecoder(1 << 20).feed(self.bodies.get(stream_id, b"")))


def more_of(more: dict[str, int]) -> dict[int, int]:
    return {getattr(frames.SettingsFrame, name): value for name, value in more.items()}


def event(number: int) -> bytes:
    word = ("the", " way", " that", " is", " said", ",")[number % 6]
    return b"data: %b\n\n" % json.dumps({"choices": [{"delta": {"content": word}}]}).encode()


def saying(client: Reader, call: Call, stream_id: int, count: int) -> bytes:
    """Events, each of which is there before the next is written."""
    said = client.plain(stream_id)
    for number in range(count):
        call.send(event(number))
        client.world.run()
        said += event(number)
        assert client.plain(stream_id) == said
    return said


def announced(wire: bytes) -> int:
    """Bytes of DATA, as the headers of frames have them."""
    total = at = 0
    while at + 9 <= len(wire):
        size = int.from_bytes(wire[at : at + 3], "big")
        total += size if wire[at + 3] == 0 else 0
        at += 9 + size
    return total


def a_world() -> World:
    world = World(**ON)
    world.neutral = True
    return world


def test_events_share_frames_and_each_is_there_at_once() -> None:
    sizes = {}
    for takes in (True, False):
        world = a_world()
        client = Reader(world, takes)
        call = client.asks(1)
        said = saying(client, call, 1, 200)
        call.end()
        world.run()
        assert client.is_ended(1) and client.plain(1) == said
        decoder = EventsDecoder(1 << 20)
        assert b"".join(decoder.feed(client.payload(1))) == said
        decoder.finish()
        sizes[takes] = len(client.of(DataFrame, 1)), len(client.received)
        assert world.at_rest
    assert sizes[True][0] < 20 < 200 <= sizes[False][0]
    assert sizes[True][1] < 0.5 * sizes[False][1]


def test_a_frame_is_filled_when_another_stream_has_something_to_say() -> None:
    world = a_world()
    client = Reader(world)
    first, second = client.asks(1), client.asks(3)
    saying(client, first, 1, 40)
    open_before = bytes(client.received)
    saying(client, second, 3, 1)
    filled = bytes(client.received)[len(open_before) :]
    assert filled.startswith(b"\x01\x01") and len(client.of(DataFrame, 3)) == 1
    saying(client, first, 1, 5)
    saying(client, second, 3, 5)
    for call in (first, second):
        call.end()
    world.run()
    assert client.is_ended(1) and client.is_ended(3) and world.at_rest


def test_streams_that_take_turns_have_frames_of_their_own_length() -> None:
    world = a_world()
    client = Reader(world)
    calls = {1: client.asks(1), 3: client.asks(3)}
    for _ in range(50):
        for stream_id, call in calls.items():
            saying(client, call, stream_id, 1)
    for stream_id in calls:
        assert len(client.of(DataFrame, stream_id)) == 50
        assert b"\x01" * 3 not in client.payload(stream_id)


def test_a_ping_is_answered_within_a_stream() -> None:
    world = a_world()
    client = Reader(world)
    call = client.asks(1)
    saying(client, call, 1, 40)
    client.say(frames.ping(b"12345678"))
    assert [each.opaque_data for each in client.of(frames.PingFrame)] == [b"12345678"]
    saying(client, call, 1, 5)
    call.end()
    world.run()
    assert client.is_ended(1)


def test_what_is_interrupted_all_the_time_is_not_filled_up_at_length() -> None:
    world = a_world()
    client = Reader(world)
    call = client.asks(1)
    saying(client, call, 1, 60)
    client.say(frames.ping())
    before = len(client.payload(1))
    for _ in range(60):
        saying(client, call, 1, 1)
        client.say(frames.ping())
    assert b"\x01\x01" not in client.payload(1)[before:]


def test_a_reply_that_was_cut_does_not_look_complete() -> None:
    world = a_world()
    client = Reader(world)
    call = client.asks(1)
    said = saying(client, call, 1, 40)
    call.abort()
    world.run()
    assert client.reset(1) is not None and not client.is_ended(1)
    # What the proxy has to say of it follows what the upstream said.
    assert client.plain(1).startswith(said)
    decoder = EventsDecoder(1 << 20)
    decoder.feed(client.payload(1))
    with pytest.raises(WireError):
        decoder.finish()


def test_a_stream_that_the_client_resets_leaves_the_others_readable() -> None:
    world = a_world()
    client = Reader(world)
    call = client.asks(1)
    saying(client, call, 1, 40)
    client.say(frames.rst(1))
    assert call.reset is not None
    again = client.asks(3)
    said = saying(client, again, 3, 40)
    again.end()
    world.run()
    assert client.is_ended(3) and client.plain(3) == said and world.at_rest


def test_a_window_that_is_small_is_never_passed() -> None:
    world = a_world()
    client = Reader(world, INITIAL_WINDOW_SIZE=200)
    call = client.asks(1)
    granted = 200
    for number in range(120):
        call.send(event(number))
        world.run()
        assert announced(bytes(client.received)) <= granted
        if number % 70 == 69:
            client.say(frames.window(1, 100))
            granted += 100
    client.say(frames.window(1, 10_000))
    call.end()
    world.run()
    assert client.plain(1) == b"".join(map(event, range(120))) and client.is_ended(1)


def test_what_goes_into_a_frame_that_has_begun_does_not_wait_for_the_connections_window() -> None:
    world = a_world()
    client = Reader(world)
    call, other = client.asks(1), client.asks(3)
    saying(client, call, 1, 60)
    left = 65535 - announced(bytes(client.received))
    client.say(client.headers(5, frames.GET))
    large = world.call()
    large.respond(200, JSON)
    large.send(bytes(left - 300))
    world.run()
    said = client.plain(1)
    shared = 0
    while announced(bytes(client.received)) < 65535 or client.reader._left > 8:
        is_full = announced(bytes(client.received)) == 65535
        call.send(event(shared))
        world.run()
        said += event(shared)
        assert client.plain(1) == said
        shared += is_full
    assert shared
    for each in (other, call, call):
        each.send(event(1))
        world.run()
    for each in (call, other, large):
        each.end()
    world.run()
    client.say(frames.window(0, 10_000))
    assert client.plain(1) == said + 2 * event(1) and client.plain(3) == event(1)
    assert client.is_ended(1) and client.is_ended(3) and client.is_ended(5) and world.at_rest


def test_what_has_no_filler_is_framed_as_it_is() -> None:
    world = a_world()
    client = Reader(world)
    client.say(client.headers(1, frames.GET))
    call = world.call()
    call.respond(200, SSE)
    for number in range(30):
        call.send(event(number))
        world.run()
    call.end()
    world.run()
    assert client.payload(1) == b"".join(map(event, range(30)))
    assert len(client.of(DataFrame, 1)) >= 30


def test_what_is_sealed_or_whole_has_no_filler() -> None:
    events, whole = codings.Kind.EVENTS, codings.Kind.BODY
    for form in (codings.events_form(), codings.LINK):
        assert codings.filler((form,), events) and not codings.filler((form,), whole)
        assert not codings.filler((form, b"m2m-sealed"), events)
    assert not codings.filler((codings.static_form(),), events)
    assert not codings.filler((), events)


# -- both ------------------------------------------------------------------------------------------


def a_stream(edge: Edge, events: int) -> tuple[Ask, Call]:
    ask = edge.ask(b'{"messages":[{"content":"x"}]}', b"/v1/chat/completions", JSON)
    call = edge.core.call()
    call.respond(200, SSE)
    for number in range(events):
        call.send(event(number))
        edge.run()
        assert ask.body == b"".join(map(event, range(number + 1)))
    return ask, call


@pytest.mark.parametrize("split", SPLITS)
def test_an_edge_says_that_it_takes_pieces_once_it_knows_the_core(split: str) -> None:
    splits: Split = SPLITS[split]
    edge = Edge(World(split=splits, **ON), "2", split=splits)
    for _ in range(2):
        ask, call = a_stream(edge, 30)
        call.end()
        edge.run()
        assert ask.complete
    [core] = edge.core.proxy._connections
    assert core._engine.peer.others == {READS_PIECES: 1, READS_AFTER: 1}
    assert edge.at_rest and edge.core.at_rest


def test_an_upstream_that_is_no_core_is_told_nothing() -> None:
    world = World(pair=("1.1", "2"), **ON)
    ask = world.ask(b"{}")
    world.call().reply(b"{}")
    world.run()
    assert ask.complete
    sent = read([bytes(world.upstream().received[len(frames.PREFACE) :])])
    said = [each.values for each in sent if isinstance(each, Settings)]
    assert said and not any(code > 0xFF for settings in said for code, _ in settings)


def test_a_client_that_leaves_a_shared_frame_stops_the_upstream_and_no_other_stream() -> None:
    edge = Edge(World(pair=("2", "2"), **ON), "2")
    ask, call = a_stream(edge, 30)
    ask.abort()
    edge.run()
    assert call.reset is not None
    again, call = a_stream(edge, 30)
    call.end()
    edge.run()
    assert again.complete and len(edge.wires) == 1
    assert edge.at_rest and edge.core.at_rest
