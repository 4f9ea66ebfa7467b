"""Our engine and the h2 library's connection, told the same by a peer and by us.

What the library takes the engine takes, and tells the same, with the same answers and windows. What
it refuses, which always ends its connection, the engine refuses as well, if only on the stream
concerned. Left out is what they are meant to differ in: content-length and the names of fields,
which are looked at by others (net/h2.py, net/fields.py), GOAWAY, and streams that a server opens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from frames import PREFACE, data, ping, raw, rst, settings, window
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    PingAckReceived,
    RequestReceived,
    ResponseReceived,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from heard import Heard, hear
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st
from mutation import fuzzed

from m2mproxy.net.h2_budget import FrameBudget
from m2mproxy.net.h2_engine import CONNECTION_WINDOW, STREAM_WINDOW, Engine
from m2mproxy.net.h2_frames import FrameError, FrameReader

REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")]
RESPONSE = [(b":status", b"200"), (b"x-y", b"z")]
EARLY = [(b":status", b"103")]
TRAILERS = [(b"x-t", b"1")]
CONFIG = {
    "header_encoding": None,
    "validate_inbound_headers": False,
    "normalize_inbound_headers": False,
    "validate_outbound_headers": False,
    "normalize_outbound_headers": False,
}
# What a stream error of the library's is for us.
BROKEN = "broken"
RST_STREAM, WINDOW_UPDATE, HEADERS, CONTINUATION = 3, 8, 1, 9


class Both:
    """The engine and its judge, in one role."""

    def __init__(self, client: bool) -> None:
        self.client = client
        self.encoder = Encoder()
        self.engine = Engine(client, 65536, 131072, {}, Heard())
        self.reader = FrameReader(FrameBudget(lambda: 0.0, 1 << 30, 0), 65536, False)
        self.judge = H2Connection(H2Configuration(client_side=client, **CONFIG))
        self.judge.initiate_connection()
        self.judge.receive_data(b"" if client else PREFACE)
        self.judge.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW})
        self.judge.receive_data(settings() + 2 * raw(4, 1, 0))
        self.judge.increment_flow_control_window(CONNECTION_WINDOW - 65535)
        self.judge.data_to_send()
        self._received(settings() + raw(4, 1, 0))
        self.engine.data_to_send()
        self.held: Counter[int] = Counter()  # bytes that came on a stream and are not taken
        self.has_head: set[int] = set()
        self.head_sent: set[int] = set()
        self.ended_in: set[int] = set()
        self.ended_out: set[int] = set()
        self.is_over = False

    # -- the peer speaks

    def comes(self, sent: bytes) -> None:
        """A frame. It means the same, but that we want to know of one that came late."""
        number = int.from_bytes(sent[5:9], "big")
        late = 0 if self.engine.is_open(number) else number
        try:
            theirs = [said for each in self.judge.receive_data(sent) for said in told(each)]
        except ProtocolError:
            self.is_over = True
            assert self._received(sent) in ([(BROKEN, number)], None)
            return
        ours = self._received(sent)
        assert ours is not None
        assert theirs == [said for said in ours if not late or said != (BROKEN, number)]
        for kind, number, *rest in theirs:
            if kind == "data":
                self.held[number] += rest[1]
            if kind == "head":
                self.has_head.add(number)
            if kind == "trailers" or (kind in ("head", "data") and rest[-1]):
                self.ended_in.add(number)
        self._compare(late)

    def resets(self, number: int) -> None:
        """RST_STREAM: the library does not mind it on a stream that was never open."""
        if self.engine.is_open(number):
            self.comes(rst(number, 7))

    def _received(self, sent: bytes) -> list[Any] | None:
        """What the engine makes of it; None is the end of the connection."""
        try:
            heard = [each for frame in self.reader.feed(sent) for each in hear(self.engine, frame)]
        except FrameError:
            return None
        # That a stream is broken is for people to read; of settings the library says more.
        cut = [each[:2] if each[0] == BROKEN else each for each in heard]
        return [each for each in cut if each[0] != "settings"]

    # -- we speak

    def opens(self, end: bool) -> None:
        number = self.engine.open(REQUEST, end)
        self.judge.send_headers(number, REQUEST, end_stream=end)
        self._said_head(number, end)

    def answers(self, number: int, end: bool) -> None:
        """With a head, and with trailers the next time."""
        if self._may_speak(number):
            is_head = number not in self.head_sent
            fields, end = (RESPONSE, end) if is_head else (TRAILERS, True)
            self.engine.send_headers(number, fields, end)
            self.judge.send_headers(number, fields, end_stream=end)
            self._said_head(number, end)

    def ends(self, number: int) -> None:
        if self._may_speak(number) and number in self.head_sent:
            self.engine.end_stream(number)
            self.judge.end_stream(number)
            self._said_head(number, True)

    def gives_up(self, number: int) -> None:
        if self.engine.is_open(number):
            self.engine.reset_stream(number, ErrorCodes.CANCEL)
            self.judge.reset_stream(number, ErrorCodes.CANCEL)
            self._compare()

    def takes(self, number: int, size: int) -> None:
        """What has come is out of the way; never more than that."""
        size = min(size, self.held[number])
        if size and self.engine.is_open(number):
            self.held[number] -= size
            self.engine.taken(size, number)
            self.judge.acknowledge_received_data(size, number)
            self._compare()

    def _may_speak(self, number: int) -> bool:
        return self.engine.is_open(number) and number not in self.ended_out

    def _said_head(self, number: int, end: bool) -> None:
        self.head_sent.add(number)
        if end:
            self.ended_out.add(number)
        self._compare()

    # -- are they the same?

    def _compare(self, late: int = 0) -> None:
        ours, theirs = (self._said(each, late) for each in (self.engine, self.judge))
        assert ours == theirs
        for number in (1, 3, 5):
            if self.engine.is_open(number):
                assert self.engine.window_of(number) == self.judge.local_flow_control_window(number)
                assert self.judge.streams[number].open

    def _said(self, by: Any, late: int) -> list[bytes]:
        """Frames, but for what is in field sections, and for what the library says of no use: more
        room on a stream that is complete, another RST_STREAM of one that is over."""
        wire, found = by.data_to_send(), []
        while wire:
            size = int.from_bytes(wire[:3], "big")
            frame, wire = wire[: 9 + size], wire[9 + size :]
            number, kind = int.from_bytes(frame[5:9], "big"), frame[3]
            if kind in (HEADERS, CONTINUATION):
                frame = frame[3:9]
            if not (kind == WINDOW_UPDATE and number in self.ended_in) and not (
                kind == RST_STREAM and number == late
            ):
                found.append(frame)
        return found


def told(event: Event) -> list[Any]:
    """What an event says, in our words; nothing where nobody listens."""
    match event:
        case StreamReset(remote_reset=False):
            return [(BROKEN, event.stream_id)]
        case StreamReset():
            return [("reset", event.stream_id, event.error_code)]
        case RequestReceived() | ResponseReceived():
            ended = event.stream_ended is not None
            return [("head", event.stream_id, [tuple(f) for f in event.headers], ended)]
        case TrailersReceived():
            assert event.stream_ended is not None
            return [("trailers", event.stream_id, [tuple(f) for f in event.headers])]
        case InformationalResponseReceived():
            return [("informational", event.stream_id, [tuple(f) for f in event.headers])]
        case DataReceived():
            size, ended = event.flow_controlled_length, event.stream_ended is not None
            return [("data", event.stream_id, event.data, size, ended)]
        case WindowUpdated():
            return [("room", event.stream_id)]
        case PingAckReceived():
            return [("ping_ack", event.ping_data)]
    return []


Step = Callable[[Both], None]
ids = st.sampled_from([1, 1, 1, 1, 3, 3, 5])
ends = st.booleans()
frames = st.one_of(
    st.builds(data, ids, st.binary(max_size=20), ends),
    st.builds(raw, st.just(0), st.just(8), ids, st.just(b"\2ab\0\0")),  # padded
    st.builds(window, st.sampled_from([0, 1, 3]), st.sampled_from([1, 70_000, 2**31 - 1])),
    st.builds(lambda size: settings(INITIAL_WINDOW_SIZE=size), st.sampled_from([0, 1, 2**31 - 1])),
    st.builds(ping, st.just(b"12345678"), ends),
    st.builds(raw, st.just(2), st.just(0), ids, st.just(b"\0\0\0\7\x10")),
    st.just(raw(0xBE, 0, 0, b"grease")),
)


def many(number: int, count: int) -> Step:
    """DATA frames, as long as they may be."""

    def come(both: Both) -> None:
        for _ in range(count if both.engine.is_open(number) else 0):
            if not both.is_over:
                both.comes(data(number, bytes(16384)))

    return come


def head(fields: list[tuple[bytes, bytes]], number: int, end: bool) -> Step:
    def come(both: Both) -> None:
        if fields is not EARLY or number not in both.has_head:  # no trailers have a :status
            flags = 5 if end else 4
            both.comes(raw(1, flags, number, both.encoder.encode(fields)))

    return come


def steps(client: bool) -> st.SearchStrategy[list[Step]]:
    if client:
        heads = [RESPONSE, RESPONSE, EARLY, TRAILERS]
        says = st.builds(lambda end: lambda both: both.opens(end), ends)
    else:
        heads = [REQUEST, REQUEST, TRAILERS]
        says = st.builds(lambda id, end: lambda both: both.answers(id, end), ids, ends)
    step = st.one_of(
        st.builds(head, st.sampled_from(heads), ids, ends),
        st.builds(lambda wire: lambda both: both.comes(wire), frames),
        st.builds(many, ids, st.integers(1, 9)),
        st.builds(lambda id: lambda both: both.resets(id), ids),
        says,
        st.builds(lambda id: lambda both: both.ends(id), ids),
        st.builds(lambda id: lambda both: both.gives_up(id), ids),
        st.builds(
            lambda id, size: lambda both: both.takes(id, size), ids, st.sampled_from([700, 1 << 17])
        ),
    )
    return st.lists(step, max_size=30)


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
@fuzzed
@given(st.data())
def test_what_comes_means_what_it_means_to_the_library(client: bool, data: Any) -> None:
    both = Both(client)
    for number in (1, 3)[: data.draw(st.integers(0, 2))]:
        both.opens(False) if client else head(REQUEST, number, False)(both)
        if client and data.draw(ends):
            head(RESPONSE, number, False)(both)
    for step in data.draw(steps(client)):
        step(both)
        if both.is_over:
            break
