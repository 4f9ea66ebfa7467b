"""Other proxies before ours: nginx, HAProxy and Caddy, with clients of HTTP/1.1 and HTTP/2.

HAProxy and Caddy are clients of HTTP/2 that put the streams of all their own clients on few
connections to us, so what one of those does must not be felt by the others.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import Program
from http2_clients import curl, httpx_client, notices_that_we_leave, read_in_lockstep
from http2_upstreams import FRONTS, Server


@pytest.fixture(params=list(FRONTS), scope="module")
def front(
    request: pytest.FixtureRequest,
    app: Server,
    start_shared: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """The other proxy, ours behind it, `asgi_app` behind that."""
    program: Program = start_shared(app.url)
    port = int(program.url.rpartition(":")[2].partition("/")[0])
    home = tmp_path_factory.mktemp("front")
    with Server(request.param, home, port, FRONTS) as server:
        server.http2 = request.param == "nginx"  # this one takes nothing else on a cleartext port
        yield server


def test_requests_and_replies(front: Server) -> None:
    status, body = curl(front.url + "/models", http2=front.http2)
    assert (status, json.loads(body)["object"]) == (200, "list")
    for size in (2, 70_000, 3_000_001):
        data = random.Random(size).randbytes(size)
        assert curl("--data-binary", "@-", front.url + "/echo", stdin=data, http2=front.http2) == (
            200,
            data,
        )
    assert curl(front.url + "/nowhere", http2=front.http2)[0] == 404


def test_events_arrive_one_by_one(front: Server) -> None:
    with httpx_client(http2=front.http2) as api:
        read_in_lockstep(api, front.url, 20)


def test_many_clients_at_once(front: Server) -> None:
    def talk(number: int) -> None:
        data = random.Random(number).randbytes(50_000)
        assert curl("--data-binary", "@-", front.url + "/echo", stdin=data, http2=front.http2) == (
            200,
            data,
        )
        with httpx_client(http2=front.http2) as api:
            read_in_lockstep(api, front.url, 5)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(talk, range(20)))


def test_a_client_that_leaves_is_noticed_behind_all_of_it(front: Server) -> None:
    assert notices_that_we_leave(front.url, http2=front.http2)
