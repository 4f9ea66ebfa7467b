"""One window of text read in all ways that are worth it: what each reading shows.

The one rule: what a window costs is bounded, whatever is in it: at most `MOST` other readings,
none longer than the window, and one reading of a reading.
"""

from __future__ import annotations

from collections.abc import Iterator

from m2mproxy.guard.decoding import hidden, readings
from m2mproxy.guard.fold import folded
from m2mproxy.guard.matcher import Matcher
from m2mproxy.guard.reading import Reading
from m2mproxy.guard.rules import Rules
from m2mproxy.guard.windows import SIZE
from m2mproxy.guard.words import PART, forms_of, marked_of

MOST = 4
"""Other readings of one window."""
_BACK_AGAIN = frozenset({"rot13", "reversed"})
"""Readings that make letters of any letters, and, made twice, the text again."""
_COMMON = frozenset(
    b"the of to and in is you that it for your this with what are not all do my me how "
    b"de la el que en le les des est un une die der und das ist nicht".split()
)
_FEW = 2


class Reader:
    """Rules, compiled."""

    def __init__(self, rules: Rules) -> None:
        self._matcher = Matcher(rules)
        # Lists of words as they look before such a reading.
        self._hints = frozenset(
            name for sign in rules.signs for names in sign.near for name in names
        )

    def read(self, window: str, is_part: bool = False) -> Iterator[Reading]:
        """The plain reading first. `is_part` for what was cut out of a window for its words, which
        are not read otherwise."""
        plain, signs = self._one(window, [])
        if is_part:
            plain.forms.append(PART)
        yield plain
        if is_part or (not signs and window.isascii()):
            return
        left = MOST
        unseen = [] if window.isascii() else [("hidden", hidden(window))]
        for sign, text in [*unseen, *readings(window, iter(signs))]:
            if left and text:
                left -= 1
                reading, more = self._one(text, [sign])
                if sign in _BACK_AGAIN:
                    if not self._speaks(reading):
                        continue
                    more = [each for each in more if each != sign]
                yield reading
                for second, inner in readings(text, iter(more[:1] if sign != "spelling" else ())):
                    if left:
                        left -= 1
                        yield self._one(inner, [sign, second])[0]

    def _one(self, text: str, led: list[str]) -> tuple[Reading, list[str]]:
        """The reading, and the signs in it."""
        plain = folded(text)
        words = marked_of(plain)
        matched, lists = self._matcher.match(plain)
        rules, signs = led, []
        if matched:
            known = self._matcher.signs
            rules = led + [each for each in matched if each not in known]
            signs = [each for each in matched if each in known]
        return Reading(words, forms_of(text, words, SIZE), rules, lists), signs

    def _speaks(self, reading: Reading) -> bool:
        """Whether it says something: a text that is in no code gives words that are none."""
        return (
            not self._hints.issuperset(reading.lists)
            or len(reading.rules) > 1  # the first led here
            or len(_COMMON.intersection(reading.words.split())) >= _FEW
        )
