"""HTTP/2 as ALPN negotiates it: real clients and servers over TLS, two proxies in a row."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import http2_upstreams
import httpx
import openai
import pytest
from certificates import Authority
from conftest import Program
from http2_clients import read_in_lockstep, run
from http2_upstreams import NGINX, Server, program
from test_openai_python import QUESTION, stable

Paths = tuple[str, str]  # of a certificate and its key


@pytest.fixture(scope="module")
def issued(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    folder = tmp_path_factory.mktemp("tls")
    return authority.issue("localhost", "127.0.0.1").save(folder, "server")


@pytest.fixture(scope="module")
def secure(app: Server, issued: Paths, start_shared: Any) -> Program:
    """The program over TLS, in front of asgi_app."""
    started: Program = start_shared(app.url, "--cert", issued[0], "--key", issued[1])
    return started


def client(authority: Authority, http2: bool = True, http1: bool = True) -> httpx.Client:
    trust = ssl.create_default_context(cafile=authority.path)
    return httpx.Client(verify=trust, http2=http2, http1=http1, timeout=60)


@pytest.mark.parametrize(
    "http2,version", [(True, "HTTP/2"), (False, "HTTP/1.1")], ids=["both", "only h1"]
)
def test_alpn_decides(secure: Program, authority: Authority, http2: bool, version: str) -> None:
    with client(authority, http2) as api:
        reply = api.get(secure.url + "/models")
        assert (reply.status_code, reply.http_version) == (200, version)
        read_in_lockstep(api, secure.url, 10)


def test_curl_and_h2load_over_tls(secure: Program, authority: Authority) -> None:
    out = run(
        "curl", "-sS", "--http2", "--cacert", authority.path, "-w", "\n%{http_version}",
        secure.url + "/models",
    )
    body, _, version = out.rpartition(b"\n")
    assert (json.loads(body)["object"], version) == ("list", b"2")
    if b"h2" in run("h2load", "--version"):
        done = run("h2load", "-n", "200", "-c", "2", "-m", "20", secure.url + "/models")
        assert b" 200 succeeded, 0 failed" in done
        assert b"Application protocol: h2" in done


def test_the_sdk_over_http2_and_tls(
    model: str, issued: Paths, authority: Authority, start_proxy: Any
) -> None:
    front = start_proxy(model, "--cert", issued[0], "--key", issued[1])
    options: Any = {"model": "m", "messages": QUESTION, "temperature": 0}
    options |= {"max_tokens": 8, "seed": 1}
    with client(authority, http1=False) as http:
        api = openai.OpenAI(base_url=front.url, api_key="sk", http_client=http, max_retries=0)
        whole = api.chat.completions.create(**options)
        pieces = [
            chunk.choices[0].delta.content or ""
            for chunk in api.chat.completions.create(**options, stream=True)
            if chunk.choices
        ]
    direct = openai.OpenAI(base_url=model, api_key="sk").chat.completions.create(**options)
    assert stable(whole.model_dump()) == stable(direct.model_dump())
    assert "".join(pieces) == whole.choices[0].message.content


def test_two_proxies_in_a_row_speak_http2_over_tls(
    secure: Program, authority: Authority, start_proxy: Any
) -> None:
    edge = start_proxy(secure.url, M2M_CA_FILE=authority.path)
    with httpx.Client(timeout=60) as api:
        assert api.get(edge.url + "/models").json()["object"] == "list"
        body = b"x" * 2_000_000
        assert api.post(edge.url + "/echo", content=body).content == body
        read_in_lockstep(api, edge.url, 10)
    # 20 streams at once, on one connection if it is HTTP/2.
    stats = httpx.get(edge.url.removesuffix("/v1") + "/stats").json()
    (counts,) = stats["upstream_connections"].values()
    assert counts["active"] + counts["idle"] <= 1


@pytest.fixture(params=["h2 offered", "h2 not offered"])
def nginx(
    request: pytest.FixtureRequest, app: Server, issued: Paths, tmp_path: Path
) -> Iterator[Server]:
    """nginx over TLS, with and without HTTP/2."""
    listen = "ssl http2" if request.param == "h2 offered" else "ssl"
    text = NGINX.replace(
        " http2;",
        f" {listen};\n        ssl_certificate {issued[0]};\n"
        f"        ssl_certificate_key {issued[1]};",
    )

    def secured(directory: Path, port: int, app: int) -> list[str]:
        config = directory / "nginx.conf"
        config.write_text(text.format(directory=directory, port=port, app=app))
        return [program("nginx"), "-p", str(directory), "-e", "stderr", "-c", str(config)]

    home = tmp_path / "nginx"
    home.mkdir()
    with http2_upstreams.Server("nginx", home, app.port, {"nginx": secured}) as server:
        server.http2 = request.param == "h2 offered"
        yield server


@pytest.mark.parametrize("http", ["auto", "1.1", "2"])
def test_upstreams_over_tls(
    nginx: Server, authority: Authority, start_proxy: Any, http: str
) -> None:
    url = nginx.url.replace("http:", "https:")
    front = start_proxy(url, "--upstream-http", http, M2M_CA_FILE=authority.path)
    with httpx.Client(timeout=60) as api:
        reply = api.get(front.url + "/models")
        if http == "2" and not nginx.http2:
            assert reply.status_code == 502
            message = reply.json()["error"]["message"]
            assert "does not offer HTTP/2" in message or "application protocol" in message
            return
        spoken = "HTTP/2.0" if nginx.http2 and http != "1.1" else "HTTP/1.1"
        assert reply.json().get("protocol") == spoken
        read_in_lockstep(api, front.url, 5)
