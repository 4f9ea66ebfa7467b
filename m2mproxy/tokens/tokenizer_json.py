"""Pieces as Hugging Face writes them: a tokenizer.json with byte-level BPE.

Pieces are spelt with a letter for each byte: the bytes that Latin-1 shows are their own letters,
the others have those from U+0100 on, in their order. Which two are joined first is said by a list
of merges; where that list is in the order of the ids, the ids are ranks.

The one rule: a file whose merges are in another order raises ValueError, for it would not be exact.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise

_SHOWN = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_HIDDEN = tuple(sorted(set(range(256)) - set(_SHOWN)))
_BYTES: Mapping[str, int] = {
    **{chr(byte): byte for byte in _SHOWN},
    **{chr(0x100 + place): byte for place, byte in enumerate(_HIDDEN)},
}


def ranks_of(data: bytes) -> dict[bytes, int]:
    """The pieces and their ranks; special tokens, which have other letters, are left out."""
    try:
        model = json.loads(data)["model"]
        vocabulary, merges = model["vocab"], model["merges"]
        ids = [vocabulary["".join(_parts(each))] for each in merges]
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"no tokenizer.json of byte-level BPE: {error}") from None
    if any(first >= second for first, second in pairwise(ids)):
        raise ValueError("the merges are not in the order of the ids")
    merged = frozenset(ids)
    wanted = ((piece, rank) for piece, rank in vocabulary.items() if len(piece) == 1 or
              rank in merged)  # fmt: skip
    return {bytes(map(_BYTES.__getitem__, piece)): rank for piece, rank in wanted
            if all(letter in _BYTES for letter in piece)}  # fmt: skip


def _parts(merge: str | list[str]) -> list[str]:
    """Two pieces, which older files write with a space between."""
    return merge.split(" ") if isinstance(merge, str) else merge
