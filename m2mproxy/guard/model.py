"""The model: what words, pairs of words, rules and forms count, as tools/train_guard learnt it.

A logistic regression over one window of text, and a gate before it, which is a smaller one. Their
data, data/model.br, is a line of JSON and two tables of weights, in brotli.

The one rule: scanning only looks weights up and adds them; nothing is learnt or remembered here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import brotli  # type: ignore[import-untyped]

from m2mproxy.guard.gate import Gate
from m2mproxy.guard.grams import Table, word_grams
from m2mproxy.guard.reading import Reading
from m2mproxy.guard.words import FORMS

DATA = Path(__file__).with_name("data") / "model.br"
DAMPING = 8
"""Added to the number of features before its root divides: short texts count for less."""
_DOUBLED, _MOST_READ = 0.5, 16
"""Logits that each doubling of what is read of a text takes, up to so many windows and parts."""


def discount(read: int) -> float:
    """What is taken from the logits of a text of which so many windows and parts are read.

    The more of them there are, the likelier it is that one of a harmless text looks like an attack
    by chance: a system prompt is read in whole. What the gate passes over does not count, so that
    nobody's attack is lost among harmless words; and the limit says what may be lost among others.
    """
    return _DOUBLED * math.log2(min(max(read, 1), _MOST_READ))


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
    lists: Mapping[str, Mapping[str, float]]
    """By two lists of words of the rules that are both seen in a window: the first one of them in
    the order of the data, then the other."""
    words: Table
    """By the keys of grams.word_grams."""
    gate: Gate
    """What decides which windows are read at all."""

    def logits(self, readings: Sequence[Reading]) -> list[float]:
        """For each of some readings of windows of text, which are within the bounds of grams."""
        texts = [reading.words for reading in readings]
        words = word_grams(texts)
        counted = zip(readings, self.words.totals(words), words.counts, strict=True)
        return [
            self.bias
            + by_words / math.sqrt(words_seen + DAMPING)
            + self._by_lists(reading.lists)
            + sum([self.forms[form] for form in reading.forms])
            + sum([self.rules.get(rule, 0.0) for rule in reading.rules])
            for reading, by_words, words_seen in counted
        ]

    def logit(self, reading: Reading) -> float:
        """For one."""
        return self.logits([reading])[0]

    def _by_lists(self, seen: list[str]) -> float:
        """What each list counts with itself and with each that comes later."""
        total = 0.0
        for at, first in enumerate(seen):
            weights = self.lists.get(first)
            if weights:
                for second in seen[at:]:
                    total += weights.get(second, 0.0)
        return total / math.sqrt(len(seen) * (len(seen) + 1) // 2 + DAMPING)

    def score(self, logit: float) -> float:
        """From 0 to 1, where 0.8 is the operating point."""
        z = self.slope * logit
        return 1 / (1 + math.exp(-z)) if z > 0 else (e := math.exp(max(z, -700))) / (1 + e)


def pack(model: Model) -> bytes:
    """The data that `unpack` reads; weights that are given by name are rounded."""
    tables = (model.words, model.gate.weights)
    data = {
        "bias": round(model.bias, 4),
        "slope": round(model.slope, 4),
        "rules": {rule: round(weight, 3) for rule, weight in sorted(model.rules.items())},
        "forms": [round(weight, 3) for weight in model.forms],
        "lists": {
            name: some for name, each in sorted(model.lists.items()) if (some := _rounded(each))
        },
        "gate": [round(each, 4) for each in (model.gate.bias, model.gate.whole, model.gate.part)],
        "slots": [len(table) for table in tables],
        "steps": [table.step for table in tables],
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    whole = b"\n".join([text.encode(), b"".join(map(bytes, tables))])
    packed: bytes = brotli.compress(whole, quality=11, lgwin=24)
    return packed


def _rounded(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: n for name, weight in sorted(weights.items()) if (n := round(weight, 2))}


def unpack(packed: bytes) -> Model:
    """Of data that `pack` made."""
    text, _, tables = brotli.decompress(packed).partition(b"\n")
    data = json.loads(text)
    assert len(data["forms"]) == len(FORMS)
    words, passing = _tables(tables, data["slots"], data["steps"])
    points = dict(zip(("bias", "whole", "part"), data["gate"], strict=True))
    return Model(
        bias=data["bias"],
        slope=data["slope"],
        rules=data["rules"],
        forms=data["forms"],
        lists=data["lists"],
        words=words,
        gate=Gate(**points, weights=passing),
    )


def _tables(packed: bytes, slots: list[int], steps: list[float]) -> Iterator[Table]:
    at = 0
    for size, step in zip(slots, steps, strict=True):
        owners, at = packed[at : at + size], at + size
        weights, at = packed[at : at + size], at + size
        yield Table(owners, weights, step)


def load() -> Model:
    """The model that the package carries."""
    return unpack(DATA.read_bytes())
