"""What a peer may do for nothing: at once, a second, and for progress."""

from __future__ import annotations

import pytest

from m2mproxy.net import h2_budget
from m2mproxy.net.h2_budget import Budget, FrameBudget


class Clock:
    """Stands still until it is told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def spent(budget: Budget) -> int:
    """How many tokens there are."""
    number = 0
    while budget.spend():
        number += 1
    return number


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_so_many_at_once_and_so_many_a_second(clock: Clock) -> None:
    budget = Budget(clock, 10, 2)
    assert spent(budget) == 10
    clock.now += 1.5
    assert spent(budget) == 3
    clock.now += 0.25
    assert not budget.spend()  # half a token, which is kept
    clock.now += 0.25
    assert spent(budget) == 1


def test_never_more_than_at_first(clock: Clock) -> None:
    budget = Budget(clock, 10, 2)
    clock.now += 1000
    budget.earn(1000)
    assert spent(budget) == 10
    clock.now += 1000
    assert spent(budget) == 10


def test_progress_earns(clock: Clock) -> None:
    budget = Budget(clock, 10, 0)
    assert spent(budget) == 10
    budget.earn(3)
    budget.earn(1)
    assert spent(budget) == 4


def test_a_reset_is_free_for_each_frame_that_was_sent(clock: Clock) -> None:
    budget = FrameBudget(clock, 2, 0)
    for _ in range(5):
        budget.sent(0)
    assert [budget.spend_reset() for _ in range(8)] == [True] * 7 + [False]
    budget.earn(2)
    budget.sent(0)
    assert spent(budget) == 2  # what is free pays for resets only
    assert budget.spend_reset() and not budget.spend_reset()


def test_no_more_resets_are_free_than_frames_can_be_under_way(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h2_budget, "_MOST_ANSWERS", 3)
    budget = FrameBudget(clock, 0, 0)
    for _ in range(9):
        budget.sent(0)
    assert [budget.spend_reset() for _ in range(4)] == [True] * 3 + [False]


def test_what_payload_earns_is_kept_for_grants_of_room(clock: Clock) -> None:
    budget = FrameBudget(clock, 2, 0)
    budget.sent(5)
    assert [budget.spend_grant() for _ in range(8)] == [True] * 7 + [False]
    budget.sent(5)
    assert spent(budget) == 2  # for anything else no more than ever
    assert [budget.spend_grant() for _ in range(6)] == [True] * 5 + [False]


def test_no_more_grants_are_kept_than_can_be_under_way(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h2_budget, "_MOST_GRANTS", 3)
    budget = FrameBudget(clock, 0, 0)
    budget.sent(2)
    budget.sent(2)
    assert [budget.spend_grant() for _ in range(4)] == [True] * 3 + [False]
