"""Part `bodies`: a large reply to a slow reader, and bodies that must come through unchanged.

The model server and the reader are one loop here, so that at every moment we know how many bytes
the one has got rid of and the other has received. The difference is what lies in between: in the
server under test and in the kernel's buffers on its two legs. Our own two sockets are kept small,
and the "direct" column says what they account for.
"""

import contextlib
import hashlib
import http.client
import http.server
import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from .process import ProcessFailed
from .results import Row
from .servers import Bench, Server

PART = "bodies"
MEBIBYTE = 1024 * 1024
SOCKET_BUFFER = 64 * 1024
READ = 64 * 1024
REQUEST = b"GET /v1/files/bench/content HTTP/1.1\r\nHost: bench\r\n\r\n"

AHEAD = Row(PART, "model server ahead of the reader, at most", "MiB", 2)
PEAK = Row(PART, "resident memory, at most", "MiB", 1)
GROWTH = Row(PART, "resident memory, growth", "MiB", 2)


@dataclass(frozen=True)
class Size:
    megabytes: int
    rate: float

    @classmethod
    def of(cls, bench: Bench) -> "Size":
        return cls(16, 16e6) if bench.short else cls(100, 10e6)


def measure(bench: Bench) -> None:
    size = Size.of(bench)
    bench.results.notes[PART] = (
        f"{size.megabytes} MiB reply to a reader of {size.rate / 1e6:.0f} MB/s"
    )
    for name in ("direct", *bench.peers):
        with _listener() as (listener, port), _server(bench, name, port) as server:
            _slow_reader(bench, server, listener, size)
        with _echo() as port, _server(bench, name, port) as server:
            _identity(bench, server)


def _server(bench: Bench, name: str, port: int) -> contextlib.AbstractContextManager[Server]:
    if name == "direct":
        return contextlib.nullcontext(Server(name, port, None))
    return bench.peer(name, port)


@contextlib.contextmanager
def _listener() -> Iterator[tuple[socket.socket, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        yield listener, listener.getsockname()[1]


class Writer:
    """The model server's end: sends the body whenever there is room."""

    def __init__(self, listener: socket.socket, size: int) -> None:
        self.socket = _accept_request(listener)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"
        self.socket.sendall(head.encode())
        self.socket.setblocking(False)
        self.sent, self._size = 0, size
        self._block = random.Random(2).randbytes(MEBIBYTE)
        self.digest = hashlib.sha256()

    def send(self) -> None:
        while self.sent < self._size:
            at = self.sent % MEBIBYTE
            data = self._block[at : at + READ][: self._size - self.sent]
            try:
                n = self.socket.send(data)
            except BlockingIOError:
                return
            self.digest.update(data[:n])
            self.sent += n


def _accept_request(listener: socket.socket) -> socket.socket:
    """The first connection that brings a request; a server may open others to see if we live."""
    listener.settimeout(10)
    while True:
        accepted, _ = listener.accept()
        accepted.settimeout(10)
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            data = accepted.recv(READ)
            if not data:
                break
            request += data
        else:
            return accepted


class Reader:
    """The client's end: reads at a rate, and not a byte more."""

    def __init__(self, port: int, rate: float) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(REQUEST)
        self.received, self._rate, self._start = 0, rate, 0.0
        self.digest = hashlib.sha256()

    def read_head(self) -> bytes:
        """Byte by byte, to leave the body where it is."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            data = self.socket.recv(1)
            if not data:
                raise ProcessFailed(f"no whole head: {head!r}")
            head += data
        self.socket.setblocking(False)
        self._start = time.monotonic()
        return head

    def read(self) -> bool:
        """What is due by now; False at the end of the connection."""
        due = int((time.monotonic() - self._start) * self._rate) - self.received
        if due <= 0:
            return True
        try:
            data = self.socket.recv(min(due, READ))
        except BlockingIOError:
            return True
        self.digest.update(data)
        self.received += len(data)
        return bool(data)


def _slow_reader(bench: Bench, server: Server, listener: socket.socket, size: Size) -> None:
    total = size.megabytes * MEBIBYTE
    idle = _resident(server)
    reader = Reader(server.port, size.rate)
    writer = Writer(listener, total)
    with reader.socket, writer.socket:
        head = reader.read_head()
        if b" 200 " not in head:
            raise ProcessFailed(f"{server.name}: {head!r}")
        ahead, peak = _transfer(server, reader, writer, total, size)
    if (reader.received, reader.digest.digest()) != (total, writer.digest.digest()):
        bench.results.fail(f"{server.name}: the {size.megabytes} MiB body arrived changed")
    bench.results.add(AHEAD, server.name, ahead / MEBIBYTE)
    if server.process:
        bench.results.add(PEAK, server.name, peak / MEBIBYTE)
        bench.results.add(GROWTH, server.name, (peak - idle) / MEBIBYTE)


def _transfer(
    server: Server, reader: Reader, writer: Writer, total: int, size: Size
) -> tuple[int, int]:
    """Run both ends; how far the writer got ahead, and the server's peak memory."""
    ahead = peak = 0
    deadline = time.monotonic() + total / size.rate * 2 + 10
    sample_at = 0.0
    while reader.received < total and reader.read():
        writer.send()
        ahead = max(ahead, writer.sent - reader.received)
        now = time.monotonic()
        if now > sample_at:
            peak, sample_at = max(peak, _resident(server)), now + 0.02
        if now > deadline:
            raise ProcessFailed(f"{server.name}: {reader.received} of {total} bytes in time")
        waiting = [writer.socket] if writer.sent < total else []
        select.select([], waiting, [], 0.001)
    return ahead, peak


def _resident(server: Server) -> int:
    if not server.process:
        return 0
    server.process.check()
    return server.process.memory().resident


class Echo(http.server.BaseHTTPRequestHandler):
    """A model server that answers with the request's body."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def _echo() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def _identity(bench: Bench, server: Server) -> None:
    """Bodies of random bytes, there and back."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        for size in (0, 1, 2048, 65536, MEBIBYTE, 8 * MEBIBYTE + 1):
            body = random.Random(size).randbytes(size)
            connection.request("POST", "/v1/echo", body)
            reply = connection.getresponse()
            if (reply.status, reply.read()) != (200, body):
                bench.results.fail(f"{server.name}: {size} random bytes came back changed")
