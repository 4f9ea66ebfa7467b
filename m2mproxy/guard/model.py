"""The model: what words, pairs of words, runs of characters, rules and forms count, as
tools/train_guard learnt it.

A logistic regression over one window of text, and a gate before it, which is a smaller one. Their
data, data/model.br, is a line of JSON and three tables of weights, in brotli.

The one rule: scanning only looks weights up and adds them; nothing is learnt or remembered here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import repeat

import brotli  # type: ignore[import-untyped]

from m2mproxy.guard.gate import Gate
from m2mproxy.guard.grams import BUCKETS, Table, run_grams, word_grams
from m2mproxy.guard.reading import Reading, pairs_of
from m2mproxy.guard.words import FORMS

NAME = "data/model.br"
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
    words: Table
    """By the buckets of words and of pairs of words."""
    runs: Table
    """By the buckets of runs of characters."""
    gate: Gate
    """What decides which windows are read at all."""

    def logit(self, reading: Reading) -> float:
        """For one reading of a window of text."""
        words, runs = word_grams(reading.words), run_grams(reading.words)
        lists = pairs_of(reading.lists)
        return (
            self.bias
            + self.words.total(words) / math.sqrt(len(words) + DAMPING)
            + self.runs.total(runs) / math.sqrt(len(runs) + DAMPING)
            + sum(map(self.lists.get, lists, _NOTHING)) / math.sqrt(len(lists) + DAMPING)
            + sum([self.forms[form] for form in reading.forms])
            + sum([self.rules.get(rule, 0.0) for rule in reading.rules])
        )

    def score(self, logit: float) -> float:
        """From 0 to 1, where 0.8 is the operating point."""
        z = self.slope * logit
        return 1 / (1 + math.exp(-z)) if z > 0 else (e := math.exp(max(z, -700))) / (1 + e)


def pack(model: Model) -> bytes:
    """The data that `unpack` reads; weights that are given by name are rounded."""
    tables = (model.words, model.runs, model.gate.weights)
    data = {
        "bias": round(model.bias, 4),
        "slope": round(model.slope, 4),
        "rules": {rule: round(weight, 3) for rule, weight in sorted(model.rules.items())},
        "forms": [round(weight, 3) for weight in model.forms],
        "lists": _nested(model.lists),
        "gate": [round(each, 4) for each in (model.gate.bias, model.gate.whole, model.gate.part)],
        "steps": [table.step for table in tables],
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    whole = b"\n".join([text.encode(), b"".join(map(bytes, tables))])
    packed: bytes = brotli.compress(whole, quality=11, lgwin=24)
    return packed


def _nested(weights: Mapping[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    """By the first of two, then by the second."""
    nested: dict[str, dict[str, float]] = {}
    for (first, second), weight in sorted(weights.items()):
        if n := round(weight, 2):
            nested.setdefault(first, {})[second] = n
    return nested


def unpack(packed: bytes) -> Model:
    """Of data that `pack` made."""
    text, _, tables = brotli.decompress(packed).partition(b"\n")
    data = json.loads(text)
    assert len(data["forms"]) == len(FORMS)
    words, runs, passing = (
        Table(tables[at * BUCKETS : (at + 1) * BUCKETS], step)
        for at, step in enumerate(data["steps"])
    )
    points = dict(zip(("bias", "whole", "part"), data["gate"], strict=True))
    return Model(
        bias=data["bias"],
        slope=data["slope"],
        rules=data["rules"],
        forms=data["forms"],
        lists={
            (first, second): weight
            for first, seconds in data["lists"].items()
            for second, weight in seconds.items()
        },
        words=words,
        runs=runs,
        gate=Gate(**points, weights=passing),
    )


def load() -> Model:
    """The model that the package carries."""
    return unpack(files(__package__).joinpath(NAME).read_bytes())
