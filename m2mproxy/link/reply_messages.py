"""A streamed reply of the Messages API: blocks of text, thoughts and tool calls, in order.

A block begins as an object whose texts are empty; they follow in pieces, and the arguments of a
call as pieces of JSON. (https://docs.anthropic.com/en/api/messages-streaming)

The one rule: the message is the one that a response without streaming would have, and depends on
nothing but the events.
"""

from __future__ import annotations

from typing import Any

from m2mproxy.link.parsed import Texts, loads

# Blocks of a message, and names of texts of one.
_MOST_BLOCKS, _MOST_TEXTS = 256, 16
_ARGUMENTS = "partial_json"


class Blocks:
    """The blocks of a stream, put together."""

    __slots__ = ("_begun", "_texts")

    def __init__(self) -> None:
        self._begun: dict[int, dict[str, Any]] = {}
        self._texts: dict[int, Texts] = {}

    def take(self, event: dict[str, Any], size: int) -> int:
        """Add one event, whose JSON has `size` bytes. Returns by how many bytes the reply grew."""
        number, begun, more = event.get("index", 0), event.get("content_block"), event.get("delta")
        if not isinstance(number, int) or not 0 <= number < _MOST_BLOCKS:
            return 0
        kind = event.get("type")
        if kind == "content_block_start" and isinstance(begun, dict):
            self._begun[number] = begun
            self._texts[number] = Texts(_MOST_TEXTS)
            return size
        if kind == "content_block_delta" and isinstance(more, dict) and number in self._begun:
            return sum(
                self._texts[number].add(name, text)
                for name, text in more.items()
                if isinstance(text, str) and name != "type"
            )
        return 0

    def messages(self) -> list[dict[str, Any]]:
        """The message, if there is one."""
        begun = sorted(self._begun.items())
        return message_of([_whole(block, self._texts[number].wholes()) for number, block in begun])


def message_of(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The message of some blocks, if there are any."""
    return [{"role": "assistant", "content": content}] if content else []


def _whole(begun: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    block = dict(begun)
    for name, text in texts.items():
        if name == _ARGUMENTS:
            try:
                block["input"] = loads(text.encode())
            except ValueError:
                continue  # no arguments: as it began
        else:
            before = block.get(name)
            block[name] = before + text if isinstance(before, str) else text
    return block
