"""One choice of a stream of chat completions, put together from its deltas.

The one rule: the message is what a response that is no stream would have, and depends on nothing
but the deltas.
"""

from __future__ import annotations

from typing import Any

from m2mproxy.link.parsed import dicts

MOST_CALLS = 256
"""Tool calls of a choice that have numbers of their own."""
# Names of texts.
_MOST_TEXTS = 16
_ONCE = frozenset(("role", "id", "type", "name"))


class Choice:
    """One choice of a stream: its texts by name, and its tool calls by number."""

    __slots__ = ("_calls", "_texts")

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, list[str]]] = {}

    def take(self, choice: dict[str, Any]) -> int:
        """How much longer it is by this."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            text = choice.get("text")
            return self._add(self._texts, "content", text) if isinstance(text, str) else 0
        more = 0
        for name, value in delta.items():
            if name == "tool_calls":
                more += sum(map(self._call, dicts(value)))
            elif isinstance(value, str):
                more += self._add(self._texts, name, value)
        return more

    @staticmethod
    def _add(texts: dict[str, list[str]], name: str, text: str) -> int:
        if not text or (name not in texts and len(texts) >= _MOST_TEXTS):
            return 0
        if name in _ONCE and name in texts:
            return 0  # some say who speaks with every word
        texts.setdefault(name, []).append(text)
        return len(text) + len(name)

    def _call(self, call: dict[str, Any]) -> int:
        number = call.get("index", 0)
        if not isinstance(number, int) or not 0 <= number < MOST_CALLS:
            return 0
        texts = self._calls.setdefault(number, {})
        function = call.get("function")
        parts = {"id": call.get("id"), "type": call.get("type")}
        if isinstance(function, dict):
            parts |= {"name": function.get("name"), "arguments": function.get("arguments")}
        return sum(
            self._add(texts, name, text) for name, text in parts.items() if isinstance(text, str)
        )

    def message(self) -> dict[str, Any]:
        """As a response that is no stream has it."""
        texts = {name: "".join(parts) for name, parts in self._texts.items()}
        message: dict[str, Any] = {"role": texts.pop("role", "assistant")}
        message["content"] = texts.pop("content", None)
        message |= texts
        if self._calls:
            message["tool_calls"] = [
                _tool_call({name: "".join(parts) for name, parts in texts.items()})
                for _, texts in sorted(self._calls.items())
            ]
        return message


def _tool_call(texts: dict[str, str]) -> dict[str, Any]:
    function = {name: texts.get(name, "") for name in ("name", "arguments")}
    return {"id": texts.get("id", ""), "type": texts.get("type", "function"), "function": function}
