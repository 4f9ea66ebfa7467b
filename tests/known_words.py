"""A scorer for tests: words that it knows, and what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from m2mproxy.guard.finding import Category, Finding

WORDS = {
    "IGNORE": (Category.INJECTION, 0.95),
    "LEAK": (Category.EXFILTRATION, 0.9),
    "HINT": (Category.JAILBREAK, 0.4),
}


class Looked(NamedTuple):
    work: int
    score: Callable[[], list[tuple[Finding, ...]]]


class Words:
    """Finds WORDS; `asked` has what it was given, `looked` how often for a look only."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.looked = 0

    def score(self, texts: Sequence[tuple[str, str]]) -> list[tuple[Finding, ...]]:
        self.asked += texts
        return [self._one(text) for _, text in texts]

    def look(self, texts: Sequence[tuple[str, str]]) -> Looked:
        """The work is as much as there are characters."""
        self.looked += 1
        return Looked(sum(len(text) for _, text in texts), lambda: self.score(texts))

    def _one(self, text: str) -> tuple[Finding, ...]:
        found = [
            Finding(category, word.lower(), score, "a word", text.index(word))
            for word, (category, score) in WORDS.items()
            if word in text
        ]
        return tuple(sorted(found, key=lambda each: -each.score))
