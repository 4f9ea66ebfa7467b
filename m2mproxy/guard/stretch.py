"""A text as windows that overlap, folded once: a stretch is a few windows in a row.

What folding makes of a character, and what is left of that as words, does not depend on those
beside it: so a window's words are a part of what is left of the whole.

The one rule: a stretch is as long as its windows, and its plain text is bounded by MOST_PLAIN or by
that of one window.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from m2mproxy.guard.fold import spelt
from m2mproxy.guard.grams import LONGEST
from m2mproxy.guard.plain import plain_ascii, plain_other
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
    raw: bytes
    """It in UTF-8."""
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
            yield single(number, start, piece)
            continue
        made = _stretch(number, start, piece)
        if len(made.plain) < MOST_PLAIN:
            yield made
        else:
            for at in range(len(made.borders)):
                yield single(number, start + at * STEP, piece[at * STEP : at * STEP + SIZE])


def single(number: int, start: int, text: str) -> Stretch:
    """One window by itself."""
    raw = text.encode("utf-8", "replace")
    plain = plain_of(raw if text.isascii() else spelt(text))
    return Stretch(number, start, text, raw, plain, [(0, len(plain))])


def _stretch(number: int, start: int, text: str) -> Stretch:
    lows = range(0, len(text) - OVERLAP, STEP)
    borders = [*lows, *[min(low + SIZE, len(text)) for low in lows]]
    raw = text.encode("utf-8", "replace")
    # What folding makes of a character does not depend on those beside it.
    plain, moved = plain_ascii(raw, borders) if text.isascii() else plain_other(text, borders)
    count = len(lows)
    borders_in_plain = list(zip(moved[:count], moved[count:], strict=True))
    return Stretch(number, start, text, raw, plain, borders_in_plain)


def windows_of(number: int, text: str) -> Iterator[Window]:
    """The windows of a text."""
    for each in stretches_of(number, text):
        yield from map(each.window, range(len(each.borders)))
