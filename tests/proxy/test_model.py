"""The model of a request, where its target names it and its body does not."""

from __future__ import annotations

import tracemalloc

import orjson
import pytest
from world import World

from m2mproxy.proxy.model import ModelFinder, model_in, model_of

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


FORM = b"multipart/form-data; boundary=--b3c1"
FILE = (
    b'----b3c1\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nRIFF\x00--b3c1\xff\r\n\r\n\r\n"
)
FIELD = b'----b3c1\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
TYPED = FIELD.replace(b"\r\n\r\n", b"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
END = b"----b3c1--\r\n"


@pytest.mark.parametrize("body", [FIELD + FILE, FILE + FIELD, FILE + TYPED])
def test_the_model_of_a_form(body: bytes) -> None:
    assert model_of(body + END, FORM) == "whisper-1"
    assert model_of(body + END, FORM.replace(b"=--b3c1", b'="--b3c1"; charset=x')) == "whisper-1"
    for step in (1, 7, 100, 10_000):
        finder = ModelFinder()
        for at in range(0, len(body + END), step):
            finder.feed((body + END)[at : at + step])
        assert finder.model == "whisper-1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        FILE + END,
        FIELD,  # which has no end
        FILE.replace(b"RIFF", FIELD[10:]) + END,  # within a file
        FIELD.replace(b'"model"', b'"model2"') + END,
        FIELD.replace(b'"model"', b'"x"; filename=" name=model"') + END,
        FIELD.replace(b"whisper-1", b"whis\r\nper") + END,
        FIELD.replace(b"whisper-1", b"") + END,
        FIELD.replace(b"whisper-1", b"w" * 201) + END,
        FILE * 64 + FIELD + END,
        b"----b3c1" + b"x" * 2000 + FIELD[8:] + END,
    ],
)
def test_a_form_that_names_no_model(body: bytes) -> None:
    assert model_of(body, FORM) is None


def test_the_longest_name_of_a_form_in_the_longest_characters() -> None:
    name = "\U0001f600" * 200
    assert model_of(FIELD.replace(b"whisper-1", name.encode()) + END, FORM) == name


def test_a_name_of_a_form_that_is_too_long_is_not_decoded() -> None:
    """With 60 MB of what is no UTF-8 that took two seconds, in which nothing else went on."""
    body = FIELD.replace(b"whisper-1", b"\xff" * 1_000_000) + END
    tracemalloc.start()
    try:
        assert model_of(body, FORM) is None
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [b"multipart/form-data", b"multipart/form-data; boundary="])
def test_a_form_without_a_boundary_names_no_model(kind: bytes) -> None:
    assert model_of(FIELD + END, kind) is None


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
