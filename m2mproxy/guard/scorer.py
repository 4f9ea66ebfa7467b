"""Texts scored: the model's word on each window, as findings that say which rules led to it.

The rules alone decide nothing (they are features of the model); a finding is of the category that
has the most of them, and names the one that counts most.

The one rule: the same text gets the same findings, in any order, in any process.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from m2mproxy.guard import model, rules
from m2mproxy.guard.finding import Category, Finding
from m2mproxy.guard.gate import Window, windows_of
from m2mproxy.guard.reader import Reader
from m2mproxy.guard.reading import Reading

LEAST = 0.05
MODEL = "model"
_MODEL_WORDS = "reads like texts that attack models"


@dataclass(frozen=True)
class Source:
    """What can fire."""

    category: Category
    words: str
    """What it means, for people."""


SOURCES: Mapping[str, Source] = {
    MODEL: Source(Category.INJECTION, _MODEL_WORDS),
    **{rule.id: Source(rule.category, rule.words) for rule in rules.load().rules},
}
"""By id, all that findings can name; each can be switched off."""

_UNSCORED = frozenset({"system", "developer"})
"""What an operator writes is full of instructions, which is its purpose: it is not scored."""


class Scorer:
    """The scanner of texts.

    It holds nothing that scoring changes but a table of folded characters, each of which is
    computed alike by whoever comes first: threads may take turns, or run at once under the
    interpreter's lock.
    """

    def __init__(self, off: Collection[str] = ()) -> None:
        """`off`: ids of SOURCES that shall not count. Raises ValueError for others."""
        for name in off:
            if name not in SOURCES:
                raise ValueError(f"no rule {name!r}")
        self._model = model.load()
        self._off = frozenset(off)
        self._reader = Reader(rules.load())
        self._weights = {rule.id: rule.weight for rule in rules.load().rules}

    def score(self, texts: Sequence[tuple[str, str]]) -> list[tuple[Finding, ...]]:
        """What is wrong with each text, which is given after whose it is: its highest score in each
        category, highest first. What is wrong with one does not depend on the others."""
        most: list[dict[Category, Finding]] = [{} for _ in texts]
        for window in self._worth_reading(texts):
            best = most[window.number]
            for reading in self._reader.read(window.text, window.is_part):
                finding = self._finding(reading, window.start)
                if finding.score < LEAST or finding.source in self._off:
                    continue
                known = best.get(finding.category)
                if known is None or finding.score > known.score:
                    best[finding.category] = finding
        return [tuple(sorted(each.values(), key=lambda one: -one.score)) for each in most]

    def _worth_reading(self, texts: Sequence[tuple[str, str]]) -> Iterator[Window]:
        """The windows and parts of windows that the model does not pass over; all windows where
        words count for nothing."""
        every = (
            window
            for number, (role, text) in enumerate(texts)
            if role not in _UNSCORED
            for window in windows_of(number, text)
        )
        return every if MODEL in self._off else self._model.gate.through(every)

    def _finding(self, reading: Reading, start: int) -> Finding:
        if self._off:
            reading = replace(
                reading,
                words=b"" if MODEL in self._off else reading.words,
                lists=[] if MODEL in self._off else reading.lists,
                rules=[rule for rule in reading.rules if rule not in self._off],
            )
        score = self._model.score(self._model.logit(reading))
        source = self._leading(reading.rules) if score >= LEAST else MODEL
        about = SOURCES[source]
        return Finding(about.category, source, round(score, 4), about.words, start)

    def _leading(self, fired: list[str]) -> str:
        """The rule to name: the weightiest of the category that has the most weight."""
        known = [rule for rule in fired if rule in self._weights]
        totals: dict[Category, float] = {}
        for rule in known:
            category = SOURCES[rule].category
            totals[category] = totals.get(category, 0.0) + self._weights[rule]
        if not known:
            return MODEL
        top = max(totals, key=lambda category: totals[category])
        of_it = (rule for rule in known if SOURCES[rule].category is top)
        return max(of_it, key=lambda rule: self._weights[rule])
