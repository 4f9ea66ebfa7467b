"""What every HTTP version and both roles promise: Connection, Stream, Session, and the LoopTurn of
writing.

A Connection is one live transport. A Stream is one request with its response, seen from one side:
in the server role it receives a Request and sends a Response, in the client role the mirror image.
A Session is what the streams of one connection share, where a version has streams.

The one rule: nothing here or below waits. A transport calls in, a Stream's owner calls down, and
`reset` can be called at any time, any number of times.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from m2mproxy.config import Limits, Timeouts
from m2mproxy.http.body import Body, Chunk, Gate
from m2mproxy.http.faults import Fault
from m2mproxy.http.flow import Signal
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.net.deadline import Deadlines

# 1xx responses before the last one; nobody needs as many, and they wait for no reader.
MOST_INFORMATIONAL = 100
TOO_MANY_INFORMATIONAL = f"more than {MOST_INFORMATIONAL} informational responses (1xx) came"

NO_SETTINGS: Mapping[int, int] = MappingProxyType({})


class Session:
    """What lasts as long as its connection, for those who use the streams of it.

    Attributes:
        settings: what the peer's SETTINGS say beyond what the version itself defines, by code
            (RFC 9113 6.5.2); empty until they came.
        opened: whether the peer's first SETTINGS came, once that is known: False when the
            connection ended before.
        is_direct: whether the user of the streams has said that nobody stands between the two
            ends, so that a key may be remembered by both with the other fields of a head.
        kept: whatever the user of the streams wants to find again.
        on_end: called once when the connection is gone.
    """

    __slots__ = (
        "_idle_seconds", "_on_change", "_on_direct", "is_direct", "kept", "on_end", "opened",
        "settings",
    )

    def __init__(
        self,
        settings: Mapping[int, int],
        on_change: Callable[[], None],
        on_direct: Callable[[Mapping[int, int]], None],
    ) -> None:
        """`on_change` is called when `idle_seconds` was set, `on_direct` once it is direct."""
        self.settings = settings
        self.opened: Signal[bool] = Signal()
        self.is_direct = False
        self.kept: object | None = None
        self.on_end: Callable[[], None] | None = None
        self._idle_seconds: float | None = None
        self._on_change = on_change
        self._on_direct = on_direct

    @property
    def idle_seconds(self) -> float | None:
        """How long the connection may stay open without a stream, in seconds, where that is more
        than what is configured; None for no longer than that. In the client role such a
        one comes before others, and a peer that is silent is asked whether it is still there."""
        return self._idle_seconds

    @idle_seconds.setter
    def idle_seconds(self, seconds: float | None) -> None:
        self._idle_seconds = seconds
        self._on_change()

    def set_direct(self, says: Mapping[int, int] = NO_SETTINGS) -> None:
        """Nobody stands between the two ends. In the client role the peer is told these settings,
        and what this end can do where that is so."""
        if not self.is_direct:
            self.is_direct = True
            self._on_direct(says)

    def idle_time(self, configured: float) -> float:
        """The longer of the two idle times, in seconds."""
        return max(configured, self._idle_seconds or 0.0)

    def end(self) -> None:
        """The connection is gone, and is told nothing any more: it has us."""
        self._on_change = self._on_direct = _nothing
        self.opened.set(False)
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()


def _nothing(*_: object) -> None:
    """Nobody is there to be told."""


class Stream:
    """One request and its response, seen from one side. Versions subclass it.

    Attributes:
        id: its number, which no other stream of the connection has; 0 where the version has none,
            and in the client role until the request is sent.
        session: what the streams of the connection share; None where the version has no streams.
        head: in the client role, the response's head once it is there.
        body: the payload that arrives.
        moved: when something of what was written last left for the peer, where the version lets
            streams wait for one another; 0 before.
        filler: a byte that means nothing where it stands between two writes, if there is one.
        gate: whether there is room to write.
        client: the address of the client's end of the connection, which in the client role is ours,
            for logs and Forwarded; "" when unknown.
        certificate: in the server role, which certificate the client has shown: its SHA-256; b""
            where none was asked for. What is shown is verified, or there is no connection.
        on_fault: in the server role, called when the client breaks the exchange or leaves.
        informational: in the client role, how many 1xx responses came.
        on_informational: in the client role, called with each of them.
    """

    __slots__ = (
        "body", "certificate", "client", "filler", "gate", "head", "informational", "moved",
        "on_fault", "on_informational",
    )

    id: int = 0
    session: Session | None = None

    def __init__(self, body: Body, gate: Gate, client: str, certificate: bytes) -> None:
        self.body = body
        self.moved = 0.0
        self.filler = b""
        self.gate = gate
        self.client = client
        self.certificate = certificate
        self.head: Signal[Response] = Signal()
        self.informational = 0
        self.on_fault: Callable[[Fault], None] | None = None
        self.on_informational: Callable[[Response], None] | None = None

    def send_request(self, request: Request) -> None:
        """Client role: write the head of a request. Its body follows by `write` and `finish`."""
        raise NotImplementedError

    def send_response(self, response: Response) -> None:
        """Server role: write the head of a response, or a 1xx."""
        raise NotImplementedError

    def write(self, chunk: Chunk) -> None:
        """Write payload. To be called while `gate` is open, though it is never refused."""
        raise NotImplementedError

    def finish(self, trailers: Headers | None = None) -> None:
        """The outgoing message is complete."""
        raise NotImplementedError

    def reset(self) -> None:
        """Give up what is not complete, so that the peer can see it; nothing when all is."""
        raise NotImplementedError


class Connection(Protocol):
    """One live transport, one version, one role."""

    def attach(self, transport: asyncio.Transport) -> None:
        """The transport is there."""

    def received(self, data: bytes) -> None:
        """Bytes came in."""

    def eof(self) -> None:
        """The peer will send no more."""

    def lost(self, error: Exception | None) -> None:
        """The transport is gone."""

    def writable(self, yes: bool) -> None:
        """The transport's own buffer passed its high or low watermark."""

    def flush(self) -> None:
        """Hand what was written in this turn to the transport."""

    def abort(self) -> None:
        """Close now; the peer sees that nothing was completed."""


class ServerConnection(Connection, Protocol):
    """A connection in the server role."""

    def drain(self) -> None:
        """Finish what is under way, begin nothing new, then close."""

    def refuse(self, fault: Fault) -> None:
        """Turn the client away with `fault`, as well as its version allows, and close."""


class Owner(Protocol):
    """Who is told what happens on a connection: the proxy of a server's, the pool of a client's."""

    def requested(self, stream: Stream, request: Request) -> None:
        """Server role: the head of a request is there."""

    def refused(self, stream: Stream, fault: Fault) -> None:
        """Server role: what came is no request; `stream` takes the answer."""

    def idle(self, connection: Connection) -> None:
        """Client role: the connection is free for another request, or may stay idle for longer."""

    def doubted(self, connection: Connection) -> None:
        """Client role: nothing arrives that goes out on the connection, and it takes no requests
        until its peer is heard."""

    def closed(self, connection: Connection) -> None:
        """The connection is gone."""


class LoopTurn:
    """One pass of the event loop, as far as writing goes.

    Whatever its callbacks write leaves when they are all done, before the loop waits again, in one
    system call a connection: a head and its body are one packet, an event leaves in the turn in
    which it came, and the peers of a busy proxy are woken once for many writes. What nobody waits
    for, such as a line of a log, is done after that, in its order.
    """

    __slots__ = ("_dirty", "_later", "_loop", "_scheduled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._dirty: list[Connection] = []
        self._later: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def add(self, connection: Connection) -> None:
        """`connection` has something to flush."""
        self._dirty.append(connection)
        if not self._scheduled:
            self._schedule()

    def later(self, call: Callable[[], None]) -> None:
        """Call when what this turn writes has left, though it may still have to be written."""
        self._later.append(call)
        if not self._scheduled:
            self._schedule()

    def after(self, call: Callable[[], None]) -> None:
        """Call when what this turn writes has left: at once if it has written nothing."""
        if self._dirty or self._later:
            self._later.append(call)
        else:
            call()

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        waiting, self._dirty = self._dirty, []
        waiting.reverse()
        later = self._later
        try:
            while waiting:
                waiting.pop().flush()
            while later:
                later.popleft()()
        finally:
            self._dirty += waiting  # a bug in one is no reason to hold back the others
            self._scheduled = False
            if self._dirty or later:
                self._schedule()


class Runtime(NamedTuple):
    """What all connections of a process have in common."""

    turn: LoopTurn
    loop: asyncio.AbstractEventLoop
    timeouts: Timeouts
    limits: Limits
    deadlines: Deadlines
