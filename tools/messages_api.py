"""The Messages API: requests as an agent writes them, replies as a stream of events.

The application marks the last two messages of the user, and its prompt, as what is to be cached:
the marks move with every turn. (https://docs.anthropic.com/en/api/messages)
"""

import json
import re
from collections.abc import Iterator, Sequence

from openai_replies import compact
from stdlib_texts import Json, Scribe

MODEL = "claude-sonnet-4-20250514"
_CACHED: Json = {"cache_control": {"type": "ephemeral"}}
_MARKED = 2
_TOKEN = re.compile(r" ?\w{1,7}|\s+|.", re.DOTALL)


def request(messages: Sequence[Json], tools: Sequence[Json]) -> bytes:
    """The body for a conversation in OpenAI's messages, which begins with the prompt."""
    prompt, *others = messages
    turns: list[Json] = [{"role": _role(each), "content": _blocks(each)} for each in others]
    for turn in [each for each in turns if each["role"] == "user"][-_MARKED:]:
        turn["content"][-1].update(_CACHED)
    body: Json = {"model": MODEL, "messages": turns, "max_tokens": 32000, "stream": True}
    body["system"] = [{"type": "text", "text": prompt["content"], **_CACHED}]
    body["tools"] = [_tool(each["function"]) for each in tools]
    return compact(body)


def _role(message: Json) -> str:
    return "assistant" if message["role"] == "assistant" else "user"


def _tool(function: Json) -> Json:
    names = {"name": "name", "description": "description", "parameters": "input_schema"}
    return {names[name]: value for name, value in function.items() if name in names}


def _blocks(message: Json) -> list[Json]:
    if message["role"] == "tool":
        result = {"tool_use_id": _id(message["tool_call_id"]), "type": "tool_result"}
        return [result | {"content": message["content"]}]
    said = [{"type": "text", "text": message["content"]}] if message["content"] else []
    return said + [_call(each) for each in message.get("tool_calls", ())]


def _call(call: Json) -> Json:
    function = call["function"]
    block = {"type": "tool_use", "id": _id(call["id"]), "name": function["name"]}
    return block | {"input": json.loads(function["arguments"])}


def _id(name: str) -> str:
    return "toolu_" + name.removeprefix("call_")


def stream(message: Json, scribe: Scribe) -> Iterator[bytes]:
    """A piece of about a token an event; the arguments of tools in pieces, too."""
    usage = {"input_tokens": scribe.random.randrange(10**4), "output_tokens": 1}
    start: Json = {"id": scribe.name("msg_"), "type": "message", "role": "assistant"}
    start |= {"model": MODEL, "content": [], "stop_reason": None, "usage": usage}
    yield _event({"type": "message_start", "message": start})
    for index, block in enumerate(_blocks(message)):
        yield from _events(index, block)
    reason = "tool_use" if "tool_calls" in message else "end_turn"
    delta = {"stop_reason": reason, "stop_sequence": None}
    usage = {"output_tokens": scribe.random.randrange(10**3)}
    yield _event({"type": "message_delta", "delta": delta, "usage": usage})
    yield _event({"type": "message_stop"})


def _events(index: int, block: Json) -> Iterator[bytes]:
    if block["type"] == "text":
        begun, kind, name, text = block | {"text": ""}, "text_delta", "text", block["text"]
    else:
        begun, kind, name = block | {"input": {}}, "input_json_delta", "partial_json"
        text = json.dumps(block["input"])
    yield _event({"type": "content_block_start", "index": index, "content_block": begun})
    for piece in _TOKEN.findall(text):
        delta = {"type": kind, name: piece}
        yield _event({"type": "content_block_delta", "index": index, "delta": delta})
    yield _event({"type": "content_block_stop", "index": index})


def _event(value: Json) -> bytes:
    return f"event: {value['type']}\ndata: ".encode() + compact(value) + b"\n\n"
