"""Whether a request's values are of the types that every server expects.

Only keys are looked at that mean the same at every endpoint, and only for what no server takes:
what a server makes of the rest is its own affair.

The one rule: null is as good as not given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from m2mproxy.guard.characters import malformed
from m2mproxy.guard.finding import Finding
from m2mproxy.guard.walk import KNOWN_ROLES

CHECKS: Mapping[str, str] = {
    "type": "a value of a type that it cannot have",
    "role": "a message with a role that there is not",
}
"""The ids of the findings made here, and why, for people."""

_TEXT: tuple[type, ...] = (str,)
_LIST: tuple[type, ...] = (list,)
_TEXTS: tuple[type, ...] = (str, list)
_ANY: tuple[type, ...] = (str, list, dict)
_NUMBER: tuple[type, ...] = (int, float)
_SWITCH: tuple[type, ...] = (bool,)
_OBJECT: tuple[type, ...] = (dict,)

_TYPES: Mapping[str, tuple[type, ...]] = {
    "model": _TEXT,
    "messages": _LIST,
    "prompt": _ANY,
    "input": _ANY,
    "instructions": _TEXTS,
    "system": _TEXTS,
    "suffix": _TEXT,
    "user": _TEXT,
    "tools": (list, dict),  # Gemini takes one for a list of one
    "functions": _LIST,
    "tool_choice": (str, dict),
    "response_format": (str, dict),
    "stop": _TEXTS,
    "stop_sequences": _LIST,
    "logit_bias": _OBJECT,
    "metadata": _OBJECT,
    "stream_options": _OBJECT,
    "stream": _SWITCH,
    "parallel_tool_calls": _SWITCH,
    "store": _SWITCH,
    "echo": _SWITCH,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "top_k": _NUMBER,
    "frequency_penalty": _NUMBER,
    "presence_penalty": _NUMBER,
    "max_tokens": _NUMBER,
    "max_completion_tokens": _NUMBER,
    "max_output_tokens": _NUMBER,
    "n": _NUMBER,
    "best_of": _NUMBER,
    "seed": _NUMBER,
    "top_logprobs": _NUMBER,
}
KEYS = frozenset(_TYPES)
_NONE = type(None)
_MESSAGES = frozenset((dict,))


def check_members(request: dict[str, Any]) -> Iterator[Finding]:
    """What is of a wrong type among the request's own members."""
    for key, value in request.items():
        allowed = _TYPES.get(key)
        kind = type(value)
        if allowed is not None and kind not in allowed and kind is not _NONE:
            yield malformed("type", f"{CHECKS['type']}: {key}", 0)
        elif key == "messages" and value and not _MESSAGES.issuperset(map(type, value)):
            yield malformed("type", f"{CHECKS['type']}: a message", 0)


def check_message(key: str, message: Any) -> Iterator[Finding]:
    """What is wrong with the build of one of the messages under `key`."""
    if key == "input":
        if type(message) is not dict or "role" not in message:
            return  # an item of another kind
    elif key != "messages":
        return
    if type(message) is not dict:
        return  # the list has one, and it is said of that
    if type(message.get("role")) is not str:
        yield malformed("type", f"{CHECKS['type']}: a message", 0)
        return
    if message["role"] not in KNOWN_ROLES:
        yield malformed("role", CHECKS["role"], 0)
    content = message.get("content")
    if type(content) is list:
        good = all(type(block) is dict or type(block) is str for block in content)
    else:
        good = content is None or type(content) is str
    calls = message.get("tool_calls")
    if not good or (calls is not None and type(calls) is not list):
        yield malformed("type", f"{CHECKS['type']}: in a message", 0)
