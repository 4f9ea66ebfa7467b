"""The rules: each matches its examples, and not its counter-examples."""

from __future__ import annotations

import pytest

from m2mproxy.guard.fold import fold
from m2mproxy.guard.matcher import Matcher
from m2mproxy.guard.rules import Rule, load
from m2mproxy.guard.views import READINGS

RULES = load()


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(RULES)


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.id)
def test_examples(matcher: Matcher, rule: Rule) -> None:
    assert rule.yes and rule.no
    for text in rule.yes:
        assert rule.id in matcher.match(fold(text).encode())[0], text
    for text in rule.no:
        assert rule.id not in matcher.match(fold(text).encode())[0], text


def test_no_id_is_there_twice() -> None:
    ids = [search.id for search in (*RULES.rules, *RULES.signs)]
    assert len(set(ids)) == len(ids)


def test_every_sign_leads_to_a_reading() -> None:
    assert {sign.id for sign in RULES.signs} == set(READINGS)


def test_every_list_is_there() -> None:
    for search in (*RULES.rules, *RULES.signs):
        assert search.patterns or search.near
        assert {name for step in search.near for name in step} <= set(RULES.lists)
