"""The model: its data, and that it adds up what it was given."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.guard.arrays import np
from m2mproxy.guard.decoding import READINGS
from m2mproxy.guard.gate import Gate
from m2mproxy.guard.grams import Table, table, word_grams
from m2mproxy.guard.model import DAMPING, Model, discount, load, pack, unpack
from m2mproxy.guard.reading import Reading
from m2mproxy.guard.rules import load as load_rules
from m2mproxy.guard.rules import patterns
from m2mproxy.guard.words import FORMS, marked_of


def each_of(text: bytes, weight: float, slots: int) -> Table:
    """A table in which each gram of a text has the same weight, as far as there is room."""
    keys = word_grams([text]).of(0)
    return table(keys, np.full(len(keys), weight), np.ones(len(keys)), slots)


TEXT = b" not a word "
SMALL = Model(
    bias=-1.0,
    slope=2.0,
    rules={"some.rule": 0.5},
    forms=[0.0] * (len(FORMS) - 1) + [0.25],
    lists={"one": {"one": 0.75, "two": -0.25}},
    words=each_of(TEXT, -0.125, 1 << 16),
    gate=Gate(-3.5, 0.5, 1.5, each_of(TEXT, 0.25, 512)),
)


SOME = st.builds(
    Reading,
    st.text("ab .\u00e9", max_size=20).map(lambda text: marked_of(text.encode())),
    st.lists(st.integers(0, len(FORMS) - 1), max_size=3),
    st.lists(st.sampled_from(["some.rule", "hidden", "override.prior"]), max_size=2),
    st.lists(st.sampled_from(["override", "rules", "prior"]), max_size=3, unique=True),
)


def test_a_logit_is_a_sum() -> None:
    reading = Reading(TEXT, [len(FORMS) - 1], ["some.rule", "unknown"], ["one", "two"])
    assert word_grams([reading.words]).counts == [8]
    words = 8 * -0.125 / math.sqrt(8 + DAMPING)
    lists = (0.75 - 0.25) / math.sqrt(3 + DAMPING)
    assert SMALL.logit(reading) == pytest.approx(-1.0 + words + lists + 0.5 + 0.25)


def test_what_is_taken_for_much_that_is_read_is_bounded() -> None:
    assert discount(0) == discount(1) == 0
    assert discount(4) == pytest.approx(2 * discount(2))
    assert discount(8) < discount(16) == discount(10_000)


@given(st.lists(SOME, min_size=1, max_size=8))
def test_a_logit_does_not_depend_on_those_beside_it(readings: list[Reading]) -> None:
    known = load()
    assert known.logits(readings) == [known.logit(each) for each in readings]


def test_packed_data_gives_back_what_was_packed() -> None:
    back = unpack(pack(SMALL))
    assert (back.bias, back.slope, back.rules) == (SMALL.bias, SMALL.slope, SMALL.rules)
    assert (back.forms, back.lists) == (SMALL.forms, SMALL.lists)
    gate = back.gate
    assert (gate.bias, gate.whole, gate.part) == (-3.5, 0.5, 1.5)
    for one, other in ((back.words, SMALL.words), (gate.weights, SMALL.gate.weights)):
        assert (bytes(one), one.step) == (bytes(other), other.step)


def test_a_score_is_between_0_and_1() -> None:
    scores = [SMALL.score(logit) for logit in (-1e9, -1.0, 0.0, 1.0, 1e9)]
    assert scores == sorted(scores)
    assert (scores[2], scores[-1]) == (0.5, 1.0)
    assert 0 <= scores[0] < 1e-100


def test_the_model_that_is_carried_knows_the_rules() -> None:
    model, rules = load(), load_rules()
    assert set(model.rules) == {rule.id for rule in rules.rules} | {"hidden", *READINGS}
    names = {name for first, seconds in model.lists.items() for name in (first, *seconds)}
    assert names <= set(patterns().lists)
    assert model.score(math.log(4) / model.slope) == pytest.approx(0.8)
