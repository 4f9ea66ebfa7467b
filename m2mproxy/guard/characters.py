"""Characters of a text that are there to hide something, or that no text has.

What is told apart by its surroundings: a joiner belongs into a family of emoji and into a Persian
word, a tag character into the flag of Scotland, an isolate around a price on an Arabic page; each
of them in a row carries a message that nobody sees. Sources: UAX #9 (bidirectional text), UTS #51
(emoji sequences, flags of tags), the Unicode standard, chapter 23 (joiners, variation selectors);
"Trojan Source" (CVE-2021-42574) for overrides; ECMA-48, 5.6 for control strings.

What is not ASCII is looked at first, without the ASCII between, by patterns that find all that the
checks proper could find and more; only what these hit is checked.

The one rule: a text in ASCII costs two searches, no text more than linear time, and none holds the
interpreter's lock for longer than a step of it takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from m2mproxy.guard.finding import Category, Finding
from m2mproxy.guard.piecewise import OVERLAP, SIZE, count, first

CHECKS: Mapping[str, str] = {
    "nul": "a NUL character",
    "bidi": "direction controls that reorder what is read",
    "tags": "tag characters, which nobody sees, outside of a flag",
    "variation": "variation selectors that carry hidden data",
    "invisible": "invisible characters in a row or between all letters",
    "marks": "a heap of combining marks on one letter",
    "terminal": "a control string for a terminal",
}
"""The ids of the findings made here, and why, for people."""

_OVERRIDES = "\u202d\u202e"
_EMBEDDINGS = "\u202a\u202b"
_ISOLATES = "\u2066\u2067\u2068"
_FIRST_STRONG, _POP_EMBEDDING, _POP_ISOLATE = "\u2068", "\u202c", "\u2069"
_RIGHT_TO_LEFT = (
    "\u0590-\u05ff\u0600-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
)
_TAGS = "\U000e0000-\U000e007f"
_SELECTORS = "\ufe00-\ufe0f"
_MORE_SELECTORS = "\U000e0100-\U000e01ef"
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Without width: spaces, joiners, marks of direction, operators, byte order marks, fillers.
_ZERO_WIDTH = "\u200b-\u200d\u2060-\u2064\ufeff\u180e"
_INVISIBLE = (
    _ZERO_WIDTH + "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u200e\u200f\u206a-\u206f\u3164\uffa0"
)
# Letters of scripts that are written without joiners between them.
_LETTERS = "A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u052f\u1e00-\u1fff"
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_THAI_MARKS = "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
_ARABIC_MARKS = "\u0610-\u061a\u064b-\u065f\u06d6-\u06ed"

_direction = re.compile("[\u202a-\u202e\u2066-\u2069]")
_line_end = re.compile("[\n\r\u0085\u2029]").search
_right_to_left = re.compile(f"[{_RIGHT_TO_LEFT}]").search
# A flag, or what is left of one at the end of a text that was cut; a tag on its own.
_tag = re.compile(
    "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}(?:\U000e007f|\\Z)"
    f"|([{_TAGS}])"
).finditer
_variation = re.compile(
    f"(?<![{_IDEOGRAPHS}])[{_MORE_SELECTORS}]"
    f"|[{_SELECTORS}]{{4}}"
    f"|[{_LETTERS}][\ufe00-\ufe0e][{_LETTERS}][\ufe00-\ufe0e][{_LETTERS}][\ufe00-\ufe0e]"
).search
_invisible = re.compile(
    f"[{_INVISIBLE}]{{8}}|(?:[{_LETTERS}][{_INVISIBLE}]{{1,7}}){{4}}"
).search
_zero_width = re.compile(f"[{_ZERO_WIDTH}]").findall
_emoji_joiner = re.compile("[\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]\u200d").findall
# Of scripts that need them, the same one again and again: tables of characters have them in a row.
_marks = re.compile(
    rf"[{_MARKS}]{{6}}|([{_THAI_MARKS}])\1{{4}}|([{_ARABIC_MARKS}])\2{{4}}"
).search
# OSC, DCS, SOS, PM and APC; not the titles and marks that a shell's prompt writes.
_control_string = re.compile(r"\x1b[PX^_]|\x1b\](?!(?:0|1|2|7|133|633);)").search

# From so many invisible characters on, their share of the text says what they are for.
_MANY, _SHARE = 16, 0.4


def malformed(source: str, why: str, offset: int) -> Finding:
    """A finding of this kind: what it is about is certain."""
    return Finding(Category.MALFORMED, source, 1.0, why, offset)


def is_plain(text: str) -> bool:
    """Whether it has only characters that nothing can be wrong with."""
    return text.isascii() and "\0" not in text and "\x1b" not in text


def check(text: str) -> Iterator[Finding]:
    """What is wrong with the characters of `text`, each kind once, with its first place."""
    if "\0" in text:
        yield malformed("nul", CHECKS["nul"], text.index("\0"))
    if "\x1b" in text:
        at = first(_control_string, text)
        if at >= 0:
            yield malformed("terminal", CHECKS["terminal"], at)
    if text.isascii():
        return
    rest = _beyond_ascii(text)
    if first(_suspect, rest) < 0 and first(_repeated, rest) < 0:
        return
    for source, may_find, find in _FINDERS:
        if may_find(rest):
            at = find(text)
            if at >= 0:
                yield malformed(source, CHECKS[source], at)


def _bidi(text: str) -> int:
    start = 0
    while start < len(text):
        end = first(_line_end, text, start)
        end = len(text) if end < 0 else end
        at = _reordered(text[start:end])
        if at >= 0:
            return start + at
        start = end + 1
    return -1


def _reordered(paragraph: str) -> int:
    """Where a paragraph has an override, an isolate without its other half, or turns the order
    around though nothing in it is written from right to left; else -1."""
    turns = first(_right_to_left, paragraph) >= 0
    isolates: list[int] = []
    for match in _directions(paragraph):
        control, at = match[0], match.start()
        if control in _OVERRIDES:
            return at
        if control == _POP_ISOLATE:
            if not isolates:
                return at
            isolates.pop()
        elif control in _ISOLATES:
            if control != _FIRST_STRONG and not turns:
                return at
            isolates.append(at)
        elif (control in _EMBEDDINGS or control == _POP_EMBEDDING) and not turns:
            return at
    return isolates[0] if isolates else -1


def _directions(paragraph: str) -> Iterator[re.Match[str]]:
    for at in range(0, len(paragraph), SIZE):
        yield from _direction.finditer(paragraph, at, at + SIZE)


def _stray_tag(text: str) -> int:
    at = 0
    while at < len(text):
        stop = end = at + SIZE
        for match in _tag(text, at, stop + OVERLAP):
            if match.start() >= stop:
                break
            if match[1]:
                return match.start()
            end = max(end, match.end())  # a flag across the end of the stretch
        at = end
    return -1


def _selectors(text: str) -> int:
    return first(_variation, text)


def _hidden(text: str) -> int:
    at = first(_invisible, text)
    if at >= 0:
        return at
    found = count(_zero_width, text)
    if found < _MANY or found - count(_emoji_joiner, text, 2) < max(_MANY, _SHARE * len(text)):
        return -1
    return 0


def _heaped(text: str) -> int:
    return first(_marks, text)


# -- the first look -------------------------------------------------------------------------------

_ASCII = bytes(range(128))
_AT_ONCE = 1 << 17
"""Characters that are coded at a time, which takes 1 ms at most."""
_LETTER = "[\u00c0-\u024f\u0370-\u03ff\u0400-\u052f\u1e00-\u1fff]"
_suspect = re.compile(
    f"[\u202a-\u202e\u2066-\u2069{_TAGS}{_SELECTORS}{_MORE_SELECTORS}{_INVISIBLE}{_MARKS}]"
).search
_repeated = re.compile(rf"([{_THAI_MARKS}{_ARABIC_MARKS}])\1{{4}}").search
# The letters between are missing where they are ASCII, and may be there where they are not.
_may_select = re.compile(
    f"[{_MORE_SELECTORS}]|(?:{_LETTER}?+[{_SELECTORS}]){{3}}|[{_SELECTORS}]{{3}}"
).search
_may_be_invisible = re.compile(f"(?:{_LETTER}?+[{_INVISIBLE}]){{4}}").search


def _beyond_ascii(text: str) -> str:
    """What of it is not ASCII."""
    if len(text) <= _AT_ONCE:  # what is in UTF-8 already is not coded anew
        return text.encode().translate(None, _ASCII).decode()
    pieces = [text[at : at + _AT_ONCE].encode() for at in range(0, len(text), _AT_ONCE)]
    return "".join([piece.translate(None, _ASCII).decode() for piece in pieces])


def _may_hide(rest: str) -> bool:
    return first(_may_be_invisible, rest) >= 0 or count(_zero_width, rest) >= _MANY


_any_tag = re.compile(f"[{_TAGS}]").search
_FINDERS: tuple[tuple[str, Callable[[str], bool], Callable[[str], int]], ...] = (
    ("bidi", lambda rest: first(_direction.search, rest) >= 0, _bidi),
    ("tags", lambda rest: first(_any_tag, rest) >= 0, _stray_tag),
    ("variation", lambda rest: first(_may_select, rest) >= 0, _selectors),
    ("invisible", _may_hide, _hidden),
    ("marks", lambda rest: first(_marks, rest) >= 0, _heaped),
)
