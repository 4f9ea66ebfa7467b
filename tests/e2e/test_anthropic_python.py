"""The unmodified Anthropic SDK through edge and core, against a real llama.cpp, which speaks the
Messages API, too."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Program

anthropic = pytest.importorskip("anthropic", reason="tools/test installs it")

SYSTEM = " ".join(f"Rule {number}: be brief, and mind rule {number * 7}." for number in range(12))
QUESTIONS = ("What is a link?", "And a chain?", "Which is longer?", "Thank you. And a knot?")


def client(url: str) -> Any:
    base = url.removesuffix("/v1")
    return anthropic.Anthropic(base_url=base, api_key="k-test", max_retries=0, timeout=60)


def ask(of: Any, history: list[Any]) -> Any:
    """The answer as the SDK puts it together of a stream, to be sent back as it is."""
    text = {"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}
    with of.messages.stream(
        model="smollm2", max_tokens=24, system=[text], messages=history
    ) as stream:
        return stream.get_final_message()


def said(text: str) -> dict[str, Any]:
    """What the user said last, which is where the history is to be cached up to."""
    block = {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}
    return {"role": "user", "content": [block]}


def without_marks(message: dict[str, Any]) -> dict[str, Any]:
    block = {"type": "text", "text": message["content"][0]["text"]}
    return {"role": "user", "content": [block]}


def links(proxy: Program) -> dict[str, Any]:
    with urllib.request.urlopen(proxy.url.removesuffix("/v1") + "/stats", timeout=10) as answer:
        said = json.load(answer)["links"]
    [found] = [each for each in said.values() if isinstance(each, dict)]
    return dict(found)


def test_a_conversation_crosses_once_although_its_cache_marks_move(
    model: str, start_proxy: Callable[..., Program]
) -> None:
    core = start_proxy(model)
    edge = start_proxy(core.url, "--upstream-http", "2")
    through = client(edge.url)
    history: list[Any] = []
    for question in QUESTIONS:
        history = [*map(_settled, history), said(question)]
        answer = ask(through, history)
        assert answer.content[0].text
        assert answer.stop_reason in ("end_turn", "max_tokens")
        history.append({"role": "assistant", "content": answer.content})
    told = links(edge)
    # The first request is the connection's first, too, before which nothing is known of the core.
    assert (told["turns"], told["misses"]) == (len(QUESTIONS) - 1, 0)
    third = edge.line(r" ref=\d+r ")
    crossed = re.search(r" upstream_out=(\d+) ", third)
    assert crossed is not None and int(crossed[1]) < 100, third


def _settled(message: dict[str, Any]) -> dict[str, Any]:
    """A message as it is sent when others have come after it."""
    return without_marks(message) if message["role"] == "user" else message
