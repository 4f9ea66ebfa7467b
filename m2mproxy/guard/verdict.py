"""What findings come to: which of them count, which are too high, whether that refuses a request.

The one rule: all of it follows from the findings, the thresholds, and what is switched off.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from m2mproxy.guard.finding import Category, Finding

DEFAULT = 0.8
"""The threshold of a category for which none is given."""
OTHER = "*"
"""Stands for a key that is not known."""
_MOST_FOUND = 32


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, and where: the key of the request (OTHER for one that is not known, since that is
    the client's words), which message of the list under it (None for no message), and whose
    words."""

    finding: Finding
    key: str
    index: int | None
    role: str

    @property
    def place(self) -> str:
        """For people: `messages[3] (tool) at 120`."""
        index = "" if self.index is None else f"[{self.index}]"
        role = f" ({self.role})" if self.role else ""
        return f"{self.key or 'body'}{index}{role} at {self.finding.offset}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a scan comes to."""

    found: tuple[Found, ...]
    """Highest score first, the first ones of many."""
    over: tuple[Found, ...]
    """Those that reach the threshold of their category; those with one above 0 come first."""
    refuses: bool
    """Whether one of them has a threshold above 0, which is what refuses a request."""

    @property
    def score(self) -> float:
        """The highest, 0 for nothing."""
        return self.found[0].finding.score if self.found else 0.0


CLEAN = Verdict((), (), False)


class Judge:
    """Thresholds, and what does not count."""

    def __init__(self, thresholds: Mapping[Category, float], off: Collection[str]) -> None:
        """`off` are ids of findings' sources."""
        self._thresholds = {each: thresholds.get(each, DEFAULT) for each in Category}
        self._off = frozenset(off)

    def refuses(self, finding: Finding) -> bool:
        """Whether it is enough to refuse a request, if its score is."""
        return finding.source not in self._off and self._thresholds[finding.category] > 0

    def verdict(self, found: Collection[Found]) -> Verdict:
        """The verdict on what was found."""
        if not found:
            return CLEAN
        off, thresholds = self._off, self._thresholds
        counts = sorted(
            (each for each in found if each.finding.source not in off),
            key=lambda each: -each.finding.score,
        )
        over = [each for each in counts if each.finding.score >= thresholds[each.finding.category]]
        refusing = [each for each in over if thresholds[each.finding.category] > 0]
        over = refusing + [each for each in over if thresholds[each.finding.category] <= 0]
        return Verdict(tuple(counts[:_MOST_FOUND]), tuple(over[:_MOST_FOUND]), bool(refusing))
