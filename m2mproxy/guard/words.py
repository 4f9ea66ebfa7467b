"""Folded text as words, and what else of its form the model looks at.

The one rule: training and scanning read texts through these functions, so that both see the same.
"""

from __future__ import annotations

import re
from itertools import islice

_STOP = "."


def _plain(byte: int) -> int:
    """Bytes beyond ASCII are of letters: folding leaves no other signs beyond it."""
    char = chr(byte)
    if char in ".!?;\n":
        return ord(_STOP)
    if byte < 0x80 and char.isdecimal():
        return ord("0")
    return ord(char.lower()) if byte < 0x80 and char.isalnum() else byte if byte >= 0x80 else 0x20


_TABLE = bytes(map(_plain, range(256)))
_WITHOUT_STOPS = _TABLE.replace(b".", b" ")
_BUT_NUL = b"\0" + _WITHOUT_STOPS[1:]

FORMS = (
    *("<4", "<8", "<16", "<32", "<64", "full"),
    *("?", "ends?", '"', "`", "{", "!", "\\"),
    *("beyond", "unseen", "mixed", "styled", "uneven", "part"),
)
"""Fewer words than that; as long as a window can be; what it has in it; characters beyond ASCII and
odd ways of writing; cut out of a window."""
PART = FORMS.index("part")


_UNSEEN = re.compile("[a-zA-Z][\u00ad\u200b-\u200f\u2060-\u2064\ufeff]+(?=[a-zA-Z])")
_MIXED = re.compile("[a-zA-Z][\u0370-\u058f]|[\u0370-\u058f][a-zA-Z]")
_STYLED = re.compile("[\uff21-\uff5a\u24b6-\u24e9\U0001d400-\U0001d7ff\U0001f130-\U0001f189]{2}")
"""Latin letters with what cannot be seen between them, beside those of other alphabets, and in the
alphabets of mathematics, full width and circles."""
_UNEVEN = re.compile("(?:[a-z]{1,2}[A-Z]{1,2}){2}")
"""Capitals here and there in a word."""


_CAPITALS = bytes(range(ord("A"), ord("Z") + 1))
_FEWER = ((0, 4), (1, 8), (2, 16), (3, 32), (4, 64))
_MOST_COUNTED = 64
_OFTEN = 3
_QUESTIONS = frozenset("?\uff1f\u061f")
_SIGNS = ((6, "?"), (8, '"'), (9, "`"), (10, "{"), (11, "!"), (12, "\\"))
_ASCII = bytes(range(128))
_SPELT = (
    (14, re.compile(rb"\xc2\xad|\xe2\x80[\x8b-\x8f]|\xe2\x81[\xa0-\xa4]|\xef\xbb\xbf"), _UNSEEN),
    (15, re.compile(rb"[\xcd-\xd6]"), _MIXED),
    (16, re.compile(rb"\xef[\xbc\xbd]|\xe2[\x92\x93]|\xf0(?:\x9d|\x9f[\x84-\x86])"), _STYLED),
)
"""Each with what one of its characters begins with in UTF-8, which is soon looked for where the
ASCII is taken out."""


def _kind(byte: int) -> bytes:
    """What a byte of UTF-8 may be of: a Latin letter, the first half of a letter as in _MIXED, or
    the other half of one."""
    if byte < 0x80:
        return b"l" if chr(byte).isalpha() else b" "
    return b"o" if 0xCD <= byte <= 0xD6 else b"-" if byte < 0xC0 else b" "


_KINDS = b"".join(map(_kind, range(256)))


def _may_be_mixed(data: bytes) -> bool:
    """Whether there may be letters of two alphabets side by side, which is soon counted."""
    kinds = data.translate(_KINDS)
    return kinds.count(b"lo") + kinds.count(b"o-l") >= _OFTEN


def _often(pattern: re.Pattern[str], text: str) -> bool:
    return sum(1 for _ in islice(pattern.finditer(text), _OFTEN)) == _OFTEN


def plain_of(folded: bytes) -> bytes:
    """Folded text in UTF-8 with nothing but small letters, digits, which are all 0, and spaces;
    apostrophes fall away."""
    return folded.replace(b"'", b"").translate(_WITHOUT_STOPS)


def plains_of(folded: bytes) -> list[bytes]:
    """The same of each of several texts that a NUL stands between, and that have none."""
    return folded.replace(b"'", b"").translate(_BUT_NUL).split(b"\0")


def marked_of(folded: bytes) -> bytes:
    """The same with a full stop where a sentence or line ends, and a space around the whole."""
    return b" %b " % folded.replace(b"'", b"").translate(_TABLE)


def forms_of(text: str, words: bytes, size: int) -> list[int]:
    """Which of FORMS hold: of a window of text with these words, where `size` is a full one's."""
    count = len(words.replace(b".", b" . ").split(None, _MOST_COUNTED))
    holds = [at for at, most in _FEWER if count < most]
    if len(text) >= size:
        holds.append(5)
    if text.rstrip()[-1:] in _QUESTIONS:
        holds.append(7)
    holds += [at for at, char in _SIGNS if char in text]
    data = text.encode("utf-8", "replace")
    if (len(data) - len(data.translate(None, _CAPITALS))) * 8 > len(text) and _often(_UNEVEN, text):
        holds.append(17)
    if not text.isascii():
        holds.append(13)
        rest = data.translate(None, _ASCII)
        may = [(at, all) for at, some, all in _SPELT if some.search(rest)]
        holds += [
            at
            for at, all in may
            if (all is not _MIXED or _may_be_mixed(data)) and _often(all, text)
        ]
    return holds
