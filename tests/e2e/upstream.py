"""A raw upstream on a real socket that does what the test says, one connection at a time."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable

Serve = Callable[[socket.socket], None]


class Upstream:
    """Listens on loopback; every connection is handed to `serve` in a thread of its own."""

    def __init__(self, serve: Serve, context: ssl.SSLContext | None = None) -> None:
        self._serve = serve
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        scheme = "https" if context else "http"
        self.port = self._listener.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            self._open.append(connection)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            self._serve(connection)
        except OSError:
            pass  # the proxy refused it or left, which is what some tests are about


def half_at_first(go_on: socket.socket) -> Serve:
    """Answers "a" of "ab", and the rest when something comes by `go_on`."""

    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na")
        go_on.recv(1)
        connection.sendall(b"b")

    return serve


def read_head(connection: socket.socket) -> bytes:
    """A request up to its empty line, and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("the proxy left")
        data += piece
    return data


def ask(url: str, request: bytes, receive_buffer: int = 0) -> socket.socket:
    """A connection to the proxy with `request` sent on it."""
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(20)
    client.connect((host, int(port)))
    client.sendall(request)
    return client


def read_all(client: socket.socket) -> bytes:
    """Everything up to the end of the connection."""
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data
