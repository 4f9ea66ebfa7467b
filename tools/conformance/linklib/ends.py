"""What stands at both ends: a model server that replays, the program itself, and an application."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import itertools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from linklib.core import Answer, Core, Request
from linklib.fixtures import Turn

PATH = "/v1/chat/completions"
NUMBER = "x-turn"


class Turns:
    """The turns that are under way, by the number that their requests have in a field."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._turns: dict[str, Turn] = {}
        self.wrong: list[str] = []
        self.seen = 0

    def add(self, turn: Turn) -> str:
        number = str(next(self._numbers))
        self._turns[number] = turn
        return number

    def answer(self, number: str, body: bytes) -> Answer:
        """The reply to a request, which has to be the one that was sent."""
        self.seen += 1
        turn = self._turns[number]
        if turn.request != body:
            self.wrong.append(f"turn {number}: {len(body)} bytes, not those that were sent")
        return turn.answer

    def of(self, request: Request) -> Answer:
        """The same for a `Core`."""
        return self.answer(request.field(NUMBER), request.body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    turns: Turns

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = self.turns.answer(self.headers[NUMBER], body)
        self.send_response(answer.status)
        self.send_header("content-type", answer.content_type)
        if len(answer.pieces) == 1:
            body = gzip.compress(answer.body) if answer.gzips else answer.body
            if answer.gzips:
                self.send_header("content-encoding", "gzip")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in filter(None, answer.pieces):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that ended early is what some cases are about."""


@contextlib.contextmanager
def origin(turns: Turns) -> Iterator[int]:
    """A model server in HTTP/1.1; its port."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"turns": turns}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def core(serving: Core) -> Iterator[int]:
    """Our core; its port."""
    port = serving.start()
    try:
        yield port
        if serving.errors:
            raise serving.errors[0]
    finally:
        serving.close()


@contextlib.contextmanager
def proxy(upstream: int, **variables: str) -> Iterator[int]:
    """The program before the upstream at this port; its own port."""
    base = f"http://127.0.0.1:{upstream}/v1"
    settings = {"LOGGING_ACCESS": "false", "COMPRESSION_RESPONSES": "on", **variables}
    process = subprocess.Popen(
        (sys.executable, "-m", "m2mproxy", "--listen", "127.0.0.1:0", "--upstream", base),
        stderr=subprocess.PIPE,
        env={**os.environ, **{f"M2M_{name}": value for name, value in settings.items()}},
    )
    assert process.stderr is not None
    try:
        said = ""
        # Where few files may be open, a warning of that comes first.
        while not (found := re.search(r"listens on 127\.0\.0\.1:(\d+)", said)):
            if not (line := process.stderr.readline().decode()):
                raise SystemExit(f"link: the proxy did not start: {said}")
            said += line
        # What it says from here on is read away, or it would block once the pipe is full.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()


def leave(port: int, number: str, body: bytes) -> None:
    """A request of an application that does not wait for its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    head = {"content-type": "application/json", NUMBER: number}
    connection.request("POST", PATH, body, head)
    connection.close()


def ask(
    port: int, number: str, body: bytes, fields: dict[str, str] | None = None, path: str = PATH
) -> tuple[int, str, bytes]:
    """A request of an application: status, content type and body of what it gets.

    Raises http.client.HTTPException or OSError if that is cut.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        head = {"content-type": "application/json", NUMBER: number, **(fields or {})}
        connection.request("POST", path, body, head)
        response = connection.getresponse()
        return response.status, response.headers["content-type"], response.read()
    finally:
        connection.close()
