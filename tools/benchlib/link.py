"""The part `link`: what crosses between an edge and a core when sessions pass through both.

Edge and core are processes, and between them a relay counts every byte by type of frame
(replay.py). Each session has a connection of its own, made warm by one tiny request. "Not warmed"
is without that: the session's first request goes before the core's SETTINGS are here, and the edge
takes the connection for a link since the one before was.

Plain is what would cross without the two: heads and bodies, and the sizes of chunks, as the client
and the model server write them in HTTP/1.1. "Requests" are bodies only in all columns; the link's
are its DATA frames with their headers. "All that crosses" is everything, both ways: heads,
SETTINGS, window updates. The link's figures are the relay's, the others are computed.

Recorded sessions flatter whatever has a dictionary: C2 to C5 are what ours were trained on.
Generated ones do not (sessions.py).
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace

import sessions
from openai_replies import MODEL, compact
from sessions import Corpus, Session, Turn

from . import linkcost, linkforms, linkspeed
from .h2count import Count
from .linkcases import GENERATED, RECORDED, Case, Size
from .process import ProcessFailed
from .replay import Played, Rig
from .results import Results, Row, Target
from .servers import Bench

PART = "link"
PLAIN, LINK = "plain", "link"
COLUMNS = (
    PLAIN,
    *linkforms.STATELESS,
    LINK,
    linkforms.NEW,
    linkforms.AFTER,
    *linkcost.COLUMNS,
    *linkspeed.COLUMNS,
)
_AT_ONCE = 8
_WARM = Turn(
    compact({"messages": [{"role": "user", "content": "hi"}], "model": MODEL}),
    (b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]}',),
)


def measure(bench: Bench) -> None:
    asyncio.run(_measure(bench, Size.of(bench.short)))
    linkcost.measure(bench)
    linkspeed.measure(bench)


async def _measure(bench: Bench, size: Size) -> None:
    async with _rig(bench) as rig:
        for case in size.cases:
            corpus = case.make(min(case.sessions, size.sessions), size.turns)
            await _case(bench.results, rig, corpus)
        await _interleaved(bench, rig)


async def play(bench: Bench, some: Iterable[Corpus]) -> None:
    """What crosses of these sessions."""
    async with _rig(bench) as rig:
        for corpus in some:
            await _case(bench.results, rig, corpus)


@contextlib.asynccontextmanager
async def _rig(bench: Bench) -> AsyncIterator[Rig]:
    async with contextlib.AsyncExitStack() as stack:
        rig = Rig()
        await rig.start(stack)
        core = stack.enter_context(bench.proxy(rig.origin))
        rig.core = core.port
        edge = stack.enter_context(bench.proxy(rig.relay, http="2"))
        rig.edge = edge.port
        yield rig


# ---- One corpus ----


@dataclass
class Tally:
    """What the turns of a kind took."""

    turns: int = 0
    events: int = 0
    requests: int = 0
    plain_out: int = 0
    plain_back: int = 0
    out: Count = field(default_factory=Count)
    back: Count = field(default_factory=Count)
    streams: Count = field(default_factory=Count)
    """Of `back`, the turns whose replies were event streams."""
    forms: Counter[str] = field(default_factory=Counter)

    def add(self, played: Played) -> None:
        self.turns += 1
        if played.turn.is_stream:
            self.events += len(played.turn.reply)
            self.streams += played.back
        self.requests += len(played.turn.request)
        self.plain_out += played.plain_out
        self.plain_back += played.plain_back
        self.out += played.out
        self.back += played.back

    def __add__(self, other: "Tally") -> "Tally":
        both = Tally(*(getattr(self, name) + getattr(other, name) for name in _NUMBERS))
        for each in (self, other):
            both.out += each.out
            both.back += each.back
            both.streams += each.streams
            both.forms += each.forms
        return both


_NUMBERS = ("turns", "events", "requests", "plain_out", "plain_back")


def row(name: str, what: str, unit: str, digits: int = 0) -> Row:
    """Each corpus is a part of its own in the table."""
    return Row(f"{PART}, {name}", what, unit, digits)


def later_row(name: str) -> Row:
    return row(name, "later requests, saved", "%", 2)


def cold_row(name: str) -> Row:
    return row(name, "all requests, saved", "%", 2)


def unwarmed_row(name: str) -> Row:
    return row(name, "all requests, connections not warmed, saved", "%", 2)


def both_row(name: str) -> Row:
    return row(name, "both ways, saved", "%", 2)


def event_row(name: str) -> Row:
    return row(name, "an event, without frame header", "bytes", 1)


async def _case(results: Results, rig: Rig, corpus: Corpus) -> None:
    tallies = await _play_cold(rig, corpus.sessions)
    unwarmed = await _play_unwarmed(rig, corpus.sessions)
    for session in corpus.sessions:
        _compute(session, tallies)
    first, second, last = tallies
    name = corpus.name
    kind = "recorded" if corpus.recorded else "generated"
    results.notes[row(name, "", "").part] = f"{kind}, {len(corpus.sessions)} sessions"
    if second.turns:
        _requests(results, name, first, second + last)
        crossed = unwarmed.out.bodies + last.out.bodies
        plain = first.requests + second.requests + last.requests
        results.add(unwarmed_row(name), LINK, _saved(crossed, plain))
    _replies(results, name, first + second + last)
    _all(results, name, first + second + last)


def _nth(number: int) -> int:
    """The tally of a session's turn: the first, the second, or a later one."""
    return min(number, 2)


async def _play_cold(rig: Rig, some: Sequence[Session]) -> tuple[Tally, Tally, Tally]:
    """Each session on a connection of its own, which a tiny request has warmed."""
    tallies = Tally(), Tally(), Tally()
    for session in some:
        await rig.cut()
        await rig.play(_WARM, settle=True)
        for number, turn in enumerate(session):
            settle = number < 2 or number == len(session) - 1
            tallies[_nth(number)].add(await rig.play(turn, settle))
    return tallies


async def _play_unwarmed(rig: Rig, some: Sequence[Session]) -> Tally:
    """The first two turns of each; the third is as ever."""
    tally = Tally()
    for session in some:
        await rig.cut()
        for turn in session[:2]:
            tally.add(await rig.play(turn, settle=True))
    return tally


def _compute(session: Session, tallies: Sequence[Tally]) -> None:
    for number, turn in enumerate(session):
        forms = tallies[_nth(number)].forms
        forms += linkforms.stateless(turn.request)
        if number:
            forms += linkforms.bounds(session[number - 1], turn.request)


def _requests(results: Results, name: str, first: Tally, later: Tally) -> None:
    a_turn, whole = row(name, "a later request", "bytes"), first + later
    results.add(a_turn, PLAIN, later.requests / later.turns)
    for form in (*linkforms.STATELESS, linkforms.NEW, linkforms.AFTER):
        results.add(a_turn, form, later.forms[form] / later.turns)
        results.add(later_row(name), form, _saved(later.forms[form], later.requests))
    results.add(a_turn, LINK, later.out.bodies / later.turns)
    results.add(later_row(name), LINK, _saved(later.out.bodies, later.requests))
    with_heads = row(name, "later requests with heads and all, saved", "%", 2)
    results.add(with_heads, LINK, _saved(later.out.all, later.plain_out))
    for form in linkforms.STATELESS:
        results.add(cold_row(name), form, _saved(whole.forms[form], whole.requests))
    results.add(cold_row(name), LINK, _saved(whole.out.bodies, whole.requests))


def _replies(results: Results, name: str, whole: Tally) -> None:
    """Replies, and what neither they nor the requests are."""
    turns, bodies = whole.turns, whole.back.bodies - whole.streams.bodies
    head = row(name, "a request's head", "bytes")
    results.add(head, PLAIN, (whole.plain_out - whole.requests) / turns)
    results.add(head, LINK, whole.out.heads / turns)
    results.add(row(name, "a reply's head", "bytes"), LINK, whole.back.heads / turns)
    others = (whole.out.others + whole.back.others) / turns
    results.add(row(name, "other frames, a turn", "bytes", 1), LINK, others)
    if bodies:
        results.add(row(name, "bodies of replies, a turn", "bytes"), LINK, bodies / turns)
    if whole.events:
        framed = row(name, "an event, with frame header", "bytes", 1)
        results.add(event_row(name), LINK, whole.streams.payload / whole.events)
        results.add(framed, LINK, whole.streams.bodies / whole.events)


def _all(results: Results, name: str, whole: Tally) -> None:
    plain, crossed = whole.plain_out + whole.plain_back, whole.out.all + whole.back.all
    both = row(name, f"both ways, all that crosses in {whole.turns} turns", "bytes")
    results.add(both, PLAIN, plain)
    results.add(both, LINK, crossed)
    results.add(both_row(name), LINK, _saved(crossed, plain))


def _saved(crossed: float, plain: float) -> float:
    return 100 * (1 - crossed / plain)


# ---- Side by side ----


def lost_row(name: str) -> Row:
    return Row(f"{PART}, side by side", f"{name}: points lost by {_AT_ONCE} at a time", "", 2)


async def _interleaved(bench: Bench, rig: Rig) -> None:
    """All on one connection: one conversation after the other, and eight turn by turn."""
    shapes = [sessions.CLERK, replace(sessions.CHAT, stream=False)][: 1 if bench.short else 2]
    count, turns = (_AT_ONCE, 3) if bench.short else (2 * _AT_ONCE, None)
    corpora = [sessions.generated(shape, count, turns) for shape in shapes]
    if not bench.short and sessions.are_recorded():
        corpora.append(sessions.recorded_agents())
    for corpus in corpora:
        name = corpus.name
        lost = lost_row(name)
        saved = [await _play_together(rig, corpus.sessions, n) for n in (1, _AT_ONCE)]
        together = replace(lost, name=f"{name}: {_AT_ONCE} at a time, saved", unit="%")
        bench.results.add(together, LINK, saved[1])
        bench.results.add(lost, LINK, saved[0] - saved[1])
    bench.results.notes[lost.part] = "all requests, on one connection"


async def _play_together(rig: Rig, some: Sequence[Session], at_once: int) -> float:
    """What is saved of all requests, in per cent."""
    await rig.cut()
    await rig.play(_WARM, settle=True)
    before = rig.connections
    tally = Tally()
    for turn in _in_turns(some, at_once):
        tally.add(await rig.play(turn, settle=False))
    if rig.connections != before:
        raise ProcessFailed("edge and core made another connection")
    return _saved(tally.out.bodies, tally.requests)


def _in_turns(some: Sequence[Session], at_once: int) -> list[Turn]:
    """A turn of each of the first, again and again; the next joins when one is at its end."""
    waiting, turns = [list(session) for session in some], []
    active = [waiting.pop(0) for _ in range(min(at_once, len(waiting)))]
    while active:
        turns += [session.pop(0) for session in active]
        active = [session for session in active if session]
        active += [waiting.pop(0) for _ in range(min(at_once - len(active), len(waiting)))]
    return turns


# ---- Targets ----


def targets(results: Results) -> list[Target]:
    def least(case: Case, row: Row, limit: float | None) -> list[Target]:
        if limit is None:
            return []
        name = f"{case.name}: {row.name}"
        return [Target(name, results.value(row, LINK), limit, row.unit, at_most=False)]

    event, lost = event_row(RECORDED[2].name), lost_row(sessions.CLERK.name)
    return [
        *(each for case in GENERATED for each in least(case, later_row(case.name), case.later)),
        *(each for case in GENERATED for each in least(case, cold_row(case.name), case.cold)),
        *(each for case in GENERATED for each in least(case, both_row(case.name), case.both)),
        Target(f"{RECORDED[2].name}: {event.name}", results.value(event, LINK), 20.7, event.unit),
        Target(lost.name, results.value(lost, LINK), 0.3, ""),
        *linkcost.targets(results),
        *linkspeed.targets(results),
    ]
