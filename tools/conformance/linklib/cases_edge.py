"""The program as the edge, before our core, which answers itself."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from linklib import ends, forms, message, wire
from linklib.core import Answer, Core, Offer, Request, Sent, Tamper
from linklib.ends import Turns
from linklib.fixtures import JSON, STREAM, Turn, conversation, recorded
from linklib.suite import Run, Tally, case

INTERNAL_ERROR, REFUSED_STREAM = 2, 7
PRIOR = {"UPSTREAM_HTTP": "2"}


@contextlib.contextmanager
def program(core: Core, **variables: str) -> Iterator[int]:
    """The program before our core; its port."""
    with ends.core(core) as upstream, ends.proxy(upstream, **variables) as port:
        yield port


def play(run: Run, port: int, core: Core, turns: Turns, turn: Turn, early: int = 0) -> None:
    """A turn of an application, of which every byte is compared. It takes one request, but for
    misses, and `early` more that may be refused."""
    tally, before = run.tally, len(core.requests)
    status, kind, body = ends.ask(port, turns.add(turn), turn.request)
    tally.turns += 1
    tally.plain += len(turn.request) + len(turn.answer.body)
    came = core.requests[before:]
    tally.coded += sum(len(request.content) + request.size_back for request in came)
    tally.misses += sum(request.status == 409 for request in came)
    tally.check(len(came) <= 1 + max(early, 2 * tally.misses), "as few requests", len(came))
    tally.check(status == turn.answer.status, "the status of the reply", (status, body))
    tally.check(kind == turn.answer.content_type, "its content type", kind)
    tally.check(body == turn.answer.body, "the bytes of the reply", body)
    tally.check(not turns.wrong, "the bytes of the request", turns.wrong)
    for request in came:
        if request.is_linked:
            reference = message.read_reference(wire.Reader(request.content), request.stream)
            tally.kinds[f"kind {reference.kind}" if reference else "nothing"] += 1
        else:
            tally.kinds["not by link"] += 1


def several(run: Run, count: int, size: int = 60) -> Iterator[Turn]:
    for _ in range(count * run.scale):
        yield from conversation(run.rng, 5, size)


def at_once(run: Run, count: int, size: int) -> Iterator[Turn]:
    """The turns of several conversations, in any order."""
    for _ in range(run.scale):
        talks = [conversation(run.rng, 5, size) for _ in range(count)]
        for talk in run.rng.sample(talks * 5, 5 * count):
            yield next(talk)


# ---- Conversations ----


@case
def our_core(run: Run) -> None:
    """Conversations, with a link from the first SETTINGS on: no miss"""
    turns = Turns()
    core = Core(turns.of)
    with program(core, **PRIOR) as port:
        for turn in several(run, 8):
            play(run, port, core, turns, turn)
        for one in run.rng.sample(found := list(recorded()), min(4 * run.scale, len(found))):
            for turn in one:
                play(run, port, core, turns, turn)
    run.tally.check(not run.tally.misses, "no miss", run.tally.misses)
    run.tally.check(len(run.tally.kinds) > 3, "kinds", run.tally.kinds)
    told = all(connection.takes_pieces for connection in core.connections)
    run.tally.check(told, "the edge says that it takes pieces", core.connections)


@case
def cleartext(run: Run) -> None:
    """Discovery over HTTP/1.1: one connection more, and a link from then on"""
    turns = Turns()
    core = Core(turns.of)
    with program(core) as port:
        for turn in several(run, 2):
            play(run, port, core, turns, turn)
            # The connection is opened beside the turns, of which many could be over before it is.
            run.tally.check(core.settled.wait(20), "a connection of HTTP/2")
    plain = run.tally.kinds["not by link"]
    run.tally.check(plain == 1, "all but the first go by the link", run.tally.kinds)
    run.tally.check(len(core.connections) == 1, "one connection", len(core.connections))


@case
def other_offers(run: Run) -> None:
    """Another version, another dictionary, no memory, no time: no link, and all the same bytes"""
    other = wire.NAME[::-1]
    none = (Offer(version=1), Offer(version=3), Offer(name=other), Offer(size=0), Offer(seconds=0))
    turns = Turns()
    core = Core(turns.of)
    with program(core, **PRIOR) as port:
        for offer in none:
            # After a link the next connection may be taken for one until its SETTINGS came.
            for core.offer in (Offer(), offer):
                core.drop_connections()
                came = len(core.requests)
                for turn in several(replace(run, scale=1), 1):
                    play(run, port, core, turns, turn, early=1)
                links = sum(request.is_linked for request in core.requests[came:])
                expected = links <= 1 if core.offer == offer else links >= 3
                run.tally.check(expected, f"requests by link with {core.offer}", links)
    for variant in (Core(turns.of, says="v=3"), Core(turns.of, Offer(version=3))):
        with program(variant) as port:
            for turn in several(replace(run, scale=1), 2):
                play(run, port, variant, turns, turn)
                if variant.says == "v=2":
                    run.tally.check(variant.settled.wait(20), "a connection of HTTP/2")
        linked = sum(request.is_linked for request in variant.requests)
        run.tally.check(not linked, "no link after a cleartext offer of another version", linked)
        trials = len(variant.connections)
        run.tally.check(trials == (variant.says == "v=2"), "one trial, or none for v=3", trials)


# ---- What is not remembered ----


@case
def forgetful_core(run: Run) -> None:
    """A core that forgets, and one that has a small memory: misses, or fewer references"""
    turns = Turns()

    def forget(request: Request, sent: Sent) -> Sent:
        if run.rng.random() < 0.3:
            core.connections[request.connection].link.forget()
        return sent

    core = Core(turns.of, rng=run.rng, tamper=forget)
    with program(core, **PRIOR) as port:
        for turn in several(run, 4):
            play(run, port, core, turns, turn)
    run.tally.check(run.tally.misses > 0, "misses")
    # A small memory that is announced is kept to: nothing is missed. No body here has between 7
    # eighths and all of it, which the core would keep and the edge would not.
    before = run.tally.misses
    for offer in (Offer(scope_size=64), Offer(size=64)):
        turns = Turns()
        core = Core(turns.of, offer)
        with program(core, **PRIOR) as port:
            for turn in at_once(run, 8, 150):
                run.tally.check(len(turn.request) < 50 << 10, "a small body", len(turn.request))
                play(run, port, core, turns, turn)
    run.tally.check(run.tally.misses == before, "no miss", run.tally.misses - before)


@case
def restarted_core(run: Run) -> None:
    """Connections that are closed between turns: nothing is referred to, and nothing is missed"""
    turns = Turns()
    core = Core(turns.of)
    with program(core, **PRIOR) as port:
        for turn in several(run, 3):
            if run.rng.random() < 0.3:
                core.drop_connections()
            play(run, port, core, turns, turn)
    run.tally.check(not any(request.status == 409 for request in core.requests), "no miss")
    run.tally.check(len(core.connections) > 1, "several connections", len(core.connections))


@case
def refused_and_left(run: Run) -> None:
    """Streams that are refused, and applications that leave: the rest goes on without a miss"""
    turns = Turns()

    def refuse(request: Request, sent: Sent) -> Sent | int:
        again = request.field(ends.NUMBER) in refused
        refused.add(request.field(ends.NUMBER))
        return REFUSED_STREAM if not again and run.rng.random() < 0.3 else sent

    refused: set[str] = set()
    core = Core(turns.of, rng=run.rng, tamper=refuse)
    with program(core, **PRIOR) as port:
        for turn in several(run, 5):
            if run.rng.random() < 0.3:
                ends.leave(port, turns.add(turn), turn.request)
                run.tally.kinds["left"] += 1
            ends.ask(port, turns.add(turn), turn.request)
            # The last one is there by now, or is not referred to.
            play(run, port, core, turns, turn, early=3)
    run.tally.check(not any(request.status == 409 for request in core.requests), "no miss")


@case
def short_memory(run: Run) -> None:
    """A core that remembers for a second: what is older is not referred to"""
    turns = Turns()
    core = Core(turns.of, Offer(seconds=1))
    with program(core, **PRIOR) as port:
        for pause in (0, 0, 1.3):
            time.sleep(pause)
            came = len(core.requests)
            for turn in several(replace(run, scale=1), 1):
                play(run, port, core, turns, turn)
        first = core.requests[came]
    reference = message.read_reference(wire.Reader(first.content), first.stream)
    fresh = not first.is_linked or reference is None
    run.tally.check(fresh, "no reference after a second", reference)


@case
def scopes(run: Run) -> None:
    """Applications with credentials of their own: nothing is referred to across them"""
    turns = Turns()
    turn = next(turn for turn in several(run, 20, 400) if len(turn.request) > 8192)
    core = Core(turns.of)
    fields: list[dict[str, str]] = [
        {name: value}
        for name in ("authorization", "api-key", "x-api-key", "cookie", "openai-project")
        for value in ("first of them", "second")
    ]
    paths = [ends.PATH + query for query in ("", "?key=a", "?key=b", "?API_KEY=b")]
    said = (b'"user":"a"', b'"user": "b"', b'"user":1', b'"safety_identifier":"a"')
    asked = [(head, path, b"") for head in [*fields, {}] for path in paths]
    asked += [(fields[0], paths[0], b"{%b," % each) for each in said]
    with program(core, **PRIOR) as port:
        for head, path, start in asked:
            whose = Turn(start + turn.request[len(start) and 1 :], turn.answer)
            status, _, body = ends.ask(port, turns.add(whose), whose.request, head, path)
            run.tally.check((status, body) == (200, turn.answer.body), "the reply", status)
    run.tally.check(not turns.wrong, "the bytes of the requests", turns.wrong)
    for request in core.requests:
        if request.is_linked:
            reference = message.read_reference(wire.Reader(request.content), request.stream)
            run.tally.check(reference is None, "no reference", (reference, request.fields))
            run.tally.kinds["by link"] += 1


# ---- A core that answers something else ----


def _status(status: int, linked: str = "") -> Tamper:
    """Answer links like this; what does not go by a link is answered as it should be."""

    def tamper(request: Request, sent: Sent) -> Sent:
        if not request.is_linked:
            return sent
        fields = [("m2m-link", linked)] if linked else []
        return Sent(status, [("content-type", JSON), *fields], [b'{"error":{}}'])

    return tamper


@case
def refusing_core(run: Run) -> None:
    """400, 409, 415 and 422 without `have`: the application sees the answer to the plain request"""
    turns = Turns()
    core = Core(turns.of)
    with program(core, **PRIOR) as port:
        for status, linked in ((400, ""), (409, ""), (415, ""), (422, ""), (409, "miss")):
            core.tamper, came = _status(status, linked), len(core.requests)
            for turn in several(replace(run, scale=1), 1):
                play(run, port, core, turns, turn, early=2)
            links = sum(request.is_linked for request in core.requests[came:])
            run.tally.check(links == (2 if linked else 1), "no more by this link", links)
            core.drop_connections()
        for status, linked in ((400, "have"), (409, "have"), (500, ""), (404, "")):
            core.tamper = _status(status, linked)
            turn = next(several(run, 1))
            # Before the SETTINGS it goes in another form.
            replies = [ends.ask(port, turns.add(turn), turn.request) for _ in range(2)]
            run.tally.check(replies[1][0] == status, f"{status} {linked} is passed on", replies)


def _whole(change: Callable[[bytes], bytes]) -> Tamper:
    return lambda request, sent: replace(sent, parts=[change(b"".join(sent.parts))])


def _length(length: int) -> Callable[[bytes], bytes]:
    def change(coded: bytes) -> bytes:
        reader = wire.Reader(coded)
        reader.varint()
        return wire.varint(length) + reader.rest()

    return change


def broken_bodies(body: bytes) -> Iterator[tuple[str, Tamper]]:
    """The static form of `body`, and what can be wrong in it."""
    yield "cut short", _whole(lambda coded: coded[:-1])
    yield "bytes after it", _whole(lambda coded: coded + b"\0")
    yield "nothing", _whole(lambda coded: b"")
    yield "a number that is too long", _whole(lambda coded: b"\x80" * 11 + coded)
    yield "a larger length", _whole(_length(len(body) + 1))
    yield "a smaller length", _whole(_length(len(body) - 1))
    yield "a length that is too large", _whole(_length(forms.LARGEST_SIZED + 1))
    yield "another crc32", _whole(lambda coded: coded[:2] + b"\0\0\0\0" + coded[6:])
    yield "noise", _whole(lambda coded: coded[:6] + b"\xff" * 40)
    yield "no frame", _whole(lambda coded: b"\0" + b"\xff" * 40)
    yield "an ordinary frame cut short", _whole(
        lambda coded: forms.write_whole(body, sized=False)[:-1]
    )
    yield "another checksum of an ordinary frame", _whole(
        lambda coded: forms.write_whole(body, sized=False)[:-4] + bytes(4)
    )


def _batches(*batches: bytes, end: bytes = b"\0") -> Tamper:
    """These records, each a batch, of a stream in its usual form."""

    def tamper(request: Request, sent: Sent) -> Sent:
        writer = forms.StreamWriter(words=sent.coding == wire.EVENTS)
        return replace(sent, parts=[*map(writer.records, batches), end])

    return tamper


def broken_streams() -> Iterator[tuple[str, Tamper]]:
    """Streams that have to end as broken."""
    event = b'data: {"a":7,"b":"0","c":"09","d":"1 2","e":"x"}\n\n'
    kept = b"\x1f" + wire.varint(len(event)) + event
    at = {piece: index for index, piece in enumerate(forms.pieces_of(event))}
    long = b'data: "' + b"x" * 2000 + b'"\n\n'
    yield "no end", _batches(kept, end=b"")
    yield "a batch that is cut", _batches(kept, end=b"\x20abc")
    yield "bytes after the end", _batches(kept, end=b"\0\0")
    yield "an empty slot", _batches(kept, b"\x01")
    yield "a first record that names a slot", _batches(b"\0")
    yield "no such piece", _batches(kept, b'\x10\x01\x40x"')
    yield "no such kind", _batches(kept, b"\x20")
    yield "another kind that there is not", _batches(kept, b"\x08")
    yield "an event of no bytes", _batches(kept, b"\x1e\0")
    yield "a record that is cut", _batches(b"\x1e\x05abc")
    yield "a piece without its quote", _batches(kept, b"\x10\x01\x01abc")
    yield "changes that are cut", _batches(kept, b"\x10\x05\x01")
    yield "a record that spans batches", _batches(kept[:10], kept[10:])
    for piece in (b"0", b"09", b"1 2", b"x"):
        yield f"{piece!r} does not count", _batches(kept, bytes((0x10, 1, 0x80 | at[piece])))
    yield "too large to be kept", _batches(b"\x1f" + wire.varint(4097) + b"x" * 4097)
    yield "too many pieces to be kept", _batches(b"\x1f\x7f" + b'"' * 127)
    yield "a change that makes it too large", _batches(
        b"\x1f" + wire.varint(len(long)) + long, b"\x10\x01\x01" + b"y" * 4090 + b'"'
    )
    yield "too much in a batch", _batches(b"\x1e" + wire.varint(32769) + b"x" * 32769)
    copies = b"\x1f" + wire.varint(4090) + b"x" * 4090 + b"\0" * 9
    yield "too much in a batch, by copies", _batches(copies)
    yield "too many records", _batches(b"\x10\0" * 66_000)
    yield "a batch above the largest", _batches(end=wire.varint(132_097 * 2) + bytes(132_097))
    yield "the largest number", _batches(end=b"\xff" * 9 + b"\1")
    yield "a number that is too long", _batches(end=b"\x80" * 11)
    yield "the end in four bytes", _batches(end=b"\x80\x80\x80\0")
    yield "no deflate", _batches(end=b"\x08\x07\x07\x07\x07\0")
    yield "a final block", _batches(end=b"\x04\x03\x00\0")


def broken_words() -> Iterator[tuple[str, Tamper]]:
    """The same of spelt batches."""
    event = b'data: {"a":"b"}\n\n'
    kept = b"\x1f" + wire.varint(len(event)) + event + b"\x10\x01\x03b\""
    texts = (b" %c%c%c" % some for some in itertools.product(b"abcdefghijklmnop", repeat=3))
    full = next(text for text in texts if len(forms.bits_of(text)) % 8 == 0)
    for what, coded in (
        ("a text that is too long", forms.spell_any(b" " + b"e" * 253)),
        ("eight bits to fill", forms.spell_any(full) + b"\xff"),
        ("only what fills", b"\xff"),
        ("zeros to fill", _with_zeros()),
    ):
        yield f"spelt: {what}", _batches(kept, end=_spelt(coded) + b"\0")
    yield "spelt: no slot", _batches(end=_spelt(forms.spell_any(full)) + b"\0")


def _spelt(coded: bytes) -> bytes:
    return wire.varint(len(coded) << 1 | 1) + coded


def _with_zeros() -> bytes:
    """A text with zeros in place of the ones that fill."""
    for text in (b" a", b" is", b" the", b" so", b" word"):
        coded = forms.spell(text)
        if coded is not None and coded[-1] & 3 == 3:
            last = bytes((coded[-1] & 0xFE,))
            with contextlib.suppress(wire.Broken):
                forms.unspell(coded[:-1] + last)
                continue
            return coded[:-1] + last
    raise AssertionError("no text of these has bits to fill")


@case
def broken_replies(run: Run) -> None:
    """Replies that are not what their coding says: the application never takes them for whole"""
    body = b'{"choices":[{"message":{"content":"' + b"Hello, " * 20 + b'"}}]}'
    events = [b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n' % n for n in range(5)]
    for kind, pieces, faults in (
        (JSON, [body], list(broken_bodies(body))),
        (STREAM, events, [*broken_streams(), *broken_words()]),
    ):
        turns = Turns()
        core = Core(turns.of)
        turn = Turn(b'{"messages":[' + b'"x",' * 50 + b'""]}', Answer(kind, pieces))
        with program(core, **PRIOR) as port:
            for what, tamper in faults:
                core.tamper = tamper
                never_whole(run.tally, port, turns.add(turn), turn.request, what)
            core.tamper = lambda request, sent: INTERNAL_ERROR
            never_whole(run.tally, port, turns.add(turn), turn.request, "a stream that is reset")
            core.tamper = lambda request, sent: sent
            for turn in several(replace(run, scale=1), 1):
                play(run, port, core, turns, turn)


def never_whole(tally: Tally, port: int, number: str, body: bytes, what: str) -> None:
    """An error of 502, or a body that is cut."""
    try:
        status, _, content = ends.ask(port, number, body)
    except (http.client.HTTPException, OSError):
        tally.kinds["cut"] += 1
        tally.check(True, what)
        return
    tally.kinds[str(status)] += 1
    right = status == 502 and b'"error"' in content
    tally.check(right, f"502, or a body that is cut, for {what}", (status, content))
