"""REPLIES of m2m-link(7): the text that both sides make of a response."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

LARGEST = 1 << 18
Json = Any


def text(content_type: str, body: bytes, request: bytes) -> bytes | None:
    """The text of a whole, decoded response to the body `request`, or None."""
    try:
        messages = list(_of_stream(body) if is_stream(content_type) else _of_json(body))
        return render(messages, request) or None
    except (ValueError, RecursionError):
        return None


def is_stream(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"


# ---- Reading ----


def _constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _float(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError("beyond a double")
    return value


def _int(number: str) -> int | float:
    # int() wants no more than 4300 digits.
    value = int(number) if len(number) < 21 else 1 << 65
    return value if -(2**63) <= value < 2**64 else _float(number)


def read_json(data: bytes) -> Json:
    """Strictly as in RFC 8259; ValueError for what is none."""
    try:
        value = json.loads(
            data.decode(), parse_constant=_constant, parse_float=_float, parse_int=_int
        )
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is a ValueError
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


# ---- Messages ----


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _objects(values: Iterable[Json]) -> Iterator[dict[str, Json]]:
    return (value for value in values if isinstance(value, dict))


def _of_json(body: bytes) -> Iterator[Json]:
    if len(body) > LARGEST:
        raise ValueError("too large")
    value = read_json(body)
    if not isinstance(value, dict):
        raise ValueError("no object")
    if isinstance(value.get("output"), list):
        yield from _objects(value["output"])
        return
    messages = list(_of_choices(value))
    blocks = list(_objects(_list(value.get("content"))))
    if not messages and blocks:
        messages = [{"role": "assistant", "content": blocks}]
    yield from messages


def _of_choices(value: dict[str, Json]) -> Iterator[Json]:
    for choice in list(_objects(_list(value.get("choices"))))[:16]:
        message, said = choice.get("message"), choice.get("text")
        if isinstance(message, dict):
            yield {name: value for name, value in message.items() if value or name == "content"}
        elif isinstance(said, str):
            yield {"content": said}


class Texts(dict[str, str]):
    """Texts by name; `size` is what all that was added comes to."""

    size = 0

    def add(self, name: str, value: Json) -> None:
        if not isinstance(value, str) or not value or (name not in self and len(self) == 16):
            return
        if name in self and name in ("role", "id", "type", "name"):
            return
        self[name] = self.get(name, "") + value
        self.size += len(name) + len(value)


@dataclass
class Choice:
    texts: Texts = field(default_factory=Texts)
    calls: dict[int, Texts] = field(default_factory=dict)

    def size(self) -> int:
        return self.texts.size + sum(call.size for call in self.calls.values())

    def add(self, choice: dict[str, Json]) -> None:
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            self.texts.add("content", choice.get("text"))
            return
        for name, value in delta.items():
            if name != "tool_calls":
                self.texts.add(name, value)
            else:
                for call in _objects(_list(value)):
                    self._add_call(call)

    def _add_call(self, call: dict[str, Json]) -> None:
        number = _index(call, 255)
        if number is None:
            return
        texts = self.calls.setdefault(number, Texts())
        function = call.get("function")
        for name in ("id", "type"):
            texts.add(name, call.get(name))
        for name in ("name", "arguments"):
            texts.add(name, function.get(name) if isinstance(function, dict) else None)

    def message(self) -> Json:
        out: dict[str, Json] = {"role": self.texts.get("role", "assistant")}
        out["content"] = self.texts.get("content")
        for name, value in self.texts.items():
            out.setdefault(name, value)
        if self.calls:
            out["tool_calls"] = [_call(call) for _, call in sorted(self.calls.items())]
        return out


def _call(texts: Texts) -> Json:
    function = {name: texts.get(name, "") for name in ("name", "arguments")}
    return {"id": texts.get("id", ""), "type": texts.get("type", "function"), "function": function}


def _index(value: dict[str, Json], most: int) -> int | None:
    index = value.get("index", 0)
    return int(index) if isinstance(index, int) and 0 <= index <= most else None


@dataclass
class Blocks:
    """The blocks of the Messages API, and their texts."""

    begun: dict[int, tuple[Json, dict[str, str]]] = field(default_factory=dict)
    size: int = 0

    def add(self, event: dict[str, Json], line: int) -> None:
        index, block, delta = _index(event, 255), event.get("content_block"), event.get("delta")
        if index is None:
            return
        if event["type"] == "content_block_start":
            if isinstance(block, dict):
                self.begun[index] = (block, {})
                self.size += line
        elif isinstance(delta, dict) and index in self.begun:
            texts = self.begun[index][1]
            for name, value in delta.items():
                if isinstance(value, str) and name != "type" and (name in texts or len(texts) < 16):
                    texts[name] = texts.get(name, "") + value
                    self.size += len(name) + len(value)

    def messages(self) -> list[Json]:
        content = [self._block(*each) for _, each in sorted(self.begun.items())]
        return [{"role": "assistant", "content": content}] if content else []

    @staticmethod
    def _block(begun: dict[str, Json], texts: dict[str, str]) -> Json:
        block = dict(begun)
        for name, value in texts.items():
            if name != "partial_json":
                before = block.get(name)
                block[name] = before + value if isinstance(before, str) else value
                continue
            with contextlib.suppress(ValueError):
                block["input"] = read_json(value.encode())
        return block


_OF_BLOCKS = ("content_block_start", "content_block_delta")


def _of_stream(body: bytes) -> Iterator[Json]:
    lines = body.split(b"\n")
    if any(len(line) > LARGEST for line in lines):
        raise ValueError("too large")
    items: list[Json] = []
    size = 0
    choices: dict[int, Choice] = {}
    blocks = Blocks()
    for line in lines[:-1]:
        if not line.startswith(b"data:"):
            continue
        try:
            event = read_json(line[5:])
        except ValueError:
            continue
        if not isinstance(event, dict):
            continue
        if event.get("type") in _OF_BLOCKS:
            blocks.add(event, len(line))
        elif event.get("type") != "response.output_item.done":
            for choice in _objects(_list(event.get("choices"))):
                index = _index(choice, 15)
                if index is not None:
                    choices.setdefault(index, Choice()).add(choice)
        elif isinstance(event.get("item"), dict):
            items.append(event["item"])
            size += len(line)
    if size + blocks.size + sum(choice.size() for choice in choices.values()) > LARGEST:
        raise ValueError("too large")
    messages = [choice.message() for _, choice in sorted(choices.items())]
    yield from items or messages or blocks.messages()


# ---- Rendering ----

_ESCAPED = re.compile(rb"\\u(?!00)[0-9a-fA-F]{4}")
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def render(messages: list[Json], request: bytes) -> bytes:
    """The messages as an application that sent `request` writes them."""
    colon = request.find(b'":')
    after = request[colon + 2 : colon + 3] if colon >= 0 else request[1:2]
    spaced = after == b" "
    ascii_too = request.isascii() and (spaced or bool(_ESCAPED.search(request)))
    return b"".join(
        ((", " if spaced else ",") + _dump(message, spaced, ascii_too)).encode()
        for message in messages
    )


def _dump(value: Json, spaced: bool, ascii_too: bool) -> str:
    comma, colon = (", ", ": ") if spaced else (",", ":")
    if isinstance(value, dict):
        members = (
            _string(name, ascii_too) + colon + _dump(member, spaced, ascii_too)
            for name, member in value.items()
        )
        return "{" + comma.join(members) + "}"
    if isinstance(value, list):
        return "[" + comma.join(_dump(item, spaced, ascii_too) for item in value) + "]"
    if isinstance(value, str):
        return _string(value, ascii_too)
    if isinstance(value, float):
        return repr(value) if spaced or ascii_too else _double(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _string(value: str, ascii_too: bool) -> str:
    def spell(char: str) -> str:
        if char in _SHORT:
            return _SHORT[char]
        if char >= " " and not (ascii_too and char >= "\x7f"):
            return char
        units = char.encode("utf-16-be").hex()
        return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))

    return '"' + "".join(map(spell, value)) + '"'


def _double(value: float) -> str:
    """As in the compact form; the others have it as Python does."""
    said = repr(value)
    if "e-" not in said:
        return said
    mantissa, _, exponent = said.partition("e")
    power = int(exponent)
    if power < -5:
        return f"{mantissa}e{power}"
    sign, digits = mantissa[: mantissa[0] == "-"], mantissa.lstrip("-").replace(".", "")
    return f"{sign}0.{'0' * (-power - 1)}{digits}"
