"""One window of text read in all ways that are worth it: what each reading shows.

The one rule: what a window costs is bounded, whatever is in it: at most `READINGS` other readings,
none longer than the window, and one reading of a reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from m2mproxy.guard.fold import fold
from m2mproxy.guard.matcher import Matcher
from m2mproxy.guard.reading import Reading
from m2mproxy.guard.rules import Rules
from m2mproxy.guard.views import hidden, readings
from m2mproxy.guard.windows import SIZE
from m2mproxy.guard.words import forms_of, words_of

MOST = 4
"""Other readings of one window."""
_unseen = re.compile("[\ufe00-\ufe0f\U000e0000-\U000e01ef]").search
_ESCAPES = ("\\x", "\\u", "&#")
_TWO_DIGITS = b"00"
_LONG, _MANY = 24, 8
"""Bytes of a word that can be a coded text; and of escapes in URLs, or of bytes in hexadecimal that
stand apart, of which two in five are digits alone, as many as can be one."""


def may_hide(window: str, words: list[bytes]) -> bool:
    """Whether there may be another text in it, written so that its words are not among these: much
    less than a reading takes, so it may well be wrong."""
    return bool(
        max(map(len, words), default=0) >= _LONG
        or words.count(_TWO_DIGITS) >= _MANY
        or window.count("%") >= _MANY
        or any([sign in window for sign in _ESCAPES])
        or (not window.isascii() and _unseen(window))
    )


class Reader:
    """Rules, compiled."""

    def __init__(
        self, rules: Rules, is_harmless: Callable[[list[bytes]], bool] | None = None
    ) -> None:
        """`is_harmless` tells by a window's words that nothing else of it need be looked at, unless
        it may have words that are not seen."""
        self._matcher = Matcher(rules)
        self._is_harmless = is_harmless

    def read(self, window: str) -> Iterator[Reading]:
        """The plain reading first."""
        folded = fold(window).encode("utf-8", "replace")
        words = words_of(folded)
        skips = self._is_harmless
        if skips is not None and skips(words) and not may_hide(window, words):
            return
        plain, signs = self._matched(window, folded, words, [])
        yield plain
        left = MOST
        unseen = [] if window.isascii() else [("hidden", hidden(window))]
        for sign, text in [*unseen, *readings(window, iter(signs))]:
            if left and text:
                left -= 1
                reading, more = self._one(text, [sign])
                yield reading
                for second, inner in readings(text, iter(more[:1] if sign != "spelling" else ())):
                    if left:
                        left -= 1
                        yield self._one(inner, [sign, second])[0]

    def _one(self, text: str, led: list[str]) -> tuple[Reading, list[str]]:
        """The reading, and the signs in it."""
        folded = fold(text).encode("utf-8", "replace")
        return self._matched(text, folded, words_of(folded), led)

    def _matched(
        self, text: str, folded: bytes, words: list[bytes], led: list[str]
    ) -> tuple[Reading, list[str]]:
        matched, lists = self._matcher.match(folded)
        rules = led + [each for each in matched if each not in self._matcher.signs]
        signs = [each for each in matched if each in self._matcher.signs]
        return Reading(words, forms_of(text, len(words), SIZE), rules, lists), signs
