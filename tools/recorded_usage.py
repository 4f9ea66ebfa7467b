"""Recorded requests and what their providers said that they cost, out of ../shared/data/corpora.

The one rule: a pair is a request and its own reply: the turns of a session, or the only ones of a
cassette, in their order.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import corpora

# Counted otherwise than today's: of 2023, and gone since.
_GONE = ("gpt-3.5-turbo-0301",)


class Recorded(NamedTuple):
    """A request."""

    source: str
    model: str
    """That answered, which is often more exactly named than the one asked for."""
    body: dict[str, Any]
    tokens: int
    """Of the prompt."""
    answer: str
    """The text, where that is all there was."""
    answer_tokens: int


def recorded() -> list[Recorded]:
    """None twice."""
    found: dict[tuple[str, int], Recorded] = {}
    for source, request, reply in (*_sessions(), *_singles()):
        one = _read(source, request, reply)
        if one is not None and one.model not in _GONE:
            found.setdefault((json.dumps(one.body, sort_keys=True), one.tokens), one)
    return list(found.values())


def _sessions() -> Iterator[tuple[str, bytes, bytes]]:
    for row in corpora.rows("C3"):
        for turn, reply in zip(row["turns"], row["raw_replies"], strict=False):
            yield row["source"], corpora.raw(turn), corpora.raw(reply)


def _singles() -> Iterator[tuple[str, bytes, bytes]]:
    requests, replies = defaultdict(list), defaultdict(list)
    for row in corpora.rows("C1"):
        requests[row["source"]].append(row["body"].encode())
    for row in corpora.rows("C5"):
        replies[row["source"]].append(row["body"].encode())
    for source, bodies in requests.items():
        if len(bodies) == len(replies[source]):
            yield from ((source, *pair) for pair in zip(bodies, replies[source], strict=True))


def _read(source: str, request: bytes, reply: bytes) -> Recorded | None:
    try:
        body, answer = json.loads(request), json.loads(reply)
        usage = answer["usage"]
        prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
        completion = usage.get("completion_tokens", usage.get("output_tokens"))
        model = answer.get("model") or body["model"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    if not isinstance(prompt, int) or not isinstance(model, str) or not isinstance(body, dict):
        return None
    return Recorded(source, model, body, prompt, _text(answer), completion or 0)


def _text(answer: dict[str, Any]) -> str:
    try:
        (choice,) = answer["choices"]
        message = choice["message"]
        text = message["content"]
    except (LookupError, ValueError, TypeError):
        return ""
    return text if isinstance(text, str) and not message.get("tool_calls") else ""
