"""One direction of one message's payload (Body), what is left of one of which some was taken
(Resumed), and room to write (Gate).

The one rule: a Body is fed without waiting and taken from without waiting, and the sender gets its
credit back when a chunk is taken or thrown away, never when it arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from m2mproxy.http.faults import Fault
from m2mproxy.http.headers import Headers

Chunk = bytes | memoryview

# What a chunk costs besides its bytes: its object and the queue's slot. Without it, what a sender
# may make us hold would be fifty times as much in chunks of one byte.
CHUNK_COST = 64

# Slots of taken chunks that a queue which never runs empty may keep.
_SPENT = 64


class Body:
    """Chunks that have arrived and were not yet taken.

    Attributes:
        held: bytes of payload that wait to be taken.
        throttled: whether the connection wants to hear of bytes that leave, because it holds their
            sender back.
        ended: whether the message is complete, though some of it may still be held.
        fault: why the message will not be completed; None as long as it may be.
        trailers: the trailer section, once the message is complete and has one.
        on_change: called when a chunk, the end or a fault arrives.
    """

    __slots__ = (
        "_chunks",
        "_credit",
        "_discarding",
        "_first",
        "ended",
        "fault",
        "held",
        "on_change",
        "throttled",
        "trailers",
    )

    def __init__(self, credit: Callable[[], None]) -> None:
        """`credit` is called when bytes leave while `throttled`."""
        self._credit = credit
        self._chunks: list[Chunk] = []  # from `_first` on; a tenth of what a deque costs empty
        self._first = 0
        self._discarding = False
        self.held = 0
        self.throttled = False
        self.ended = False
        self.fault: Fault | None = None
        self.trailers: Headers | None = None
        self.on_change: Callable[[], None] | None = None

    @classmethod
    def complete(cls, chunks: list[Chunk], trailers: Headers | None = None) -> Body:
        """One that is all there, whose sender has had its credit. It takes `chunks` for its own."""
        body = cls(_nothing)
        body._chunks, body.held = chunks, sum(map(len, chunks))
        body.ended, body.trailers = True, trailers
        return body

    def feed(self, chunk: Chunk, is_last: bool = False) -> None:
        """A chunk arrived. Its connection looks at `weight` next, and may stop the sender, or has
        it `join`ed. After the one that `is_last` it calls `end` at once, which tells of both."""
        if self._discarding:
            if self.throttled:
                self._credit()
            return
        self._chunks.append(chunk)
        self.held += len(chunk)
        if self.on_change is not None and not is_last:
            self.on_change()

    def end(self, trailers: Headers | None = None) -> None:
        """The message is complete."""
        self.ended = True
        self.trailers = trailers
        if self.on_change is not None:
            self.on_change()

    def fail(self, fault: Fault) -> None:
        """The message will not be completed. What is held can still be taken."""
        if self.fault is None and not self.ended:
            self.fault = fault
            if self.on_change is not None:
                self.on_change()

    def take(self) -> Chunk | None:
        """The next chunk, its bytes credited; None when there is none now."""
        chunks = self._chunks
        if not chunks:
            return None
        # Most of the time it is the only one.
        chunk = chunks.pop() if len(chunks) == 1 else self._oldest(chunks)
        self.held -= len(chunk)
        if self.throttled:
            self._credit()
        return chunk

    @property
    def first(self) -> Chunk | None:
        """The next chunk, left where it is; None when there is none now."""
        return self._chunks[self._first] if self._chunks else None

    def join(self) -> None:
        """Make one chunk of what is held: many small ones take more memory than it does."""
        self._chunks = [b"".join(self._chunks[self._first :])]
        self._first = 0

    def _oldest(self, chunks: list[Chunk]) -> Chunk:
        first = self._first
        chunk, chunks[first] = chunks[first], b""
        first += 1
        if first == len(chunks):
            chunks.clear()
            first = 0
        elif first >= _SPENT and first * 2 >= len(chunks):
            del chunks[:first]  # moves no more than it removes
            first = 0
        self._first = first
        return chunk

    @property
    def weight(self) -> int:
        """What is held, in bytes of memory: `held` and the cost of each chunk."""
        return self.held + CHUNK_COST * (len(self._chunks) - self._first)

    def discard(self) -> None:
        """Nobody will take what is held or still to come: credit all of it."""
        self._discarding = True
        self.on_change = None
        self._chunks.clear()
        self._first = 0
        self.held = 0
        if self.throttled:
            self._credit()

    def paid(self) -> None:
        """Nothing is held, and no more will come: let go of who would want to hear of it."""
        self.throttled = False
        self._credit = _nothing


class Resumed(Body):
    """Chunks that were taken of another body, and then what that one still gets.

    The other body's sender has had its credit for the chunks, and gets no more until they are taken
    here, too: it is asked for its next one when there is none of them left.
    """

    __slots__ = ("_rest",)

    def __init__(self, taken: Iterable[Chunk], rest: Body) -> None:
        super().__init__(credit=_nothing)
        for chunk in taken:
            self.feed(chunk)
        self._rest = rest
        rest.on_change = self._changed
        self._changed()

    def take(self) -> Chunk | None:
        chunk = super().take()
        return self._rest.take() if chunk is None else chunk

    @property
    def first(self) -> Chunk | None:
        own = super().first
        return self._rest.first if own is None else own

    def discard(self) -> None:
        super().discard()
        self._rest.discard()

    def _changed(self) -> None:
        rest = self._rest
        if rest.ended:
            self.end(rest.trailers)
        elif rest.fault is not None:
            self.fail(rest.fault)
        elif self.on_change is not None:
            self.on_change()


def _nothing() -> None:
    """There is no credit to give."""


class Gate:
    """Whether there is room to write. Whoever finds it shut is called when it opens."""

    __slots__ = ("_waiters", "is_open")

    def __init__(self) -> None:
        self.is_open = True
        self._waiters: tuple[Callable[[], None], ...] = ()

    def shut(self) -> None:
        """No room."""
        self.is_open = False

    def open(self) -> None:
        """Room again: call everyone who waits, in order, as long as it lasts."""
        self.is_open = True
        while self._waiters and self.is_open:
            first, *rest = self._waiters
            self._waiters = tuple(rest)
            first()

    def wait(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the gate opens."""
        self._waiters = (*self._waiters, callback)

    def forget(self, callback: Callable[[], None]) -> None:
        """Withdraw `wait`."""
        self._waiters = tuple(waiter for waiter in self._waiters if waiter != callback)
