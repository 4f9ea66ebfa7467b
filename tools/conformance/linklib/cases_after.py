"""Responses that are coded after their requests: the program as the core, and as the edge."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from linklib import cases_core, cases_edge, ends, forms, wire
from linklib.after_request import CODING, LARGEST_REQUEST, LARGEST_WHOLE, REACH, Before
from linklib.cases_both import spoil
from linklib.cases_edge import PRIOR, never_whole, play
from linklib.core import Answer, Core, Request, Sent, Tamper, code_after
from linklib.edge import Edge
from linklib.ends import Turns
from linklib.fixtures import JSON, STREAM, Turn, conversation, echoing
from linklib.suite import Run, case

_ERROR = re.compile(rb'(?:\n\n)?data: \{"error":[^\n]*\}\n\n\Z')
Change = Callable[[bytes], bytes]
Make = Callable[[Before], bytes]
BODY = b'{"messages":[' + b'"some words, ",' * 150 + b'""]}'
FIRST = b'data: {"n":7}\n\n'
EVENT = b'data: {"a":"' + b"some words, " * 120 + b'"}\n\n'


def sessions(run: Run) -> Iterator[Turn]:
    """Replies that say their requests again: of a few KiB, of a request above 131072 bytes, and
    with events above 32 KiB; and some that do not."""
    for _ in range(run.scale):
        for stream in (True, False):
            yield from echoing(run.rng, 2, 3000, stream=stream)
            yield from echoing(run.rng, 1, 75_000, stream=stream)
        yield from conversation(run.rng, 4)
        yield late(run)
        for more in (-1, 0, 1):
            yield exact(run, LARGEST_REQUEST + more)
        yield far(run)
        (one,) = echoing(run.rng, 1, 3000, stream=True)
        yield Turn(one.request, Answer(STREAM, [one.answer.body]))  # all of it at one moment
        for size in (LARGEST_WHOLE, LARGEST_WHOLE + 1):
            for gzips in (False, True):
                yield Turn(one.request, Answer(JSON, [one.request.ljust(size)], gzips=gzips))


def late(run: Run) -> Turn:
    """One that says its request again after eight events that have none of it."""
    first = [FIRST] * 9
    events = next(echoing(run.rng, 1, 3000, stream=True))
    return Turn(events.request, Answer(STREAM, [*first, *events.answer.pieces]))


def exact(run: Run, size: int) -> Turn:
    """A request of so many bytes, of which the reply says the ends, and the middle."""
    body = b'{"input":"' + run.rng.randbytes(size).hex().encode()[: size - 12] + b'"}'
    said = [body[10:9000], body[97_000:99_000], body[-34_000:-31_000], b"%d" % size]
    return Turn(body, Answer(STREAM, [b'data: {"a":"' + b"".join(said) + b'"}\n\n']))


def far(run: Run) -> Turn:
    """What stands before the first piece from its first byte on; and, when all together is longer
    than the prefix of a piece, what is where that begins."""
    body = run.rng.randbytes(LARGEST_REQUEST // 2).hex().encode()
    start = wire.RESPONSE[-8300:-7000]
    pieces = [start, *(run.rng.randbytes(13_000).hex().encode() for _ in "12")]
    begins = len(start) + 2 * 26_000 + 8192 + LARGEST_REQUEST - REACH - 8192
    pieces.append(body[begins - 3000 : begins + 3000])
    return Turn(body, Answer(STREAM, [b"data: " + each + b"\n\n" for each in pieces]))


# ---- Right ----


@case
def after_requests(run: Run) -> None:
    """Replies that say their requests again: after them to our edge, if it reads that"""
    turns, both, counts = Turns(), cases_core.BOTH, run.tally.kinds
    asked = [(both, False)] + [(each, True) for each in (both, wire.STATIC, wire.EVENTS, "br;q=0")]
    with cases_core.program(turns) as port:
        for codings, reads in asked:
            choose = cases_core.any_kind(run)
            edge = Edge(port, choose, codings, takes_pieces=codings == both, reads_after=reads)
            for turn in sessions(run):
                reply = cases_core.exchange(edge, turns, turn)
                run.tally.turns += 1
                run.tally.plain += len(turn.request) + len(turn.answer.body)
                run.tally.coded += reply.wire_out + len(reply.content)
                run.tally.check(reply.body == turn.answer.body, "the bytes of the reply", reply)
                coding = reply.field("content-encoding")
                form = wire.EVENTS if turn.answer.content_type == STREAM else wire.STATIC
                right = (reads and form in codings) or coding != CODING
                run.tally.check(right, f"a coding for {codings}, {reads}", reply.fields)
                counts["after"] += coding == CODING
                counts["after a reply"] += coding == CODING and bool(reply.ends)
                counts["pieces"] += reply.pieces
                counts["fillers"] += reply.fillers if coding == CODING else 0
                if coding == CODING and b"response.in_progress" in turn.answer.body:
                    right = reply.pieces > 2 or turn.answer.pieces[0] == FIRST
                    run.tally.check(right, "a piece for each large event", reply.pieces)
            edge.close()
    run.tally.check(counts["fillers"] > 0, "frames that more than a batch shares", counts)
    run.tally.check(counts["after a reply"] > 0, "ends of a reply before", counts)


@case
def after_requests_of_ours(run: Run) -> None:
    """The same from our core, in every form that it may have"""
    turns = Turns()
    core = Core(turns.of, rng=run.rng)
    with cases_edge.program(core, **PRIOR) as port:
        for turn in (*sessions(run), *sessions(run)):
            play(run, port, core, turns, turn)
    with cases_edge.program(core, COMPRESSION_RESPONSES="off", **PRIOR) as port:
        # What an application of its own asks for is passed on, and is not what comes.
        asks = {"accept-encoding": cases_core.BOTH}
        for turn in (*conversation(run.rng, 3), *echoing(run.rng, 3, 3000, stream=False)):
            came = ends.ask(port, turns.add(turn), turn.request, asks)[2]
            right = came == turn.answer.body or not core.requests[-1].is_linked
            run.tally.check(right, "the bytes of the reply", came)
    told = all(connection.reads_after for connection in core.connections)
    run.tally.check(told, "the edge says that it reads them", core.connections)


# ---- Broken ----


def _tampered(coded: Change, change: Change) -> Tamper:
    """A response that `coded` makes of the request, with a change."""

    def tamper(request: Request, sent: Sent) -> Sent:
        fields = [field for field in sent.fields if field[0] != "content-encoding"]
        fields.append(("content-encoding", CODING))
        return replace(sent, fields=fields, parts=[change(coded(request.body))])

    return tamper


def _stream(*parts: bytes | tuple[bytes], end: bytes = b"\0") -> Change:
    """Batches of an event each, and pieces: those in a tuple."""

    def coded(request: bytes) -> bytes:
        writer, out = forms.StreamWriter(words=True, pieces=Before(request)), b""
        for part in parts:
            out += writer.piece(*part) if isinstance(part, tuple) else writer.batch([part])
        return out + end

    return coded


def _piece(coded: bytes, kind: int = 2) -> bytes:
    return wire.varint(len(coded) << 2 | kind) + coded


def _unknown_kind(request: bytes) -> bytes:
    """What would be right if it were spelt, or a piece."""
    writer = forms.StreamWriter(words=True, pieces=Before(request))
    first = writer.batch([b'data: {"a":" x"}\n\n']) + writer.batch([b'data: {"a":" y"}\n\n'])
    return first + _piece(forms.spell_any(b" the"), 3) + b"\0"


def broken_streams() -> Iterator[tuple[str, Tamper]]:
    """Streams that have to end as broken, after a first batch."""

    def made(change: Make) -> Tamper:
        def coded(body: bytes) -> bytes:
            before = Before(body)
            first = forms.StreamWriter(words=True, pieces=before).batch([b"data: 1\n\n"])
            return first + change(before) + b"\0"

        return _tampered(coded, lambda all: all)

    def sized(size: int) -> Make:
        def change(before: Before) -> bytes:
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
    yield "kind 3, spelt", _tampered(_unknown_kind, lambda all: all)
    yield "kind 3, and nothing", made(lambda before: b"\3")
    yield "a piece above the largest", made(lambda before: _piece(bytes(132_097)))
    events = [b'data: {"n":%d}\n\n' % number for number in range(8)]
    yield "a piece after eight batches", _tampered(_stream(*events, (EVENT,)), lambda all: all)
    yield "257 pieces", _tampered(_stream(*[(EVENT,)] * 257), lambda all: all)
    yield "no end", _tampered(_stream((EVENT,), end=b""), lambda all: all)
    yield "more after the end", _tampered(_stream((EVENT,), end=b"\0\0"), lambda all: all)


def broken_bodies() -> Iterator[tuple[str, Tamper]]:
    """Whole bodies that are none."""

    def made(change: Change, said: bytes = EVENT) -> Tamper:
        return _tampered(lambda body: Before(body).write_whole(said, headers=True), change)

    def sized(size: int) -> Tamper:
        def change(coded: bytes) -> bytes:
            reader = wire.Reader(coded)
            reader.varint()
            return wire.varint(size << 2 | 2) + reader.rest()

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
    yield "above the largest", made(lambda coded: coded, b"x" * (LARGEST_WHOLE + 1))
    yield "the static form, another crc32", made(lambda _: b"\0" + _other_crc(whole))
    yield "the static form, cut short", made(lambda _: b"\0" + whole[:-1])
    yield "the static form of nothing", made(lambda _: b"\0")
    yield "the static form of any length", made(
        lambda _: b"\0" + forms.write_whole(EVENT, sized=False)
    )


def _other_crc(whole: bytes) -> bytes:
    return whole[:2] + bytes((whole[2] ^ 1,)) + whole[3:]


def _right(kind: str) -> Change:
    """What codes a reply after a request, as it should be: a stream has its first piece as late
    as may be."""
    if kind == STREAM:
        made = _stream(*[FIRST] * 7, (EVENT,), *[FIRST] * 9, (EVENT,))
        return lambda body: b"\1" * 9 + made(body)
    return lambda body: Before(body).write_whole(EVENT)


@case
def broken_after_requests(run: Run) -> None:
    """Replies after their requests that are broken: the application never takes them for whole"""
    for kind, faults in ((JSON, list(broken_bodies())), (STREAM, list(broken_streams()))):
        turns = Turns()
        core = Core(turns.of, rng=run.rng)
        turn = Turn(BODY, Answer(kind, [EVENT]))
        with cases_edge.program(core, **PRIOR) as port:
            # The first one goes before the SETTINGS come, and not by the link.
            core.tamper, what = _tampered(_right(kind), lambda coded: coded), "a plain request"
            never_whole(run.tally, port, turns.add(turn), BODY, what)
            run.tally.check(not core.requests[-1].is_linked, what, core.requests[-1].fields)
            for what, tamper in faults:
                core.tamper = tamper
                never_whole(run.tally, port, turns.add(turn), turn.request, what)
            right = _right(kind)
            core.tamper = _tampered(right, lambda coded: coded)
            status, _, content = ends.ask(port, turns.add(turn), BODY)
            whole = EVENT if kind == JSON else FIRST * 7 + EVENT + FIRST * 9 + EVENT
            run.tally.check((status, content) == (200, whole), "the same, right", content)
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
        return Sent(200, [*fields, ("content-encoding", CODING)], [said])

    core = Core(turns.of)
    with cases_edge.program(core, **PRIOR) as port:
        # The first one goes before the SETTINGS come, and not by the link.
        play(run, port, core, turns, Turn(BODY, Answer(JSON, [EVENT])))
        core.tamper = tamper
        for _ in range(100 * run.scale):
            kind = run.rng.choice((STREAM, JSON))
            events = run.rng.choices((EVENT, EVENT[:1200], b"data: 1\n\n", b": x\n\n"), k=5)
            turn = Turn(BODY, Answer(kind, events))
            said = b"".join(code_after(turn.answer, Before(BODY), run.rng))
            if run.rng.random() < 0.6:
                said = spoil(run.rng, said, run.rng.choice((2, 12, 1 << 20)))
            want, is_whole = _read(said, kind)
            came, ended = _ask(port, turns.add(turn))
            run.tally.turns += 1
            run.tally.kinds["whole" if is_whole else "broken"] += 1
            right = came == want if is_whole else not ended and want.startswith(came)
            what = f"{want!r:.500}, {is_whole}, for {said.hex()} ({kind})"
            run.tally.check(right, what, (ended, len(came), came))


def _read(coded: bytes, kind: str) -> tuple[bytes, bool]:
    """What the coded reply to `BODY` holds, and whether that is all of it."""
    before, plain = Before(BODY), b""
    reader = forms.StreamReader(words=True, pieces=before)
    try:
        if kind == JSON:
            return before.read_whole(coded), True
        for at in range(len(coded)):
            plain += b"".join(reader.feed(coded[at : at + 1]))
    except wire.Broken:
        return plain, False
    return plain, reader.ended


def _ask(port: int, number: str) -> tuple[bytes, bool]:
    """What an application gets, without an error at its end, and whether it takes that for all."""
    try:
        status, _, content = ends.ask(port, number, BODY)
    except http.client.IncompleteRead as error:
        return _ERROR.sub(b"", error.partial), False
    except (http.client.HTTPException, OSError):
        return b"", False
    return (content, True) if status == 200 else (b"", False)
