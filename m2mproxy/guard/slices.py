"""Long texts in slices that are scored one after the other, so that whoever scores them can stop
between two, and others have their turn.

The one rule: the windows of the slices are those of the text, so that the same is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from m2mproxy.guard.batches import in_batches
from m2mproxy.guard.finding import Category, Finding
from m2mproxy.guard.windows import OVERLAP, SIZE

_WINDOWS = 192  # what is to be read of so many is added up together, which is a third faster
LENGTH = _WINDOWS * (SIZE - OVERLAP) + OVERLAP
"""Characters of a slice, at most."""
_EACH = 64
"""What a text takes whatever its length, in characters."""


class Piece(NamedTuple):
    """A text, or a slice of one."""

    number: int
    """Of the text."""
    role: str
    start: int
    text: str


def uncut(texts: Iterable[tuple[str, str]]) -> list[Piece]:
    """Texts that are a slice together, at most."""
    return [Piece(number, role, 0, text) for number, (role, text) in enumerate(texts)]


def sliced(texts: Iterable[tuple[str, str]]) -> Iterator[list[Piece]]:
    """What is to be scored at a time of some texts, which are given after whose they are: as many
    in a row as come to a slice, or a slice of one."""
    pieces = (
        Piece(number, role, start, text[start : start + LENGTH])
        for number, (role, text) in enumerate(texts)
        for start in range(0, max(1, len(text) - OVERLAP), LENGTH - OVERLAP)
    )
    return in_batches(pieces, lambda piece: len(piece.text) + _EACH, LENGTH + _EACH)


class Highest:
    """The highest score of each category in each of some texts."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, Category], tuple[Finding, str]] = {}

    def add(self, piece: Piece, findings: Sequence[Finding]) -> None:
        """What was found in a piece."""
        for finding in findings:
            place = (piece.number, finding.category)
            known = self._found.get(place)
            if known is None or finding.score > known[0].score:
                moved = replace(finding, offset=finding.offset + piece.start)
                self._found[place] = (moved if piece.start else finding, piece.role)

    def findings(self) -> list[tuple[int, Finding, str]]:
        """All of them, with the number of the text and whose words it is in: by texts, the highest
        first."""
        if not self._found:
            return []
        found = [(number, *each) for (number, _), each in self._found.items()]
        return sorted(found, key=lambda each: (each[0], -each[1].score))
