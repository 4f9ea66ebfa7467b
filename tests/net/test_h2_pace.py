"""What is handed over to a slow line at a time, so that streams can pass one another."""

from __future__ import annotations

import pytest
from frames import FrameClient, window
from hyperframe.frame import DataFrame
from link import SEGMENT, Transport, tcp_info
from world import SSE_HEAD, World, chunk, reply

from m2mproxy.net.path import path_of

BIG = b"z" * 60_000
EVENT = b"data: 0123456789\n\n"


class Slow(FrameClient):
    """A client at the end of a line of which the kernel says `said`."""

    def __init__(self, said: bytes) -> None:
        super().__init__(World())
        self.say(window(0, 1 << 20))
        self.line = self.transport.peer.socket
        self.line.said = said

    def ask(self, stream_id: int, answer: bytes) -> None:
        self.say(self.headers(stream_id))
        self.world.upstream().send(answer)
        self.world.run()

    def payload_size(self, stream_id: int) -> int:
        return sum(len(frame.data) for frame in self.of(DataFrame, stream_id))


def test_an_event_passes_what_another_stream_has_to_say() -> None:
    client = Slow(tcp_info())
    client.ask(1, reply(BIG))
    before = client.payload_size(1)
    assert SEGMENT <= before < 8 * 1024
    client.line.said = tcp_info(unsent=before)
    client.ask(3, SSE_HEAD + chunk(EVENT))
    assert client.status(3) == b"200"
    client.line.said = tcp_info()
    client.world.advance(0.1)
    assert client.payload_size(3) == len(EVENT)
    frames = client.of(DataFrame)
    ahead = frames[: frames.index(client.of(DataFrame, 3)[0])]
    assert sum(len(frame.data) for frame in ahead) <= before + 2 * SEGMENT


def test_the_rest_follows_as_the_line_takes_it() -> None:
    client = Slow(tcp_info(unsent=4000))
    client.ask(1, reply(BIG))
    assert client.payload_size(1) == 0
    client.world.advance(1)
    assert client.payload_size(1) == 0
    client.line.said = tcp_info()
    client.world.advance(3)
    assert client.payload_size(1) == len(BIG)
    assert client.is_ended(1)
    assert client.world.at_rest


def test_frames_are_no_longer_than_others_should_wait() -> None:
    client = Slow(tcp_info(rate=8_000))
    client.ask(1, reply(BIG))
    client.world.advance(10)
    assert max(len(frame.data) for frame in client.of(DataFrame)) <= SEGMENT


@pytest.mark.parametrize(
    "said",
    [
        tcp_info(rtt=0.001),
        tcp_info(rate=10_000_000, window=2000),
        tcp_info(sent=0, window=50),
        tcp_info(sent=5, window=50),
        tcp_info()[:100],
        b"",
    ],
    ids=["near", "fast", "idle", "with room in the window", "an old kernel", "none"],
)
def test_where_nobody_is_held_up_all_goes_at_once(said: bytes) -> None:
    client = Slow(said)
    client.ask(1, reply(BIG))
    assert client.payload_size(1) == len(BIG)
    assert client.is_ended(1)


def test_a_line_that_was_fast_is_looked_at_again() -> None:
    client = Slow(tcp_info(rtt=0.001))
    client.ask(1, reply(BIG))
    client.world.advance(2)
    client.line.said = tcp_info()
    client.ask(3, reply(BIG))
    assert client.payload_size(3) < 8 * 1024


def test_what_is_small_goes_at_once() -> None:
    client = Slow(tcp_info(unsent=100_000))
    client.ask(1, SSE_HEAD + chunk(EVENT) * 10)
    assert client.payload_size(1) == 10 * len(EVENT)


def test_a_stream_that_is_left_is_held_back_no_more() -> None:
    client = Slow(tcp_info(unsent=4000))
    client.ask(1, reply(BIG))
    client.transport.close()
    client.world.advance(5)
    assert client.world.at_rest


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (tcp_info(), (0.2, 64_000, 0, 0)),
        (tcp_info(sent=5), (0.2, 64_000, 0, 15 * SEGMENT)),
        (tcp_info(sent=0, unsent=7), (0.2, 64_000, 7, 20 * SEGMENT)),
        (tcp_info(rate=10**9), (0.2, 20 * SEGMENT / 0.2, 0, 0)),
        (tcp_info(rate=0), (0.2, 20 * SEGMENT / 0.2, 0, 0)),
    ],
    ids=["known", "with room", "unsent", "more than the window", "no rate"],
)
def test_what_the_kernel_says_of_a_way(
    said: bytes, expected: tuple[float, float, int, int]
) -> None:
    client = FrameClient(World())
    transport = client.transport.peer
    assert isinstance(transport, Transport)
    transport.socket.said = said
    path = path_of(transport)
    assert path is not None
    assert (path.rtt, path.rate, path.unsent, path.room) == expected
    assert path.segment == SEGMENT


