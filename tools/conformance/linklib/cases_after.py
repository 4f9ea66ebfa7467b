"""Responses that are coded after their requests: the program as the core, and as the edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from linklib import after, cases_core, cases_edge, forms, message, wire
from linklib.cases_both import ask, spoil
from linklib.cases_edge import PRIOR, never_whole, play
from linklib.core import Answer, Core, Request, Sent, code_after
from linklib.edge import Edge
from linklib.ends import Turns
from linklib.fixtures import JSON, STREAM, Turn, conversation, echoing
from linklib.suite import Run, case

BODY = b'{"messages":[' + b'"some words, ",' * 150 + b'""]}'
EVENT = b'data: {"a":"' + b"some words, " * 120 + b'"}\n\n'


def sessions(run: Run) -> Iterator[Turn]:
    """Replies that say their requests again: of a few KiB, of a request above 131072 bytes, and
    with events above 32 KiB; and some that do not."""
    for _ in range(run.scale):
        for stream in (True, False):
            yield from echoing(run.rng, 2, 3000, stream=stream)
            yield from echoing(run.rng, 1, 75_000, stream=stream)
        yield from conversation(run.rng, 2)
        yield late(run)


def late(run: Run) -> Turn:
    """One that says its request again after eight events that have none of it."""
    first = [b'data: {"n":%d}\n\n' % number for number in range(9)]
    events = next(echoing(run.rng, 1, 3000, stream=True))
    return Turn(events.request, Answer(STREAM, [*first, *events.answer.pieces]))


# ---- Right ----


@case
def after_requests(run: Run) -> None:
    """Replies that say their requests again to our edge: after them, if it reads that"""
    turns, both, counts = Turns(), cases_core.BOTH, run.tally.kinds
    asked = ((both, True), (both, False), (wire.STATIC, True), ("identity", True))
    with cases_core.program(turns) as port:
        for codings, reads in asked:
            pieces = run.rng.random() < 0.5
            edge = Edge(port, cases_core.any_kind(run), codings, takes_pieces=pieces, reads_after=reads)
            for turn in sessions(run):
                reply = cases_core.exchange(edge, turns, turn)
                run.tally.turns += 1
                run.tally.plain += len(turn.request) + len(turn.answer.body)
                run.tally.coded += reply.wire_out + len(reply.content)
                run.tally.check(reply.body == turn.answer.body, "the bytes of the reply", reply)
                coding = reply.field("content-encoding")
                form = wire.EVENTS if turn.answer.content_type == STREAM else wire.STATIC
                right = (reads and form in codings) or coding != after.CODING
                run.tally.check(right, f"a coding for {codings}, {reads}", reply.fields)
                counts["after"] += coding == after.CODING
                counts["with pieces"] += reply.pieces > 0
                counts["more than a frame"] += len(reply.batches) > reply.frames > 0
            edge.close()
    run.tally.check(counts["with pieces"] > 2 * run.scale, "pieces", counts)


@case
def after_requests_of_ours(run: Run) -> None:
    """The same from our core, in every form that it may have"""
    turns = Turns()
    core = Core(turns.of, rng=run.rng)
    with cases_edge.program(core, **PRIOR) as port:
        for turn in sessions(run):
            play(run, port, core, turns, turn)
    told = all(connection.reads_after for connection in core.connections)
    run.tally.check(told, "the edge says that it reads them", core.connections)


# ---- Broken ----


def _tampered(coded: Callable[[bytes], bytes], change: Callable[[bytes], bytes]) -> cases_edge.Tamper:
    """A response that `coded` makes of the request, with a change."""

    def tamper(request: Request, sent: Sent) -> Sent:
        fields = [field for field in sent.fields if field[0] != "content-encoding"]
        fields.append(("content-encoding", after.CODING))
        return replace(sent, fields=fields, parts=[change(coded(request.body))])

    return tamper


def _stream(*parts: bytes | tuple[bytes], end: bytes = b"\0") -> Callable[[bytes], bytes]:
    """Batches of an event each, and pieces: those in a tuple."""

    def coded(request: bytes) -> bytes:
        writer, out = forms.StreamWriter(words=True, pieces=after.Before(request)), b""
        for part in parts:
            out += writer.piece(*part) if isinstance(part, tuple) else writer.batch([part])
        return out + end

    return coded


def _piece(coded: bytes, kind: int = 2) -> bytes:
    return wire.varint(len(coded) << 2 | kind) + coded


def broken_streams() -> Iterator[tuple[str, cases_edge.Tamper]]:
    """Streams that have to end as broken, after a first batch."""

    def made(change: Callable[[after.Before], bytes]) -> cases_edge.Tamper:
        first = forms.StreamWriter(words=True, pieces=after.Before(b"")).batch([b"data: 1\n\n"])
        return _tampered(lambda body: first + change(after.Before(body)) + b"\0", lambda all: all)

    def sized(size: int) -> Callable[[after.Before], bytes]:
        def change(before: after.Before) -> bytes:
            reader = wire.Reader(before.write(EVENT, headers=True))
            reader.varint()
            return _piece(wire.varint(size << 1 | 1) + reader.rest())

        return change

    yield "a piece that is too large", made(lambda before: _piece(before.write(b"x" * 32769)))
    yield "a smaller size", made(sized(len(EVENT) - 1))
    yield "a larger size", made(sized(len(EVENT) + 1))
    yield "a size above all", made(sized(1 << 62))
    yield "a size that is too long", made(lambda before: _piece(b"\x80" * 11))
    yield "a piece of nothing", made(lambda before: b"\x02")
    yield "a piece without blocks", made(lambda before: _piece(b"\x20"))
    yield "noise", made(lambda before: _piece(b"\x21" + b"\xff" * 30))
    yield "bytes after the blocks", made(lambda before: _piece(before.write(EVENT) + b"\0"))
    yield "a piece cut short", made(lambda before: _piece(before.write(EVENT)[:-1]))
    yield "kind 3", made(lambda before: _piece(before.write(EVENT), 3))
    yield "kind 3, and nothing", made(lambda before: b"\3")
    yield "a piece above the largest", made(lambda before: _piece(bytes(132_097)))
    events = [b'data: {"n":%d}\n\n' % number for number in range(8)]
    yield "a piece after eight batches", _tampered(_stream(*events, (EVENT,)), lambda all: all)
    yield "no end", _tampered(_stream((EVENT,), end=b""), lambda all: all)
    yield "more after the end", _tampered(_stream((EVENT,), end=b"\0\0"), lambda all: all)


def broken_bodies() -> Iterator[tuple[str, cases_edge.Tamper]]:
    """Whole bodies that are none."""

    def made(change: Callable[[bytes], bytes], said: bytes = EVENT) -> cases_edge.Tamper:
        return _tampered(lambda body: after.Before(body).write_whole(said, headers=True), change)

    def sized(size: int) -> cases_edge.Tamper:
        def change(coded: bytes) -> bytes:
            reader = wire.Reader(coded)
            reader.varint()
            return wire.varint(size << 1 | 1) + reader.rest()

        return made(change)

    whole = forms.write_whole(EVENT)
    yield "another crc32", made(lambda coded: coded[:2] + bytes(4) + coded[6:])
    yield "bytes after it", made(lambda coded: coded + b"\0")
    yield "cut short", made(lambda coded: coded[:-1])
    yield "nothing", made(lambda coded: b"")
    yield "no blocks", made(lambda coded: coded[:6])
    yield "a larger size", sized(len(EVENT) + 1)
    yield "a smaller size", sized(len(EVENT) - 1)
    yield "a size above all", sized(1 << 62)
    yield "above the largest", made(lambda coded: coded, b"x" * (after.LARGEST_WHOLE + 1))
    yield "the static form, another crc32", made(lambda _: b"\0" + _other_crc(whole))
    yield "the static form, cut short", made(lambda _: b"\0" + whole[:-1])
    yield "the static form of nothing", made(lambda _: b"\0")
    yield "the static form of any length", made(
        lambda _: b"\0" + forms.write_whole(EVENT, sized=False)
    )


def _other_crc(whole: bytes) -> bytes:
    return whole[:2] + bytes((whole[2] ^ 1,)) + whole[3:]


@case
def broken_after_requests(run: Run) -> None:
    """Replies after their requests that are broken: the application never takes them for whole"""
    for kind, faults in ((JSON, list(broken_bodies())), (STREAM, list(broken_streams()))):
        turns = Turns()
        core = Core(turns.of, rng=run.rng)
        turn = Turn(BODY, Answer(kind, [EVENT]))
        with cases_edge.program(core, **PRIOR) as port:
            play(run, port, core, turns, turn)
            for what, tamper in faults:
                core.tamper = tamper
                never_whole(run.tally, port, turns.add(turn), turn.request, what)
            right = _stream(b"data: 1\n\n", (EVENT,), (EVENT,))
            if kind == JSON:
                right = lambda body: after.Before(body).write_whole(EVENT)  # noqa: E731
            size = len(right(BODY))
            for at in {1, size - 1, *run.rng.sample(range(size), min(size, 20 * run.scale))}:
                core.tamper = _tampered(right, lambda coded, at=at: coded[:at])  # type: ignore[misc]
                never_whole(run.tally, port, turns.add(turn), turn.request, f"a cut at {at}")
            core.tamper = lambda request, sent: sent
            for turn in echoing(run.rng, 2, 3000, stream=kind == STREAM):
                play(run, port, core, turns, turn)


# ---- Right or broken ----


@case
def same_after_requests(run: Run) -> None:
    """Streams and bodies after their requests, right and spoilt: the bytes that we read, or none"""
    turns, said = Turns(), b""

    def tamper(request: Request, sent: Sent) -> Sent:
        fields = [field for field in sent.fields if field[0] != "content-encoding"]
        return Sent(200, [*fields, ("content-encoding", after.CODING)], [said])

    core = Core(turns.of, tamper=tamper)
    with cases_edge.program(core, **PRIOR) as port:
        for _ in range(100 * run.scale):
            kind = run.rng.choice((STREAM, JSON))
            events = [run.rng.choice((EVENT, EVENT[:1200], b"data: 1\n\n", b": x\n\n")) for _ in "12345"]
            turn = Turn(BODY, Answer(kind, events))
            said = b"".join(code_after(turn.answer, BODY, run.rng))
            if run.rng.random() < 0.6:
                said = spoil(run.rng, said, run.rng.choice((2, 12, 1 << 20)))
            want = _read(said, kind)
            came = ask(port, turns.add(turn), turn.request)
            run.tally.turns += 1
            run.tally.kinds["whole" if want is not None else "broken"] += 1
            run.tally.check(came == want, f"{want!r} for {said.hex()} ({kind})", (came,))


def _read(coded: bytes, kind: str) -> bytes | None:
    before = after.Before(BODY)
    try:
        if kind == JSON:
            return before.read_whole(coded)
        reader = forms.StreamReader(words=True, pieces=before)
        plain = b"".join(reader.feed(coded))
    except wire.Broken:
        return None
    return plain if reader.ended else None
