"""The model: its data, and that it adds up what it was given."""

from __future__ import annotations

import math

import pytest

from m2mproxy.guard.model import DAMPING, Model, load, pack, unpack
from m2mproxy.guard.reading import Reading
from m2mproxy.guard.rules import load as load_rules
from m2mproxy.guard.views import READINGS
from m2mproxy.guard.words import END, FORMS, START

SMALL = Model(
    bias=-1.0,
    slope=2.0,
    rules={"some.rule": 0.5},
    forms=[0.0] * (len(FORMS) - 1) + [0.25],
    lists={("one", "one"): 0.75, ("one", "two"): -0.25},
    words={b"word": 1.0, b"rare": 0.001},
    pairs={(START, b"word"): 0.5, (b"word", END): -0.125},
)


def test_a_logit_is_a_sum() -> None:
    reading = Reading([b"word"], [len(FORMS) - 1], ["some.rule", "unknown"], ["one", "two"])
    words = (1.0 + 0.5 - 0.125) / math.sqrt(3 + DAMPING)
    lists = (0.75 - 0.25) / math.sqrt(3 + DAMPING)
    assert SMALL.logit(reading) == pytest.approx(-1.0 + words + lists + 0.5 + 0.25)


def test_packed_data_gives_back_all_but_what_counts_for_nothing() -> None:
    back = unpack(pack(SMALL, 0.125))
    assert back.lists == SMALL.lists
    assert (back.words, back.pairs) == ({b"word": 1.0}, SMALL.pairs)
    assert (back.bias, back.slope, back.rules) == (SMALL.bias, SMALL.slope, SMALL.rules)
    assert back.forms == SMALL.forms
    assert pack(back, 0.125) == pack(SMALL, 0.125)


def test_a_score_is_between_0_and_1() -> None:
    scores = [SMALL.score(logit) for logit in (-1e9, -1.0, 0.0, 1.0, 1e9)]
    assert scores == sorted(scores)
    assert (scores[2], scores[-1]) == (0.5, 1.0)
    assert 0 <= scores[0] < 1e-100


def test_the_model_that_is_carried_knows_the_rules() -> None:
    model, rules = load(), load_rules()
    assert set(model.rules) == {rule.id for rule in rules.rules} | {"hidden", *READINGS}
    assert {name for pair in model.lists for name in pair} <= set(rules.lists)
    assert model.score(math.log(4) / model.slope) == pytest.approx(0.8)
