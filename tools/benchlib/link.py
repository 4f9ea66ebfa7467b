"""The part `link`: what crosses between an edge and a core when sessions pass through both.

Edge and core are processes, and between them a relay counts every byte by type of frame
(replay.py). Each session has a connection of its own, made warm by one tiny request: the very first
one on a connection goes before the core's SETTINGS are here. "Not warmed" is without that.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import sessions
from sessions import Corpus, Session, Shape, Turn

from . import linkcost, linkforms, linkspeed
from .h2count import Count
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
    sessions.compact({"messages": [{"role": "user", "content": "hi"}], "model": sessions.MODEL}),
    (b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]}',),
)


@dataclass(frozen=True)
class Case:
    """A corpus, how much of it, and what the prototypes saved of its later turns, in per cent."""

    make: Callable[[int, int | None], Corpus]
    sessions: int = 1000
    name: str = ""
    later: float | None = None
    cold: float | None = None


def _of(shape: Shape, count: int, later: float, cold: float | None = 97.2) -> Case:
    return Case(partial(sessions.generated, shape), count, shape.name, later, cold)


_CLERK, _ENGINEER = sessions.CLERK, sessions.ENGINEER
GENERATED = (
    _of(sessions.CHAT, 4, 99.2),
    _of(_CLERK, 6, 99.2),
    _of(replace(_CLERK, name="tool agent, streams", stream=True, objects=False), 4, 99.2),
    _of(_ENGINEER, 6, 98.8),
    _of(replace(_ENGINEER, name="software agent, ASCII", ascii=True, stream=True), 4, 98.8),
    _of(sessions.TOOLBOX, 4, 99.7),
    _of(sessions.TALK, 16, 91, None),
    _of(replace(_CLERK, name="time in front", rewrite=sessions.with_time), 4, 95, None),
    _of(replace(_CLERK, name="last ten messages", rewrite=sessions.with_window), 4, 95, None),
    _of(replace(_CLERK, name="results cleared", rewrite=sessions.with_cleared), 4, 95, None),
)
RECORDED = (
    Case(lambda count, turns: _cut(sessions.recorded_chats(), count, turns)),
    Case(lambda count, turns: _cut(sessions.recorded_agents(), count, turns)),
    Case(lambda count, turns: _cut(sessions.recorded_streams(), count, turns)),
)


def _cut(corpus: Corpus, count: int, turns: int | None) -> Corpus:
    some = [session[:turns] for session in corpus.sessions[:count]]
    return replace(corpus, sessions=some)


@dataclass(frozen=True)
class Size:
    sessions: int
    turns: int | None
    cases: tuple[Case, ...]

    @classmethod
    def of(cls, bench: Bench) -> "Size":
        recorded = RECORDED if sessions.are_recorded() else ()
        if bench.short:
            return cls(1, 4, (*GENERATED[:2], *GENERATED[3:4], *GENERATED[5:], *recorded[1:2]))
        return cls(1000, None, (*GENERATED, *recorded))


def measure(bench: Bench) -> None:
    bench.results.notes[PART] = (
        f"* recorded, others generated; {linkforms.AFTER}: after the last body and its reply"
    )
    asyncio.run(_measure(bench, Size.of(bench)))
    linkcost.measure(bench)
    linkspeed.measure(bench)


async def _measure(bench: Bench, size: Size) -> None:
    async with contextlib.AsyncExitStack() as stack:
        rig = Rig()
        await rig.start(stack)
        core = stack.enter_context(bench.proxy(rig.origin))
        rig.core = core.port
        edge = stack.enter_context(bench.proxy(rig.relay, http="2"))
        rig.edge = edge.port
        for case in size.cases:
            corpus = case.make(min(case.sessions, size.sessions), size.turns)
            await _case(bench.results, rig, corpus)
        await _interleaved(bench, rig)


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
    return Row(PART, f"{name}: {what}", unit, digits)


def later_row(name: str) -> Row:
    return row(name, "later turns, saved", "%", 2)


def cold_row(name: str) -> Row:
    return row(name, "whole sessions, saved", "%", 2)


def unwarmed_row(name: str) -> Row:
    return row(name, "whole sessions, not warmed, saved", "%", 2)


def both_row(name: str) -> Row:
    return row(name, "all that crosses, saved", "%", 2)


def event_row(name: str) -> Row:
    return row(name, "an event, without frame header", "bytes", 1)


async def _case(results: Results, rig: Rig, corpus: Corpus) -> None:
    tallies = await _play_cold(rig, corpus.sessions)
    unwarmed = await _play_unwarmed(rig, corpus.sessions)
    for session in corpus.sessions:
        _compute(session, tallies)
    first, later, last = tallies
    name = _title(corpus)
    _report(results, name, first, later + last)
    if later.turns:
        whole = first + later + last
        crossed = unwarmed.out.bodies + last.out.bodies
        results.add(unwarmed_row(name), LINK, _saved(crossed, whole.requests))


def _title(corpus: Corpus) -> str:
    return f"{corpus.name} *" if corpus.recorded else corpus.name


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
    """The first two turns of each: the second can refer to none, the third is as ever."""
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


def _report(results: Results, name: str, first: Tally, later: Tally) -> None:
    whole = first + later
    results.add(row(name, "turns", ""), PLAIN, whole.turns)
    plain = whole.plain_out + whole.plain_back
    results.add(row(name, "all bytes, both ways", "bytes"), PLAIN, plain)
    if later.turns:
        _requests(results, name, first, later)
    _replies(results, name, whole)
    crossed = whole.out.all + whole.back.all
    results.add(both_row(name), LINK, _saved(crossed, plain))


def _requests(results: Results, name: str, first: Tally, later: Tally) -> None:
    a_turn, whole = row(name, "a later turn's request", "bytes"), first + later
    results.add(a_turn, PLAIN, later.requests / later.turns)
    for form in (*linkforms.STATELESS, linkforms.NEW, linkforms.AFTER):
        results.add(a_turn, form, later.forms[form] / later.turns)
        results.add(later_row(name), form, _saved(later.forms[form], later.requests))
    results.add(a_turn, LINK, later.out.bodies / later.turns)
    results.add(later_row(name), LINK, _saved(later.out.bodies, later.requests))
    for form in linkforms.STATELESS:
        results.add(cold_row(name), form, _saved(whole.forms[form], whole.requests))
    results.add(cold_row(name), LINK, _saved(whole.out.bodies, whole.requests))
    all_out = row(name, "later turns, heads and all, saved", "%", 2)
    results.add(all_out, LINK, _saved(later.out.all, later.plain_out))


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


def _saved(crossed: float, plain: float) -> float:
    return 100 * (1 - crossed / plain)


# ---- Side by side ----


def lost_row(name: str) -> Row:
    return row(name, f"{_AT_ONCE} at a time, points lost", "", 2)


async def _interleaved(bench: Bench, rig: Rig) -> None:
    """All on one connection: one conversation after the other, and eight turn by turn."""
    shapes = [_CLERK] if bench.short else [_CLERK, replace(sessions.CHAT, stream=False)]
    count, turns = (_AT_ONCE, 3) if bench.short else (2 * _AT_ONCE, None)
    corpora = [sessions.generated(shape, count, turns) for shape in shapes]
    if not bench.short and sessions.are_recorded():
        corpora.append(sessions.recorded_agents())
    for corpus in corpora:
        name = _title(corpus)
        saved = [await _play_together(rig, corpus.sessions, n) for n in (1, _AT_ONCE)]
        together = row(name, f"one connection, {_AT_ONCE} at a time, saved", "%", 2)
        bench.results.add(together, LINK, saved[1])
        bench.results.add(lost_row(name), LINK, saved[0] - saved[1])


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
    def least(row: Row, limit: float) -> Target:
        return Target(row.name, results.value(row, LINK), limit, row.unit, at_most=False)

    later = [least(later_row(each.name), each.later) for each in GENERATED if each.later]
    cold = [least(cold_row(each.name), each.cold) for each in GENERATED if each.cold]
    both = [least(both_row(each.name), 96.5) for each in GENERATED if each.cold]
    event, lost = event_row("C4, streams *"), lost_row(_CLERK.name)
    return [
        *later,
        *cold,
        *both,
        Target(event.name, results.value(event, LINK), 20.7, event.unit),
        Target(lost.name, results.value(lost, LINK), 0.3, ""),
        *linkcost.targets(results),
        *linkspeed.targets(results),
    ]
