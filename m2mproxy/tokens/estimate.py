"""Tokens of a text in a vocabulary that is not here, estimated by what the text is made of.

Two ways. With o200k at hand, its tokens are counted by class, for a vocabulary that cuts English
alike may cut Hindi in twice as many; each class weighs as many tokens as it comes out to be in the
other vocabulary. Without any vocabulary characters are counted by class. The weights and how far
off they are come from texts with known counts (tools/fit_estimates).

The one rule: an estimate goes nowhere without its error.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
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
    "arabic and hebrew": "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff",
    "indic": "\u0900-\u0dff",
    "south-east asian": "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff",
    "han": "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
    "kana": "\u3040-\u30ff\u31f0-\u31ff",
    "hangul": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
}
_in_script = {name: re.compile(f"[{script}]+") for name, script in _SCRIPTS.items()}

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
CLASSES = (*(name for name, _ in _WORDS), *_SCRIPTS, "broken", "else")
"""Of tokens."""
_NUMBER = {name: number for number, name in enumerate(CLASSES)}
_UNKNOWN = 255


def class_of(token: bytes) -> int:
    """The class of a token by its bytes, as its place in CLASSES."""
    try:
        text = token.decode()
    except UnicodeDecodeError:
        return _NUMBER["broken"]  # a part of a character
    for name, pattern in _WORDS:
        if pattern.fullmatch(text):
            return _NUMBER[name]
    return next((_NUMBER[name] for name, each in _in_script.items() if each.search(text)),
                _NUMBER["else"])  # fmt: skip


class Classifier:
    """Counts the classes of a text's tokens; it remembers the class of each token it has met."""

    def __init__(self, o200k: Encoding) -> None:
        self._encoding = o200k
        self._classes: dict[int, int] = {}

    def count(self, text: str) -> list[int]:
        """How many tokens of each class."""
        totals = [0] * len(CLASSES)
        for window, _ in windows(text):
            ids = Counter(self._encoding.encode(window, disallowed_special=NONE))
            for token, times in ids.items():
                totals[self._class(token)] += times
        return totals

    def _class(self, token: int) -> int:
        known = self._classes.get(token)
        if known is None:
            known = class_of(self._encoding.decode_single_token_bytes(token))
            self._classes[token] = known
        return known


# ---- by characters ------------------------------------------------------------------------------

_RUNS = (
    ("words", "letters", re.compile(r"[A-Za-z]+")),
    ("numbers", "digits", re.compile(r"[0-9]+")),
    ("runs of marks", "marks", re.compile(r"[!-/:-@\[-`{-~]+")),
    ("runs of spaces", "spaces", re.compile(r"[ \t]{2,}")),
    ("runs of line ends", "line ends", re.compile(r"[\r\n]+")),
)
_capitals = re.compile(r"[A-Z]").findall
_ascii = re.compile(r"[\x00-\x7f]+").findall
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
    if text.isascii():
        return found + [0] * (len(_SCRIPTS) + 1)
    scripts = [sum(map(len, each.findall(text))) for each in _in_script.values()]
    ascii_ = sum(map(len, _ascii(text)))
    return [*found, *scripts, len(text) - ascii_ - sum(scripts)]


# ---- what they weigh ----------------------------------------------------------------------------


class Weights(NamedTuple):
    """Of one way for one target."""

    weights: Sequence[float]
    error: float
    """Relative, as the mean over kinds of text."""


class Target(NamedTuple):
    """A vocabulary to estimate for."""

    classes: Weights
    features: Weights


@cache
def targets() -> Mapping[str, Target]:
    """All that there are weights for, by name."""
    rows = json.loads(DATA.read_bytes())
    return {
        name: Target(
            Weights([row["classes"].get(each, 0) for each in CLASSES], row["classes_error"]),
            Weights([row["features"].get(each, 0) for each in FEATURES], row["features_error"]),
        )
        for name, row in rows.items()
    }


def weigh(counts: Sequence[int], weights: Sequence[float]) -> float:
    """Tokens."""
    return sum((count * weight for count, weight in zip(counts, weights, strict=True)), 0.0)
