"""JSON of a response, and its values, read as the types that they should have.

The one rule: a value of another type is left out, and is no error.
"""

from __future__ import annotations

from typing import Any

import orjson

# Of more bytes there is at most one object or array for so many: 512 KiB of nothing else would hold
# up everybody for half a second.
_LONG, _PER_OBJECT = 1024, 16


def loads(text: bytes | bytearray) -> Any:
    """The value of a text.

    Raises:
        ValueError: it is no JSON, or too dense to be read.
    """
    if len(text) > _LONG and _PER_OBJECT * (text.count(b"{") + text.count(b"[")) > len(text):
        raise ValueError("there is an object or array every few bytes")
    return orjson.loads(text)


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of an array."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
