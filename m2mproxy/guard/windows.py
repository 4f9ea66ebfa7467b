"""Long texts in windows that overlap: an attack within a document is seen by itself.

The one rule: every character is in a window, and in two at most.
"""

from __future__ import annotations

from collections.abc import Iterator

SIZE = 700
OVERLAP = 100
STEP = SIZE - OVERLAP


def windows(text: str) -> Iterator[tuple[int, str]]:
    """Where each window begins, and its text."""
    for start in range(0, max(1, len(text) - OVERLAP), STEP):
        yield start, text[start : start + SIZE]
