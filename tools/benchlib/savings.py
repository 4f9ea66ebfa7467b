"""The part `savings`: what each form of a body saves, and what it costs; no server, no wire.

Every body is coded with dictionaries of the other projects in ../shared/data/corpora, never of its
own, so that a column shows what traffic gets that was not there in training. Where that data is
not, the part says so and measures nothing.
"""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import corpora
from corpora import Sample
from train_dictionaries import Trainer

from m2mproxy.codec import coding, frame, static
from m2mproxy.codec.base import Transform
from m2mproxy.codec.events import EventsDecoder, EventsEncoder
from m2mproxy.codec.static import Way
from m2mproxy.codec.zstd import Dictionary

from .results import Results, Row
from .servers import Bench

KiB = 1024
PLAIN, M2M, STATIC, EVENTS = "plain", "m2m", "static", "events"
STANDARD = {"gzip -6": (coding.GZIP, 6), "zstd -3": (coding.ZSTD, 3), "br 5": (coding.BR, 5)}
FORMS = (PLAIN, *STANDARD, M2M, STATIC, EVENTS)

CHATS = "single chats under 3 KiB"
TOOLS = "tool requests of 3 to 6 KiB"
LONG = "turns of 8 KiB and more"
REPLIES = "replies"
EMBEDDINGS = "embeddings"
STREAMS = "event streams, flushed an event"

SMALL, LARGE = 4 * KiB, 100 * KiB
EVENT_COST = Row("savings", "an event of a stream, encode + decode", "µs", 1)
_LIMIT = 64 * KiB * KiB
_REPEAT = 3


def cost_row(size: int) -> Row:
    return Row("savings", f"a request of {size // KiB} KiB, encode + decode", "µs")


def saved_row(kind: str) -> Row:
    return Row("savings", f"{kind}: saved", "%", 1)


@dataclass
class Tally:
    """What one form made of one kind of body."""

    before: int = 0
    after: int = 0
    encode: float = 0
    decode: float = 0
    """Seconds."""


@dataclass
class Kind:
    """One kind of body, and what each form made of it."""

    name: str
    tallies: dict[str, Tally] = field(default_factory=dict)
    count: int = 0
    """Bodies, or events."""

    def tally(self, form: str) -> Tally:
        return self.tallies.setdefault(form, Tally())

    def report(self, results: Results, unit: str) -> None:
        bytes_row = Row("savings", f"{self.name}: {unit}", "bytes", 1)
        encode_row = Row("savings", f"{self.name}: encode", "µs/KiB", 2)
        decode_row = Row("savings", f"{self.name}: decode", "µs/KiB", 2)
        plain = next(iter(self.tallies.values())).before
        results.add(bytes_row, PLAIN, plain / self.count)
        for form, tally in self.tallies.items():
            results.add(bytes_row, form, tally.after / self.count)
            results.add(saved_row(self.name), form, 100 * (1 - tally.after / plain))
            results.add(encode_row, form, tally.encode * 1e6 / (plain / KiB))
            results.add(decode_row, form, tally.decode * 1e6 / (plain / KiB))


Coder = tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]


def _coders(way: Way, dictionary: Dictionary) -> dict[str, Coder]:
    """How to encode and decode whole bodies, by form."""
    coders: dict[str, Coder] = {
        name: (
            partial(coding.encode, which, level=level),
            lambda coded, which=which: coding.decode(which, coded, _LIMIT),  # type: ignore[misc]
        )
        for name, (which, level) in STANDARD.items()
    }
    coders[M2M] = (frame.encode, frame.decode)
    coders[STATIC] = (
        lambda body: static.encode(body, way, dictionary),
        lambda coded: static.decode(coded, way, _LIMIT, dictionary),
    )
    return coders


def measure(bench: Bench) -> None:
    if not corpora.are_there():
        print(f"savings: {corpora.CORPORA} is not there; skipped", file=sys.stderr)
        return
    results = bench.results
    results.notes["savings"] = "bytes by form; dictionaries made of other projects than the data"
    _requests(bench)
    _whole(bench, REPLIES, corpora.replies(), Way.RESPONSE, Trainer.response)
    _whole(bench, EMBEDDINGS, corpora.embeddings(), Way.RESPONSE, Trainer.response)
    _streams(bench)


def _requests(bench: Bench) -> None:
    """The three kinds of requests share the dictionaries, which take a while to make."""
    turns = corpora.turns()
    all_of = {
        CHATS: [each for each in corpora.singles() if len(each.body) < 3 * KiB],
        TOOLS: [
            each
            for each in dict.fromkeys([*corpora.singles(), *turns])
            if 3 * KiB <= len(each.body) <= 6 * KiB and b'"tools"' in each.body
        ],
        LONG: [each for each in turns if len(each.body) >= 8 * KiB],
    }
    kinds = {name: Kind(name) for name in all_of}
    for project in _projects(bench, [each for some in all_of.values() for each in some]):
        coders = _coders(Way.REQUEST, Trainer(without=project).request())
        for name, samples in all_of.items():
            for body in _some(bench, samples, project):
                _measure_body(bench.results, kinds[name], body, coders)
        for size in (SMALL, LARGE):
            _measure_cost(bench.results, size, turns, coders[STATIC])
    _report(bench.results, kinds.values())


def _whole(
    bench: Bench,
    name: str,
    samples: Sequence[Sample],
    way: Way,
    train: Callable[[Trainer], Dictionary],
) -> None:
    kind = Kind(name)
    for project in _projects(bench, samples):
        coders = _coders(way, train(Trainer(without=project)))
        for body in _some(bench, samples, project):
            _measure_body(bench.results, kind, body, coders)
    _report(bench.results, [kind])


def _report(results: Results, kinds: Iterable[Kind]) -> None:
    for kind in kinds:
        if kind.count:
            kind.report(results, "a body")


def _projects(bench: Bench, samples: Sequence[Sample]) -> list[str]:
    """Those to hold out, one after the other; in a short run the one with the most files."""
    files = dict.fromkeys((each.project, each.source) for each in samples)
    names = sorted({project for project, _ in files})
    if not bench.short:
        return names
    return [max(names, key=lambda name: sum(project == name for project, _ in files))]


def _some(bench: Bench, samples: Sequence[Sample], project: str) -> list[bytes]:
    """Bodies of one project, none twice, from all over its files."""
    bodies = list(dict.fromkeys(each.body for each in samples if each.project == project))
    most = 30 if bench.short else 200
    return bodies[:: max(1, len(bodies) // most)]


def _measure_body(results: Results, kind: Kind, body: bytes, coders: dict[str, Coder]) -> None:
    kind.count += 1
    for form, (encode, decode) in coders.items():
        tally = kind.tally(form)
        seconds, coded = _fastest(encode, body)
        tally.encode += seconds
        seconds, plain = _fastest(decode, coded)
        tally.decode += seconds
        tally.before += len(body)
        tally.after += len(coded)
        if plain != body:
            results.fail(f"savings: {form} changed a body of {kind.name}")


def _fastest(work: Callable[[bytes], bytes], data: bytes) -> tuple[float, bytes]:
    """Seconds, and what `work` makes of `data`."""
    best = float("inf")
    for _ in range(_REPEAT):
        start = time.perf_counter()
        made = work(data)
        best = min(best, time.perf_counter() - start)
    return best, made


def _measure_cost(results: Results, size: int, turns: Sequence[Sample], coder: Coder) -> None:
    """A request of just that size, cut of real ones: all at once, as a proxy does it."""
    longest = max(turns, key=lambda turn: len(turn.body)).body
    encode, decode = coder
    for start in range(0, len(longest) - size, (len(longest) - size) // 5 + 1):
        seconds, _ = _fastest(lambda body: decode(encode(body)), longest[start : start + size])
        results.add(cost_row(size), STATIC, seconds * 1e6)


def _streams(bench: Bench) -> None:
    kind = Kind(STREAMS)
    streams = corpora.streams()
    samples = [Sample(source, b"".join(events)) for source, events in streams]
    for project in _projects(bench, samples):
        dictionary = Trainer(without=project).stream()
        pairs: dict[str, tuple[Callable[[], Transform], Callable[[], Transform]]] = {
            name: (partial(coding.encoder, which, level), partial(coding.decoder, which, _LIMIT))
            for name, (which, level) in STANDARD.items()
        }
        # Without spelling, whose code is of all projects: a sixth more than what is shipped makes.
        pairs[EVENTS] = (
            partial(EventsEncoder, dictionary, spells=False),
            partial(EventsDecoder, _LIMIT, dictionary, spells=False),
        )
        held = [events for source, events in streams if corpora.project(source) == project]
        for events in held[: 10 if bench.short else None]:
            kind.count += len(events)
            for form, (encoder, decoder) in pairs.items():
                _measure_stream(bench.results, kind.tally(form), events, encoder(), decoder())
    kind.report(bench.results, "an event")
    ours = kind.tally(EVENTS)
    bench.results.add(EVENT_COST, EVENTS, (ours.encode + ours.decode) * 1e6 / kind.count)


def _measure_stream(
    results: Results, tally: Tally, events: list[bytes], encoder: Transform, decoder: Transform
) -> None:
    start = time.perf_counter()
    coded = [[*encoder.feed(event), *encoder.flush()] for event in events]
    coded.append(encoder.finish())
    middle = time.perf_counter()
    plain = [piece for pieces in coded for each in pieces for piece in decoder.feed(each)]
    plain += decoder.finish()
    tally.decode += time.perf_counter() - middle
    tally.encode += middle - start
    whole = b"".join(events)
    tally.before += len(whole)
    tally.after += sum(len(each) for pieces in coded for each in pieces)
    if b"".join(plain) != whole:
        results.fail("savings: a stream came out changed")
