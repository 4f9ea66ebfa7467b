"""A plain HTTP/1.1 upstream for the proxy under test, in threads of its own.

`GET /v1/models` answers 40 KiB of JSON: more than one frame, less than one window. Every other path
reads the body and answers with what came: `{"length": 3, "fields": {"x-a": "1"}}`.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODELS = json.dumps({"object": "list", "data": [{"id": f"model-{n:026}"} for n in range(960)]})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        length = self._read_body()
        fields: dict[str, str] = {}
        for name, value in self.headers.items():
            fields[name.lower()] = f"{fields[name.lower()]}|{value}" if name in fields else value
        echo = json.dumps({"length": length, "fields": fields})
        body = (MODELS if self.path == "/v1/models" else echo).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_OPTIONS = _answer

    def _read_body(self) -> int:
        if self.headers["transfer-encoding"] is None:
            return len(self.rfile.read(int(self.headers["content-length"] or 0)))
        length = 0
        while size := int(self.rfile.readline(), 16):
            length += len(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return length

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that ended early is what half of the cases are about."""


def start() -> int:
    """Serve on a free port of the loopback; the port."""
    server = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]
