"""Each provider's own bytes, replayed through the proxy: right path, right key, nothing changed."""

from __future__ import annotations

import json

import pytest
from link import Split
from provider_cases import CASES, KEY, Case
from wire import read_request, read_response
from world import World, post, reply

HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding"}


def world_for(case: Case, split: Split) -> World:
    provider = case.profile if case.named else "auto"
    return World(split, upstream=case.upstream, provider=provider, api_key=KEY.decode())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fixture)
def test_a_providers_reply_arrives_as_it_was_sent(case: Case, split: Split) -> None:
    world = world_for(case, split)
    body = json.dumps({"messages": [], "model": case.model or "m", "stream": True}).encode()
    client = world.client()
    client.send(post(body, case.target))
    upstream = world.upstream()
    request, sent = read_request(upstream.take())
    assert request.target == case.expected
    assert case.auth in list(request.headers)
    assert sent == body
    upstream.send(case.response())
    world.run()
    original, expected = read_response(case.response())
    answer, got = read_response(client.take())
    assert answer.status_code == original.status_code
    assert got == expected
    kept = [field for field in original.headers if field[0] not in HOP_BY_HOP]
    assert [field for field in answer.headers if field[0] not in HOP_BY_HOP] == kept
    assert world.at_rest


@pytest.mark.parametrize("name", [b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key"])
@pytest.mark.parametrize(
    "upstream", ["https://api.openai.com", "https://x.openai.azure.com", "http://127.0.0.1:8000"]
)
def test_our_key_never_joins_a_clients_own(name: bytes, upstream: str) -> None:
    world = World(upstream=upstream, api_key="sk-operator")
    client = world.client()
    client.send(post(b"{}", b"/v1/x", name + b": own"))
    assert b"sk-operator" not in world.upstream().take()


AZURE = "https://x.openai.azure.com/?api-version=2024-10-21"


def test_azure_classic_finds_the_deployment_in_the_body(split: Split) -> None:
    world = World(split, upstream=AZURE)
    client = world.client()
    body = b'{"messages":[{"content":"\\"model\\": \\"other\\""}], "model" : "my gpt"}'
    client.send(post(body))
    request, sent = read_request(world.upstream().take())
    assert request.target.startswith(b"/openai/deployments/my%20gpt/chat/completions?")
    assert sent == body


@pytest.mark.parametrize("body", [b"{}", b"[1]", b'{"model":3}', b"not json", b'{"model":"../x"}'])
def test_azure_classic_without_a_usable_model_is_the_clients_fault(body: bytes) -> None:
    world = World(upstream=AZURE)
    client = world.client()
    client.send(post(body))
    world.run()
    answer = client.take()
    if b"../" in body:
        target = read_request(world.upstream().take())[0].target
        assert target.startswith(b"/openai/deployments/..%2Fx/")
    else:
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"code":"model_required"' in answer
        assert not world.upstreams


def test_azure_classic_reads_the_model_of_a_form() -> None:
    world = World(upstream=AZURE)
    client = world.client()
    body = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nmy whisper\r\n--b--\r\n'
    request = post(body, b"/v1/audio/transcriptions")
    client.send(request.replace(b"application/json", b"multipart/form-data; boundary=b"))
    seen, sent = read_request(world.upstream().take())
    path = b"/openai/deployments/my%20whisper/audio/transcriptions"
    assert seen.target.startswith(path) and sent == body


@pytest.mark.parametrize("many, is_read", [(400_000, True), (500_000, False)])
def test_azure_classic_reads_no_body_that_would_become_a_gigabyte(many: int, is_read: bool) -> None:
    world = World(upstream=AZURE)
    client = world.client()
    client.send(post(b'{"input":[%b0],"model":"m"}' % (b"0," * many)))
    world.run()
    assert bool(world.upstreams) == is_read
    assert (b'"code":"model_required"' in client.take()) == (not is_read)


def test_azure_classic_reads_a_body_that_waits_for_continue() -> None:
    world = World(upstream=AZURE)
    client = world.client()
    request = post(b'{"model":"m"}', b"/v1/chat/completions", b"expect: 100-continue")
    head, _, body = request.partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    world.run()
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(body)
    upstream = world.upstream()
    seen, sent = read_request(upstream.take())
    assert sent == b'{"model":"m"}'
    assert b"expect" not in dict(seen.headers)
    upstream.send(reply(b"ok"))
    world.run()
    assert client.take() == reply(b"ok")


def test_azure_classic_bounds_what_it_gathers() -> None:
    world = World(upstream=AZURE, max_body=1000)
    client = world.client()
    client.half_open = True
    client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n")
    client.send(b"transfer-encoding: chunked\r\n\r\n")
    client.send(b"5dc\r\n" + b"x" * 1500 + b"\r\n")
    world.run()
    assert client.take().startswith(b"HTTP/1.1 413 ")
    assert not world.upstreams
