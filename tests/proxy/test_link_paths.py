"""Which requests go on a link, by their path, and those that ask about a conversation beside those
that are its turns."""

from __future__ import annotations

import base64
import json
import random

import pytest
from edge import ON, Edge
from test_link import KEY, conversation, crossed
from world import World

VERTEX = b"/v1/projects/p/locations/l/publishers/anthropic/models/"
TURNS = [
    b"/v1/chat/completions",
    b"/v1/completions",
    b"/v1/openai/deployments/d/chat/completions?api-version=2024-10-21",
    b"/v1/responses",
    b"/v1/messages?beta=true",
    b"/v1/models/gemini-2.5-pro:generateContent",
    b"/v1/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
    VERTEX + b"claude-sonnet-4@20250514:streamRawPredict",
    VERTEX + b"claude-sonnet-4@20250514:rawPredict",
    b"/v1/llama/invocations",
    b"/v1/chat",
    b"/v1/api/chat",
    b"/v1/api/generate",
    b"/v1/model/anthropic.claude-sonnet-4-20250514-v1%3A0/converse",
    b"/v1/model/us.amazon.nova-pro-v1:0/converse-stream",
    b"/v1/model/m/invoke",
    b"/v1/model/m/invoke-with-response-stream",
]
ASIDE = [
    (b"/v1/messages", b"/v1/messages/count_tokens?beta=true"),
    (b"/v1/responses", b"/v1/responses/input_tokens"),
    (b"/v1/responses", b"/v1/responses/compact"),
    (b"/v1/models/g:generateContent", b"/v1/models/g:countTokens"),
    (VERTEX + b"claude:rawPredict", VERTEX + b"count-tokens:rawPredict"),
    (b"/v1/chat/completions", b"/v1/tokenize"),
]
OTHERS = [
    b"/v1/embeddings",
    b"/v1/rerank",
    b"/v1/moderations",
    b"/v1/files",
    b"/v1/tokens",
    b"/v1/api/pull",
    b"/v1/api/embed",
]


def pair() -> Edge:
    return Edge(World(**ON), "2", **ON)


def sent(edge: Edge, path: bytes, body: bytes, reply: bytes = b"{}") -> tuple[str, int]:
    """How one crossed, which was answered."""
    ask, call = edge.exchange(body, reply, KEY, path=path)
    assert (call.body, ask.status, ask.body, ask.complete) == (body, 200, reply, True)
    return crossed(edge)


@pytest.mark.parametrize("path", TURNS)
def test_a_turn_of_a_conversation_goes_on_a_link(path: bytes) -> None:
    edge = pair()
    for number, (body, _) in enumerate(conversation(4)):
        coding, wire = sent(edge, path, body)
        if number >= 1:
            assert coding == "m2m-link"
        if number >= 2:
            assert wire < 500  # with the reply, which is not known here
    assert edge.upstream_links.report()["misses"] == 0


@pytest.mark.parametrize(("turn", "aside"), ASIDE)
def test_who_asks_about_a_conversation_refers_to_it_and_changes_nothing(
    turn: bytes, aside: bytes
) -> None:
    """What is asked about has not all that the turn has, as Claude Code does it."""
    sizes: list[list[int]] = []
    for asks in (False, True):
        edge = pair()
        turns = []
        for number, (body, message) in enumerate(conversation(5)):
            more = json.loads(body)
            made = json.dumps(more | {"system": "x y z " * 500, "tools": ["f"] * 9}).encode()
            if asks:
                coding, wire = sent(edge, aside, json.dumps(more | {"tools": ["f"] * 9}).encode())
                assert number < 2 or (coding == "m2m-link" and wire < 600)
            reply = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
            turns.append(sent(edge, turn, made, reply)[1])
        assert edge.upstream_links.report()["misses"] == 0
        sizes.append(turns)
    assert [abs(a - b) < 4 for a, b in zip(sizes[0][2:], sizes[1][2:], strict=True)] == [True] * 3


@pytest.mark.parametrize("alphabet", ["+/", "-_"])
def test_what_gemini_signs_crosses_once(alphabet: str) -> None:
    """It comes back as it was, or in the alphabet for URLs."""
    edge, rng = pair(), random.Random(1)
    history: list[dict[str, object]] = []
    path = b"/v1/models/gemini-3-pro:generateContent"
    for turn in range(5):
        history.append({"parts": [{"text": f"Go on with {turn}."}], "role": "user"})
        signed = base64.b64encode(rng.randbytes(3000), b"+/").decode()
        call = {"functionCall": {"name": "next", "args": {"n": turn}}, "thoughtSignature": signed}
        reply = {"candidates": [{"content": {"parts": [call], "role": "model"}, "index": 0}]}
        body = json.dumps({"contents": history, "model": "m" * 100}).encode()
        coding, wire = sent(edge, path, body, json.dumps(reply, indent=2).encode())
        if turn >= 2:
            assert coding == "m2m-link" and wire < 200
        call["thoughtSignature"] = signed.translate(str.maketrans("+/", alphabet))
        history.append({"parts": [call], "role": "model"})
    assert edge.upstream_links.report()["misses"] == 0


@pytest.mark.parametrize("path", OTHERS)
def test_other_requests_do_not_take_its_memory(path: bytes) -> None:
    edge = pair()
    for body, _ in conversation(3):
        coding, _ = sent(edge, path, body)
        assert coding != "m2m-link"
