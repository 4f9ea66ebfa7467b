"""What is under the codes in a window: texts, or nothing, as in pictures, keys and digests.

The one rule: what is said to hold no text is what no other reading makes a text of, either.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from m2mproxy.guard import rules
from m2mproxy.guard.hiding import ESCAPED, LONG, UNSEEN
from m2mproxy.guard.stretch import Window
from m2mproxy.guard.views import READINGS, escaped_in, runs_of_base64

_long_words = re.compile(rb"[A-Za-z0-9]{%d,}" % LONG).findall
_words = re.compile(r"[A-Za-z]+|[^\W\d_]").findall
"""Of other scripts a letter is enough."""
_FEW = 3
_HEXADECIMAL = b"0123456789abcdefABCDEF"
_CAPITALS = bytes(range(ord("A"), ord("Z") + 1))
_SMALL = bytes(range(ord("a"), ord("z") + 1))
_SHARE = 6
"""In base64 two letters of five are capitals, two are small; one of six is seldom not."""


_word_of = re.compile(r"\\b\(\?:([a-z]+)\)\\b").fullmatch
_TELLING = frozenset(
    word[1].encode()
    for sign in rules.load().signs
    if sign.id in ("rot13", "reversed")
    for word in map(_word_of, sign.patterns)
    if word
)
"""One such word is enough to read a text in that way."""


def texts_in(window: Window, ways: Collection[str]) -> list[str] | None:
    """The texts that may be written in these ways, as in hiding.unreadable; None if that cannot be
    told."""
    if UNSEEN in ways or not _TELLING.isdisjoint(window.plain.split()):
        return None
    return _texts(window.text, ways)


def _texts(window: str, ways: Collection[str]) -> list[str] | None:
    texts = [made for way in ways if (made := READINGS[way](window)).strip() and made != window]
    if ESCAPED in ways:  # a text that is all escapes is looked at without those around it
        texts.append(escaped_in(window))
    if not texts and not all(map(_is_nothing, runs_of_base64(window))):
        return None
    return [text[: len(window)] for text in texts if text]


def is_code(window: str) -> bool | None:
    """Of a window in which no text is found, whether it has hardly anything else in it than codes;
    None if that is little, and yet enough for a text."""
    runs = [run.decode() for run in runs_of_base64(window) if _is_random(run)]
    size = sum(map(len, runs))
    if 2 * size < len(window):
        return False
    rest = window
    for run in runs:
        rest = rest.replace(run, " ")
    return True if len(_words(rest)) < _FEW else None if 4 * size > 3 * len(window) else False


def _is_nothing(run: bytes) -> bool:
    """Whether no reading makes a text of it."""
    return len(run) < LONG or _is_random(run) or all(map(_is_random, _long_words(run)))


def _is_random(run: bytes) -> bool:
    """Whether nobody would write a word so, with digits for letters."""
    capitals = len(run) - len(run.translate(None, _CAPITALS))
    if capitals * _SHARE >= len(run):
        small = len(run) - len(run.translate(None, _SMALL))
        return small * _SHARE >= len(run)
    return not run.strip(_HEXADECIMAL)
