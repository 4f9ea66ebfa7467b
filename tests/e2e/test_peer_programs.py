"""Two real programs with one key and somebody between them who reads everything, and curl."""

from __future__ import annotations

import json
import re
import secrets
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from http2_clients import curl
from upstream import Upstream, read_head

TEXT = "a word that nobody shall read " * 100
EVENT = b"data: {\"choices\":[{\"delta\":{\"content\":\"a word that nobody shall read\"}}]}\n\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def echo(connection: socket.socket) -> None:
    """A model that answers a request with its own body, or with ten events."""
    while True:
        head, _, body = read_head(connection).partition(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head)
        while found and len(body) < int(found[1]):
            body += connection.recv(65536)
        if b'"stream":true' in body:
            pieces = [b"%x\r\n%b\r\n" % (len(EVENT), EVENT)] * 10
            connection.sendall(STREAM + b"".join(pieces) + b"0\r\n\r\n")
            continue
        kind = b"content-type: application/json\r\n"
        answer = b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n" % (kind, len(body))
        connection.sendall(answer + (b"" if head.startswith(b"HEAD") else body))


class Between(Upstream):
    """Passes everything on, and keeps a copy."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
        self.seen = bytearray()
        self._to = (host, int(port))
        super().__init__(self._both)

    def _both(self, near: socket.socket) -> None:
        far = socket.create_connection(self._to)
        self._open.append(far)
        threading.Thread(target=self._carry, args=(far, near), daemon=True).start()
        self._carry(near, far)

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                self.seen += data
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one of them has gone


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(secrets.token_hex(32))
    return str(path)


def test_nobody_between_two_programs_reads_what_curl_says(start_proxy: Any, key: str) -> None:
    content = json.dumps({"model": "m", "messages": [{"role": "user", "content": TEXT}]})
    events = '{"stream":true,"messages":"a word that nobody shall read"}'
    flags = ("--peer-psk-file", key)
    with Upstream(echo) as model:
        core = start_proxy(model.url, *flags)
        with Between(core.url) as between:
            edge = start_proxy(between.url, *flags, M2M_PEER_REQUIRED="true")
            url = f"{edge.url}/chat/completions"
            kind = ("-H", "content-type: application/json")
            for _ in range(2):
                said = curl(*kind, "-d", content, url, http2=False)
                assert said == (200, content.encode())
            assert curl(*kind, "-d", events, url, http2=False) == (200, EVENT * 10)
            assert b"nobody shall read" not in between.seen
            assert between.seen.count(b"HEAD /v1/models") == 1
            assert between.seen.count(b"#M2M|1|") == 6
            assert len(between.seen) < len(content)


def test_a_core_of_another_key_gets_nothing_to_read(
    start_proxy: Any, key: str, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.touch(0o600)
    other.write_text(secrets.token_hex(32))
    with Upstream(echo) as model:
        core = start_proxy(model.url, "--peer-psk-file", str(other))
        with Between(core.url) as between:
            edge = start_proxy(between.url, "--peer-psk-file", key, M2M_PEER_REQUIRED="true")
            status, body = curl("-d", TEXT, f"{edge.url}/chat/completions", http2=False)
            assert status == 502
            assert json.loads(body)["error"]["code"] == "upstream_not_sealed"
            assert b"nobody shall read" not in between.seen
