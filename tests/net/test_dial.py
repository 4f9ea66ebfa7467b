"""Dials over loopback on a real uvloop: every way to fail has its fault, none leaves anything."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from m2mproxy.config import Limits, Timeouts
from m2mproxy.http.faults import Fault, TooLate, UpstreamFault
from m2mproxy.http.flow import Signal
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Origin, Request, Response
from m2mproxy.net.connection import LoopTurn, Runtime
from m2mproxy.net.deadline import Deadlines
from m2mproxy.net.dial import Dialler
from m2mproxy.net.pool import Pool
from m2mproxy.net.tls import client_context

T = TypeVar("T")
Serve = Callable[[socket.socket], None]


@contextmanager
def server(serve: Serve) -> Iterator[int]:
    """A listener on loopback that hands each connection to `serve`; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(10)
            try:
                serve(connection)
            except OSError:
                connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # Closing alone would not wake an accept under way.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def answer(connection: socket.socket) -> None:
    """One request, one response."""
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        connection.recv(1)  # until the other side leaves


async def known(signal: Signal[T]) -> T:
    """What `signal` brings, for a Task to wait for."""
    if not signal.done:
        event = asyncio.Event()
        signal.subscribe(event.set)
        async with asyncio.timeout(10):
            await event.wait()
    return signal.result()


class Bed:
    """A pool that dials for real."""

    def __init__(
        self, tls: ssl.SSLContext | None = None, connect: float = 10, http: str = "auto"
    ) -> None:
        self.loop = asyncio.get_running_loop()
        timeouts = Timeouts(connect=connect, upstream_keepalive=4)
        runtime = Runtime(
            LoopTurn(self.loop), self.loop, timeouts, Limits(), Deadlines(self.loop)
        )
        self.dialler = Dialler(runtime, tls, http)
        self.pool = Pool(runtime, self.dialler, 10)

    async def get(self, origin: Origin) -> Response:
        """A whole exchange, or the fault raised."""
        stream = await known(self.pool.to(origin).stream())
        stream.send_request(Request(b"GET", b"/", b"h", Headers()))
        stream.finish()
        return await known(stream.head)

    async def closed(self, origin: Origin) -> None:
        """Close everything, and see that everything is gone."""
        self.pool.close()
        async with asyncio.timeout(10):
            while any(self.pool.to(origin).counts().values()):  # noqa: ASYNC110
                await asyncio.sleep(0)


def outcome(
    origin: Origin,
    tls: ssl.SSLContext | None = None,
    connect: float = 10,
    loop: Callable[[], uvloop.Loop] = uvloop.new_event_loop,
) -> Response | Fault:
    """What becomes of a request to `origin`. Nothing is left behind in any case."""

    async def run() -> Response | Fault:
        bed = Bed(tls, connect)
        try:
            return await bed.get(origin)
        except Fault as fault:
            return fault
        finally:
            await bed.closed(origin)

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(run())


def http(port: int) -> Origin:
    return Origin("http", "127.0.0.1", port)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# -- TCP ----------------------------------------------------------------------------------------


def test_a_dial_brings_a_connection() -> None:
    with server(answer) as port:
        response = outcome(http(port))
    assert isinstance(response, Response)
    assert response.status == 200


def test_a_dial_to_a_name_that_resolves() -> None:
    with server(answer) as port:
        assert isinstance(outcome(Origin("http", "localhost", port)), Response)


def test_nobody_listens() -> None:
    fault = outcome(http(free_port()))
    assert isinstance(fault, UpstreamFault)
    assert fault.code == "upstream_unreachable"
    assert "refused" in fault.message


def test_a_name_that_does_not_resolve() -> None:
    fault = outcome(Origin("http", "no-such-name.invalid", 80))
    assert isinstance(fault, UpstreamFault)
    assert fault.code == "upstream_not_resolved"
    assert "no-such-name.invalid" in fault.message


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-name.invalid"])
def test_a_lack_of_files_is_not_said_to_be_the_upstreams(host: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def run(origin: Origin) -> Fault:
        bed = Bed()
        files = [os.dup(0)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (files[0] + 1, hard))
        try:
            with suppress(OSError):
                while True:
                    files.append(os.dup(0))
            with pytest.raises(Fault) as caught:
                await bed.get(origin)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for file in files:
                os.close(file)
        await bed.closed(origin)
        return caught.value

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        fault = runner.run(run(Origin("http", host, free_port())))
    assert (fault.status, fault.code) == (503, "out_of_files")


def close(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def speak_first(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
    connection.close()


@pytest.mark.parametrize("serve", [close, reset, speak_first])
def test_an_upstream_that_leaves_at_once_costs_no_place(serve: Serve) -> None:
    """Whether it is noticed in the dial or after it, the pool knows that it is gone."""

    async def run(origin: Origin) -> None:
        bed = Bed()
        for _ in range(30):
            try:
                await bed.get(origin)
            except UpstreamFault as fault:
                assert fault.code in (
                    "upstream_disconnected",
                    "upstream_unreachable",
                    "upstream_protocol_error",
                )
        await bed.closed(origin)

    with server(serve) as port, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(http(port)))


def test_a_closed_dialler_reports_nothing_more() -> None:
    reports: list[object] = []

    async def run(port: int) -> None:
        bed = Bed()
        bed.dialler.dial(http(port), bed.pool.to(http(port)), reports.append)
        (dial,) = asyncio.all_tasks() - {asyncio.current_task()}
        bed.dialler.close()
        await asyncio.wait((dial,))

    with server(answer) as port, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(port))
    assert reports == []


def test_a_bug_in_a_dial_is_reported_to_whoever_waits_for_it() -> None:
    """Nothing else would tell him."""
    bugs: list[dict[str, object]] = []

    async def run(origin: Origin) -> Fault:
        bed = Bed()
        bed.loop.set_exception_handler(lambda _, context: bugs.append(context))
        with pytest.raises(Fault) as caught:
            await bed.get(origin)
        await bed.closed(origin)
        return caught.value

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        fault = runner.run(run(Origin("http", "a..b", 80)))  # no name, which the codec says
    gc.collect()
    assert (fault.status, fault.code) == (500, "internal_error")
    assert [isinstance(each["exception"], UnicodeError) for each in bugs] == [True]


def test_a_descriptor_has_one_owner_once_it_is_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """uvloop forgets the socket object where its connection ends at once: what closes the same
    number later closes another connection, and libuv aborts."""
    made: list[socket.socket] = []

    class Recorded(socket.socket):
        def __init__(self, *known: Any, **more: Any) -> None:
            super().__init__(*known, **more)
            made.append(self)

    async def run(origin: Origin) -> None:
        bed = Bed()
        monkeypatch.setattr("m2mproxy.net.dial.socket.socket", Recorded)
        await bed.get(origin)
        monkeypatch.undo()
        assert made[0].fileno() == -1  # the others are the server's, and uvloop's own
        await bed.closed(origin)

    with server(answer) as port, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(http(port)))


# -- names with several addresses -----------------------------------------------------------------

SILENT, UNKNOWN = "192.0.2.1", "192.0.2.2"


class Named(uvloop.Loop):
    """Every name has these addresses, of which one never answers and one is refused."""

    addresses: tuple[str, ...]
    tried: list[tuple[socket.socket, str]]

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        found = self.addresses if host == "several.invalid" else (host,)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (to, port)) for to in found]

    async def sock_connect(self, sock: Any, address: Any) -> None:
        self.tried.append((sock, address[0]))
        if address[0] == SILENT:
            await asyncio.Event().wait()
        if address[0] == UNKNOWN:
            raise OSError(errno.EHOSTUNREACH, "no route")
        await super().sock_connect(sock, address)


def dialled(*addresses: str, connect: float = 5) -> tuple[Response | Fault, list[str]]:
    """What became of it, and the addresses that were tried."""
    loop = Named()
    loop.addresses, loop.tried = addresses, []
    with server(answer) as port:
        origin = Origin("http", "several.invalid", port)
        response = outcome(origin, connect=connect, loop=lambda: loop)
    assert all(sock.fileno() == -1 for sock, to in loop.tried if to != "127.0.0.1")
    return response, [to for _, to in loop.tried]


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1", SILENT),
        (SILENT, "127.0.0.1"),
        (UNKNOWN, "127.0.0.1"),
        (SILENT, UNKNOWN, "127.0.0.1"),
    ],
)
def test_an_address_that_leads_nowhere_is_passed_over(addresses: tuple[str, ...]) -> None:
    """And who answers at once has the connection alone."""
    response, tried = dialled(*addresses)
    assert isinstance(response, Response)
    assert tried == list(addresses[: addresses.index("127.0.0.1") + 1])


@pytest.mark.parametrize(
    ("addresses", "code"),
    [
        ((UNKNOWN, UNKNOWN), "upstream_unreachable"),
        ((SILENT, UNKNOWN), "upstream_connect_timeout"),
        ((), "upstream_not_resolved"),
    ],
)
def test_where_no_address_leads_anywhere(addresses: tuple[str, ...], code: str) -> None:
    fault, tried = dialled(*addresses, connect=0.5)
    assert isinstance(fault, Fault)
    assert (fault.code, tried) == (code, list(addresses))


# -- HTTP/2 with prior knowledge ------------------------------------------------------------------


def refuse(connection: socket.socket) -> None:
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


def accept(connection: socket.socket) -> None:
    with connection:
        connection.recv(65536)
        connection.sendall(bytes.fromhex("000000040000000000"))  # SETTINGS
        while connection.recv(65536):
            pass


@pytest.mark.parametrize(("serve", "taken"), [(accept, 1), (refuse, 0), (close, 0), (reset, 0)])
def test_http2_is_tried_in_the_background(serve: Serve, taken: int) -> None:
    async def run(origin: Origin) -> dict[str, int]:
        bed = Bed()
        pool = bed.pool.to(origin)
        pool.try_http2(lambda _: True, lambda: None)
        async with asyncio.timeout(10):
            while pool.counts()["connecting"]:  # noqa: ASYNC110
                await asyncio.sleep(0)
        counts = pool.counts()
        await bed.closed(origin)
        return counts

    with server(serve) as port, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        counts = runner.run(run(http(port)))
    assert counts == {"active": 0, "idle": taken, "connecting": 0, "waiting": 0}


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_version_that_is_configured_is_no_choice(version: str) -> None:
    """Nothing is dialled."""
    reports: list[Fault] = []

    async def run(origin: Origin) -> None:
        bed = Bed(http=version)
        bed.dialler.dial(origin, bed.pool.to(origin), reports.append, http2=True)  # type: ignore[arg-type]
        (dial,) = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait((dial,))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(http(free_port())))
    (fault,) = reports
    assert fault.message.endswith("is configured")


# -- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for "localhost" only, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@contextmanager
def tls_server(certificate: tuple[Path, Path], serve: Serve = answer) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)

    def secure(connection: socket.socket) -> None:
        serve(context.wrap_socket(connection, server_side=True))

    with server(secure) as port:
        yield port


def test_a_certificate_of_the_ca_file_is_accepted(certificate: tuple[Path, Path]) -> None:
    tls = client_context(str(certificate[0]))
    with tls_server(certificate) as port:
        assert isinstance(outcome(Origin("https", "localhost", port), tls), Response)


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: tuple[Path, Path]) -> None:
    with tls_server(certificate) as port:
        fault = outcome(Origin("https", "localhost", port), client_context())
    assert isinstance(fault, UpstreamFault)
    assert fault.code == "upstream_tls_error"
    assert "self-signed" in fault.message or "self signed" in fault.message
    assert fault.message.endswith("(ca_file has to name who vouches for it)")


def test_a_certificate_of_another_name_is_refused(certificate: tuple[Path, Path]) -> None:
    tls = client_context(str(certificate[0]))
    with tls_server(certificate) as port:
        fault = outcome(Origin("https", "127.0.0.1", port), tls)
    assert isinstance(fault, UpstreamFault)
    assert fault.code == "upstream_tls_error"
    assert "127.0.0.1" in fault.message
    assert "ca_file" not in fault.message


def goodbye(connection: socket.socket) -> None:
    assert isinstance(connection, ssl.SSLSocket)
    with suppress(ssl.SSLError):  # we need no word of the other side
        connection.unwrap()


def no_goodbye(connection: socket.socket) -> None:
    with socket.socket(fileno=connection.detach()) as plain:
        plain.shutdown(socket.SHUT_WR)
        plain.settimeout(10)
        while plain.recv(65536):
            pass


@pytest.mark.parametrize(("end", "whole"), [(goodbye, True), (no_goodbye, False)])
def test_the_end_of_tcp_is_no_end_of_a_reply_over_tls(
    end: Serve, whole: bool, certificate: tuple[Path, Path]
) -> None:
    """RFC 9112 9.8: anybody could have cut it who stands between."""

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nsome")
            end(connection)

    async def run(origin: Origin) -> tuple[bool, bool]:
        bed = Bed(client_context(str(certificate[0])))
        stream = await known(bed.pool.to(origin).stream())
        stream.send_request(Request(b"GET", b"/", b"h", Headers()))
        stream.finish()
        await known(stream.head)
        async with asyncio.timeout(10):
            while not stream.body.ended and stream.body.fault is None:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert stream.body.take() == b"some"
        await bed.closed(origin)
        return stream.body.ended, stream.body.fault is not None

    with (
        tls_server(certificate, serve) as port,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        assert runner.run(run(Origin("https", "localhost", port))) == (whole, not whole)


def test_an_upstream_that_does_not_speak_tls(certificate: tuple[Path, Path]) -> None:
    def plain(connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with server(plain) as port:
        fault = outcome(Origin("https", "localhost", port), client_context(str(certificate[0])))
    assert isinstance(fault, UpstreamFault)
    assert fault.code == "upstream_tls_error"
    assert fault.message.endswith(" failed: it answers in something else than TLS (is it http?)")


def test_an_upstream_that_leaves_in_the_handshake(certificate: tuple[Path, Path]) -> None:
    with server(close) as port:
        fault = outcome(Origin("https", "localhost", port), client_context(str(certificate[0])))
    assert isinstance(fault, UpstreamFault)
    assert fault.code in ("upstream_unreachable", "upstream_tls_error")


def test_a_handshake_that_never_ends_is_late(certificate: tuple[Path, Path]) -> None:
    held: list[socket.socket] = []
    with server(held.append) as port:
        tls = client_context(str(certificate[0]))
        fault = outcome(Origin("https", "localhost", port), tls, connect=0.2)
    for connection in held:
        connection.close()
    assert isinstance(fault, TooLate)
    assert fault.code == "upstream_connect_timeout"
    said = "took a connection, but did not answer to TLS (is it http?) within 0.2 s"
    assert fault.message == f"https://localhost:{port} {said}"


@pytest.mark.parametrize("serve", [close, reset, speak_first])
def test_a_tls_upstream_that_leaves_at_once_costs_no_place(
    serve: Serve, certificate: tuple[Path, Path]
) -> None:
    async def run(origin: Origin) -> None:
        bed = Bed(client_context(str(certificate[0])))
        for _ in range(10):
            with suppress(UpstreamFault):
                await bed.get(origin)
        await bed.closed(origin)

    with (
        tls_server(certificate, serve) as port,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(run(Origin("https", "localhost", port)))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_of_no_use_is_an_error(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OSError):
        client_context(str(path))


def test_old_versions_of_tls_are_not_spoken() -> None:
    context = client_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
