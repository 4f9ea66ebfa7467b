"""Folding: one spelling for all, bounded, and the same when it is done twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.guard.fold import MOST_FOR_ONE, fold

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Ignore ALL Rules", "ignore all rules"),
        ("\uff29\uff47\uff4e\uff4f\uff52\uff45", "ignore"),
        ("\U0001d408\U0001d420\U0001d427\U0001d428\U0001d42b\U0001d41e", "ignore"),
        ("\u0456gn\u043er\u0435", "ignore"),
        ("\u026a\u0262\u0274\u1d0f\u0280\u1d07", "ignore"),
        ("i\u200bg\u2060n\ufeffo\u00adr\u200ce", "ignore"),
        ("\u0130gno\u0301re\u0302", "ignore"),
        ("\u24d8\u24d6\u24dd\u24de\u24e1\u24d4", "ignore"),
        ("\U0001f178\U0001f176", "ig"),
        ("m\u00fc\u00dfig", "mu\u00dfig"),
        ("\ufb01le", "file"),
    ],
)
def test_spellings(text: str, plain: str) -> None:
    assert fold(text) == plain


def test_ideographs_are_words() -> None:
    assert fold("\u5bc6\u7801").split() == ["\u5bc6", "\u7801"]


@given(TEXTS)
def test_a_fold_is_bounded(text: str) -> None:
    assert len(fold(text)) <= MOST_FOR_ONE * len(text)


@given(TEXTS, TEXTS)
def test_each_character_is_folded_by_itself(one: str, other: str) -> None:
    assert fold(one + other) == fold(one) + fold(other)


def test_every_letter_folds_to_what_is_folded() -> None:
    """Of the letters that people write; some enclosed and squared words take two folds."""
    for point in [*range(0x24F), *range(0x370, 0x590), *range(0x1D400, 0x1D7FF)]:
        once = fold(chr(point))
        assert fold(once) == once, hex(point)
