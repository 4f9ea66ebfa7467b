"""The glue to asyncio: everything goes to the connection as it came, and sockets are tuned."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from clock import DrivenLoop
from link import Raw, Split, Transport, join, whole

from m2mproxy.net.tcp import Dialled, Tcp, tune, tune_upstream


class Recorder:
    """A connection that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.data = b""
        self.transport: Transport

    def attach(self, transport: object) -> None:
        assert isinstance(transport, Transport)
        self.transport = transport
        self.told.append("attached")

    def received(self, data: bytes) -> None:
        self.data += data

    def eof(self) -> None:
        self.told.append("eof")

    def lost(self, error: Exception | None) -> None:
        self.told.append(("lost", error))

    def writable(self, yes: bool) -> None:
        self.told.append(yes)

    def flush(self) -> None:
        self.told.append("flush")

    def drain(self) -> None:
        self.told.append("drain")

    def abort(self) -> None:
        self.told.append("abort")


class Bed:
    """A Tcp with a recorder, and the other end."""

    def __init__(self, split: Split = whole) -> None:
        self.loop = DrivenLoop()
        self.made: list[Recorder] = []
        self.far = Raw()
        self.tcp = Tcp(self._make)
        assert not self.made
        _, self.near = join(self.loop, self.far, self.tcp, split)
        self.connection = self.made[0]

    def _make(self, _: asyncio.Transport) -> Recorder:
        self.made.append(Recorder())
        return self.made[-1]


def test_the_connection_is_made_when_the_transport_is_there() -> None:
    bed = Bed()
    assert bed.made == [bed.connection]
    assert bed.tcp.connection is bed.connection
    assert bed.connection.transport is bed.near
    assert bed.connection.told == ["attached"]


def test_bytes_arrive_as_they_came(split: Split) -> None:
    bed = Bed(split)
    bed.far.send(b"some bytes")
    bed.loop.run()
    assert bed.connection.data == b"some bytes"


def test_the_end_of_the_other_side_closes_ours() -> None:
    """Which half-close a client may survive is for HTTP to say: none, so far."""
    bed = Bed()
    bed.far.transport.close()
    bed.loop.run()
    assert bed.connection.told == ["attached", "eof", ("lost", None)]


def test_a_reset_is_told_with_its_reason() -> None:
    bed = Bed()
    bed.far.transport.die()
    bed.loop.run()
    what, error = bed.connection.told[-1]  # type: ignore[misc]
    assert what == "lost"
    assert isinstance(error, ConnectionResetError)


def test_a_full_buffer_is_told_and_so_is_room() -> None:
    bed = Bed()
    bed.far.transport.pause_reading()
    bed.connection.transport.write(b"x" * 65_537)
    assert bed.connection.told == ["attached", False]
    bed.far.transport.resume_reading()
    bed.loop.run()
    assert bed.connection.told == ["attached", False, True]


def test_a_buffer_of_64_kib_is_not_full() -> None:
    bed = Bed()
    bed.connection.transport.write(b"x" * 65_536)
    assert bed.connection.told == ["attached"]


def option(sock: socket.socket, level: int, name: int) -> int:
    value = sock.getsockopt(level, name)
    assert isinstance(value, int)
    return value


def check_tuned(sock: socket.socket) -> None:
    assert option(sock, socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert option(sock, socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert option(sock, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60
    assert option(sock, socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 15
    assert option(sock, socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
    assert option(sock, socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 64 * 1024


def test_what_a_tuned_listener_accepts_is_tuned() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tune(listener)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            check_tuned(accepted)


@pytest.mark.parametrize(("seconds", "is_near"), [(0.0002, True), (0.2, False)])
def test_what_an_upstream_near_by_may_send_ahead_is_bounded(seconds: float, is_near: bool) -> None:
    """One far away is left to the kernel, which follows what is read in a round trip."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as dialled,
    ):
        before = option(dialled, socket.SOL_SOCKET, socket.SO_RCVBUF)
        tune_upstream(dialled, seconds)
        check_tuned(dialled)
        # Linux doubles the figure for its own bookkeeping, socket(7).
        expected = 2 * 128 * 1024 if is_near else before
        assert option(dialled, socket.SOL_SOCKET, socket.SO_RCVBUF) == expected


@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_what_arrived_before_a_write_failed_is_heard(size: int, tmp_path: Path) -> None:
    loop, made = DrivenLoop(), Recorder()
    far, dialled = Raw(), Dialled(lambda _: made)
    _, near = join(loop, far, dialled)
    (tmp_path / "kernel").write_bytes(b"x" * size)
    with open(tmp_path / "kernel", "rb") as rest:
        near.socket.descriptor = rest.fileno()
        far.transport.die()
        loop.run()
        assert made.data == b"x" * size
        assert made.told[-1][0] == "lost"  # type: ignore[index]


@pytest.mark.parametrize("how", ["orderly", "of our own", "over TLS"])
def test_of_other_ends_nothing_is_read(how: str, tmp_path: Path) -> None:
    """Over TLS the socket is closed by then, and its number may be another connection's."""
    loop, made = DrivenLoop(), Recorder()
    far, dialled = Raw(), Dialled(lambda _: made)
    _, near = join(loop, far, dialled)
    (tmp_path / "kernel").write_bytes(b"not ours")
    with open(tmp_path / "kernel", "rb") as rest:
        near.socket.descriptor = rest.fileno()
        near.tls = object() if how == "over TLS" else None
        if how == "orderly":
            far.transport.close()
        elif how == "of our own":
            near.abort()
        else:
            far.transport.die()
        loop.run()
    assert made.data == b""
    assert made.told[-1][0] == "lost"  # type: ignore[index]


@pytest.mark.parametrize("number", [1, 3])
def test_each_transport_has_its_own_connection(number: int) -> None:
    loop = DrivenLoop()
    made: list[Recorder] = []

    def make(_: asyncio.Transport) -> Recorder:
        made.append(Recorder())
        return made[-1]

    for _ in range(number):
        join(loop, Raw(), Tcp(make))
    assert len({id(connection) for connection in made}) == number
