"""Streams that the pool has given and on which nothing was sent yet: going back is free, and what
ends the connection meanwhile ends no request."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from frames import raw, setting_codes, settings
from hyperframe.frame import GoAwayFrame
from link import Raw
from world import World, reply

from m2mproxy.http.faults import UpstreamFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Origin, Request
from m2mproxy.net.connection import Stream

VERSIONS = ["1.1", "2"]
BAD_FRAME = raw(0, 0, 0, b"?")  # DATA on no stream


class Bed:
    """A pool and the other end of its one connection."""

    def __init__(self, version: str) -> None:
        self.world = World(pair=("1.1", version))
        self.world.accepting = False
        self.version = version
        self.pool = self.world.pool.to(Origin("http", "upstream", 9))
        wait = self.pool.stream()
        self.end: Raw = self.world.accept()
        if version == "2":
            self.end.send(setting_codes({}))
        self.world.run()
        self.stream: Stream = wait.result()

    def send(self, stream: Stream) -> None:
        stream.send_request(Request(b"POST", b"/", b"h", Headers(), 2))
        stream.write(b"{}")
        stream.finish()

    def counts(self) -> tuple[int, int, int, int]:
        """Active, idle, connecting, waiting."""
        counts = self.pool.counts()
        return counts["active"], counts["idle"], counts["connecting"], counts["waiting"]


def close(bed: Bed) -> None:
    bed.end.transport.close()


def half_close(bed: Bed) -> None:
    """It may still read, and would take what comes for a request."""
    bed.end.half_open = True
    bed.end.transport.write_eof()


def die(bed: Bed) -> None:
    bed.end.transport.die()


def last_words(bed: Bed) -> None:
    """What some say to a connection that was idle for long."""
    if bed.version == "2":
        bed.end.send(GoAwayFrame(0, last_stream_id=0).serialize())
    else:
        bed.end.send(reply(b"", b"connection: close", status=b"408 Request Timeout"))
    bed.end.transport.close()


def nonsense(bed: Bed) -> None:
    bed.end.send(BAD_FRAME if bed.version == "2" else b"\0\r\n\r\n")


both = pytest.mark.parametrize("version", VERSIONS)


@both
def test_a_stream_goes_back_and_its_connection_serves_the_next(version: str) -> None:
    bed = Bed(version)
    for _ in range(3):
        bed.stream.reset()
        bed.stream.reset()
        assert bed.counts() == (0, 1, 0, 0)
        bed.stream = bed.pool.stream().result()
        assert bed.counts() == (1, 0, 0, 0)
    before = len(bed.end.received)
    bed.send(bed.stream)
    bed.world.run()
    assert len(bed.end.received) > before
    assert not bed.end.is_gone


@both
def test_nothing_of_a_stream_that_went_back_is_sent(version: str) -> None:
    bed = Bed(version)
    before = bytes(bed.end.received)
    bed.stream.reset()
    bed.send(bed.stream)
    bed.world.run()
    assert bed.end.received == before
    assert bed.stream.id == 0
    assert bed.counts() == (0, 1, 0, 0)


@both
@pytest.mark.parametrize("end", [close, half_close, die, last_words, nonsense])
@pytest.mark.parametrize("used", [False, True])
def test_a_connection_that_ends_before_the_request_ends_no_request(
    version: str, end: Callable[[Bed], None], used: bool
) -> None:
    bed = Bed(version)
    if used:
        bed.stream.reset()
        bed.stream = bed.pool.stream().result()
    before = bytes(bed.end.received)
    end(bed)
    bed.world.run()
    bed.send(bed.stream)
    bed.world.run()
    with pytest.raises(UpstreamFault) as caught:
        bed.stream.head.result()
    assert caught.value.retry
    assert bed.stream.id == 0
    assert b"{}" not in bytes(bed.end.received)[len(before) :]
    bed.world.advance(60)
    assert bed.end.is_gone or end is half_close
    assert bed.counts() == (0, 0, 0, 0)
    bed.stream.reset()
    assert bed.counts() == (0, 0, 0, 0)


def test_a_request_sent_in_the_turn_in_which_the_connection_closes_is_not_lost() -> None:
    """It is closing already, but its streams were not told yet."""
    bed = Bed("2")
    for connection in list(bed.pool._live):
        connection.abort()
    bed.send(bed.stream)
    with pytest.raises(UpstreamFault) as caught:
        bed.stream.head.result()
    assert caught.value.retry
    assert bed.stream.id == 0
    bed.world.run()
    assert bed.counts() == (0, 0, 0, 0)


def test_a_reply_that_begins_before_its_request_is_none() -> None:
    """Its end would come after the request, as if it were the answer."""
    bed = Bed("1.1")
    whole = reply(b"")
    bed.end.send(whole[:-9])
    bed.world.run()
    bed.send(bed.stream)
    bed.end.send(whole[-9:])
    bed.world.run()
    with pytest.raises(UpstreamFault) as caught:
        bed.stream.head.result()
    assert caught.value.retry
    assert bed.end.is_gone


def test_streams_that_a_limit_came_between_are_taken_elsewhere() -> None:
    """The upstream takes fewer than were promised."""
    bed = Bed("2")
    second = bed.pool.stream().result()
    bed.end.send(settings(MAX_CONCURRENT_STREAMS=1))
    bed.world.run()
    bed.send(bed.stream)
    bed.send(second)
    with pytest.raises(UpstreamFault) as caught:
        second.head.result()
    assert caught.value.retry
    assert (bed.stream.id, second.id) == (1, 0)
    assert not bed.stream.head.done


@both
def test_what_ends_the_connection_after_the_request_is_not_tried_again(version: str) -> None:
    """It may have been looked at."""
    bed = Bed(version)
    bed.send(bed.stream)
    bed.world.run()
    bed.end.transport.close()
    bed.world.run()
    with pytest.raises(UpstreamFault) as caught:
        bed.stream.head.result()
    assert not caught.value.retry


def test_a_connection_that_takes_no_more_streams_ends_with_the_last_that_was_sent() -> None:
    """Whoever was promised one hears at once, and does not keep it open."""
    bed = Bed("2")
    second = bed.pool.stream().result()
    bed.send(bed.stream)
    bed.end.send(GoAwayFrame(0, last_stream_id=1).serialize())
    bed.world.run()
    with pytest.raises(UpstreamFault) as caught:
        second.head.result()
    assert caught.value.retry
    assert not bed.stream.head.done
    assert not bed.end.is_gone
    bed.stream.reset()
    bed.world.run()
    assert bed.end.is_gone
