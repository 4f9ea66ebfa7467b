"""What was parsed of a response, taken for what it should be.

The one rule: what is something else is left out, and no error.
"""

from __future__ import annotations

from typing import Any


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of an array."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
