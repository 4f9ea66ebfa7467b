"""A client, the proxy and its upstream in memory: the test speaks for both ends.

    world = World()
    client = world.client()
    client.send(b"GET /v1/models HTTP/1.1\\r\\nhost: proxy\\r\\n\\r\\n")
    upstream = world.upstream()          # the connection that the proxy opened
    upstream.send(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n[]")
    world.run()
    assert client.take().endswith(b"[]")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clock import DrivenLoop
from ends import Ask, Call, H1Client, H1Server, H2Client, H2Server
from link import Raw, Split, Transport, join, whole

from m2mproxy.codec.forms import NO_VOCABULARIES
from m2mproxy.codec.sealed import AeadSeal
from m2mproxy.codec.token_native import Vocabularies
from m2mproxy.config import Config, load
from m2mproxy.http.faults import Fault, UpstreamFault
from m2mproxy.http.flow import Signal
from m2mproxy.http.message import Origin
from m2mproxy.net import h1_client, h2_client
from m2mproxy.net.connection import LoopTurn, Owner, Runtime
from m2mproxy.net.deadline import Deadlines
from m2mproxy.net.pool import Pool
from m2mproxy.net.tcp import Dialled
from m2mproxy.net.watchdog import Watchdog
from m2mproxy.proxy.context import Context, tallies_of
from m2mproxy.proxy.exchange import Exchange
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.held import Holds
from m2mproxy.proxy.links import Links
from m2mproxy.proxy.offload import Offload
from m2mproxy.proxy.proxy import Proxy
from m2mproxy.proxy.routes import Routes, UpstreamRoute
from m2mproxy.proxy.scanning import Guard, Scans
from m2mproxy.proxy.tally import Submit
from m2mproxy.service.upstream import parts, route

Report = Callable[[Any], None]
Pair = tuple[str, str]  # versions: the client's, the upstream's

HOST = b"host: proxy\r\n"


class Inline(Offload):
    """No threads: what would be done elsewhere is done at once, or some turns of a `loop` later."""

    def __init__(self, loop: DrivenLoop | None = None) -> None:
        self.sizes: list[int] = []
        self._turns = loop

    async def run(self, size: int, work: Callable[[], Any]) -> Any:
        self.sizes.append(size)
        if self._turns is not None:
            for _ in range(3):
                turn: Signal[None] = Signal()
                self._turns.call_soon(turn.set, None)
                await turn
        return work()


class World:
    """Keyword arguments are configuration, `timeouts_idle=3` being `proxy.timeouts.idle`."""

    def __init__(
        self,
        split: Split = whole,
        pair: Pair = ("1.1", "1.1"),
        loop: DrivenLoop | None = None,
        announce: dict[int, int] | None = None,
        vocabularies: Vocabularies = NO_VOCABULARIES,
        submit: Submit | None = None,
        scanner: Scans | None = None,
        elsewhere: bool = False,
        holds: Holds | None = None,
        watchdog: Watchdog | None = None,
        **settings: Any,
    ) -> None:
        """`pair` are the versions of the ends that `ask` and `call` speak for; `loop` is another
        world's, which this one is part of; `announce` is what the proxy tells clients; `submit`
        takes what is to be counted; `scanner` scans requests; what a thread would do takes turns of
        the loop if `elsewhere`; `holds` has the room for bodies; `watchdog` watches over
        connections."""
        self.watchdog = watchdog
        self.pair = pair
        self.loop = loop or DrivenLoop()
        self.split = split
        self.config = _config(settings)
        limits = self.config.limits
        turn, deadlines = LoopTurn(self.loop), Deadlines(self.loop)
        self.runtime = Runtime(turn, self.loop, self.config.timeouts, limits, deadlines)
        self.pool = Pool(self.runtime, self, limits.upstream_connections)
        psk = self.config.peer.psk
        self.forms = Forms.of(self.config, AeadSeal(psk) if psk else None, vocabularies)
        self.links = Links(self.config.link, self.loop.time, self.forms.seal is not None)
        self.tallies = tallies_of(self.config, submit)
        self.inline = Inline(self.loop if elsewhere else None)
        self.guard = self._guarded(scanner)
        self.context = Context(
            self.config,
            Routes(self._route(), {}),
            self.loop.time,
            self.inline,
            self.forms,
            self.links,
            self.tallies,
            self.guard,
            holds or Holds(),
            later=self.runtime.turn.later,
        )
        self.ended: list[Exchange] = []
        self.refusals: list[Fault] = []
        self.proxy = Proxy(
            self.context,
            self.runtime,
            self.ended.append,
            self._refused,
            self.links.announce if announce is None else announce,
            watchdog,
        )
        self.upstreams: list[Raw] = []
        self.clients: list[Raw] = []
        self.dials: list[tuple[Owner, Report, bool]] = []
        self.accepting = True
        self.neutral = False  # whether the upstream's ends are those of `call`, too
        self.askers: list[H1Client | H2Client] = []
        self.calls: list[Call] = []
        self.upstream_settings: dict[int, int] = {}  # of HTTP/2, by code

    def _route(self) -> UpstreamRoute:
        built, clock = parts(self.config), self.loop.time
        found = route(self.config, built, self.pool, self.links, self.forms, clock)
        self.upstream_links = found.links
        return found

    def _guarded(self, scanner: Scans | None) -> Guard | None:
        if scanner is None:
            return None
        config, tenant = self.config, self.links.tenant
        run, clock = self.inline.run, self.loop.time
        return Guard(config.security, scanner, run, clock, tenant, config.max_body)

    def _refused(self, client: str, fault: Fault) -> None:
        self.refusals.append(fault)

    # -- the client's side ----------------------------------------------------------------------

    def client(self) -> Raw:
        """A new client connection."""
        end = Raw()
        join(self.loop, end, self.proxy.accept(), self.split)
        self.clients.append(end)
        self.run()
        return end

    def ask(self, body: bytes = b"", *about: Any, **more: Any) -> Ask:
        """An exchange on a connection that is free, or on a new one, as `start` begins it."""
        ask = self.start(body, *about, **more)
        self.run()
        return ask

    def start(
        self,
        body: bytes,
        path: bytes = b"/v1/chat/completions",
        *fields: tuple[bytes, bytes],
        method: bytes = b"POST",
        whole: bool = True,
        counted: bool = True,
        new: bool = False,
    ) -> Ask:
        """`ask` without letting anything happen yet. Of the body only the head's content-length is
        sent unless `whole`."""
        self.neutral = True
        asker = next((each for each in self.askers if each.is_free and not new), None)
        if asker is None:
            asker = H2Client() if self.pair[0] == "2" else H1Client()
            self.askers.append(asker)
            join(self.loop, asker, self.proxy.accept(), self.split)
        ask = asker.ask(method, path, fields, len(body) if counted else None)
        if whole:
            if body:
                ask.send(body)
            ask.end()
        return ask

    # -- the upstream's side --------------------------------------------------------------------

    def dial(self, origin: Origin, owner: Owner, report: Report, http2: bool = False) -> None:
        """What the pool calls. While not `accepting`, dials wait for `accept` or `refuse`."""
        self.dials.append((owner, report, http2 or self.pair[1] == "2"))
        if self.accepting:
            self.loop.call_soon(self.accept)

    def may_be_http2(self, origin: Origin) -> bool:
        return self.pair[1] == "2"

    def accept(self) -> Raw:
        """Let the oldest dial succeed."""
        owner, report, http2 = self.dials.pop(0)
        end = self._upstream_end(http2)
        kind = h2_client.H2Client if http2 else h1_client.H1Client
        protocol = Dialled(lambda _: kind(owner, self.runtime), self.watchdog)
        join(self.loop, end, protocol, self.split)
        self.upstreams.append(end)
        report(protocol.connection)
        return end

    def call(self, number: int = -1) -> Call:
        """An exchange as the upstream sees it, once everything has come to rest."""
        self.run()
        return self.calls[number]

    def refuse(self, fault: Fault | None = None) -> None:
        """Let the oldest dial fail."""
        _, report, _ = self.dials.pop(0)
        report(fault or UpstreamFault("connect", "refused"))

    def _upstream_end(self, http2: bool) -> Raw:
        if not self.neutral:
            return Raw()
        if http2:
            return H2Server(self.calls.append, self.upstream_settings)
        return H1Server(self.calls.append)

    def upstream(self, number: int = -1) -> Raw:
        """A connection that the proxy opened, once everything has come to rest."""
        self.run()
        return self.upstreams[number]

    # -- time and rest --------------------------------------------------------------------------

    def run(self) -> None:
        """Let everything that can happen now happen."""
        self.loop.run()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.advance(seconds)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is left of any exchange: none under way, no connection in use, none
        waited for. Dials that nobody waits for any more may still be open."""
        counts = self.pool.counts()[str(self.context.routes.upstream.origin)]
        return self.proxy.exchanges == 0 and counts["active"] == 0 and counts["waiting"] == 0


def _config(settings: dict[str, Any]) -> Config:
    flags: dict[str, Any] = {
        "proxy.upstream": "http://upstream:9/v1",
        "proxy.compression.requests": "off",
        "proxy.compression.responses": "off",
    }
    for name, value in settings.items():
        section, _, key = name.partition("_")
        if section in ("timeouts", "limits", "compression", "security"):
            flags[f"proxy.{section}.{key}"] = value
        elif section in ("link", "peer", "tokens"):
            flags[f"{section}.{key}"] = value
        else:
            flags[f"proxy.{name}"] = value
    return load(None, {}, flags)


def transport_of(end: Raw) -> Transport:
    """The proxy's end of a connection."""
    return end.transport.peer


def post(body: bytes, path: bytes = b"/v1/chat/completions", *lines: bytes) -> bytes:
    """A request with a counted body."""
    head = b"POST %b HTTP/1.1\r\n%bcontent-type: application/json\r\n" % (path, HOST)
    head += b"".join(line + b"\r\n" for line in lines)
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


def get(path: bytes = b"/v1/models", *lines: bytes) -> bytes:
    """A request without a body."""
    more = b"".join(line + b"\r\n" for line in lines)
    return b"GET %b HTTP/1.1\r\n%b%b\r\n" % (path, HOST, more)


def reply(body: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    """A response with a counted body."""
    more = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n" % (status, more, len(body)) + body


SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
