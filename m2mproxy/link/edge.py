"""The edge's side of a link: codes each request's body after what the core is known to have.

A request is a Crossing, and goes through these steps, in this order; m2m-link(7) says what is sent.

    steps      to find out what the body is coded after, and code it:
      look         whose it is, and what of it is known already (look.py)
      _choose      what it refers to: an entry of its conversation (kin.py), or
      _survey      which others of its scope have something of it, and
      _borrow      what of one of these (borrow.py)
      encode       the message but for its place (message.py)
    message    the request has its stream, and the body goes out ("The frame")
    sent       it becomes an entry ("What is remembered")
    have, miss, unread     what the head of the response says ("What an edge does")
    replied    the response is complete, and its text a part of the entry ("Replies")

A request that ends otherwise leaves an entry that is never referred to. One that goes again is a
new Crossing.

The one rule: an entry is referred to only by requests of its own scope, only after the core has
said that it has it, and beyond its own conversation only in whole blocks, to its end with the
reply, unless the operator allows more. To send the same request as somebody else does not prove
that one got the reply: that is referred to only where the body repeats all that it says, or has
what only its receiver can know; and where less than the request is shown, a block of it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter

from m2mproxy.link import kin, message
from m2mproxy.link.borrow import Other, Survey
from m2mproxy.link.index import Index
from m2mproxy.link.look import Look
from m2mproxy.link.match import BLOCK
from m2mproxy.link.message import NOTHING_KNOWN, Coded, Known
from m2mproxy.link.ready import to_pack
from m2mproxy.link.shown import Proof, last_seals
from m2mproxy.link.use import MOST_RUNS, NO_USE, Use
from m2mproxy.link.window import Bounds, Entry, Memory, Window

# Misses in a row after which no reply is referred to any more: the core has other texts of them.
# Those of entries that were there at the first of some are one: a core may have forgotten them all.
_MOST_DOUBTS = 3
# Entries that are looked at one by one, the last used ones: of the connection, before the scope is
# known, and of that.
_MOST_LOOKED_AT = 64
# A step takes this part of what it takes to code as many bytes as a body is coded for others.
_PART = 4

_is_usable = attrgetter("usable")

Step = tuple[int, Callable[[], None]]
"""What may take long, and touches nothing but its Crossing; and how many bytes are coded for others
(`Run`) in as long."""


class Isolation(enum.Enum):
    """What a body may refer to beside its own conversation, within a scope."""

    BLOCK = "block"
    """What it has in common with another, in whole blocks."""
    CREDENTIAL = "credential"
    """All of another: whoever shares a credential can find out by guessing what others sent."""
    CONVERSATION = "conversation"
    """Nothing."""


@dataclass(slots=True, eq=False)
class Crossing:
    """One request's body on its way to the core: what its steps have come to, in their order."""

    look: Look
    is_again: bool = False
    """Whether it was missed: it is coded after nothing."""
    base: Entry | None = None
    """The entry that it refers to. None for the static dictionary."""
    use: Use = NO_USE
    """What of that is meant."""
    ends: bytes = b""
    """What is kept of the reply that it goes on from."""
    proof: Proof | None = None
    """What the body has to show for the reply to be meant; None where it need not, or has."""
    known: Known = NOTHING_KNOWN
    """What that has, while it is wanted: it may be dropped at any time."""
    survey: Survey | None = None
    coded: Coded | None = None
    """Until it is sent."""
    entry: Entry | None = None
    """What it has become itself."""

    def encode(self) -> None:
        """Code the body."""
        proof, self.proof = self.proof, None
        if proof is not None and not proof.is_in(self.look.body):
            self.use, self.ends = replace(self.use, reply=False), b""
        use = self.use if self.base is not None else None
        self.coded = message.encode(self.look.body, use, self.known)
        self.use = self.coded.use

    def message(self, number: int) -> bytes:
        """What goes out on the stream of that number."""
        coded, self.coded = self.coded, None
        assert coded is not None
        return coded.message(number - self.base.number if self.base is not None else 0)


class Edge:
    """The entries of one connection to a core."""

    def __init__(
        self,
        bounds: Bounds,
        memory: Memory,
        clock: Callable[[], float],
        isolation: Isolation = Isolation.BLOCK,
    ) -> None:
        self._isolation = isolation
        self.is_given_up = False
        """Whether the core has not read what any core reads: it is no link any more."""
        self._doubts = 0
        self._latest = self._doubted = 0  # the last stream, and the last at the time of a doubt
        self._index = Index()
        self._window = Window(bounds, memory, clock, self._index.drop)

    @property
    def size(self) -> int:
        """Bytes of memory that it holds."""
        return self._window.size

    # -- before it is sent ----------------------------------------------------------------------

    def steps(self, crossing: Crossing) -> Iterator[Step]:
        """Code the body. Each step is to be done before the next is asked for, in a thread if it is
        much; what is done between two is not. Entries may come and go meanwhile."""
        look, size = crossing.look, len(crossing.look.body)
        if not look.is_done:
            look.begin(self._window.last_used(_MOST_LOOKED_AT))
            yield size // _PART, look.find
        if not crossing.is_again and self._window.takes(size):  # else it would replace nothing
            self._choose(crossing)
        if crossing.survey is not None:
            yield crossing.survey.work, crossing.survey.find
            self._borrow(crossing, crossing.survey)
            crossing.survey = None
        yield max(size, len(crossing.known.body)) // _PART, crossing.encode
        crossing.known = NOTHING_KNOWN

    def _choose(self, crossing: Crossing) -> None:
        """Refer to the entry that the body goes on with; or ask what others have of it."""
        look = crossing.look
        self._window.expire()
        usable = filter(_is_usable, self._window.newest(look.scope))
        recent = list(islice(usable, _MOST_LOOKED_AT))
        if not recent:
            return
        found = kin.find(look, recent, self._index)
        if found is None:
            if self._isolation is not Isolation.CONVERSATION:
                crossing.survey = self._survey(look, recent)
            return
        own, first, is_insertion = found
        reply, end = self._has_reply(own), len(look.body)
        if is_insertion:
            tail = len(own.body) - first
            end -= tail
            use = Use(reply, replaces=True, tail=tail, where_before=tail == own.tail)
        else:
            use = Use(reply, replaces=own.aside is look.aside)
        self._refer(crossing, own, use)
        self._ask_for_proof(crossing, own, first, end)

    def _survey(self, look: Look, recent: list[Entry]) -> Survey | None:
        """What finds what of the `recent` entries the body has, too."""
        body, strict = look.body, self._isolation is Isolation.BLOCK
        if strict and len(body) < BLOCK:
            return None
        nearest, same = self._index.longest(look.scope, look.marks, unit=BLOCK if strict else 1)
        known = self._index.places
        others = []
        if 2 * same < len(body):
            others = [Other(each, each.body, known(each)) for each in recent]
        return Survey(body, nearest, others, strict) if nearest is not None or others else None

    def _borrow(self, crossing: Crossing, survey: Survey) -> None:
        """Refer to what the survey has found."""
        for entry, places in survey.learnt:
            if self._index.places(entry) is not None:
                continue  # another survey has learnt them meanwhile
            if self._window.grow(entry, Index.cost_of_places(places)):
                self._index.learn(entry, places)
        best = survey.best
        if best is None or self._window.get(best.number) is not best:
            return
        if not survey.in_blocks:
            self._refer(crossing, best, Use(reply=self._has_reply(best)))
        elif survey.runs:
            runs = tuple(survey.runs[:MOST_RUNS])
            # Who does not say how the conversation ended may have its beginning from elsewhere. Who
            # does may have the end from there, too: what is asked is not all known.
            is_whole = runs[-1].end + BLOCK > len(best.body)
            self._refer(crossing, best, Use(is_whole and self._has_reply(best), runs=runs))
            self._ask_for_proof(crossing, best, 0, len(survey.body), BLOCK)

    def _ask_for_proof(
        self, crossing: Crossing, own: Entry, first: int, end: int, least: int = 0
    ) -> None:
        """If the reply is meant, too, the body has to show that its sender got it. That is looked
        for where the body is coded: in a large one it can take long."""
        if crossing.use.reply and self._isolation is not Isolation.CREDENTIAL:
            crossing.proof = Proof(own.reply, own.secrets, own.others, first, end, least)

    def _has_reply(self, entry: Entry) -> bool:
        """Whether there is one, and the core is still believed to have the same."""
        return bool(entry.reply) and self._doubts < _MOST_DOUBTS

    @staticmethod
    def _refer(crossing: Crossing, entry: Entry, use: Use) -> None:
        crossing.base, crossing.use = entry, use
        crossing.ends = entry.ends if use.goes_on else b""
        crossing.known = Known(entry.body, entry.reply, entry.tail, entry.take_ready())

    # -- when it is sent ------------------------------------------------------------------------

    def sent(self, crossing: Crossing, number: int) -> None:
        """The body goes out on the stream of that number, and becomes an entry, if it may."""
        look, base, use = crossing.look, crossing.base, crossing.use
        self._latest = number
        if base is not None:
            self._window.use(base)
        entry = Entry(
            number,
            look.scope,
            look.body,
            look.tenant,
            tail=use.tail,
            aside=look.aside,
            successor_of=base.number if base is not None and use.replaces else 0,
            extra=Index.cost(look.marks),
            marks=look.marks,
            names=look.names,
        )
        if self._window.add(entry):
            crossing.entry = entry
        elif base is not None and use.replaces:
            self._window.drop(base)  # the core will have this one in its place

    # -- what the core says ---------------------------------------------------------------------

    def have(self, crossing: Crossing) -> None:
        """The core has read it: it may be referred to."""
        entry = crossing.entry
        if entry is None:
            return
        if crossing.use.reply and self._doubts < _MOST_DOUBTS:
            self._doubts = 0
        if self._window.get(entry.number) is not entry:
            return
        entry.usable = True
        self._index.add(entry)
        before = self._window.get(entry.successor_of)
        if before is not None:
            called, cost = self._index.known_by(kin.still_called(before, entry))
            self._window.drop(before)
            if called and self._window.grow(entry, cost):
                self._index.inherit(entry, called)

    def miss(self, crossing: Crossing) -> None:
        """The core has not what it was coded after."""
        base = crossing.base
        if base is not None:
            if crossing.use.reply and base.number > self._doubted:
                self._doubts += 1
                self._doubted = self._latest
            self._window.drop(base)
        self.unread(crossing)

    def unread(self, crossing: Crossing) -> None:
        """The core does not say that it has it."""
        if crossing.entry is not None:
            self._window.drop(crossing.entry)

    def give_up(self) -> None:
        """The core has not read a body that continues nothing, or that it did not say it misses."""
        self.is_given_up = True
        self.end()

    # -- when it is answered --------------------------------------------------------------------

    def replied(
        self,
        entry: Entry,
        reply: bytes,
        secrets: list[bytes],
        others: Iterable[bytes] = (),
        ends: bytes = b"",
    ) -> None:
        """The response is complete: its text, what of it only who has it can know, ids of calls and
        `others`, and what is kept of it as it came."""
        if self._doubts >= _MOST_DOUBTS:
            return
        known, cost = self._index.known_by(secrets)
        more, cost_of_more = self._index.known_by([*others, *last_seals(reply)])
        ends = ends if reply else b""
        if self._window.hear(entry, reply, ends, cost + cost_of_more) and entry.usable:
            self._index.add_secrets(entry, known, more)
            self._window.prepare(entry, to_pack)

    def end(self) -> None:
        """The connection is gone."""
        self._window.end()
        self._index.clear()
