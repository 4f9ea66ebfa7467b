"""What of a text is worth a closer look: a first, cheap word on many windows of it at once.

It is a model of its own: the sum of what each word and each pair of words counts, however often it
occurs. It is taken over a window, which is then read as a whole; and over each few words in a row,
of which the worst are then read by themselves, so that a short attack within a document is not
outweighed by the document. Unknown words count for nothing, which is less harmless than what is
known: what cannot be read is not passed over.

The one rule: it only looks away; nothing is found here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from m2mproxy.guard.fold import fold
from m2mproxy.guard.grams import Table, Windows, bucket, sums_of, words
from m2mproxy.guard.windows import windows
from m2mproxy.guard.words import plain_of

DAMPING = 8
"""Added to the number of words before its root divides: short texts count for less."""
SPAN = 16
"""Words in a row that are looked at by themselves."""
LEAST = 3 * SPAN
"""Words that a window has at least where that is done: in a shorter one they are most of it."""
_MARGIN = 60
"""Characters that are added on either side of them, at most, up to where a sentence ends."""
_BATCH = 1 << 14
"""Bytes of windows that are looked at in one go, where no single one is longer."""

_LONG, _LONGER = 28, 48
_MANY = 8
_TWO_DIGITS = words(b" 00 ")[2][0]
_coded = re.compile(rb"([^ ]{%d,})" % _LONG).finditer
_DIGESTS = frozenset((32, 40, 56, 64, 96, 128))
_HEXADECIMAL = b"0abcdef"
_apart = re.compile(rb"(?: [0a-f]{2}){12}").search
_ESCAPES = ("\\x", "\\u")
_FEW = 3
_unseen = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4}|[\U000e0020-\U000e007e]{4}").search
_UNSEEN = (b"\xef\xb8", b"\xf3\xa0")
"""How some of those begin in UTF-8: this is much faster to look for."""
_ENDS = re.compile(r"[.!?\n]").finditer


class Window(NamedTuple):
    """A window of one of several texts."""

    number: int
    """Of the text."""
    start: int
    """In the text, in characters."""
    text: str
    plain: bytes
    """As words.plain_of makes it; nothing for a part."""
    is_part: bool = False

    def cut(self, first: int, end: int) -> Window:
        """From one byte of `plain` to another, and the rest of the sentences that they are in."""
        scale = len(self.text) / len(self.plain)
        low, high = int(first * scale), int(end * scale) + 1
        ends = [each.end() for each in _ENDS(self.text, max(0, low - _MARGIN), low)]
        start = ends[-1] if ends else max(0, low - _MARGIN)
        last = next(_ENDS(self.text, high, high + _MARGIN), None)
        stop = last.end() if last else high + _MARGIN
        return Window(self.number, self.start + start, self.text[start:stop], b"", True)


def windows_of(number: int, text: str) -> Iterator[Window]:
    """The windows of a text."""
    for start, window in windows(text):
        yield Window(number, start, window, plain_of(fold(window).encode("utf-8", "replace")))


class Judged(NamedTuple):
    """What the gate says of a window."""

    window: Window
    whole: float
    """The logit of all of it; infinity where its words say nothing of what may be in it."""
    worst: float
    """That of the worst of its rows of words; minus infinity where it has less than LEAST."""
    part: tuple[int, int]
    """Where that row is in the window's plain text, if it is to be read."""


@dataclass(frozen=True)
class Gate:
    """Weights, in logits."""

    bias: float
    whole: float
    """The logit from which on a window is read."""
    part: float
    """The logit from which on a row of words is read."""
    weights: Table
    """By the buckets of words and of pairs of words."""

    def through(self, windows: Iterable[Window]) -> Iterator[Window]:
        """What is to be read: windows, and parts of windows."""
        for each in self.judged(windows):
            if each.whole >= self.whole:
                yield each.window
            if each.worst >= self.part:
                yield each.window.cut(*each.part)

    def judged(self, windows: Iterable[Window]) -> Iterator[Judged]:
        """Each window, judged."""
        return chain.from_iterable(map(self._judged, _batches(windows)))

    def _judged(self, windows: list[Window]) -> Iterator[Judged]:
        seen = Windows([window.plain for window in windows])
        values = self.weights.of_each(bucket(seen.hashes)) + seen.pairs(self.weights)
        step = self.weights.step
        whole = seen.each(values) * step / (seen.counts + DAMPING) ** 0.5 + self.bias
        rows = sums_of(values, SPAN)
        worst = seen.highest(rows, SPAN) * step / (SPAN + DAMPING) ** 0.5 + self.bias
        long = seen.how_many(seen.lengths >= _LONG)
        digits = seen.how_many(seen.hashes == _TWO_DIGITS) >= _MANY
        each = (whole, worst, seen.counts >= LEAST, long, digits)
        for at, (by_all, by_part, has_parts, is_long, is_apart) in enumerate(
            zip(*(values.tolist() for values in each), strict=True)
        ):
            window, part = windows[at], (0, 0)
            if not has_parts:
                by_part = _NEVER
            elif by_part >= self.part:
                part = seen.place(rows, SPAN, at)
            if (
                (is_long and _is_coded(window.plain))
                or (is_apart and _apart(window.plain))
                or _may_hide(window.text)
            ):
                by_all = _ALWAYS
            yield Judged(window, by_all, by_part, part)


_ALWAYS, _NEVER = float("inf"), float("-inf")


def _may_hide(window: str) -> bool:
    """Whether there may be another text in it that is not of words: this is no reading, and may
    well be wrong."""
    if window.count("%") >= _MANY or window.count("&#") >= _FEW:
        return True
    if "\\" in window and any([window.count(sign) >= _FEW for sign in _ESCAPES]):
        return True
    if window.isascii():
        return False
    data = window.encode("utf-8", "replace")
    return any([sign in data for sign in _UNSEEN]) and bool(_unseen(window))


def _is_coded(plain: bytes) -> bool:
    """Whether a long word of it has a digit, or is too long for one that people would write."""
    return any(
        (b"0" in word or len(word) >= _LONGER) and not _is_digest(word)
        for (word,) in map(re.Match.groups, _coded(plain))
    )


def _is_digest(word: bytes) -> bool:
    """Whether a word is as long as a digest in hexadecimal, and its bytes are not all of ASCII: the
    first digit of such a byte is below 8, and digits are all 0 here."""
    return len(word) in _DIGESTS and not word.strip(_HEXADECIMAL) and bool(word[::2].strip(b"0"))


def _batches(windows: Iterable[Window]) -> Iterator[list[Window]]:
    batch: list[Window] = []
    size = 0
    for window in windows:
        more = len(window.plain) + 1
        if batch and size + more > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(window)
        size += more
    if batch:
        yield batch
