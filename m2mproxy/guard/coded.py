"""What is under the codes in a window: texts, or nothing, as in pictures, keys and digests. A text
that is coded is always read: who means no harm seldom writes one.

The one rule: what is said to hold no text is what no other reading makes a text of, either.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from itertools import chain
from typing import NamedTuple

from m2mproxy.guard import rules
from m2mproxy.guard.decoding import READINGS, escaped_in, of_escapes, runs_of_base64
from m2mproxy.guard.hiding import CODED, ESCAPED, LONG, SPACED, UNSEEN
from m2mproxy.guard.stretch import Window

_long_words = re.compile(rb"[A-Za-z0-9]{%d,}" % LONG).findall
_words = re.compile(r"[A-Za-z]+|[^\W\d_]").findall
"""Of other scripts a letter is enough."""
_FEW = 3
_plain = re.compile(r"[A-Za-z0-9]").findall
_MANY = 8
_HEXADECIMAL = b"0123456789abcdefABCDEF"
_CAPITALS = bytes(range(ord("A"), ord("Z") + 1))
_SMALL = bytes(range(ord("a"), ord("z") + 1))
_SHARE = 6
"""In base64 two letters of five are capitals, two are small; one of six is seldom not."""


class _Telling(NamedTuple):
    """Words that are left of a text where letters stand for others."""

    alone: frozenset[bytes]
    """One is enough to read a text in that way."""
    hints: frozenset[bytes]
    """Of these it takes two."""


@cache
def _telling() -> _Telling:
    signs = [sign for sign in rules.load().signs if sign.id in ("rot13", "reversed")]
    return _Telling(_all([sign.words for sign in signs]), _all([sign.hints for sign in signs]))


def _all(words: list[frozenset[bytes]]) -> frozenset[bytes]:
    return frozenset(chain.from_iterable(words))


class Under(NamedTuple):
    """What is under the codes in a window."""

    text: str
    """It with its escapes undone; "" where it has none."""
    is_nothing: bool
    """Whether there is hardly anything in it that is no code."""


def under(window: Window, ways: Collection[str]) -> Under | None:
    """`ways`: how something may be written, as in hiding.unreadable. None if it is a text, or if it
    cannot be told that it is none."""
    words, telling = window.plain.split(), _telling()
    if not {UNSEEN, SPACED}.isdisjoint(ways) or not telling.alone.isdisjoint(words):
        return None
    if sum(map(telling.hints.__contains__, words)) > 1:
        return None
    text = window.text
    runs = runs_of_base64(text)
    if not all(map(_is_nothing, runs)):
        return None
    if any([READINGS[way](text) for way in CODED if way in ways]):
        return None
    if ESCAPED not in ways:
        return _without_text(text, runs)
    if len(_plain(escaped_in(text))) >= _MANY:  # which nobody needs to escape
        return None
    return Under(of_escapes(text)[: len(text)], False)


def _without_text(window: str, runs: list[bytes]) -> Under | None:
    """Where nothing can be decoded."""
    random = [run.decode() for run in runs if _is_random(run)]
    size = sum(map(len, random))
    if 2 * size < len(window):
        return Under("", False)
    rest = window
    for run in random:
        rest = rest.replace(run, " ")
    if len(_words(rest)) < _FEW:
        return Under("", True)
    return None if 4 * size > 3 * len(window) else Under("", False)  # little else may be a text


def _is_nothing(run: bytes) -> bool:
    """Whether nobody reads a text in it, but for one that it is decoded to."""
    return len(run) < LONG or _is_random(run) or all(map(_is_random, _long_words(run)))


def _is_random(run: bytes) -> bool:
    """Whether nobody would write a word so, with digits for letters."""
    capitals = len(run) - len(run.translate(None, _CAPITALS))
    if capitals * _SHARE >= len(run):
        small = len(run) - len(run.translate(None, _SMALL))
        return small * _SHARE >= len(run)
    return not run.strip(_HEXADECIMAL)
