"""One process that serves: from the first address to the last connection.

It listens, says so, serves until a signal says stop, lets what is under way finish, cuts what does
not, and ends. What the parts are made of is decided elsewhere; here they are put together.

The one rule: whatever is begun here is ended here, and the process ends with a code that says how.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
import time
from dataclasses import replace
from functools import partial
from typing import Any

import uvloop

from m2mproxy import __version__
from m2mproxy.codec.token_native import Vocabularies
from m2mproxy.config import Config
from m2mproxy.http.faults import Fault
from m2mproxy.net.connection import LoopTurn, Runtime
from m2mproxy.net.deadline import Deadlines
from m2mproxy.net.dial import Dialler
from m2mproxy.net.pool import Pool
from m2mproxy.net.tcp import Tcp
from m2mproxy.net.watchdog import Watchdog
from m2mproxy.proxy.context import Context, tallies_of
from m2mproxy.proxy.exchange import Exchange
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.held import MOST_READ, Holds
from m2mproxy.proxy.links import Links
from m2mproxy.proxy.offload import Offload
from m2mproxy.proxy.proxy import Proxy
from m2mproxy.proxy.routes import LocalRoute, OwnRoutes, Routes
from m2mproxy.proxy.scanning import Guard, Scans
from m2mproxy.service import counting, files, process
from m2mproxy.service.accounts import Accounts
from m2mproxy.service.counting import Counting, Helper
from m2mproxy.service.debug import Debug
from m2mproxy.service.listeners import BACKLOG, Listeners
from m2mproxy.service.loaded import Loaded
from m2mproxy.service.local import Endpoints
from m2mproxy.service.log import Log
from m2mproxy.service.renewal import Renewal
from m2mproxy.service.stats import Stats
from m2mproxy.service.upstream import Parts, parts, route
from m2mproxy.service.writer import LineWriter

# Not sys.stderr, which Python may have replaced or left out.
_STDERR = 2
# After the last streams are cut: time for the cut to be sent, and for connections to close.
_LAST_WORDS = 0.2
# Seconds after which a thread that scans gives the interpreter's lock to the event loop; Python's
# own 5 ms would be a stall of everything.
_GIVE_WAY = 0.0005
_STOPPING = (signal.SIGTERM, signal.SIGINT)
_TAKEN = (*_STOPPING, signal.SIGHUP)
# Connections and handshakes that may be there at a time, beyond the limit of connections.
_SPARE = 64
# How long the loop lets TLS end. The connection's own deadline (net/linger.py) comes first, unless
# its client goes on taking something.
_TLS_END = 60.0


def serve(config: Config, loaded: Loaded) -> int:
    """Serve until a signal says stop. Returns the exit code.

    Raises:
        ConfigError: the upstream cannot be used, see `parts`.
        OSError: an address cannot be listened on; `filename` is the address.
    """
    built = parts(config)
    helper = counting.start(loaded.counter) if loaded.counter is not None else None
    try:
        _serve(config, built, loaded, helper)
    finally:
        if helper is not None:
            helper.end()
    return 0


def _serve(config: Config, built: Parts, loaded: Loaded, helper: Helper | None) -> None:
    if loaded.scanner is not None:
        sys.setswitchinterval(_GIVE_WAY)
    with contextlib.ExitStack() as opened:
        tls = built.server_tls is not None
        listeners = opened.enter_context(contextlib.closing(Listeners(config.listen, tls)))
        own = opened.enter_context(contextlib.closing(Listeners(config.stats.listen, tls)))
        runner = opened.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        loop = runner.get_loop()
        runner.run(Server(config, built, loaded, helper, listeners, own, loop).run())


class Server:
    """The parts, and how they are wired."""

    def __init__(
        self,
        config: Config,
        built: Parts,
        loaded: Loaded,
        helper: Helper | None,
        listeners: Listeners,
        own: Listeners,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`helper` is the process that counts tokens, if one does; at `own` addresses there are
        only the figures."""
        self._config = config
        self._loop = loop
        self._listeners, self._own_listeners = listeners, own
        self._provider = built.profile.name
        self._stats = Stats()
        self._writer = LineWriter(loop, _STDERR)
        self._log = Log(config.logging, self._writer)
        turn, deadlines = LoopTurn(loop), Deadlines(loop)
        runtime = Runtime(turn, loop, config.timeouts, config.limits, deadlines)
        tls = built.client_tls.context if built.client_tls is not None else None
        self._watchdog = Watchdog(loop)
        self._dialler = Dialler(runtime, tls, config.upstream_http, self._watchdog)
        self._pool = Pool(runtime, self._dialler, config.limits.upstream_connections)
        self._offload = Offload(loop)
        self._holds = Holds(read=max(MOST_READ, 2 * config.max_body))
        forms = Forms.of(config, loaded.aead, loaded.vocabularies)
        self._links = Links(config.link, time.monotonic, forms.seal is not None)
        self._upstream = route(config, built, self._pool, self._links, forms, time.monotonic)
        self._upstream.links.on_news = self._log.event
        routes = Routes(self._upstream, self._local(loaded.vocabularies))
        self._accounts = Accounts(loop, config.tokens.table, self._log.exchange)
        self._counting = Counting(loop, helper.socket, self._not_counted) if helper else None
        submit = self._counting.submit if self._counting is not None else None
        self._tallies = tallies_of(config, submit)
        self._guard = self._guarded(loaded.scanner)
        context = Context(
            config,
            routes,
            time.monotonic,
            self._offload,
            forms,
            self._links,
            self._tallies,
            self._guard,
            self._holds,
            runtime.turn.later,
        )
        announce = self._links.announce
        self._proxy = Proxy(
            context, runtime, self._ended, self._refused, announce, self._watchdog
        )
        # Where clients are too many to be let in, figures can still be read.
        own_routes = OwnRoutes(self._endpoints("on").table())
        only_own = replace(context, routes=own_routes, tallies=None, guard=None)
        self._own = Proxy(
            only_own, runtime, self._asked, self._log.refusal, watchdog=self._watchdog
        )
        self._tls = built.server_tls
        legs = [leg for leg in (built.server_tls, built.client_tls) if leg is not None]
        self._renewal = Renewal(loop, self._log, legs)
        self._servers: list[asyncio.Server] = []
        self._own_servers: list[asyncio.Server] = []
        self._stop = asyncio.Event()
        # Stopping need not go on: no connection is left, or a second signal came.
        self._over = asyncio.Event()

    def _local(self, vocabularies: Vocabularies) -> dict[bytes, LocalRoute]:
        """The paths that we answer ourselves, where clients are."""
        who = self._config.compression.endpoints
        return {
            **self._endpoints(self._config.stats.access).table(),
            **Debug(who, self._offload.run, vocabularies).table(),
        }

    def _endpoints(self, who: str) -> Endpoints:
        return Endpoints(self._snapshot, self._reset, self._upstream, who)

    def _guarded(self, scanner: Scans | None) -> Guard | None:
        if scanner is None:
            return None
        config, run, tenant = self._config, self._offload.run, self._links.tenant
        return Guard(config.security, scanner, run, time.perf_counter, tenant, config.max_body)

    # -- what the parts report ------------------------------------------------------------------

    def _ended(self, exchange: Exchange) -> None:
        self._stats.record(exchange)
        self._accounts.ended(exchange)

    def _asked(self, exchange: Exchange) -> None:
        """Figures were asked for, at an address of their own. Every few seconds that is no news."""
        if exchange.error:
            self._log.exchange(exchange)

    def _refused(self, client: str, fault: Fault) -> None:
        self._stats.refused(fault)
        self._log.refusal(client, fault)

    def _not_counted(self) -> None:
        why = "the process that counts tokens has ended; none are counted any more"
        self._log.event("error", why)

    def _unexpected(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody caught, which asyncio would print in a way of its own."""
        self._log.bug(context["message"], context.get("exception"))

    def _unraisable(self, event: sys.UnraisableHookArgs) -> None:
        """An exception that nobody could catch, which Python would print."""
        if isinstance(event.exc_value, UnicodeDecodeError):  # a name that a client asked TLS for
            self._log.event("debug", "TLS: a client asked for a name that is not ASCII")
        else:
            self._log.bug("an exception that went nowhere", event.exc_value)

    def _handshake_failed(self, reason: str) -> None:
        """A client's TLS came to nothing; anybody who can connect can have a line of this."""
        self._log.event("debug", f"TLS: a client's handshake failed: {reason}")

    def _room(self) -> int:
        return self._config.limits.connections + _SPARE - self._proxy.connections

    def _reset(self) -> None:
        self._stats.reset()
        self._accounts.reset()
        self._upstream.links.counts.reset()
        if self._guard is not None:
            self._guard.reset()

    def _snapshot(self) -> dict[str, object]:
        return {
            **self._stats.snapshot(),
            "open_streams": self._proxy.open_streams,
            "client_connections": self._proxy.connections,
            "upstream_connections": self._pool.counts(),
            "upstream_reads": self._upstream.requests.readable.report(),
            "held_bodies": self._holds.report(),
            "links": {
                **self._links.report(),
                str(self._upstream.origin): self._upstream.links.report(),
            },
            "tokens": {**self._accounts.snapshot(), **self._counts()},
            "guard": self._guard.report() if self._guard is not None else {},
            "certificates": self._renewal.report(),
            "tls_handshakes": self._tls.handshakes.counts() if self._tls else {},
            "log_lines_dropped": self._writer.dropped,
            "process": process.figures(),
            "version": __version__,
        }

    def _counts(self) -> dict[str, int]:
        """What became of what is to be read and counted, since the start."""
        counting, tallies = self._counting, self._tallies
        if tallies is None:
            return {}
        unread = {"unread": tallies.unread}
        if counting is None:
            return unread
        return unread | {
            "counted": counting.counted,
            "waiting": counting.waiting,
            "dropped": counting.dropped + tallies.unkept,
            "failed": counting.failed,
        }

    # -- life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve, drain, end."""
        self._loop.set_exception_handler(self._unexpected)
        sys.unraisablehook = self._unraisable
        for number in _TAKEN:
            self._loop.add_signal_handler(number, self._signalled, number)
        try:
            await self._accept(self._fit_files())
            self._warn()
            self._renewal.start()
            self._announce()
            # What is there now stays: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            await self._stop.wait()
            await self._drain()
        finally:
            await self._close()

    def _fit_files(self) -> files.Watch:
        limit = files.raise_limit()
        warning = files.shortage(self._config.limits, limit)
        if warning:
            self._log.event("warning", warning)
        return files.Watch(limit, time.monotonic, partial(self._log.event, "warning"))

    async def _accept(self, watch: files.Watch) -> None:
        own = self._own_listeners
        for sock in own.sockets:
            self._own_servers.append(await self._listen(sock, own, self._own, watch))
        for sock in self._listeners.sockets:
            self._servers.append(await self._listen(sock, self._listeners, self._proxy, watch))

    async def _listen(
        self, sock: socket.socket, listeners: Listeners, proxy: Proxy, watch: files.Watch
    ) -> asyncio.Server:
        loop, file = self._loop, sock.fileno()

        def accept() -> Tcp:
            watch.look(file)
            return proxy.accept()

        if sock.family == socket.AF_UNIX:
            return await loop.create_unix_server(accept, sock=sock, backlog=BACKLOG)
        if self._tls is None or not listeners.is_secure(sock):
            return await loop.create_server(accept, sock=sock, backlog=BACKLOG)
        self._tls.handshakes.room = self._room
        self._tls.handshakes.on_failure = self._handshake_failed
        return await loop.create_server(
            accept,
            sock=sock,
            backlog=BACKLOG,
            ssl=self._tls.context,
            ssl_handshake_timeout=self._config.timeouts.handshake,
            ssl_shutdown_timeout=max(_TLS_END, self._config.timeouts.close),
        )

    def _warn(self) -> None:
        if self._config.tls.insecure and self._config.upstream.scheme == "https":
            self._log.event(
                "warning",
                "proxy.tls.insecure: the upstream's certificate is not verified, and whoever is "
                "in the way can read and change everything, keys included",
            )
        if self._config.peer.psk and self._config.link.enabled:
            why = "all that crosses is sealed by itself"
            self._log.event("info", f"with peer.psk_file there are no links: {why}")

    def _announce(self) -> None:
        if own := self._own_listeners.addresses():
            self._log.event("info", f"/stats and /metrics are at {', '.join(own)}", stats=own)
        places = self._listeners.addresses()
        path = self._upstream.target(b"/v1/", None).partition(b"?")[0]  # a query may carry a key
        upstream = f"{self._upstream.origin}{path.decode('ascii').rstrip('/')}"
        base = _base_url(places)
        self._log.event(
            "info",
            f"m2mproxy {__version__} listens on {', '.join(places)} and forwards to {upstream} "
            f"({self._provider}); a client's base_url is {base}",
            listen=places,
            upstream=upstream,
            provider=self._provider,
            base_url=base,
        )
        self._writer.flush()

    def _signalled(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self._hang_up()
            return
        if number is signal.SIGINT or self._stop.is_set():
            self._over.set()
        self._stop.set()

    def _hang_up(self) -> None:
        if not self._renewal.is_needed:
            self._log.event("warning", "SIGHUP: the configuration cannot be reloaded yet")
            return
        what = "certificates are read anew, nothing else of the configuration can be reloaded yet"
        self._log.event("info", f"SIGHUP: {what}")
        self._renewal.reload()

    async def _drain(self) -> None:
        self._stop_accepting()
        self._proxy.on_empty = self._over.set
        self._proxy.drain()
        seconds = self._config.drain
        how = f"{seconds:g} s for {_requests(self._proxy.exchanges)}"
        self._log.event("info", "stopping at once" if self._over.is_set() else f"stopping: {how}")
        self._writer.flush()
        await self._until_over(seconds)
        if self._proxy.exchanges:
            self._log.event("warning", f"cutting {_requests(self._proxy.exchanges)} short")
        self._proxy.stop()
        self._own.stop()
        await self._until_over(_LAST_WORDS)
        await self._accounts.settled()  # what the last ones took is being counted

    async def _until_over(self, seconds: float) -> None:
        if self._proxy.connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._over.wait()
        self._over.clear()

    def _stop_accepting(self) -> None:
        for server in self._servers:
            server.close()
        self._listeners.close()

    async def _close(self) -> None:
        self._stop_accepting()
        for server in self._own_servers:
            server.close()
        self._own_listeners.close()
        self._renewal.close()
        self._watchdog.close()
        self._dialler.close()
        self._pool.close()
        self._offload.close()
        if self._counting is not None:
            self._counting.close()
        self._accounts.close()
        await asyncio.sleep(0)  # for what that made the loop do next
        self._writer.close()
        # The end has come already. The loop, when it closes, gives signals back their default, and
        # one more would then change the exit code.
        signal.pthread_sigmask(signal.SIG_BLOCK, _TAKEN)


def _requests(number: int) -> str:
    return f"{number} request{'' if number == 1 else 's'}"


def _base_url(places: list[str]) -> str:
    """What a client of this machine takes for `base_url`."""
    for place in places:
        if not place.startswith("unix:"):
            scheme, found, address = place.rpartition("://")
            host, _, port = address.rpartition(":")
            here = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
            return f"{scheme if found else 'http'}://{here}:{port}/v1"
    return f"http://localhost/v1 (over {places[0]})"
