"""Deadline: one point in time, one timer at most, however often it is moved."""

from __future__ import annotations

from functools import partial

import pytest
from clock import DrivenLoop

from m2mproxy.net.deadline import Deadline, Deadlines

WITH_OTHERS = pytest.mark.parametrize("shares", [False, True], ids=["alone", "with others"])


class Bed:
    """A deadline, and when it was called."""

    def __init__(self, shares: bool = False) -> None:
        self.loop = DrivenLoop()
        self.start = self.loop.now
        self.called: list[float] = []
        self.shared = Deadlines(self.loop) if shares else None
        self.deadline = Deadline(self.loop, self._call, self.shared)

    def _call(self) -> None:
        self.called.append(round(self.loop.now - self.start, 3))


@WITH_OTHERS
def test_it_is_called_once_when_its_time_has_come(shares: bool) -> None:
    bed = Bed(shares)
    bed.deadline.after(5)
    bed.loop.advance(4.9)
    assert bed.called == []
    bed.loop.advance(100)
    assert bed.called == [5.0]
    assert bed.loop.timers == 0


@WITH_OTHERS
def test_moving_it_away_costs_no_timer(shares: bool) -> None:
    bed = Bed(shares)
    for _ in range(1000):
        bed.deadline.after(5)
        bed.loop.advance(0.01)
        assert bed.loop.timers == 1
    bed.loop.advance(100)
    assert bed.called == [14.99]


@WITH_OTHERS
def test_moving_it_nearer_is_done_at_once(shares: bool) -> None:
    bed = Bed(shares)
    bed.deadline.after(100)
    bed.deadline.after(2)
    assert bed.loop.timers == 1
    bed.loop.advance(200)
    assert bed.called == [2.0]


@WITH_OTHERS
def test_a_cleared_one_is_not_called_and_may_be_set_again(shares: bool) -> None:
    bed = Bed(shares)
    bed.deadline.after(5)
    bed.deadline.clear()
    assert bed.deadline.when is None
    bed.loop.advance(10)
    assert bed.called == []
    bed.deadline.after(5)
    bed.loop.advance(10)
    assert bed.called == [15.0]


@WITH_OTHERS
def test_one_cleared_and_set_keeps_the_new_time(shares: bool) -> None:
    bed = Bed(shares)
    bed.deadline.after(5)
    bed.deadline.clear()
    bed.deadline.after(8)
    bed.loop.advance(20)
    assert bed.called == [8.0]


@WITH_OTHERS
def test_cancelling_leaves_no_timer(shares: bool) -> None:
    bed = Bed(shares)
    bed.deadline.after(5)
    bed.deadline.cancel()
    assert bed.loop.timers == 0
    bed.loop.advance(10)
    assert bed.called == []
    bed.deadline.cancel()
    bed.deadline.after(1)
    bed.loop.advance(10)
    assert bed.called == [11.0]


def test_it_can_be_set_again_in_its_call() -> None:
    loop = DrivenLoop()
    called: list[float] = []

    def again() -> None:
        called.append(loop.now)
        if len(called) < 3:
            deadline.after(1)

    deadline = Deadline(loop, again)
    deadline.after(1)
    loop.advance(10)
    assert called == [1001.0, 1002.0, 1003.0]
    assert loop.timers == 0


@WITH_OTHERS
def test_a_time_that_is_past_comes_in_the_next_turn_not_in_the_call(shares: bool) -> None:
    bed = Bed(shares)
    bed.deadline.at(bed.loop.now - 1)
    assert bed.called == []
    bed.loop.run()
    assert bed.called == [0.0]


def test_a_timer_that_fires_a_little_early_counts() -> None:
    """A loop's clock may be coarse: better a millisecond early than one timer more."""
    bed = Bed()
    bed.deadline.after(5)
    bed.deadline.after(5.001)
    bed.loop.advance(5)
    assert bed.called == [5.0]


def test_those_that_are_far_away_share_a_timer_and_come_each_in_its_time() -> None:
    bed = Bed(shares=True)
    called: list[tuple[int, float]] = []

    def note(number: int) -> None:
        called.append((number, round(bed.loop.now - bed.start, 3)))

    for number in range(100):
        deadline = Deadline(bed.loop, partial(note, number), bed.shared)
        deadline.after(75 + number / 1000)
    assert bed.loop.timers == 1
    bed.loop.advance(74.9)
    assert called == []
    bed.loop.advance(1)
    assert called == [(number, 75 + number / 1000) for number in range(100)]
    assert bed.loop.timers == 0


def test_one_that_leaves_the_others_leaves_them_their_timer() -> None:
    bed = Bed(shares=True)
    other = Deadline(bed.loop, lambda: None, bed.shared)
    other.after(5)
    bed.deadline.after(5)
    other.cancel()
    assert bed.loop.timers == 1
    bed.loop.advance(10)
    assert bed.called == [5.0]


def test_one_that_was_moved_joins_others_again() -> None:
    bed = Bed(shares=True)
    other = Deadline(bed.loop, lambda: None, bed.shared)
    bed.deadline.after(5)
    bed.deadline.after(20)
    other.after(20)
    bed.loop.advance(10)
    assert bed.loop.timers == 1
    bed.loop.advance(20)
    assert bed.called == [20.0]
