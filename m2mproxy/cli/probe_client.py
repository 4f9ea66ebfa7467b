"""The HTTP client of `m2m probe`: the proxy's own pool and connections, one for each question.

The one rule: a question is asked as an m2mproxy would ask it, and every answer is bounded in bytes
and in time.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any, TypeVar

from m2mproxy import __version__
from m2mproxy.config import Config
from m2mproxy.http.body import Body
from m2mproxy.http.faults import TooLate, UpstreamFault
from m2mproxy.http.flow import Signal
from m2mproxy.http.headers import Field, Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.net.connection import LoopTurn, Runtime, Session, Stream
from m2mproxy.net.deadline import Deadlines
from m2mproxy.net.dial import Dialler
from m2mproxy.net.pool import Pool
from m2mproxy.proxy.providers import key_field
from m2mproxy.service.upstream import Parts

T = TypeVar("T")

MOST = 8 << 20
"""Bytes of an answer, and of what it decodes to."""
_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `cut` says why the body is not whole, where it is not; `session` is None for
    HTTP/1.1."""

    session: Session | None
    response: Response
    body: bytes
    cut: str

    @property
    def http(self) -> str:
        """The version."""
        return "1.1" if self.session is None else "2"


class Watched(ssl.SSLContext):
    """Stands for another context, and keeps the last connection that began (see net.tls)."""

    last: ssl.SSLObject | None = None

    def __init__(self, _: int, context: ssl.SSLContext) -> None:
        self._context = context

    def __new__(cls, protocol: int, _: ssl.SSLContext) -> Watched:
        return super().__new__(cls, protocol)

    def wrap_bio(self, *arguments: Any, **settings: Any) -> ssl.SSLObject:
        self.last = self._context.wrap_bio(*arguments, **settings)
        return self.last


class ProbeClient:
    """Sends requests to one origin, each over a connection of its own."""

    def __init__(self, config: Config, parts: Parts) -> None:
        loop = asyncio.get_running_loop()
        self.parts = parts
        self._origin = parts.origin
        self._fields = _own_fields(config, parts)
        self._seconds = config.timeouts.connect
        tls = parts.client_tls
        self.tls = Watched(ssl.PROTOCOL_TLS_CLIENT, tls.context) if tls is not None else None
        turn, deadlines = LoopTurn(loop), Deadlines(loop)
        runtime = Runtime(turn, loop, config.timeouts, config.limits, deadlines)
        self._dialler = Dialler(runtime, self.tls, config.upstream_http)
        self._pool = Pool(runtime, self._dialler, _CONNECTIONS)

    def close(self) -> None:
        """Close every connection."""
        self._dialler.close()
        self._pool.close()

    async def ask(
        self, method: bytes, target: bytes, *fields: Field, body: bytes = b""
    ) -> Answer:
        """One request with these `fields`, beside its own, and its answer.

        Raises:
            Fault: there is none.
        """
        origin = self._origin
        scheme = origin.scheme.encode()
        headers = Headers((*self._fields, *fields))
        request = Request(method, target, origin.authority, headers, len(body), scheme)
        stream = await _known(self._pool.to(origin).stream(fresh=True))
        try:
            response = await self._head(stream, request, body)
            data, cut = await self._body(stream.body)
        finally:
            stream.reset()
        return Answer(stream.session, response, data, cut)

    async def session(self) -> Session:
        """That of a connection on which nothing is asked, with the origin's SETTINGS.

        Raises:
            Fault: there is none.
        """
        stream = await _known(self._pool.to(self._origin).stream(fresh=True))
        try:
            async with asyncio.timeout(self._seconds):
                if stream.session is None or not await _known(stream.session.opened):
                    silent = f"{self._origin} does not speak HTTP/2: something stands between"
                    raise UpstreamFault("protocol", silent)
                return stream.session
        except TimeoutError:
            late = f"{self._origin} sent no SETTINGS within {self._seconds:g} s"
            raise TooLate("first_byte", late) from None
        finally:
            stream.reset()

    async def _head(self, stream: Stream, request: Request, body: bytes) -> Response:
        try:
            async with asyncio.timeout(self._seconds):
                stream.send_request(request)
                if body:
                    stream.write(body)
                stream.finish()
                return await _known(stream.head)
        except TimeoutError:
            late = f"{self._origin} did not answer within {self._seconds:g} s"
            raise TooLate("first_byte", late) from None

    async def _body(self, body: Body) -> tuple[bytes, str]:
        data = bytearray()
        changed = asyncio.Event()
        body.on_change = changed.set
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    changed.clear()
                    while (chunk := body.take()) is not None:
                        data += chunk
                    if len(data) > MOST:
                        return bytes(data), f"longer than {MOST} bytes, and left"
                    if body.ended or body.fault is not None:
                        return bytes(data), body.fault.message if body.fault else ""
                    await changed.wait()
        except TimeoutError:
            return bytes(data), f"not whole within {self._seconds:g} s"


async def _known(signal: Signal[T]) -> T:
    """Wait for a Signal in a Task."""
    if not signal.done:
        known = asyncio.get_running_loop().create_future()
        signal.subscribe(lambda: known.set_result(None))
        try:
            await known
        finally:
            signal.subscribe(None)
    return signal.result()


def _own_fields(config: Config, parts: Parts) -> list[Field]:
    """What is said with every question: who asks, and the configured key."""
    agent = f"m2m/{__version__} (probe)".encode()
    fields = [(b"accept", b"application/json"), (b"user-agent", agent)]
    if config.api_key:
        fields.append(key_field(parts.profile, config.api_key.encode("ascii")))
    return fields
