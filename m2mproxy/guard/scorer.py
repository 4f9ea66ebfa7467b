"""Texts scored: the model's word on each window, as findings that say which rules led to it.

The rules alone decide nothing (they are features of the model); a finding is of the category that
has the most of them, and names the one that counts most.

The one rule: the same text gets the same findings, in any order, in any process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, starmap
from typing import NamedTuple

from m2mproxy.guard import model, rules
from m2mproxy.guard.batches import in_batches
from m2mproxy.guard.finding import Category, Finding
from m2mproxy.guard.grams import MOST_TEXTS
from m2mproxy.guard.reader import Reader
from m2mproxy.guard.reading import Reading
from m2mproxy.guard.stretch import Window, stretches_of, windows_of

LEAST = 0.05
MODEL = "model"
_MODEL_WORDS = "reads like texts that attack models"
_WORDLESS = b" .0"
"""What is left of numbers and signs: it says nothing to anybody, whatever the model makes of it."""
_BATCH = 1 << 14
"""Bytes of readings whose words are looked up in one go."""
_SHORTEST = -(-_BATCH // MOST_TEXTS)
"""What a reading counts of them at least, so that there are no more than can be told apart."""
_PER_WINDOW, _BEYOND = 100, 4
"""Microseconds, for a window and for a character of it if it is not all ASCII."""


class Looked(NamedTuple):
    """Texts of which it is known what is to be read."""

    work: int
    """Microseconds that reading it takes, at most, more or less."""
    score: Callable[[], list[tuple[Finding, ...]]]


@dataclass(frozen=True)
class Source:
    """What can fire."""

    category: Category
    words: str
    """What it means, for people."""


@cache
def sources() -> Mapping[str, Source]:
    """By id, all that findings can name; each can be switched off."""
    by_rule = {rule.id: Source(rule.category, rule.words) for rule in rules.load().rules}
    return {MODEL: Source(Category.INJECTION, _MODEL_WORDS), **by_rule}


_UNSCORED = frozenset({"system", "developer"})
"""What an operator writes is full of instructions, which is its purpose: it is not scored."""


class Scorer:
    """The scanner of texts.

    It holds nothing that scoring changes but a table of folded characters, each of which is
    computed alike by whoever comes first: threads may take turns, or run at once under the
    interpreter's lock.
    """

    def __init__(self, off: Collection[str] = ()) -> None:
        """`off`: ids of `sources` that shall not count. Raises ValueError for others."""
        self._sources = sources()
        for name in off:
            if name not in self._sources:
                raise ValueError(f"no rule {name!r}")
        self._model = model.load()
        self._off = frozenset(off)
        self._reader = Reader(rules.load())
        self._weights = {rule.id: rule.weight for rule in rules.load().rules}

    def score(self, texts: Sequence[tuple[str, str]]) -> list[tuple[Finding, ...]]:
        """What is wrong with each text, which is given after whose it is: its highest score in each
        category, highest first. What is wrong with one does not depend on the others."""
        # All of it is folded, looked at, then read: each step has its tables at hand.
        return self._read(self._windows(texts), len(texts))

    def look(self, texts: Sequence[tuple[str, str]]) -> Looked:
        """The same in two steps: here it is found which windows are to be read, which takes little;
        reading them may take long."""
        windows = self._windows(texts)
        work = sum([_work(each.text) for each in windows])
        return Looked(work, lambda: self._read(windows, len(texts)))

    def _windows(self, texts: Sequence[tuple[str, str]]) -> list[Window]:
        """The windows and parts of windows that the model does not pass over; all windows where
        words count for nothing."""
        scored = [(at, text) for at, (role, text) in enumerate(texts) if role not in _UNSCORED]
        if MODEL in self._off:
            return list(chain.from_iterable(starmap(windows_of, scored)))
        return self._model.gate.through(list(chain.from_iterable(starmap(stretches_of, scored))))

    def _read(self, windows: Sequence[Window], texts: int) -> list[tuple[Finding, ...]]:
        if not windows:
            return [()] * texts
        most: list[dict[Category, Finding]] = [{} for _ in range(texts)]
        discounts = self._discounts(windows)
        for read in in_batches(self._readings(windows), _size, _BATCH):
            logits = self._model.logits([reading for _, reading in read])
            for (window, reading), logit in zip(read, logits, strict=True):
                logit -= discounts.get(window.number, 0.0)
                score = round(self._model.score(logit), 4)
                if score >= LEAST:
                    self._add(most[window.number], self._finding(reading, score, window.start))
        return [tuple(sorted(each.values(), key=lambda one: -one.score)) for each in most]

    def _discounts(self, windows: Sequence[Window]) -> dict[int, float]:
        """By text, if more than one window of it is read; none where no gate says how many."""
        if MODEL in self._off or len(windows) == 1:
            return {}
        read = Counter([window.number for window in windows])
        return {number: model.discount(times) for number, times in read.items()}

    def _readings(self, windows: Iterable[Window]) -> Iterator[tuple[Window, Reading]]:
        for window in windows:
            for reading in self._reader.read(window.text, window.is_part):
                if reading.words.strip(_WORDLESS):
                    yield window, self._without(reading) if self._off else reading

    def _without(self, reading: Reading) -> Reading:
        """With nothing of what shall not count."""
        rules = [rule for rule in reading.rules if rule not in self._off]
        if MODEL in self._off:
            return reading._replace(words=b"", lists=[], rules=rules)
        return reading._replace(rules=rules)

    def _finding(self, reading: Reading, score: float, start: int) -> Finding:
        source = self._leading(reading.rules)
        about = self._sources[source]
        return Finding(about.category, source, score, about.words, start)

    def _add(self, best: dict[Category, Finding], finding: Finding) -> None:
        """Only the highest of a category is told."""
        if finding.source in self._off:
            return
        known = best.get(finding.category)
        if known is None or finding.score > known.score:
            best[finding.category] = finding

    def _leading(self, fired: list[str]) -> str:
        """The rule to name: the weightiest of the category that has the most weight."""
        known = [rule for rule in fired if rule in self._weights]
        totals: dict[Category, float] = {}
        for rule in known:
            category = self._sources[rule].category
            totals[category] = totals.get(category, 0.0) + self._weights[rule]
        if not known:
            return MODEL
        top = max(totals, key=lambda category: totals[category])
        of_it = (rule for rule in known if self._sources[rule].category is top)
        return max(of_it, key=lambda rule: self._weights[rule])


def _work(window: str) -> int:
    """Microseconds that reading it takes, at most, more or less: most take a fifth of that, but
    there are texts made to be dear (tools/bench --only guard)."""
    return _PER_WINDOW + len(window) * (1 if window.isascii() else _BEYOND)


def _size(read: tuple[Window, Reading]) -> int:
    """Of a reading, whose own words are no more than what is added up in one go."""
    words = read[1].words
    return max(_SHORTEST, len(words) + 2 * words.count(b".") + 2)
