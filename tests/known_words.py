"""A scorer for tests: words that it knows, and what it was asked."""

from __future__ import annotations

from collections.abc import Sequence

from m2mproxy.guard.finding import Category, Finding

WORDS = {
    "IGNORE": (Category.INJECTION, 0.95),
    "LEAK": (Category.EXFILTRATION, 0.9),
    "HINT": (Category.JAILBREAK, 0.4),
}


class Words:
    """Finds WORDS; `asked` has what it was given."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def score(self, texts: Sequence[tuple[str, str]]) -> list[tuple[Finding, ...]]:
        self.asked += texts
        return [self._one(text) for _, text in texts]

    def _one(self, text: str) -> tuple[Finding, ...]:
        found = [
            Finding(category, word.lower(), score, "a word", text.index(word))
            for word, (category, score) in WORDS.items()
            if word in text
        ]
        return tuple(sorted(found, key=lambda each: -each.score))
