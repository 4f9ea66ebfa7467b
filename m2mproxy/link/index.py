"""Which of the entries a new body continues, or shares the most with.

A body's chain is a hash for each of its first blocks, each over all that came before it, so the
longest chain that two bodies share says how far they are the same, and it is nearly always with the
conversation's last turn. Where the beginning is different (a time in the system prompt, a history
that was cut) the messages are counted instead: each body's list of them, by their hashes, is made
when it is wanted first. And a body that has the id of a tool call which only one reply had is of
that conversation, whatever else was changed in it.

The one rule: a hash only finds; what is found is compared (match.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from m2mproxy.link.match import segments
from m2mproxy.link.window import Entry

# Blocks of the chain: short ones at first, where conversations of one application part.
_SHORT, _SHORT_UNTIL = 256, 16 * 1024
_LONG = 1024
# Bytes that a mark takes in the table: a number, and its place.
_MARK = 120
# Entries whose messages are looked at, the last used ones.
_MOST_VOTERS = 64
# What the result of a tool call names it by.
_CALLS = (b'"tool_call_id"', b'"call_id"')
_text = re.compile(rb'\s*:\s*"([^"\\]{8,256})"').match


def chain(scope: bytes, body: bytes) -> list[int]:
    """The hashes of a body's whole blocks, each over all before it and its scope."""
    marks, so_far = [], hash(scope)
    for start, size in _blocks(len(body)):
        so_far = hash((so_far, body[start : start + size]))
        marks.append(so_far)
    return marks


def _blocks(length: int) -> Iterable[tuple[int, int]]:
    for start in range(0, min(length, _SHORT_UNTIL) - _SHORT + 1, _SHORT):
        yield start, _SHORT
    for start in range(_SHORT_UNTIL, length - _LONG + 1, _LONG):
        yield start, _LONG


def covered(marks: int) -> int:
    """How many bytes so many marks stand for."""
    short = _SHORT_UNTIL // _SHORT
    return min(marks, short) * _SHORT + max(marks - short, 0) * _LONG


class Index:
    """Finds entries of a window."""

    def __init__(self) -> None:
        self._by_mark: dict[int, Entry] = {}
        self._by_secret: dict[bytes, Entry] = {}
        self._segments: dict[Entry, dict[int, int]] = {}

    def add(self, entry: Entry, marks: list[int]) -> None:
        """Find `entry` by its chain, from now on."""
        entry.marks = marks
        self._by_mark.update(dict.fromkeys(marks, entry))

    def add_secrets(self, entry: Entry, secrets: list[bytes]) -> None:
        """Find `entry` by what only its reply had."""
        entry.secrets = secrets
        self._by_secret.update(dict.fromkeys(secrets, entry))

    def conversation(self, scope: bytes, body: bytes) -> Entry | None:
        """The entry whose reply has the last of the tool calls that `body` has the result of."""
        for name in _CALLS:
            at = body.rfind(name)
            if at >= 0 and (match := _text(body, at + len(name))):
                entry = self._by_secret.get(match[1])
                if entry is not None and entry.scope == scope:
                    return entry
        return None

    @staticmethod
    def cost(marks: list[int]) -> int:
        """Bytes of memory that the marks of an entry take."""
        return _MARK * len(marks)

    def drop(self, entry: Entry) -> None:
        """It is forgotten. What others share with it is found through the one used last."""
        for mark in entry.marks:
            if self._by_mark.get(mark) is entry:
                del self._by_mark[mark]
        for secret in entry.secrets:
            if self._by_secret.get(secret) is entry:
                del self._by_secret[secret]
        self._segments.pop(entry, None)

    def longest(self, scope: bytes, marks: list[int]) -> tuple[Entry | None, int]:
        """The entry whose chain is the same for longest, and for how many bytes."""
        for at in range(len(marks), 0, -1):
            entry = self._by_mark.get(marks[at - 1])
            if entry is not None and entry.scope == scope:
                return entry, covered(at)
        return None, 0

    def vote(
        self, body: bytes, entries: Iterable[Entry]
    ) -> tuple[Entry | None, list[tuple[int, int]]]:
        """The one of `entries`, the last used first, that has most of the body's messages; and
        where these are in it and in the body, in its order."""
        mine = {hash(text): (at, len(text)) for text, at in segments(body)}
        best: Entry | None = None
        most, places = 0, list[tuple[int, int]]()
        for entry, _ in zip(entries, range(_MOST_VOTERS), strict=False):
            theirs = self._messages(entry)
            shared = mine.keys() & theirs.keys()
            size = sum(mine[mark][1] for mark in shared)
            if size > most:
                best, most = entry, size
                places = sorted((theirs[mark], mine[mark][0]) for mark in shared)
        return best, places

    def _messages(self, entry: Entry) -> dict[int, int]:
        found = self._segments.get(entry)
        if found is None:
            found = {hash(text): at for text, at in segments(entry.body)}
            self._segments[entry] = found
        return found
