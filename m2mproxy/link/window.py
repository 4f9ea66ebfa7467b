"""What one end of a link remembers of one connection: entries, each a request's body and its reply.

Both ends keep the same entries as long as both keep them: each forgets by the same rules, and where
they differ the edge is told (core.py) and sends again. All windows of a process share one Memory.

An entry that another one replaces is only there in case the edge never hears of that one; as soon
as it does, it lets the first go. So such an entry goes before all that nothing replaces, or each
conversation would take twice the room at the core that it takes at the edge.

The one rule: what is kept is counted, and what is too much, or was not used for too long, goes
before anything is added.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from m2mproxy.link.ready import Ready
from m2mproxy.link.scope import NOTHING, Names

MiB = 1 << 20
# What an entry costs beside its bytes: itself, its places in tables, a scope of its own.
_OVERHEAD = 1024
# Entries of a process for whose next turn something is ready: conversations that go on at the same
# time. These are not counted, and take some 300 KiB each.
_MOST_READY = 8


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a window may hold, in bytes of memory, and for how long after the last use, in seconds.

    `entry` is the largest body that is remembered, if it fits in the others.
    """

    entry: int = 8 * MiB
    scope: int = 16 * MiB
    connection: int = 32 * MiB
    seconds: float = 900.0


@dataclass(slots=True, eq=False)
class Entry:
    """A body that crossed on a stream, for those who share its scope."""

    number: int
    scope: bytes
    body: bytes
    tenant: bytes = b""
    """Of its scope, what the header alone says."""
    reply: bytes = b""
    ends: bytes = b""
    """What is kept of that as it came, where there is a text of it."""
    tail: int | None = None
    """Where it was sent as an insertion: how many bytes of the body follow that."""
    usable: bool = False
    """Whether the other end is known to have it."""
    used: float = 0.0
    aside: bool = False
    """Whether the request only asked about a conversation, such as how many tokens it has."""
    successor_of: int = 0
    """The number of the entry that this one contains; that one is not needed any more once this one
    is in use. 0 for none."""
    extra: int = 0
    """Bytes that an index of it takes."""
    marks: list[int] = field(default_factory=list)
    """Where an index has it."""
    secrets: list[bytes] = field(default_factory=list)
    """What its reply has and nobody can guess: ids of calls, which are sent back with results."""
    others: list[bytes] = field(default_factory=list)
    """The same of what may be sent back, or not."""
    called: list[bytes] = field(default_factory=list)
    """Such secrets of replies to entries that it replaced, as far as its body has them."""
    names: Names = NOTHING
    """What its body says of whose it is, where that is worth to be known again."""
    ready: Ready | None = None
    """What codes the body that continues it, or reads it, where that is made."""

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return len(self.body) + len(self.reply) + len(self.ends) + self.extra + _OVERHEAD

    @property
    def grown_to(self) -> int:
        """Where its own insertion ends, and the next turn's is likely to begin; 0 if unknown."""
        return len(self.body) - self.tail if self.tail is not None else 0

    def clear(self) -> None:
        """Let go of what it holds."""
        self.body = self.reply = self.ends = b""
        self.marks, self.secrets, self.others, self.called = [], [], [], []
        self.extra, self.names, self.ready = 0, NOTHING, None

    def take_ready(self) -> Ready | None:
        """What is ready, which is used once."""
        ready, self.ready = self.ready, None
        return ready


class Memory:
    """What all windows of a process hold together."""

    def __init__(self, limit: int) -> None:
        """`limit` in bytes."""
        self._limit = limit
        self._windows: OrderedDict[Window, None] = OrderedDict()  # the longest unused first
        self._ready: OrderedDict[Entry, None] = OrderedDict()  # the longest ready first
        self.used = 0

    def keep_ready(self, entry: Entry) -> None:
        """Something is ready for `entry`. Only the last few keep that."""
        self._ready[entry] = None
        self._ready.move_to_end(entry)
        if len(self._ready) > _MOST_READY:
            oldest, _ = self._ready.popitem(last=False)
            oldest.ready = None

    def changed(self, window: Window, size: int) -> None:
        """`window` holds `size` bytes more, or less. Those that were unused for longest make
        room."""
        self.used += size
        if size <= 0:
            return
        self._windows[window] = None
        self._windows.move_to_end(window)
        while self.used > self._limit and self._windows:
            oldest = next(iter(self._windows))
            if not oldest.drop_oldest():
                del self._windows[oldest]

    def forget(self, window: Window, size: int) -> None:
        """`window` is given up, with all of its `size` bytes."""
        self.used -= size
        self._windows.pop(window, None)


class _Held:
    """The entries of a connection, or of one scope of it."""

    __slots__ = ("entries", "replaced", "size")

    def __init__(self) -> None:
        self.entries: OrderedDict[int, Entry] = OrderedDict()  # the longest unused first
        self.replaced: dict[int, Entry] | None = None  # those that others replace, in that order
        self.size = 0

    def add(self, entry: Entry, before: Entry | None) -> None:
        """Have `entry`, which may replace the one `before`."""
        self.entries[entry.number] = entry
        if before is not None:
            self.replaced = self.replaced or {}  # made late: a scope may be a single short body
            self.replaced.setdefault(before.number, before)

    def drop(self, entry: Entry) -> None:
        """It is gone."""
        del self.entries[entry.number]
        if self.replaced:
            self.replaced.pop(entry.number, None)

    def next_to_go(self, but: Entry) -> Entry:
        """The one that makes room."""
        order = chain((self.replaced or {}).values(), self.entries.values())
        return next(each for each in order if each is not but)


class Window:
    """The entries of one connection."""

    def __init__(
        self,
        bounds: Bounds,
        memory: Memory,
        clock: Callable[[], float],
        on_drop: Callable[[Entry], None] | None = None,
    ) -> None:
        """`on_drop` is told of every entry that goes before the end."""
        self._bounds = bounds
        self._most = min(bounds.scope, bounds.connection)
        self._memory = memory
        self._clock = clock
        self._on_drop = on_drop
        self._all = _Held()
        self._scopes: dict[bytes, _Held] = {}
        self._ended = False

    @property
    def size(self) -> int:
        """Bytes that all of them take."""
        return self._all.size

    def __len__(self) -> int:
        return len(self._all.entries)

    def takes(self, size: int) -> bool:
        """Whether a body of that many bytes can be remembered."""
        return not self._ended and size <= self._bounds.entry and size + _OVERHEAD <= self._most

    def add(self, entry: Entry) -> bool:
        """Remember `entry`; what has to go for it goes first, and it goes last. False where it is
        too large, or its number is taken."""
        self.expire()
        taken = entry.number in self._all.entries
        if taken or not self.takes(len(entry.body)) or entry.size > self._most:
            return False
        entry.used = self._clock()
        self._make_room(entry, entry.size)
        before = self._all.entries.get(entry.successor_of)
        for held in (self._all, self._scopes.setdefault(entry.scope, _Held())):
            held.add(entry, before)
        self._count(entry, entry.size)
        return self._has(entry)

    def grow(self, entry: Entry, extra: int) -> bool:
        """An index takes `extra` bytes more for it. False, and nothing is changed, where that is
        too much or the entry is gone."""
        return self.hear(entry, entry.reply, entry.ends, extra)

    def hear(self, entry: Entry, reply: bytes, ends: bytes = b"", extra: int = 0) -> bool:
        """The text of the entry's reply is known, and its `ends`; otherwise as `grow`."""
        more = len(reply) + len(ends) - len(entry.reply) - len(entry.ends) + extra
        if not self._has(entry) or entry.size + more > self._most:
            return False
        self._make_room(entry, more)
        entry.reply, entry.ends = reply, ends
        entry.extra += extra
        self._count(entry, more)
        return self._has(entry)

    def prepare(self, entry: Entry, make: Callable[[int, bytes, bytes], Ready]) -> None:
        """The entry's reply is complete: make ready what its next turn takes. Where that will be is
        not known of a conversation's first turn."""
        if self._has(entry) and entry.tail is not None:
            entry.ready = make(entry.tail, entry.body, entry.reply)
            self._memory.keep_ready(entry)

    def get(self, number: int) -> Entry | None:
        """An entry that is not too old."""
        self.expire()
        return self._all.entries.get(number)

    def use(self, entry: Entry) -> None:
        """`entry` is referred to: it stays, and what it was a continuation of may go."""
        if self._has(entry):
            for held in (self._all, self._scopes[entry.scope]):
                held.entries.move_to_end(entry.number)
            entry.used = self._clock()
        before = self._all.entries.get(entry.successor_of)
        if before is not None:
            self.drop(before)

    def drop(self, entry: Entry) -> None:
        """Forget one. It is empty then, for whoever still holds it."""
        if not self._has(entry):
            return
        for held in (self._all, self._scopes[entry.scope]):
            held.drop(entry)
        self._count(entry, -entry.size)
        if not self._scopes[entry.scope].entries:
            del self._scopes[entry.scope]
        if self._on_drop is not None:
            self._on_drop(entry)
        entry.clear()

    def newest(self, scope: bytes) -> Iterator[Entry]:
        """Those of a scope, the last used first."""
        held = self._scopes.get(scope)
        return iter(reversed(held.entries.values()) if held is not None else ())

    def last_used(self, most: int) -> Iterator[Entry]:
        """Those that were used last, whosever they are: the last first."""
        return islice(reversed(self._all.entries.values()), most)

    def drop_oldest(self) -> bool:
        """Forget the one that was unused for longest. False where there is none."""
        if not self._all.entries:
            return False
        self.drop(next(iter(self._all.entries.values())))
        return True

    def expire(self) -> None:
        """Forget what is too old."""
        limit = self._clock() - self._bounds.seconds
        while self._all.entries and next(iter(self._all.entries.values())).used < limit:
            self.drop_oldest()

    def end(self) -> None:
        """The connection is gone, and everything with it."""
        self._ended = True
        self._memory.forget(self, self.size)
        for entry in self._all.entries.values():
            entry.clear()
        self._all = _Held()
        self._scopes.clear()

    def _has(self, entry: Entry) -> bool:
        return self._all.entries.get(entry.number) is entry

    def _make_room(self, of: Entry, size: int) -> None:
        """Let others go until `of` may be `size` bytes larger, which it can be without them."""
        while self._all.size + size > self._bounds.connection:
            self.drop(self._all.next_to_go(but=of))
        while (held := self._scopes.get(of.scope)) and held.size + size > self._bounds.scope:
            self.drop(held.next_to_go(but=of))

    def _count(self, entry: Entry, size: int) -> None:
        for held in (self._all, self._scopes[entry.scope]):
            held.size += size
        self._memory.changed(self, size)
