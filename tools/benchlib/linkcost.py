"""What a turn costs on a link, without a wire: choosing, coding and reading in this process.

The first turn is coded after the static dictionary; the agent's turn after the one before and its
reply. All in is with choosing, both checksums, coding, reading and remembering. Generated sessions,
cut or made to the size.
"""

import itertools
import json
import time
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import sessions
from openai_replies import compact
from sessions import Session, Turn

from m2mproxy.codec.events import EventsDecoder, EventsEncoder
from m2mproxy.link.core import Core
from m2mproxy.link.edge import Crossing, Edge
from m2mproxy.link.look import Look
from m2mproxy.link.reply import ReplyReader, render, secrets
from m2mproxy.link.scope import names_in, scope, tenant
from m2mproxy.link.window import Bounds, Memory

from .process import ProcessFailed
from .results import Results, Row, Target
from .servers import Bench

PART = "link cost"
ENCODE, DECODE, BOTH = "encode", "decode", "both"
COLUMNS = (ENCODE, DECODE, BOTH)
KiB = 1024
CODED = Row(PART, "a first turn of 4 KiB, coded and read", "µs")
FIRST = Row(PART, "a first turn of 4 KiB, all in", "µs")
TURN = Row(PART, "an agent's turn of 100 KiB, all in", "µs")
REPLY = Row(PART, "its reply, read and kept by one end", "µs")
EVENT = Row(PART, "an event of a stream", "µs", 1)
_LIMIT = 1 << 30
_TENANT = tenant([(b"authorization", b"Bearer bench")])


class Times(NamedTuple):
    """Seconds."""

    coded: float
    read: float
    sent: float
    """With choosing and remembering it, as what follows."""
    received: float
    replied: float
    """To read its reply, at one of the ends."""


class _Pair:
    """Both ends of a connection's memory."""

    def __init__(self) -> None:
        memory = Memory(_LIMIT)
        self.edge = Edge(Bounds(), memory, time.monotonic)
        self.core = Core(Bounds(), memory, time.monotonic)
        self._numbers = itertools.count(1, 2)

    def turn(self, turn: Turn) -> Times:
        number, body = next(self._numbers), turn.request
        times = [time.perf_counter()]
        crossing = Crossing(Look(_TENANT, body))
        for _, step in self.edge.steps(crossing):
            began = time.perf_counter()
            step()
        message = crossing.message(number)
        times += began, time.perf_counter()  # of the last step, which codes it
        self.edge.sent(crossing, number)
        sent = crossing.entry
        times.append(time.perf_counter())
        received = self.core.receive(number, _TENANT, message)
        plain = received.decode(_LIMIT)
        times.append(time.perf_counter())
        names = names_in(plain, received.earlier)
        whose = scope(_TENANT, plain, names)
        received.check(whose)
        kept = self.core.keep(number, _TENANT, whose, received, plain, names)
        times.append(time.perf_counter())
        if plain != body or sent is None or kept is None:
            raise ProcessFailed("link cost: a body came out changed")
        self.edge.have(crossing)
        messages, ends = _read(turn)
        text = render(messages, body)
        self.edge.replied(sent, text, secrets(messages), ends=ends)
        times.append(time.perf_counter())
        self.core.replied(kept, text, ends)
        chosen, coded, sent_off, read, remembered, replied = (b - a for a, b in pairwise(times))
        return Times(coded, read, chosen + coded + sent_off, read + remembered, replied)


def _read(turn: Turn) -> tuple[list[dict[str, object]], bytes]:
    reader = ReplyReader(turn.is_stream)
    for piece in turn.reply:
        reader.feed(piece)
    return reader.finish(), reader.ends


def measure(bench: Bench) -> None:
    bench.results.notes[PART] = "in this process; the best of many, the median of several sessions"
    rounds = 20 if bench.short else 100
    first = [_of_size(session, 4 * KiB) for session in _some(sessions.CLERK, 4)]
    agent = replace(sessions.TOOLBOX, tools=105, system=9000)
    _turns(bench.results, FIRST, first, 0, rounds)
    _turns(bench.results, TURN, _some(agent, 2), 5, rounds // 2)
    _events(bench.results, [turn for session in _some(sessions.CHAT, 1) for turn in session])


def _some(shape: sessions.Shape, count: int) -> list[Session]:
    return sessions.generated(shape, count, 7).sessions


def _of_size(session: Session, size: int) -> Session:
    """A first request of just that size: its messages' texts are cut."""
    body = json.loads(session[0].request)
    del body["tools"]
    over = len(compact(body)) - size
    system = body["messages"][0]
    system["content"] = system["content"][over:] if over > 0 else system["content"] + " " * -over
    return [Turn(compact(body), session[0].reply)]


def _turns(
    results: Results, row: Row, some: list[Session], wanted: int, rounds: int
) -> None:
    """The turn of that number, on a fresh connection each time."""
    for session in some:
        taken = []
        for _ in range(rounds):
            pair = _Pair()
            taken.append([pair.turn(turn) for turn in session[: wanted + 1]][-1])
        ends = [(each.sent, each.received) for each in taken]
        _add(results, row, ends)
        if row is FIRST:
            _add(results, CODED, [(each.coded, each.read) for each in taken])
        else:
            results.add(REPLY, BOTH, min([each.replied for each in taken]) * 1e6)


def _add(results: Results, row: Row, taken: list[tuple[float, float]]) -> None:
    """The least at the one end, at the other, and at both."""
    for name, seconds in (
        (ENCODE, min([sent for sent, _ in taken])),
        (DECODE, min([received for _, received in taken])),
        (BOTH, min(map(sum, taken))),
    ):
        results.add(row, name, seconds * 1e6)


def _events(results: Results, turns: list[Turn]) -> None:
    for turn in turns:
        encoder, decoder = EventsEncoder(), EventsDecoder(_LIMIT)
        start = time.perf_counter()
        coded = [encoder.feed(event) + encoder.flush() for event in turn.reply]
        middle = time.perf_counter()
        plain = [piece for pieces in coded for each in pieces for piece in decoder.feed(each)]
        end = time.perf_counter()
        if b"".join(plain) != b"".join(turn.reply):
            raise ProcessFailed("link cost: a stream came out changed")
        spans = {ENCODE: middle - start, DECODE: end - middle, BOTH: end - start}
        for name, seconds in spans.items():
            results.add(EVENT, name, seconds * 1e6 / len(turn.reply))


def targets(results: Results) -> list[Target]:
    limits = {CODED: 150, TURN: 400, EVENT: 20}
    return [Target(row.name, results.value(row, BOTH), most, "µs") for row, most in limits.items()]
