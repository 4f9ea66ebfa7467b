"""Long texts in slices that are scored one after the other, so that whoever scores them can stop
between two, and others have their turn.

The one rule: the windows of the slices are those of the text, so that the same is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from m2mproxy.guard.finding import Category, Finding
from m2mproxy.guard.windows import OVERLAP, SIZE

_WINDOWS = 48
LENGTH = _WINDOWS * (SIZE - OVERLAP) + OVERLAP
"""Characters of a slice, at most."""


class Piece(NamedTuple):
    """A text, or a slice of one."""

    number: int
    """Of the text."""
    role: str
    start: int
    text: str


def batches(texts: Sequence[tuple[str, str]]) -> Iterator[list[Piece]]:
    """What is to be scored at a time of some texts, which are given after whose they are: all that
    are short, then each slice of the others."""
    short = [Piece(at, role, 0, text) for at, (role, text) in enumerate(texts) if _is_short(text)]
    if short:
        yield short
    for at, (role, text) in enumerate(texts):
        if not _is_short(text):
            for start in range(0, len(text) - OVERLAP, LENGTH - OVERLAP):
                yield [Piece(at, role, start, text[start : start + LENGTH])]


def _is_short(text: str) -> bool:
    return len(text) <= LENGTH


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

    def findings(self) -> list[tuple[Finding, str]]:
        """All of them, each with whose words it is in: by texts, the highest first."""
        order = sorted(self._found, key=lambda place: (place[0], -self._found[place][0].score))
        return [self._found[place] for place in order]
