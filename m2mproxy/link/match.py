"""What two bodies have in common: their beginning, their end, and the blocks of one that the other
has anywhere.

The one rule: what is called common is equal, byte for byte; nothing is decided by a hash alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

# What of another's body may be referred to is cut to whole blocks of this size, so that whoever
# would guess at what stands in one has to guess all of it.
BLOCK = 1024
# Bytes that are compared at first; twice as many each time they are equal.
_STEP = 256
# Where messages end, in the two ways in which JSON is commonly written.
_SEAMS = (b"},{", b"}, {")
# A segment shorter than this says nothing about where it comes from.
_TELLING = 48


def common_prefix(a: bytes, b: bytes, at_a: int = 0, at_b: int = 0) -> int:
    """How many bytes from `at_a` and `at_b` on are the same."""
    most = min(len(a) - at_a, len(b) - at_b)
    same, step = 0, _STEP
    while same < most:  # ever larger steps forward
        step = min(step, most - same)
        if not b.startswith(a[at_a + same : at_a + same + step], at_b + same):
            break
        same += step
        step *= 2
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
        step *= 2
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


def continues(old: bytes, new: bytes) -> bool:
    """Whether `new` is `old` with something inserted, at its end or before: the next turn of the
    same conversation, as far as anybody can tell."""
    if len(new) < len(old):
        return False
    front = common_prefix(old, new)
    rest = len(old) - front
    return common_suffix(old, new, len(old), len(new), rest) == rest


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


def segments(body: bytes) -> Iterator[tuple[bytes, int]]:
    """The body's messages, tools and what else is an object in a list, each with its place. What
    does not lie between two seams is left out, and so is what is too short to be told from
    others."""
    seam = max(_SEAMS, key=body.count)
    at = body.find(seam)
    if at < 0:
        return
    at += len(seam)
    while (end := body.find(seam, at)) >= 0:
        if end - at >= _TELLING:
            yield body[at:end], at
        at = end + len(seam)


def common_runs(old: bytes, new: bytes, places: Iterable[tuple[int, int]]) -> list[Run]:
    """The blocks of `old` that `new` has, too. `places` are where the same may stand in both, in
    the order of `old`: each is followed as far as it goes to both sides. A block has to be in one
    piece in `new`: put together of two, it would let one be guessed half by half."""
    spans: list[tuple[int, int]] = []
    reached = 0  # in `old`; what is before it has been looked at
    for at_old, at_new in places:
        if at_old < reached:
            continue
        back = common_suffix(old, new, at_old, at_new, at_old - reached)
        ahead = common_prefix(old, new, at_old, at_new)
        if back + ahead:
            spans.append((at_old - back, at_old + ahead))
            reached = at_old + ahead
    return list(_runs(spans))


def _runs(spans: Iterable[tuple[int, int]]) -> Iterator[Run]:
    for start, end in spans:
        first, last = -(-start // BLOCK), end // BLOCK
        if last > first:
            yield Run(first, last - first)
