"""Attacks put into harmless documents, as they come with web pages and results of tools.

The one rule: an attack and its document are of one fold, so that neither is seen in measuring the
other.
"""

import random
from collections.abc import Sequence

from .data import SEEDS, Sample, fold_of

EMBEDDED = "embedded"
SHARE = 0.25
"""Of the short attacks, how many are put into a document."""
SHORT, LONG = 300, 1500
"""Characters that an attack has at most, and a document at least."""
BEFORE = 1000
_SEED = 11


def embedded(samples: Sequence[Sample], share: float = SHARE) -> list[Sample]:
    """Of a share of the short attacks, one each in the middle of a document."""
    chance = random.Random(_SEED)
    pages: dict[int, list[Sample]] = {}
    for each in samples:
        if not each.label and each.source != SEEDS and len(each.text) >= LONG:
            pages.setdefault(fold_of(each), []).append(each)
    made = []
    for each in samples:
        if not each.label or each.source == SEEDS or len(each.text) > SHORT:
            continue
        if chance.random() >= share:
            continue
        page = chance.choice(pages[fold_of(each)]).text
        text = f"{page[:BEFORE]}\n{each.text}\n{page[BEFORE:LONG]}"
        made.append(each._replace(text=text, category=EMBEDDED))
    return made


def attack_of(sample: Sample) -> str:
    """What was put into the document."""
    return sample.text[BEFORE + 1 : len(sample.text) - (LONG - BEFORE) - 1]
