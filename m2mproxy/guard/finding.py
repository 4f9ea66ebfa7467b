"""What a scan says: findings, each with its category, score, source and place.

The one rule: a finding never has any of the scanned text in it, so that it can be logged and shown.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Category(enum.StrEnum):
    """What is wrong with a text or a body."""

    INJECTION = "prompt_injection"
    ROLES = "role_confusion"
    JAILBREAK = "jailbreak"
    EXTRACTION = "system_prompt_extraction"
    EXFILTRATION = "data_exfiltration"
    MALFORMED = "malformed_input"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was noticed in one text."""

    category: Category
    source: str
    """The id of the rule, check or model that noticed it."""
    score: float
    """From 0 to 1."""
    why: str
    """A few words for people, fixed for the source."""
    offset: int = 0
    """Where in the text it begins, in characters; for a body that cannot be read, in bytes."""
