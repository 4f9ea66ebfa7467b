"""The edge's look-up tables: which entry a new body continues, or has most in common with.

By a body's chain: a hash for each of its first blocks, each over all that came before it, so that
the longest chain which two bodies share says how far they are the same; that is nearly always with
the conversation's last turn. By the places where messages begin, where the beginning differs
(borrow.py). And by ids: a body that has the id of a tool call which only one reply had is of that
conversation, whatever else was changed in it.

The one rule: a hash only finds; what is found is compared (match.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from m2mproxy.link.borrow import Places
from m2mproxy.link.match import BLOCK, continues, continues_at
from m2mproxy.link.shown import last_ids, last_seals
from m2mproxy.link.window import Entry

# Sizes of the chain's blocks, and up to where: short ones at first, where conversations of one
# application part; and long ones in what is large by its images.
_SIZES = ((256, 16 * 1024), (4 * BLOCK, 256 * 1024), (16 * BLOCK, 1 << 62))
# Bytes that a mark takes in a table: a number, and its place.
_MARK = 120
# Bytes that the id of a tool call takes beside itself, and how many of a reply are known.
_SECRET, _MOST_SECRETS, _LONGEST_SECRET = 200, 16, 256
# What the result of a tool call names it by.
_CALLS = (b'"tool_call_id"', b'"call_id"', b'"tool_use_id"')
_text = re.compile(rb'\s*+:\s*+"([^"\\]{8,256})"').match


def chain(scope: bytes, body: bytes, known: Sequence[int] = ()) -> list[int]:
    """The hashes of a body's whole blocks, each over all before it and its scope; the first are
    `known` where another body of that scope has the same blocks."""
    marks = list(known)
    so_far = marks[-1] if marks else hash(scope)
    at = covered(len(marks))
    for size, until in _SIZES:
        for start in range(at, min(len(body), until) - size + 1, size):
            so_far = hash((so_far, body[start : start + size]))
            marks.append(so_far)
        at = max(at, until)
    return marks


def whole_blocks(length: int) -> int:
    """How many marks stand for no more than the first `length` bytes."""
    marks = first = 0
    for size, until in _SIZES:
        marks += max(min(length, until) - first, 0) // size
        first = until
    return marks


def covered(marks: int) -> int:
    """How many bytes so many marks stand for."""
    first = 0
    for size, until in _SIZES:
        if first + marks * size <= until:
            break
        marks -= (until - first) // size
        first = until
    return first + marks * size


def shared(a: list[int], b: list[int]) -> int:
    """For how many bytes two chains are the same: where one mark is, so are all before."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[middle - 1] == b[middle - 1]:
            low = middle
        else:
            high = middle - 1
    return covered(low)


def last_calls(body: bytes) -> list[bytes]:
    """The ids of the last tool calls that `body` has the result of, by any of their names."""
    found = []
    for name in _CALLS:
        at = body.rfind(name)
        if at >= 0 and (match := _text(body, at + len(name))):
            found.append(match[1])
    return found


class Within(NamedTuple):
    """An entry whose body another one is, but for an insertion `at` that place."""

    entry: Entry
    at: int


class Index:
    """Finds entries of a window."""

    def __init__(self) -> None:
        self._by_mark: dict[int, Entry] = {}
        self._by_secret: dict[bytes, Entry] = {}
        self._by_other: dict[bytes, Entry] = {}
        self._places: dict[Entry, Places] = {}

    def add(self, entry: Entry) -> None:
        """Find `entry` by its chain, from now on."""
        self._by_mark.update(dict.fromkeys(entry.marks, entry))

    def add_secrets(
        self, entry: Entry, secrets: list[bytes], others: Iterable[bytes] = ()
    ) -> None:
        """Find `entry` by what only its reply had, ids of calls and others: some that `known_by`
        gave."""
        entry.secrets, entry.others = secrets, list(others)
        self._by_secret.update(dict.fromkeys(secrets, entry))
        self._by_other.update(dict.fromkeys(entry.others, entry))

    @staticmethod
    def known_by(secrets: list[bytes]) -> tuple[list[bytes], int]:
        """Those of `secrets` that an entry is found by, and the bytes of memory that they take."""
        some = [each for each in secrets if len(each) <= _LONGEST_SECRET][-_MOST_SECRETS:]
        return some, sum(map(len, some)) + _SECRET * len(some)

    def inherit(self, entry: Entry, called: list[bytes]) -> None:
        """Find `entry`, too, by secrets of those that it replaces: some that `known_by` gave."""
        entry.called = called
        self._by_secret.update(dict.fromkeys(called, entry))

    def conversation(self, scope: bytes, calls: Iterable[bytes]) -> Entry | None:
        """The entry that is known by one of these `calls`, which `last_calls` gave: its reply has
        it, or its body has it out of the reply to one that it replaced."""
        for call in calls:
            entry = self._by_secret.get(call) or self._by_other.get(call)
            if entry is not None and entry.scope == scope:
                return entry
        return None

    def shown(self, scope: bytes, body: bytes) -> Entry | None:
        """The entry of whose reply the `body` has what is no call of a function: an id, or what is
        sealed in it."""
        if not self._by_other:
            return None
        return self.conversation(scope, [*last_seals(body), *last_ids(body)])

    @staticmethod
    def cost(marks: list[int]) -> int:
        """Bytes of memory that the marks of an entry take."""
        return _MARK * len(marks)

    def drop(self, entry: Entry) -> None:
        """It is forgotten. What others share with it is found through the one used last."""
        for mark in entry.marks:
            if self._by_mark.get(mark) is entry:
                del self._by_mark[mark]
        for secret in (*entry.secrets, *entry.called):
            if self._by_secret.get(secret) is entry:
                del self._by_secret[secret]
        for other in entry.others:
            if self._by_other.get(other) is entry:
                del self._by_other[other]
        self._places.pop(entry, None)

    def clear(self) -> None:
        """All are forgotten."""
        self._by_mark.clear()
        self._by_secret.clear()
        self._by_other.clear()
        self._places.clear()

    @staticmethod
    def continued(
        body: bytes, marks: list[int], entries: Iterable[Entry], within: Within | None = None
    ) -> Entry | None:
        """The longest of `entries` that `body` continues: all of it, so this shows nothing. Of the
        one that is known to be `within` it less has to be compared. Of a first turn nearly all are
        longer than the body, and not looked at."""
        best: Entry | None = None
        for entry in entries:
            size = len(entry.body)
            if size > len(body) or (best is not None and size <= len(best.body)):
                continue
            if within is not None and entry is within.entry:
                is_next = continues_at(entry.body, body, within.at)
            else:
                is_next = continues(entry.body, body, shared(marks, entry.marks))
            if is_next:
                best = entry
        return best

    def longest(self, scope: bytes, marks: list[int], unit: int) -> tuple[Entry | None, int]:
        """The entry whose chain is the same for longest, and for how many bytes, a multiple of
        `unit`."""
        find = self._by_mark.get
        for at in range(len(marks), 0, -1):
            entry = find(marks[at - 1])
            if entry is not None and entry.scope == scope and not covered(at) % unit:
                return entry, covered(at)
        return None, 0

    def places(self, entry: Entry) -> Places | None:
        """The places of the entry, if they were learnt."""
        return self._places.get(entry)

    def learn(self, entry: Entry, places: Places) -> None:
        """Keep the entry's places."""
        self._places[entry] = places

    @staticmethod
    def cost_of_places(places: Places) -> int:
        """Bytes of memory that they take."""
        return _MARK * len(places)
