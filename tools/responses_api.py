"""The Responses API: requests as an agent writes them that keeps its conversation itself, replies
as a stream of events.

Each reply says all of the response's settings in three events, the instructions and the tools of
the request among them, as the server writes these. (https://platform.openai.com/docs/api-reference)
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from string import ascii_letters, digits

from openai_replies import compact
from stdlib_texts import Json, Scribe

MODEL = "gpt-5-codex"
_TOKEN = re.compile(r" ?[A-Za-z]{1,7}|\d{1,3}|\s+|.", re.DOTALL)
_OBFUSCATED = 16  # a delta and its obfuscation together, in characters


def request(messages: Sequence[Json], tools: Sequence[Json]) -> bytes:
    """The body for a conversation in OpenAI's messages, which begins with the prompt."""
    prompt, *others = messages
    body: Json = {"model": MODEL, "instructions": prompt["content"]}
    body["input"] = [item for each in others for item in _items(each)]
    body["tools"] = [_tool(each["function"]) for each in tools]
    body |= {"tool_choice": "auto", "parallel_tool_calls": False}
    body |= {"reasoning": {"effort": "medium", "summary": "auto"}, "store": False, "stream": True}
    return compact(body | {"include": ["reasoning.encrypted_content"], "prompt_cache_key": "a1b2"})


def _tool(function: Json) -> Json:
    names = ("name", "description")
    tool = {"type": "function"} | {name: function[name] for name in names if name in function}
    return tool | {"strict": False, "parameters": function["parameters"]}


def _items(message: Json) -> list[Json]:
    if message["role"] == "tool":
        what = {"type": "function_call_output", "call_id": message["tool_call_id"]}
        return [what | {"output": message["content"]}]
    if message["role"] == "user":
        content = [{"type": "input_text", "text": message["content"]}]
        return [{"type": "message", "role": "user", "content": content}]
    return _output(message)


def _output(message: Json) -> list[Json]:
    """The items of a reply."""
    text = message["content"]
    items = [_message(text)] if text else []
    return items + [_call(each) for each in message.get("tool_calls", ())]


def _id(kind: str, of: str) -> str:
    return f"{kind}_0{hashlib.sha256(of.encode()).hexdigest()[:49]}"


def _message(text: str) -> Json:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    item = {"id": _id("msg", text), "type": "message", "status": "completed", "content": [part]}
    return item | {"role": "assistant"}


def _call(call: Json) -> Json:
    function = call["function"]
    item = {"id": _id("fc", call["id"]), "type": "function_call", "status": "completed"}
    item |= {"arguments": function["arguments"], "call_id": call["id"]}
    return item | {"name": function["name"]}


def stream(message: Json, asked: bytes, scribe: Scribe) -> Iterator[bytes]:
    """The reply to the request `asked`; a piece of about a token an event."""
    response = _response(json.loads(asked), scribe)
    events = [_event("response.created", response=response)]
    events.append(_event("response.in_progress", response=response))
    items = _output(message)
    for index, item in enumerate(items):
        events += _of_item(index, item, scribe)
    usage = {"input_tokens": scribe.random.randrange(10**4)}
    usage |= {"output_tokens": scribe.random.randrange(10**3)}
    response = response | {"status": "completed", "output": items, "usage": usage}
    events.append(_event("response.completed", response=response))
    for number, event in enumerate(events):
        event["sequence_number"] = number
        yield f"event: {event['type']}\ndata: ".encode() + compact(event) + b"\n\n"


def _event(kind: str, **fields: object) -> Json:
    return {"type": kind, **fields}


def _response(asked: Json, scribe: Scribe) -> Json:
    """The settings, of which the server has more than it was told."""
    response: Json = {"id": _id("resp", scribe.name("")), "object": "response"}
    response |= {"created_at": 1_764_000_000 + scribe.random.randrange(10**6)}
    response |= {"status": "in_progress", "background": False, "error": None}
    response |= {"incomplete_details": None, "instructions": asked["instructions"]}
    response |= {"max_output_tokens": None, "max_tool_calls": None, "model": MODEL, "output": []}
    response |= {"parallel_tool_calls": False, "previous_response_id": None}
    response |= {"prompt_cache_key": asked["prompt_cache_key"], "reasoning": asked["reasoning"]}
    response |= {"service_tier": "auto", "store": False, "temperature": 1.0}
    response |= {"text": {"format": {"type": "text"}, "verbosity": "medium"}}
    response |= {"tool_choice": "auto", "tools": [_as_read(each) for each in asked["tools"]]}
    response |= {"top_logprobs": 0, "top_p": 1.0, "truncation": "disabled", "usage": None}
    return response | {"user": None, "metadata": {}}


def _as_read(tool: Json) -> Json:
    """A tool in the order in which the server has its fields, and its schema sorted."""
    read = {name: tool[name] for name in ("type", "description", "name") if name in tool}
    return read | {"parameters": _sorted(tool["parameters"]), "strict": tool["strict"]}


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(each) for each in value] if isinstance(value, list) else value


def _of_item(index: int, item: Json, scribe: Scribe) -> Iterator[Json]:
    where: Json = {"item_id": item["id"], "output_index": index}
    begun = item | {"status": "in_progress"}
    if item["type"] == "message":
        (part,) = item["content"]
        yield _event("response.output_item.added", item=begun | {"content": []}, output_index=index)
        where = {"content_index": 0, **where}
        yield _event("response.content_part.added", **where, part=part | {"text": ""})
        yield from _deltas("response.output_text.delta", part["text"], where, scribe)
        yield _event("response.output_text.done", **where, logprobs=[], text=part["text"])
        yield _event("response.content_part.done", **where, part=part)
    else:
        begun["arguments"] = ""
        yield _event("response.output_item.added", item=begun, output_index=index)
        kind, arguments = "response.function_call_arguments", item["arguments"]
        yield from _deltas(f"{kind}.delta", arguments, where, scribe)
        yield _event(f"{kind}.done", arguments=arguments, **where)
    yield _event("response.output_item.done", item=item, output_index=index)


def _deltas(kind: str, text: str, where: Json, scribe: Scribe) -> Iterator[Json]:
    for piece in _TOKEN.findall(text):
        letters = scribe.random.choices(ascii_letters + digits, k=max(0, _OBFUSCATED - len(piece)))
        yield _event(kind, **where, delta=piece, obfuscation="".join(letters))
