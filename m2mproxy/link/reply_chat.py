"""One choice of a streamed chat completion, put together from its deltas.

The one rule: the message is the one that a response without streaming would have, and depends on
nothing but the deltas.
"""

from __future__ import annotations

from typing import Any

from m2mproxy.link.parsed import Texts, dicts

MOST_CALLS = 256
"""Tool calls of a choice that have numbers of their own."""
# Names of texts, and of what else there is.
_MOST_TEXTS = _MOST_KEPT = 16
_ONCE = frozenset(("role", "id", "type", "name"))
_OF_MESSAGE = frozenset(("role", "content"))
_OF_CALL = frozenset(("index", "id", "type", "function"))
_NO_TEXTS = Texts(0)
# What says of an object of a list what it is.
_WHAT = frozenset(("type", "id", "format"))


class Choice:
    """One choice of a stream: what it has by name, and its tool calls by number."""

    __slots__ = ("_calls", "_kept", "_texts")

    def __init__(self) -> None:
        self._texts = Texts(_MOST_TEXTS)
        self._kept: dict[str, Any] = {}  # objects, and lists of them
        self._calls: dict[int, _Call] = {}

    def take(self, choice: dict[str, Any], size: int) -> int:
        """Add one delta, which came in `size` bytes. Returns by how many bytes the choice grew."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            text = choice.get("text")
            return _add(self._texts, "content", text) if isinstance(text, str) else 0
        more = 0
        for name, value in delta.items():
            if name == "tool_calls":
                more += sum([self._call(call, size) for call in dicts(value)])
            elif isinstance(value, str):
                more += _add(self._texts, name, value) if name not in self._kept else 0
            elif isinstance(value, dict | list) and self._may_keep(name):
                more += _keep(self._kept, name, value, size)
        return more

    def _may_keep(self, name: str) -> bool:
        return name not in _OF_MESSAGE and name not in self._texts

    def _call(self, call: dict[str, Any], size: int) -> int:
        number = call.get("index", 0)
        if not isinstance(number, int) or not 0 <= number < MOST_CALLS:
            return 0
        if number not in self._calls:
            self._calls[number] = _Call()
        return self._calls[number].take(call, size)

    def message(self) -> dict[str, Any]:
        """The message, as a response without streaming has it."""
        texts = self._texts.wholes()
        message: dict[str, Any] = {"role": texts.pop("role", "assistant")}
        message["content"] = texts.pop("content", None)
        message |= texts | _wholes(self._kept)
        if self._calls:
            message["tool_calls"] = [call.whole() for _, call in sorted(self._calls.items())]
        return message


class _Call:
    """One call: its id, type, name and arguments, and what else it has."""

    __slots__ = ("_kept", "_texts")

    def __init__(self) -> None:
        self._texts = Texts(_MOST_TEXTS)
        self._kept: dict[str, Any] = {}

    def take(self, call: dict[str, Any], size: int) -> int:
        """How much longer it is by this, which came in `size` bytes."""
        function = call.get("function")
        parts = {"id": call.get("id"), "type": call.get("type")}
        if isinstance(function, dict):
            parts |= {"name": function.get("name"), "arguments": function.get("arguments")}
        more = sum([_add(self._texts, name, x) for name, x in parts.items() if isinstance(x, str)])
        for name, value in call.items():
            if name not in _OF_CALL and isinstance(value, dict):
                more += _keep(self._kept, name, value, size)
        return more

    def whole(self) -> dict[str, Any]:
        texts = self._texts.wholes()
        function = {name: texts.get(name, "") for name in ("name", "arguments")}
        of = {"id": texts.get("id", ""), "type": texts.get("type", "function")}
        return {**of, "function": function, **_wholes(self._kept)}


def _add(texts: Texts, name: str, text: str) -> int:
    if not text or (name in _ONCE and name in texts):
        return 0  # some say who speaks with every word
    return texts.add(name, text)


def _keep(kept: dict[str, Any], name: str, value: Any, size: int) -> int:
    """Keep an object, of which the first counts, or what a list has of them."""
    if name not in kept and len(kept) >= _MOST_KEPT:
        return 0
    if isinstance(value, dict):
        if name in kept:
            return 0
        kept[name] = value
        return size
    more = dicts(value)
    if not more:
        return 0
    known = kept.setdefault(name, _List())
    return known.take(more, size) if isinstance(known, _List) else 0


class _List:
    """Objects of a list, which goes on in the next delta. What one of them says may go on, too."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun: list[tuple[dict[str, Any], Texts]] = []

    def take(self, more: list[dict[str, Any]], size: int) -> int:
        """How much longer it is by some more, which came in `size` bytes."""
        return sum([self._take(each, size) for each in more])

    def _take(self, more: dict[str, Any], size: int) -> int:
        last, texts = self._begun[-1] if self._begun else ({}, _NO_TEXTS)
        if not _goes_on(last, more):
            self._begun.append((more, Texts(_MOST_TEXTS)))
            return size
        return sum(
            [
                _add(texts, name, text)
                for name, text in more.items()
                if isinstance(text, str) and name not in _WHAT
            ]
        )

    def whole(self) -> list[dict[str, Any]]:
        return [
            begun | {name: _before(begun, name) + text for name, text in texts.wholes().items()}
            for begun, texts in self._begun
        ]


def _goes_on(last: dict[str, Any], more: dict[str, Any]) -> bool:
    """Whether one object says more of what the last one began, as reasoning does.
    (https://openrouter.ai/docs/use-cases/reasoning-tokens)"""
    kind, number = more.get("type"), more.get("index")
    is_one = isinstance(kind, str) and isinstance(number, int)
    return is_one and last.get("type") == kind and _is(last.get("index"), number)


def _is(value: object, number: object) -> bool:
    return isinstance(value, int) and value == number


def _before(begun: dict[str, Any], name: str) -> str:
    text = begun.get(name)
    return text if isinstance(text, str) else ""


def _wholes(kept: dict[str, Any]) -> dict[str, Any]:
    return {name: x.whole() if isinstance(x, _List) else x for name, x in kept.items()}
