"""What two bodies have in common: their beginning, their end, and the blocks of one that the other
has anywhere.

The one rule: what is called common is equal, byte for byte; nothing is decided by a hash alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

# What of another's body may be referred to is cut to whole blocks of this size, so that whoever
# would guess at what stands in one has to guess all of it.
BLOCK = 1024
# Bytes that are compared at first; twice as many each time they are equal, up to what a copy of
# costs no new memory.
_STEP, _MOST_STEP = 256, 64 * 1024
# So many bytes are searched at once: the interpreter's lock is held for as long, and what nearly
# has it everywhere takes 80 ms in 8 MiB.
_STRETCH = 256 * 1024
# The end of a message that is not the last one.
_MORE = b"},"
# Applications mark the last messages of a conversation with it, whichever these are. It can say no
# more than this. (https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching)
_cache_controls = re.compile(
    rb'"cache_control": ?\{"type": ?"ephemeral"(?:, ?"ttl": ?"(?:5m|1h)")?\}'
).finditer
# A request has four at most, and each takes a few µs here; so do the lists.
_MOST_MARKS = 64
_COMMAS = (b", ", b",")
_MARK, _MOST_OF_MARK = b'"cache_control"', 48
_AFTER_COMMA = b', "cache_control"'
# A list of one block that is a text and nothing else.
_as_text = re.compile(
    rb'\[\{"type": ?"text", ?"text": ?("[^"\\]*+(?:\\.[^"\\]*+)*+")\}\]'
    rb'|\[\{"text": ?("[^"\\]*+(?:\\.[^"\\]*+)*+"), ?"type": ?"text"\}\]',
    re.DOTALL,
).sub
# How far the beginnings of messages lie apart at least, and how many of them are looked at: some,
# and one for so many bytes of the body.
_LEAST_APART, _MOST_STARTS, _SOME_STARTS, _PER_START = 48, 2048, 16, 64
# The same of texts.
_LEAST_OF_TEXT = 256
# And how much of a body is searched for them.
MOST_SEARCHED = 1 << 20


def common_prefix(a: bytes, b: bytes, at_a: int = 0, at_b: int = 0) -> int:
    """How many bytes from `at_a` and `at_b` on are the same."""
    most = min(len(a) - at_a, len(b) - at_b)
    same, step = 0, _STEP
    while same < most:  # ever larger steps forward
        step = min(step, most - same)
        if not b.startswith(a[at_a + same : at_a + same + step], at_b + same):
            break
        same += step
        step = min(2 * step, _MOST_STEP)
    else:
        return most
    while step > 1:  # `step` bytes hold the first difference: halve them
        half = step // 2
        if b.startswith(a[at_a + same : at_a + same + half], at_b + same):
            same += half
            step -= half
        else:
            step = half
    return same


def common_suffix(a: bytes, b: bytes, end_a: int, end_b: int, most: int) -> int:
    """How many bytes before `end_a` and `end_b` are the same, `most` at most."""
    most = min(most, end_a, end_b)
    same, step = 0, _STEP
    while same < most:
        step = min(step, most - same)
        if not b.endswith(a[end_a - same - step : end_a - same], 0, end_b - same):
            break
        same += step
        step = min(2 * step, _MOST_STEP)
    else:
        return most
    while step > 1:
        half = step // 2
        if b.endswith(a[end_a - same - half : end_a - same], 0, end_b - same):
            same += half
            step -= half
        else:
            step = half
    return same


def search(text: bytes, part: bytes, first: int, end: int) -> int:
    """Where `text` has `part` for the first time between these places; -1 where it has not."""
    for at in range(first, end, _STRETCH):
        found = text.find(part, at, min(at + _STRETCH + len(part) - 1, end))
        if found >= 0:
            return found
    return -1


def _are_same(a: bytes, b: bytes, at_a: int, at_b: int, size: int) -> bool:
    """Whether so many bytes from `at_a` and `at_b` on are the same; both have as many."""
    for at in range(at_a, at_a + size, _MOST_STEP):
        if not b.startswith(a[at : min(at + _MOST_STEP, at_a + size)], at_b + at - at_a):
            return False
    return True


def continues(old: bytes, new: bytes, likely: int = 0) -> bool:
    """Whether `new` is `old`, or is it with more behind one of its messages: the next turn of the
    same conversation, as far as anybody can tell. The first `likely` bytes, no more than either
    has, are most likely the same, so they are compared last."""
    if len(new) <= len(old):
        return new == old
    front = likely + common_prefix(old, new, likely, likely)
    first = len(old) - common_suffix(old, new, len(old), len(new), len(old))
    return _is_turn(new, first, front) and _are_same(old, new, 0, 0, likely)


def continues_at(old: bytes, new: bytes, at: int) -> bool:
    """The same where it is known to be `old` with more, which is where `insertion` says."""
    if new.find(_MORE, max(at - 1, 0), at + 1) >= 0:
        return True  # it begins right behind a message, as nearly always
    same = common_suffix(old, new, at, at + len(new) - len(old), at)
    return len(new) == len(old) or _is_turn(new, at - same, at)


def _is_turn(new: bytes, first: int, front: int) -> bool:
    """Whether what was inserted, which begins somewhere from `first` to `front`, is behind one of
    the messages: one before, a comma there."""
    return new.find(_MORE, max(first - 1, front - _STRETCH, 0), front + 1) >= 0


def continues_anew(old: bytes, new: bytes, same: int) -> bool:
    """Whether `new` is the next turn of `old`, of which the first `same` bytes are equal, but for
    the marks of what is cached, and lists of one text that had such a mark."""
    at = same + common_prefix(old, new, same, same)
    if not (_is_list_at(old, new, at) or _is_marked_at(old, new, at)):
        return False
    old, new = without_marks(old[same:]), without_marks(new[same:])
    return continues(old, new) or (
        _is_list_at(old, new, common_prefix(old, new))
        and continues(with_texts(old), with_texts(new))
    )


def _is_marked_at(old: bytes, new: bytes, at: int) -> bool:
    """Whether one of the bodies has such a mark where they differ first."""
    first, last = max(at - _MOST_OF_MARK, 0), at + len(_AFTER_COMMA)
    return any(_MARK in each[first:last] for each in (old, new))


def without_marks(part: bytes) -> bytes:
    """Some bytes of a body without the marks of what is to be cached, the first of them, each with
    the comma before it, or else the one after."""
    kept, done = [], 0
    for mark in islice(_cache_controls(part), _MOST_MARKS):
        start, end = mark.span()
        before = next((each for each in _COMMAS if part.endswith(each, done, start)), b"")
        after = next((each for each in _COMMAS if part.startswith(each, end)), b"")
        if before or after:
            kept.append(part[done : start - len(before)])
            done = end if before else end + len(after)
    return b"".join([*kept, part[done:]])


def _is_list_at(old: bytes, new: bytes, at: int) -> bool:
    """Whether one has a list where the other has not, and they differ first."""
    return old.startswith(b"[", at) != new.startswith(b"[", at)


def with_texts(part: bytes) -> bytes:
    """Some bytes of a body, with a text in place of each list of one block that is a text and
    nothing else, of the first of them, as those write it who had no mark to put there."""
    return _as_text(rb"\1\2", part, _MOST_MARKS)


def insertion(old: bytes, new: bytes, likely: int = 0) -> int:
    """Where `new` has more than `old`, if that is all it has more; -1 where it is not. The first
    `likely` bytes, no more than `old` has, are most likely the same."""
    if len(new) < len(old):
        return -1
    if not (same_before(old, new, likely) and _are_same(old, new, 0, 0, likely)):
        likely = 0
    at = likely + common_prefix(old, new, likely, likely)
    rest = len(old) - at
    return at if _are_same(old, new, at, len(new) - rest, rest) else -1


def same_before(old: bytes, new: bytes, place: int) -> bool:
    """Whether both have the same right before that place, no further than `old` has bytes: where
    that is the end of a message, those of two conversations mostly differ."""
    return new.endswith(old[max(place - _STEP, 0) : place], 0, place)


class Run(NamedTuple):
    """Whole blocks that follow each other: the first one's number, and how many there are."""

    first: int
    blocks: int

    @property
    def start(self) -> int:
        """Where they begin, in bytes."""
        return self.first * BLOCK

    @property
    def end(self) -> int:
        """Where they end."""
        return (self.first + self.blocks) * BLOCK


def starts(body: bytes) -> Iterator[int]:
    """Where the body's messages, tools and what else is an object in a list begin, but the first
    of each list. JSON is commonly written in two ways, with spaces or without."""
    return _behind(body, b"}, {" if has_spaces(body) else b"},{", _LEAST_APART)


def text_starts(body: bytes) -> Iterator[int]:
    """Where its images and files begin, its texts and their paragraphs."""
    space = b" " if has_spaces(body) else b""
    yield from _behind(body, b";base64,", _LEAST_OF_TEXT)
    yield from _behind(body, b'"data":%b"' % space, _LEAST_OF_TEXT)
    yield from _behind(body, b'":%b"' % space, _LEAST_OF_TEXT)
    yield from _behind(body, rb"\n\n", 0)  # a short one before it may be what has changed


def has_spaces(body: bytes) -> bool:
    """Whether its writer puts spaces behind colons."""
    colon = body.find(b'":') + 2
    return body[colon : colon + 1] == b" "


def _behind(body: bytes, seam: bytes, least_apart: int) -> Iterator[int]:
    found = body.find(seam, 0, MOST_SEARCHED)
    for _ in range(min(_MOST_STARTS, _SOME_STARTS + len(body) // _PER_START)):
        if found < 0:
            return
        at = found + len(seam)
        yield at
        found = body.find(seam, at + least_apart, MOST_SEARCHED)


def common_runs(old: bytes, new: bytes, places: Iterable[tuple[int, int]]) -> list[Run]:
    """The blocks of `old` that `new` has, too. `places` are where the same may stand in both, in
    the order of `old`: each is followed as far as it goes to both sides. A block has to be in one
    piece in `new`: put together of two, it would let one be guessed half by half.

    What comes of a place depends on no other: else it would show what less than a block has in
    common with `new`.
    """
    blocks: set[int] = set()
    reached: dict[int, int] = {}  # how far in `old`, by how far `new` is ahead of it
    for at_old, at_new in places:
        ahead_by = at_new - at_old
        if at_old < reached.get(ahead_by, 0):
            continue
        start = at_old - common_suffix(old, new, at_old, at_new, at_old)
        end = at_old + common_prefix(old, new, at_old, at_new)
        reached[ahead_by] = end
        blocks.update(range(-(-start // BLOCK), end // BLOCK))
    return list(_runs(sorted(blocks)))


def _runs(blocks: list[int]) -> Iterator[Run]:
    """Ascending numbers of blocks, as runs."""
    first = 0
    for at, block in enumerate(blocks, 1):
        if at == len(blocks) or blocks[at] != block + 1:
            yield Run(blocks[first], at - first)
            first = at
