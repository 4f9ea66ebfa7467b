"""Of which conversation a body is: what of the same scope it goes on with, all of which its sender
knows. (What others of the scope have in common with it is in borrow.py.)

A body is of the entry's conversation if it contains the entry's body, which shows nothing; or is
that but for what applications change from turn to turn without saying more by it; or has what only
a receiver of one of its replies can know. m2m-link(7) has these in "Scopes and isolation".

The one rule: what is not the whole of another body, or the proof of its reply, makes no kin: a
size would tell who guesses how much of a guess was right.
"""

from __future__ import annotations

from typing import NamedTuple

from m2mproxy.link.index import Index, shared
from m2mproxy.link.look import Look
from m2mproxy.link.match import common_prefix, continues_anew
from m2mproxy.link.shown import MOST_SEARCHED
from m2mproxy.link.window import Entry

# Entries that are compared where the beginning finds none, the last used ones.
_MOST_COMPARED = 8
# Ids of tool calls by which an entry is found that replaced those whose replies had them.
_MOST_CALLED = 4


class Kin(NamedTuple):
    """The entry that a body goes on with. Both begin with the same `first` bytes, and if the body
    is the entry's with an insertion, it has all the others, too, behind that."""

    entry: Entry
    first: int
    is_insertion: bool


def find(look: Look, recent: list[Entry], index: Index) -> Kin | None:
    """The one of the `recent` entries of its scope that the body goes on with."""
    alike = [each for each in recent if each.aside is look.aside]
    nearest = _nearest(look, alike, index)
    own = _continued(look, nearest, alike)
    if own is not None:
        return Kin(own, _common(own, look), True)
    own = _rewritten(look, nearest, alike, index)
    return Kin(own, _common(own, look), False) if own is not None else None


def _nearest(look: Look, alike: list[Entry], index: Index) -> Entry | None:
    """The one whose beginning is the same for longest, of those `alike`: turns, or not."""
    nearest, _ = index.longest(look.scope, look.marks, unit=1)
    if nearest is None or nearest.aside is look.aside:
        return nearest
    return max(alike, key=lambda each: shared(each.marks, look.marks), default=None)


def _continued(look: Look, nearest: Entry | None, alike: list[Entry]) -> Entry | None:
    """The entry of which the body is the next turn: most likely the `nearest`."""
    likely = [nearest] if nearest is not None else []
    found = Index.continued(look.body, look.marks, likely, look.within)
    return found or Index.continued(look.body, look.marks, alike, look.within)


def _common(own: Entry, look: Look) -> int:
    """How many bytes the body begins with that the entry does, too."""
    if look.within is not None and look.within.entry is own:
        return look.within.at
    same = shared(own.marks, look.marks)
    return same + common_prefix(own.body, look.body, same, same)


def _rewritten(
    look: Look, nearest: Entry | None, alike: list[Entry], index: Index
) -> Entry | None:
    """The entry of the body's conversation, where that does not contain it. What is aside keeps to
    its own kind as long as it can: nothing else would ever replace it."""
    if look.aside and nearest is not None and _is_marked_anew(nearest, look):
        return nearest
    found = index.conversation(look.scope, look.calls)
    if found is not None:
        return found
    left = MOST_SEARCHED  # of all of them together
    for each in [nearest] if nearest is not None else alike[:_MOST_COMPARED]:
        left -= max(len(each.body), len(look.body)) - shared(each.marks, look.marks)
        if left < 0:
            break
        if _is_marked_anew(each, look):
            return each
    return index.shown(look.scope, look.body)


def _is_marked_anew(entry: Entry, look: Look) -> bool:
    """Whether the body is the next turn of an entry, but for the marks of what is cached."""
    same = shared(entry.marks, look.marks)
    if max(len(entry.body), len(look.body)) - same > MOST_SEARCHED:
        return False
    return continues_anew(entry.body, look.body, same)


def still_called(before: Entry, entry: Entry) -> list[bytes]:
    """The last tool calls of the conversation that `before` is of, which the body of `entry`, who
    replaces it, knows, too."""
    body, tail = entry.body, entry.tail
    if tail is None:
        known, calls = [], [*before.called, *before.secrets]
        first, end = max(len(body) - MOST_SEARCHED, 0), len(body)
    else:  # all of the other body is in it
        known, calls = before.called, before.secrets
        first, end = len(before.body) - tail, len(body) - tail
        end = min(end, first + MOST_SEARCHED)  # it begins with them
    found = [call for call in calls[-_MOST_CALLED:] if body.find(call, first, end) >= 0]
    return [*known, *found][-_MOST_CALLED:]
