"""JSON of a response, its values, read as the types that they should have, and texts out of them.

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


class Texts:
    """Texts by name, each put together of pieces. A word in a list takes ten times its letters, and
    there may be thousands of streams."""

    __slots__ = ("_most", "_texts")

    def __init__(self, most: int) -> None:
        """`most` is how many names count."""
        self._most = most
        self._texts: dict[str, bytearray] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._texts

    def add(self, name: str, text: str) -> int:
        """How many characters more there are, with the name's."""
        of = self._texts.get(name)
        if of is None:
            if len(self._texts) >= self._most:
                return 0
            of = self._texts[name] = bytearray()
        of += text.encode()
        return len(text) + len(name)

    def wholes(self) -> dict[str, str]:
        """All of them, in the order in which they began."""
        return {name: of.decode() for name, of in self._texts.items()}


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of an array."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
