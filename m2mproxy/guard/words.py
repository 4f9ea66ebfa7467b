"""Folded text as words, and what else of its form the model looks at.

The one rule: training and scanning read texts through these functions, so that both see the same.
"""

from __future__ import annotations

import re
from itertools import islice

LONGEST = 24
"""Characters of a word that count."""

START, END = "^", "$"

_TABLE: dict[int, str | None] = {
    point: " " for point in range(128) if not chr(point).isalnum()
}
_TABLE |= dict.fromkeys(map(ord, "0123456789"), "0")
_TABLE |= dict.fromkeys(map(ord, ".!?;:\n\r\t"), ".")
_TABLE[ord("'")] = None

FORMS = (
    *("<4", "<8", "<16", "<32", "<64", "full"),
    *("?", "ends?", '"', "`", "{", "!", "\\"),
    *("beyond", "unseen", "mixed"),
)
"""Fewer words than that; as long as a window can be; what it has in it; characters beyond ASCII."""


_UNSEEN = re.compile("[a-zA-Z][\u00ad\u200b-\u200f\u2060-\u2064\ufeff]+(?=[a-zA-Z])")
_MIXED = re.compile("[a-zA-Z][\u0370-\u058f]|[\u0370-\u058f][a-zA-Z]")
"""Latin letters with what cannot be seen between them, and beside those of other alphabets."""


def _often(pattern: re.Pattern[str], text: str) -> bool:
    return sum(1 for _ in islice(pattern.finditer(text), 3)) == 3


def words_of(folded: str) -> list[str]:
    """Words, and a full stop where a sentence or line ends. Digits are all 0."""
    spelt = folded.translate(_TABLE).replace(".", " . ").split()
    return [word[:LONGEST] for word in spelt]


def features_of(words: list[str]) -> set[str | tuple[str, str]]:
    """Each word, and each two in a row."""
    features: set[str | tuple[str, str]] = set(words)
    features.update(zip([START, *words], [*words, END], strict=True))
    return features


def forms_of(text: str, count: int, size: int) -> list[int]:
    """Which of FORMS hold: of a window of text with so many words, where `size` is a full one's."""
    holds = [at for at, most in enumerate((4, 8, 16, 32, 64)) if count < most]
    if len(text) >= size:
        holds.append(5)
    if text.rstrip()[-1:] in ("?", "\uff1f", "\u061f"):
        holds.append(7)
    for at, char in ((6, "?"), (8, '"'), (9, "`"), (10, "{"), (11, "!"), (12, "\\")):
        if char in text:
            holds.append(at)
    if not text.isascii():
        holds.append(13)
        holds += [at for at, pattern in ((14, _UNSEEN), (15, _MIXED)) if _often(pattern, text)]
    return holds
