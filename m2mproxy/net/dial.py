"""From an Origin to a Connection, within a deadline.

A name can have several addresses, of which some lead nowhere and do not say so. So the next one is
tried when one fails or does not answer at once, and the first that answers is taken (RFC 8305 5).

The one rule: a dial reports once, a connection or the fault that says what failed, and belongs to
the pool: who asked for it may be long gone.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from m2mproxy.http.faults import Busy, Fault, TooLate, UpstreamFault
from m2mproxy.http.message import Origin
from m2mproxy.net.connection import Owner, Runtime
from m2mproxy.net.h1_client import H1Client
from m2mproxy.net.h2_client import H2Client
from m2mproxy.net.tcp import Dialled, negotiated, tune_upstream
from m2mproxy.net.watchdog import Watchdog

Client = H1Client | H2Client
Report = Callable[[Client | Fault], None]

# Seconds that an address has to answer before the next one is tried beside it (RFC 8305 8).
_HEAD_START = 0.25

# No more files for this process, or for the whole system.
_NO_FILES = (errno.EMFILE, errno.ENFILE)

# What OpenSSL has against a certificate that nobody who is trusted has signed (x509_vfy.h).
_NOT_VOUCHED_FOR = (18, 19, 20, 21)

# What TLS is asked to negotiate for each choice of version (RFC 7301).
ALPN = {"auto": ["h2", "http/1.1"], "1.1": ["http/1.1"], "2": ["h2"]}


class Dialler:
    """Opens connections to upstreams for the pool."""

    def __init__(
        self,
        runtime: Runtime,
        tls: ssl.SSLContext | None,
        http: str = "auto",
        watchdog: Watchdog | None = None,
    ) -> None:
        """`tls` is the context for https origins; None when there are none. `http` is the version
        to speak: "1.1", "2", or "auto" for what TLS negotiates and 1.1 without TLS. `watchdog`
        watches over what is open."""
        self._runtime = runtime
        self._loop = runtime.loop
        self._timeouts = runtime.timeouts
        self._tls = tls
        self._http = http
        self._watchdog = watchdog
        self._dials: set[asyncio.Task[None]] = set()

    def dial(self, origin: Origin, owner: Owner, report: Report, http2: bool = False) -> None:
        """Connect to `origin`; `report` gets the attached connection or the fault. `http2` is for
        HTTP/2 with prior knowledge where that is a choice: in cleartext, with "auto"."""
        task = self._loop.create_task(self._dial(origin, owner, report, http2))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    def may_be_http2(self, origin: Origin) -> bool:
        """Whether `origin` may be spoken to in HTTP/2, where nobody asks for that."""
        return self._http == "2" or (self._http == "auto" and origin.scheme == "https")

    def close(self) -> None:
        """Give up every dial under way, without a report."""
        for task in self._dials:
            task.cancel()

    async def _dial(self, origin: Origin, owner: Owner, report: Report, http2: bool) -> None:
        outcome: Client | Fault
        if http2 and self._http != "auto":
            report(UpstreamFault("connect", f"the HTTP version for {origin} is configured"))
            return
        try:
            outcome = await self._connect(origin, owner, http2)
        except TooLate as late:
            outcome = late
        except OSError as error:  # socket.gaierror and ssl.SSLError are, too
            outcome = _refusal(origin, error)
        except Exception:  # a bug, but whoever waits for this dial has no other deadline
            report(Fault("an error inside the proxy"))
            raise
        report(outcome)

    async def _connect(self, origin: Origin, owner: Owner, http2: bool) -> Client:
        secure, late = origin.scheme == "https", f"no connection to {origin}"
        try:
            async with asyncio.timeout(self._timeouts.connect):
                sock, seconds = await self._reached(origin)
                late = f"{origin} took a connection, but did not answer to TLS (is it http?)"
                try:
                    transport, protocol = await self._loop.create_connection(
                        lambda: Dialled(
                            lambda transport: self._client(owner, transport, http2), self._watchdog
                        ),
                        sock=sock,
                        ssl=self._tls if secure else None,
                        server_hostname=origin.host if secure else None,
                    )
                finally:
                    # uvloop closes the descriptor, but tells the object so only if the connection
                    # lasts a moment: else what that closes later is the descriptor of another.
                    # asyncio's own loop, which `m2m` has, goes on with the object.
                    if not isinstance(self._loop, asyncio.BaseEventLoop):
                        sock.detach()
        except TimeoutError:
            raise TooLate("connect", f"{late} within {self._timeouts.connect:g} s") from None
        tune_upstream(transport.get_extra_info("socket"), seconds)
        if self._http == "2" and negotiated(transport) == "http/1.1":
            transport.abort()
            raise ssl.SSLError(0, "it does not offer HTTP/2")
        assert isinstance(protocol.connection, Client)
        return protocol.connection

    async def _reached(self, origin: Origin) -> tuple[socket.socket, float]:
        """A connection to the first address that answers, and the seconds in which it did."""
        found = await self._resolved(origin)
        under_way: set[asyncio.Task[tuple[socket.socket, float]]] = set()
        error: BaseException | None = None
        try:
            while found or under_way:
                if found:
                    family, _, _, _, address = found.pop(0)
                    under_way.add(self._loop.create_task(self._attempt(family, address)))
                await asyncio.wait(
                    under_way,
                    timeout=_HEAD_START if found else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in [task for task in under_way if task.done()]:
                    under_way.remove(task)
                    error = task.exception()
                    if error is None:
                        return task.result()
        finally:
            for task in under_way:
                task.cancel()
                task.add_done_callback(_close)  # it may have been done
        raise error or socket.gaierror(socket.EAI_NONAME, "it has no address")

    async def _resolved(self, origin: Origin) -> list[Any]:
        """The addresses of an origin."""
        try:
            return await self._loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        except OSError:
            # Without files the system finds no names either, and says that, or something else: what
            # is the matter shows when one is opened.
            socket.socket().close()
            raise

    async def _attempt(self, family: int, address: Any) -> tuple[socket.socket, float]:
        sock, begun = socket.socket(family, socket.SOCK_STREAM), time.monotonic()
        try:
            sock.setblocking(False)
            await self._loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock, time.monotonic() - begun

    def _client(self, owner: Owner, transport: asyncio.Transport, http2: bool) -> Client:
        known_before = "h2" if http2 or self._http == "2" else ""
        if (negotiated(transport) or known_before) == "h2":
            return H2Client(owner, self._runtime)
        return H1Client(owner, self._runtime)


def _close(task: asyncio.Task[tuple[socket.socket, float]]) -> None:
    """It came second."""
    if not task.cancelled() and task.exception() is None:
        task.result()[0].close()


def _refusal(origin: Origin, error: OSError) -> Fault:
    if error.errno in _NO_FILES:
        return Busy("out_of_files", "the proxy has as many open files as it may have")
    if isinstance(error, socket.gaierror):
        reason = f"the name {origin.host} was not resolved: {error.strerror}"
        return UpstreamFault("resolve", reason)
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "verify_message", "") or error.reason or str(error)
        reason = reason.partition(" (_ssl.c")[0]
        if reason == "WRONG_VERSION_NUMBER":  # OpenSSL's word for bytes that are no record of TLS
            reason = "it answers in something else than TLS (is it http?)"
        elif getattr(error, "verify_code", 0) in _NOT_VOUCHED_FOR:
            reason += " (ca_file has to name who vouches for it)"
        return UpstreamFault("tls", f"the TLS handshake with {origin} failed: {reason}")
    # Event loops put the address into strerror, each in its own way.
    known = error.errno is not None and error.errno > 0
    reason = os.strerror(error.errno or 0) if known else error.strerror or str(error)
    return UpstreamFault("connect", f"{origin} cannot be reached: {reason}")
