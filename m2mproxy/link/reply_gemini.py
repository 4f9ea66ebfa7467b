"""A streamed reply of Gemini's API: contents, whose parts are texts, thoughts, calls and the like.

A stream is a sequence of responses. Each brings more parts, and a text may go on in the next one.
Signatures have several thousand bytes and come back with every turn, but Google's Python library
reads them as Base64 and writes them back in the URL-safe alphabet.
(https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/thought-signatures)

The one rule: the messages depend on nothing but the responses, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from m2mproxy.link.parsed import dicts

MOST_CONTENTS = 16
_SIGNATURE = "thoughtSignature"
_IN_URLS = str.maketrans("+/", "-_")
_TEXT, _THOUGHT = frozenset(("text",)), frozenset(("text", "thought"))


class Contents:
    """The contents of a stream, put together."""

    __slots__ = ("_parts", "_roles")

    def __init__(self) -> None:
        self._roles: dict[int, dict[str, Any]] = {}
        self._parts: dict[int, list[_Part]] = {}

    def take(self, response: dict[str, Any], size: int) -> int:
        """Add one response, whose JSON has `size` bytes. Returns by how many the reply grew."""
        more = 0
        for candidate in dicts(response.get("candidates")):
            number, content = candidate.get("index", 0), candidate.get("content")
            if (
                isinstance(number, int)
                and 0 <= number < MOST_CONTENTS
                and isinstance(content, dict)
            ):
                self._add(number, content)
                more = size
        return more

    def _add(self, number: int, content: dict[str, Any]) -> None:
        self._roles.setdefault(number, content)
        parts = self._parts.setdefault(number, [])
        for each in dicts(content.get("parts")):
            part = _Part(each)
            if part.kind is not None and parts and parts[-1].kind == part.kind:
                parts[-1].texts += part.texts
            elif part.kind is None or part.texts != [""]:
                parts.append(part)

    def messages(self) -> list[dict[str, Any]]:
        """The contents that have parts, and what is sent back in their place."""
        wholes = [
            self._roles[number] | {"parts": [part.whole() for part in parts]}
            for number, parts in sorted(self._parts.items())
        ]
        return contents_of(wholes)


class _Part:
    """A part, and what a text is made of."""

    __slots__ = ("_begun", "kind", "texts")

    def __init__(self, begun: dict[str, Any]) -> None:
        self._begun = begun
        self.kind = _kind(begun)
        """What can go on in another of that kind; None for what cannot."""
        self.texts: list[str] = [begun["text"]] if self.kind is not None else []

    def whole(self) -> dict[str, Any]:
        return self._begun | {"text": "".join(self.texts)} if self.texts else self._begun


def _kind(part: dict[str, Any]) -> frozenset[str] | None:
    if not isinstance(part.get("text"), str):
        return None
    if part.keys() == _TEXT:
        return _TEXT
    return _THOUGHT if part.keys() == _THOUGHT and part["thought"] is True else None


def contents_of(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that have parts; after each its signatures as Google's library writes them, where that
    makes a difference."""
    messages: list[dict[str, Any]] = []
    for content in contents:
        parts = dicts(content.get("parts"))
        if parts:
            messages += [content, *_rewritten(parts)]
    return messages


def _rewritten(parts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for part in parts:
        signature = part.get(_SIGNATURE)
        if isinstance(signature, str) and ("+" in signature or "/" in signature):
            yield {_SIGNATURE: signature.translate(_IN_URLS)}
