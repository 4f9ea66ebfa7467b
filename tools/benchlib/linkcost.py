"""What a turn costs on a link, without a wire: choosing, coding and reading in this process.

The first turn is coded after the static dictionary; the agent's turn after the one before and its
reply, with choosing, both checksums, coding, reading and remembering. Generated sessions, cut or
made to the size.
"""

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import replace

import sessions
from openai_replies import compact
from sessions import Session, Turn

from m2mproxy.codec.events import EventsDecoder, EventsEncoder
from m2mproxy.link.core import Core
from m2mproxy.link.edge import Edge
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
FIRST = Row(PART, "a first turn of 4 KiB", "µs")
TURN = Row(PART, "an agent's turn of 100 KiB, all in", "µs")
REPLY = Row(PART, "its reply, read and kept by one end", "µs")
EVENT = Row(PART, "an event of a stream", "µs", 1)
_LIMIT = 1 << 30
_TENANT = tenant([(b"authorization", b"Bearer bench")])


class _Pair:
    """Both ends of a connection's memory."""

    def __init__(self) -> None:
        memory = Memory(_LIMIT)
        self.edge = Edge(Bounds(), memory, time.monotonic)
        self.core = Core(Bounds(), memory, time.monotonic)
        self._numbers = itertools.count(1, 2)

    def turn(self, turn: Turn) -> tuple[float, float, float]:
        """Seconds to code a request, to read it, and to read its reply, at one of the ends."""
        number, body = next(self._numbers), turn.request
        times = [time.perf_counter()]
        plan = self.edge.choose(self.edge.look(_TENANT, body).find())
        message = plan.encode().message(plan.distance(number))
        sent = self.edge.sent(number, plan)
        times.append(time.perf_counter())
        received = self.core.receive(number, _TENANT, message)
        plain = received.decode(_LIMIT)
        names = names_in(plain, received.earlier)
        whose = scope(_TENANT, plain, names)
        kept = self.core.keep(number, _TENANT, whose, received, plain, names)
        times.append(time.perf_counter())
        if plain != body or sent is None or kept is None:
            raise ProcessFailed("link cost: a body came out changed")
        self.edge.have(sent)
        messages = _read(turn)
        text = render(messages, body)
        self.edge.replied(sent, text, secrets(messages))
        times.append(time.perf_counter())
        self.core.replied(kept, text)
        return times[1] - times[0], times[2] - times[1], times[3] - times[2]


def _read(turn: Turn) -> list[dict[str, object]]:
    reader = ReplyReader(turn.is_stream)
    for piece in turn.reply:
        reader.feed(piece)
    return reader.finish()


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
        for name, of in (
            (ENCODE, lambda times: times[0]),
            (DECODE, lambda times: times[1]),
            (BOTH, lambda times: times[0] + times[1]),
        ):
            results.add(row, name, _microseconds(taken, of))
        if row is TURN:
            results.add(REPLY, BOTH, _microseconds(taken, lambda times: times[2]))


Times = tuple[float, float, float]


def _microseconds(taken: list[Times], of: Callable[[Times], float]) -> float:
    return min(map(of, taken)) * 1e6


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
    limits = {FIRST: 150, TURN: 400, EVENT: 20}
    return [Target(row.name, results.value(row, BOTH), most, "µs") for row, most in limits.items()]
