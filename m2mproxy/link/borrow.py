"""Finds what a new body shares with other conversations, where it continues none that is known.

Such are a first turn with the system prompt of another conversation, a prompt with the time of day
in front, a history that was cut. Where the beginning differs, the places where messages and texts
begin are compared, by the hash of the block that follows each. A body's places are looked for when
they are wanted first. All of a large scope is tens of milliseconds of work, so that finding out is
a step of its own (`Survey`), for a thread.

The one rule: a survey touches nothing but itself, whatever becomes of the entries meanwhile; and no
choice depends on less than a whole block, or it would tell whether a guess was partly right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from m2mproxy.link.match import BLOCK, MOST_SEARCHED, Run, common_runs, starts, text_starts
from m2mproxy.link.window import Entry

# Bytes of entries that are looked through at a time; the others' turn comes with the next body.
_MOST_AT_ONCE = 4 << 20
# Fewer messages than one for so many blocks are few.
_FEW = 3
# Entries of which the ends are compared, the last used ones.
_MOST_ENDS = 8

Places = Mapping[int, int]
"""Where messages and texts begin, by the hash of the block that follows."""


def places(body: bytes) -> Places:
    """Those of a body, no more than it has blocks: of more the lowest hashes, which are the same
    ones in all bodies. Where there are few messages, there is room for where texts begin."""
    few = len(body) // BLOCK
    found = _lowest(body, starts(body), few)
    if len(found) < few // _FEW:
        found |= _lowest(body, text_starts(body), few - len(found))
    return found


def _lowest(body: bytes, at: Iterable[int], few: int) -> dict[int, int]:
    most = len(body) - BLOCK
    found = {hash(body[each : each + BLOCK]): each for each in at if each <= most}
    return found if len(found) <= few else {mark: found[mark] for mark in sorted(found)[:few]}


class Other(NamedTuple):
    """An entry as it is when it is looked at; `places` is None where they are not known."""

    entry: Entry
    body: bytes
    places: Places | None


@dataclass(slots=True)
class Survey:
    """A body, and what it is compared with."""

    body: bytes
    nearest: Entry | None
    """The entry whose beginning is the same for longest."""
    others: Sequence[Other]
    """Those that have a vote, the last used first."""
    in_blocks: bool
    """Whether only blocks that both have may be referred to."""
    best: Entry | None = None
    """What to borrow from."""
    runs: list[Run] = field(default_factory=list)
    """The blocks of it, in its order."""
    learnt: list[tuple[Entry, Places]] = field(default_factory=list)
    """Places that were not known before."""

    @property
    def work(self) -> int:
        """Bytes to be looked through, or what takes as long."""
        if not self.others:
            return len(self.body) // 16  # is compared once
        unknown = sum([_searched(other.body) for other in self.others if other.places is None])
        return len(self.body) + min(unknown, _MOST_AT_ONCE)

    def find(self) -> None:
        """Find out, which may take long."""
        best, at = self._vote()
        entry, body = best or self._most_alike()
        self.best = entry
        if self.in_blocks and entry is not None:
            self.runs = common_runs(body, self.body, _with_ends(body, self.body, at))

    def _vote(self) -> tuple[tuple[Entry, bytes] | None, list[tuple[int, int]]]:
        """The one that has most of the body's places, and where these are in it and in the body,
        in its order."""
        mine = places(self.body) if self.others else {}
        best: Other | None = None
        found: list[tuple[int, int]] = []
        for other, theirs in self._known():
            common = mine.keys() & theirs.keys()
            if len(common) > len(found):
                best = other
                found = sorted((theirs[mark], mine[mark]) for mark in common)
        return ((best.entry, best.body) if best is not None else None), found

    def _most_alike(self) -> tuple[Entry | None, bytes]:
        """Who has most blocks at the beginning and the end, where no message has a vote. At the end
        some applications have what does not change: the tools, the system's prompt."""
        best, body, most = self.nearest, self.nearest.body if self.nearest is not None else b"", 0
        if self.others:
            most = self._blocks_around(body)
        for other in self.others[:_MOST_ENDS]:
            if (same := self._blocks_around(other.body)) > most:
                best, body, most = other.entry, other.body, same
        return best, body

    def _blocks_around(self, body: bytes) -> int:
        return sum(run.blocks for run in common_runs(body, self.body, _with_ends(body, self.body)))

    def _known(self) -> list[tuple[Other, Places]]:
        """The others with their places, as far as there is time to find them."""
        left, known = _MOST_AT_ONCE, []
        for other in self.others:
            theirs = other.places
            if theirs is None:
                left -= _searched(other.body)
                if left < 0:
                    continue
                theirs = places(other.body)
                self.learnt.append((other.entry, theirs))
            known.append((other, theirs))
        return known


def _with_ends(
    old: bytes, new: bytes, at: Iterable[tuple[int, int]] = ()
) -> list[tuple[int, int]]:
    """Places, and where both bodies begin and end."""
    return [(0, 0), *at, (len(old), len(new))]


def _searched(body: bytes) -> int:
    return min(len(body), MOST_SEARCHED)
