"""A relay that remembers what it relays: the demo's witness between the proxy and the model server.

It copies bytes both ways without looking at them. Afterwards `exchange()` reads the one request and
reply that went by, so that they can be compared with what the application sent and received, and
`counts()` says how many bytes they were; so it can stand between edge and core, too.
"""

import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO


@dataclass(frozen=True)
class Exchange:
    request_body: bytes
    reply_body: bytes


class Tap:
    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sent, self._received = bytearray(), bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def clear(self) -> None:
        """Forget all, so that what goes by from now on can be read as one exchange.

        An SDK is content with a stream before its last bytes are in, so first let those go by.
        """
        self._settle()
        self._sent, self._received = bytearray(), bytearray()

    def counts(self) -> tuple[int, int]:
        """Bytes that went by since, heads and framing included: those sent, and those received."""
        self._settle()
        return len(self._sent), len(self._received)

    def _settle(self) -> None:
        seen = -1
        while seen != len(self._received):
            seen = len(self._received)
            time.sleep(0.1)

    def exchange(self) -> Exchange:
        head, _, rest = bytes(self._sent).partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head.lower():
            raise ValueError("the request was re-framed on its way")
        return Exchange(rest, _reply_body(bytes(self._received)))

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                downstream, _ = self._listener.accept()
            except OSError:  # closed: the demo is over
                return
            upstream = socket.create_connection(("127.0.0.1", self._upstream_port))
            for source, sink, outward in (
                (downstream, upstream, True),
                (upstream, downstream, False),
            ):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(
                    target=self._copy, args=(source, sink, outward), daemon=True
                ).start()

    def _copy(self, source: socket.socket, sink: socket.socket, outward: bool) -> None:
        try:
            while data := source.recv(65536):
                (self._sent if outward else self._received).extend(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:  # one end is gone: so is the other
            source.close()
            sink.close()


@contextmanager
def tapped(upstream_port: int) -> Iterator[Tap]:
    tap = Tap(upstream_port)
    try:
        yield tap
    finally:
        tap.close()


class _Recording(socket.socket):
    """Enough of a socket for http.client to read a recorded reply from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object, **__: object) -> IO[bytes]:  # type: ignore[override]
        return io.BytesIO(self._data)


def _reply_body(data: bytes) -> bytes:
    reply = http.client.HTTPResponse(_Recording(data), method="POST")
    reply.begin()
    return reply.read()
