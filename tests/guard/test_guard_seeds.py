"""The sentences that the scanner's model is trained with beside the corpus, and their grammar.

The one rule: what a form says is what is drawn, and nothing of the form is left in it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / "tools" / "guard_seeds.py"
MODULE = run_path(str(PATH))
FILES = {path: tomllib.loads(path.read_text("utf-8")) for path in MODULE["SEEDS"].glob("*.toml")}


@pytest.fixture
def draw() -> Callable[[str], str]:
    grammar: Any = MODULE["Grammar"]({"one": "a", "two": "b|c"})
    drawn: Callable[[str], str] = grammar.draw
    return drawn


@pytest.mark.parametrize(
    ("form", "among"),
    [
        ("[x|y]", {"x", "y"}),
        ("{one}{two}", {"ab", "ac"}),
        ("[{two}|d] e", {"b e", "c e", "d e"}),
        ("[a [b|c]|d]", {"a b", "a c", "d"}),
        ("list[0] {three}", {"list[0] {three}"}),
        (r"[\[x\]|\[y\]]", {"[x]", "[y]"}),
        (r"a \| b", {"a | b"}),
        (r"\[a\|b\]", {"[a|b]"}),
    ],
)
def test_a_form_is_drawn(draw: Callable[[str], str], form: str, among: set[str]) -> None:
    assert {draw(form) for _ in range(40)} == among


def test_a_circle_is_told() -> None:
    grammar: Any = MODULE["Grammar"]({"round": "a{round}|b{round}"})
    with pytest.raises(RecursionError):
        grammar.draw("{round}")


def test_seeds_are_the_same_again_and_none_twice() -> None:
    first, second = list(MODULE["seeds"]()), list(MODULE["seeds"]())
    assert first == second
    assert len({seed.text for seed in first}) == len(first)
    assert {seed.label for seed in first} == {0, 1}


@pytest.mark.parametrize("data", FILES.values(), ids=[path.stem for path in FILES])
def test_no_list_is_left_undrawn(data: dict[str, Any]) -> None:
    names = re.compile(r"\{([a-z]+)\}")
    left = [name for seed in MODULE["_drawn"](data) for name in names.findall(seed.text)]
    assert data["lists"].keys().isdisjoint(left)


def test_a_group_says_what_its_seeds_count() -> None:
    both = [data[kind] for data in FILES.values() for kind in ("attack", "benign")]
    groups = [group for some in both for group in some]
    weights = {(group["weight"], group.get("gate", False)) for group in groups}
    assert {(seed.weight, seed.gates) for seed in MODULE["seeds"]()} == weights
    assert all(0 < weight <= 1 for weight, _ in weights)
