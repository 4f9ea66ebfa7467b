"""The model: what words, pairs of words, rules and forms count, as tools/train_guard learnt it.

A logistic regression over one window of text. Its data, data/model.json.br, is JSON in brotli:
weights as whole numbers, to be multiplied by `step`.

The one rule: scanning only looks weights up and adds them; nothing is learnt or remembered here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import brotli  # type: ignore[import-untyped]

from m2mproxy.guard.words import FORMS, features_of

NAME = "data/model.json.br"
DAMPING = 8
"""Added to the number of features before its root divides: short texts count for less."""


@dataclass(frozen=True)
class Model:
    """Weights, in logits."""

    bias: float
    slope: float
    """How steeply the score rises, once everything is added up."""
    rules: Mapping[str, float]
    """By the id of the rule, or of the sign that has led to another reading."""
    forms: Sequence[float]
    """In the order of words.FORMS."""
    words: Mapping[str | tuple[str, str], float]

    def logit(self, words: list[str], forms: Iterable[int], rules: Iterable[str]) -> float:
        """For one window of text: its words, which of FORMS hold, and what has matched."""
        features = features_of(words)
        known = self.words
        total = sum([known[each] for each in features if each in known])
        return (
            self.bias
            + total / math.sqrt(len(features) + DAMPING)
            + sum([self.forms[form] for form in forms])
            + sum([self.rules.get(rule, 0.0) for rule in rules])
        )

    def score(self, logit: float) -> float:
        """From 0 to 1, where 0.8 is the operating point."""
        z = self.slope * logit
        return 1 / (1 + math.exp(-z)) if z > 0 else (e := math.exp(max(z, -700))) / (1 + e)


def pack(model: Model, step: float) -> bytes:
    """The data that `unpack` reads; words with a weight under half a step are left out."""
    whole = {feature: round(weight / step) for feature, weight in model.words.items()}
    single = {word: n for word, n in sorted(_strings(whole).items()) if n}
    pairs: dict[str, dict[str, int]] = {}
    for (first, second), n in sorted(_pairs(whole).items()):
        if n:
            pairs.setdefault(first, {})[second] = n
    data = {
        "bias": round(model.bias, 4),
        "slope": round(model.slope, 4),
        "step": step,
        "rules": {rule: round(weight, 3) for rule, weight in sorted(model.rules.items())},
        "forms": [round(weight, 3) for weight in model.forms],
        "words": single,
        "pairs": pairs,
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    packed: bytes = brotli.compress(text.encode(), quality=11, lgwin=24)
    return packed


def _strings(words: Mapping[str | tuple[str, str], int]) -> dict[str, int]:
    return {each: n for each, n in words.items() if isinstance(each, str)}


def _pairs(words: Mapping[str | tuple[str, str], int]) -> dict[tuple[str, str], int]:
    return {each: n for each, n in words.items() if isinstance(each, tuple)}


def unpack(packed: bytes) -> Model:
    """Of data that `pack` made."""
    data = json.loads(brotli.decompress(packed))
    step = data["step"]
    words: dict[str | tuple[str, str], float] = {}
    words.update({word: n * step for word, n in data["words"].items()})
    for first, seconds in data["pairs"].items():
        words.update({(first, second): n * step for second, n in seconds.items()})
    assert len(data["forms"]) == len(FORMS)
    return Model(data["bias"], data["slope"], data["rules"], data["forms"], words)


def load() -> Model:
    """The model that the package carries."""
    return unpack(files(__package__).joinpath(NAME).read_bytes())
