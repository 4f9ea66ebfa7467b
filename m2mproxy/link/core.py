"""The core's side of a link: reads bodies, and remembers them for the next.

The one rule: what comes in is hostile until its checksum is right. A reference to what is not here
is a Miss, and so is one to what is somebody else's: nothing tells the two apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.link import message
from m2mproxy.link.message import NOTHING_KNOWN, Head, Known
from m2mproxy.link.ready import to_unpack
from m2mproxy.link.scope import NOTHING, Earlier, Names
from m2mproxy.link.use import NO_USE, Use
from m2mproxy.link.window import Bounds, Entry, Memory, Window


class Miss(Exception):
    """The body continues what is not here: it has to be sent again, coded after nothing."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message that has been looked at. `entry` is what it continues, None for the dictionary."""

    head: Head
    data: bytes
    entry: Entry | None = None
    use: Use = NO_USE
    """What of that is meant."""
    known: Known = NOTHING_KNOWN
    names: Names = NOTHING
    """What that says of whose it is."""
    ends: bytes = b""
    """What is kept of the reply that it goes on from."""

    @property
    def earlier(self) -> Earlier | None:
        """What is known of the body before it is looked at."""
        tail, base = self.use.tail, len(self.known.body)
        return None if tail is None else Earlier(self.names, base, base - tail)

    @property
    def work(self) -> int:
        """Bytes that reading it goes through: those of the body, as it says, of what it continues,
        and its own, of which a few can be long in coming."""
        inserted_in = len(self.known.body) if self.use.adds else 0
        return max(self.head.size + inserted_in, len(self.known.body), len(self.data))

    def decode(self, limit: int) -> bytes:
        """The body; touches nothing else.

        Raises:
            Miss: it continues something else than what is here.
            TooLarge: it has more than `limit` bytes.
            WireError: it is damaged.
        """
        try:
            return message.decode(self.data, self.head, self.use, self.known, limit)
        except TooLarge:
            raise
        except WireError:
            if self.entry is None:
                raise
            raise Miss from None

    def check(self, scope: bytes) -> None:
        """May the body, which is of that scope, continue what it continues?

        Raises:
            Miss: it may not, for that is another scope's.
        """
        if self.entry is not None and self.entry.scope != scope:
            raise Miss


class Core:
    """The entries of one connection from an edge."""

    def __init__(self, bounds: Bounds, memory: Memory, clock: Callable[[], float]) -> None:
        self._window = Window(bounds, memory, clock)

    @property
    def size(self) -> int:
        """Bytes of memory that it holds."""
        return self._window.size

    def receive(self, number: int, tenant: bytes, data: bytes) -> Received:
        """A body came on the stream of that number. What it continues is held for its decoding.

        Raises:
            Miss: what it continues is not here.
            WireError: it says nothing that can be understood.
        """
        head = message.read_head(data)
        if not head.distance:
            return Received(head, data)
        entry = self._window.get(number - head.distance)
        if entry is None or entry.tenant != tenant:
            raise Miss
        try:
            use = head.use.within(entry.body, entry.reply, entry.tail)
        except WireError:
            raise Miss from None
        self._window.use(entry)  # now, as the edge did: what comes meanwhile goes by that
        known = Known(entry.body, entry.reply, entry.tail, entry.take_ready())
        ends = entry.ends if use.goes_on else b""
        return Received(head, data, entry, use, known, entry.names, ends)

    def keep(
        self,
        number: int,
        tenant: bytes,
        scope: bytes,
        received: Received,
        body: bytes,
        names: Names = NOTHING,
    ) -> Entry | None:
        """Remember the body that was decoded, and passed `check`, if it is not too large, and the
        `names` in it."""
        before = received.entry
        known, tail = names.to_keep(body), received.use.tail
        entry = Entry(number, scope, body, tenant, names=known, tail=tail)
        if before is not None and received.use.replaces:
            entry.successor_of = before.number
        return entry if self._window.add(entry) else None

    def replied(self, entry: Entry, reply: bytes, ends: bytes = b"") -> None:
        """The response is complete: its text, and what is kept of it as it came."""
        if self._window.hear(entry, reply, ends if reply else b""):
            self._window.prepare(entry, to_unpack)

    def end(self) -> None:
        """The connection is gone."""
        self._window.end()
