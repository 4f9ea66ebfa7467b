"""What only a real kernel can show: resets, half-closes, buffers, TLS."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from upstream import Upstream, ask, read_all, read_head

GET = b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def test_a_cut_reply_to_http10_ends_in_a_reset(start_proxy: Any) -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        connection.close()

    with Upstream(serve) as upstream:
        program = start_proxy(upstream.url)
        client = ask(program.url, b"GET /v1/models HTTP/1.0\r\nhost: h\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            read_all(client)


def test_a_cut_stream_ends_without_its_last_chunk(start_proxy: Any) -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(STREAM + b"9\r\ndata: 1\n\n\r\n")
        connection.close()

    with Upstream(serve) as upstream:
        program = start_proxy(upstream.url)
        answer = read_all(ask(program.url, GET))
    assert b'"code":"upstream_disconnected"' in answer
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("leave", ["close", "reset", "half-close"])
def test_a_client_that_leaves_is_noticed_by_the_upstream(start_proxy: Any, leave: str) -> None:
    noticed = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(STREAM + b"9\r\ndata: 1\n\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        noticed.set()

    with Upstream(serve) as upstream:
        program = start_proxy(upstream.url)
        client = ask(program.url, GET)
        assert client.recv(10)
        if leave == "half-close":
            client.shutdown(socket.SHUT_WR)
        else:
            if leave == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        assert noticed.wait(20)


def test_a_stalled_client_holds_the_upstream(start_proxy: Any) -> None:
    """Counted at the upstream, of 100 MB: what it could write before it was made to wait. Most of
    that is in the kernel's buffers, which grow by themselves on a busy machine."""
    written = 0
    stalled = threading.Event()

    def serve(connection: socket.socket) -> None:
        nonlocal written
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        connection.settimeout(1.5)
        try:
            while written < 100_000_000:
                written += connection.send(b"z" * 16384)
        except TimeoutError:
            stalled.set()

    with Upstream(serve) as upstream:
        program = start_proxy(upstream.url)
        client = ask(program.url, GET, receive_buffer=32 * 1024)
        assert stalled.wait(20)
        assert client.recv(5) == b"HTTP/"
    assert written < 8_000_000


def test_a_413_reaches_a_client_that_is_still_uploading(start_proxy: Any) -> None:
    with Upstream(lambda connection: None) as upstream:
        program = start_proxy(upstream.url, "--max-body", "1MiB")
        head = b"POST /v1/x HTTP/1.1\r\nhost: h\r\ncontent-length: 9000000\r\n\r\n"
        client = ask(program.url, head)
        client.sendall(b"x" * 3_000_000)
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "body_too_large"


def make_certificate(path: Path, names: str) -> Path:
    """A self-signed certificate for `names`, with its key in the same file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here")
    options = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName={names} -keyout {path} -out {path}.crt"
    )
    subprocess.run([openssl, *options.split()], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    return make_certificate(path, "DNS:localhost,IP:127.0.0.1")


def serve_one(connection: socket.socket) -> None:
    while True:
        read_head(connection)
        connection.sendall(reply(b"secret"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_https_upstream_is_verified_and_served(
    start_proxy: Any, certificate: Path, tmp_path: Path, host: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    config = tmp_path / "m2m.toml"
    config.write_text(f'[proxy]\nca_file = "{certificate}.crt"\n')
    with Upstream(serve_one, context) as upstream:
        url = upstream.url.replace("127.0.0.1", host)
        program = start_proxy(url, "--config", str(config))
        client = ask(program.url, GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        assert read_all(client).endswith(b"\r\n\r\nsecret")
        unverified = start_proxy(url)
        answer = read_all(ask(unverified.url, GET.replace(b"1.1", b"1.0")))
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b'"code":"upstream_tls_error"' in answer
    assert b"self-signed" in answer or b"self signed" in answer


def test_an_upstream_with_another_name_is_refused(start_proxy: Any, tmp_path: Path) -> None:
    other = make_certificate(tmp_path / "other.pem", "DNS:other.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other)
    config = tmp_path / "m2m.toml"
    config.write_text(f'[proxy]\nca_file = "{other}.crt"\n')
    with Upstream(serve_one, context) as upstream:
        program = start_proxy(upstream.url, "--config", str(config), "--api-key", "sk-secret")
        answer = read_all(ask(program.url, GET.replace(b"1.1", b"1.0")))
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b'"code":"upstream_tls_error"' in answer
    assert b"secret" not in answer
