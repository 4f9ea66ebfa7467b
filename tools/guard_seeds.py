"""The sentences of guard_seeds/, drawn: examples to train the scanner with beside the corpus.

The one rule: a file gives the same sentences, whenever and wherever they are drawn, and whatever
others there are.
"""

import random
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SEEDS = Path(__file__).with_suffix("")
_SEED = 1
_CHOICE = re.compile(r"(?<!\\)\[((?:[^\[\]\\]|\\.)*)\]|\{([a-z]+)\}")
_BAR = re.compile(r"(?<!\\)\|")
_ESCAPED = re.compile(r"\\([\[\]|])")
_DEEPEST = 40


class Grammar:
    def __init__(self, lists: dict[str, str]) -> None:
        self._lists = {name: _BAR.split(words) for name, words in lists.items()}
        self._random = random.Random(_SEED)

    def draw(self, text: str) -> str:
        """A sentence of this form. Raises RecursionError for circles."""
        for _ in range(_DEEPEST):
            made = _CHOICE.sub(self._choose, text)
            if made == text:
                return _ESCAPED.sub(r"\1", made).strip()
            text = made
        raise RecursionError(text)

    def _choose(self, match: re.Match[str]) -> str:
        name = match[2]
        choices = self._lists.get(name, [match[0]]) if name else _BAR.split(match[1])
        return self._random.choice(choices) if name or len(choices) > 1 else match[0]


class Seed(NamedTuple):
    text: str
    label: int
    """1 for an attack or 0."""
    weight: float
    """What it counts in training, where a text of the corpus counts 1."""
    gates: bool
    """Whether the gate learns from it, too, as from a text of the corpus."""


def seeds() -> Iterator[Seed]:
    """Of all files, none twice."""
    seen: set[str] = set()
    for path in sorted(SEEDS.glob("*.toml")):
        for seed in _drawn(tomllib.loads(path.read_text("utf-8"))):
            if seed.text not in seen:
                seen.add(seed.text)
                yield seed


def _drawn(data: dict[str, Any]) -> Iterator[Seed]:
    grammar = Grammar(data["lists"])
    for label, kind in ((1, "attack"), (0, "benign")):
        for group in data[kind]:
            texts = group["texts"]
            for number in range(max(group["times"], len(texts))):
                text = grammar.draw(texts[number % len(texts)])
                yield Seed(text, label, group["weight"], group.get("gate", False))
