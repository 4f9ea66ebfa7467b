"""The model of a request, where its target names it and its body does not."""

from __future__ import annotations

import orjson
import pytest
from world import World

from m2mproxy.proxy.model import model_in

JSON = (b"content-type", b"application/json")
FRAMES = (b"content-type", b"application/vnd.amazon.eventstream")


@pytest.mark.parametrize(
    ("target", "model"),
    [
        (b"/openai/deployments/my-gpt/chat/completions?api-version=1", "my-gpt"),
        (b"/v1/models/gemini-x:streamGenerateContent?alt=sse", "gemini-x"),
        (b"/v1/projects/p/locations/l/publishers/google/models/gemini-x:predict", "gemini-x"),
        (b"/v1/model/anthropic.claude-x-v1%3A0/converse", "anthropic.claude-x-v1:0"),
        (b"/v1/model/anthropic.claude-x-v1:0/converse", "anthropic.claude-x-v1:0"),
        (b"/v1/model/arn%3Aaws%3Abedrock%3Aprofile%2Fx/invoke", "arn:aws:bedrock:profile/x"),
        (b"/v1/model/%ff/invoke", ""),
        (b"/v1/model/a%0ab/invoke", ""),
        (b"/v1/model/a%22b/invoke", ""),
        (b"/v1/model/a%5Cb/invoke", ""),
        (b"/v1/model/a%C2%85b/invoke", ""),
        (b"/v1/model/" + b"a" * 201 + b"/invoke", ""),
        (b"/v1/models", ""),
        (b"/v1/models/", ""),
        (b"/v1/chat/completions?x=/models/y", ""),
        (b"/v1/chat/completions", ""),
    ],
)
def test_the_model_that_a_target_names(target: bytes, model: str) -> None:
    assert model_in(target) == model


def ended(body: bytes, target: bytes, reply: bytes, kind: tuple[bytes, bytes] = JSON) -> World:
    world = World()
    world.ask(body, target)
    world.call().reply(reply, kind)
    world.run()
    return world


CONVERSED = b'{"usage":{"inputTokens":5,"outputTokens":6,"totalTokens":11}}'


def test_tokens_are_booked_for_the_model_of_the_target() -> None:
    (x,) = ended(b'{"messages":[]}', b"/v1/model/claude-x/converse", CONVERSED).ended
    assert x.tally is not None and x.tally.input is not None
    assert (x.model, x.tally.model, x.tally.input.number) == ("claude-x", "claude-x", 5)


def test_the_model_of_the_body_comes_first() -> None:
    body = orjson.dumps({"model": "m"})
    (x,) = ended(body, b"/v1/models/other:generateContent", CONVERSED).ended
    assert x.model == "m"


def test_the_usage_in_frames_of_bedrock() -> None:
    head = b"\x00\x00\x00\xf7\x00\x00\x00N\x0eR?\xb3\x0b:event-type\x07\x00\x08"
    reply = head + b'delta{"delta":{"text":"a \\"usage\\": {"},"p":"ab"}\x00"\xcf' + head
    reply += b'metadata{"metrics":{"latencyMs":9},"p":"abc",' + CONVERSED[1:] + b"w-Ff"
    (x,) = ended(b"{}", b"/v1/model/claude-x/converse-stream", reply, FRAMES).ended
    assert x.tally is not None and x.tally.output is not None
    assert (x.tally.output.number, x.tally.is_reported) == (6, (True, True))
