"""A text as windows that overlap, folded once: a stretch is a few windows in a row.

What folding makes of a character, and what is left of that as words, does not depend on those
beside it: so a window's words are a part of what is left of the whole.

The one rule: a stretch is as long as its windows, and its plain text is bounded by MOST_PLAIN or by
that of one window.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from m2mproxy.guard.fold import spelt
from m2mproxy.guard.grams import LONGEST
from m2mproxy.guard.windows import OVERLAP, SIZE, STEP
from m2mproxy.guard.words import plain_of

MOST_PLAIN = LONGEST - 2
"""Bytes, with one for the end."""
_WINDOWS = 24
"""Of a stretch, at most."""
_MARGIN = 60
"""Characters that are added on either side of a part, at most, up to where a sentence ends."""
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


class Stretch(NamedTuple):
    """A few windows in a row of one of several texts."""

    number: int
    start: int
    text: str
    plain: bytes
    """All of it, folded once."""
    borders: list[tuple[int, int]]
    """Where each window begins and ends in `plain`."""

    def window(self, at: int) -> Window:
        low, high = self.borders[at]
        start = self.start + at * STEP
        return Window(self.number, start, self.window_text(at), self.plain[low:high])

    def window_text(self, at: int) -> str:
        return self.text[at * STEP : at * STEP + SIZE]


def stretches_of(number: int, text: str) -> Iterator[Stretch]:
    """The windows of a text, several at a time."""
    for start in range(0, max(1, len(text) - OVERLAP), _WINDOWS * STEP):
        piece = text[start : start + _WINDOWS * STEP + OVERLAP]
        if len(piece) <= SIZE:
            yield _window(number, start, piece)
            continue
        made = _stretch(number, start, piece)
        if len(made.plain) < MOST_PLAIN:
            yield made
        else:
            for at in range(len(made.borders)):
                yield _window(number, start + at * STEP, piece[at * STEP : at * STEP + SIZE])


def _window(number: int, start: int, text: str) -> Stretch:
    plain = plain_of(spelt(text))
    return Stretch(number, start, text, plain, [(0, len(plain))])


def _stretch(number: int, start: int, text: str) -> Stretch:
    """Every window is from one border to the next but two."""
    firsts = range(0, len(text) - OVERLAP, STEP)
    borders = [border for first in firsts for border in (first, first + OVERLAP)]
    pieces = list(zip(borders, [*borders[1:], firsts[-1] + STEP], strict=True))
    pieces.append((firsts[-1] + STEP, len(text)))
    if text.isascii():
        plain = plain_of(spelt(text))
        sizes = [end - first - text.count("'", first, end) for first, end in pieces]
    else:
        # What folding makes of a character does not depend on those beside it.
        plains = [plain_of(spelt(text[first:end])) for first, end in pieces]
        plain, sizes = b"".join(plains), list(map(len, plains))
    ends = list(accumulate(sizes, initial=0))
    return Stretch(number, start, text, plain, list(zip(ends[::2], ends[3::2], strict=False)))


def windows_of(number: int, text: str) -> Iterator[Window]:
    """The windows of a text."""
    for each in stretches_of(number, text):
        yield from map(each.window, range(len(each.borders)))
