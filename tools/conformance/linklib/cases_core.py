"""Our edge, and the program as the core, before a model server that replays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from linklib import ends, message, texts, wire
from linklib.core import Answer
from linklib.edge import Choose, Edge, Option, Options, Reply, smallest
from linklib.ends import PATH, Turns
from linklib.fixtures import JSON, Turn, conversation, recorded
from linklib.message import BLOCK, EDITS, RUNS, Reference
from linklib.suite import Run, Tally, case
from linklib.wire import u32, varint

BOTH = f"{wire.STATIC}, {wire.EVENTS}"


@contextlib.contextmanager
def program(turns: Turns, **variables: str) -> Iterator[int]:
    """The program before the model server; its port."""
    with ends.origin(turns) as origin, ends.proxy(origin, **variables) as port:
        yield port


def play(tally: Tally, edge: Edge, turns: Turns, conversation: Sequence[Turn]) -> None:
    """Exchange the turns, and compare every byte, and every event."""
    for turn in conversation:
        reply = exchange(edge, turns, turn)
        tally.turns += 1
        tally.misses += reply.tries - 1
        tally.plain += len(turn.request) + len(turn.answer.body)
        tally.coded += reply.wire_out + len(reply.content)
        tally.check(reply.status == turn.answer.status, "the status of the reply", reply.fields)
        tally.check(reply.body == turn.answer.body, "the bytes of the reply", reply.body)
        tally.check(not turns.wrong, "the bytes of the request", turns.wrong)


def exchange(edge: Edge, turns: Turns, turn: Turn, *more: tuple[str, str]) -> Reply:
    return edge.exchange(PATH, [(ends.NUMBER, turns.add(turn)), *more], turn.request)


def conversations(run: Run, count: int, turns: int = 5, size: int = 60) -> list[list[Turn]]:
    return [list(conversation(run.rng, turns, size)) for _ in range(count * run.scale)]


def any_kind(run: Run) -> Choose:
    """Each kind of reference as often as it can be."""

    def choose(options: Options) -> Option:
        kinds: dict[int, list[Option]] = {}
        for option in options.all:
            kinds.setdefault(option[1].kind if option else -1, []).append(option)
        kind = run.rng.choice(list(kinds))
        run.tally.kinds[f"kind {kind}" if kind >= 0 else "nothing"] += 1
        return run.rng.choice(kinds[kind])

    return choose


# ---- Conversations ----


@case
def our_edge(run: Run) -> None:
    """Conversations in as few bytes as may be: no miss"""
    turns = Turns()
    with program(turns) as port:
        for codings in (BOTH, wire.STATIC, "identity"):
            edge = Edge(port, smallest, codings)
            run.tally.check(edge.link.is_link, "the program offers a link", edge.settings)
            for one in conversations(run, 2):
                play(run.tally, edge, turns, one)
            edge.close()
    run.tally.check(not run.tally.misses, "no miss", run.tally.misses)


@case
def shared_frames(run: Run) -> None:
    """Event streams to an edge that takes pieces: batches share frames"""
    turns, shared = Turns(), 0
    with program(turns) as port:
        edge = Edge(port, smallest, BOTH, takes_pieces=True)
        for one in conversations(run, 4):
            for turn in one:
                reply = exchange(edge, turns, turn)
                run.tally.turns += 1
                run.tally.check(reply.body == turn.answer.body, "the bytes of the reply", reply)
                shared += len(reply.batches) > reply.frames
        edge.close()
    run.tally.kinds["shared"] += shared
    run.tally.check(shared > 0, "a stream in fewer frames than batches", shared)


@case
def every_kind(run: Run) -> None:
    """The same with every kind of reference, also to what has nothing in common: no miss"""
    turns = Turns()
    with program(turns) as port:
        for size in (60, 800):
            edge = Edge(port, any_kind(run), BOTH)
            for one in conversations(run, 4, 6, size):
                play(run.tally, edge, turns, one)
            edge.close()
    run.tally.check(not run.tally.misses, "no miss", run.tally.misses)
    run.tally.check(len(run.tally.kinds) >= 10, "many kinds", run.tally.kinds)


@case
def recorded_conversations(run: Run) -> None:
    """Those of ../shared/data, if it is there: no miss"""
    turns, all_of_them = Turns(), list(recorded())
    with program(turns) as port:
        for one in run.rng.sample(all_of_them, min(10 * run.scale, len(all_of_them))):
            edge = Edge(port, any_kind(run) if run.rng.random() < 0.5 else smallest)
            play(run.tally, edge, turns, one)
            edge.close()
    run.tally.check(not run.tally.misses, "no miss", run.tally.misses)


@case
def texts_of_replies(run: Run) -> None:
    """Replies of all sorts, valid and not: both sides make the same text of them, or none"""
    turns = Turns()
    with program(turns) as port:
        for _ in range(run.scale):
            edge = Edge(port, lambda options: None)
            for _ in range(120):
                _compare_texts(run, edge, turns)
            edge.close()


def _compare_texts(run: Run, edge: Edge, turns: Turns) -> None:
    """Refer to a text with a body that holds it: another text gives another body, and a miss."""
    request, answer = texts.request(run.rng), texts.answer(run.rng)
    first = exchange(edge, turns, Turn(request, answer))
    run.tally.check(first.tries == 1, "the first request is read", first.fields)
    number = edge.last
    text = edge.link.text(number)
    # Where there should be none, a reference to it has to be a miss.
    edge.link.pretend(number, text or b"")
    choose, edge.choose = edge.choose, lambda options: next(
        option for option in options.all if option and option[1] == Reference(number, 1)
    )
    again = exchange(edge, turns, Turn(request + (text or b"") + b" ", answer))
    edge.choose = choose
    run.tally.turns += 2
    run.tally.kinds["texts" if text else "no text"] += 1
    same = (again.tries == 1) == (text is not None)
    run.tally.check(same, f"the text {text!r} for {request!r}", (answer.status, answer.body))


# ---- What is not remembered ----


@case
def forgotten_entries(run: Run) -> None:
    """A budget that the edge exceeds, and a new connection: misses, and the same bytes"""
    turns = Turns()
    with program(turns, LINK_CREDENTIAL_MEMORY="64KiB") as port:
        edge = Edge(port, any_kind(run))
        run.tally.check(edge.settings[wire.SCOPE_SIZE] == 64, "SETTINGS say it", edge.settings)
        edge.link.remember_too_much()
        for one in conversations(run, 3, 8, 600):
            play(run.tally, edge, turns, one)
        run.tally.check(run.tally.misses > 0, "misses")
        # Entries end with their connection.
        other = Edge(port, any_kind(run))
        other.link = edge.link
        for one in conversations(run, 1, 3):
            play(run.tally, other, turns, one)
    with program(turns, LINK_ENABLED="false") as port:
        edge = Edge(port)
        run.tally.check(not edge.link.is_link, "no offer", edge.settings)
        reply = edge.wait(edge.send(PATH, [("content-encoding", "m2m-link")], b"\0\0\0\0\0\0"))
        run.tally.check(reply.status == 415, "415", reply.fields)


@case
def cancelled_requests(run: Run) -> None:
    """Requests that are reset while they go out, or while their reply comes, and then go again"""
    turns = Turns()
    with program(turns) as port:
        for one in conversations(run, 4, 5, 200):
            edge = Edge(port, any_kind(run))
            for turn in one:
                # The library resets again for every frame that comes after all: of a long stream
                # so often that it would be an attack.
                if len(turn.answer.pieces) < 300 and run.rng.random() < 0.4:
                    content = message.build(1, turn.request, None, None)
                    head = [(ends.NUMBER, turns.add(turn)), ("content-encoding", "m2m-link")]
                    cut = run.rng.randrange(len(content)) if run.rng.random() < 0.5 else None
                    stream = edge.send(PATH, head, content[:cut], end=cut is None)
                    edge.cancel(stream)
                    run.tally.kinds["cancelled"] += 1
                play(run.tally, edge, turns, [turn])
            edge.close()
    run.tally.check(not run.tally.misses, "no miss", run.tally.misses)


# ---- What a core answers ----

Place = Callable[[int], bytes]
Refused = tuple[int, str, Callable[[Place], bytes]]
BODY = b'{"user":"a","messages":[' + b'"x y z",' * 600 + b'""]}'


def message_of(place: bytes, plain: bytes, use: wire.Dictionary, body: bytes) -> bytes:
    """A message whose parts need not fit."""
    coded = message.write_frame(plain, use, headers=True)
    size = wire.Reader(coded)
    size.varint()
    return place + coded[: size.at] + u32(wire.crc32(body)) + coded[size.at :]


def after(kind: int, more: bytes) -> Callable[[Place], bytes]:
    """A message that refers to the entry."""
    return lambda place: place(kind) + more


def plain(content: bytes) -> Callable[[Place], bytes]:
    """One that refers to nothing, or not in the usual way."""
    return lambda place: content


def heads() -> Iterator[Refused]:
    """What has no meaning."""
    rest = b"\x78" + bytes(4)
    yield 400, "nothing at all", plain(b"")
    yield 400, "a number of 11 bytes", plain(b"\x80" * 10 + b"\0" + rest)
    yield 400, "a number of 2^64", plain(b"\x80" * 9 + b"\x02" + rest)
    yield 400, "a size of 2^64", plain(b"\0" + b"\x80" * 9 + b"\x02" + bytes(4))
    for kind in (14, 15):
        yield 400, "no edit", after(kind, b"\0" + rest)
        yield 400, "65 edits", after(kind, varint(65) + b"\0\0\1" * 64 + b"\0\0" + rest)
        yield 400, "edits cut short", after(kind, b"\2\0\1\0")
        yield 400, "edits that add more than there is", after(kind, b"\2\0\0\x3d\0\0" + rest)
    for kind in (1, 5, 12, 13, 14, 15):
        yield 400, f"kind {kind} of nothing", plain(bytes((kind,)) + b"\1\0\1" + rest)
    yield 400, "no run", after(RUNS, b"\0" + rest)
    yield 400, "65 runs", after(RUNS, varint(65) + b"\0\1" * 65 + rest)
    yield 400, "an empty run", after(RUNS, b"\2\0\1\0\0" + rest)
    yield 400, "runs cut short", after(RUNS, b"\2\0\1\0")
    whole = b"\0" + varint(300) + u32(0)
    for cut in range(1, len(whole)):
        yield 400, f"cut at {cut}", plain(whole[:cut])
    yield 413, "a body above the largest", plain(b"\0" + varint(2 << 20 | 3) + bytes(9))
    yield 413, "the largest number", plain(b"\0" + b"\xff" * 9 + b"\1" + bytes(9))
    more = varint((1 << 21) - 1) + bytes(9)
    yield 413, "one above the largest with what it is inserted in", after(4, b"\0" + more)
    yield 413, "one above the largest with what is kept", after(EDITS, b"\1\0\0" + more)


def bodies() -> Iterator[Refused]:
    """What is no body: 400 if it refers to nothing, and a miss if it does."""
    for expected, reference in ((400, None), (409, Reference(1, 0))):
        use = message.dictionary(reference, BODY if reference else b"")
        good = message_of(b"", BODY, use, BODY)
        size = wire.Reader(good)
        size.varint()
        crc, blocks = u32(wire.crc32(BODY)), good[size.at + 4 :]
        for what, made in (
            ("another crc32", good[: size.at] + bytes(4) + blocks),
            ("bytes after it", good + b"\0"),
            ("no blocks", good[: size.at + 4]),
            ("a block cut short", good[:-1]),
            ("a larger size", varint((len(BODY) + 1) << 1 | 1) + crc + blocks),
            ("a smaller size", varint((len(BODY) - 1) << 1 | 1) + crc + blocks),
            ("blocks taken as one", varint(len(BODY) << 1) + crc + blocks),
            ("noise", good[: size.at + 4] + b"\xff" * 40),
        ):
            yield expected, what, after(0, made) if reference else plain(b"\0" + made)


def misses() -> Iterator[Refused]:
    """References to what is not there, around bodies that are right."""
    use = message.dictionary(Reference(1, 0), BODY)
    right = message_of(b"", BODY, use, BODY)
    yield 409, "the stream before, which has none", plain(varint(16) + right)
    for steps in (1 << 30, 1 << 59):
        yield 409, "an entry before the first", plain(varint(steps * 16) + right)
    for kind in (1, 3):
        yield 409, "a reply that it has not", after(kind, right)
    for kind in (5, 9):
        yield 409, "a reply that it has not, at a place", after(kind, b"\0" + right)
    for kind in (6, 10):
        yield 409, "the place of an insertion that it has not", after(kind, right)
    for kind in (4, 8):
        yield 409, "a place beyond the body", after(kind, varint(len(BODY) + 1) + right)
        yield 409, "a place far beyond the body", after(kind, b"\xff" * 9 + b"\1" + right)
    blocks = len(BODY) // BLOCK
    yield 409, "a run beyond the end", after(RUNS, b"\1" + varint(blocks) + b"\1" + right)
    yield 409, "runs and a reply that it has not", after(RUNS + 1, b"\1\0\1" + right)
    yield 409, "edits and a reply that it has not", after(EDITS + 1, b"\1\0\0" + right)
    for what, edits in (("kept", varint(len(BODY) + 1) + b"\0"), ("far", b"\xff" * 9 + b"\1\0")):
        yield 409, f"edits beyond the end, {what}", after(EDITS, b"\1" + edits + right)
    yield 409, "edits that drop too much", after(EDITS, b"\1\1" + varint(len(BODY)) + right)
    yield 409, "a long run", after(RUNS, b"\1\0" + varint(blocks + 1) + right)
    yield 409, "a far run", after(RUNS, b"\1" + b"\xff" * 9 + b"\1\1" + right)
    other = BODY.replace(b'"a"', b'"b"', 1)
    yield 409, "another user", after(0, message_of(b"", other, use, other))


@case
def refused_messages(run: Run) -> None:
    """Malformed messages, and references to what is not there: the status that the page names"""
    turns, turn = Turns(), Turn(BODY, Answer(JSON, [b'{"error":1}'], 500))
    alice, bob = ("authorization", "Bearer alice"), ("authorization", "Bearer bob")
    with program(turns, MAX_BODY="1MiB") as port:
        edge = Edge(port, lambda options: None)
        exchange(edge, turns, turn, alice)
        entry = edge.last

        def place(kind: int) -> bytes:
            return varint((edge.next - entry) // 2 * 16 + kind)

        def send(content: bytes, who: tuple[str, str] = alice) -> Reply:
            head = [(ends.NUMBER, turns.add(turn)), who, ("content-encoding", "m2m-link")]
            return edge.wait(edge.send(PATH, head, content))

        for expected, what, make in [*heads(), *bodies(), *misses()]:
            _refused(run.tally, send(make(place)), expected, what)
        for coding in (" m2m-link, gzip", "gzip", "identity", "m2m-link", "M2M-LINK"):
            content = message_of(b"\0", BODY, message.dictionary(None, b""), BODY)
            head = [(ends.NUMBER, turns.add(turn)), ("content-encoding", coding.strip())]
            if not coding.startswith((" ", "M")):
                head.insert(0, ("content-encoding", "m2m-link"))
            reply = edge.wait(edge.send(PATH, head, content))
            _refused(run.tally, reply, 415, f"content-encoding: {coding}, not alone")
        use = message.dictionary(Reference(1, 0), BODY)
        good = message_of(place(0), BODY, use, BODY)
        _refused(run.tally, send(good, bob), 409, "other credentials")
        reply = send(message_of(place(0), BODY, use, BODY))
        came = reply.status, reply.field("m2m-link")
        run.tally.check(came == (500, "have"), "the entry is still there, and has no reply", came)
        for _ in range(200 * run.scale):
            size = run.rng.randrange(40)
            noise = bytes(run.rng.choices((0, 1, 2, 16, 21, 127, 128, 255), k=size))
            status = send(noise).status
            run.tally.check(status in (400, 409, 413), f"no such answer to {noise!r}", status)
        for one in conversations(run, 1):
            play(run.tally, edge, turns, one)


def _refused(tally: Tally, reply: Reply, expected: int, what: str) -> None:
    came = reply.status, reply.field("m2m-link")
    wanted = expected, "miss" if expected == 409 else ""
    tally.check(came == wanted, f"{expected} for {what}", came)
    tally.check(b'"error"' in reply.content, f"an error of the API for {what}", reply.content)
