"""Waiting without a Task: a coroutine stepped by the very callback that brings what it waits for.

An asyncio.Task resumes in a later loop turn and costs more than the rest of a small exchange. A
Flow resumes inside the callback: what arrives in a turn leaves in that turn. Giving up is
`throw`, which never waits either, and a `finally` that tried to wait would be an error by the
language's own rules.

The one rule: a Flow waits for nothing but a Signal, and a Signal wakes nothing but its one waiter.
A Flow that is running is never entered again: what is thrown at it meanwhile is delivered when it
next waits (see mitmproxy's #7027 for what happens otherwise).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Signal(Generic[T]):
    """Something that will be known once: a value or a failure."""

    __slots__ = ("_error", "_value", "_waiter", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._waiter: Callable[[], None] | None = None

    def set(self, value: T) -> None:
        """Make the value known. Only the first of `set` and `fail` counts."""
        if not self.done:
            self._value = value
            self._settle()

    def fail(self, error: BaseException) -> None:
        """Make it known that there will be no value."""
        if not self.done:
            self._error = error
            self._settle()

    def _settle(self) -> None:
        self.done = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter()

    def subscribe(self, waiter: Callable[[], None] | None) -> None:
        """Let `waiter` be called once when the value or failure is known; None to leave."""
        self._waiter = waiter

    def result(self) -> T:
        """The value, or the failure raised. Only when `done`."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def __await__(self) -> Generator[Signal[T], None, T]:
        if not self.done:
            yield self
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


class Flow:
    """One coroutine, run by hand. `on_end` gets the exception that ended it, or None."""

    __slots__ = ("_coroutine", "_on_end", "_running", "_thrown", "_waiting")

    def __init__(
        self,
        coroutine: Coroutine[Signal[Any], None, None],
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        self._coroutine = coroutine
        self._on_end = on_end
        self._running = False
        self._waiting: Signal[Any] | None = None
        self._thrown: BaseException | None = None

    def start(self) -> None:
        """Run to the first wait."""
        self._step()

    def throw(self, error: BaseException) -> None:
        """Raise `error` where the coroutine waits: now, or at its next wait if it is running."""
        if self._running:
            if self._thrown is None:
                self._thrown = error
            return
        if self._waiting is not None:
            self._waiting.subscribe(None)
            self._step(error)

    def _step(self, error: BaseException | None = None) -> None:
        self._waiting = None
        self._running = True
        try:
            while True:
                if error is None:
                    signal = self._coroutine.send(None)
                else:
                    signal = self._coroutine.throw(error)
                error, self._thrown = self._thrown, None
                if error is None:
                    break
        except StopIteration:
            self._end(None)
        except BaseException as ended:
            self._end(ended)
            if not isinstance(ended, Exception):
                raise
        else:
            self._waiting = signal
            signal.subscribe(self._step)
        finally:
            self._running = False

    def _end(self, error: BaseException | None) -> None:
        # Let go of the owner, who holds us: no work for the cycle collector.
        on_end, self._on_end = self._on_end, _nobody
        on_end(error)


def _nobody(_: BaseException | None) -> None:
    """The end has been told already."""
