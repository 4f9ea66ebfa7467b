"""Sockets to listen on: all or none, and nobody else's is touched."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import needs_ipv6

from m2mproxy.config import Listen
from m2mproxy.service.listeners import Listeners

HERE = Listen("127.0.0.1", 0)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "m2m.sock")


@pytest.fixture
def taken() -> Iterator[Listen]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Listen("127.0.0.1", server.getsockname()[1])


def refusal(*addresses: Listen) -> OSError:
    with pytest.raises(OSError) as caught:
        Listeners(addresses)
    assert caught.value.filename == str(addresses[-1])
    return caught.value


def open_sockets() -> int:
    return sum(os.readlink(f"/proc/self/fd/{fd}").startswith("socket:") for fd in _descriptors())


def _descriptors() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]


def can_connect(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


@needs_ipv6
def test_addresses_with_the_ports_that_were_chosen(path: str) -> None:
    listeners = Listeners([HERE, Listen("::1", 0), Listen(path=path)])
    first, second, third = listeners.addresses()
    assert first.startswith("127.0.0.1:") and not first.endswith(":0")
    assert second.startswith("[::1]:") and not second.endswith(":0")
    assert third == f"unix:{path}"
    for text in (first, second):
        listen = Listen.parse(text)
        socket.create_connection((listen.host, listen.port), 5).close()
    assert can_connect(path)
    listeners.close()
    listeners.close()
    assert not os.path.exists(path)


def test_a_name_is_all_its_addresses() -> None:
    listeners = Listeners([Listen("localhost", 0)])
    found = socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)
    assert 1 <= len(listeners.sockets) <= len(found)
    listeners.close()


def test_an_address_of_a_name_that_this_machine_lacks_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = (socket.SOCK_STREAM, 6, "")
    lacking = (socket.AF_INET, *stream, ("192.0.2.1", 0))  # RFC 5737: nobody's
    there = (socket.AF_INET, *stream, ("127.0.0.1", 0))
    for found in ([lacking, there], [there, lacking]):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=found, **__: found)
        listeners = Listeners([Listen("name", 0)])
        assert len(listeners.sockets) == 1
        listeners.close()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [lacking])
    assert refusal(Listen("name", 0)).errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("listen", [Listen("192.0.2.1", 0), Listen("2001:db8::1", 0)])
def test_an_address_of_another_machine(listen: Listen) -> None:
    assert refusal(listen).errno == errno.EADDRNOTAVAIL


def test_a_name_that_is_none() -> None:
    assert isinstance(refusal(Listen("nowhere.invalid", 0)), socket.gaierror)


def test_after_a_failure_nothing_is_left(path: str, taken: Listen) -> None:
    before = open_sockets()
    assert refusal(HERE, Listen(path=path), taken).errno == errno.EADDRINUSE
    assert open_sockets() == before
    assert not os.path.exists(path)


def test_a_port_is_taken_from_the_moment_it_is_bound() -> None:
    """SO_REUSEADDR would let a second process bind to it until the first one listens."""
    first = Listeners([HERE])
    again = Listen.parse(first.addresses()[0])
    assert refusal(again).errno == errno.EADDRINUSE
    first.close()
    Listeners([again]).close()


def test_a_path_that_is_served(path: str) -> None:
    first = Listeners([Listen(path=path)])
    assert refusal(HERE, Listen(path=path)).errno == errno.EADDRINUSE
    assert can_connect(path)
    first.close()


def test_a_path_that_is_served_by_somebody_busy(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
        busy.bind(path)
        busy.listen(0)
        client.connect(path)  # the queue is full
        assert refusal(Listen(path=path)).errno == errno.EADDRINUSE
        assert os.path.exists(path)


def test_a_path_that_a_killed_program_left(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    listeners = Listeners([Listen(path=path)])
    assert can_connect(path)
    listeners.close()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "datagrams"])
def test_what_is_no_stale_socket_is_not_touched(path: str, kind: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        if kind == "file":
            Path(path).write_text("precious")
        elif kind == "directory":
            Path(path).mkdir()
        elif kind == "link":
            Path(path).symlink_to(tmp_path / "elsewhere")
        else:
            datagrams.bind(path)
        assert refusal(Listen(path=path)).errno == errno.EADDRINUSE
        assert os.path.lexists(path)
    assert kind != "file" or Path(path).read_text() == "precious"


def test_a_directory_that_is_not_there(path: str) -> None:
    assert refusal(Listen(path=f"{path}/x")).errno == errno.ENOENT


def test_a_path_that_is_not_ours_any_more_stays(path: str) -> None:
    first = Listeners([Listen(path=path)])
    os.unlink(path)
    second = Listeners([Listen(path=path)])
    first.close()
    assert can_connect(path)
    second.close()
    assert not os.path.exists(path)


def test_a_path_that_somebody_removed(path: str) -> None:
    listeners = Listeners([Listen(path=path)])
    os.unlink(path)
    listeners.close()


def test_the_umask_decides_who_may_connect(path: str) -> None:
    before = os.umask(0o117)
    try:
        listeners = Listeners([Listen(path=path)])
    finally:
        os.umask(before)
    assert os.stat(path).st_mode & 0o777 == 0o660
    listeners.close()
