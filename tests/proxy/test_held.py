"""The memory that request bodies take together, where they are read before they go on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from edge import ON, Edge
from known_words import Words
from world import Pair, World

from m2mproxy.guard.scanner import Scanner
from m2mproxy.http.faults import Busy
from m2mproxy.proxy.held import Held, Holds

KIB = 1024
JSON = (b"content-type", b"application/json")
KEY = (b"authorization", b"Bearer key")
EACH_CLIENT = pytest.mark.parametrize("pair", [("1.1", "1.1"), ("2", "1.1")], ids="-".join)


def sized(size: int) -> bytes:
    return b'{"prompt":"%b"}' % (b"x" * (size - 13))


def test_what_is_beyond_the_first_bytes_takes_room_and_gives_it_back() -> None:
    holds = Holds(read=100 * KIB)
    one, two = Held(holds), Held(holds)
    one.read(64 * KIB)
    assert holds.reading.free == 100 * KIB
    one.read(60 * KIB)
    one.read(1)
    assert holds.reading.free == 40 * KIB - 1
    two.read(64 * KIB)
    with pytest.raises(Busy):
        two.read(40 * KIB)
    two.read(40 * KIB - 1)
    assert holds.reading.free == 0
    one.free()
    assert holds.reading.free == 60 * KIB + 1
    one.free()
    two.free()
    assert holds.reading.free == 100 * KIB


@EACH_CLIENT
@pytest.mark.parametrize("counted", [True, False])
def test_a_body_for_which_there_is_no_room_is_refused_and_small_ones_are_not(
    pair: Pair, counted: bool
) -> None:
    holds = Holds(read=300 * KIB)
    world = World(pair=pair, scanner=Scanner(Words()), holds=holds)
    first = world.start(sized(300 * KIB), b"/v1/x", JSON, whole=False, counted=counted)
    first.send(sized(300 * KIB)[:-1])
    world.run()
    second = world.ask(sized(200 * KIB), b"/v1/x", JSON, counted=counted, new=True)
    assert (second.status, json.loads(second.body)["error"]["code"]) == (503, "too_many_bodies")
    assert second.get(b"retry-after") == b"1"
    small = world.ask(sized(60 * KIB), b"/v1/x", JSON, counted=counted, new=True)
    world.call().reply(b"{}")
    world.run()
    assert small.status == 200
    first.send(b"}")
    first.end()
    world.run()
    assert holds.reading.free < 70 * KIB  # until its answer begins
    world.call().reply(b"{}")
    world.run()
    assert first.status == 200
    assert holds.reading.free == 300 * KIB and world.at_rest


def test_a_body_that_is_sealed_takes_room_too(tmp_path: Path) -> None:
    key, holds = tmp_path / "psk", Holds(read=300 * KIB)
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    core = World(peer_psk_file=str(key), **ON)
    edge = Edge(core, peer_psk_file=str(key), holds=holds)
    for size, status in ((10, 200), (200 * KIB, 200), (500 * KIB, 503)):
        ask = edge.ask(sized(size + 13), b"/v1/x", JSON)
        if status == 200:
            core.call().reply(b"{}", JSON)
            edge.run()
        assert ask.status == status
        assert holds.reading.free == 300 * KIB
    assert edge.at_rest and core.at_rest


def test_one_that_leaves_gives_it_back() -> None:
    holds = Holds(read=300 * KIB)
    world = World(scanner=Scanner(Words()), holds=holds)
    left = world.start(sized(200 * KIB), b"/v1/x", JSON, whole=False)
    left.send(sized(200 * KIB)[:-1])
    world.run()
    assert holds.reading.free < 170 * KIB
    left.abort()
    world.run()
    assert holds.reading.free == 300 * KIB


def test_what_a_few_coded_bytes_make_counts() -> None:
    holds = Holds(read=300 * KIB)
    world = World(holds=holds)
    coding = (b"content-encoding", b"gzip")
    asked = world.ask(gzip.compress(sized(500 * KIB)), b"/v1/x", JSON, coding)
    assert asked.status == 503 and world.calls == []
    world.ask(gzip.compress(sized(300 * KIB)), b"/v1/x", JSON, coding)
    assert world.call().body == sized(300 * KIB)
    world.call().reply(b"{}")
    world.run()
    assert holds.reading.free == 300 * KIB


@pytest.mark.parametrize("whole", [True, False], ids=["to its end", "cut"])
def test_a_reply_that_a_link_reads_takes_room_on_both_sides_and_gives_it_back(whole: bool) -> None:
    there, here = Holds(), Holds()
    edge = Edge(World(holds=there, **ON), "2", holds=here)
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 100}]}).encode()
    edge.exchange(body, b"{}", KEY)  # from here on there is a link
    free = there.replies.free
    ask = edge.ask(body, b"/v1/chat/completions", JSON, KEY)
    call = edge.core.call()
    call.respond(200, JSON)
    call.send(sized(300 * KIB)[:-1])
    edge.run()
    assert 300 * KIB < free - there.replies.free + 64 * KIB < 400 * KIB
    assert 300 * KIB < free - here.replies.free + 64 * KIB < 400 * KIB
    if whole:
        call.send(b"}")
        call.end()
    else:
        call.abort()
    edge.run()
    assert ask.broken is not whole
    assert there.replies.free == here.replies.free == free
