"""Signal and Flow: waiting that ends in the very call that brings what was waited for."""

from __future__ import annotations

import pytest

from m2mproxy.http.flow import Flow, Signal


class Ran(list[str]):
    """What happened, in order."""


def test_a_flow_goes_on_inside_the_call_that_sets_its_signal() -> None:
    ran, signal = Ran(), Signal[str]()

    async def work() -> None:
        ran.append(await signal)

    Flow(work(), lambda error: ran.append("end")).start()
    assert ran == []
    signal.set("value")
    assert ran == ["value", "end"]


def test_a_signal_that_is_set_before_is_not_waited_for() -> None:
    ran, signal = Ran(), Signal[str]()
    signal.set("early")

    async def work() -> None:
        ran.append(await signal)

    Flow(work(), lambda error: None).start()
    assert ran == ["early"]


def test_only_the_first_of_set_and_fail_counts() -> None:
    signal = Signal[int]()
    signal.set(1)
    signal.fail(KeyError())
    signal.set(2)
    assert signal.result() == 1


def test_a_failure_is_raised_where_it_is_awaited() -> None:
    ended: list[BaseException | None] = []
    signal = Signal[int]()

    async def work() -> None:
        with pytest.raises(KeyError):
            await signal

    Flow(work(), ended.append).start()
    signal.fail(KeyError())
    assert ended == [None]


def test_what_is_thrown_arrives_at_the_wait_and_finally_runs_once() -> None:
    ran, ended = Ran(), list[BaseException | None]()

    async def work() -> None:
        try:
            await Signal[int]()
        finally:
            ran.append("finally")

    flow = Flow(work(), ended.append)
    flow.start()
    error = KeyError()
    flow.throw(error)
    flow.throw(ValueError())
    assert ran == ["finally"]
    assert ended == [error]


def test_what_is_thrown_at_a_running_flow_arrives_at_its_next_wait() -> None:
    ran, ended = Ran(), list[BaseException | None]()
    first, second = Signal[int](), Signal[int]()

    async def work() -> None:
        await first
        flow.throw(KeyError())
        ran.append("went on")
        await second
        ran.append("never")

    flow = Flow(work(), ended.append)
    flow.start()
    first.set(1)
    assert ran == ["went on"]
    assert isinstance(ended[0], KeyError)


def test_what_is_thrown_is_not_lost_when_the_next_signal_is_set_already() -> None:
    ended: list[BaseException | None] = []
    ready, never = Signal[int](), Signal[int]()
    ready.set(1)

    async def work() -> None:
        flow.throw(KeyError())
        await ready
        await never

    flow = Flow(work(), ended.append)
    flow.start()
    assert isinstance(ended[0], KeyError)


def test_a_signal_wakes_nobody_who_was_thrown_out() -> None:
    ran, signal = Ran(), Signal[int]()

    async def work() -> None:
        try:
            await signal
        except KeyError:
            ran.append("thrown")

    flow = Flow(work(), lambda error: ran.append("end"))
    flow.start()
    flow.throw(KeyError())
    signal.set(1)
    assert ran == ["thrown", "end"]


def test_a_flow_that_catches_what_is_thrown_can_wait_again() -> None:
    ran, second = Ran(), Signal[str]()

    async def work() -> None:
        try:
            await Signal[int]()
        except KeyError:
            ran.append(await second)

    flow = Flow(work(), lambda error: ran.append("end"))
    flow.start()
    flow.throw(KeyError())
    assert ran == []
    second.set("again")
    assert ran == ["again", "end"]


def test_two_flows_that_wake_each_other_are_never_entered_twice() -> None:
    ran = Ran()
    ping, pong = Signal[str](), Signal[str]()

    async def one() -> None:
        ran.append("one waits")
        ran.append(await ping)
        pong.set("pong")
        ran.append("one ends")

    async def two() -> None:
        ping.set("ping")
        ran.append(await pong)

    Flow(one(), lambda error: None).start()
    Flow(two(), lambda error: None).start()
    assert ran == ["one waits", "ping", "one ends", "pong"]


def test_the_end_is_told_with_the_bug_that_ended_it() -> None:
    ended: list[BaseException | None] = []

    async def work() -> None:
        raise ZeroDivisionError

    Flow(work(), ended.append).start()
    assert isinstance(ended[0], ZeroDivisionError)
