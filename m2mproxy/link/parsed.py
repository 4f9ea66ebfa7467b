"""Parsed JSON of a response, read as the types that it should have.

The one rule: a value of another type is left out, and is no error.
"""

from __future__ import annotations

from typing import Any


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of an array."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
