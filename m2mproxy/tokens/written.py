"""What a model wrote: the texts in its reply that cost output tokens.

Chat completions, completions, responses and messages, as a JSON body or as an event stream, and
what Ollama's own API says, as a body or in lines of JSON; streams may be cut short anywhere. Names
and arguments of tool calls are text that the model wrote, too.

The one rule: what is not understood counts as no text, and nothing in a reply is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

_DATA: Final = b"data:"
# Texts of a chat's message or delta; Ollama has "thinking". Some servers call the reasoning by one
# name, some by both.
_SPOKEN = ("content", "refusal", "thinking")
_REASONING = ("reasoning_content", "reasoning")
# Texts of a content block of messages, or of its delta, and of a part of a response's output.
_BLOCK = ("text", "thinking", "partial_json", "refusal", "name")
# Deltas of the Responses API that are no text.
_NO_TEXT = (".audio.delta", "_image.delta")
# Of a response that the server works on after it has replied.
_UNFINISHED = ("queued", "in_progress")


def written(reply: bytes, events: bool) -> str | None:
    """All texts of a reply's plain bytes, one after the other; None where the model is yet to write
    them, for whoever asks again later.

    Args:
        reply: as much of it as came.
        events: whether it is an event stream, rather than a JSON body, or several in lines.
    """
    if not events:
        body = _parsed(reply)
        if body.get("status") in _UNFINISHED:
            return None
        bodies = [body] if body else map(_parsed, reply.splitlines())
        return "".join(text for each in bodies for text in _of_body(each))
    lines = (line[len(_DATA) :] for line in reply.splitlines() if line.startswith(_DATA))
    return "".join(text for line in lines for text in _of_event(_parsed(line)))


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _of_body(body: dict[str, Any]) -> Iterator[str]:
    for choice in _dicts(body.get("choices")):
        yield from _of_choice(choice, choice.get("message"))
    for item in _dicts(body.get("output")):  # the Responses API
        yield from _texts(item, ("name", "arguments", "input"))
        for part in (*_dicts(item.get("content")), *_dicts(item.get("summary"))):
            yield from _texts(part, _BLOCK)
    for block in _dicts(body.get("content")):  # Anthropic's
        yield from _texts(block, _BLOCK)
        yield from _compact(block.get("input"))
    yield from _texts(body, ("thinking", "response"))  # Ollama's
    yield from _of_choice({}, body.get("message"))


def _of_event(event: dict[str, Any]) -> Iterator[str]:
    kind, delta = event.get("type"), event.get("delta")
    for choice in _dicts(event.get("choices")):
        yield from _of_choice(choice, choice.get("delta"))
    if not isinstance(kind, str):
        return
    if kind == "content_block_start":
        yield from _texts(event.get("content_block"), _BLOCK)
    elif kind == "content_block_delta":
        yield from _texts(delta, _BLOCK)
    elif kind == "response.output_item.added":
        yield from _texts(event.get("item"), ("name",))
    elif kind.startswith("response.") and isinstance(delta, str) and not kind.endswith(_NO_TEXT):
        yield delta


def _of_choice(choice: dict[str, Any], said: Any) -> Iterator[str]:
    """A choice, and its message or delta; a completion has its text in the choice itself."""
    yield from _texts(choice, ("text",))
    if not isinstance(said, dict):
        return
    yield from _texts(said, _SPOKEN)
    yield from _texts(said, _REASONING[:1] if said.get(_REASONING[0]) else _REASONING[1:])
    calls = [call.get("function") for call in _dicts(said.get("tool_calls"))]
    for call in (*calls, said.get("function_call")):
        yield from _texts(call, ("name", "arguments"))
        yield from _compact(call.get("arguments") if isinstance(call, dict) else None)


def _compact(of: Any) -> Iterator[str]:
    """An object that the model wrote."""
    if isinstance(of, dict):
        yield orjson.dumps(of).decode()


def _texts(of: Any, names: tuple[str, ...]) -> Iterator[str]:
    if isinstance(of, dict):
        for name in names:
            if isinstance(text := of.get(name), str):
                yield text


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
