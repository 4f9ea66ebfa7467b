"""Conversations as applications send them, for tests of both ends of a link."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from m2mproxy.link.borrow import Survey
from m2mproxy.link.core import Core
from m2mproxy.link.edge import Crossing, Edge, Isolation, Step
from m2mproxy.link.index import chain
from m2mproxy.link.look import Look
from m2mproxy.link.reply import others, render, secrets
from m2mproxy.link.scope import names_in, scope, tenant
from m2mproxy.link.window import Bounds, Entry, Memory

ONE = tenant([(b"authorization", b"Bearer one")])
TWO = tenant([(b"authorization", b"Bearer two")])
LIMIT = 16 << 20


class Clock:
    """Moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def words(rng: random.Random, size: int) -> str:
    """Text of that many characters that no dictionary has."""
    out = ""
    while len(out) < size:
        out += "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randrange(2, 9))) + " "
    return out[:size]


def body(messages: list[dict[str, Any]], **more: object) -> bytes:
    """As httpx writes it."""
    return json.dumps(
        {"model": "m", "messages": messages, **more}, separators=(",", ":"), ensure_ascii=False
    ).encode()


def said(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


class Searched(bytes):
    """A body that counts the bytes in which something was looked for, and has the most at once."""

    count = longest = 0

    def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
        found, end = super().find(what, start, end), len(self) if end is None else end
        self._looked((found if found >= 0 else end) - start)
        return found

    def rfind(self, what: Any, start: Any = 0, end: Any = None) -> int:
        found, end = super().rfind(what, start, end), len(self) if end is None else end
        self._looked(end - max(found, start))
        return found

    def _looked(self, at: int) -> None:
        self.count += at
        self.longest = max(self.longest, at)


@dataclass
class Sent:
    """One request on its way: what the edge knows of it."""

    number: int
    tenant: bytes
    crossing: Crossing
    message: bytes
    kept: Entry | None = None

    @property
    def entry(self) -> Entry | None:
        return self.crossing.entry


@dataclass
class Ends:
    """An edge and a core, and the numbers of their streams."""

    edge: Edge
    core: Core
    clock: Clock
    memory: tuple[Memory, Memory]
    number: int = 1
    sizes: list[int] = field(default_factory=list)

    def code(
        self, text: bytes, tenant_is: bytes = ONE, fresh: bool = False, aside: bool = False
    ) -> Crossing:
        crossing = Crossing(Look(tenant_is, text, aside), fresh)
        for _, step in self.edge.steps(crossing):
            step()
        look = crossing.look
        assert (look.scope, look.marks) == (scope(tenant_is, text), chain(look.scope, text))
        return crossing

    def surveyed(self, text: bytes) -> tuple[Crossing, Survey, Iterator[Step]]:
        """One that continues nothing, at its survey, which is not made yet; and what is left."""
        crossing = Crossing(Look(ONE, text))
        steps = self.edge.steps(crossing)
        _, look = next(steps)
        look()
        next(steps)
        assert crossing.survey is not None
        return crossing, crossing.survey, steps

    def send(
        self, text: bytes, tenant_is: bytes = ONE, fresh: bool = False, aside: bool = False
    ) -> Sent:
        return self.send_coded(self.code(text, tenant_is, fresh, aside))

    def send_coded(self, crossing: Crossing) -> Sent:
        number, self.number = self.number, self.number + 2
        message = crossing.message(number)
        self.edge.sent(crossing, number)
        return Sent(number, crossing.look.tenant, crossing, message)

    def receive(self, sent: Sent) -> bytes:
        received = self.core.receive(sent.number, sent.tenant, sent.message)
        text = received.decode(LIMIT)
        assert received.ends == sent.crossing.ends  # or nobody could read the reply
        names = names_in(text, received.earlier)
        whose = scope(sent.tenant, text, names)
        assert whose == scope(sent.tenant, text)
        received.check(whose)
        sent.kept = self.core.keep(sent.number, sent.tenant, whose, received, text, names)
        return text

    def have(self, sent: Sent) -> None:
        if sent.kept is not None:
            self.edge.have(sent.crossing)

    def replied(self, sent: Sent, messages: list[dict[str, Any]]) -> None:
        text, ends = render(messages, sent.crossing.look.body), json.dumps(messages).encode()
        if sent.kept is not None:
            self.core.replied(sent.kept, text, ends)
        if sent.entry is not None:
            self.edge.replied(sent.entry, text, secrets(messages), others(messages), ends)

    def exchange(
        self,
        text: bytes,
        reply: list[dict[str, Any]] | None = None,
        tenant_is: bytes = ONE,
        aside: bool = False,
    ) -> Sent:
        """A whole one, which goes well."""
        sent = self.send(text, tenant_is, aside=aside)
        assert self.receive(sent) == text
        self.have(sent)
        self.replied(sent, reply or [])
        self.sizes.append(len(sent.message))
        return sent


def ends(
    bounds: Bounds | None = None,
    core_bounds: Bounds | None = None,
    isolation: Isolation = Isolation.BLOCK,
    memory: int = 256 << 20,
) -> Ends:
    clock = Clock()
    mine, theirs = Memory(memory), Memory(memory)
    bounds = bounds or Bounds()
    edge = Edge(bounds, mine, clock, isolation)
    return Ends(edge, Core(core_bounds or bounds, theirs, clock), clock, (mine, theirs))
