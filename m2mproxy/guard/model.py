"""The model: what words, pairs of words, rules and forms count, as tools/train_guard learnt it.

A logistic regression over one window of text. Its data, data/model.json.br, is JSON in brotli:
weights as whole numbers, to be multiplied by `step`.

The one rule: scanning only looks weights up and adds them; nothing is learnt or remembered here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import repeat
from typing import Any

import brotli  # type: ignore[import-untyped]

from m2mproxy.guard.reading import Reading, pairs_of
from m2mproxy.guard.words import FORMS, pairs_of_words

NAME = "data/model.json.br"
HOPELESS = -4.0
"""A logit below which no pairs of words are looked up."""
HARMLESS = -6.5
"""A logit by words alone below which nothing else is looked at. About half of harmless texts are
below it. Of the attacks that are found in the texts that the model was trained on none is lost by
it, as they are or obfuscated; of those put into documents 1.4 % (tools/bench --only guard)."""
DAMPING = 8
"""Added to the number of features before its root divides: short texts count for less."""

_NOTHING = repeat(0.0)


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
    lists: Mapping[tuple[str, str], float]
    """By two lists of words of the rules that are both seen in a window."""
    words: Mapping[bytes, float]
    pairs: Mapping[tuple[bytes, bytes], float]
    """By two words in a row."""

    def is_harmless(self, words: list[bytes]) -> bool:
        """Whether the words of a window say that a closer look would find nothing."""
        known = set(words)
        total = sum(map(self.words.get, known, _NOTHING))
        return self.bias + total / math.sqrt(2 * len(known) + DAMPING) < HARMLESS

    def logit(self, reading: Reading) -> float:
        """For one reading of a window of text.

        Pairs of words are dear to look up: where all else is far below what pairs can make up for,
        they are left out.
        """
        words = set(reading.words)
        lists = pairs_of(reading.lists)
        total = sum(map(self.words.get, words, _NOTHING))
        other = (
            self.bias
            + sum(map(self.lists.get, lists, _NOTHING)) / math.sqrt(len(lists) + DAMPING)
            + sum([self.forms[form] for form in reading.forms])
            + sum([self.rules.get(rule, 0.0) for rule in reading.rules])
        )
        rough = other + total / math.sqrt(2 * len(words) + DAMPING)
        if rough < HOPELESS:
            return rough
        pairs = pairs_of_words(reading.words)
        total += sum(map(self.pairs.get, pairs, _NOTHING))
        return other + total / math.sqrt(len(words) + len(pairs) + DAMPING)

    def score(self, logit: float) -> float:
        """From 0 to 1, where 0.8 is the operating point."""
        z = self.slope * logit
        return 1 / (1 + math.exp(-z)) if z > 0 else (e := math.exp(max(z, -700))) / (1 + e)


def pack(model: Model, step: float) -> bytes:
    """The data that `unpack` reads; words with a weight under half a step are left out."""
    words = {word.decode(): round(weight / step) for word, weight in sorted(model.words.items())}
    pairs = {(one.decode(), two.decode()): weight for (one, two), weight in model.pairs.items()}
    data = {
        "bias": round(model.bias, 4),
        "slope": round(model.slope, 4),
        "step": step,
        "rules": {rule: round(weight, 3) for rule, weight in sorted(model.rules.items())},
        "forms": [round(weight, 3) for weight in model.forms],
        "lists": _nested(model.lists, step),
        "words": {word: n for word, n in words.items() if n},
        "pairs": _nested(pairs, step),
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    packed: bytes = brotli.compress(text.encode(), quality=11, lgwin=24)
    return packed


def _nested(weights: Mapping[tuple[str, str], float], step: float) -> dict[str, dict[str, int]]:
    """By the first of two, then by the second."""
    nested: dict[str, dict[str, int]] = {}
    for (first, second), weight in sorted(weights.items()):
        if n := round(weight / step):
            nested.setdefault(first, {})[second] = n
    return nested


def _flat(nested: Mapping[str, Mapping[str, int]], step: float) -> dict[tuple[str, str], float]:
    return {
        (first, second): n * step
        for first, seconds in nested.items()
        for second, n in seconds.items()
    }


def unpack(packed: bytes) -> Model:
    """Of data that `pack` made."""
    data = json.loads(brotli.decompress(packed))
    step = data["step"]
    assert len(data["forms"]) == len(FORMS)
    # One object for each word and each weight: there are many pairs of few of them.
    word = _Shared(str.encode)
    weight = _Shared(lambda n: n * step)
    return Model(
        bias=data["bias"],
        slope=data["slope"],
        rules=data["rules"],
        forms=data["forms"],
        lists=_flat(data["lists"], step),
        words={word[each]: weight[n] for each, n in data["words"].items()},
        pairs={
            (word[first], word[second]): weight[n]
            for first, seconds in data["pairs"].items()
            for second, n in seconds.items()
        },
    )


class _Shared(dict[Any, Any]):
    """What a function makes of each value, made once."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __missing__(self, key: Any) -> Any:
        made = self[key] = self._make(key)
        return made


def load() -> Model:
    """The model that the package carries."""
    return unpack(files(__package__).joinpath(NAME).read_bytes())
