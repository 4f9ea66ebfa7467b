"""The rules: each matches its examples, and not its counter-examples."""

from __future__ import annotations

import subprocess
import sys

import pytest

from m2mproxy.guard.decoding import READINGS
from m2mproxy.guard.fold import fold
from m2mproxy.guard.matcher import Matcher
from m2mproxy.guard.rules import examples, load, patterns

RULES = load()
EXAMPLES = examples()


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(RULES)


@pytest.mark.parametrize("rule", EXAMPLES)
def test_examples(matcher: Matcher, rule: str) -> None:
    texts = EXAMPLES[rule]
    assert texts.yes and texts.no
    for text in texts.yes:
        assert rule in matcher.match(fold(text).encode())[0], text
    for text in texts.no:
        assert rule not in matcher.match(fold(text).encode())[0], text


def test_every_rule_has_examples() -> None:
    assert list(EXAMPLES) == [rule.id for rule in RULES.rules]


def test_no_id_is_there_twice() -> None:
    ids = [search.id for search in (*RULES.rules, *RULES.signs)]
    assert len(set(ids)) == len(ids)


def test_every_sign_leads_to_a_reading() -> None:
    assert {sign.id for sign in RULES.signs} == set(READINGS)


def test_every_list_is_there() -> None:
    found = patterns()
    for search in (*RULES.rules, *RULES.signs):
        assert found.searches[search.id] or search.near
        assert {name for step in search.near for name in step} <= set(found.lists)


def test_signs_in_other_alphabets_have_words() -> None:
    signs = {sign.id: sign for sign in RULES.signs}
    assert b"gnirongi" in signs["reversed"].words
    assert b"vtaber" in signs["rot13"].words
    assert b"eht" in signs["reversed"].hints
    assert b"gur" in signs["rot13"].hints
    assert not signs["base64"].words | signs["base64"].hints


def test_the_rules_are_not_read_in_this_process() -> None:
    """What a program reads of them at its start stays with it."""
    code = "import sys; from m2mproxy.guard import rules; rules.load(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "m2mproxy.guard.rules" in done.stdout.split()
    assert "tomllib" not in done.stdout.split()
