"""Upstreams that the proxy speaks HTTP/2 to: `--upstream-http 2`, cleartext with prior knowledge.

Each of them with a client in HTTP/1.1 and one in HTTP/2. What each server is, and where TLS with
ALPN is to be added, is in `http2_upstreams.py`.
"""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Program
from http2_clients import curl, h2load, httpx_client, notices_that_we_leave, read_in_lockstep
from http2_upstreams import SERVERS, Server

CLIENTS = pytest.mark.parametrize("http2", [False, True], ids=["from h1", "from h2"])
# nghttpd serves files and echoes; it has no streams of events.
WITH_EVENTS = [name for name in SERVERS if name != "nghttpd"]
events_only = pytest.mark.parametrize("upstream", WITH_EVENTS, indirect=True)


@pytest.fixture(params=list(SERVERS), scope="module")
def upstream(
    request: pytest.FixtureRequest, app: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Who ends it starts it again."""
    with Server(request.param, tmp_path_factory.mktemp("server"), app.port) as server:
        yield server


@pytest.fixture(scope="module")
def front(upstream: Server, start_shared: Any) -> Program:
    """The program before `upstream`."""
    program: Program = start_shared(upstream.url, "--upstream-http", "2")
    return program


@CLIENTS
def test_plain_requests(front: Program, upstream: Server, http2: bool) -> None:
    status, body = curl(front.url + "/models", http2=http2)
    assert (status, body) == curl(upstream.url + "/models")
    assert json.loads(body).get("protocol", "HTTP/2") in ("HTTP/2", "HTTP/2.0")
    for text in ("{}", "x" * 70_000):  # the second is more than a window
        assert curl("-d", text, front.url + "/echo", http2=http2) == (200, text.encode())
    assert curl(front.url + "/nowhere", http2=http2)[0] == 404
    status, head = curl("-I", front.url + "/models", http2=http2)
    assert status == 200
    assert f"\ncontent-length: {len(body)}\r\n".encode() in head.lower()


@CLIENTS
def test_megabytes_there_and_back(front: Program, tmp_path: Path, http2: bool) -> None:
    body = random.Random(3).randbytes(5_000_001)
    file = tmp_path / "body"
    file.write_bytes(body)
    url = front.url + "/echo"
    assert curl("--data-binary", f"@{file}", url, http2=http2) == (200, body)
    unknown_length = curl("-X", "POST", "-T", "-", url, stdin=body, http2=http2)
    assert unknown_length == (200, body)


@events_only
@CLIENTS
def test_every_event_arrives_before_the_next_leaves(front: Program, http2: bool) -> None:
    with httpx_client(http2) as api:
        read_in_lockstep(api, front.url, 20)


@events_only
@CLIENTS
def test_the_upstream_notices_a_client_that_leaves(front: Program, http2: bool) -> None:
    assert notices_that_we_leave(front.url, http2)


@CLIENTS
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_restart_between_requests(
    front: Program, upstream: Server, http2: bool, end: signal.Signals
) -> None:
    with httpx_client(http2) as api:
        for _ in range(3):
            assert api.get(front.url + "/models").status_code == 200
            assert api.post(front.url + "/echo", content=b"x" * 1000).content == b"x" * 1000
            try:
                upstream.stop(end)
            finally:
                upstream.start()
        assert api.post(front.url + "/echo", content=b"again").content == b"again"


def test_a_server_that_is_gone_is_a_clear_error(front: Program, upstream: Server) -> None:
    assert curl(front.url + "/models")[0] == 200
    upstream.stop()
    try:
        status, body = curl(front.url + "/models")
    finally:
        upstream.start()
    assert status == 502
    assert json.loads(body)["error"]["code"] == "upstream_unreachable"


@CLIENTS
def test_many_requests_at_once(front: Program, tmp_path: Path, http2: bool) -> None:
    body = tmp_path / "body"
    body.write_bytes(random.Random(4).randbytes(20_000))
    flags = ("-c", 2, "-m", 20) if http2 else ("-c", 20, "--h1")
    h2load(front.url + "/models", 200, *flags)
    h2load(front.url + "/echo", 200, *flags, "-d", body)
