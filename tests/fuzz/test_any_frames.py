"""Any frames from either side: nothing but an answer, a reset or a clean end comes of them."""

from __future__ import annotations

from ends import H2Server
from frames import GET, POST, PREFACE, FrameClient, data, ping, raw, rst, settings, window
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st
from link import randomly
from mutation import fuzzed, mutated
from world import World

ids = st.sampled_from([0, 1, 1, 1, 3, 3, 5, 2, 2**31 - 1])
payloads = st.binary(max_size=40)
flags = st.sampled_from([0, 1, 4, 5, 8, 9, 0x20, 0x2D, 0xFF])
block = Encoder().encode
BLOCKS = [
    block(GET),
    block(POST),
    block([*POST, (b"content-length", b"3")]),
    block([(b":status", b"200")]),
    block([(b":status", b"200"), (b"content-length", b"2")]),
    block([(b":status", b"103")]),
    block([(b"x-trailer", b"1")]),
    b"\x82\xff",
]
GZIP = block([(b":status", b"200"), (b"content-encoding", b"gzip")])
frames = st.one_of(
    # A reply that cannot be decoded, and what shows it may be its end.
    st.builds(
        lambda number, end: raw(1, 4, number, GZIP) + data(number, b"no gzip", end),
        ids.filter(bool),
        st.booleans(),
    ),
    st.builds(raw, st.integers(0, 12), flags, ids, payloads),
    st.builds(raw, st.just(1), st.sampled_from([4, 5]), ids, st.sampled_from(BLOCKS)),
    st.builds(raw, st.just(1), st.just(0), ids, st.sampled_from(BLOCKS).map(lambda b: b[:3])),
    st.builds(raw, st.just(9), st.sampled_from([0, 4]), ids, payloads),
    st.builds(data, ids.filter(bool), payloads, st.booleans()),
    st.builds(rst, ids.filter(bool), st.integers(0, 20)),
    st.builds(window, ids, st.sampled_from([1, 1000, 2**31 - 1])),
    st.builds(lambda size: settings(INITIAL_WINDOW_SIZE=size), st.integers(0, 2**31 - 1)),
    st.builds(lambda number: settings(MAX_CONCURRENT_STREAMS=number), st.integers(0, 3)),
    st.builds(lambda last: raw(7, 0, 0, last.to_bytes(4, "big") + bytes(4)), ids),
    st.just(ping()),
)
sequences = st.lists(frames, max_size=30).map(b"".join)
anything = st.one_of(sequences, sequences.flatmap(lambda s: mutated(st.just(s), [b"\0" * 9])))


def assert_clean(world: World) -> None:
    assert all(exchange.bug is None for exchange in world.ended)
    world.advance(4000)
    assert world.at_rest
    assert world.proxy.connections == 0
    assert world.loop.timers == 0


@fuzzed
@given(anything, st.integers(0, 1000))
def test_any_frames_from_a_client(sent: bytes, seed: int) -> None:
    world = World(randomly(seed))
    client = FrameClient(world, PREFACE + settings() + sent)
    for upstream in world.upstreams:
        upstream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody")
    world.run()
    assert client.goaway is not None or not client.is_gone
    assert_clean(world)


@fuzzed
@given(anything, st.integers(0, 1000), st.booleans())
def test_any_frames_from_an_upstream(sent: bytes, seed: int, politely: bool) -> None:
    world = World(randomly(seed), ("1.1", "2"), compression_responses="auto")
    first, second = world.ask(b"1", new=True), world.ask(b"2", new=True)
    end = world.upstreams[0]
    assert isinstance(end, H2Server)
    end.send(sent)
    world.run()
    if politely:
        end.transport.close()
    else:
        end.transport.die()
    world.run()
    for later in world.upstreams[1:]:
        later.transport.close()
        world.run()
    for ask in (first, second):
        assert ask.complete or ask.broken
    assert_clean(world)
