"""A pump between a body and a stream that the test holds: what passes, when, and what is kept."""

from __future__ import annotations

from typing import Any

import pytest

from m2mproxy.codec.base import WireError
from m2mproxy.http.body import CHUNK_COST, Body, Chunk, Gate
from m2mproxy.http.faults import ClientFault, Fault, UpstreamFault
from m2mproxy.http.headers import Headers
from m2mproxy.proxy.coder import SLICE
from m2mproxy.proxy.pump import Pump


class Out:
    """Where it goes: has room for so many chunks at a time."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.gate = Gate()
        self.room = room
        self.chunks: list[bytes] = []
        self.trailers: Headers | str | None = "unfinished"

    def write(self, chunk: Chunk) -> None:
        self.chunks.append(bytes(chunk))
        if not len(self.chunks) % self.room:
            self.gate.shut()

    def finish(self, trailers: Headers | None = None) -> None:
        self.trailers = trailers


class Doubles:
    """In place of a coder: everything twice, a mark with each flush and one at the end."""

    decodes = False
    broken = False
    filler = b"~"

    def feed(self, chunk: Chunk) -> list[Chunk]:
        if self.broken:
            raise WireError("no such thing")
        return [chunk, chunk]

    def flush(self) -> list[Chunk]:
        return [b"|"]

    def finish(self) -> list[Chunk]:
        if self.broken:
            raise WireError("too short")
        return [b"."]

    def inject(self, data: bytes) -> list[Chunk]:
        return [b"<" + data + b">"]


class Bed:
    def __init__(self, room: int = 1 << 30, **settings: Any) -> None:
        self.credited = 0
        self.body = Body(self._credit)
        self.body.throttled = True
        self.ends: list[Fault | None] = []
        self.now = 7.0
        self.pump = Pump(self.body, self.ends.append, lambda: self.now, **settings)
        self.out: Any = Out(room)

    def _credit(self) -> None:
        self.credited += 1

    def start(self) -> Bed:
        self.pump.start(self.out)
        return self

    @property
    def came(self) -> bytes:
        return b"".join(self.out.chunks)


def test_what_is_there_passes_at_once_and_what_comes_as_it_comes() -> None:
    bed = Bed()
    bed.body.feed(b"a")
    bed.body.feed(b"b")
    bed.start()
    assert (bed.out.chunks, bed.pump.moved, bed.pump.touched) == ([b"a", b"b"], 2, 7.0)
    bed.now = 9.0
    bed.body.feed(b"ccc")
    assert (bed.out.chunks[2:], bed.pump.moved, bed.pump.touched) == ([b"ccc"], 5, 9.0)
    assert (bed.ends, bed.pump.ended, bed.out.trailers) == ([], False, "unfinished")
    trailers = Headers([(b"x-t", b"1")])
    bed.body.end(trailers)
    assert (bed.ends, bed.pump.ended, bed.out.trailers) == ([None], True, trailers)


def test_a_chunk_is_the_very_object_that_came() -> None:
    bed, seen = Bed().start(), []
    bed.out.write = seen.append
    chunk = memoryview(b"bytes")
    bed.body.feed(chunk)
    assert seen[0] is chunk


def test_what_has_no_room_waits_in_the_body() -> None:
    bed = Bed(room=2)
    for _ in range(5):
        bed.body.feed(b"x")
    bed.start()
    assert (len(bed.out.chunks), bed.body.held, bed.credited) == (2, 3, 2)
    assert bed.pump.is_held
    bed.body.feed(b"x")
    bed.body.end()
    assert (len(bed.out.chunks), bed.ends) == (2, [])
    bed.out.gate.open()
    assert (len(bed.out.chunks), bed.ends) == (4, [])
    bed.out.gate.open()
    assert (len(bed.out.chunks), bed.ends) == (6, [])
    bed.out.gate.open()
    assert bed.ends == [None]
    bed.out.gate.shut()
    bed.out.gate.open()
    assert bed.ends == [None]


def test_a_fault_comes_after_what_came_before_it() -> None:
    bed = Bed(room=1)
    fault = UpstreamFault("disconnected", "gone")
    bed.body.feed(b"x")
    bed.body.feed(b"y")
    bed.body.fail(fault)
    bed.start()
    assert (bed.came, bed.ends) == (b"x", [])
    bed.out.gate.open()
    bed.out.gate.open()
    assert (bed.came, bed.ends, bed.pump.ended) == (b"xy", [fault], True)
    assert bed.out.trailers == "unfinished"


@pytest.mark.parametrize("how", ["stop", "close"])
def test_once_it_is_stopped_nothing_moves_and_nothing_is_kept(how: str) -> None:
    bed = Bed(room=1, keep=1000)
    bed.pump.tap = lambda _: None
    bed.body.feed(b"x")
    bed.start()
    assert bed.pump.is_held
    getattr(bed.pump, how)()
    assert bed.body.on_change is None
    assert not bed.out.gate._waiters
    assert (bed.pump.is_held, bed.pump.halt(), bed.pump.tap) == (False, False, None)
    bed.body.feed(b"y")
    bed.body.end()
    bed.out.gate.open()
    assert (bed.came, bed.ends) == (b"x", [])


def test_a_pump_that_is_closed_lets_go_of_its_owner() -> None:
    bed = Bed().start()
    bed.pump.close()
    bed.pump.start(bed.out)
    bed.body.end()
    assert bed.ends == []


def test_a_body_may_have_as_many_bytes_as_the_limit_and_no_more() -> None:
    bed = Bed(limit=10).start()
    bed.body.feed(b"x" * 10)
    assert (len(bed.came), bed.ends) == (10, [])
    bed.body.feed(b"y")
    (fault,) = bed.ends
    assert isinstance(fault, ClientFault) and fault.status == 413
    assert (bed.came, bed.pump.ended) == (b"x" * 10, True)
    bed.body.feed(b"z")
    assert bed.ends == [fault]


@pytest.mark.parametrize(
    ("keep", "sizes", "can"),
    [
        (-1, [], False),
        (0, [], True),
        (0, [1], False),
        (1000, [1000 - CHUNK_COST], True),
        (1000, [1001 - CHUNK_COST], False),
        (1000, [1, 1, 1], True),
        (10 * CHUNK_COST, [1] * 10, False),
        (1000, [2000, 1], False),
    ],
)
def test_how_much_is_kept_for_a_second_time(keep: int, sizes: list[int], can: bool) -> None:
    """Chunks with what they cost, all or nothing."""
    bed = Bed(keep=keep).start()
    for size in sizes:
        bed.body.feed(b"x" * size)
    assert bed.pump.halt() is can
    bed.pump.forget()
    assert not bed.pump.halt()


def test_a_second_time_begins_with_what_passed_and_goes_on() -> None:
    bed, seen = Bed(room=2, keep=1000), []
    bed.pump.tap = seen.append
    for chunk in (b"a", b"b", b"c"):
        bed.body.feed(chunk)
    bed.start()
    first, bed.out = bed.out, Out()
    assert bed.pump.halt()
    bed.pump.start(bed.out)
    assert bed.out.chunks == [b"a", b"b", b"c"]
    bed.body.feed(b"d")
    bed.body.end()
    assert bed.out.chunks == [b"a", b"b", b"c", b"d"]
    assert seen == [b"a", b"b", b"c", b"d"]  # each once, whatever was sent twice
    assert bed.ends == [None]
    first.gate.open()
    assert first.chunks == [b"a", b"b"]
    bed.out = Out()
    assert bed.pump.halt()
    bed.pump.start(bed.out)  # and a third time, after the end
    assert (bed.out.chunks, bed.out.trailers) == ([b"a", b"b", b"c", b"d"], None)
    assert bed.ends == [None, None]


def test_a_chunk_that_makes_somebody_stop_it_is_the_last() -> None:
    bed = Bed()
    bed.pump.tap = lambda _: bed.pump.stop()
    bed.body.feed(b"a")
    bed.body.feed(b"b")
    bed.start()
    assert (bed.came, bed.body.held) == (b"a", 1)


def test_a_coder_writes_what_it_makes_and_flushes_when_no_more_is_there() -> None:
    bed = Bed()
    bed.pump.coder = Doubles()  # type: ignore[assignment]
    bed.body.feed(b"a")
    bed.body.feed(b"b")
    bed.start()
    assert (bed.came, bed.pump.moved, bed.out.filler) == (b"aabb|", 2, b"~")
    bed.pump.inject(b"!", bed.out)
    bed.body.feed(b"c")
    bed.body.end()
    assert (bed.came, bed.ends) == (b"aabb|<!>cc|.", [None])


def test_without_a_coder_what_is_injected_goes_as_it_is() -> None:
    bed = Bed().start()
    bed.pump.inject(b"!", bed.out)
    assert bed.out.chunks == [b"!"]


def test_what_a_coder_has_leaves_before_a_fault() -> None:
    bed = Bed()
    bed.pump.coder = Doubles()  # type: ignore[assignment]
    bed.body.feed(b"a")
    bed.body.fail(UpstreamFault("disconnected", "gone"))
    bed.start()
    assert bed.came == b"aa|"
    assert len(bed.ends) == 1


@pytest.mark.parametrize("when", ["in the middle", "at the end"])
def test_what_cannot_be_decoded_is_the_upstreams_fault(when: str) -> None:
    bed = Bed()
    coder: Any = Doubles()
    bed.pump.coder = coder
    bed.start()
    bed.body.feed(b"a")
    coder.broken = True
    bed.body.end() if when == "at the end" else bed.body.feed(b"b")
    (fault,) = bed.ends
    assert isinstance(fault, UpstreamFault) and fault.phase == "protocol"
    assert "cannot be decoded" in str(fault)
    assert (bed.out.trailers, bed.pump.ended) == ("unfinished", True)


def test_what_is_decoded_is_fed_in_slices_while_there_is_room() -> None:
    bed = Bed(room=2)
    coder: Any = Doubles()
    coder.decodes = True
    bed.pump.coder = coder
    bed.body.feed(bytes(SLICE) + b"\1" * SLICE + b"\2")
    bed.body.feed(b"\3")
    bed.start()
    assert ([len(chunk) for chunk in bed.out.chunks], bed.pump.moved) == ([SLICE] * 2, SLICE)
    bed.out.gate.open()
    assert (bed.out.chunks[2:], bed.pump.moved) == ([b"\1" * SLICE] * 2, 2 * SLICE)
    bed.body.end()
    bed.out.gate.open()
    assert (bed.out.chunks[4:], bed.ends) == ([b"\2", b"\2"], [])
    bed.out.gate.open()
    bed.out.gate.open()
    assert bed.out.chunks[6:] == [b"\3", b"\3", b"."]
    assert (bed.pump.moved, bed.ends) == (2 * SLICE + 2, [None])


def test_a_chunk_of_one_slice_is_not_cut() -> None:
    bed, fed = Bed(), []
    coder: Any = Doubles()
    coder.decodes = True
    coder.feed = lambda chunk: fed.append(chunk) or []
    bed.pump.coder = coder
    chunk = bytes(SLICE)
    bed.body.feed(chunk)
    bed.start()
    assert fed[0] is chunk
