"""Windows that grow where a round trip is long: who gets more, who does not, and how much."""

from __future__ import annotations

import pytest
from frames import POST, FrameClient, data, ping, rst
from hyperframe.frame import PingFrame, WindowUpdateFrame
from link import Raw, tcp_info
from world import World

from m2mproxy.net.h2_engine import CONNECTION_WINDOW, STREAM_WINDOW
from m2mproxy.net.h2_growth import MOST_EXTRA

FRAME = 16 * 1024


class Far(FrameClient):
    """A client that sends what its windows allow, and answers a PING when it is told to."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.sent: dict[int, int] = {}
        self.answered = 0

    def open(self, stream_id: int) -> Raw:
        self.sent[stream_id] = 0
        self.say(self.headers(stream_id, POST, end=False))
        return self.world.upstream()

    def upload(self, stream_id: int, size: int) -> None:
        for _ in range(size // FRAME):
            self.say(data(stream_id, b"z" * FRAME))
        self.sent[stream_id] += size

    def room(self, stream_id: int) -> int:
        """Bytes that may be sent on a stream; with 0 on all of them together."""
        granted = sum(f.window_increment for f in self.of(WindowUpdateFrame, stream_id))
        if stream_id:
            return STREAM_WINDOW + granted - self.sent[stream_id]
        return 65_535 + granted - sum(self.sent.values())

    def answer(self) -> None:
        """A round trip is over."""
        pings = self.of(PingFrame)[self.answered :]
        self.answered += len(pings)
        self.say(*(ping(each.opaque_data, ack=True) for each in pings))


def test_a_window_that_is_used_up_in_a_round_trip_grows() -> None:
    client = Far(World())
    client.open(1)
    client.upload(1, STREAM_WINDOW // 2)
    assert len(client.of(PingFrame)) == 1
    client.upload(1, STREAM_WINDOW // 2)
    assert client.room(1) <= STREAM_WINDOW
    client.answer()
    assert client.room(1) >= 2 * STREAM_WINDOW
    assert client.room(0) >= CONNECTION_WINDOW  # or the other streams would have less
    assert len(client.of(PingFrame)) == 2  # it may be worth more yet


def test_a_window_that_outlasts_a_round_trip_stays() -> None:
    client = Far(World())
    client.open(1)
    for _ in range(20):
        client.upload(1, STREAM_WINDOW // 2)
        client.upload(1, STREAM_WINDOW // 2 - FRAME)
        client.answer()
    assert client.room(1) <= STREAM_WINDOW
    assert client.answered <= 20


def far(rtt: float = 0.2) -> Far:
    """A client of whose distance the kernel knows."""
    client = Far(World())
    client.transport.peer.socket.said = tcp_info(rtt)
    return client


@pytest.mark.parametrize(("rtt", "window"), [(0.2, 500_000), (0.1, 250_000), (9, 1 << 20)])
def test_a_request_from_far_away_gets_what_that_asks_for(rtt: float, window: int) -> None:
    """A first window would be used up before a round trip has told that it is too small."""
    client = far(rtt=rtt)
    client.open(1)
    client.upload(1, FRAME)
    assert window - FRAME <= client.room(1) <= window
    assert client.room(0) >= CONNECTION_WINDOW
    client.upload(1, 2 * STREAM_WINDOW)
    assert client.room(1) <= window  # once


def test_a_request_from_near_by_does_not() -> None:
    client = far(rtt=0.05)
    client.open(1)
    client.upload(1, FRAME)
    assert client.room(1) <= STREAM_WINDOW


def test_requests_from_far_away_share_what_there_is() -> None:
    client = far()
    for number in range(1, 101, 2):
        client.open(number)
        client.upload(number, FRAME)
    extra = sum(client.room(number) - STREAM_WINDOW for number in range(1, 101, 2))
    assert MOST_EXTRA - 50 * FRAME <= extra <= MOST_EXTRA


def test_nobody_is_asked_for_a_round_trip_by_what_fits_into_a_window() -> None:
    client = Far(World())
    for number in range(1, 21, 2):
        client.open(number)
        client.upload(number, FRAME)
    assert client.of(PingFrame) == []


def test_a_window_that_is_not_read_stays() -> None:
    client = Far(World())
    upstream = client.open(1)
    client.upload(1, STREAM_WINDOW // 2)
    upstream.transport.pause_reading()
    while client.room(1) >= FRAME:
        client.upload(1, FRAME)
    client.answer()
    upstream.transport.resume_reading()
    client.world.run()
    assert client.room(1) <= STREAM_WINDOW


def test_an_answer_to_another_ping_says_nothing() -> None:
    client = Far(World())
    client.open(1)
    client.upload(1, STREAM_WINDOW)
    (asked,) = client.of(PingFrame)
    client.say(ping(b"m2mr\0\0\0\x02", ack=True), ping(b"12345678", ack=True))
    assert client.room(1) <= STREAM_WINDOW
    client.say(ping(asked.opaque_data, ack=True))
    assert client.room(1) > STREAM_WINDOW


def grow(client: Far, stream_id: int) -> None:
    """Use all of a stream's window in each round trip."""
    for _ in range(10):
        client.upload(stream_id, client.room(stream_id) // FRAME * FRAME)
        client.answer()


def test_what_windows_grow_by_is_bounded() -> None:
    client = Far(World())
    for number in (1, 3):
        client.open(number)
        grow(client, number)
    assert client.room(1) >= MOST_EXTRA // 2
    assert client.room(1) + client.room(3) <= 2 * STREAM_WINDOW + MOST_EXTRA
    assert CONNECTION_WINDOW // 2 < client.room(0) <= CONNECTION_WINDOW + MOST_EXTRA


@pytest.mark.parametrize("last", [data(1, end=True), rst(1)], ids=["complete", "reset"])
def test_a_stream_leaves_to_others_what_it_has_grown_by(last: bytes) -> None:
    client = Far(World())
    client.open(1)
    grow(client, 1)
    client.say(last)
    client.open(3)
    grow(client, 3)
    assert client.room(3) >= MOST_EXTRA // 2
    assert client.room(0) <= CONNECTION_WINDOW + MOST_EXTRA


def test_small_frames_in_a_grown_window_are_no_attack() -> None:
    """What a stream may make us hold is what its window is, and the cost of a chunk for each."""
    client = Far(World())
    upstream = client.open(1)
    grow(client, 1)
    assert client.room(1) > MOST_EXTRA // 2
    upstream.transport.pause_reading()
    size = client.room(1) // FRAME * FRAME
    for _ in range(size // 4096):
        client.say(data(1, b"z" * 4096))
    assert client.reset(1) is None
