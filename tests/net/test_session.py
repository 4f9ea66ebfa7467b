"""What the streams of a connection share, in both roles, with the test as who uses them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from clock import DrivenLoop
from frames import GET, PREFACE, ping, raw, setting_codes, settings, window
from hpack import Encoder
from hyperframe.frame import Frame, HeadersFrame, SettingsFrame
from link import Raw, Split, join, whole

from m2mproxy.config import Limits, Timeouts
from m2mproxy.http.faults import Fault, UpstreamFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.net.connection import Connection, LoopTurn, Runtime, Session, Stream
from m2mproxy.net.deadline import Deadlines
from m2mproxy.net.h1_client import H1Client
from m2mproxy.net.h2_client import ASK_AFTER, GIVE_UP_AFTER, H2Client
from m2mproxy.net.h2_server import H2Server
from m2mproxy.net.tcp import Tcp

LINK = 0x4D32


class Bed:
    """One connection, of which the test is the owner and the other end."""

    def __init__(self, role: Callable[..., Connection], split: Split = whole) -> None:
        self.loop = DrivenLoop()
        self.streams: list[Stream] = []
        self.events: list[str] = []
        self.end = Raw()
        runtime = Runtime(
            LoopTurn(self.loop), self.loop, Timeouts(), Limits(), Deadlines(self.loop)
        )
        tcp = Tcp(lambda _: role(self, runtime))
        join(self.loop, self.end, tcp, split)
        self.loop.run()
        self.connection: Any = tcp.connection

    def say(self, *frames: bytes) -> None:
        self.end.send(b"".join(frames))
        self.loop.run()

    def open(self) -> Stream:
        """A stream of the client."""
        stream: Stream = self.connection.open_stream()
        self.streams.append(stream)
        return stream

    def send(self, stream: Stream) -> None:
        stream.send_request(Request(b"GET", b"/", b"h", Headers()))
        stream.finish()
        self.loop.run()

    @property
    def session(self) -> Session:
        """What every stream so far says."""
        session = self.streams[0].session
        assert session is not None
        assert all(stream.session is session for stream in self.streams)
        return session

    # -- what the connection reports ------------------------------------------------------------

    def requested(self, stream: Stream, request: Request) -> None:
        self.streams.append(stream)

    def refused(self, stream: Stream, fault: Fault) -> None:
        raise AssertionError(fault)

    def idle(self, connection: Connection) -> None:
        self.events.append("idle")

    def closed(self, connection: Connection) -> None:
        self.events.append("closed")


def request(stream_id: int) -> bytes:
    block = Encoder().encode(GET)
    return HeadersFrame(stream_id, block, flags=["END_HEADERS", "END_STREAM"]).serialize()


def ok(stream_id: int) -> bytes:
    block = Encoder().encode([(b":status", b"200")])
    return HeadersFrame(stream_id, block, flags=["END_HEADERS", "END_STREAM"]).serialize()


# -- settings -----------------------------------------------------------------------------------


def test_a_server_sees_its_clients_settings(split: Split) -> None:
    bed = Bed(H2Server, split)
    bed.say(PREFACE, setting_codes({LINK: 7, 4: 1000, 9: 1}), request(1), request(3))
    assert [stream.id for stream in bed.streams] == [1, 3]
    assert bed.session.settings == {LINK: 7, 9: 1}
    assert bed.session.opened.result()


def test_a_client_sees_its_servers_settings(split: Split) -> None:
    bed = Bed(H2Client, split)
    bed.open(), bed.open()
    assert bed.session.settings == {}
    assert not bed.session.opened.done
    bed.say(setting_codes({LINK: 0xFFFFFFFF, 3: 50}))
    assert bed.session.settings == {LINK: 0xFFFFFFFF}
    assert bed.session.opened.result()


@pytest.mark.parametrize("role", [H2Client, H2Server])
def test_what_is_announced_is_in_the_first_settings(role: Callable[..., Connection]) -> None:
    bed = Bed(partial(role, announce={LINK: 0x01008000}))
    sent = bytes(bed.end.received).removeprefix(PREFACE)
    frame, size = Frame.parse_frame_header(memoryview(sent[:9]))
    frame.parse_body(memoryview(sent[9 : 9 + size]))
    assert isinstance(frame, SettingsFrame)
    assert frame.settings[LINK] == 0x01008000
    assert frame.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 100


def test_settings_that_change_are_the_new_ones() -> None:
    bed = Bed(H2Client)
    bed.open()
    bed.say(setting_codes({LINK: 1, 0x4D33: 2}))
    bed.say(setting_codes({LINK: 3}))
    assert bed.session.settings == {LINK: 3, 0x4D33: 2}


def test_no_more_settings_are_kept_than_sixteen() -> None:
    bed = Bed(H2Client)
    bed.open()
    for first in (0x100, 0x200):
        bed.say(setting_codes(dict.fromkeys(range(first, first + 10), 1)))
    assert sorted(bed.session.settings) == [*range(0x100, 0x10A), *range(0x200, 0x206)]


def test_the_first_settings_are_known_with_the_streams_that_they_allow() -> None:
    """Who waits for them may open streams at once."""
    bed = Bed(H2Client)
    stream = bed.open()
    usable: list[bool] = []
    assert stream.session is not None
    stream.session.opened.subscribe(lambda: usable.append(bed.connection.is_usable))
    bed.say(settings(MAX_CONCURRENT_STREAMS=1))
    bed.say(settings(MAX_CONCURRENT_STREAMS=9))
    assert usable == [False]


# -- streams ------------------------------------------------------------------------------------


def test_a_connection_whose_numbers_run_out_takes_no_more_streams() -> None:
    """With some to spare, for those that are open and not sent yet."""
    bed = Bed(H2Client)
    bed.say(settings())
    first = bed.open()
    bed.connection._engine.highest_outbound_stream_id = 2**31 - 201
    assert not bed.connection.is_usable
    bed.send(first)
    assert first.id == 2**31 - 199


def test_a_clients_stream_has_its_number_once_the_request_is_sent() -> None:
    bed = Bed(H2Client)
    first, second = bed.open(), bed.open()
    assert (first.id, second.id) == (0, 0)
    bed.send(second)
    bed.send(first)
    assert (first.id, second.id) == (3, 1)


def test_http1_has_neither_numbers_nor_a_session() -> None:
    bed = Bed(H1Client)
    stream = bed.open()
    bed.send(stream)
    assert stream.id == 0
    assert stream.session is None


# -- idle time ----------------------------------------------------------------------------------


KEEPALIVE = Timeouts().keepalive


def idle_server(seconds: float | None) -> Bed:
    """A server's connection whose only stream is answered, and which may be idle for so long."""
    bed = Bed(H2Server)
    bed.say(PREFACE, settings(), request(1))
    bed.session.idle_seconds = seconds
    bed.streams[0].send_response(Response(200, Headers(), 0))
    bed.loop.run()
    return bed


@pytest.mark.parametrize("seconds", [None, 1.0, KEEPALIVE + 500])
def test_a_server_waits_for_the_longer_of_two_idle_times(seconds: float | None) -> None:
    bed = idle_server(seconds)
    bed.loop.advance(max(KEEPALIVE, seconds or 0.0) - 0.1)
    assert not bed.end.is_gone
    bed.loop.advance(0.2)
    assert bed.end.is_gone


def test_an_idle_time_that_changes_counts_from_then_on() -> None:
    bed = idle_server(None)
    bed.loop.advance(KEEPALIVE - 1)
    bed.session.idle_seconds = KEEPALIVE + 500
    bed.loop.advance(KEEPALIVE + 499)
    assert not bed.end.is_gone
    bed.session.idle_seconds = None
    bed.loop.advance(KEEPALIVE - 1)
    assert not bed.end.is_gone
    bed.loop.advance(1.1)
    assert bed.end.is_gone


def test_an_idle_time_is_none_while_a_stream_is_open() -> None:
    bed = Bed(H2Server)
    bed.say(PREFACE, settings(), request(1))
    bed.session.idle_seconds = KEEPALIVE + 500
    bed.loop.advance(10 * KEEPALIVE + 5000)
    assert not bed.end.is_gone


# -- signs of life ------------------------------------------------------------------------------


def pings(bed: Bed) -> int:
    """How often the client has asked for one."""
    return bytes(bed.end.received).count(ping(b"m2malive"))


def lasting() -> Bed:
    """A client's connection that is to stay open, without a stream."""
    bed = Bed(H2Client)
    bed.say(settings())
    bed.open().reset()
    bed.session.idle_seconds = 900
    bed.loop.run()
    return bed


@pytest.mark.parametrize("frame", [ping(b"m2malive", ack=True), settings(), window(0, 1)])
def test_a_silent_peer_is_asked_and_any_frame_is_an_answer(frame: bytes) -> None:
    bed = lasting()
    for count in range(1, 4):
        bed.loop.advance(ASK_AFTER - 0.1)
        assert pings(bed) == count - 1
        bed.loop.advance(0.2)
        assert pings(bed) == count
        bed.loop.advance(GIVE_UP_AFTER - 1)
        bed.say(frame)
    assert "closed" not in bed.events


def test_a_peer_that_we_do_not_read_is_not_given_up() -> None:
    """It takes nothing of what we owe it, so we take nothing of it: it may have said a lot."""
    bed = lasting()
    bed.say(settings(INITIAL_WINDOW_SIZE=1 << 20), window(0, 1 << 20))
    stream = bed.open()
    stream.send_request(Request(b"POST", b"/", b"h", Headers(), None))
    bed.end.transport.pause_reading()
    stream.write(b"x" * 200_000)
    ours = bed.end.transport.peer
    for _ in range(60):
        bed.say(*[ping() for _ in range(20)])
        bed.loop.advance(1)
    assert not ours.reading
    bed.loop.advance(3 * (ASK_AFTER + GIVE_UP_AFTER))
    assert "closed" not in bed.events
    bed.end.transport.resume_reading()
    bed.loop.run()
    assert ours.reading
    bed.loop.advance(ASK_AFTER + GIVE_UP_AFTER + 1)
    assert "closed" in bed.events


def test_a_peer_that_is_heard_is_not_asked() -> None:
    bed = lasting()
    for _ in range(10):
        bed.loop.advance(ASK_AFTER - 1)
        bed.say(window(0, 1))
    assert pings(bed) == 0


def test_half_a_frame_is_a_sign_of_life_on_a_slow_wire() -> None:
    bed = lasting()
    bed.loop.advance(ASK_AFTER + 1)
    bed.say(window(0, 1)[:7])
    bed.loop.advance(GIVE_UP_AFTER)
    assert "closed" not in bed.events
    bed.loop.advance(ASK_AFTER)
    assert bed.events[-1] == "closed"


def test_a_dead_connection_is_lost_and_its_requests_may_be_sent_again() -> None:
    bed = lasting()
    done = bed.open()
    bed.send(done)
    bed.say(ok(1))
    bed.loop.advance(10)
    stream = bed.open()
    bed.send(stream)
    unsent = bed.open()
    bed.loop.advance(ASK_AFTER - 10 + 0.1)  # after the last frame
    assert pings(bed) == 1
    bed.loop.advance(GIVE_UP_AFTER - 0.2)
    assert not stream.head.done
    bed.loop.advance(0.2)
    assert bed.events[-1] == "closed"
    assert bed.end.is_gone
    for each in (stream, unsent):
        with pytest.raises(UpstreamFault) as caught:
            each.head.result()
        assert caught.value.retry
    assert bed.loop.timers == 0


@pytest.mark.parametrize(("silence", "asks"), [(19, 0), (21, 1)])
def test_a_request_after_a_silence_asks_along(silence: float, asks: int) -> None:
    """Or whoever waits for its answer would wait for a minute more."""
    bed = lasting()
    bed.loop.advance(silence)
    for _ in range(3):
        stream = bed.open()
        bed.send(stream)
    bed.loop.run()
    assert pings(bed) == asks
    bed.loop.advance(GIVE_UP_AFTER + 0.1)
    assert ("closed" in bed.events) is bool(asks)


def test_who_does_not_answer_at_once_gets_no_further_request_until_it_does() -> None:
    bed = lasting()
    bed.loop.advance(ASK_AFTER + 4)
    assert bed.connection.is_usable
    bed.loop.advance(2)
    assert not bed.connection.is_usable
    before = bed.events.count("idle")
    bed.say(ping(b"m2malive", ack=True))
    assert bed.connection.is_usable
    assert bed.events.count("idle") == before + 1


def test_a_peer_that_takes_nothing_is_dead_too() -> None:
    """The PING cannot even leave."""
    bed = lasting()
    stream = bed.open()
    stream.send_request(Request(b"POST", b"/", b"h", Headers(), None))
    bed.end.transport.pause_reading()
    bed.say(settings(INITIAL_WINDOW_SIZE=1 << 20), window(0, 1 << 20))
    stream.write(bytes(512 * 1024))
    bed.loop.advance(ASK_AFTER + GIVE_UP_AFTER + 0.1)
    assert bed.events[-1] == "closed"


def test_other_connections_are_asked_nothing() -> None:
    bed = Bed(H2Client)
    bed.say(settings())
    bed.send(bed.open())
    bed.loop.advance(10_000)
    assert pings(bed) == 0
    assert bed.loop.timers == 0
    bed.session.idle_seconds = 900
    bed.session.idle_seconds = None
    bed.loop.advance(10_000)
    assert pings(bed) == 0
    assert bed.events[-1] != "closed"


def test_a_server_asks_nobody() -> None:
    bed = idle_server(900.0)
    bed.loop.advance(899)
    assert b"m2malive" not in bed.end.received


def test_closing_takes_its_time_all_the_same() -> None:
    """The deadline is one for both."""
    bed = lasting()
    bed.end.half_open = True
    bed.say(b"\0\0\1\0\0\0\0\0\0\0")  # DATA on no stream: the connection's end
    bed.loop.advance(Timeouts().close - 0.1)
    assert "closed" not in bed.events
    bed.loop.advance(0.2)
    assert bed.events[-1] == "closed"
    assert bed.loop.timers == 0


# -- the end ------------------------------------------------------------------------------------


def test_the_end_is_told_once_and_after_the_streams() -> None:
    bed = Bed(H2Server)
    bed.say(PREFACE, settings(), request(1))
    bed.streams[0].on_fault = lambda fault: bed.events.append("fault")
    bed.session.kept = kept = object()
    bed.session.on_end = lambda: bed.events.append("end")
    bed.end.transport.die()
    bed.loop.run()
    assert bed.events == ["fault", "end", "closed"]
    assert bed.session.kept is kept


def test_a_peer_that_leaves_without_settings_was_never_there() -> None:
    bed = Bed(H2Client)
    bed.open()
    bed.end.transport.close()
    bed.loop.run()
    assert bed.session.opened.done
    assert not bed.session.opened.result()


def test_what_is_not_http2_never_opens_a_session() -> None:
    bed = Bed(H2Client)
    bed.open()
    bed.say(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", raw(4, 0, 0))
    bed.loop.advance(60)
    assert bed.events[-1] == "closed"
    assert not bed.session.opened.result()
