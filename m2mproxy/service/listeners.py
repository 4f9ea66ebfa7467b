"""The sockets that clients connect to: all of them, or none.

They are opened before the event loop runs, and without its help: it would ask a pool of threads to
resolve `127.0.0.1`, and it removes whatever socket it finds in place of its own.

The one rule: what is opened here is closed here, and a unix socket's path is removed only while it
is still ours.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable

from m2mproxy.config import Listen
from m2mproxy.net.tcp import tune

BACKLOG = 1024
# What an address of a name may fail with without harm when another one works: `localhost` is ::1
# too, whether the machine has IPv6 or not.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Listeners:
    """Sockets that are bound and take connections, and which of the addresses each is of."""

    def __init__(self, addresses: Iterable[Listen], tls: bool = False) -> None:
        """Open all. After a failure none is left. `tls` is for addresses that do not say it.

        Raises:
            OSError: one cannot be opened; `filename` is its address.
        """
        self.sockets: dict[socket.socket, Listen] = {}
        self._tls = tls
        self._paths: dict[str, tuple[int, int]] = {}
        for listen in addresses:
            try:
                self._open_unix(listen) if listen.path else self._open_tcp(listen)
            except OSError as error:
                self.close()
                error.filename = str(listen)
                raise

    def close(self) -> None:
        """Take no more connections."""
        # While it is open no other program takes the path for a dead one's, so this comes first.
        for path, identity in self._paths.items():
            if _identity(path) == identity:
                os.unlink(path)
        self._paths = {}
        for each in self.sockets:
            each.close()

    def is_secure(self, sock: socket.socket) -> bool:
        """Whether TLS is spoken on one."""
        return self.sockets[sock].is_secure(self._tls)

    def addresses(self) -> list[str]:
        """Where they listen, as a configuration would have it, with the ports that were chosen."""
        return [self._address(each) for each in self.sockets]

    def _address(self, sock: socket.socket) -> str:
        name, scheme = sock.getsockname(), self.sockets[sock].scheme
        if isinstance(name, str):
            return str(Listen(path=name))
        return str(Listen(name[0], name[1], scheme="https" if self.is_secure(sock) else scheme))

    def _open_unix(self, listen: Listen) -> None:
        path = listen.path
        _remove_stale(path)
        self._open(listen, socket.AF_UNIX, path)
        identity = _identity(path)
        if identity is not None:
            self._paths[path] = identity

    def _open_tcp(self, listen: Listen) -> None:
        found = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        before, failure = len(self.sockets), None
        for family, address in dict.fromkeys((each[0], each[4]) for each in found):
            try:
                self._open(listen, family, address)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                failure = error
        if failure is not None and len(self.sockets) == before:
            raise failure

    def _open(self, listen: Listen, family: int, address: str | tuple[object, ...]) -> None:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if family != socket.AF_UNIX:
                # A restart must not wait for connections that the last process closed.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tune(sock)
            if family == socket.AF_INET6:
                # [::] is every IPv6 address; 0.0.0.0 beside it has to be free.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            # At once: until then another process could bind to the same port.
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        self.sockets[sock] = listen


def _remove_stale(path: str) -> None:
    """Remove what a killed predecessor left. What is no socket, and a socket that somebody still
    serves, is left for `bind` to stumble on."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a queue that is full is served too
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return


def _identity(path: str) -> tuple[int, int] | None:
    """Which file `path` is, None when it is gone."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
