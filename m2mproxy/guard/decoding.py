"""Other readings of a text: what it says once it is decoded.

Which of them are worth a look is seen by patterns of data/rules.toml in the pass over the plain
reading; a reading is made only then.

The one rule: no reading is longer than the text that it was made of, and readings of readings are
made once only, so that no text can grow by being decoded.
"""

from __future__ import annotations

import binascii
import codecs
import re
import string
from collections.abc import Callable, Iterator
from functools import lru_cache

_TAGS = re.compile(r"[\U000e0020-\U000e007e]{4,}")
_SELECTORS = re.compile(r"[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2},?+){8,}+")
_LEAST_RUN = 16
"""Characters of base64, or of hexadecimal bytes and the gaps between them."""
_ESCAPES = re.compile(r"((?:\\u|\\x|%|&#x?|\\U0{0,4}|U\+)[0-9a-fA-F]{2,5};?)")
_BITS = re.compile(r"(?:[01]{8}\s?){4,}")
_SPACED = re.compile(r"(?<![^\W_])[^\W_](?:(?:[^\S\n]|[._*\-|/\\])[^\W_]){3,}(?![^\W_])")
_SHORT = re.compile(r"(?:^|(?<=  ))[^\W_](?: [^\W_]){1,2}(?= {2}|\s*$| [^\w\s])", re.MULTILINE)
"""Short words that are spaced out, with wider gaps around them."""
_MOST_ESCAPES = 512
"""Of which it is remembered what they are."""
_CODED = 20
_has_run = re.compile(rf"[A-Za-z0-9+/]{{{_CODED + 1}}}").search
"""Longer than words that are spelt with digits: it is coded."""
_LEET = str.maketrans("013456789@$!|+\u20ac\u00a3(", "oieasgtbgasilteec")
# A word that has one of those. (The `*+` goes back nowhere.)
_WORD = re.compile(r"(?<!\S)[^\s013456789@$!|+\u20ac\u00a3(]*+[013456789@$!|+\u20ac\u00a3(]\S*")
_is_numbered = re.compile(r"[^\W\d_]+[0-9]{2,}\W*").fullmatch
"""As base64 and rot13."""
_has_letter = re.compile(r"[A-Za-z]").search
_IN_NO_TEXT = bytes((*range(9), *range(14, 28), 127, 0xC0, 0xC1, *range(0xF5, 0x100)))
"""Controls that are no white space, which are all of ASCII that is odd, and what no UTF-8 has: each
is one odd character."""


def _table(kept: bytes, made: bytes = b"") -> bytes:
    """That leaves some bytes or makes others of them, and spaces of the rest."""
    become = dict(zip(kept, made or kept, strict=True))
    return bytes(become.get(each, 0x20) for each in range(256))


_HEXADECIMAL, _HEX_GAPS, _GAP = string.hexdigits.encode(), b" :,", b","
_IN_BASE64 = _table((string.ascii_letters + string.digits + "+/-_").encode())
_AS_BASE64 = _IN_BASE64.translate(bytes.maketrans(b"-_", b"+/"))
_IN_HEX = _table(_HEXADECIMAL + _HEX_GAPS, _HEXADECIMAL + _GAP * len(_HEX_GAPS))
_AS_HEX = _table(_HEXADECIMAL, b"0" * len(_HEXADECIMAL))
_AS_BITS = _table(b"01", b"00")
_RUN_OF_HEX, _EIGHT_BITS = b"0" * _LEAST_RUN, b"0" * 8
_FIRST_SELECTORS, _SECOND_SELECTORS = 0xFE00, 0xE0100


def hidden(text: str) -> str:
    """What is written in characters that cannot be seen: tags, and bytes as variation selectors."""
    found = [
        "".join(chr(ord(char) - 0xE0000) for char in match[0]) for match in _TAGS.finditer(text)
    ]
    found += [_of_selectors(match[0]) for match in _SELECTORS.finditer(text)]
    return " ".join(found)


def _of_selectors(run: str) -> str:
    data = bytes(
        point - _FIRST_SELECTORS if point < _SECOND_SELECTORS else point - _SECOND_SELECTORS + 16
        for point in map(ord, run)
    )
    return data.decode("utf-8", "ignore")


def _readable(data: bytes) -> str:
    """Decoded bytes that look like text; "" for others."""
    odd = len(data) - len(data.translate(None, _IN_NO_TEXT))
    if odd * 8 > len(data):
        return ""
    if data.isascii():
        return data.decode("ascii")
    text = data.decode("utf-8", "replace")
    if text.count("\ufffd") * 8 > len(text):  # most of what was no coded text
        return ""
    odd = text.count("\ufffd")
    if not (bare := "".join(text.split())).isprintable():
        odd += sum([not char.isprintable() for char in bare])
    return text if odd * 8 <= len(text) else ""


def of_base64(text: str) -> str:
    """All runs of base64 in the text, decoded."""
    return " ".join(filter(None, map(_one_base64, _runs(text, _AS_BASE64))))


def runs_of_base64(text: str) -> list[bytes]:
    """What is in the alphabets of base64, in runs that are worth decoding, without their ends."""
    return _runs(text, _IN_BASE64)


def _runs(text: str, table: bytes) -> list[bytes]:
    words = text.encode("utf-8", "replace").translate(table).split()
    return [word for word in words if len(word) >= _LEAST_RUN]


def _one_base64(run: bytes) -> str:
    whole = run if len(run) % 4 != 1 else run[:-1]
    try:
        return _readable(binascii.a2b_base64(whole + b"=="))
    except binascii.Error:
        return ""


def of_hex(text: str) -> str:
    """All runs of hexadecimal bytes in the text, decoded."""
    data = text.encode("utf-8", "replace")
    found = []
    # Most texts have no such runs, which is seen in a hundredth of the time.
    if _RUN_OF_HEX in data.translate(_AS_HEX, _HEX_GAPS):
        for piece in data.translate(_IN_HEX).split():
            if len(piece) >= _LEAST_RUN:
                for run in _HEX.findall(piece):
                    found.append(_readable(binascii.a2b_hex(run.replace(_GAP, b""))))
    if _EIGHT_BITS in data.translate(_AS_BITS):
        for match in _BITS.finditer(text):
            bits = "".join(match[0].split())
            found.append(_readable(int(bits, 2).to_bytes(len(bits) // 8, "big")))
    return " ".join(filter(None, found))


def of_escapes(text: str) -> str:
    """The text with escapes of JSON, URLs, C and HTML undone."""
    pieces = _ESCAPES.split(text)  # every other one is an escape
    pieces[1::2] = map(_one_escape, pieces[1::2])
    return "".join(pieces)


def escaped_in(text: str) -> str:
    """What is escaped in the text, without the rest."""
    return "".join(map(_one_escape, _ESCAPES.findall(text)))


@lru_cache(_MOST_ESCAPES)
def _one_escape(escape: str) -> str:
    digits = escape.lstrip("\\uxU%&#+").rstrip(";")
    if escape.startswith("&#") and not escape.startswith("&#x"):
        point = int(digits) if digits.isdecimal() else 0
    else:
        point = int(digits, 16)
    return chr(point) if 0x20 <= point < 0xD800 else " "


def of_rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


def of_reversed(text: str) -> str:
    return text[::-1]


def of_spelling(text: str) -> str:
    """Letters that are spaced out put together; digits and signs among letters read as letters."""
    joined = _SPACED.sub(_join, text)
    if joined != text:
        joined = _SHORT.sub(_join, joined)
    return _WORD.sub(_one_word, joined)


def _one_word(match: re.Match[str]) -> str:
    """A number stays, and so do a word with one, and what is coded."""
    word = match[0]
    if not _has_letter(word) or _is_numbered(word) or (len(word) > _CODED and _has_run(word)):
        return word
    letters = word.rstrip("!?.,;:")
    return letters.translate(_LEET) + word[len(letters) :]


def _join(match: re.Match[str]) -> str:
    """A single separator falls away."""
    return match[0][::2]


READINGS: dict[str, Callable[[str], str]] = {
    "base64": of_base64,
    "hex": of_hex,
    "escapes": of_escapes,
    "spelling": of_spelling,
    "rot13": of_rot13,
    "reversed": of_reversed,
}
"""By the ids that the patterns have in the data."""


def readings(text: str, signs: Iterator[str]) -> Iterator[tuple[str, str]]:
    """The readings that `signs` point to, each with its id; empty ones are left out."""
    for sign in signs:
        made = READINGS[sign](text)
        if made.strip() and made != text:
            yield sign, made[: len(text)]
