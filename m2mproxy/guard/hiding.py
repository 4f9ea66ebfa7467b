"""Tells which windows may hold a text that the gate, which counts words, cannot see: encoded,
escaped, invisible, or written letter by letter.

The one rule: this is no reading, and may well be wrong; it only keeps such windows from being
passed over for their words alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from m2mproxy.guard.counts import counted, followed
from m2mproxy.guard.grams import Windows, words
from m2mproxy.guard.stretch import Stretch

CODED, ESCAPED, SPACED, UNSEEN = ("base64", "hex"), "escapes", "spelling", "hidden"
LONG = 28
"""Letters of a word from which on it may be coded."""
_LONGER = 48
_MANY = 8
_TWO_DIGITS = words(b" 00 ")[2][0]
_DIGESTS = frozenset((32, 40, 56, 64, 96, 128))
_HEXADECIMAL = b"0abcdef"
_apart = re.compile(rb"(?: [0a-f]{2}){12}").search
_TWO_IN_A_ROW = bytes([2] * 11)
"""The lengths of the words of _apart that have one after them."""
_ONE_LETTER_IN_A_ROW = bytes([1] * 8)
"""The lengths of words that are letters or digits, fewer of which are enough beside a code."""
_LETTERS = 12
_IN_A_ROW = b"\1" * (_LETTERS - 2)
"""Those within, of which it is known whether they are words by themselves: bytes beyond ASCII may
stand before the first one and after the last."""
_spelt = re.compile(rb"\b(?:[a-z] +){%d}[a-z]\b" % (_LETTERS - 1)).search
"""So many letters by themselves: what is in a row of them is a text."""
_AS_LETTERS = bytes(97 if 97 <= each < 123 else each for each in range(256))
_THREE_LETTERS = b"a a a "
_FEW = 3
_PERCENT, _AND, _BACKSLASH, _ZERO = b"%&\\0"
# What variation selectors and tags begin with in UTF-8.
_FIRST_UNSEEN = (0xEF, 0xF3)
_unseen = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4}|[\U000e0020-\U000e007e]{4}").search
_unseen_8 = re.compile(rb"(?:\xef\xb8.|\xf3\xa0..){4}", re.DOTALL).search
"""More than that, in UTF-8 without its ASCII, which is soon looked through."""
_ASCII = bytes(range(128))


def unreadable(
    seen: Windows, stretches: Sequence[Stretch], firsts: Sequence[int]
) -> dict[int, set[str]]:
    """The windows whose words say nothing of what may be in them, by their numbers, and how it may
    be written, as in decoding.READINGS. `seen` are the windows of the stretches, of which each has
    its first one's number."""
    found: dict[int, set[str]] = {}
    for at, word in seen.words(seen.lengths >= LONG):
        if _is_coded(word):
            found.setdefault(at, set()).update(CODED)
    for at in seen.having(seen.hashes == _TWO_DIGITS, _MANY):
        if _TWO_IN_A_ROW in seen.sizes(at) and _apart(seen.text(at)):
            found.setdefault(at, set()).add("hex")
    for stretch, first in zip(stretches, firsts, strict=True):
        for hides, how in _hiding(stretch.text, stretch.raw):
            for at in range(len(stretch.borders)):
                if hides(stretch.window_text(at)):
                    found.setdefault(first + at, set()).add(how)
    letters = seen.lengths == 1
    if letters.tobytes().find(_IN_A_ROW) >= 0:
        for at in seen.having(letters, _LETTERS):
            if _is_spelt(seen.text(at)):
                found.setdefault(at, set()).add(SPACED)
    for at, ways in found.items():
        if _ONE_LETTER_IN_A_ROW in seen.sizes(at):
            ways.add(SPACED)
    return found


def may_be_coded(plain: bytes, longest: int) -> bool:
    """Whether something may be coded or spelt in a window with words of so many letters at most."""
    return longest >= LONG or plain.count(b" 00") >= _MANY - 1 or _is_spelt(plain)


def _is_spelt(plain: bytes) -> bool:
    """Whether a text stands in it letter by letter. Most have no three such letters, which is seen
    in a tenth of the time."""
    letters = plain.translate(_AS_LETTERS)
    if letters.find(b" " + _THREE_LETTERS) < 0 and not letters.startswith(_THREE_LETTERS):
        return False
    return _spelt(plain) is not None


def escapes(stretch: Stretch) -> bool:
    """Whether there may be something in it that is escaped or cannot be seen."""
    return any([True for _ in _hiding(stretch.text, stretch.raw)])


def _hiding(text: str, raw: bytes) -> Iterator[tuple[Callable[[str], bool], str]]:
    """What a part of a text, which in UTF-8 is `raw`, could hide something by, and how that is
    read. Of what is not there one byte is looked for, which is much faster than to count, or than
    to ask each part; by its number, for else an error is made and thrown away within `in`."""
    if _PERCENT in raw and counted(raw, b"%") >= _MANY:
        yield _percents, ESCAPED
    if _AND in raw and max(followed(raw, _AND, b"#")) >= _FEW:
        yield _entities, ESCAPED
    if _BACKSLASH in raw and max(followed(raw, _BACKSLASH, b"xu")) >= _FEW:
        yield _escapes, ESCAPED
    beyond = len(raw) > len(text) and any([each in raw for each in _FIRST_UNSEEN])
    if beyond and _unseen_8(raw.translate(None, _ASCII)) is not None:
        yield _selectors, UNSEEN


def _percents(text: str) -> bool:
    return text.count("%") >= _MANY


def _entities(text: str) -> bool:
    return text.count("&#") >= _FEW


def _escapes(text: str) -> bool:
    return max(text.count("\\x"), text.count("\\u")) >= _FEW


def _selectors(text: str) -> bool:
    """Variation selectors or tags in a row."""
    return _unseen(text) is not None


def _is_coded(word: bytes) -> bool:
    """Whether a long word has a digit, or is too long for one that people would write."""
    return (_ZERO in word or len(word) >= _LONGER) and not _is_digest(word)


def _is_digest(word: bytes) -> bool:
    """Whether a word is as long as a digest in hexadecimal, and its bytes are not all of ASCII: the
    first digit of such a byte is below 8, and digits are all 0 here."""
    return len(word) in _DIGESTS and not word.strip(_HEXADECIMAL) and bool(word[::2].strip(b"0"))
