"""Random messages, most of them broken: the program and ours have to make the same of them."""

from __future__ import annotations

import http.client
import time
from random import Random

from linklib import ends, forms, message, wire
from linklib.cases_core import any_kind, conversations, message_of, program
from linklib.cases_edge import PRIOR
from linklib.cases_edge import program as edge_program
from linklib.core import Answer, Core, CoreLink, Offer, Request, Sent
from linklib.edge import Edge
from linklib.ends import PATH, Turns
from linklib.fixtures import JSON, STREAM, Turn
from linklib.message import Reference
from linklib.suite import Run, case


def spoil(rng: Random, data: bytes, most: int) -> bytes:
    """One of its first bytes changed, left out, or put in; or the end cut off, or more of it."""
    at = rng.randrange(min(len(data), most))
    byte = bytes((rng.choice((0, 1, 2, 7, 16, 127, 128, 129, 255, rng.randrange(256))),))
    return rng.choice(
        (
            data[:at] + byte + data[at + 1 :],
            data[:at] + data[at + 1 :],
            data[:at] + byte + data[at:],
            data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :],
            data[:-1],
            data + byte,
        )
    )


@case
def same_answers(run: Run) -> None:
    """Messages to the program as a core, right and spoilt: the answer that our core gives"""
    turns, choose = Turns(), any_kind(run)
    with program(turns, MAX_BODY="1MiB") as port:
        for _ in range(2 * run.scale):
            edge, ours = Edge(port, choose), CoreLink(Offer(), 1 << 20)
            edge.link.remember_too_much()
            for one in conversations(Run(run.rng), 8):
                for turn in one:
                    _same_answer(run, edge, ours, turns, turn)
            edge.close()


def _same_answer(run: Run, edge: Edge, ours: CoreLink, turns: Turns, turn: Turn) -> None:
    stream, now, fields = edge.next, time.monotonic(), [("authorization", "a")]
    content, _ = edge.link.code(stream, fields, PATH, turn.request, now, edge.choose)
    if run.rng.random() < 0.5:
        content = spoil(run.rng, content, run.rng.choice((3, 12, 1 << 20)))
    if run.rng.random() < 0.05:
        fields = [("authorization", "b")]
    want = ours.read(stream, fields, PATH, content, now)
    body = turn.request if isinstance(want, Sent) else want
    turn = Turn(body, turn.answer)
    head = [(ends.NUMBER, turns.add(turn)), *fields, ("content-encoding", "m2m-link")]
    reply = edge.wait(edge.send(PATH, head, content))
    expected = want.status if isinstance(want, Sent) else turn.answer.status
    run.tally.turns += 1
    run.tally.kinds[str(reply.status)] += 1
    said = f"{expected} for {content[:60].hex()} ({want!r:.99})"
    run.tally.check(reply.status == expected, said, reply.fields)
    run.tally.check(not turns.wrong, "the body that we read", turns.wrong)
    if not isinstance(want, Sent):
        ours.ended(stream, turn.answer)
        reply.decode()
        edge.link.have(stream, now)
        edge.link.ended(stream, turn.answer.content_type, reply.body)
    else:
        edge.link.forget(stream)


# ---- Scopes ----

_SAID = (
    *(b'"user":"a"', b'"user" :\x0b"a"', b'"user":1', b'"user":-1.5e3', b'"user":-'),
    *(b'"user":null', b'"safety_identifier":7', b'"safety_identifier" : "b"'),
    *(b'"user":"a\\"b"', b'"safety_identifier":"a"', b'"user","a"', b'"user":"a', b'"x":"user"'),
    *(b'"user":{"user": "b"}', b'"user":12]', b'"user":\n"b"', b'\\"user\\":"a"', b'"users":"a"'),
)
_HEADS: tuple[list[tuple[str, str]], ...] = (
    *([], [], [("authorization", "a")], [("authorization", "b")], [("x-other", "a")]),
    *([("cookie", "a"), ("api-key", "b")], [("api-key", "b"), ("cookie", "a")]),
    *([("openai-project", "a")], [("openai-organization", "a")], [("api-key", "a")]),
)
_QUERIES = ("", "", "?key=a", "?KEY=a", "?x=1&api_key=a", "?api_key=a&x=2", "?key", "?akey=a")


def _two(rng: Random) -> list[bytes]:
    """A body, and another that differs in one member, or in their order."""
    said = rng.choices(_SAID, k=rng.choice((1, 1, 2, 2, 3, 16)))
    other = list(said)
    if rng.random() < 0.3:
        rng.shuffle(other)
    elif rng.random() < 0.5:
        other.append(rng.choice(_SAID))
    else:
        other[rng.randrange(len(other))] = rng.choice(_SAID)
    rest = b'"messages":[' + b'"x",' * 20 + b'""]}'
    return [b"{" + b",".join((*each, rest)) for each in (said, other)]


@case
def same_scopes(run: Run) -> None:
    """Requests of others and of the same, by head, target and body: the answer of our core"""
    turns = Turns()
    with program(turns) as port:
        for _ in range(run.scale):
            edge, ours = Edge(port, lambda options: None), CoreLink(Offer())
            for _ in range(60):
                _same_scope(run, edge, ours, turns)
            edge.close()


def _same_scope(run: Run, edge: Edge, ours: CoreLink, turns: Turns) -> None:
    """Two requests, of which the second differs in one of its parts and refers to the first."""
    part = run.rng.choice(("head", "query", "body", "body", "body", "nothing"))
    heads, queries = run.rng.choices(_HEADS, k=2), run.rng.choices(_QUERIES, k=2)
    bodies = _two(run.rng)
    reference: Reference | None = None
    for number in (0, 1):
        head, query = heads[part == "head" and number], queries[part == "query" and number]
        body = bodies[part == "body" and number]
        use = message.dictionary(reference, bodies[0])
        start = message.write_reference(reference, edge.next)
        content = message_of(start, body, use, body)
        want = ours.read(edge.next, head, PATH + query, content, time.monotonic())
        fields = [*head, ("content-encoding", "m2m-link")]
        fields.append((ends.NUMBER, turns.add(Turn(body, Answer(JSON, [b"{}"])))))
        reply = edge.wait(edge.send(PATH + query, fields, content))
        expected = want.status if isinstance(want, Sent) else 200
        said = f"{expected} for another {part}: {heads}, {queries}, {bodies}"
        run.tally.check(reply.status == expected, said, reply.fields)
        run.tally.kinds[f"{expected} with another {part}" if number else "first"] += 1
        reference = Reference(edge.last, 0)


# ---- Event streams ----

_PIECES = (
    *(b"data: {", b":", b",", b":7,", b":0,", b":10}", b":09", b":1 2", b":999999999", b"", b"x"),
    *(b"\\\\", b"a\\", b":1234567890", b"-1", b"1.5", b"}\n\n", b"\n", b" word", b":19}]}\n\n"),
)


def _event(rng: Random) -> bytes:
    return b'"'.join(rng.choices(_PIECES, k=rng.randint(1, 9)))


def _record(rng: Random) -> bytes:
    """One record, which need not be right."""
    choice = rng.random()
    if choice < 0.3:
        event = _event(rng)
        return rng.choice((b"\x1e", b"\x1f", b"\x1f")) + wire.varint(len(event)) + event
    kind = rng.choice((0, 0x10, 0x10, 0x11, 0x12)) if choice < 0.97 else rng.randrange(256)
    changes = rng.choices((0, 0, 0, 1, 2, 8, 0x80), k=rng.choice((0, 1, 1, 1, 2)))
    out = bytes((kind, len(changes), *changes)) if kind & 0x10 else bytes((kind,))
    return out + b"".join(rng.choice(_PIECES) + b'"' for change in changes if change < 0x80)


def _stream(rng: Random, words: bool) -> bytes:
    writer, out = forms.StreamWriter(words=words), b""
    kept = (_event(rng) for _ in range(3))
    out += writer.records(b"".join(b"\x1f" + wire.varint(len(e)) + e for e in kept))
    for _ in range(rng.randint(0, 4)):
        if words:
            out += rng.choice((b"", b"", b"\x01", b"\x01" * 20))
        if words and rng.random() < 0.3:
            spelt = forms.spell(rng.choice(_PIECES) or b" ")
            if spelt is not None:
                coded = spelt if rng.random() < 0.8 else spoil(rng, spelt, 99)
                out += wire.varint(len(coded) << 1 | 1) + coded
                writer.stored(coded)
                continue
        out += writer.records(b"".join(_record(rng) for _ in range(rng.randint(1, 3))))
    out += rng.choice((b"\0", b"\0", b"\0", b"\0", b"", b"\0\0"))
    return spoil(rng, out, 1 << 20) if rng.random() < 0.1 else out


@case
def same_streams(run: Run) -> None:
    """Event streams to the program as an edge, right and broken: the bytes that we read"""
    turns, coded = Turns(), b""
    words = False

    def tamper(request: Request, sent: Sent) -> Sent:
        coding = wire.EVENTS if words else wire.STATIC
        fields = [field for field in sent.fields if field[0] != "content-encoding"]
        return Sent(200, [*fields, ("content-encoding", coding)], [coded])

    core = Core(turns.of, tamper=tamper)
    turn = Turn(b'{"messages":[' + b'"x",' * 50 + b'""]}', Answer(STREAM, [b"data: x\n\n"]))
    with edge_program(core, **PRIOR) as port:
        for _ in range(200 * run.scale):
            words = run.rng.random() < 0.5
            coded = _stream(run.rng, words)
            want = _read(coded, words)
            came = _ask(port, turns.add(turn), turn.request)
            run.tally.turns += 1
            run.tally.kinds["whole" if want is not None else "broken"] += 1
            run.tally.check(came == want, f"{want!r} for {coded.hex()} ({words=})", (came,))


def _read(coded: bytes, words: bool) -> bytes | None:
    reader = forms.StreamReader(words=words)
    try:
        plain = b"".join(reader.feed(coded))
    except wire.Broken:
        return None
    return plain if reader.ended else None


def _ask(port: int, number: str, body: bytes) -> bytes | None:
    try:
        status, _, content = ends.ask(port, number, body)
    except (http.client.HTTPException, OSError):
        return None
    return content if status == 200 else None


# ---- Whole bodies ----


@case
def same_bodies(run: Run) -> None:
    """Whole bodies in the static form, right and spoilt: the bytes that we read, or 502"""
    turns, coded = Turns(), b""

    def tamper(request: Request, sent: Sent) -> Sent:
        fields = [field for field in sent.fields if field[0] != "content-encoding"]
        return Sent(200, [*fields, ("content-encoding", wire.STATIC)], [coded])

    core = Core(turns.of, tamper=tamper)
    request = b'{"messages":[' + b'"x",' * 50 + b'""]}'
    with edge_program(core, **PRIOR) as port:
        for _ in range(60 * run.scale):
            said = b'{"a":"' + bytes(run.rng.choices(b"abc {}\n", k=run.rng.randrange(400))) + b'"}'
            coded = forms.write_whole(said, sized=run.rng.random() < 0.7)
            if run.rng.random() < 0.7:
                coded = spoil(run.rng, coded, run.rng.choice((2, 12, 1 << 20)))
            try:
                want: bytes | None = forms.read_whole(coded)
            except wire.Broken:
                want = None
            came = _ask(port, turns.add(Turn(request, Answer(JSON, [said]))), request)
            run.tally.turns += 1
            run.tally.kinds["whole" if want is not None else "broken"] += 1
            run.tally.check(came == want, f"{want!r} for {coded.hex()}", (came,))
