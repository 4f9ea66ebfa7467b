"""What is known of a model by its name: how its messages are framed, and in which vocabulary.

The one rule: any text is a name. What no row knows gets the estimate, and is said to be one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from m2mproxy.tokens.names import OTHER, ROWS, Row

# Longer names are nobody's; what is looked at of one is bounded, and so is what is remembered.
_MOST_NAME, _REMEMBERED = 256, 1024

_ROWS = tuple((re.compile(row.pattern).search, row) for row in ROWS)
# Of a fine-tune at OpenAI, ft:MODEL:ORGANISATION:NAME:ID, which is asked for like any other.
_fine_tune = re.compile(r"^ft:([^:]+)").match


@dataclass(frozen=True, slots=True)
class Model:
    """What counting needs to know of a model."""

    family: str
    """How its messages are framed, one of frames.FRAMES; "other" where that is not known."""
    vocabulary: str
    """One of known.KNOWN; "" where there is none to be had."""
    is_exact: bool
    """Whether the vocabulary is the model's own."""


def find(name: str) -> Model:
    """What is known of the model that a request calls `name`, whoever provides it."""
    return _find(name[:_MOST_NAME])


def row_of(name: str) -> Row:
    """The row that decides for `name`; OTHER where there is none."""
    called = plain(name[:_MOST_NAME])
    return next((row for search, row in _ROWS if search(called)), OTHER)


@lru_cache(_REMEMBERED)
def _find(name: str) -> Model:
    row = row_of(name)
    return Model(row.family, row.vocabulary, row.is_exact)


def plain(name: str) -> str:
    """The name without what a provider puts around it, in lower case."""
    called = name.lower().replace("_", "-")
    if tuned := _fine_tune(called):
        called = tuned[1]
    # Folders (meta-llama/, accounts/fireworks/models/, @cf/meta/, an ARN's) end in a slash.
    return called.rstrip("/").rpartition("/")[2]
