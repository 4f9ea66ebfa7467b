"""Real clients that do not say how long their request is: by the link of two programs they go like
all others, and one that waits within its request is passed on."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from http2_clients import curl
from test_link_programs import KIND, links, talk, turns
from test_peer_programs import echo
from upstream import Upstream, ask, read_head

NODE = """
const chunks = process.argv.slice(3);
async function* some() { for (const each of chunks) yield new TextEncoder().encode(each); }
const answer = await fetch(process.argv[2], {
  method: 'POST', body: ReadableStream.from(some()), duplex: 'half',
  headers: {'content-type': 'application/json', 'authorization': 'Bearer k'}});
process.stdout.write(JSON.stringify([answer.status, await answer.text()]));
"""
HEADERS = {"content-type": "application/json", "authorization": "Bearer k"}
Answer = tuple[int, bytes]


def pieces(body: bytes) -> Iterator[bytes]:
    return (body[at : at + 700] for at in range(0, len(body), 700))


def by_curl(url: str, body: bytes, _: Path) -> Answer:
    """Which waits for 100, too."""
    return curl(*KIND, "-X", "POST", "-T", "-", url, stdin=body, http2=False)


def by_curl_and_http2(url: str, body: bytes, _: Path) -> Answer:
    return curl(*KIND, "-X", "POST", "-T", "-", url, stdin=body)


def by_httpx(url: str, body: bytes, _: Path) -> Answer:
    answer = httpx.post(url, content=pieces(body), headers=HEADERS)
    return answer.status_code, answer.content


def by_requests(url: str, body: bytes, _: Path) -> Answer:
    answer = requests.post(url, data=pieces(body), headers=HEADERS, timeout=30)
    return answer.status_code, answer.content


def by_node(url: str, body: bytes, directory: Path) -> Answer:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node here")
    script = directory / "ask.mjs"
    script.write_text(NODE)
    parts = [part.decode() for part in pieces(body)]
    done = subprocess.run(
        [node, script, url, *parts], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    status, text = json.loads(done.stdout)
    return status, text.encode()


CLIENTS: list[Callable[[str, bytes, Path], Answer]] = [
    by_curl,
    by_curl_and_http2,
    by_httpx,
    by_requests,
    by_node,
]


@pytest.fixture(scope="module")
def linked(start_shared: Any) -> Iterator[str]:
    """An edge with a link to a core whose model answers a request with its own body."""
    with Upstream(echo) as model:
        core = start_shared(model.url)
        edge = start_shared(core.url)
        talk(edge.url, 5)
        assert links(edge.url)["turns"] > 0
        yield edge.url


@pytest.mark.parametrize("send", CLIENTS, ids=lambda send: send.__name__)
def test_a_client_that_sends_chunks_uses_the_link(
    linked: str, send: Callable[[str, bytes, Path], Answer], tmp_path: Path
) -> None:
    before = links(linked)
    bodies = list(turns(3))
    for body in bodies:
        assert send(f"{linked}/chat/completions", body, tmp_path) == (200, body)
    after = links(linked)
    assert after["turns"] - before["turns"] == len(bodies)
    assert after["misses"] == before["misses"] == 0


def early(connection: socket.socket) -> None:
    """A model that begins to answer a chunked request when it has the first word of it."""
    while True:
        head, _, body = read_head(connection).partition(b"\r\n\r\n")
        if b"chunked" in head:
            break
        found = re.search(rb"content-length: (\d+)", head)
        while found and len(body) < int(found[1]):
            body += connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    for word, said in (
        (b"first", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nbeg"),
        (b"second", b"un"),
    ):
        while word not in body:
            body += connection.recv(65536)
        connection.sendall(said)


def test_a_client_that_waits_for_the_reply_within_its_request_gets_it(start_proxy: Any) -> None:
    with Upstream(early) as model:
        core = start_proxy(model.url)
        edge = start_proxy(core.url)
        talk(edge.url, 4)
        assert links(edge.url)["turns"] > 0
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
        head += b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        client = ask(edge.url, head + b"5\r\nfirst\r\n")
        assert until(client, b"beg").startswith(b"HTTP/1.1 200 ")
        client.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
        assert until(client, b"un") == b"un"
        client.close()


def until(client: socket.socket, end: bytes) -> bytes:
    said = b""
    while not said.endswith(end):
        piece = client.recv(65536)
        assert piece
        said += piece
    return said
