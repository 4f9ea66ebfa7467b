"""Signal and Flow: resumed by the call that brings what is waited for, never entered twice."""

from __future__ import annotations

import pytest

from m2mproxy.http.flow import Flow, Signal


class Told:
    """What `on_end` was told."""

    def __init__(self) -> None:
        self.ends: list[BaseException | None] = []

    def __call__(self, error: BaseException | None) -> None:
        self.ends.append(error)


class Stop(Exception):
    """Thrown by a test."""


# -- Signal -------------------------------------------------------------------------------------


def test_only_the_first_of_set_and_fail_counts() -> None:
    signal: Signal[int] = Signal()
    assert not signal.done
    signal.set(1)
    signal.set(2)
    signal.fail(Stop())
    assert signal.done
    assert signal.result() == 1
    failed: Signal[int] = Signal()
    failed.fail(Stop("first"))
    failed.fail(Stop("second"))
    failed.set(1)
    with pytest.raises(Stop, match="first"):
        failed.result()


def test_a_signal_calls_its_waiter_once() -> None:
    signal: Signal[int] = Signal()
    calls: list[bool] = []
    signal.subscribe(lambda: calls.append(signal.done))
    signal.set(1)
    signal.set(2)
    assert calls == [True]


def test_a_waiter_that_left_is_not_called() -> None:
    signal: Signal[int] = Signal()
    signal.subscribe(lambda: pytest.fail("called"))
    signal.subscribe(None)
    signal.set(1)


# -- Flow: waiting and resuming -------------------------------------------------------------------


def test_a_flow_resumes_inside_the_call_that_sets() -> None:
    signal: Signal[str] = Signal()
    steps: list[str] = []
    told = Told()

    async def work() -> None:
        steps.append("begun")
        steps.append(await signal)

    Flow(work(), told).start()
    assert steps == ["begun"]
    assert told.ends == []
    signal.set("set")
    assert steps == ["begun", "set"]
    assert told.ends == [None]


def test_what_is_known_already_is_not_waited_for() -> None:
    signal: Signal[int] = Signal()
    signal.set(5)
    told = Told()
    results: list[int] = []

    async def work() -> None:
        results.append(await signal)
        results.append(await signal)

    Flow(work(), told).start()
    assert results == [5, 5]
    assert told.ends == [None]


def test_a_failure_is_raised_where_it_is_waited_for() -> None:
    signal: Signal[int] = Signal()
    told = Told()
    caught: list[str] = []

    async def work() -> None:
        try:
            await signal
        except Stop as error:
            caught.append(str(error))

    Flow(work(), told).start()
    signal.fail(Stop("gone"))
    assert caught == ["gone"]
    assert told.ends == [None]


def test_a_flow_can_wait_many_times_without_growing_deeper() -> None:
    signals: list[Signal[int]] = [Signal() for _ in range(5000)]
    told = Told()
    total: list[int] = []

    async def work() -> None:
        for signal in signals:
            total.append(await signal)

    Flow(work(), told).start()
    for number, signal in enumerate(signals):
        signal.set(number)
    assert total == list(range(5000))
    assert told.ends == [None]


# -- Flow: the end ------------------------------------------------------------------------------


def test_the_end_is_told_once_with_what_ended_it() -> None:
    told = Told()
    error = Stop()

    async def work() -> None:
        raise error

    flow = Flow(work(), told)
    flow.start()
    flow.throw(Stop())
    assert told.ends == [error]


def test_what_is_no_ordinary_exception_is_told_and_goes_on() -> None:
    signal: Signal[int] = Signal()
    told = Told()

    async def work() -> None:
        await signal
        raise KeyboardInterrupt

    Flow(work(), told).start()
    with pytest.raises(KeyboardInterrupt):
        signal.set(1)
    assert [type(end) for end in told.ends] == [KeyboardInterrupt]


def test_a_throw_after_the_end_is_nothing() -> None:
    signal: Signal[int] = Signal()
    told = Told()

    async def work() -> None:
        await signal

    flow = Flow(work(), told)
    flow.start()
    signal.set(1)
    flow.throw(Stop())
    assert told.ends == [None]


def test_a_throw_at_the_end_itself_is_nothing() -> None:
    ends: list[BaseException | None] = []

    async def work() -> None:
        pass

    def on_end(error: BaseException | None) -> None:
        ends.append(error)
        flow.throw(Stop())

    flow = Flow(work(), on_end)
    flow.start()
    assert ends == [None]


# -- Flow: throw --------------------------------------------------------------------------------


def test_a_throw_ends_the_wait_and_runs_finally_once() -> None:
    signal: Signal[int] = Signal()
    told = Told()
    steps: list[str] = []

    async def work() -> None:
        try:
            await signal
        finally:
            steps.append("finally")

    flow = Flow(work(), told)
    flow.start()
    error = Stop()
    flow.throw(error)
    assert steps == ["finally"]
    assert told.ends == [error]
    flow.throw(Stop())
    signal.set(1)  # nobody waits any more
    assert steps == ["finally"]
    assert told.ends == [error]


def test_a_throw_while_running_is_raised_at_the_next_wait() -> None:
    first: Signal[int] = Signal()
    second: Signal[int] = Signal()
    told = Told()
    steps: list[str] = []

    async def work() -> None:
        await first
        steps.append("runs on")
        flow.throw(error)
        steps.append("still")
        try:
            await second
        finally:
            steps.append("finally")

    flow = Flow(work(), told)
    error = Stop()
    flow.start()
    first.set(1)
    assert steps == ["runs on", "still", "finally"]
    assert told.ends == [error]
    second.set(1)
    assert told.ends == [error]


def test_only_the_first_throw_while_running_counts() -> None:
    told = Told()
    never: Signal[int] = Signal()
    first = Stop("first")

    async def work() -> None:
        flow.throw(first)
        flow.throw(Stop("second"))
        await never

    flow = Flow(work(), told)
    flow.start()
    assert told.ends == [first]


def test_a_throw_while_running_is_lost_on_a_flow_that_ends_by_itself() -> None:
    told = Told()

    async def work() -> None:
        flow.throw(Stop())

    flow = Flow(work(), told)
    flow.start()
    assert told.ends == [None]


def test_a_throw_can_be_caught_and_waited_after() -> None:
    never: Signal[int] = Signal()
    later: Signal[str] = Signal()
    told = Told()
    results: list[str] = []

    async def work() -> None:
        try:
            await never
        except Stop:
            results.append(await later)

    flow = Flow(work(), told)
    flow.start()
    flow.throw(Stop())
    assert told.ends == []
    never.set(1)  # left behind: wakes nobody
    assert results == []
    later.set("later")
    assert results == ["later"]
    assert told.ends == [None]


# -- Flow: one another --------------------------------------------------------------------------


def test_two_flows_that_wake_each_other_are_not_entered_while_they_run() -> None:
    ping: Signal[int] = Signal()
    pong: Signal[int] = Signal()
    running: set[str] = set()
    steps: list[str] = []
    told = Told()

    async def one() -> None:
        await ping
        running.add("one")
        pong.set(1)  # runs the other, which throws at us
        steps.append("one goes on")
        running.remove("one")
        await Signal[int]()

    async def other() -> None:
        await pong
        assert "one" in running
        steps.append("other")
        first.throw(Stop())
        steps.append("other goes on")

    first, second = Flow(one(), told), Flow(other(), told)
    first.start()
    second.start()
    ping.set(1)
    assert steps == ["other", "other goes on", "one goes on"]
    assert [type(end) for end in told.ends] == [type(None), Stop]


def test_a_flow_may_set_what_it_waits_for_next() -> None:
    signal: Signal[int] = Signal()
    told = Told()
    results: list[int] = []

    async def work() -> None:
        signal.set(3)
        results.append(await signal)

    Flow(work(), told).start()
    assert results == [3]
    assert told.ends == [None]
