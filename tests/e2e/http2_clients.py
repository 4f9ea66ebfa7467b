"""Clients that speak HTTP/2 over cleartext with prior knowledge, and what they can be made to show.

curl, nghttp and h2load are run as programs; httpx is what the OpenAI SDK uses; `Raw` is the library
h2 on a socket, for what httpx does not do: end one stream and keep the connection.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import socket
import subprocess
import uuid
from typing import Any

import asgi_app
import pytest

TIMEOUT = 20.0


# ---- Programs ----


def run(name: str, *arguments: Any, stdin: bytes = b"") -> bytes:
    """What the program writes; it must succeed, and the test is skipped where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here; tools/test installs it")
    argv = [found, *map(str, arguments)]
    return subprocess.run(argv, input=stdin, capture_output=True, check=True, timeout=90).stdout


def curl(*arguments: Any, stdin: bytes = b"", http2: bool = True) -> tuple[int, bytes]:
    """Status and body."""
    if http2 and b"HTTP2" not in run("curl", "--version"):
        pytest.skip("this curl has no HTTP/2; tools/test installs Debian's, which has")
    protocol = "--http2-prior-knowledge" if http2 else "--http1.1"
    told = "\n%{http_version} %{http_code}"
    out = run("curl", "-sS", "--max-time", 60, protocol, "-w", told, *arguments, stdin=stdin)
    body, _, end = out.rpartition(b"\n")
    version, status = end.split()
    assert version == (b"2" if http2 else b"1.1")
    return int(status), body


def h2load(url: str, requests: int, *flags: Any) -> None:
    """All of the requests must be answered, and with 200."""
    out = run("h2load", "-n", requests, *flags, url).decode()
    assert f" {requests} succeeded, 0 failed, 0 errored, 0 timeout" in out, out
    assert f"status codes: {requests} 2xx" in out, out


def nghttp(*arguments: Any) -> tuple[list[int], list[int]]:
    """The streams that were answered, in order, and their statuses; all on one connection."""
    out = run("nghttp", "-nv", *arguments).decode()
    assert out.count("Connected") == 1, out
    found = re.findall(r"recv \(stream_id=(\d+)\) :status: (\d+)", out)
    return [int(stream) for stream, _ in found], [int(status) for _, status in found]


# ---- httpx ----


def httpx_client(http2: bool = True) -> Any:
    """Over HTTP/2 without TLS it must be told that there is no HTTP/1.1, or it would not start."""
    if importlib.util.find_spec("httpx") is None or importlib.util.find_spec("h2") is None:
        pytest.skip("no httpx with HTTP/2 here; tools/test installs it")
    import httpx

    return httpx.Client(
        http1=not http2,
        http2=http2,
        timeout=TIMEOUT,
        event_hooks={"response": [_check_http2 if http2 else _check_http1]},
    )


def _check_http2(reply: Any) -> None:
    assert reply.http_version == "HTTP/2"


def _check_http1(reply: Any) -> None:
    assert reply.http_version == "HTTP/1.1"


def read_in_lockstep(api: Any, url: str, count: int) -> None:
    """Each event of asgi_app is asked for when the one before has arrived: if anything between
    the two held one back, it would never come, and if a byte were changed it would be seen."""
    name = uuid.uuid4().hex
    with api.stream("GET", f"{url}/events/{name}/{count}") as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "text/event-stream"
        pieces = reply.iter_raw()
        for number in range(count):
            if number:
                api.post(f"{url}/next/{name}").raise_for_status()
            wanted, got = asgi_app.event(number), b""
            while len(got) < len(wanted):
                got += next(pieces)
            assert got == wanted
        assert next(pieces, b"") == b""


def notices_that_we_leave(url: str, http2: bool) -> bool:
    """Begin an endless stream and go away with the whole connection; did the upstream notice?"""
    name = uuid.uuid4().hex
    with httpx_client(http2) as api, api.stream("GET", f"{url}/endless/{name}") as reply:
        assert next(reply.iter_raw()) == asgi_app.event(0)
    with httpx_client(http2) as api:
        left: bool = api.get(f"{url}/left/{name}").json()
        return left


# ---- The library h2 ----


class Raw:
    """One connection; one thing after the other."""

    def __init__(self, url: str) -> None:
        if importlib.util.find_spec("h2") is None:
            pytest.skip("no h2 here; tools/test installs it")
        import h2.config
        import h2.connection

        self._authority = url.removeprefix("http://").removesuffix("/v1")
        host, port = self._authority.split(":")
        self._socket = socket.create_connection((host, int(port)), TIMEOUT)
        self._state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._state.initiate_connection()
        self._streams: dict[int, list[Any]] = {}
        self._flush()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _flush(self) -> None:
        self._socket.sendall(self._state.data_to_send())

    def request(self, method: str, path: str, body: Any = None) -> int:
        """Sends it; the stream's number."""
        stream: int = self._state.get_next_available_stream_id()
        data = b"" if body is None else json.dumps(body).encode()
        fields = [(":method", method), (":scheme", "http"), (":authority", self._authority)]
        fields += [(":path", path), ("content-type", "application/json")]
        self._state.send_headers(stream, fields, end_stream=not data)
        if data:
            self._state.send_data(stream, data, end_stream=True)
        self._streams[stream] = []
        self._flush()
        return stream

    def reset(self, stream: int) -> None:
        self._state.reset_stream(stream, error_code=8)  # CANCEL
        self._flush()

    def _read(self) -> None:
        data = self._socket.recv(65536)
        assert data, "the connection has ended"
        for event in self._state.receive_data(data):
            if not (stream := getattr(event, "stream_id", None)):
                continue
            if size := getattr(event, "flow_controlled_length", 0):
                self._state.acknowledge_received_data(size, stream)
            self._streams[stream].append(event)
        self._flush()

    def first_data(self, stream: int) -> bytes:
        """Waits for some of its body."""
        return self._wait(stream, "DataReceived")[-1]

    def whole(self, stream: int) -> bytes:
        """Waits for its end; the body."""
        return b"".join(self._wait(stream, "StreamEnded"))

    def _wait(self, stream: int, kind: str) -> list[bytes]:
        """The data so far when an event of this kind has come on the stream."""
        events = self._streams[stream]
        while not any(type(event).__name__ == kind for event in events):
            assert not any(type(event).__name__ == "StreamReset" for event in events), events
            self._read()
        return [event.data for event in events if type(event).__name__ == "DataReceived"]
