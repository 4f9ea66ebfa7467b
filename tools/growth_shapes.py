"""Inputs of several shapes, in any size, for tools/growth.

The one rule: a shape of four times the size is the same, four times as long; and it is the same
each time.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from functools import cache

Shape = Callable[[int], bytes]
"""About so many bytes."""


def repeated(piece: bytes) -> Shape:
    """One piece again and again, the last one cut."""
    return lambda size: (piece * (size // len(piece) + 1))[:size]


def nested(before: bytes, inside: bytes, after: bytes) -> Shape:
    """As many levels as there is room for."""

    def of(size: int) -> bytes:
        depth = size // (len(before) + len(after))
        return before * depth + inside + after * depth

    return of


@cache
def noise(size: int) -> bytes:
    return random.Random(7).randbytes(size)


@cache
def digits(size: int) -> bytes:
    return base64.b64encode(random.Random(8).randbytes(size * 3 // 4 + 3))[:size]


_WORDS = (
    "the", "model", "reads", "a", "file", "and", "writes", "what", "it", "found,", "then", "calls",
    "`read_file`", "with", "path;", "error:", "line", "42", "is", "not", "(see", "below)", "3.14",
)  # fmt: skip


@cache
def prose(size: int) -> str:
    """Words in any order, with line ends."""
    rng = random.Random(9)
    out: list[str] = []
    length = 0
    while length < size:
        word = rng.choice(_WORDS) + rng.choice("     \n")
        out.append(word)
        length += len(word)
    return "".join(out)[:size]


@cache
def chat(size: int) -> bytes:
    """A conversation with calls of tools, as most requests are."""
    messages: list[dict[str, object]] = [{"role": "system", "content": prose(size // 4)}]
    text = prose(size)
    for at in range(0, size // 2, 400):
        call = {"name": "read_file", "arguments": json.dumps({"path": f"src/{at}.py"})}
        calls = [{"id": f"call_{at:x}aZ9q", "type": "function", "function": call}]
        messages.append({"role": "user", "content": text[at : at + 100]})
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages.append({"role": "tool", "tool_call_id": f"call_{at:x}aZ9q", "content": text[:60]})
    return json.dumps({"model": "gpt-4o", "messages": messages, "user": "one"}).encode()


TEXTS: dict[str, Shape] = {
    "a": repeated(b"a"),
    "quotes": repeated(b'"'),
    "backslashes": repeated(b"\\"),
    "backslash quote": repeated(b'\\"'),
    "quote backslash": repeated(b'"\\'),
    "braces": repeated(b"{"),
    "empty objects": repeated(b"{},"),
    "brackets": repeated(b"["),
    "brace quote": repeated(b'{"'),
    "commas": repeated(b","),
    "digits": repeated(b"7"),
    "spaces": repeated(b" "),
    "space letter": repeated(b"a "),
    "dots": repeated(b"a.b_c-"),
    "line ends": repeated(b"\n"),
    "CRLF": repeated(b"\r\n"),
    "NUL": repeated(b"\0"),
    "percent": repeated(b"%41"),
    "escapes": repeated(b"\\u0041"),
    "dashes": repeated(b"- "),
    "leet": repeated(b"1gn0r3 "),
    "capitals": repeated(b"AbC"),
    "words": lambda size: prose(size).encode(),
    "base64": digits,
    "noise": noise,
    "CJK": repeated("漢字".encode()),
    "emoji": repeated("👩‍💻".encode()),
    "combining": repeated("e\u0301\u0302".encode()),
    "bidi": repeated("\u202aא".encode()),
    "invisible": repeated("a\u200b".encode()),
    "tags": repeated("\U0001f3f4\U000e0067".encode()),
    "Thai": repeated("ที่นี่".encode()),
    "chat": chat,
}
"""Of which any text can be."""


def in_request(shape: Shape) -> Shape:
    """The same as a text of a request."""

    def of(size: int) -> bytes:
        text = shape(size).decode("utf-8", "replace")
        messages = [{"role": "user", "content": text}]
        return json.dumps({"model": "m", "messages": messages}, ensure_ascii=False).encode()

    return of


def _many(before: bytes, item: bytes, after: bytes) -> Shape:
    def of(size: int) -> bytes:
        count = max(1, size // (len(item) + 1))
        return before + b",".join([item] * count) + after

    return of


JSON: dict[str, Shape] = {
    **{f"text of {name}": in_request(shape) for name, shape in TEXTS.items()},
    "nested lists": nested(b"[", b"", b"]"),
    "nested objects": nested(b'{"a":', b"1", b"}"),
    "nested text": nested(b'{"content":[', b"", b"]}"),
    "many messages": _many(b'{"messages":[', b'{"role":"user","content":""}', b"]}"),
    "empty messages": _many(b'{"messages":[', b"{}", b"]}"),
    "many parts": _many(
        b'{"messages":[{"role":"user","content":[', b'{"type":"text","text":"a"}', b"]}]}"
    ),
    "cache marks": _many(
        b'{"messages":[', b'{"content":"a", "cache_control": {"type": "ephemeral"}}', b"]}"
    ),
    "text lists": _many(b'{"messages":[', b'[{"type":"text","text":"a"}]', b"]}"),
    "open lists": repeated(b'[{"type":"text","text":"\\"'),
    "users": _many(b"{", b'"user":"a"', b"}"),
    "users without end": repeated(b'"user":1'),
    "users of spaces": repeated(b'"user"    '),
    "roles": repeated(b'"role":"user"'),
    "models": repeated(b'"model" '),
    "models of spaces": lambda size: b'"model"' + b" " * size,
    "model of a": lambda size: b'"model":"' + b"a" * size,
    "ids": _many(b"[", b'{"id":"aB3dE6gH9"}', b"]"),
    "call ids": _many(b"[", b'{"tool_call_id" :"aB3dE6gH9"}', b"]"),
    "signatures": _many(b"[", b'{"signature":"' + b"aB3d" * 40 + b'"}', b"]"),
    "redacted": repeated(b'{"type":"redacted_thinking" '),
    "paragraphs": lambda size: in_request(repeated(b"a\n\n"))(size),
    "images": repeated(b";base64,"),
    "numbers": _many(b'{"input":[', b"1", b"]}"),
    "keys": lambda size: b"{%b}" % b",".join([b'"k%d":0' % at for at in range(size // 9)]),
    "same keys": _many(b"{", b'"a":0', b"}"),
    "colons": repeated(b'":'),
    "tools": lambda size: json.dumps(
        {"tools": [_tool(at) for at in range(size // 180)], "messages": []}
    ).encode(),
    "chat": chat,
}
"""Bodies of requests, or what looks like them."""


def _tool(at: int) -> dict[str, object]:
    parameters = {"type": "object", "properties": {"path": {"type": "string", "title": "Path"}}}
    function = {"name": f"tool_{at}", "description": "Reads.", "parameters": parameters}
    return {"type": "function", "function": function}


def events(line: bytes) -> Shape:
    return repeated(b"data: " + line + b"\n\n")


def _delta(text: bytes) -> bytes:
    return b'{"choices":[{"index":0,"delta":{"content":"%b"}}]}' % text


@cache
def numbered(size: int) -> bytes:
    """Events that count, and of which each has another letter."""
    one = b'data: {"type":"response.output_text.delta","sequence_number":%d,"delta":"%c"}\n\n'
    return b"".join([one % (at, 97 + at % 26) for at in range(size // 80)])


@cache
def unlike(size: int) -> bytes:
    """Events of the same number of pieces that have none in common."""
    rng = random.Random(3)
    made = [b'"'.join([b"", *rng.choices((b"a", b"b", b"c"), k=126)]) for _ in range(size // 256)]
    return b"".join([each + b"\n\n" for each in made])


EVENTS: dict[str, Shape] = {
    **TEXTS,
    "blank lines": repeated(b"\n\n"),
    "empty events": repeated(b"data:\n\n"),
    "comments": repeated(b":\n\n"),
    "letters": events(_delta(b"a")),
    "numbered": numbered,
    "unlike": unlike,
    "quotes in events": repeated(b'"' * 120 + b"\n\n"),
    "few quotes": repeated(b'""\n\n'),
    "escaped quotes": repeated(b'\\"' * 60 + b"\n\n"),
    "one line": lambda size: b"data: " + b"a" * size + b"\n\n",
    "lines without end": repeated(b"data: {"),
    "large events": events(_delta(b"a" * 3000)),
    "many choices": lambda size: b"".join(
        b'data: {"choices":[{"index":%d,"delta":{"content":"a"}}]}\n\n' % (at % 64)
        for at in range(size // 60)
    ),
    "many names": lambda size: b"".join(
        b'data: {"choices":[{"delta":{"n%d":"a"}}]}\n\n' % at for at in range(size // 50)
    ),
    "many calls": lambda size: b"".join(
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":%d,"id":"call_aB3d%dE6",'
        b'"function":{"name":"f","arguments":"{"}}]}}]}\n\n' % (at, at)
        for at in range(size // 130)
    ),
    "reasoning": events(
        b'{"choices":[{"delta":{"reasoning_details":[{"type":"t","index":0,"text":"a"}]}}]}'
    ),
    "details": events(b'{"choices":[{"delta":{"reasoning_details":[{"type":"t"}]}}]}'),
    "Messages": lambda size: b'data: {"type":"content_block_start","index":0,"content_block":'
    b'{"type":"text","text":""}}\n\n'
    + events(b'{"type":"content_block_delta","index":0,"delta":{"text":"a"}}')(size),
    "blocks": events(b'{"type":"content_block_start","index":0,"content_block":{}}'),
    "Responses": events(b'{"type":"response.output_item.done","item":{"id":"aB3dE6gH9"}}'),
    "Gemini": events(b'{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}'),
    "Gemini's calls": events(
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"id":"aB3dE6"}}]}}]}'
    ),
    "usages": events(b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}'),
}
"""Event streams, or what looks like them."""

REPLIES: dict[str, Shape] = {
    **JSON,
    "usage keys": repeated(b'"usage"'),
    "usage open": repeated(b'"usage":{'),
    "usage string": repeated(b'"usage":{"'),
    "usage empty": repeated(b'"usage":{},'),
    "usage flat": repeated(b'"usage":{"a_tokens":1},'),
    "usage deeper": repeated(b'{"usage":{"a_tokens":1}'),
    "usage nested": repeated(b'"usage":{"a_tokens":{"b":{"c":1}}},'),
    "usage escaped": repeated(b'"usage":{"a_tokens":"\\"\\"'),
    "usage of spaces": repeated(b'"usage"' + b" " * 60),
    "timings": repeated(b'"timings":{"predicted_n":1},'),
    "messages": _many(b'{"choices":[', b'{"message":{"content":"a"}}', b"]}"),
    "calls": _many(
        b'{"choices":[{"message":{"tool_calls":[',
        b'{"id":"call_aB3dE6gH9","function":{"name":"a","arguments":""}}',
        b"]}}]}",
    ),
    "long ids": _many(
        b'{"choices":[{"message":{"tool_calls":[',
        b'{"id":"' + b"aaaaaaa1-" * 28 + b'","function":{"name":"' + b"a" * 400 + b'"}}',
        b"]}}]}",
    ),
    "output": _many(b'{"output":[', b'{"type":"x","id":"aB3dE6gH9"}', b"]}"),
    "dense output": _many(b'{"output":[', b"{}", b"]}"),
    "content": _many(b'{"content":[', b'{"type":"text","text":"a"}', b"]}"),
    "candidates": _many(
        b'{"candidates":[{"content":{"parts":[', b'{"thoughtSignature":"a+b/c"}', b"]}}]}"
    ),
}
"""Bodies of responses."""
