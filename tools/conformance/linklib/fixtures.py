"""Conversations for the link: bodies as applications write them, and the replies of a model server.

`conversation` depends on its random numbers only. With ../shared/data beside the checkout,
`recorded` has conversations of real applications.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from linklib.core import Answer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STREAM, JSON = "text/event-stream; charset=utf-8", "application/json"
_PLAIN = "the of a link message model turn weather Paris user"
_HARD = '"quoted" back\\slash 3.14 \x7f \x1f { } [] , : \N{SNOWMAN} na\u00efve \N{WAVING HAND SIGN}'
_WORDS = (*_PLAIN.split(), *_HARD.split(" "), "tab\there", "line\nbreak", "\u4f60\u597d")
_USAGES: tuple[dict[str, Any], ...] = (
    {"total_tokens": 12},
    {"cost": 1.5e-07, "rate": 0.00001234, "large": 1e21, "n": 18446744073709551615, "m": -0.0},
)


@dataclass
class Turn:
    """A request, and what the model server says."""

    request: bytes
    answer: Answer


def words(rng: Random, most: int) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(1, most)))


def spellings(rng: Random) -> Callable[[Any], bytes]:
    """How an application writes JSON."""
    spaced, escaped = rng.random() < 0.5, rng.random() < 0.5
    separators = (", ", ": ") if spaced else (",", ":")
    return lambda value: json.dumps(value, separators=separators, ensure_ascii=escaped).encode()


def conversation(rng: Random, turns: int, size: int = 60) -> Iterator[Turn]:
    """A chat, or one of the Responses API, that grows by a turn at a time."""
    dump, responses = spellings(rng), rng.random() < 0.25
    messages: list[Any] = [{"role": "system", "content": words(rng, size * 4)}]
    head: dict[str, Any] = {"model": "m", "stream": rng.random() < 0.5}
    if rng.random() < 0.3:
        head["user"] = f"user-{rng.randrange(3)}"
    tail = {"temperature": 0.7} if rng.random() < 0.5 else {}
    for _ in range(turns):
        messages.append({"role": "user", "content": words(rng, size)})
        body = dump({**head, "input" if responses else "messages": messages, **tail})
        said = items(rng, size) if responses else [message(rng, size)]
        if rng.random() < 0.6:
            answer = Answer(STREAM, (item_events if responses else chunks)(rng, said))
        else:
            answer = Answer(JSON, (whole_items if responses else whole)(rng, said))
        yield Turn(body, answer)
        messages += said
        if rng.random() < 0.1:
            messages[1:3] = []


def echoing(rng: Random, turns: int, size: int, *, stream: bool) -> Iterator[Turn]:
    """One of the Responses API, whose replies say instructions and tools of the request again.
    `size` is that of the instructions, and about that of the tools, in bytes."""
    dump, tools = spellings(rng), [_tool(rng)]
    while len(tools) * len(_json(tools[0])) < size:
        tools.append(_tool(rng))
    instructions = words(rng, 9)
    while len(instructions) < size:
        instructions += f" {rng.getrandbits(32):x} {words(rng, 9)}"
    said: list[Any] = []
    for _ in range(turns):
        said.append({"role": "user", "content": words(rng, 60)})
        head = {"model": "m", "stream": stream, "instructions": instructions}
        body = dump({**head, "input": said, "tools": tools})
        as_read = tools if rng.random() < 0.5 else tools[::-1]
        again = {"instructions": instructions, "tools": as_read}
        output = items(rng, 60)
        if stream:
            yield Turn(body, Answer(STREAM, item_events(rng, output, **again)))
        else:
            yield Turn(body, Answer(JSON, whole_items(rng, output, **again)))
        said += output


def _tool(rng: Random) -> dict[str, Any]:
    names = [f"{rng.choice(_PLAIN.split())}_{rng.getrandbits(20):x}" for _ in range(4)]
    properties = {name: {"type": "string", "description": words(rng, 12)} for name in names[1:]}
    schema = {"type": "object", "properties": properties, "required": names[1:]}
    return {"type": "function", "name": names[0], "parameters": schema, "strict": False}


def message(rng: Random, size: int) -> dict[str, Any]:
    out: dict[str, Any] = {"role": "assistant", "content": words(rng, size)}
    if rng.random() < 0.3:
        out["reasoning_content"] = words(rng, size)
    if rng.random() < 0.3:
        out["content"] = None
        out["tool_calls"] = [
            {
                "id": f"call_{rng.getrandbits(64):016x}",
                "type": "function",
                "function": {"name": "look_up", "arguments": json.dumps({"q": words(rng, 9)})},
            }
            for _ in range(rng.randint(1, 3))
        ]
    return out


def items(rng: Random, size: int) -> list[dict[str, Any]]:
    content = [{"type": "output_text", "text": words(rng, size), "annotations": []}]
    out: list[dict[str, Any]] = [
        {"id": f"msg_{rng.getrandbits(64):016x}", "type": "message", "content": content}
    ]
    if rng.random() < 0.5:
        out.append({"type": "function_call", "arguments": "{}", **rng.choice(_USAGES)})
    return out


# ---- Replies ----


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _event(value: Any, name: str = "") -> bytes:
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + _json(value) + b"\n\n"


def whole(rng: Random, said: list[Any]) -> list[bytes]:
    choice = {"index": 0, "message": {**said[0], "refusal": None}, "finish_reason": "stop"}
    return [_json({"id": "c", "choices": [choice], "usage": rng.choice(_USAGES)})]


def whole_items(rng: Random, said: list[Any], **settings: Any) -> list[bytes]:
    return [_json({"id": "r", **settings, "output": said, "usage": rng.choice(_USAGES)})]


def parts(rng: Random, text: str) -> Iterator[str]:
    while text:
        size = rng.randint(1, 9)
        yield text[:size]
        text = text[size:]


def chunks(rng: Random, said: list[Any]) -> list[bytes]:
    """A chat completion in chunks, with what servers add: comments, usage, [DONE]."""
    created, out = rng.randrange(10**9), []

    def add(delta: Any, **more: Any) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        out.append(_event({"id": "c", "created": created, "choices": [choice], **more}))

    for name, value in said[0].items():
        if name == "tool_calls":
            for index, call in enumerate(value):
                function = {**call["function"], "arguments": ""}
                add({"tool_calls": [{**call, "index": index, "function": function}]})
                for part in parts(rng, call["function"]["arguments"]):
                    add({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        elif value is not None:
            for part in [value] if name == "role" else parts(rng, value):
                add({name: part})
    if rng.random() < 0.5:
        signs = (b": keep-alive\n\n", b":\n\n", b"data: x\r\r:\n\n", b"data: x\r\n\r\n:\n\n")
        out.insert(rng.randrange(len(out)), rng.choice(signs))
    add({}, usage=rng.choice(_USAGES))
    return [*out, b"data: [DONE]\n\n"]


def item_events(rng: Random, said: list[Any], **settings: Any) -> list[bytes]:
    """A stream of the Responses API, whose events are counted, and three have the settings."""
    out: list[bytes] = []

    def add(kind: str, **more: Any) -> None:
        out.append(_event({"type": kind, "sequence_number": len(out), **more}, kind))

    add("response.created", response={"id": "r", **settings, "output": []})
    if settings:
        add("response.in_progress", response={"id": "r", **settings, "output": []})
    for index, item in enumerate(said):
        for content in item.get("content", ()):
            for part in parts(rng, content["text"]):
                add("response.output_text.delta", output_index=index, delta=part)
        add("response.output_item.done", output_index=index, item=item)
    add("response.completed", response={"id": "r", **settings, "output": said})
    return out


# ---- Recorded conversations ----

_CORPORA = Path(__file__).parents[4] / "shared" / "data" / "corpora"


def recorded() -> Iterator[list[Turn]]:
    """Those of ../shared/data/corpora; none without it."""
    for name, kind, key in (("C2", STREAM, "sse"), ("C3", JSON, "raw_replies")):
        path = _CORPORA / f"{name}.jsonl.zst"
        for line in zstd.decompress(path.read_bytes()).splitlines() if path.exists() else ():
            row = json.loads(line)
            replies = [
                [_raw(part) for part in (reply if isinstance(reply, list) else [reply])]
                for reply in row[key]
            ]
            yield [
                Turn(_raw(turn), Answer(_kind(kind, reply), reply))
                for turn, reply in zip(row["turns"], replies, strict=False)
            ]


def _kind(kind: str, reply: list[bytes]) -> str:
    return JSON if reply and reply[0].lstrip().startswith(b"{") else STREAM


def _raw(body: Any) -> bytes:
    return (body if isinstance(body, str) else json.dumps(body)).encode("utf-8", "surrogatepass")
