"""One process that serves: builds the parts, listens, obeys signals, stops in order.

The one rule: whatever is begun here is ended here, and the process ends with a code that says how.
"""

from __future__ import annotations

import asyncio
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
from m2mproxy.config import Config, ConfigError, Listen
from m2mproxy.http.faults import Fault
from m2mproxy.http.message import Origin
from m2mproxy.net.connection import Turn
from m2mproxy.net.dial import Dialler
from m2mproxy.net.pool import Pool
from m2mproxy.proxy.context import Context
from m2mproxy.proxy.exchange import Exchange
from m2mproxy.proxy.forwarding import Forwarding
from m2mproxy.proxy.providers import Router, profile_for
from m2mproxy.proxy.proxy import Proxy
from m2mproxy.proxy.routes import Routes, Upstream
from m2mproxy.service.local import Endpoints
from m2mproxy.service.log import Log, Writer
from m2mproxy.service.stats import Stats

_BACKLOG = 1024
# After the last resets are sent: time for the loop to hand them to the kernel.
_LAST_WORDS = 0.2


def check(config: Config) -> None:
    """What only the running program can judge of a configuration. Binds nothing.

    Raises:
        ConfigError: the provider is unknown or its base URL is of no use.
    """
    route_parts(config)


def route_parts(config: Config) -> tuple[Router, Forwarding, str]:
    """The upstream's router and forwarding, and its provider's name."""
    upstream = config.upstream
    path = f"{upstream.path}?{upstream.query}" if upstream.query else upstream.path
    try:
        profile = profile_for(config.provider, upstream.host, upstream.port, path)
    except ValueError as error:
        raise ConfigError("configuration", "proxy.provider", config.provider, str(error)) from None
    try:
        router = Router(profile, upstream.path, upstream.query, config.api_version)
    except ValueError as error:
        raise ConfigError("configuration", "proxy.upstream", str(upstream), str(error)) from None
    return router, Forwarding(profile, config.api_key, config.forwarded), profile.name


def serve(config: Config) -> int:
    """Serve until a signal says stop. Returns the exit code.

    Raises:
        OSError: an address cannot be bound.
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
        turn = Turn(loop)
        self._dialler = Dialler(turn, loop, config.timeouts, config.limits, config.ca_file)
        self._pool = Pool(
            loop,
            self._dialler,
            config.limits.upstream_connections,
            config.timeouts.upstream_keepalive,
        )
        routes, self._provider = self._routes()
        context = Context(config, routes, time.monotonic)
        self._proxy = Proxy(context, turn, loop, self._ended, self._refused)
        self._servers: list[asyncio.Server] = []
        self._sockets: list[str] = []

    def _routes(self) -> tuple[Routes, str]:
        upstream = self._config.upstream
        router, forwarding, provider = route_parts(self._config)
        origin = Origin(upstream.scheme, upstream.host, upstream.port)
        endpoints = Endpoints(self._snapshot, self._stats.reset)
        route = Upstream(
            origin,
            origin.authority,
            upstream.scheme.encode(),
            self._pool.to(origin),
            router,
            forwarding,
        )
        endpoints.watch(route)
        return Routes(route, endpoints.table()), provider

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
            "open_streams": self._proxy.exchanges,
            "client_connections": self._proxy.connections,
            "upstream_connections": self._pool.counts(),
            "log_lines_dropped": self._writer.dropped,
            "version": __version__,
        }

    # -- life -----------------------------------------------------------------------------------

    async def run(self) -> int:
        """Listen, serve, drain, end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._signalled, number)
        _raise_file_limit()
        try:
            for listen in self._config.listen:
                self._servers.append(await self._listen(listen))
            self._announce()
            # What is there now stays: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            await self._stop.wait()
            await self._drain()
        finally:
            await self._close()
        return 0

    async def _listen(self, listen: Listen) -> asyncio.Server:
        if not listen.path:
            return await self._loop.create_server(
                self._proxy.accept, listen.host, listen.port, backlog=_BACKLOG
            )
        _remove_stale_socket(listen.path)
        server = await self._loop.create_unix_server(
            self._proxy.accept, listen.path, backlog=_BACKLOG
        )
        self._sockets.append(listen.path)
        return server

    def _announce(self) -> None:
        places = [_address(sock) for server in self._servers for sock in server.sockets]
        base = next((f"http://{place}/v1" for place in places if place[0] != "u"), places[0])
        self._log.event(
            "info",
            f"m2mproxy {__version__} listens on {', '.join(places)} and forwards to "
            f"{self._config.upstream} ({self._provider}); a client's base_url is {base}",
        )
        self._writer.flush()

    def _signalled(self, number: signal.Signals) -> None:
        if number is signal.SIGINT or self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _drain(self) -> None:
        for server in self._servers:
            server.close()
        self._proxy.drain()
        seconds = self._config.drain
        self._log.event("info", f"stopping: {self._proxy.exchanges} requests have {seconds:g} s")
        end = self._loop.time() + seconds
        while self._proxy.connections and self._loop.time() < end and not self._hurry.is_set():
            await asyncio.sleep(0.02)
        if self._proxy.exchanges:
            self._log.event("warning", f"cutting {self._proxy.exchanges} requests short")
        self._proxy.stop()
        if self._proxy.connections:
            await asyncio.sleep(_LAST_WORDS)

    async def _close(self) -> None:
        self._dialler.close()
        self._pool.close()
        for server in self._servers:
            server.close()
        for path in self._sockets:
            if os.path.exists(path):
                os.unlink(path)
        await asyncio.sleep(0)
        self._writer.flush()


def _raise_file_limit() -> None:
    """As many open files as we may have: an exchange takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _remove_stale_socket(path: str) -> None:
    """Remove what a killed predecessor left; a socket that still answers is not touched."""
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


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
