"""The edge's side of a link: codes each request's body after what the core is known to have.

The steps of a request, of which those that find out or encode are done in a thread if that is much:

    look, Look.find      what of the body is known already, and what its scope and its marks are
    choose               what to refer to: the entry that it continues, or
    Survey.find, borrow  what it has in common with others, if the plan has a survey
    Plan.encode          the message
    sent                 the request's stream has a number: it becomes an entry
    have or miss         what the head of the response says
    replied              the response is complete, and becomes a part of the entry

A request that ends otherwise leaves an entry that is never referred to.

The one rule: an entry is referred to only by requests of its own scope, only after the core has
said that it has it, and beyond its own conversation only in whole blocks, to its end with the
reply, unless the operator allows more. A body is of the entry's conversation if it contains the
entry's body, or what only a receiver of one of its replies can know. To send the same request as
somebody else does not prove that one got the reply: that is referred to only where the body repeats
all that it says, or has such a thing; and where less than the request is shown, a block of it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from m2mproxy.link import message, shown
from m2mproxy.link.borrow import Other, Survey
from m2mproxy.link.index import Index, Within, chain, last_calls, shared, whole_blocks
from m2mproxy.link.match import (
    BLOCK,
    common_prefix,
    continues,
    insertion,
    is_list_at,
    is_marked_at,
    with_texts,
    without_marks,
)
from m2mproxy.link.message import NOTHING_KNOWN, Coded, Known
from m2mproxy.link.ready import to_pack
from m2mproxy.link.scope import NOTHING, Earlier, Names, names_in, scope
from m2mproxy.link.shown import MOST_SEARCHED
from m2mproxy.link.use import MOST_RUNS, Use
from m2mproxy.link.window import Bounds, Entry, Memory, Window

# Misses in a row after which no reply is referred to any more: the core has other texts of them.
_MOST_DOUBTS = 3
# Entries of a scope that are looked at one by one, the last used ones.
_MOST_LOOKED_AT = 64
# And of a tenant's, to find what a body continues before its scope is known.
_MOST_COMPARED = 8
# Ids of tool calls by which an entry is found that replaced those whose replies had them.
_MOST_CALLED = 4


class Isolation(enum.Enum):
    """What a body may refer to beside its own conversation, within a scope."""

    BLOCK = "block"
    """What it has in common with another, in whole blocks."""
    CREDENTIAL = "credential"
    """All of another: whoever shares a credential can find out by guessing what others sent."""
    CONVERSATION = "conversation"
    """Nothing."""


@dataclass(slots=True)
class Look:
    """A body, and what is found out about it."""

    tenant: bytes
    body: bytes
    aside: bool = False
    """Whether it only asks about a conversation: it is no turn of it, and replaces none."""
    within: Within | None = None
    """The entry that it most likely continues, whoever's that is."""
    earlier: Earlier | None = None
    """What is known of that one's body. The entry itself may be dropped at any time."""
    known: tuple[bytes, list[int]] = (b"", [])
    """The marks that it has in common with that, if they have the same scope: this one."""
    names: Names = NOTHING
    scope: bytes = b""
    marks: list[int] = field(default_factory=list)
    _calls: list[bytes] | None = None

    @property
    def calls(self) -> list[bytes]:
        """The ids of the last tool calls that the body has the result of."""
        if self._calls is None:
            self._calls = last_calls(self.body)
        return self._calls

    def find(self) -> Look:
        """Find it out. May take long, and touches nothing else."""
        body = self.body
        names = names_in(body, self.earlier)
        self.scope, self.names = scope(self.tenant, body, names), names.to_keep(body)
        whose, marks = self.known
        self.marks = chain(self.scope, body, marks if whose == self.scope else ())
        if self.earlier is None:  # else it most likely goes on, and nobody asks
            self._calls = last_calls(body)
        return self


@dataclass(slots=True)
class Plan:
    """What a body is to be coded after. `entry` is None for the static dictionary."""

    look: Look
    entry: Entry | None = None
    use: Use = field(default_factory=Use)
    known: Known = NOTHING_KNOWN
    """What the entry has."""
    survey: Survey | None = None
    """What is to be found out before it is complete."""

    def encode(self) -> Coded:
        """Code the body; touches nothing else."""
        use = self.use if self.entry is not None else None
        return message.encode(self.look.body, use, self.known)

    def distance(self, number: int) -> int:
        """From the stream of that number back to the entry; 0 for none."""
        return number - self.entry.number if self.entry is not None else 0


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
        self._index = Index()
        self._window = Window(bounds, memory, clock, self._index.drop)

    @property
    def size(self) -> int:
        """Bytes of memory that it holds."""
        return self._window.size

    def look(self, tenant: bytes, body: bytes, aside: bool = False) -> Look:
        """A body of that tenant, `aside` or a turn, with what is known of it from the last one that
        it contains. What is found out about it does not depend on that, only how long it takes."""
        for entry in self._window.last_used(_MOST_COMPARED):
            if entry.tenant != tenant:
                continue
            at = insertion(entry.body, body, entry.grown_to)
            if at >= 0:
                earlier = Earlier(entry.names, len(entry.body), at)
                known = entry.scope, entry.marks[: whole_blocks(at)]
                return Look(tenant, body, aside, Within(entry, at), earlier, known)
        return Look(tenant, body, aside)

    def choose(self, look: Look, fresh: bool = False) -> Plan:
        """What the body is coded after. `fresh` is for one that was missed: the dictionary, as for
        one that is too large to be remembered, in which nothing is looked for."""
        plan, body = Plan(look), look.body
        if fresh or not self._window.takes(len(body)):
            return plan
        self._window.expire()
        usable = (each for each in self._window.newest(look.scope) if each.usable)
        recent = list(islice(usable, _MOST_LOOKED_AT))
        if not recent:
            return plan
        kin = [each for each in recent if each.aside is look.aside]
        nearest = self._nearest(look, kin)
        if (own := self._continued(look, nearest, kin)) is not None:
            same = shared(own.marks, look.marks)
            tail = len(own.body) - self._common(own, look, same)
            at, end = len(own.body) - tail, len(body) - tail
            reply = self._may_have_reply(own, body, at, end)
            use = Use(reply, replaces=True, tail=tail, where_before=tail == own.tail)
            self._refer(plan, own, use)
        elif (own := self._rewritten(look, nearest, kin)) is not None:
            first = self._common(own, look, shared(own.marks, look.marks))
            reply = self._may_have_reply(own, body, first, len(body))
            self._refer(plan, own, Use(reply, replaces=own.aside is look.aside))
        elif self._isolation is not Isolation.CONVERSATION:
            self._survey(plan, recent)
        return plan

    def _nearest(self, look: Look, kin: list[Entry]) -> Entry | None:
        """The one of the body's `kin` whose beginning is the same for longest."""
        nearest, _ = self._index.longest(look.scope, look.marks, unit=1)
        if nearest is None or nearest.aside is look.aside:
            return nearest
        return max(kin, key=lambda each: shared(each.marks, look.marks), default=None)

    def _continued(self, look: Look, nearest: Entry | None, kin: list[Entry]) -> Entry | None:
        """The entry of which the body is the next turn: most likely the `nearest`."""
        likely = [nearest] if nearest is not None else []
        found = self._index.continued(look.body, look.marks, likely, look.within)
        return found or self._index.continued(look.body, look.marks, kin, look.within)

    @staticmethod
    def _common(own: Entry, look: Look, same: int) -> int:
        """How many bytes the body begins with that the entry does, too; so many are known."""
        if look.within is not None and look.within.entry is own:
            return look.within.at
        return same + common_prefix(own.body, look.body, same, same)

    def _rewritten(self, look: Look, nearest: Entry | None, kin: list[Entry]) -> Entry | None:
        """The entry of the body's conversation, where that does not contain it. What is aside keeps
        to its own kind as long as it can: nothing else would ever replace it."""
        if look.aside and nearest is not None and self._is_marked_anew(nearest, look):
            return nearest
        found = self._index.conversation(look.scope, look.calls)
        if found is not None:
            return found
        near = [nearest] if nearest is not None else kin[:_MOST_COMPARED]
        left = MOST_SEARCHED  # of all of them together
        for each in near:
            left -= max(len(each.body), len(look.body)) - shared(each.marks, look.marks)
            if left < 0:
                break
            if self._is_marked_anew(each, look):
                return each
        return self._index.shown(look.scope, look.body)

    @staticmethod
    def _is_marked_anew(entry: Entry, look: Look) -> bool:
        """Whether the body is the next turn of an entry, but for the marks of what is cached, and
        lists of one text that had such a mark."""
        old, new = entry.body, look.body
        same = shared(entry.marks, look.marks)
        if max(len(old), len(new)) - same > MOST_SEARCHED:
            return False
        at = same + common_prefix(old, new, same, same)
        is_list = is_list_at(old, new, at)
        if not (is_list or is_marked_at(old, new, at)):
            return False
        old, new = without_marks(old[same:]), without_marks(new[same:])
        return continues(old, new) or (
            is_list_at(old, new, common_prefix(old, new))
            and continues(with_texts(old), with_texts(new))
        )

    def _may_have_reply(
        self, own: Entry, body: bytes, first: int, end: int, least: int = 0
    ) -> bool:
        """Whether the body shows, by what does not lie wholly outside of these bytes of it, that
        its sender got the reply. Of a reply with a random id that is the id; of any other all of
        it, or a long text that it says first, but for space around that, of `least` bytes; of both
        what the model has sealed."""
        if not self._has_reply(own) or self._isolation is Isolation.CREDENTIAL:
            return self._has_reply(own)

        def is_there(part: bytes) -> bool:
            return body.find(part, max(first - len(part) + 1, 0), end + len(part) - 1) >= 0

        texts = own.secrets or (each for each in shown.texts(own.reply) if len(each) >= least)
        known = (texts, own.others, shown.seals(own.reply))
        return any(is_there(part) for parts in known for part in parts)

    def _has_reply(self, entry: Entry) -> bool:
        """Whether there is one, and the core is still believed to have the same."""
        return bool(entry.reply) and self._doubts < _MOST_DOUBTS

    def _survey(self, plan: Plan, recent: list[Entry]) -> None:
        """Ask what of another entry the body has, too."""
        look, body = plan.look, plan.look.body
        strict = self._isolation is Isolation.BLOCK
        if strict and len(body) < BLOCK:
            return
        nearest, same = self._index.longest(look.scope, look.marks, unit=BLOCK if strict else 1)
        known = self._index.places
        others = [Other(each, each.body, known(each)) for each in recent]
        if 2 * same >= len(body):
            others = []
        if nearest is not None or others:
            plan.survey = Survey(body, nearest, others, strict)

    def borrow(self, plan: Plan) -> None:
        """Refer to what the plan's survey has found."""
        survey, plan.survey = plan.survey, None
        if survey is None:
            return
        for entry, places in survey.learnt:
            if self._index.places(entry) is not None:
                continue  # another survey has learnt them meanwhile
            if self._window.grow(entry, entry.reply, Index.cost_of_places(places)):
                self._index.learn(entry, places)
        best = survey.best
        if best is None or self._window.get(best.number) is not best:
            return
        if survey.in_blocks:
            if survey.runs:
                runs = tuple(survey.runs[:MOST_RUNS])
                # Who does not say how the conversation ended may have its beginning from elsewhere.
                # Who does may have the end from there, too: what is asked is not all known.
                is_whole = runs[-1].end + BLOCK > len(best.body)
                reply = is_whole and self._may_have_reply(
                    best, survey.body, 0, len(survey.body), BLOCK
                )
                self._refer(plan, best, Use(reply, runs=runs))
        else:
            self._refer(plan, best, Use(reply=self._has_reply(best)))

    def _refer(self, plan: Plan, entry: Entry, use: Use) -> None:
        plan.entry, plan.use = entry, use
        plan.known = Known(entry.body, entry.reply, entry.tail, entry.take_ready())

    def sent(self, number: int, plan: Plan) -> Entry | None:
        """The body goes out on the stream of that number. Its entry, where it becomes one."""
        if plan.entry is not None:
            self._window.use(plan.entry)
        look = plan.look
        entry = Entry(
            number,
            look.scope,
            look.body,
            look.tenant,
            extra=Index.cost(look.marks),
            names=look.names,
            aside=look.aside,
        )
        entry.marks = look.marks
        entry.tail, entry.after_reply = plan.use.tail, plan.use.reply
        if plan.entry is not None and plan.use.replaces:
            entry.successor_of = plan.entry.number
        if self._window.add(entry):
            return entry
        if plan.entry is not None and plan.use.replaces:
            self._window.drop(plan.entry)  # the core will have this one in its place
        return None

    def have(self, entry: Entry) -> None:
        """The core has it."""
        if entry.after_reply and self._doubts < _MOST_DOUBTS:
            self._doubts = 0
        if self._window.get(entry.number) is entry:
            entry.usable = True
            self._index.add(entry)
            before = self._window.get(entry.successor_of)
            if before is not None:
                called, cost = self._index.known_by(_still_called(before, entry))
                self._window.drop(before)
                if called and self._window.grow(entry, entry.reply, cost):
                    self._index.inherit(entry, called)

    def miss(self, plan: Plan | None, entry: Entry | None) -> None:
        """The core has not the body, nor, with a `plan`, what that was coded after."""
        if plan is not None and plan.use.reply:
            self._doubts += 1
        for lost in (plan.entry if plan is not None else None, entry):
            if lost is not None:
                self._window.drop(lost)

    def replied(
        self, entry: Entry, reply: bytes, secrets: list[bytes], others: Iterable[bytes] = ()
    ) -> None:
        """The response is complete: its text, and what of it only who has it can know, ids of calls
        and `others`."""
        if self._doubts >= _MOST_DOUBTS:
            return
        known, cost = self._index.known_by(secrets)
        more, cost_of_more = self._index.known_by([*others, *shown.last_seals(reply)])
        if self._window.grow(entry, reply, cost + cost_of_more) and entry.usable:
            self._index.add_secrets(entry, known, more)
            self._window.prepare(entry, to_pack)

    def give_up(self) -> None:
        """The core has not read a body that continues nothing, or that it did not say it misses."""
        self.is_given_up = True
        self.end()

    def end(self) -> None:
        """The connection is gone."""
        self._window.end()
        self._index.clear()


def _still_called(before: Entry, entry: Entry) -> list[bytes]:
    """The last tool calls of the conversation that `before` is of, which the body of `entry`, who
    replaces it, knows, too."""
    body, tail = entry.body, entry.tail
    if tail is None:
        known, calls = [], [*before.called, *before.secrets]
        first, end = max(len(body) - MOST_SEARCHED, 0), len(body)
    else:  # all of the other body is in it
        known, calls = before.called, before.secrets
        first, end = len(before.body) - tail, len(body) - tail
    found = [call for call in calls[-_MOST_CALLED:] if body.rfind(call, first, end) >= 0]
    return [*known, *found][-_MOST_CALLED:]
