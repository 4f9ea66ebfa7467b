"""Who gets which connection: the pool with real connections, dialled by the test."""

from __future__ import annotations

import pytest
from link import Raw
from world import World, reply

from m2mproxy.http.faults import Busy, UpstreamFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Origin, Request
from m2mproxy.net.connection import Stream
from m2mproxy.net.pool import Destination, Wait

ORIGIN = Origin("http", "upstream", 9)


class Bed:
    """A Destination whose dials the test answers with `world.accept` and `world.refuse`."""

    def __init__(self, limit: int = 10, idle_seconds: float = 4, version: str = "1.1") -> None:
        self.world = World(
            pair=("1.1", version),
            limits_upstream_connections=limit,
            timeouts_upstream_keepalive=idle_seconds,
        )
        self.world.accepting = False
        self.pool: Destination = self.world.pool.to(ORIGIN)

    def accept(self) -> Raw:
        end = self.world.accept()
        self.world.run()
        return end

    def counts(self) -> tuple[int, int, int, int]:
        """Active, idle, connecting, waiting."""
        counts = self.pool.counts()
        return counts["active"], counts["idle"], counts["connecting"], counts["waiting"]

    def begin(self, stream: Stream) -> None:
        """Send a request."""
        stream.send_request(Request(b"GET", b"/", b"upstream", Headers()))
        stream.finish()
        self.world.run()

    def use(self, stream: Stream, end: Raw, *lines: bytes) -> None:
        """A whole exchange."""
        self.begin(stream)
        end.send(reply(b"", *lines))
        self.world.run()
        assert stream.head.done

    def gave(self, wait: Wait, end: Raw) -> bool:
        """Whether what `wait` got is a stream on the connection of which `end` is the other end."""
        before = len(end.received)
        assert wait.done
        wait.result().send_request(Request(b"GET", b"/", b"upstream", Headers()))
        self.world.run()
        return len(end.received) > before

    def idle(self) -> Raw:
        """Have one more idle connection."""
        wait = self.pool.stream(fresh=True)
        end = self.accept()
        self.use(wait.result(), end)
        return end


# -- dialling and reuse -------------------------------------------------------------------------


def test_a_request_waits_for_its_dial() -> None:
    bed = Bed()
    wait = bed.pool.stream()
    assert not wait.done
    assert bed.counts() == (0, 0, 1, 1)
    end = bed.accept()
    assert bed.counts() == (1, 0, 0, 0)
    assert bed.gave(wait, end)


def test_a_used_connection_is_given_to_the_next_at_once() -> None:
    bed = Bed()
    end = bed.idle()
    assert bed.counts() == (0, 1, 0, 0)
    wait = bed.pool.stream()
    assert wait.done
    assert not bed.world.dials
    assert bed.counts() == (1, 0, 0, 0)
    assert bed.gave(wait, end)


def test_the_connection_used_last_is_used_first() -> None:
    """The others grow old and go: as many stay as are needed."""
    bed = Bed()
    first, second = bed.idle(), bed.idle()
    assert bed.counts() == (0, 2, 0, 0)
    one, other = bed.pool.stream(), bed.pool.stream()
    assert bed.gave(one, second)
    assert bed.gave(other, first)


def test_a_connection_that_the_upstream_wants_closed_is_not_used_again() -> None:
    bed = Bed()
    wait = bed.pool.stream()
    end = bed.accept()
    bed.use(wait.result(), end, b"connection: close")
    assert end.is_gone
    assert bed.counts() == (0, 0, 0, 0)
    assert not bed.pool.stream().done


def test_a_connection_that_brings_bytes_unasked_is_not_used_again() -> None:
    bed = Bed()
    end = bed.idle()
    end.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    bed.world.run()
    assert end.is_gone
    assert bed.counts() == (0, 0, 0, 0)


@pytest.mark.parametrize("leave", ["close", "die"])
def test_an_idle_connection_that_the_upstream_closes_is_forgotten(leave: str) -> None:
    bed = Bed()
    end = bed.idle()
    getattr(end.transport, leave)()
    bed.world.run()
    assert bed.counts() == (0, 0, 0, 0)
    assert not bed.pool.stream().done


def test_a_stream_that_is_reset_unused_leaves_its_connection() -> None:
    bed = Bed()
    wait = bed.pool.stream()
    end = bed.accept()
    wait.result().reset()
    assert bed.counts() == (0, 1, 0, 0)
    assert not end.is_gone


def test_a_stream_that_is_reset_in_use_takes_its_connection_along() -> None:
    bed = Bed()
    wait = bed.pool.stream()
    end = bed.accept()
    bed.begin(wait.result())
    wait.result().reset()
    bed.world.run()
    assert end.is_gone
    assert bed.counts() == (0, 0, 0, 0)


# -- fresh --------------------------------------------------------------------------------------


def test_fresh_passes_idle_connections_over() -> None:
    bed = Bed()
    bed.idle()
    wait = bed.pool.stream(fresh=True)
    assert not wait.done
    assert bed.counts() == (0, 1, 1, 1)
    assert bed.gave(wait, bed.accept())


def test_fresh_is_not_served_by_a_connection_that_becomes_idle() -> None:
    bed = Bed(limit=2)
    first, second = bed.pool.stream(), bed.pool.stream()
    end = bed.accept()
    bed.accept()
    fresh = bed.pool.stream(fresh=True)
    bed.use(first.result(), end)
    assert not fresh.done
    second.result().reset()
    assert not fresh.done
    end.transport.close()
    bed.world.run()
    assert bed.gave(fresh, bed.accept())


def test_where_all_places_are_taken_one_at_rest_goes_for_who_insists() -> None:
    """He could wait for it longer than for anything, though nobody needs it."""
    bed = Bed(limit=2)
    busy, used = bed.pool.stream(), bed.pool.stream()
    bed.accept()
    end = bed.accept()
    fresh = bed.pool.stream(fresh=True)
    assert bed.counts() == (2, 0, 0, 1)  # neither is at rest
    bed.use(used.result(), end)
    bed.world.run()
    assert end.is_gone
    assert bed.counts() == (1, 0, 1, 1)
    assert bed.gave(fresh, bed.accept())
    later = [bed.pool.stream(fresh=True) for _ in range(2)]
    bed.world.run()
    assert bed.counts() == (2, 0, 0, 2)
    busy.result().reset()
    bed.world.run()
    assert bed.counts() == (1, 0, 1, 2)  # one place, not two
    assert bed.gave(later[0], bed.accept())


def test_one_that_is_at_rest_already_goes_at_once_for_who_insists() -> None:
    bed = Bed(limit=1)
    end = bed.idle()
    fresh = bed.pool.stream(fresh=True)
    bed.world.run()
    assert end.is_gone
    assert bed.gave(fresh, bed.accept())


def test_a_new_connection_goes_to_who_insists_on_one_first() -> None:
    bed = Bed()
    patient, insisting = bed.pool.stream(), bed.pool.stream(fresh=True)
    end = bed.accept()
    assert not patient.done
    assert bed.gave(insisting, end)
    assert bed.gave(patient, bed.accept())


# -- limits and order ---------------------------------------------------------------------------


def test_no_more_connections_are_dialled_than_the_limit() -> None:
    bed = Bed(limit=2)
    waits = [bed.pool.stream() for _ in range(5)]
    assert bed.pool.is_full
    assert bed.counts() == (0, 0, 2, 5)
    bed.accept()
    bed.accept()
    assert not bed.world.dials
    assert [wait.done for wait in waits] == [True, True, False, False, False]
    assert bed.counts() == (2, 0, 0, 3)


def test_who_waits_is_served_in_order_as_connections_become_free() -> None:
    bed = Bed(limit=1)
    waits = [bed.pool.stream() for _ in range(4)]
    end = bed.accept()
    for number, wait in enumerate(waits):
        assert [each.done for each in waits] == [True] * (number + 1) + [False] * (3 - number)
        bed.use(wait.result(), end)
    assert bed.counts() == (0, 1, 0, 0)
    assert len(bed.world.upstreams) == 1


def test_who_comes_later_does_not_pass_who_waits() -> None:
    """Not even in the moment between a connection's end of work and its next."""
    bed = Bed(limit=1)
    first, second = bed.pool.stream(), bed.pool.stream()
    bed.accept()
    first.result().reset()  # the connection is idle; it is offered in the next turn
    third = bed.pool.stream()
    assert not second.done
    assert not third.done
    bed.world.run()
    assert second.done
    assert not third.done


def test_a_connection_that_closes_makes_room_for_a_dial() -> None:
    bed = Bed(limit=1)
    first, second = bed.pool.stream(), bed.pool.stream()
    end = bed.accept()
    bed.begin(first.result())
    end.transport.close()
    bed.world.run()
    assert isinstance(first.result().body.fault, UpstreamFault)
    assert bed.counts() == (0, 0, 1, 1)
    assert bed.gave(second, bed.accept())


def test_a_connection_of_somebody_else_is_not_kept() -> None:
    bed, other = Bed(), Bed()
    end = other.idle()
    (connection,) = other.pool._live
    bed.pool.idle(connection)
    other.world.run()
    assert end.is_gone
    assert bed.counts() == (0, 0, 0, 0)


def test_origins_share_nothing() -> None:
    bed = Bed(limit=1)
    bed.idle()
    other = bed.world.pool.to(Origin("http", "other", 9))
    assert bed.world.pool.to(ORIGIN) is bed.pool
    assert not other.stream().done
    assert len(bed.world.dials) == 1
    assert set(bed.world.pool.counts()) == {"http://upstream:9", "http://other:9"}


# -- giving up ----------------------------------------------------------------------------------


def test_a_place_that_is_left_is_the_next_ones() -> None:
    bed = Bed(limit=1)
    first, second = bed.pool.stream(), bed.pool.stream()
    first.leave()
    first.leave()
    assert bed.counts() == (0, 0, 1, 1)
    end = bed.accept()
    assert bed.gave(second, end)


def test_a_dial_that_nobody_waits_for_any_more_serves_the_next() -> None:
    bed = Bed()
    wait = bed.pool.stream()
    wait.leave()
    end = bed.accept()
    assert bed.counts() == (0, 1, 0, 0)
    assert not end.is_gone
    assert bed.gave(bed.pool.stream(), end)


def test_the_next_request_takes_over_a_dial_that_was_left() -> None:
    bed = Bed()
    bed.pool.stream().leave()
    wait = bed.pool.stream()
    assert len(bed.world.dials) == 1
    assert bed.gave(wait, bed.accept())


def test_leaving_after_the_stream_came_changes_nothing() -> None:
    bed = Bed()
    wait = bed.pool.stream()
    end = bed.accept()
    wait.leave()
    assert bed.gave(wait, end)


def test_who_leaves_between_idle_and_offer_leaves_the_connection_idle() -> None:
    bed = Bed(limit=1)
    first, second = bed.pool.stream(), bed.pool.stream()
    bed.accept()
    first.result().reset()
    second.leave()
    bed.world.run()
    assert bed.counts() == (0, 1, 0, 0)


# -- dials that fail ----------------------------------------------------------------------------


def test_a_failed_dial_is_the_oldest_waiters() -> None:
    bed = Bed()
    first, second = bed.pool.stream(), bed.pool.stream()
    fault = UpstreamFault("connect", "refused")
    bed.world.refuse(fault)
    with pytest.raises(UpstreamFault) as caught:
        first.result()
    assert caught.value is fault
    assert not second.done
    assert bed.counts() == (0, 0, 1, 1)
    assert bed.gave(second, bed.accept())


def test_a_failed_dial_leaves_who_insists_on_a_new_one_insisting() -> None:
    bed = Bed()
    first, second = bed.pool.stream(fresh=True), bed.pool.stream(fresh=True)
    bed.world.refuse()
    assert first.done
    second.leave()
    assert bed.counts() == (0, 0, 1, 0)


def test_a_failed_dial_makes_room_for_who_still_waits() -> None:
    bed = Bed(limit=1)
    first, second = bed.pool.stream(), bed.pool.stream()
    bed.world.refuse()
    assert first.done
    assert not second.done
    assert bed.counts() == (0, 0, 1, 1)
    assert bed.gave(second, bed.accept())


def test_a_failed_dial_that_nobody_waits_for_is_nothing() -> None:
    bed = Bed()
    bed.pool.stream().leave()
    bed.world.refuse()
    assert bed.counts() == (0, 0, 0, 0)
    assert not bed.world.dials


def test_a_failed_dial_fails_as_many_as_the_connection_would_have_taken() -> None:
    bed = Bed(version="2")
    waiting = [bed.pool.stream() for _ in range(150)]
    assert len(bed.world.dials) == 2
    bed.world.refuse()
    assert [wait.done for wait in waiting] == [True] * 100 + [False] * 50
    bed.world.refuse()
    assert all(wait.done for wait in waiting)
    assert not bed.world.dials


def test_all_that_only_ask_share_a_dial() -> None:
    bed = Bed()
    asked = [bed.pool.reached(), bed.pool.reached()]
    assert len(bed.world.dials) == 1
    bed.accept()
    assert [signal.result() for signal in asked] == [None, None]
    assert bed.pool.reached().done


def test_who_only_asks_hears_why_a_dial_failed() -> None:
    bed = Bed()
    asked = [bed.pool.reached(), bed.pool.reached()]
    bed.world.refuse(UpstreamFault("connect", "nobody is there"))
    for signal in asked:
        with pytest.raises(UpstreamFault, match="nobody is there"):
            signal.result()
    assert not bed.pool.reached().done  # which dials again
    assert len(bed.world.dials) == 1


def test_the_one_that_was_used_last_is_used_next() -> None:
    """So that the others grow old, whatever the order in which they were dialled."""
    bed = Bed()
    ends = [bed.idle(), bed.idle()]
    streams = [bed.pool.stream().result() for _ in ends]
    for stream, end in zip(streams, reversed(ends), strict=True):
        bed.use(stream, end)
    assert bed.gave(bed.pool.stream(), ends[0])


def test_nothing_is_kept_of_a_connection_that_is_gone() -> None:
    bed = Bed()
    for end in (bed.idle(), bed.idle()):
        end.transport.die()
    bed.world.run()
    assert not bed.pool._open
    assert bed.counts() == (0, 0, 0, 0)


# -- growing old --------------------------------------------------------------------------------


def test_an_idle_connection_is_closed_before_the_upstream_would() -> None:
    bed = Bed(idle_seconds=4)
    end = bed.idle()
    bed.world.advance(3.9)
    assert not end.is_gone
    bed.world.advance(0.2)
    assert end.is_gone
    assert bed.counts() == (0, 0, 0, 0)
    assert bed.world.loop.timers == 0


def test_a_connection_that_took_a_handshake_of_tls_is_kept_for_longer() -> None:
    bed = Bed()
    near = bed.idle()
    bed.pool = bed.world.pool.to(Origin("https", "upstream", 9))
    far = bed.idle()
    bed.world.advance(54.9)
    assert near.is_gone
    assert not far.is_gone
    bed.world.advance(0.2)
    assert far.is_gone
    assert bed.world.loop.timers == 0


def test_only_the_old_ones_are_closed() -> None:
    bed = Bed(idle_seconds=4)
    first = bed.idle()
    bed.world.advance(2)
    second = bed.idle()
    bed.world.advance(2.1)
    assert first.is_gone
    assert not second.is_gone
    bed.world.advance(1.8)
    assert not second.is_gone
    bed.world.advance(0.2)
    assert second.is_gone


def test_a_connection_in_use_does_not_grow_old() -> None:
    bed = Bed(idle_seconds=4)
    end = bed.idle()
    bed.world.advance(3)
    wait = bed.pool.stream()
    bed.begin(wait.result())
    bed.world.advance(100)
    assert not end.is_gone
    end.send(reply(b""))
    bed.world.advance(3.9)
    assert not end.is_gone
    bed.world.advance(0.2)
    assert end.is_gone


def test_each_connection_has_its_own_idle_time() -> None:
    """Whatever order they became idle in, each is closed at its own time, all before a silent peer
    would be asked whether it is there."""
    bed = Bed(idle_seconds=4)
    bed.world.pair = ("1.1", "2")
    bed.world.neutral = True  # ends that answer when they are asked whether they are there
    streams, ends = [], []
    for _ in range(3):
        streams.append(bed.pool.stream(fresh=True))
        ends.append(bed.accept())
    for wait, seconds in zip(streams, (40.0, 10.0, 2.0), strict=True):
        session = wait.result().session
        assert session is not None
        session.idle_seconds = seconds
        wait.result().reset()
    assert bed.counts() == (0, 3, 0, 0)
    for end, seconds in zip(reversed(ends), (4, 10, 40), strict=True):
        bed.world.advance(1000 + seconds - 0.1 - bed.world.loop.now)
        assert not end.is_gone
        bed.world.advance(0.2)
        assert end.is_gone
    assert bed.world.loop.timers == 0


def test_a_long_idle_time_does_not_hold_the_others_up() -> None:
    bed = Bed(idle_seconds=4)
    bed.world.pair = ("1.1", "2")
    stream = bed.pool.stream(fresh=True)
    lasting = bed.accept()
    session = stream.result().session
    assert session is not None
    session.idle_seconds = 900
    stream.result().reset()
    bed.world.advance(10)  # whoever looks next does so in 890 s
    bed.world.pair = ("1.1", "1.1")
    end = bed.idle()
    bed.world.advance(4.1)
    assert end.is_gone
    assert not lasting.is_gone


# -- the end ------------------------------------------------------------------------------------


def test_closing_ends_a_connection_at_rest() -> None:
    bed = Bed()
    idle = bed.idle()
    bed.pool.close()
    bed.world.run()
    assert idle.is_gone
    assert bed.counts() == (0, 0, 0, 0)


def test_closing_turns_away_who_waits_and_ends_every_connection() -> None:
    bed = Bed(limit=2)
    idle = bed.idle()
    active = bed.pool.stream(fresh=True)
    end = bed.accept()
    bed.begin(active.result())
    waiting = [bed.pool.stream(fresh=True), bed.pool.stream(fresh=True)]
    bed.pool.close()
    bed.world.run()
    assert idle.is_gone
    assert end.is_gone
    for wait in waiting:
        with pytest.raises(Busy) as caught:
            wait.result()
        assert caught.value.code == "shutting_down"
    assert bed.counts() == (0, 0, 0, 0)
    assert not bed.world.dials
