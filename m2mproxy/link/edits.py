"""What of a body is other than in an earlier one of its conversation, where it is not only longer.

Applications write the time into the system's prompt, move the marks of what is cached, leave out
old messages or the results of tools. All else stands where it did, in the same order: so a few
places say what has changed, and of all the rest nothing has to be coded.

The one rule: edits that are found make the new body of the old one; how few they are is a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from m2mproxy.link.match import common_prefix, common_suffix, has_spaces, search

# A body with more of them is coded as a whole.
MOST_EDITS = 64
# Bytes at the beginning of a message by which it is found again, and the fewest it may have. What
# those of one application begin with is alike for half as many. What follows the end of a list may
# be a prompt that has changed: it is found by fewer.
_KEY, _KEY_OF_END, _LEAST_KEY = 128, 32, 16
# Messages one after the other that are looked for in vain: then they are new, and so is all up to
# where both bodies end alike.
_MOST_NEW = 12
# What all of them are looked for in, as a multiple of the old body.
_MOST_SEARCHED = 4


class Edit(NamedTuple):
    """So many bytes of the old body are kept, then so many dropped, and so many are added there."""

    kept: int
    dropped: int
    added: int


def edits(old: bytes, new: bytes) -> tuple[Edit, ...]:
    """Those that make `new` of `old`, at least one; behind the last one the rest is kept.
    Nothing where there would be too many."""
    found, done = [], 0
    for at_old, at_new, end_old, end_new in _changes(old, new):
        found.append(Edit(at_old - done, end_old - at_old, end_new - at_new))
        done = end_old
        if len(found) > MOST_EDITS:
            return ()
    return tuple(found) or (Edit(len(old), 0, 0),)


def _changes(old: bytes, new: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Where both begin to differ, in `old` and in `new`, and where they are the same again."""
    at_old = at_new = common_prefix(old, new)
    rest = common_suffix(old, new, len(old), len(new), min(len(old), len(new)) - at_old)
    last_old, last_new = len(old) - rest, len(new) - rest
    search = _Search(old, new, last_old, last_new)
    while at_old < last_old and at_new < last_new:
        again_old, again_new = search.again(at_old, at_new)
        back = min(again_old - at_old, again_new - at_new)
        back = common_suffix(old, new, again_old, again_new, back)
        yield at_old, at_new, again_old - back, again_new - back
        same = common_prefix(old, new, again_old, again_new)
        same = min(same, last_old - again_old, last_new - again_new)
        at_old, at_new = again_old + same, again_new + same
    if (at_old, at_new) != (last_old, last_new):
        yield at_old, at_new, last_old, last_new


class _Search:
    """Looks for messages of `new` in `old`, in both up to where what they end alike with begins."""

    def __init__(self, old: bytes, new: bytes, last_old: int, last_new: int) -> None:
        self._old, self._new = old, new
        self._last_old, self._last_new = last_old, last_new
        self._seams = (b', {"', b'], "') if has_spaces(new) else (b',{"', b'],"')
        # Where the next one of each is: a body may have none of one, and all of it is searched.
        self._nearest = dict.fromkeys(self._seams, -1)
        self._left = _MOST_SEARCHED * len(old)

    def again(self, at_old: int, at_new: int) -> tuple[int, int]:
        """From there on, the next beginning of a message, or end of a list, that both have; where
        both end alike if there is none."""
        for _ in range(_MOST_NEW):
            at_new = self._next_seam(at_new)
            key = self._new[at_new : min(at_new + _KEY, self._last_new)]
            if len(key) < _LEAST_KEY or self._left <= 0:
                break
            found = self._find(key, at_old)
            if found < 0 and key.startswith(self._seams[1]):
                found = self._find(key[:_KEY_OF_END], at_old)
            if found >= 0:
                return found, at_new
            at_new += _LEAST_KEY
        return self._last_old, self._last_new

    def _find(self, key: bytes, at: int) -> int:
        """Where `old` has it, from there on; -1 for nowhere."""
        found = search(self._old, key, at, self._last_old)
        self._left -= (found if found >= 0 else self._last_old) - at
        return found

    def _next_seam(self, at: int) -> int:
        """The next one in `new`; its end if there is none."""
        end, nearest = self._last_new, self._nearest
        for seam, place in nearest.items():
            if place < at:
                found = search(self._new, seam, at, end)
                nearest[seam] = found if found >= 0 else end
        return min(nearest.values())
