"""Counts a text's tokens in a vocabulary, in windows, so that no text is too much for it.

tiktoken takes a text in one go, and fails on a million spaces in a row; so a text is encoded in
windows. They end where every vocabulary we know begins a new word, so that as many tokens come out
as of the whole: before a space between two letters, or else after a line end that a letter follows.
Windows are small, too, for what is done with the tokens of one keeps other threads waiting.

The one rule: the work and the memory of one step are those of a window, however long the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Protocol

WINDOW = 4 * 1024
"""Characters that are encoded at a time, at most."""

# How far from the end of a window to look for such a place: words are seldom as long.
_LOOK_BACK = 2 * 1024

# Tokens that a cut in the middle of a word can make more or fewer.
_CUT = 2


class Encoding(Protocol):
    """What counting needs of a vocabulary; a tiktoken.Encoding has it."""

    def encode(self, text: str, /, *, disallowed_special: Set[str] = ...) -> list[int]:
        """The ids of `text`.

        Args:
            disallowed_special: special tokens whose names may not be in it; none, for us.
        """
        ...

    def decode_single_token_bytes(self, token: int, /) -> bytes:
        """What an id stands for. Raises KeyError where it stands for nothing."""
        ...


NONE: Set[str] = frozenset()
"""Of special tokens: what users write is text, whatever it looks like."""


def count(encoding: Encoding, text: str) -> tuple[int, int]:
    """The tokens of `text`, and how many more or fewer they can be for our cutting it."""
    tokens = doubt = 0
    for window, is_clean in windows(text):
        tokens += len(encoding.encode(window, disallowed_special=NONE))
        doubt += 0 if is_clean else _CUT
    return tokens, doubt


def windows(text: str) -> Iterator[tuple[str, bool]]:
    """Pieces of `text`, and whether each ends where words do."""
    at = 0
    while len(text) - at > WINDOW:
        end = _edge(text, at + WINDOW - _LOOK_BACK, at + WINDOW)
        yield text[at : end or at + WINDOW], end > 0
        at = end or at + WINDOW
    yield text[at:], True


def _edge(text: str, start: int, end: int) -> int:
    """A place between them, late, where words end and begin; 0 where there is none."""
    at = text.rfind(" ", start, end)
    while at > start:
        if text[at - 1].isalpha() and text[at + 1].isalpha():
            return at
        at = text.rfind(" ", start, at)
    at = text.rfind("\n", start, end - 1) + 1
    while at > start:
        if text[at].isalpha():
            return at
        at = text.rfind("\n", start, at - 1) + 1
    return 0
