"""The tokens of a text in a vocabulary that is not here, estimated by what the text is made of.

There are two ways. With o200k at hand, its tokens are counted by class, since a vocabulary that
cuts English alike may cut Hindi into twice as many; each class weighs as many tokens as it becomes
in the other vocabulary. Without any vocabulary, characters are counted by class. The weights and
how far off they are come from texts with known counts (tools/fit_estimates).

The one rule: an estimate goes nowhere without its error.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from m2mproxy.tokens.pieces import NONE, Encoding, windows

DATA = Path(__file__).with_name("data") / "estimates.json"

OTHER = "other"
"""The target for models of which nothing is known: what most vocabularies come near."""

# ---- scripts ------------------------------------------------------------------------------------

_SCRIPTS: Mapping[str, str] = {
    "latin": "\u00aa\u00ba\u00c0-\u024f\u0300-\u036f\u1e00-\u1eff",
    "cyrillic": "\u0400-\u052f\u2de0-\u2dff\ua640-\ua69f",
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "hebrew": "\u0590-\u05ff\ufb1d-\ufb4f",
    "arabic": "\u0600-\u08ff\ufb50-\ufdff\ufe70-\ufeff",
    "devanagari": "\u0900-\u097f",
    "bengali": "\u0980-\u09ff",
    "gurmukhi": "\u0a00-\u0a7f",
    "gujarati": "\u0a80-\u0aff",
    "oriya and sinhala": "\u0b00-\u0b7f\u0d80-\u0dff",
    "tamil": "\u0b80-\u0bff",
    "telugu": "\u0c00-\u0c7f",
    "kannada": "\u0c80-\u0cff",
    "malayalam": "\u0d00-\u0d7f",
    "thai": "\u0e00-\u0e7f",
    "lao and burmese": "\u0e80-\u0eff\u1000-\u109f",
    "khmer": "\u1780-\u17ff",
    "han": "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
    "kana": "\u3040-\u30ff\u31f0-\u31ff",
    "hangul": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
}
_in_script = {name: re.compile(f"[{script}]") for name, script in _SCRIPTS.items()}

# ---- by tokens of o200k -------------------------------------------------------------------------

_WORDS = (
    ("word", re.compile(r" [a-z]{1,6}")),
    ("long word", re.compile(r" [a-z]+")),
    ("part", re.compile(r"[a-z]+")),
    ("capitalised", re.compile(r" ?[A-Z][a-z]+")),
    ("capitals", re.compile(r" ?[A-Z]+")),
    ("digit", re.compile(r"[0-9]")),
    ("digits", re.compile(r"[0-9]{2}")),
    ("number", re.compile(r"[0-9]{3}")),
    ("line end", re.compile(r"\s*[\r\n]\s*")),
    ("spaces", re.compile(r"\s+")),
    ("mark", re.compile(r" ?[!-/:-@\[-`{-~]")),
    ("marks", re.compile(r"[\s!-/:-@\[-`{-~]+")),
    ("mixed", re.compile(r"[\x00-\x7f]+")),
)
CLASSES = (*(name for name, _ in _WORDS), *_SCRIPTS, "broken sign", "broken", "else")
"""Of tokens."""
_NUMBER = {name: number for number, name in enumerate(CLASSES)}

_UNKNOWN = b"\xff"


def class_of(token: bytes) -> int:
    """The class of a token by its bytes, as its place in CLASSES."""
    try:
        text = token.decode()
    except UnicodeDecodeError:
        # A part of a character; that of an emoji is told by its first bytes.
        return _NUMBER["broken sign" if b"\xf0\x9f" in token else "broken"]
    for name, pattern in _WORDS:
        if pattern.fullmatch(text):
            return _NUMBER[name]
    return next((_NUMBER[name] for name, each in _in_script.items() if each.search(text)),
                _NUMBER["else"])  # fmt: skip


class Classifier:
    """Counts the classes of a text's tokens; it remembers the class of each token it has met."""

    def __init__(self, o200k: Encoding) -> None:
        self._encoding = o200k
        # By the ids of tokens; a dict would take a hundred times as much.
        self._classes = bytearray()

    def count(self, text: str) -> list[int]:
        """How many tokens of each class."""
        totals = [0] * len(CLASSES)
        for window, _ in windows(text):
            ids = Counter(self._encoding.encode(window, disallowed_special=NONE))
            for token, times in ids.items():
                totals[self._class(token)] += times
        return totals

    def _class(self, token: int) -> int:
        if token >= len(self._classes):
            self._classes.extend(_UNKNOWN * (token + 1 - len(self._classes)))
        if self._classes[token] == _UNKNOWN[0]:
            self._classes[token] = class_of(self._encoding.decode_single_token_bytes(token))
        return self._classes[token]


# ---- by characters ------------------------------------------------------------------------------

_RUNS = (
    ("words", "letters", re.compile(r"[A-Za-z]+")),
    ("numbers", "digits", re.compile(r"[0-9]+")),
    ("runs of marks", "marks", re.compile(r"[!-/:-@\[-`{-~]+")),
    ("runs of spaces", "spaces", re.compile(r"[ \t]{2,}")),
    ("runs of line ends", "line ends", re.compile(r"[\r\n]+")),
)
_capitals = re.compile(r"[A-Z]").findall
_beyond_ascii = re.compile(r"[^\x00-\x7f]+").findall
_REMEMBERED = 8192  # characters
FEATURES = (
    *(name for run in _RUNS for name in run[:2]), "capitals", *_SCRIPTS, "other characters",
)  # fmt: skip
"""Of characters."""


def features_of(text: str) -> list[int]:
    """How much there is of each of FEATURES in a text."""
    totals = [0] * len(FEATURES)
    for window, _ in windows(text):
        totals = [total + more for total, more in zip(totals, _features(window), strict=True)]
    return totals


def _features(text: str) -> list[int]:
    found = []
    for *_, pattern in _RUNS:
        runs = pattern.findall(text)
        found += [len(runs), sum(map(len, runs))]
    found.append(len(_capitals(text)))
    scripts = [0] * (len(_SCRIPTS) + 1)
    if not text.isascii():
        # Each character is looked up once, however often it is there.
        for character, times in Counter("".join(_beyond_ascii(text))).items():
            scripts[_script_of(character)] += times
    return found + scripts


@lru_cache(_REMEMBERED)
def _script_of(character: str) -> int:
    """Its place in _SCRIPTS, or the one after the last."""
    places = (place for place, each in enumerate(_in_script.values()) if each.match(character))
    return next(places, len(_SCRIPTS))


# ---- what they weigh ----------------------------------------------------------------------------

# The kinds of text whose errors are those of a script, as tools/kinds.py names them.
_LATIN = ("English", "code", "JSON", "logs, base64, hex", "European")
_KINDS_OF: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("han",), ("Chinese",)),
    **dict.fromkeys(("kana", "hangul"), ("Japanese, Korean",)),
    **dict.fromkeys(
        ("cyrillic", "greek", "hebrew", "arabic"), ("Cyrillic, Greek, Arabic",)
    ),
    **dict.fromkeys(
        ("devanagari", "bengali", "gurmukhi", "gujarati", "oriya and sinhala", "tamil", "telugu",
         "kannada", "malayalam", "thai", "lao and burmese", "khmer", "broken"),
        ("Indic, South-East Asian",),
    ),
    **dict.fromkeys(("broken sign", "else", "other characters"), ("emoji",)),
}  # fmt: skip


class Weights(NamedTuple):
    """The weights of one way to estimate, for one target."""

    weights: Sequence[float]
    errors: Sequence[float]
    """Relative, for each: that of the kinds of text that it is found in."""
    error: float
    """Their mean over all kinds of text."""

    def weigh(self, counts: Sequence[int]) -> tuple[float, float]:
        """Tokens, and how many more or fewer they can be."""
        parts = [count * weight for count, weight in zip(counts, self.weights, strict=True)]
        doubts = (part * error for part, error in zip(parts, self.errors, strict=True))
        return sum(parts, 0.0), sum(doubts, 0.0)


class Target(NamedTuple):
    """A vocabulary to estimate for."""

    classes: Weights
    features: Weights


@cache
def targets() -> Mapping[str, Target]:
    """All that there are weights for, by name."""
    return {
        name: Target(
            _weights(CLASSES, row["classes"], row["classes_errors"]),
            _weights(FEATURES, row["features"], row["features_errors"]),
        )
        for name, row in json.loads(DATA.read_bytes()).items()
    }


def _weights(
    names: Sequence[str], weights: Mapping[str, float], errors: Mapping[str, float]
) -> Weights:
    return Weights(
        [weights[name] for name in names],
        [fmean(errors[kind] for kind in _KINDS_OF.get(name, _LATIN)) for name in names],
        fmean(errors.values()),
    )
