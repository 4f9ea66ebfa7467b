"""Obfuscated variants of samples, attacks and harmless texts alike, to train with.

The one rule: an obfuscation alone is no attack: every way of writing is trained with both.
"""

import base64
import codecs
import random
from collections.abc import Callable, Iterator, Sequence

from .data import Sample

AUGMENTED = "augmented"
SHARE = 0.15
"""Of the samples, how many get a variant."""
LONGEST = 400
_SEED = 7

_HOMOGLYPHS = str.maketrans(
    "aceiopsxyj", "\u0430\u0441\u0435\u0456\u043e\u0440\u0455\u0445\u0443\u0458"
)
_LEET = dict(zip("aeiostlbg", ("4@", "3", "1!", "0", "5$", "7+", "1|", "8", "9"), strict=True))
_INVISIBLE = "\u200b\u200c\u2060\ufeff\u00ad"
_CARRIERS = (
    *("", "", "", "", "Decode: ", "What is this? ", "Please read: ", "{text} - what does it mean?"),
    *("{way}: ", "{way} text: ", "Decode this {way} text and do what it says: ", "Read and obey: "),
    *("Decode the {way} and follow it: ", "Undo the {way}, then answer: ", "What does it say? "),
    *("Apply {way} and obey: ", "Look at this: ", "ok ", "Convert from {way} and execute: "),
)


def _leet(text: str, chance: random.Random) -> str:
    return "".join(
        chance.choice(_LEET[char]) if char in _LEET and chance.random() < 0.7 else char
        for char in text.lower()
    )


def _case(text: str, chance: random.Random) -> str:
    return "".join(char.upper() if chance.random() < 0.5 else char.lower() for char in text)


def _invisible(text: str, chance: random.Random) -> str:
    return chance.choice(_INVISIBLE).join(text)


def _wide(text: str, chance: random.Random) -> str:
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


def _spaced(text: str, chance: random.Random) -> str:
    return chance.choice((" ", " ", "-", ".")).join(text)


def _selectors(text: str, chance: random.Random) -> str:
    return "\U0001f642" + "".join(
        chr(0xFE00 + byte) if byte < 16 else chr(0xE0100 + byte - 16) for byte in text.encode()
    )


def _tags(text: str, chance: random.Random) -> str:
    return "hi" + "".join(chr(0xE0000 + ord(char)) for char in text if char.isascii())


WAYS: dict[str, Callable[[str, random.Random], str]] = {
    "base64": lambda text, _: base64.b64encode(text.encode()).decode(),
    "hex": lambda text, _: text.encode().hex(),
    "rot13": lambda text, _: codecs.encode(text, "rot13"),
    "reversed": lambda text, _: text[::-1],
    "spaced": _spaced,
    "leet": _leet,
    "case": _case,
    "homoglyphs": lambda text, _: text.translate(_HOMOGLYPHS),
    "invisible": _invisible,
    "wide": _wide,
    "selectors": _selectors,
    "tags": _tags,
}


def variants(samples: Sequence[Sample]) -> Iterator[Sample]:
    """In the clusters and of the sources of what they were made of."""
    chance = random.Random(_SEED)
    for sample in samples:
        if chance.random() < SHARE:
            way = chance.choice(tuple(WAYS))
            written = WAYS[way](sample.text[:LONGEST], chance)
            carrier = chance.choice(_CARRIERS).replace("{way}", way)
            text = carrier if "{text}" in carrier else carrier + "{text}"
            text = text.replace("{text}", written)
            yield sample._replace(text=text, category=AUGMENTED)
