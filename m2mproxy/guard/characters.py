"""Characters of a text that are there to hide something, or that no text has.

What is told apart by its surroundings: a joiner belongs into a family of emoji and into a Persian
word, a tag character into the flag of Scotland, an isolate around a price on an Arabic page; each
of them in a row carries a message that nobody sees. Sources: UAX #9 (bidirectional text), UTS #51
(emoji sequences, flags of tags), the Unicode standard, chapter 23 (joiners, variation selectors);
"Trojan Source" (CVE-2021-42574) for overrides; ECMA-48, 5.6 for control strings.

What is not ASCII is looked at first, in UTF-8 and without the ASCII between, by patterns that find
all that the checks proper could find and more; only what these hit is checked.

The one rule: a text in ASCII costs two searches, and no text more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from m2mproxy.guard.finding import Category, Finding

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
_paragraph = re.compile("[^\n\r\u0085\u2029]+").finditer
_is_right_to_left = re.compile(f"[{_RIGHT_TO_LEFT}]").search
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


def check(text: str) -> Iterator[Finding]:
    """What is wrong with the characters of `text`, each kind once, with its first place."""
    if "\0" in text:
        yield malformed("nul", CHECKS["nul"], text.index("\0"))
    if "\x1b" in text and (match := _control_string(text)):
        yield malformed("terminal", CHECKS["terminal"], match.start())
    if text.isascii():
        return
    rest = text.encode().translate(None, _ASCII)
    if _suspect(rest) is None:
        return
    for source, may_find, find in _FINDERS:
        if may_find(rest):
            at = find(text)
            if at >= 0:
                yield malformed(source, CHECKS[source], at)


def _bidi(text: str) -> int:
    for each in _paragraph(text):
        at = _reordered(each[0])
        if at >= 0:
            return each.start() + at
    return -1


def _reordered(paragraph: str) -> int:
    """Where a paragraph has an override, an isolate without its other half, or turns the order
    around though nothing in it is written from right to left; else -1."""
    turns = _is_right_to_left(paragraph) is not None
    isolates: list[int] = []
    for match in _direction.finditer(paragraph):
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


def _stray_tag(text: str) -> int:
    return next((match.start() for match in _tag(text) if match[1]), -1)


def _selectors(text: str) -> int:
    match = _variation(text)
    return -1 if match is None else match.start()


def _hidden(text: str) -> int:
    match = _invisible(text)
    if match is not None:
        return match.start()
    count = len(_zero_width(text))
    if count < _MANY or (count - len(_emoji_joiner(text))) < max(_MANY, _SHARE * len(text)):
        return -1
    return 0


def _heaped(text: str) -> int:
    match = _marks(text)
    return -1 if match is None else match.start()


# -- the first look -------------------------------------------------------------------------------

_ASCII = bytes(range(128))
_DIRECTION_8 = rb"\xe2(?:\x80[\xaa-\xae]|\x81[\xa6-\xa9])"
_TAG_8 = rb"\xf3\xa0[\x80\x81]"
_SELECTOR_8 = rb"\xef\xb8[\x80-\x8f]"
_MORE_SELECTORS_8 = rb"\xf3\xa0[\x84-\x87]"
_ZERO_WIDTH_8 = rb"(?:\xe2(?:\x80[\x8b-\x8d]|\x81[\xa0-\xa4])|\xef\xbb\xbf|\xe1\xa0\x8e)"
_INVISIBLE_8 = (
    rb"(?:\xe2(?:\x80[\x8b-\x8f]|\x81[\xa0-\xaf])|\xef\xbb\xbf|\xef\xbe\xa0|\xc2\xad|\xcd\x8f"
    rb"|\xd8\x9c|\xe1\x85[\x9f\xa0]|\xe1\x9e[\xb4\xb5]|\xe1\xa0\x8e|\xe3\x85\xa4)"
)
_MARK_8 = (
    rb"(?:\xcc[\x80-\xbf]|\xcd[\x80-\xaf]|\xd2[\x83-\x89]|\xe1(?:\xaa[\xb0-\xbf]|\xab[\x80-\xbf]"
    rb"|\xb7[\x80-\xbf])|\xe2\x83[\x90-\xbf]|\xef\xb8[\xa0-\xaf])"
)
_REPEATED_8 = rb"(\xe0[\xb8\xb9].)\1{4}|([\xd8-\xdb].)\2{4}"
_LETTER_8 = rb"(?:[\xc3-\xd4].|\xe1[\xb8-\xbf].)"
# The letters between are missing where they are ASCII, and may be there where they are not.
_SELECTORS_8 = _MORE_SELECTORS_8 + rb"|(?:" + _LETTER_8 + rb"?+" + _SELECTOR_8 + rb"){3}"
_HIDDEN_8 = rb"(?:" + _LETTER_8 + rb"?+" + _INVISIBLE_8 + rb"){4}"
_HEAPED_8 = _MARK_8 + rb"{6}|" + _REPEATED_8

_suspect = re.compile(
    rb"|".join(
        (_REPEATED_8, _DIRECTION_8, _TAG_8, _SELECTOR_8, _MORE_SELECTORS_8, _INVISIBLE_8, _MARK_8)
    ),
    re.DOTALL,
).search
_zero_width_8 = re.compile(_ZERO_WIDTH_8).findall
_hidden_8 = re.compile(_HIDDEN_8, re.DOTALL).search


def _may_hide(rest: bytes) -> bool:
    return _hidden_8(rest) is not None or len(_zero_width_8(rest)) >= _MANY


_Look = Callable[[bytes], object]
_FINDERS: tuple[tuple[str, _Look, Callable[[str], int]], ...] = (
    ("bidi", re.compile(_DIRECTION_8).search, _bidi),
    ("tags", re.compile(_TAG_8).search, _stray_tag),
    ("variation", re.compile(_SELECTORS_8, re.DOTALL).search, _selectors),
    ("invisible", _may_hide, _hidden),
    ("marks", re.compile(_HEAPED_8, re.DOTALL).search, _heaped),
)
