"""REPLIES of m2m-link(7): the text that both sides make of a response."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from linklib.letters import PIECES, more_escapes

LARGEST = 1 << 19
DENSE_FROM, MOST_MESSAGES = 1024, 1024
Json = Any


def text(content_type: str, body: bytes, request: bytes) -> bytes | None:
    """The text of a whole, decoded response to the body `request`, or None."""
    try:
        messages = list(_of_stream(body) if is_stream(content_type) else _of_json(body))
        return (render(messages, request) or None) if len(messages) <= MOST_MESSAGES else None
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
    """Strictly as in RFC 8259; ValueError for what is none, or too dense."""
    if len(data) > DENSE_FROM and 16 * sum(map(data.count, (b"{", b"["))) > len(data):
        raise ValueError("too dense")
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
    if isinstance(value, list):
        stream = Stream()
        for event in _objects(value):
            stream.add(event, 0)
        yield from stream.messages()
        return
    if not isinstance(value, dict):
        raise ValueError("no object")
    if isinstance(value.get("output"), list):
        yield from _objects(value["output"])
        return
    messages = list(_of_choices(value)) or list(_of_candidates(value))
    if not messages and isinstance(value.get("message"), dict):
        messages = [_without_nothing(value["message"])]
    blocks = list(_objects(_list(value.get("content"))))
    if not messages and blocks:
        messages = [{"role": "assistant", "content": blocks}]
    yield from messages


def _of_choices(value: dict[str, Json]) -> Iterator[Json]:
    for choice in list(_objects(_list(value.get("choices"))))[:16]:
        message, said = choice.get("message"), choice.get("text")
        if isinstance(message, dict):
            yield _without_nothing(message)
        elif isinstance(said, str):
            yield {"content": said}


def _without_nothing(message: dict[str, Json]) -> Json:
    return {name: value for name, value in message.items() if value or name == "content"}


def _of_candidates(value: dict[str, Json]) -> Iterator[Json]:
    for candidate in list(_objects(_list(value.get("candidates"))))[:16]:
        content = candidate.get("content")
        if isinstance(content, dict) and list(_objects(_list(content.get("parts")))):
            yield content
            yield from _signatures(content["parts"])


def _signatures(parts: Json) -> Iterator[Json]:
    for part in _objects(parts):
        signed = part.get("thoughtSignature")
        if isinstance(signed, str) and re.search("[+/]", signed):
            yield {"thoughtSignature": signed.replace("+", "-").replace("/", "_")}


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


class Others(dict[str, Json]):
    """Objects by name, and arrays of them; `size` is what all that was kept comes to."""

    def __init__(self) -> None:
        super().__init__()
        self._size = 0
        self._texts: dict[str, Texts] = {}  # of the last object of each array

    @property
    def size(self) -> int:
        return self._size + sum(texts.size for texts in self._texts.values())

    def keep(self, name: str, value: Json, line: int) -> None:
        if name not in self and len(self) == 16:
            return
        if isinstance(value, dict) and name not in self:
            self[name] = value
            self._size += line
        elif isinstance(value, list) and not isinstance(self.get(name), dict):
            for each in _objects(value):
                self._append(name, each, line)

    def _append(self, name: str, more: dict[str, Json], line: int) -> None:
        known = self.setdefault(name, [])
        kind, index = more.get("type"), more.get("index")
        if known and isinstance(kind, str) and isinstance(index, int):
            last = known[-1]
            same = last.get("index")
            if last.get("type") == kind and isinstance(same, int) and same == index:
                for of, value in more.items():
                    if of not in ("type", "id", "format"):
                        self._texts[name].add(of, value)
                return
        self._end(name)
        known.append(dict(more))
        self._texts[name] = Texts()
        self._size += line

    def _end(self, name: str) -> None:
        """The last object is whole."""
        texts = self._texts.pop(name, Texts())
        self._size += texts.size
        for of, value in texts.items():
            last = self[name][-1]
            last[of] = last[of] + value if isinstance(last.get(of), str) else value

    def whole(self) -> dict[str, Json]:
        for name in list(self._texts):
            self._end(name)
        return self


@dataclass
class Choice:
    texts: Texts = field(default_factory=Texts)
    others: Others = field(default_factory=Others)
    calls: dict[int, tuple[Texts, Others]] = field(default_factory=dict)

    def size(self) -> int:
        parts = ((self.texts, self.others), *self.calls.values())
        return sum(texts.size + others.size for texts, others in parts)

    def add(self, choice: dict[str, Json], line: int) -> None:
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            self.texts.add("content", choice.get("text"))
            return
        for name, value in delta.items():
            if name == "tool_calls":
                for call in _objects(_list(value)):
                    self._add_call(call, line)
            elif isinstance(value, str):
                if name not in self.others:
                    self.texts.add(name, value)
            elif name not in self.texts and name not in ("role", "content"):
                self.others.keep(name, value, line)

    def _add_call(self, call: dict[str, Json], line: int) -> None:
        number = _index(call, 255)
        if number is None:
            return
        texts, others = self.calls.setdefault(number, (Texts(), Others()))
        for name, value in call.items():
            if isinstance(value, dict) and name not in ("index", "id", "type", "function"):
                others.keep(name, value, line)
        function = call.get("function")
        for name in ("id", "type"):
            texts.add(name, call.get(name))
        for name in ("name", "arguments"):
            texts.add(name, function.get(name) if isinstance(function, dict) else None)

    def message(self) -> Json:
        out: dict[str, Json] = {"role": self.texts.get("role", "assistant")}
        out["content"] = self.texts.get("content")
        for name, value in (*self.texts.items(), *self.others.whole().items()):
            out.setdefault(name, value)
        if self.calls:
            out["tool_calls"] = [_call(*self.calls[number]) for number in sorted(self.calls)]
        return out


def _call(texts: Texts, others: Others) -> Json:
    function = {name: texts.get(name, "") for name in ("name", "arguments")}
    named = {"id": texts.get("id", ""), "type": texts.get("type", "function")}
    return {**named, "function": function, **others.whole()}


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


@dataclass
class Contents:
    """The contents of Gemini's candidates."""

    first: dict[int, dict[str, Json]] = field(default_factory=dict)
    parts: dict[int, list[Json]] = field(default_factory=dict)
    size: int = 0

    def add(self, event: dict[str, Json], line: int) -> None:
        counts = False
        for candidate in _objects(_list(event.get("candidates"))):
            index, content = _index(candidate, 15), candidate.get("content")
            if index is None or not isinstance(content, dict):
                continue
            counts = True
            self.first.setdefault(index, content)
            parts = self.parts.setdefault(index, [])
            for part in _objects(_list(content.get("parts"))):
                self._part(parts, part)
        self.size += line if counts else 0

    @staticmethod
    def _part(parts: list[Json], part: dict[str, Json]) -> None:
        def joins(one: dict[str, Json]) -> bool:
            rest = {name: value for name, value in one.items() if name != "text"}
            thought = rest.get("thought") is True and len(rest) == 1
            return isinstance(one.get("text"), str) and (thought or not rest)

        if joins(part):
            if parts and joins(parts[-1]) and ("thought" in parts[-1]) == ("thought" in part):
                parts[-1] = {**parts[-1], "text": parts[-1]["text"] + part["text"]}
                return
            if not part["text"]:
                return
        parts.append(part)

    def messages(self) -> list[Json]:
        found = []
        for index, parts in sorted(self.parts.items()):
            if parts:
                found += [{**self.first[index], "parts": parts}, *_signatures(parts)]
        return found


_OF_BLOCKS = ("content_block_start", "content_block_delta")


class Stream:
    """All that the events of a stream have."""

    def __init__(self) -> None:
        self._items: list[Json] = []
        self._size = 0
        self._choices: dict[int, Choice] = {}
        self._blocks, self._contents = Blocks(), Contents()

    def add(self, event: dict[str, Json], line: int) -> None:
        if event.get("type") in _OF_BLOCKS:
            self._blocks.add(event, line)
        elif event.get("type") != "response.output_item.done":
            self._contents.add(event, line)
            for choice in _objects(_list(event.get("choices"))):
                index = _index(choice, 15)
                if index is not None:
                    self._choices.setdefault(index, Choice()).add(choice, line)
        elif isinstance(event.get("item"), dict):
            self._items.append(event["item"])
            self._size += line

    def size(self) -> int:
        choices = sum(choice.size() for choice in self._choices.values())
        return self._size + self._blocks.size + self._contents.size + choices

    def messages(self) -> list[Json]:
        messages = [choice.message() for _, choice in sorted(self._choices.items())]
        return self._items or messages or self._contents.messages() or self._blocks.messages()


def _of_stream(body: bytes) -> Iterator[Json]:
    lines = body.split(b"\n")
    if any(len(line) > LARGEST for line in lines):
        raise ValueError("too large")
    stream = Stream()
    for line in lines[:-1]:
        if not line.startswith(b"data:"):
            continue
        try:
            event = read_json(line[5:])
        except ValueError:
            continue
        if isinstance(event, dict):
            stream.add(event, len(line))
    if stream.size() > LARGEST:
        raise ValueError("too large")
    yield from stream.messages()


# ---- Rendering ----

_ESCAPED = re.compile(rb"\\u(?!00)[0-9a-fA-F]{4}")
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def render(messages: list[Json], request: bytes) -> bytes:
    """The messages as an application that sent `request` writes them."""
    colon = request.find(b'":')
    after = request[colon + 2 : colon + 3] if colon >= 0 else request[1:2]
    spaced = after == b" "
    ascii_too = request.isascii() and (spaced or bool(_ESCAPED.search(request[-262144:])))
    text = "".join(
        (", " if spaced else ",") + _dump(message, spaced, ascii_too) for message in messages
    )
    more = more_escapes(request[-65536:])
    return PIECES.sub(lambda piece: more.get(piece[0], piece[0]), text).encode()


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
