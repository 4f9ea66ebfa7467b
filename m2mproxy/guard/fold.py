"""Folding: one plain spelling for all the ways of writing the same letters.

Letters are folded one by one, whatever stands beside them: compatibility forms (NFKC: full width,
mathematical alphabets, ligatures, circled letters), look-alikes of Latin letters (after Unicode
TR39, the letters that occur in attacks), case, combining accents. What cannot be seen is dropped.
Characters of scripts without spaces become words of their own. That a real Russian word comes out
in a mix of alphabets does no harm: the rules and the model's words are folded in the same way.

The one rule: a fold reads each character once and never looks back, so that its cost and its
length are bounded by the text's (normalising whole strings sorts runs of accents, which is
quadratic).
"""

# ruff: noqa: RUF001 (look-alikes are what this is about)
from __future__ import annotations

import codecs
import unicodedata

MOST_FOR_ONE = 24
"""Characters that one character can become, at most: U+FDFA has 18."""

# Look-alikes of Latin letters, after lower-casing: capitals that look alike are here by their
# small letters. Quotes, too: the rules know one kind. (https://www.unicode.org/reports/tr39/)
_LOOK_ALIKES = {
    "a": "аαɑᴀ∂ⱥ",
    "b": "вьβʙƅ",
    "c": "сϲᴄⅽ¢ⲥ",
    "d": "ԁɗᴅժ",
    "e": "еεєҽᴇ€ℯɇ",
    "f": "ϝꜰғƒ",
    "g": "ɡɢցǥ",
    "h": "һнʜհ",
    "i": "іιıɪӏɩ¡",
    "j": "јϳᴊ",
    "k": "кκᴋ",
    "l": "ʟⅼ∣ł",
    "m": "мᴍⅿ",
    "n": "пηɴոռ",
    "o": "оοօᴏσø๐",
    "p": "рρᴘ",
    "q": "ԛգ",
    "r": "гʀᴦ",
    "s": "ѕꜱƽʂ§",
    "t": "тτᴛ†ŧ",
    "u": "υᴜսʋ",
    "v": "νᴠѵ",
    "w": "ԝωᴡɯա",
    "x": "хχ×",
    "y": "уγʏүყ",
    "z": "ᴢʐ",
    '"': "“”„‟«»",
}
_LATIN = {ord(like): letter for letter, likes in _LOOK_ALIKES.items() for like in likes}

# Scripts that are written without spaces between words, or with many endings: each character is
# a word. Kana, CJK ideographs, Hangul syllables.
_ALONE = (
    (0x3041, 0x30FF),
    (0x3400, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
# Enclosed letters that have no compatibility form: the first code point of each alphabet.
_ENCLOSED = (0x1F130, 0x1F150, 0x1F170, 0x1F1E6)
_LETTERS = 26

_MOST_KNOWN = 8192

_DENSE = 8
"""From one byte beyond ASCII in so many characters on, all characters are looked up one by one."""


def _one(point: int) -> str:
    """What one character becomes."""
    if point < 0x80:
        return chr(point)
    for first in _ENCLOSED:
        if first <= point < first + _LETTERS:
            return chr(ord("a") + point - first)
    if any(first <= point <= last for first, last in _ALONE):
        return f" {unicodedata.normalize('NFKC', chr(point))} "
    return "".join(map(_plain, unicodedata.normalize("NFKD", chr(point)).lower()))


def _plain(char: str) -> str:
    if char < "\x80":
        return char
    if ord(char) in _LATIN:
        return _LATIN[ord(char)]
    parts = unicodedata.normalize("NFKD", char)
    if len(parts) > 1:
        return "".join(map(_plain, parts))
    kind = unicodedata.category(char)
    if kind == "Cf" or kind in ("Cn", "Cs", "Co") or 0xFE00 <= ord(char) <= 0xFE0F:
        return ""
    if kind == "Mn" and ord(char) < 0x0700:  # accents, and the vowel points of Hebrew and Arabic
        return ""
    if 0xE0100 <= ord(char) <= 0xE01EF or ord(char) in (0x115F, 0x1160, 0x3164, 0xFFA0):
        return ""
    return char if kind[0] in "LMN" else " "


class _Table(dict[int, str]):
    """Filled as characters come, and emptied when there are many: texts do not fill the memory."""

    def __missing__(self, point: int) -> str:
        if len(self) >= _MOST_KNOWN:
            self.clear()
        made = self[point] = _one(point)[:MOST_FOR_ONE].lower()
        return made


_TABLE = _Table()
_HANDLER = "m2mproxy.fold"


def _run(error: UnicodeError) -> tuple[bytes, int]:
    """A run of characters beyond ASCII, as the codec asks for it."""
    assert isinstance(error, UnicodeEncodeError)
    run = error.object[error.start : error.end]
    return run.translate(_TABLE).encode(), error.end


codecs.register_error(_HANDLER, _run)


def spelt(text: str) -> bytes:
    """The text in its plain spelling, in UTF-8, but for the case of what is ASCII."""
    if text.isascii():
        return text.encode()
    more = len(text.encode("utf-8", "replace")) - len(text)
    if more * _DENSE > len(text):
        return text.translate(_TABLE).encode()
    return text.encode("ascii", _HANDLER)


def folded(text: str) -> bytes:
    """The same in small letters."""
    return spelt(text).lower()


def fold(text: str) -> str:
    """The text in its plain spelling. Idempotent but for spaces."""
    return folded(text).decode()
