"""What one reading of a window of text shows: all that the model is given.

The one rule: it has nothing of the text but its words.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import NamedTuple


class Reading(NamedTuple):
    """Words, form and matches of one reading."""

    words: bytes
    """As words.marked_of makes them."""
    forms: list[int]
    """Which of words.FORMS hold."""
    rules: list[str]
    """The ids of rules that match, and of the signs that have led here."""
    lists: list[str]
    """The lists of words of the rules of which one was seen, in the order of the data."""


def pairs_of(lists: list[str]) -> list[tuple[str, str]]:
    """Each list with itself and with each that comes later."""
    return list(combinations_with_replacement(lists, 2))
