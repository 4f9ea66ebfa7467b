"""HTTP/2 tried beside connections that speak HTTP/1.1, with the test as every other end."""

from __future__ import annotations

import pytest
from frames import PREFACE, rst, setting_codes, settings
from hpack import Encoder
from hyperframe.frame import HeadersFrame
from link import Raw, Split
from world import World, reply

from m2mproxy.http.faults import Busy, UpstreamFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Origin, Request
from m2mproxy.net.attempt import PAUSE, SOON
from m2mproxy.net.connection import Session, Stream
from m2mproxy.net.pool import Wait

SETTING = 0x4D32
ORIGIN = Origin("http", "upstream", 9)
CONNECT = 10.0  # timeouts.connect

# What servers of HTTP/1.1 say to the preface: nginx 1.22.1 word for word, and as others may.
NGINX = (
    b"HTTP/1.1 400 Bad Request\r\nServer: nginx/1.22.1\r\n"
    b"Date: Tue, 24 Nov 2026 20:00:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 157\r\n"
    b"Connection: close\r\n\r\n<html>\r\n<head><title>400 Bad Request</title></head>\r\n"
    b"<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n"
    b"</body>\r\n</html>\r\n"
)
OLD = b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-length: 0\r\n\r\n"
ANSWERS = {
    "nginx": NGINX,
    "505": OLD,
    "short": b"no\n",
    "html": b"<html><body>what?</body></html>",
    "zeros": bytes(64),
    "ack first": b"\0\0\0\x04\x01\0\0\0\0",
}


class Bed:
    """A pool whose dials the test answers, and one opinion of what fits."""

    def __init__(self, limit: int = 10, split: Split | None = None) -> None:
        more = {} if split is None else {"split": split}
        self.world = World(
            limits_upstream_connections=limit,
            timeouts_connect=CONNECT,
            timeouts_upstream_keepalive=4,
            **more,
        )
        self.world.accepting = False
        self.pool = self.world.pool.to(ORIGIN)
        self.asked: list[Session] = []
        self.silences = 0

    def fits(self, session: Session) -> bool:
        self.asked.append(session)
        return SETTING in session.settings

    def silent(self) -> None:
        self.silences += 1

    def attempt(self) -> bool:
        """Whether there is a dial for one."""
        before = len(self.world.dials)
        self.pool.try_http2(self.fits, self.silent)
        return len(self.world.dials) > before

    def accept(self) -> Raw:
        end = self.world.accept()
        self.world.run()
        return end

    def say(self, end: Raw, *frames: bytes) -> None:
        end.send(b"".join(frames))
        self.world.run()

    def http2(self, streams: int = 100) -> Raw:
        """Have one that fits, and takes so many streams."""
        assert self.attempt()
        end = self.accept()
        self.say(end, setting_codes({SETTING: 1, 3: streams}))
        return end

    def http1(self) -> Raw:
        """Have one more idle connection."""
        wait = self.pool.stream(fresh=True)
        end = self.accept()
        self.begin(wait.result())
        self.say(end, reply(b""))
        return end

    def begin(self, stream: Stream) -> Stream:
        stream.send_request(Request(b"GET", b"/", b"upstream", Headers()))
        stream.finish()
        self.world.run()
        return stream

    def goes_to(self, end: Raw) -> Stream:
        """The next stream, which is on the connection that has `end`."""
        return self.given(self.pool.stream(), end)

    def given(self, wait: Wait, end: Raw) -> Stream:
        before = len(end.received)
        assert wait.done
        stream = self.begin(wait.result())
        assert len(end.received) > before
        return stream

    def counts(self) -> tuple[int, int, int, int]:
        """Active, idle, connecting, waiting."""
        counts = self.pool.counts()
        return counts["active"], counts["idle"], counts["connecting"], counts["waiting"]


OK = HeadersFrame(1, Encoder().encode([(b":status", b"200")]), flags=["END_HEADERS", "END_STREAM"])


# -- success ------------------------------------------------------------------------------------


def test_a_connection_that_fits_is_used_before_those_of_http1(split: Split) -> None:
    bed = Bed(split=split)
    old = bed.http1()
    assert bed.attempt()
    assert bed.counts() == (0, 1, 1, 0)
    new = bed.accept()
    assert bytes(new.received).startswith(PREFACE)
    assert bed.counts() == (0, 1, 1, 0)
    bed.say(new, setting_codes({SETTING: 1}))
    assert bed.counts() == (0, 2, 0, 0)
    for _ in range(2):
        assert bed.goes_to(new).session is bed.asked[0]
    assert not old.is_gone


def test_until_it_has_shown_itself_requests_go_where_they_went() -> None:
    bed = Bed()
    old = bed.http1()
    bed.attempt()
    bed.goes_to(old).reset()
    new = bed.accept()
    bed.world.run()
    wait = bed.pool.stream()
    assert not wait.done
    assert bed.counts() == (0, 0, 2, 1)
    bed.given(wait, bed.accept())
    assert b"/" not in new.received.removeprefix(PREFACE)


def test_the_connections_of_http1_age_out() -> None:
    bed = Bed()
    old, new = bed.http1(), bed.http2()
    bed.goes_to(new)
    bed.world.advance(4.1)
    assert old.is_gone
    assert not new.is_gone
    assert bed.counts() == (1, 0, 0, 0)


def test_a_preferred_connection_comes_first_though_others_became_idle_later() -> None:
    bed = Bed()
    busy = bed.pool.stream(fresh=True)
    old = bed.accept()
    bed.begin(busy.result())
    new = bed.http2()
    bed.say(old, reply(b""))
    assert bed.counts() == (0, 2, 0, 0)
    bed.goes_to(new)


def test_it_is_idle_as_long_as_any() -> None:
    bed = Bed()
    new = bed.http2()
    bed.world.advance(3.9)
    assert not new.is_gone
    bed.world.advance(0.2)
    assert new.is_gone
    assert bed.counts() == (0, 0, 0, 0)
    assert bed.world.loop.timers == 0


def test_its_idle_time_begins_anew_with_each_use() -> None:
    bed = Bed()
    new = bed.http2()
    bed.world.advance(3)
    bed.goes_to(new)
    bed.say(new, OK.serialize())
    assert bed.counts() == (0, 1, 0, 0)
    bed.world.advance(3.9)
    assert not new.is_gone
    bed.world.advance(0.2)
    assert new.is_gone


def test_nothing_is_kept_of_one_that_is_gone() -> None:
    bed = Bed()
    bed.http2().transport.die()
    bed.world.run()
    assert not bed.pool._preferred
    assert bed.counts() == (0, 0, 0, 0)


def test_it_serves_who_waits() -> None:
    bed = Bed(limit=2)
    bed.attempt()
    first, second, third = (bed.pool.stream(fresh=fresh) for fresh in (False, False, True))
    assert bed.counts() == (0, 0, 2, 3)
    new = bed.accept()
    bed.say(new, setting_codes({SETTING: 1}))
    for wait in (third, first, second):
        bed.given(wait, new)
    bed.accept()
    assert bed.counts() == (1, 1, 0, 0)


def test_a_connection_that_takes_one_stream_serves_one() -> None:
    bed = Bed(limit=2)
    bed.attempt()
    first, second = bed.pool.stream(), bed.pool.stream()
    new = bed.accept()
    bed.say(new, setting_codes({SETTING: 1, 3: 1}))
    bed.given(first, new)
    assert not second.done
    bed.given(second, bed.accept())


def test_dials_are_counted_as_before() -> None:
    """Those bring HTTP/1.1: one for each who waits, not one for ten."""
    bed = Bed()
    bed.goes_to(bed.http2(streams=1))
    waits = [bed.pool.stream() for _ in range(3)]
    assert bed.counts() == (1, 0, 3, 3)
    for wait in waits:
        bed.given(wait, bed.accept())


def test_while_one_is_under_way_or_open_there_is_no_other() -> None:
    bed = Bed()
    assert bed.attempt()
    assert not bed.attempt()
    new = bed.accept()
    assert not bed.attempt()
    bed.say(new, setting_codes({SETTING: 1}))
    assert not bed.attempt()
    bed.http1()
    bed.world.advance(2 * CONNECT)  # both grew old
    assert new.is_gone
    assert bed.attempt()


@pytest.mark.parametrize("leave", ["close", "die"])
def test_after_one_that_closed_the_next_may_follow_at_once(leave: str) -> None:
    bed = Bed()
    for _ in range(3):
        new = bed.http2()
        getattr(new.transport, leave)()
        bed.world.run()
        assert bed.counts() == (0, 0, 0, 0)


# -- failure ------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_a_server_of_another_version_says_harms_nobody(answer: str, split: Split) -> None:
    bed = Bed(split=split)
    old = bed.http1()
    bed.attempt()
    end = bed.accept()
    bed.say(end, ANSWERS[answer])
    end.transport.close()
    bed.world.run()
    assert end.lost is not False
    assert bed.asked == []
    assert bed.counts() == (0, 1, 0, 0)
    assert bed.silences == 1
    bed.goes_to(old)
    assert not bed.attempt()


@pytest.mark.parametrize("answer", [*ANSWERS, ""])
def test_one_that_says_so_and_stays_is_waited_for_no_longer_than_a_dial(answer: str) -> None:
    bed = Bed()
    bed.attempt()
    end = bed.accept()
    end.half_open = True
    if answer:
        bed.say(end, ANSWERS[answer])
    bed.world.advance(CONNECT + 0.1)
    assert end.is_gone
    assert bed.counts() == (0, 0, 0, 0)
    assert (bed.asked, bed.silences) == ([], 1)
    bed.world.advance(60)
    assert bed.world.loop.timers == 0


def test_silence_may_last_as_long_as_a_dial() -> None:
    bed = Bed()
    bed.attempt()
    end = bed.accept()
    bed.world.advance(CONNECT - 0.1)
    bed.say(end, setting_codes({SETTING: 1}))
    bed.world.advance(1)
    assert bed.counts() == (0, 1, 0, 0)


def test_http2_that_does_not_fit_is_closed_and_not_tried_for_an_hour() -> None:
    bed = Bed()
    bed.attempt()
    end = bed.accept()
    bed.say(end, settings())
    assert (len(bed.asked), bed.silences) == (1, 0)
    assert end.is_gone
    assert bed.counts() == (0, 0, 0, 0)
    bed.world.advance(PAUSE - 1)
    assert not bed.attempt()
    bed.world.advance(2)
    assert bed.attempt()


def test_a_dial_that_fails_is_nobodys_fault_and_tried_again_soon() -> None:
    bed = Bed()
    bed.attempt()
    wait = bed.pool.stream()
    bed.world.refuse()
    assert not wait.done
    bed.given(wait, bed.accept())
    assert not bed.attempt()
    assert not bed.silences
    bed.world.advance(SOON - 1)
    assert not bed.attempt()
    bed.world.advance(2)
    assert bed.attempt()


def test_a_peer_that_is_heard_and_then_breaks_the_rules_was_tried_and_closed() -> None:
    """In one packet: SETTINGS that fit, then what HTTP/2 forbids."""
    bed = Bed()
    bed.attempt()
    end = bed.accept()
    bed.say(end, setting_codes({SETTING: 1}), rst(1))
    end.transport.close()
    bed.world.run()
    assert bed.counts() == (0, 0, 0, 0)
    assert not bed.pool.stream().done


# -- limits, order, the end ---------------------------------------------------------------------


def test_a_full_pool_tries_nothing() -> None:
    bed = Bed(limit=1)
    bed.http1()
    assert bed.pool.is_full
    assert not bed.attempt()
    bed.world.advance(5)
    assert bed.attempt()


def test_it_counts_while_it_lives() -> None:
    bed = Bed(limit=1)
    bed.attempt()
    assert bed.pool.is_full
    wait = bed.pool.stream()
    end = bed.accept()
    assert bed.pool.is_full
    assert (len(bed.world.dials), bed.counts()) == (0, (0, 0, 1, 1))
    bed.say(end, NGINX)
    end.transport.close()
    bed.world.run()
    assert bed.counts() == (0, 0, 1, 1)
    bed.given(wait, bed.accept())


def test_a_refused_attempt_makes_room() -> None:
    bed = Bed(limit=1)
    bed.attempt()
    wait = bed.pool.stream()
    bed.world.refuse()
    bed.world.run()
    bed.given(wait, bed.accept())


def test_tls_has_said_what_it_speaks() -> None:
    bed = Bed()
    bed.world.pool.to(Origin("https", "upstream", 9)).try_http2(bed.fits, bed.silent)
    assert not bed.world.dials


def test_a_closed_pool_takes_none() -> None:
    bed = Bed()
    bed.attempt()
    bed.pool.close()
    assert bed.counts() == (0, 0, 0, 0)
    end = bed.accept()
    assert end.is_gone
    assert not bed.attempt()
    assert bed.world.loop.timers == 0


def test_closing_ends_one_that_waits_for_settings() -> None:
    bed = Bed(limit=1)
    bed.attempt()
    end = bed.accept()
    wait = bed.pool.stream()
    bed.pool.close()
    bed.world.run()
    assert end.is_gone
    with pytest.raises(Busy):
        wait.result()
    assert bed.counts() == (0, 0, 0, 0)
    assert bed.world.loop.timers == 0
    assert not bed.attempt()


def test_closing_ends_one_that_was_taken() -> None:
    bed = Bed()
    end = bed.http2()
    bed.pool.close()
    bed.world.run()
    assert end.is_gone
    assert bed.counts() == (0, 0, 0, 0)


# -- connections that are to stay ---------------------------------------------------------------


def test_the_oldest_connection_that_is_to_stay_comes_first() -> None:
    """Whatever became idle last; the next one only when it is full."""
    bed = Bed()
    bed.world.pair = ("1.1", "2")
    ends, streams = [], []
    for _ in range(3):
        wait = bed.pool.stream(fresh=True)
        ends.append(bed.accept())
        bed.say(ends[-1], settings(MAX_CONCURRENT_STREAMS=1))
        streams.append(bed.begin(wait.result()))
    for number in (1, 2):
        session = streams[number].session
        assert session is not None
        session.idle_seconds = 900
    for number in (2, 1, 0):
        bed.say(ends[number], OK.serialize())
    assert bed.counts() == (0, 3, 0, 0)
    first = bed.goes_to(ends[1])
    bed.goes_to(ends[2])
    bed.goes_to(ends[0])
    assert not bed.pool.stream().done
    first.reset()
    bed.world.run()
    assert bed.counts()[3] == 0


def test_a_connection_is_preferred_from_the_moment_on_that_it_is_to_stay() -> None:
    bed = Bed()
    bed.world.pair = ("1.1", "2")
    first = bed.pool.stream(fresh=True)
    one = bed.accept()
    second = bed.pool.stream(fresh=True)
    other = bed.accept()
    bed.begin(first.result()), bed.begin(second.result())
    bed.goes_to(other)
    session = first.result().session
    assert session is not None
    session.idle_seconds = 900
    bed.goes_to(one)


def test_one_that_was_taken_ends_as_any_connection() -> None:
    bed = Bed()
    new = bed.http2()
    done, under_way = bed.goes_to(new), bed.goes_to(new)
    bed.say(new, OK.serialize())
    assert done.head.result().status == 200
    new.transport.die()
    bed.world.run()
    with pytest.raises(UpstreamFault) as caught:
        under_way.head.result()
    assert caught.value.code == "upstream_disconnected"
    assert bed.counts() == (0, 0, 0, 0)
