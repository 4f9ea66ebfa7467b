"""One process that serves: builds the parts, listens, obeys signals, stops in order.

The one rule: whatever is begun here is ended here, and the process ends with a code that says how.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import signal
import socket
import stat
import sys
import time

import uvloop

from m2mproxy import __version__
from m2mproxy.config import Config, Listen
from m2mproxy.http.faults import Fault
from m2mproxy.net.connection import Turn
from m2mproxy.net.dial import Dialler
from m2mproxy.net.pool import Pool
from m2mproxy.proxy.context import Context
from m2mproxy.proxy.exchange import Exchange
from m2mproxy.proxy.proxy import Proxy
from m2mproxy.proxy.routes import Routes, Upstream
from m2mproxy.service.local import Endpoints
from m2mproxy.service.log import Log
from m2mproxy.service.stats import Stats
from m2mproxy.service.upstream import parts
from m2mproxy.service.writer import Writer

_BACKLOG = 1024
# Listeners, the log, the loop's own.
_OWN_FILES = 32
# After the last resets are sent: time for the loop to hand them to the kernel.
_LAST_WORDS = 0.2


def check(config: Config) -> None:
    """What only the running program can judge of a configuration. Binds nothing.

    Raises:
        ConfigError: see `parts`.
    """
    parts(config)


def serve(config: Config) -> int:
    """Serve until a signal says stop. Returns the exit code.

    Raises:
        OSError: an address cannot be bound; `filename` is the address.
        ConfigError: see `check`.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Server(config, runner.get_loop()).run())


class Server:
    """The parts and how they are wired."""

    def __init__(self, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._loop = loop
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stats = Stats()
        self._writer = Writer(loop, sys.stderr.fileno())
        self._log = Log(config.logging, self._writer)
        self._parts = parts(config)
        turn = Turn(loop)
        self._dialler = Dialler(turn, loop, config.timeouts, config.limits, self._parts.tls)
        self._pool = Pool(
            loop,
            self._dialler,
            config.limits.upstream_connections,
            config.timeouts.upstream_keepalive,
        )
        context = Context(config, self._routes(), time.monotonic)
        self._proxy = Proxy(context, turn, loop, self._ended, self._refused)
        self._servers: list[asyncio.Server] = []
        self._sockets: dict[str, int] = {}  # path to inode of those that are ours

    def _routes(self) -> Routes:
        built = self._parts
        endpoints = Endpoints(self._snapshot, self._stats.reset)
        route = Upstream(
            built.origin,
            built.origin.authority,
            built.origin.scheme.encode(),
            self._pool.to(built.origin),
            built.router,
            built.forwarding,
        )
        endpoints.watch(route)
        return Routes(route, endpoints.table())

    # -- what the parts report ------------------------------------------------------------------

    def _ended(self, exchange: Exchange) -> None:
        self._stats.record(exchange)
        self._log.exchange(exchange)

    def _refused(self, peer: str, fault: Fault) -> None:
        self._stats.refused(fault)
        self._log.refusal(peer, fault)

    def _snapshot(self) -> dict[str, object]:
        return {
            **self._stats.snapshot(),
            "open_streams": self._proxy.open_streams,
            "client_connections": self._proxy.connections,
            "upstream_connections": self._pool.counts(),
            "log_lines_dropped": self._writer.dropped,
            "version": __version__,
        }

    # -- life -----------------------------------------------------------------------------------

    async def run(self) -> int:
        """Listen, serve, drain, end."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._signalled, number)
        self._fit_files(_raise_file_limit())
        try:
            for listen in self._config.listen:
                await self._listen(listen)
            self._announce()
            # What is there now stays: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            await self._stop.wait()
            await self._drain()
        finally:
            await self._close()
        return 0

    async def _listen(self, listen: Listen) -> None:
        try:
            if listen.path:
                _remove_stale_socket(listen.path)
                server = await self._loop.create_unix_server(
                    self._proxy.accept, listen.path, backlog=_BACKLOG
                )
                self._sockets[listen.path] = os.stat(listen.path).st_ino
            else:
                server = await self._loop.create_server(
                    self._proxy.accept, listen.host, listen.port, backlog=_BACKLOG
                )
        except OSError as error:
            error.filename = str(listen)
            raise
        self._servers.append(server)

    def _fit_files(self, files: int) -> None:
        limits = self._config.limits
        wanted = limits.connections + limits.upstream_connections + _OWN_FILES
        if files < wanted:
            self._log.event(
                "warning",
                f"the limits allow {wanted} open files, the system only {files}: raise LimitNOFILE "
                "or lower limits.connections and limits.upstream_connections",
            )

    def _announce(self) -> None:
        places = [_address(sock) for server in self._servers for sock in server.sockets]
        base = next((f"http://{place}/v1" for place in places if place[0] != "u"), places[0])
        self._log.event(
            "info",
            f"m2mproxy {__version__} listens on {', '.join(places)} and forwards to "
            f"{self._config.upstream} ({self._parts.provider}); a client's base_url is {base}",
        )
        self._writer.flush()

    def _signalled(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self._log.event("warning", "SIGHUP: the configuration cannot be reloaded yet")
            return
        if number is signal.SIGINT or self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _drain(self) -> None:
        for server in self._servers:
            server.close()
        gone = asyncio.Event()
        self._proxy.on_empty = gone.set
        if not self._proxy.connections:
            gone.set()
        self._proxy.drain()
        seconds = self._config.drain
        self._log.event("info", f"stopping: {self._proxy.exchanges} requests have {seconds:g} s")
        empty = self._loop.create_task(gone.wait())
        hurry = self._loop.create_task(self._hurry.wait())
        await asyncio.wait((empty, hurry), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._proxy.exchanges:
            self._log.event("warning", f"cutting {self._proxy.exchanges} requests short")
        self._proxy.stop()
        await asyncio.wait((empty,), timeout=_LAST_WORDS)
        empty.cancel()
        hurry.cancel()

    async def _close(self) -> None:
        self._dialler.close()
        self._pool.close()
        for server in self._servers:
            server.close()
        for path, inode in self._sockets.items():
            _unlink_own(path, inode)
        await asyncio.sleep(0)
        self._writer.close()


def _raise_file_limit() -> int:
    """As many open files as we may have: an exchange takes two. Returns that number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _unlink_own(path: str, inode: int) -> None:
    """Remove our socket, not one that somebody has put in its place."""
    try:
        if os.stat(path).st_ino == inode:
            os.unlink(path)
    except FileNotFoundError:
        pass


def _remove_stale_socket(path: str) -> None:
    """Remove what a killed predecessor left. A socket that answers is somebody's: the event loop
    would take even that away."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
