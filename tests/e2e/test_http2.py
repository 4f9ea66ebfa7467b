"""Clients that speak HTTP/2 to the proxy, over cleartext with prior knowledge.

curl, nghttp, h2load and the OpenAI SDK on httpx; before a real llama.cpp, and before `asgi_app.py`
where the test must say when an event leaves or see what arrived. All upstreams speak HTTP/1.1 here;
`test_http2_upstreams.py` has the others, `test_http2_tls.py` TLS with ALPN.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import uuid
from pathlib import Path
from typing import Any

import asgi_app
import openai
import pytest
from conftest import Program
from http2_clients import (
    TIMEOUT,
    Raw,
    curl,
    h2load,
    httpx_client,
    nghttp,
    notices_that_we_leave,
    read_in_lockstep,
    run,
)
from http2_upstreams import Server
from test_openai_python import QUESTION, ask, stable

ASK: dict[str, Any] = {
    "model": "m",
    "temperature": 0,
    "max_tokens": 8,
    "seed": 1,
    "messages": [{"role": "user", "content": "Hi"}],
}
JSON = ("-H", "content-type: application/json")
ENDLESS: dict[str, Any] = {"ignore_eos": True, "n_predict": 6000, "max_tokens": None}


@pytest.fixture(scope="module")
def app_proxy(app: Server, start_shared: Any) -> Program:
    """The program in front of asgi_app."""
    program: Program = start_shared(app.url)
    return program


# ---- curl ----


def test_curl_gets_and_posts_as_without_the_proxy(model: str, proxy: Program) -> None:
    for arguments, path in (((), "/models"), ((*JSON, "-d", json.dumps(ASK)), "/chat/completions")):
        direct = curl(*arguments, model + path, http2=False)
        through = curl(*arguments, proxy.url + path)
        assert through[0] == direct[0] == 200
        assert stable(json.loads(through[1])) == stable(json.loads(direct[1]))


def test_curl_reads_a_stream_as_without_the_proxy(model: str, proxy: Program) -> None:
    def events(url: str, http2: bool) -> list[Any]:
        data = json.dumps({**ASK, "stream": True})
        status, body = curl(*JSON, "-N", "-d", data, url + "/chat/completions", http2=http2)
        assert status == 200
        lines = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line]
        assert lines.pop() == b"[DONE]"
        return [stable(json.loads(line)) for line in lines]

    through = events(proxy.url, http2=True)
    assert len(through) > 5
    assert through == events(model, http2=False)


@pytest.mark.parametrize("length", ["known", "unknown"])
def test_curl_uploads_megabytes(app_proxy: Program, tmp_path: Path, length: str) -> None:
    body = random.Random(1).randbytes(5_000_001)
    file = tmp_path / "body"
    file.write_bytes(body)
    # From a pipe it has no length to tell.
    upload = ("--data-binary", f"@{file}") if length == "known" else ("-X", "POST", "-T", "-")
    stdin = b"" if length == "known" else body
    status, told = curl(*upload, app_proxy.url + "/digest", stdin=stdin)
    wanted = {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert (status, json.loads(told)) == (200, wanted)
    assert curl(*upload, app_proxy.url + "/echo", stdin=stdin) == (200, body)


def test_curl_head_has_a_length_and_no_body(proxy: Program) -> None:
    status, head = curl("-I", proxy.url + "/models")
    assert status == 200
    assert head.startswith(b"HTTP/2 200")
    assert b"\ncontent-length: " in head


def test_curl_sees_the_servers_404(model: str, proxy: Program) -> None:
    status, body = curl(proxy.url + "/nowhere")
    assert status == 404
    assert (status, body) == curl(model + "/nowhere", http2=False)


def test_the_proxys_own_answers_come_over_http2_too(proxy: Program) -> None:
    root = proxy.url.removesuffix("/v1")
    status, body = curl(root + "/health")
    assert (status, body) == curl(root + "/health", http2=False)
    assert status == 200
    assert curl(root + "/stats")[0] == 200


def test_no_server_is_a_clear_error(start_proxy: Any) -> None:
    status, body = curl(start_proxy("http://127.0.0.1:1/v1").url + "/models")
    assert status == 502
    assert json.loads(body)["error"]["code"] == "upstream_unreachable"


def test_http11_and_http2_share_the_port(proxy: Program) -> None:
    lists = []
    for http2 in (True, False, True):
        status, body = curl(proxy.url + "/models", http2=http2)
        assert status == 200
        lists.append(stable(json.loads(body)))
    assert lists[0] == lists[1] == lists[2]


# ---- nghttp and h2load ----


def test_nghttp_asks_often_on_one_connection(app_proxy: Program) -> None:
    url = app_proxy.url + "/models"
    streams, statuses = nghttp(url, url + "?again", app_proxy.url + "/nowhere")
    assert sorted(statuses) == [200, 200, 404]
    assert len(set(streams)) == 3
    assert nghttp("-m", 20, url)[1] == [200] * 20


def test_nghttp_may_send_priorities(app_proxy: Program) -> None:
    """It sends PRIORITY frames and weights, which RFC 9113 leaves without a meaning."""
    assert nghttp("-p", 200, app_proxy.url + "/models")[1] == [200]


@pytest.mark.parametrize(
    "flags",
    [("-c", 1, "-m", 32), ("-c", 4, "-m", 10), ("-c", 2, "-m", 8, "-w", 10, "-W", 12)],
    ids=["one connection", "four connections", "small windows"],
)
def test_h2load_has_no_failure(app_proxy: Program, tmp_path: Path, flags: tuple[Any, ...]) -> None:
    body = tmp_path / "body"
    body.write_bytes(random.Random(2).randbytes(20_000))
    h2load(app_proxy.url + "/models", 300, *flags)
    h2load(app_proxy.url + "/echo", 300, *flags, "-d", body)


# ---- The OpenAI SDK ----


def sdk(url: str) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=url, api_key="sk-test", max_retries=0, timeout=60, http_client=httpx_client()
    )


def ask_over_http2(url: str, **more: Any) -> Any:
    return sdk(url).chat.completions.create(
        model="smollm2", messages=QUESTION, temperature=0, max_tokens=12, seed=1, **more
    )


def test_the_sdk_is_answered_as_over_http11(proxy: Program) -> None:
    over_http2 = ask_over_http2(proxy.url)
    assert "Paris" in over_http2.choices[0].message.content
    assert stable(over_http2.model_dump()) == stable(ask(proxy.url).model_dump())


def test_the_sdk_has_the_same_events_as_over_http11(proxy: Program) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    over_http2 = [stable(chunk.model_dump()) for chunk in ask_over_http2(proxy.url, **options)]
    assert len(over_http2) > 5
    assert over_http2 == [stable(chunk.model_dump()) for chunk in ask(proxy.url, **options)]


def test_async_clients_share_a_connection(proxy: Program) -> None:
    httpx_client().close()  # skips where there is none
    import httpx

    async def ask_at_once() -> list[str]:
        http = httpx.AsyncClient(http1=False, http2=True, timeout=60)
        async with openai.AsyncOpenAI(
            base_url=proxy.url, api_key="sk-test", http_client=http
        ) as api:
            calls = [
                api.chat.completions.create(
                    model="smollm2", messages=QUESTION, temperature=0, max_tokens=12
                )
                for _ in range(4)
            ]
            replies = await asyncio.gather(*calls)
            return [reply.choices[0].message.content or "" for reply in replies]

    assert all("Paris" in text for text in asyncio.run(ask_at_once()))


async def _events_as_fast_as_they_go(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """An upstream over HTTP/1.1: as many small events as its client takes."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        head = b"content-type: text/event-stream\r\ntransfer-encoding: chunked"
        writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % head)
        while True:
            writer.write(b"c\r\ndata: word\n\n\r\n" * 50)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        writer.close()


def test_twenty_busy_streams_are_cancelled_at_once_and_another_goes_on(start_proxy: Any) -> None:
    """httpx itself sends no RST_STREAM. What its library h2 does after one is answer each of the
    thousands of frames that were under way with one more."""
    httpx_client().close()  # skips where there is none
    import httpx

    async def cancel() -> None:
        server = await asyncio.start_server(_events_as_fast_as_they_go, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        url = await asyncio.to_thread(lambda: start_proxy(f"http://127.0.0.1:{port}").url)
        async with httpx.AsyncClient(http1=False, http2=True, timeout=TIMEOUT) as api:
            async with api.stream("GET", f"{url}/other") as other:
                pieces = other.aiter_raw()
                await anext(pieces)
                await asyncio.gather(*(_cancelled(api, url) for _ in range(20)))
                for _ in range(200):  # and all of the resets have been read meanwhile
                    await anext(pieces)
            assert (await api.get(f"{url.removesuffix('/v1')}/health")).status_code == 200
            assert len(api._transport._pool._connections) == 1  # type: ignore[attr-defined]
        server.close()

    asyncio.run(cancel())


async def _cancelled(api: Any, url: str) -> None:
    async with api.stream("GET", f"{url}/busy") as reply:
        size = 0
        async for piece in reply.aiter_raw():
            size += len(piece)
            if size > 20_000:
                break
        connection = api._transport._pool._connections[0]._connection
        connection._h2_state.reset_stream(reply.extensions["stream_id"], 8)


def test_an_sdk_that_is_closed_in_a_stream_stops_the_model(proxy: Program) -> None:
    """httpx sends no RST_STREAM when a stream of HTTP/2 is left, so it takes the whole client."""
    for _ in range(2):
        api = sdk(proxy.url)
        words = api.chat.completions.create(
            model="smollm2", messages=QUESTION, stream=True, extra_body=ENDLESS
        )
        next(iter(words))
        api.close()
    assert "Paris" in ask(proxy.url, timeout=15).choices[0].message.content


def test_streams_that_are_reset_stop_the_model_and_spare_the_connection(proxy: Program) -> None:
    """Two endless answers hold both slots of the server; unless resetting them ends them, the
    third request, on the same connection, would wait for minutes."""
    question = {**ASK, **ENDLESS, "stream": True}
    with Raw(proxy.url) as connection:
        for _ in range(2):
            stream = connection.request("POST", "/v1/chat/completions", question)
            assert connection.first_data(stream)
            connection.reset(stream)
        stream = connection.request("POST", "/v1/chat/completions", ASK)
        assert json.loads(connection.whole(stream))["object"] == "chat.completion"


# ---- Streams whose events the test itself lets go ----


def test_every_event_arrives_before_the_next_leaves(app_proxy: Program) -> None:
    with httpx_client() as api:
        read_in_lockstep(api, app_proxy.url, 20)


def test_the_upstream_notices_a_client_that_leaves(app_proxy: Program) -> None:
    assert notices_that_we_leave(app_proxy.url, http2=True)


def test_the_upstream_notices_a_reset_among_live_streams(app_proxy: Program) -> None:
    doomed, other = uuid.uuid4().hex, uuid.uuid4().hex
    with Raw(app_proxy.url) as connection:
        streams = [connection.request("GET", f"/v1/endless/{n}") for n in (doomed, other)]
        for stream in streams:
            assert connection.first_data(stream) == asgi_app.event(0)
        connection.reset(streams[0])
        assert connection.whole(connection.request("GET", f"/v1/left/{doomed}")) == b"true"
        # The other still lives: nothing has ended it, and it costs a new request nothing.
        assert connection.whole(connection.request("POST", "/v1/echo", "again")) == b'"again"'
    assert curl(app_proxy.url + f"/left/{other}") == (200, b"true")


def test_nghttp_can_leave_in_the_middle(app_proxy: Program) -> None:
    """Its timeout ends the connection with a GOAWAY."""
    name = uuid.uuid4().hex
    for seconds in (1, 4, 16):  # in which the stream has to begin, or its end shows nothing
        run("nghttp", "-n", "-t", seconds, f"{app_proxy.url}/endless/{name}")
        if curl(f"{app_proxy.url}/begun/{name}") == (200, b"true"):
            break
    assert curl(f"{app_proxy.url}/left/{name}") == (200, b"true")
