"""Any bytes at all, from a client and from an upstream: refused or read, but no bug of ours."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable
from types import FrameType

import h11
from hypothesis import assume, given
from hypothesis import strategies as st
from link import Raw, Split, randomly
from mutation import TRAPS, fuzzed, mutated
from world import HOST, SSE_HEAD, World, chunk, get, post, reply, transport_of

from m2mproxy.http.validate import MOST_ADDED_BYTES
from m2mproxy.net.h1 import H1
from m2mproxy.net.h2_engine import PREFACE
from m2mproxy.net.preface import Undecided
from m2mproxy.net.tcp import Tcp

HEADER_BYTES = 1024
PIECE = 4096
MAX_HELD = HEADER_BYTES + 64 * 1024

REQUESTS = [
    get(),
    get(b"/v1/x", b"connection: close"),
    get().replace(b"GET", b"HEAD", 1),
    get().replace(b"1.1", b"1.0", 1),
    post(b"{}"),
    post(b'{"model":"m"}' + b" " * 100),
    post(b"{}", b"/v1/x", b"expect: 100-continue"),
    b"\r\n\r\n" + get(),
    b"POST /v1/x HTTP/1.1\r\n%btransfer-encoding: chunked\r\n\r\n" % HOST
    + chunk(b"abc")
    + b"0\r\nx-sum: 1\r\n\r\n",
]
RESPONSES = [
    reply(b"{}"),
    reply(b""),
    reply(b"x" * 300),
    b"HTTP/1.1 100 Continue\r\n\r\n" + reply(b"{}"),
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nabc",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    SSE_HEAD + chunk(b"data: 1\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n",
    SSE_HEAD + chunk(b"data: 1\n\n") + b"0\r\nx-sum: 1\r\n\r\n",
]


class BoundedWorld(World):
    """A reader that makes no progress would hang the test, as it would the proxy: not for long."""

    def __init__(self, split: Split) -> None:
        super().__init__(split, limits_header_bytes=HEADER_BYTES)

    def run(self) -> None:
        before = signal.signal(signal.SIGALRM, _stuck)
        signal.alarm(10)
        super().run()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _stuck(number: int, frame: FrameType | None) -> None:
    raise AssertionError("busy for ever")


def in_pieces(data: bytes) -> Iterable[bytes]:
    """As a transport reads what the kernel holds: so much at a time."""
    return (data[at : at + PIECE] for at in range(0, len(data), PIECE))


def several(kinds: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(kinds), min_size=1, max_size=4).map(b"".join)


def anything(kinds: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.one_of(mutated(several(kinds), TRAPS), mutated(several(kinds), TRAPS), st.binary())


def held(connection: H1 | Undecided) -> int:
    """Bytes that a connection keeps of what it has received."""
    if isinstance(connection, Undecided):
        return len(connection._data)
    chunks, stream = connection._chunks, connection._stream
    in_chunks = len(chunks._held) if chunks is not None else 0
    in_body = stream.body.held if stream is not None else 0
    return len(connection._held) + in_chunks + in_body


def connection_of(end: Raw) -> H1 | Undecided:
    protocol = transport_of(end).protocol
    assert isinstance(protocol, Tcp)
    assert isinstance(protocol.connection, H1 | Undecided)
    return protocol.connection


class Judge:
    """An upstream that reads requests with h11, which raises if they are not clean."""

    def __init__(self, end: Raw) -> None:
        self.end = end
        self.reader = h11.Connection(h11.SERVER)

    def answer(self) -> None:
        data = self.end.take()
        if data:  # to h11, nothing means the end of the connection
            self.reader.receive_data(data)
        while (event := self.reader.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.EndOfMessage):
                assert self.reader.trailing_data[0] == b"", "more than one request at a time"
                self.reader = h11.Connection(h11.SERVER)
                self.end.send(reply(b"{}"))
                return


@fuzzed
@given(anything(REQUESTS), st.integers(0, 1000))
def test_any_bytes_from_a_client_are_refused_or_forwarded_clean(data: bytes, seed: int) -> None:
    world = BoundedWorld(randomly(seed))
    client = world.client()
    client.send(data)
    world.run()
    judges: dict[Raw, Judge] = {}
    for _ in range(10):
        for end in world.upstreams:
            judges.setdefault(end, Judge(end)).answer()
        world.run()
    # The third is for who begins with HTTP/2's preface: SETTINGS.
    assert client.received[:9] in (b"", b"HTTP/1.1 ", b"\0\0\x1e\4\0\0\0\0\0")
    # It ends, or waits: for as long as clients are waited for, and no longer.
    world.advance(200)
    assert client.is_gone
    client.transport.close()
    world.run()
    assert world.at_rest
    assert world.proxy.connections == 0


@fuzzed
@given(anything(RESPONSES), st.integers(0, 1000), st.sampled_from(REQUESTS[:6]))
def test_any_bytes_from_an_upstream_end_in_an_answer_or_a_cut(
    data: bytes, seed: int, request: bytes
) -> None:
    world = BoundedWorld(randomly(seed))
    client = world.client()
    client.send(request)
    upstream = world.upstream()
    upstream.send(data)
    world.run()
    upstream.transport.close()
    world.run()
    assert world.at_rest
    answer = client.take()
    assert answer[:9] in (b"", b"HTTP/1.1 ")
    # Nothing at all is for a client that could not tell a cut reply of this kind from a whole one.
    assert answer or client.is_gone
    client.transport.close()
    world.run()
    assert world.proxy.connections == 0


@fuzzed
@given(data=anything(REQUESTS), times=st.integers(1, 400), answer=st.booleans())
def test_a_client_cannot_make_us_hold_much(data: bytes, times: int, answer: bool) -> None:
    assume(not data.startswith(PREFACE))  # Hypothesis knows the package's constants
    world = BoundedWorld(in_pieces)
    client = world.client()
    data = (data * times)[: 4 * MAX_HELD]
    for piece in in_pieces(data):
        client.send(piece)
        world.run()
        assert held(connection_of(client)) <= MAX_HELD + PIECE
        if answer:
            for end in world.upstreams:
                end.send(reply(b"{}"))
            world.run()
            assert held(connection_of(client)) <= MAX_HELD + PIECE


@fuzzed
@given(data=anything(RESPONSES), times=st.integers(1, 400))
def test_an_upstream_cannot_make_us_hold_much(data: bytes, times: int) -> None:
    world = BoundedWorld(in_pieces)
    client = world.client()
    client.send(get())
    upstream = world.upstream()
    client.transport.pause_reading()
    data = (data * times)[: 4 * MAX_HELD]
    for piece in in_pieces(data):
        upstream.send(piece)
        world.run()
        assert held(connection_of(upstream)) <= MAX_HELD + PIECE


@fuzzed
@given(st.binary(min_size=1, max_size=8), st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"\r\n"]))
def test_a_head_that_never_ends_is_refused(unit: bytes, start: bytes) -> None:
    world = BoundedWorld(in_pieces)
    client = world.client()
    if b"\n" in unit or b"\r" in unit:
        unit = b"x"
    client.send(start + unit * 2 * MOST_ADDED_BYTES)
    world.run()
    assert held(connection_of(client)) == 0
    answer = client.take()
    assert answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"error"}
    assert client.eof
    assert not world.upstreams


def test_requests_sent_ahead_stay_with_their_sender() -> None:
    """Each answer lets no more in than it takes away."""
    world = BoundedWorld(in_pieces)
    client = world.client()
    client.send(get() * 8000)
    for _ in range(200):
        world.upstream().send(reply(b"{}"))
        world.run()
        assert held(connection_of(client)) <= MAX_HELD + PIECE
