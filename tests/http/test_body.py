"""Body: fed and taken without waiting, credit on taking. Gate: told once when there is room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.http.body import Body, Gate, Resumed
from m2mproxy.http.faults import ClientGone, TooLate
from m2mproxy.http.headers import Headers


class Sender:
    """Counts the credit it gets, and what it is told."""

    def __init__(self) -> None:
        self.credits: list[int] = []
        self.changes = 0
        self.body = Body(self._credit)
        self.body.on_change = self._changed

    def _credit(self) -> None:
        self.credits.append(self.body.held)

    def _changed(self) -> None:
        self.changes += 1


def test_chunks_come_out_as_they_went_in() -> None:
    body = Sender().body
    first, second = b"first", memoryview(b"second")
    body.feed(first)
    body.feed(second)
    assert body.held == 11
    assert body.take() is first
    assert body.take() is second
    assert body.take() is None
    assert body.held == 0


def test_a_change_is_told_for_each_chunk_and_the_end() -> None:
    sender = Sender()
    sender.body.feed(b"a")
    sender.body.feed(b"b")
    assert sender.changes == 2
    sender.body.end()
    assert sender.changes == 3


def test_the_last_chunk_is_told_with_the_end() -> None:
    sender = Sender()
    sender.body.feed(b"a")
    sender.body.feed(b"b", is_last=True)
    assert sender.changes == 1
    sender.body.end()
    assert sender.changes == 2
    assert (sender.body.take(), sender.body.take(), sender.body.take()) == (b"a", b"b", None)


def test_a_chunk_can_be_taken_in_the_call_that_tells_of_it() -> None:
    body = Sender().body
    taken: list[object] = []
    body.on_change = lambda: taken.append(body.take())
    body.feed(b"a")
    assert taken == [b"a"]
    assert body.held == 0


def test_arrival_gives_no_credit_and_neither_does_taking_while_nobody_waits() -> None:
    sender = Sender()
    sender.body.feed(b"abc")
    assert sender.credits == []
    sender.body.take()
    assert sender.credits == []


def test_taking_gives_credit_to_a_sender_that_waits() -> None:
    sender = Sender()
    sender.body.feed(b"abc")
    sender.body.feed(b"de")
    sender.body.throttled = True
    sender.body.take()
    sender.body.take()
    assert sender.credits == [2, 0]  # what was still held when credit came
    sender.body.take()  # nothing is there, so nothing is credited
    assert sender.credits == [2, 0]


def test_discarding_gives_credit_for_all_that_is_held() -> None:
    sender = Sender()
    sender.body.feed(b"abc")
    sender.body.throttled = True
    sender.body.discard()
    assert sender.credits == [0]
    assert sender.body.take() is None


def test_after_discard_nothing_is_kept_or_told() -> None:
    sender = Sender()
    sender.body.discard()
    sender.body.feed(b"more")
    sender.body.end()
    assert sender.body.held == 0
    assert sender.body.take() is None
    assert sender.changes == 0


def test_trailers_come_with_the_end() -> None:
    body = Sender().body
    assert body.trailers is None
    body.end(Headers([(b"x-sum", b"1")]))
    assert body.ended
    assert body.trailers == [(b"x-sum", b"1")]


def test_what_came_before_a_fault_can_still_be_taken() -> None:
    body = Sender().body
    body.feed(b"half")
    fault = ClientGone()
    body.fail(fault)
    assert body.fault is fault
    assert not body.ended
    assert body.take() == b"half"


def test_only_the_first_fault_counts_and_is_told() -> None:
    sender = Sender()
    first = ClientGone()
    sender.body.fail(first)
    sender.body.fail(TooLate("idle", "late"))
    assert sender.body.fault is first
    assert sender.changes == 1


def test_a_complete_body_cannot_fail() -> None:
    sender = Sender()
    sender.body.end()
    sender.body.fail(ClientGone())
    assert sender.body.fault is None
    assert sender.changes == 1


# -- Resumed --------------------------------------------------------------------------------------


def test_what_was_taken_comes_first_and_the_same_objects() -> None:
    sender = Sender()
    first, second, third = b"first", memoryview(b"second"), b"third"
    rest = sender.body
    rest.feed(third)
    body = Resumed([first, second], rest)
    assert body.first is first
    assert [body.take(), body.take()] == [first, second]
    assert body.first is third
    assert body.take() is third and body.take() is None and body.first is None


def test_no_credit_before_what_was_taken_is_taken_again() -> None:
    sender = Sender()
    rest = sender.body
    rest.throttled = True
    body = Resumed([b"taken"], rest)
    rest.feed(b"rest")
    body.take()
    assert sender.credits == [] and rest.held == 4
    body.take()
    assert sender.credits == [0]


def test_what_becomes_of_the_rest_is_told() -> None:
    rest, changes = Sender().body, 0

    def changed() -> None:
        nonlocal changes
        changes += 1

    body = Resumed([b"a"], rest)
    body.on_change = changed
    rest.feed(b"b")
    assert changes == 1
    rest.end(Headers([(b"x-sum", b"1")]))
    assert (changes, body.ended, body.trailers) == (2, True, [(b"x-sum", b"1")])
    assert [body.take(), body.take(), body.take()] == [b"a", b"b", None]


def test_what_has_become_of_it_before_is_known_at_once() -> None:
    ended, broken = Sender().body, Sender().body
    ended.end()
    fault = ClientGone()
    broken.fail(fault)
    assert Resumed([], ended).ended
    body = Resumed([b"a"], broken)
    assert body.fault is fault and not body.ended and body.take() == b"a"


def test_to_discard_it_is_to_discard_the_rest() -> None:
    sender = Sender()
    rest = sender.body
    body = Resumed([b"a"], rest)
    rest.feed(b"b")
    rest.throttled = True
    body.discard()
    rest.feed(b"c")
    assert sender.credits == [0, 0]  # for what was there, and for what came after
    assert body.take() is None and rest.held == 0


@given(st.lists(st.binary(max_size=3), max_size=20), st.data())
def test_wherever_it_was_cut_the_chunks_are_the_same(
    chunks: list[bytes], data: st.DataObject
) -> None:
    rest = Body(lambda: None)
    at = data.draw(st.integers(0, len(chunks)))
    body = Resumed(chunks[:at], rest)
    got: list[object] = []
    for chunk in chunks[at:]:
        rest.feed(chunk)
        if data.draw(st.booleans()):
            got.append(body.take())
    rest.end()
    while (last := body.take()) is not None:
        got.append(last)
    assert got == chunks and body.ended


# -- Gate -----------------------------------------------------------------------------------------


def test_a_gate_is_open_until_it_is_shut() -> None:
    gate = Gate()
    assert gate.is_open
    gate.shut()
    assert not gate.is_open
    gate.open()
    assert gate.is_open


def test_who_waits_is_called_once_in_order() -> None:
    gate = Gate()
    called: list[str] = []
    gate.shut()
    gate.wait(lambda: called.append("first"))
    gate.wait(lambda: called.append("second"))
    assert called == []
    gate.open()
    assert called == ["first", "second"]
    gate.open()
    assert called == ["first", "second"]


def test_those_who_come_after_the_room_is_gone_wait_on() -> None:
    gate = Gate()
    called: list[str] = []

    def fill() -> None:
        called.append("fills the room")
        gate.shut()

    gate.shut()
    gate.wait(fill)
    gate.wait(lambda: called.append("waits"))
    gate.open()
    assert called == ["fills the room"]
    gate.open()
    assert called == ["fills the room", "waits"]


def test_who_waits_again_in_its_call_is_called_at_the_next_opening() -> None:
    gate = Gate()
    called: list[int] = []

    def again() -> None:
        called.append(len(called))
        if len(called) < 3:
            gate.shut()
            gate.wait(again)

    gate.shut()
    gate.wait(again)
    gate.open()
    assert called == [0]
    gate.open()
    gate.open()
    assert called == [0, 1, 2]


def test_who_is_forgotten_is_not_called() -> None:
    gate = Gate()
    called: list[str] = []

    def first() -> None:
        called.append("first")
        gate.forget(second)

    def second() -> None:
        called.append("second")

    gate.shut()
    gate.wait(first)
    gate.wait(second)
    gate.open()
    assert called == ["first"]
    gate.forget(second)  # not there: nothing happens


def test_what_is_held_weighs_more_in_small_chunks() -> None:
    body = Body(lambda: None)
    body.feed(b"x" * 1000)
    assert body.weight == 1064
    body.feed(b"y")
    assert (body.held, body.weight) == (1001, 1129)
    body.take()
    assert (body.held, body.weight) == (1, 65)
    body.discard()
    assert body.weight == 0


@given(st.lists(st.integers(0, 200), max_size=30))
def test_a_queue_that_never_runs_empty_keeps_order_and_no_more_than_it_holds(
    takes: list[int],
) -> None:
    """Taking moves no more than was taken: many small chunks cost each the same."""
    body = Body(lambda: None)
    fed = taken = 0
    for count in takes:
        for _ in range(100):
            body.feed(b"%d" % fed)
            fed += 1
        for _ in range(count):
            chunk = body.take()
            assert chunk == (b"%d" % taken if taken < fed else None)
            taken = min(taken + 1, fed)
        assert len(body._chunks) <= 2 * (fed - taken) + 64
