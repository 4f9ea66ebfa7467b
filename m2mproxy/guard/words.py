"""Folded text as words, and what else of its form the model looks at.

The one rule: training and scanning read texts through these functions, so that both see the same.
"""

from __future__ import annotations

import re
from itertools import islice, pairwise

START, END = b"^", b"$"

# Bytes beyond ASCII are of letters: folding leaves no other signs beyond it.
_TABLE = bytes(
    ord(".") if chr(byte) in ".!?;\n" else
    ord("0") if chr(byte).isdecimal() and byte < 0x80 else
    byte if byte >= 0x80 or chr(byte).isalnum() else
    ord(" ")
    for byte in range(256)
)

FORMS = (
    *("<4", "<8", "<16", "<32", "<64", "full"),
    *("?", "ends?", '"', "`", "{", "!", "\\"),
    *("beyond", "unseen", "mixed"),
)
"""Fewer words than that; as long as a window can be; what it has in it; characters beyond ASCII."""


_UNSEEN = re.compile("[a-zA-Z][\u00ad\u200b-\u200f\u2060-\u2064\ufeff]+(?=[a-zA-Z])")
_MIXED = re.compile("[a-zA-Z][\u0370-\u058f]|[\u0370-\u058f][a-zA-Z]")
"""Latin letters with what cannot be seen between them, and beside those of other alphabets."""


_FEWER = ((0, 4), (1, 8), (2, 16), (3, 32), (4, 64))
_QUESTIONS = frozenset("?\uff1f\u061f")
_SIGNS = ((6, "?"), (8, '"'), (9, "`"), (10, "{"), (11, "!"), (12, "\\"))
_SPELT = ((14, _UNSEEN), (15, _MIXED))


def _often(pattern: re.Pattern[str], text: str) -> bool:
    return sum(1 for _ in islice(pattern.finditer(text), 3)) == 3


def words_of(folded: bytes) -> list[bytes]:
    """The words of folded text in UTF-8, and a full stop where a sentence or line ends. Digits are
    all 0, apostrophes fall away."""
    return folded.translate(_TABLE, b"'").replace(b".", b" . ").split()


def pairs_of_words(words: list[bytes]) -> set[tuple[bytes, bytes]]:
    """Each two in a row, the first and the last also with where the text begins and ends."""
    pairs = set(pairwise(words))
    if words:
        pairs.add((START, words[0]))
        pairs.add((words[-1], END))
    return pairs


def forms_of(text: str, count: int, size: int) -> list[int]:
    """Which of FORMS hold: of a window of text with so many words, where `size` is a full one's."""
    holds = [at for at, most in _FEWER if count < most] if count < 64 else []
    if len(text) >= size:
        holds.append(5)
    if text.rstrip()[-1:] in _QUESTIONS:
        holds.append(7)
    holds += [at for at, char in _SIGNS if char in text]
    if not text.isascii():
        holds.append(13)
        holds += [at for at, pattern in _SPELT if _often(pattern, text)]
    return holds
