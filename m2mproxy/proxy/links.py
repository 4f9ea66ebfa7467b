"""Links of this instance: which connections are one, and what they remember.

An instance that reads m2m-link says so in its SETTINGS, which reach exactly the other end of a
connection: whatever stands between two instances makes the link impossible and is noticed by that.

The one rule: what a connection remembers is kept with it (`Session.kept`) and goes with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from m2mproxy.codec import dictionaries
from m2mproxy.codec.after import Before
from m2mproxy.config import Link, size_text
from m2mproxy.http.headers import CREDENTIALS, Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.link.core import Core
from m2mproxy.link.edge import Edge, Isolation
from m2mproxy.link.scope import tenant
from m2mproxy.link.window import Bounds, Memory
from m2mproxy.net.connection import NO_SETTINGS, Session, Stream
from m2mproxy.net.pool import Destination
from m2mproxy.proxy import codings

CODING = codings.LINK
# A response's field of that name: the body is remembered, or what it continues is not here.
FIELD, HAVE, MISS = b"m2m-link", b"have", b"miss"
HEARS = b"have, reply"  # and so will be the text of the reply
# And on a connection that cannot be a link: another one to the same port can, without TLS.
OFFER = b"v=2"
MISSED = "link_miss"

# SETTINGS: the version (8 bits) and the KiB that a connection may hold (24 bits); and which
# dictionaries, by their name as a number. Then how many seconds what is not used is kept, and the
# KiB that one scope may hold, and what these are where nothing is said of them.
SETTING, DICTIONARIES, SECONDS, SCOPE = 0x4D32, 0x4D33, 0x4D34, 0x4D35
_USUAL_SECONDS, _USUAL_SCOPE_KIB = 900, 4096
# And of an edge, that it reads replies that are coded after what came before them.
READS_AFTER = 0x4D38
_VERSION = 2
_is_offer = re.compile(rb"v=[0-9]{1,3}").fullmatch
_MOST_KIB = (1 << 24) - 1
# The edge forgets a little before the core does, so that it seldom refers to what has gone.
_EDGE_SHARE = 7 / 8
_CORE_GRACE = 60.0
# What tells tenants apart beside credentials.
_TELLING = CREDENTIALS | {b"openai-organization", b"openai-project"}
# And the parameters that are credentials in a target's query.
_keys = re.compile(
    rb"[?&]((?:key|api[-_]key|access_token|subscription-key)=[^&]*)", re.IGNORECASE
).findall


@dataclass(slots=True)
class LinkCounts:
    """What an upstream's links were worth: requests and their bytes, as they are and as they
    crossed."""

    turns: int = 0
    plain: int = 0
    wire: int = 0
    misses: int = 0

    def add(self, plain: int, wire: int) -> None:
        """A request of `plain` bytes crossed in `wire`."""
        self.turns += 1
        self.plain += plain
        self.wire += wire

    def reset(self) -> None:
        """Begin again at zero."""
        self.turns = self.plain = self.wire = self.misses = 0


class Offer(NamedTuple):
    """What a core keeps of a connection: bytes, of which one scope may take so many, for seconds
    after the last use."""

    memory: int
    scope: int
    seconds: int


class Shared(NamedTuple):
    """What a link has to do with a reply: whether its plain bytes are wanted here; and what both
    ends have before it, after which it can be coded, as it `came` from the upstream, and as it
    `goes` to the client."""

    opened: bool = False
    came: Before | None = None
    goes: Before | None = None


class Links:
    """What all links of the process share."""

    def __init__(self, config: Link, clock: Callable[[], float], sealed: bool) -> None:
        """`sealed` is for an instance with a key: nothing crosses but what is sealed, so there are
        no links."""
        self.enabled = config.enabled and not sealed
        """Whether there are any."""
        self._config = config
        self.clock = clock
        self.seconds = config.ttl
        """How long what is not used is kept."""
        self._memory = Memory(config.memory)
        # What is told to edges: of more they would refer to what is forgotten.
        self._connection = min(config.connection_memory, config.memory)
        self._scope = min(config.credential_memory, self._connection)
        self._telling = _TELLING | {config.tenant_header.lower().encode()} - {b""}

    @property
    def announce(self) -> Mapping[int, int]:
        """The SETTINGS that tell an edge."""
        if not self.enabled:
            return NO_SETTINGS
        config = self._config
        kib = min(self._connection >> 10, _MOST_KIB)
        return {
            SETTING: _VERSION << 24 | kib,
            DICTIONARIES: int(dictionaries.version(), 16),
            SECONDS: int(config.ttl),
            SCOPE: self._scope >> 10,
        }

    def tenant(self, request: Request, certificate: bytes) -> bytes:
        """Whose request it is, as far as its head and the client's certificate say."""
        fields = request.headers.named(self._telling)
        if b"?" in request.target:
            fields += [(b"?", each) for each in _keys(request.target)]
        if certificate:
            fields.append((b"@", certificate))  # as "?", no field can have that name
        return tenant(fields)

    def core(self, stream: Stream) -> Core | None:
        """What the connection of a client's stream remembers; None where it cannot be a link."""
        session, config = stream.session, self._config
        if session is None or not self.enabled:
            return None
        if isinstance(session.kept, Core):
            return session.kept
        bounds = Bounds(
            scope=self._scope,
            connection=self._connection,
            seconds=config.ttl + _CORE_GRACE,
        )
        core = session.kept = Core(bounds, self._memory, self.clock)
        session.on_end = core.end
        session.idle_seconds = bounds.seconds
        return core

    def edge(self, offered: Offer) -> Edge:
        """What a connection is to remember where the upstream offers that for it."""
        config = self._config
        bounds = Bounds(
            scope=int(min(offered.scope, self._scope) * _EDGE_SHARE),
            connection=int(min(offered.memory, self._connection) * _EDGE_SHARE),
            seconds=min(offered.seconds, config.ttl),
        )
        return Edge(bounds, self._memory, self.clock, Isolation(config.isolation))

    def offered(self, session: Session) -> Offer | None:
        """What the upstream will remember for us; None where it is no link."""
        said, ours = session.settings, int(dictionaries.version(), 16)
        offer = said.get(SETTING, 0)
        if not self.enabled or said.get(DICTIONARIES) != ours or offer >> 24 != _VERSION:
            return None
        memory, seconds = memory_of(offer), said.get(SECONDS, _USUAL_SECONDS)
        if not memory or not seconds:
            return None
        return Offer(memory, said.get(SCOPE, _USUAL_SCOPE_KIB) << 10, seconds)

    def unusable(self, session: Session) -> str:
        """Why what the upstream offers is no link for us; "" where it offers nothing."""
        offer, theirs = session.settings.get(SETTING, 0), session.settings.get(DICTIONARIES)
        if not offer or not self.enabled:
            return ""
        if offer >> 24 != _VERSION:
            return f"it has v={offer >> 24} of m2m-link, and this is v={_VERSION}"
        if theirs != int(dictionaries.version(), 16):
            names = "none" if theirs is None else f"{theirs:08x}"
            return f"it has dictionaries {names}, and these are {dictionaries.version()}"
        return "it remembers nothing"

    def report(self) -> dict[str, object]:
        """For people."""
        return {"memory": self._memory.used}


def memory_of(offer: int) -> int:
    """Bytes that a connection may hold, by its setting."""
    return (offer & _MOST_KIB) << 10


class UpstreamLinks:
    """The links to one upstream.

    What a connection is, is whether it has an Edge, and whether its SETTINGS are here:

                   no Edge    an Edge
        not yet    unknown    expected: it comes after a link, and counts as one
        here       none       link

    SETTINGS make a link or none of what is unknown or expected. Who does not read what any core
    reads makes none of what is a link or expected to be one, and nothing is expected after it.
    Nothing else changes what a connection is before it is gone.
    """

    def __init__(
        self, links: Links, destination: Destination, wanted: bool, versions: str
    ) -> None:
        """`wanted` is whether requests may be coded at all, `versions` those of HTTP that may be
        spoken: "auto", or one."""
        self._links = links
        self._destination = destination
        self._wanted = wanted and links.enabled
        self._may_choose = versions == "auto"
        self._met: set[Session] = set()  # links, and what may turn out to be one
        self._expected: Offer | None = None  # what the last link offered, and until when it counts
        self._expected_until = 0.0
        self.counts = LinkCounts()
        self.on_news: Callable[[str, str], None] = lambda level, message: None
        """Called with what an operator wants to know, each time that it changes."""
        self._last_news = ""

    def edge(self, session: Session | None) -> Edge | None:
        """What a connection remembers; None where it is no link, as far as is known, or none any
        more. Should one that is expected be none, it refuses the first request, which goes
        again."""
        if session is None or not self._wanted:
            return None
        if session not in self._met:
            self._meet(session)
        return session.kept if isinstance(session.kept, Edge) else None

    def refused(self, session: Session | None, edge: Edge) -> None:
        """The core has not read a body that was coded with `edge`, though it should."""
        edge.give_up()
        if session is not None and session.kept is edge:
            session.kept = self._expected = None

    def _meet(self, session: Session) -> None:
        self._met.add(session)
        session.on_end = lambda: self._lost(session)
        if session.opened.done:
            self._opened(session, None)
            return
        expected = self._expected if self._expects else None
        if expected is not None:
            session.kept = self._links.edge(expected)
        session.opened.subscribe(lambda: self._opened(session, expected))

    def _opened(self, session: Session, expected: Offer | None) -> None:
        """The SETTINGS are here, or the connection is gone without. `expected` is the offer with
        which it was taken for a link before."""
        offered = self._links.offered(session)
        if offered != expected:
            if isinstance(session.kept, Edge):
                session.kept.give_up()
            session.kept = self._links.edge(offered) if offered is not None else None
        if offered is not None:
            session.idle_seconds = min(offered.seconds, self._links.seconds)
            session.set_direct({READS_AFTER: 1})
        if session.opened.result():
            self._report_state(session, offered)
            self._expected = offered if session.kept is not None else None
            self._expected_until = self._links.clock() + self._links.seconds

    def _report_state(self, session: Session, offered: Offer | None) -> None:
        origin, why = self._destination.origin, self._links.unusable(session)
        if offered is not None:
            kept = f"{size_text(offered.memory)} for {offered.seconds} s"
            level, news = "info", f"a link to {origin}, which remembers {kept}"
        elif why:
            level, news = "warning", f"no link to {origin}: {why}"
        else:
            return
        self._report(level, news)

    def _report(self, level: str, news: str) -> None:
        if news != self._last_news and self._wanted:
            self._last_news = news
            self.on_news(level, news)

    def _lost(self, session: Session) -> None:
        self._met.discard(session)
        if isinstance(session.kept, Edge):
            session.kept.end()
            if self._expected:
                self._expected_until = self._links.clock() + self._links.seconds

    @property
    def _expects(self) -> bool:
        if self._expected is None:
            return False
        return self._links.clock() < self._expected_until or self._has_one

    @property
    def is_open(self) -> bool:
        """Whether a connection to the upstream is a link, or the next one is expected to be."""
        return self._expects or self._has_one

    @property
    def _has_one(self) -> bool:
        return bool(self._met) and any([isinstance(each.kept, Edge) for each in self._met])

    def take_field(self, response: Response, marks: Headers) -> None:
        """What a response says of links, by the marks of its head, is for us and not for the
        client."""
        said = marks.get(FIELD)
        if said is not None:
            response.headers.drop((FIELD,))
            self._learn(said)

    def _learn(self, value: bytes) -> None:
        """A response says that the upstream could have a link on another connection."""
        if value != OFFER and _is_offer(value):
            other = f"it has {value.decode()} of m2m-link, and this is {OFFER.decode()}"
            self._report("warning", f"no link to {self._destination.origin}: {other}")
        if value == OFFER and self._wanted and self._may_choose:
            self._destination.try_http2(self._is_link, self._report_between)

    def _is_link(self, session: Session) -> bool:
        """Whether the connection that was opened for one is a link."""
        is_link = self.edge(session) is not None
        if not (is_link or self._links.unusable(session)):
            self._report_between()
        return is_link

    def _report_between(self) -> None:
        """What offers a link over HTTP/1.1 is not what answers over HTTP/2."""
        why = "it offers one, but not over HTTP/2 (is something between the two?)"
        self._report("warning", f"no link to {self._destination.origin}: {why}")

    def report(self) -> dict[str, object]:
        """For people: what the links were worth, and what they hold."""
        edges = [each.kept for each in self._met if isinstance(each.kept, Edge)]
        return {
            "links": len(edges),
            "turns": self.counts.turns,
            "conversation_bytes": self.counts.plain,
            "wire_bytes": self.counts.wire,
            "misses": self.counts.misses,
            "memory": sum(edge.size for edge in edges),
        }
