"""Which windows may have another text in them that is not of words: encoded, escaped, unseen.

The one rule: this is no reading, and may well be wrong; it only keeps such windows from being
passed over for their words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from m2mproxy.guard.grams import Windows, followed, words
from m2mproxy.guard.stretch import Stretch, Window

_LONG, _LONGER = 28, 48
_MANY = 8
_TWO_DIGITS = words(b" 00 ")[2][0]
_DIGESTS = frozenset((32, 40, 56, 64, 96, 128))
_HEXADECIMAL = b"0abcdef"
_apart = re.compile(rb"(?: [0a-f]{2}){12}").search
_TWO_IN_A_ROW = bytes([2] * 11)
"""The lengths of the words of _apart that have one after them."""
_FEW = 3
_LARGE = 2048
"""Characters from which on it is worth an array to look for signs."""
_unseen = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4}|[\U000e0020-\U000e007e]{4}").search
_unseen_8 = re.compile(rb"(?:\xef\xb8.|\xf3\xa0..){4}", re.DOTALL).search
"""More than that, in UTF-8 without its ASCII, which is soon looked through."""
_ASCII = bytes(range(128))


def unreadable(seen: Windows, stretches: Sequence[Stretch], firsts: Sequence[int]) -> Iterator[int]:
    """The windows whose words say nothing of what may be in them, by their numbers. `seen` are the
    windows of the stretches, of which each has its first one's number."""
    for at, word in seen.words(seen.lengths >= _LONG):
        if _is_coded(word):
            yield at
    for at in seen.having(seen.hashes == _TWO_DIGITS, _MANY):
        if _TWO_IN_A_ROW in seen.sizes(at) and _apart(seen.text(at)):
            yield at
    for stretch, first in zip(stretches, firsts, strict=True):
        for hides in _hiding(stretch.text):
            for at in range(len(stretch.borders)):
                if hides(stretch.window_text(at)):
                    yield first + at


def is_unreadable(window: Window, words: list[bytes]) -> bool:
    """The same for one window with these words."""
    return (
        any([len(word) >= _LONG and _is_coded(word) for word in words])
        or (words.count(b"00") >= _MANY and _apart(window.plain) is not None)
        or any([hides(window.text) for hides in _hiding(window.text)])
    )


def _hiding(text: str) -> list[Callable[[str], bool]]:
    """What a part of a stretch could hide something by. Of what is not there one character is
    looked for, which is much faster than to count, or than to ask each part."""
    found: list[Callable[[str], bool]] = []
    if "%" in text and _percents(text):
        found.append(_percents)
    if "&" in text and _entities(text):
        found.append(_entities)
    if "\\" in text and _escapes(text):
        found.append(_escapes)
    if not text.isascii() and _selectors(text):
        found.append(_selectors)
    return found


def _percents(text: str) -> bool:
    return text.count("%") >= _MANY


def _entities(text: str) -> bool:
    return max(_followed(text, "&", "#")) >= _FEW


def _escapes(text: str) -> bool:
    return max(_followed(text, "\\", "xu")) >= _FEW


def _followed(text: str, sign: str, by: str) -> list[int]:
    """How often a sign is followed by each of some."""
    if len(text) < _LARGE:
        return [text.count(sign + each) for each in by]
    return followed(text.encode("utf-8", "replace"), ord(sign), by.encode())


def _selectors(text: str) -> bool:
    """Variation selectors or tags in a row."""
    data = text.encode("utf-8", "replace")
    return (
        (b"\xef\xb8" in data or b"\xf3\xa0" in data)
        and _unseen_8(data.translate(None, _ASCII)) is not None
        and _unseen(text) is not None
    )


def _is_coded(word: bytes) -> bool:
    """Whether a long word has a digit, or is too long for one that people would write."""
    return (b"0" in word or len(word) >= _LONGER) and not _is_digest(word)


def _is_digest(word: bytes) -> bool:
    """Whether a word is as long as a digest in hexadecimal, and its bytes are not all of ASCII: the
    first digit of such a byte is below 8, and digits are all 0 here."""
    return len(word) in _DIGESTS and not word.strip(_HEXADECIMAL) and bool(word[::2].strip(b"0"))
