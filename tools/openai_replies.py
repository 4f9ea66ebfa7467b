"""Replies as OpenAI writes them: a JSON body, or a stream of events.

The one rule: an event carries a piece of about a token, and the calls of tools come in pieces, too.
"""

import json
import re
from collections.abc import Iterator

from stdlib_texts import Json, Scribe

MODEL = "gpt-4o-2024-08-06"
_TOKEN = re.compile(r" ?[A-Za-z]{1,7}|\d{1,3}|\s+|.", re.DOTALL)


def compact(value: object) -> bytes:
    """JSON as OpenAI's streams, openai-python and httpx write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def completion(message: Json, scribe: Scribe) -> bytes:
    full = {"role": "assistant", "content": message["content"]}
    full |= {"tool_calls": message["tool_calls"]} if "tool_calls" in message else {}
    full |= {"refusal": None, "annotations": []}
    reason = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"index": 0, "message": full, "logprobs": None, "finish_reason": reason}
    body = _envelope("chat.completion", scribe) | {"choices": [choice], "usage": _usage(scribe)}
    body |= {"service_tier": "default", "system_fingerprint": "fp_f43a24331f"}
    return (json.dumps(body, indent=2, ensure_ascii=False) + "\n").encode()


def _envelope(kind: str, scribe: Scribe) -> Json:
    created = 1_764_000_000 + scribe.random.randrange(10**6)
    return {"id": scribe.name("chatcmpl-"), "object": kind, "created": created, "model": MODEL}


def _usage(scribe: Scribe) -> Json:
    prompt, completion = scribe.random.randrange(10**4), scribe.random.randrange(10**3)
    usage: Json = {"prompt_tokens": prompt, "completion_tokens": completion}
    usage |= {"total_tokens": prompt + completion}
    return usage | {"prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0}}


def stream(message: Json, scribe: Scribe) -> Iterator[bytes]:
    """A piece of about a token an event; the calls of tools in pieces, too."""
    start = _envelope("chat.completion.chunk", scribe)
    start |= {"service_tier": "default", "system_fingerprint": "fp_f43a24331f"}
    for delta in _deltas(message):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        yield _event(start | {"choices": [choice]})
    reason = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}
    yield _event(start | {"choices": [choice]})
    yield _event(start | {"choices": [], "usage": _usage(scribe)})
    yield b"data: [DONE]\n\n"


def _deltas(message: Json) -> Iterator[Json]:
    yield {"role": "assistant", "content": "", "refusal": None}
    for piece in _TOKEN.findall(message["content"] or ""):
        yield {"content": piece}
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        first = {"name": function["name"], "arguments": ""}
        yield {"tool_calls": [{"index": index, **call, "function": first}]}
        for piece in _TOKEN.findall(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _event(value: Json) -> bytes:
    return b"data: " + compact(value) + b"\n\n"
