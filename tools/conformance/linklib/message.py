"""REQUESTS of m2m-link(7): the message that a request's body is, read and built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from linklib import wire
from linklib.wire import Broken, Reader

BLOCK, NEAR, MOST_RUNS, MOST_EDITS = 1024, 32768, 64, 64
_OFFSETS = b"".join(wire.u32(number) for number in (1, 4, 8))
_CONTENT_AT = wire.REQUEST.index(_OFFSETS) + len(_OFFSETS)
TABLES, CONTENT = wire.REQUEST[:_CONTENT_AT], wire.REQUEST[_CONTENT_AT:]
BODY, INSERTION, RUNS, EDITS = 0, 4, 12, 14


class Miss(Exception):
    """A core does not have what a message refers to."""


class TooLarge(Exception):
    """A body above the largest one."""


@dataclass(frozen=True)
class Scope:
    """Whose a request is: what its head says, and what its body says."""

    credentials: tuple[str, ...] = ()
    users: tuple[bytes, ...] = ()


@dataclass
class Entry:
    """What is remembered of a request. `after`: how many bytes of the entry that it continued come
    after its insertion, if it has one. `replaces`: the number of the entry it replaces."""

    number: int
    body: bytes
    scope: Scope
    reply: bytes | None = None
    ends: bytes = b""
    after: int | None = None
    replaces: int = 0


@dataclass(frozen=True)
class Reference:
    """What a body continues. `kind`, `runs` (left out, taken) and `edits` (kept, dropped, added) as
    in the message; `after` only where a varint says it."""

    entry: int
    kind: int
    after: int | None = None
    runs: tuple[tuple[int, int], ...] = ()
    edits: tuple[tuple[int, int, int], ...] = ()

    @property
    def is_insertion(self) -> bool:
        return INSERTION <= self.kind < RUNS

    @property
    def wants_reply(self) -> bool:
        return bool(self.kind & 1)

    @property
    def is_of_runs(self) -> bool:
        return RUNS <= self.kind < EDITS

    @property
    def replaces(self) -> bool:
        return self.is_insertion or self.kind in (2, 3) or self.kind >= EDITS


# ---- What the body continues ----


def read_reference(reader: Reader, stream: int) -> Reference | None:
    place = reader.varint()
    if not place:
        return None
    steps, kind = divmod(place, 16)
    if not steps:
        raise Broken("a kind that continues nothing")
    number = stream - 2 * steps
    if kind >= EDITS:
        return Reference(number, kind, edits=_read_edits(reader))
    if kind >= RUNS:
        count = reader.varint()
        if not 1 <= count <= MOST_RUNS:
            raise Broken("a number of runs")
        runs = tuple((reader.varint(), reader.varint()) for _ in range(count))
        if not all(taken for _, taken in runs):
            raise Broken("an empty run")
        return Reference(number, kind, None, runs)
    explicit = kind >= INSERTION and not kind - INSERTION & 2
    return Reference(number, kind, reader.varint() if explicit else None)


def _read_edits(reader: Reader) -> tuple[tuple[int, int, int], ...]:
    """What the last one adds is what is left of the size, and 0 here."""
    count = reader.varint()
    if not 1 <= count <= MOST_EDITS:
        raise Broken("a number of edits")
    edits = [(reader.varint(), reader.varint(), reader.varint()) for _ in range(count - 1)]
    return (*edits, (reader.varint(), reader.varint(), 0))


def write_reference(reference: Reference | None, stream: int) -> bytes:
    if reference is None:
        return b"\0"
    out = wire.varint((stream - reference.entry) // 2 * 16 + reference.kind)
    if reference.is_of_runs:
        out += wire.varint(len(reference.runs))
        return out + b"".join(wire.varint(a) + wire.varint(b) for a, b in reference.runs)
    if reference.edits:
        numbers = [len(reference.edits), *(number for edit in reference.edits for number in edit)]
        return out + b"".join(map(wire.varint, numbers[:-1]))
    return out if reference.after is None else out + wire.varint(reference.after)


def place_of(reference: Reference, entry: Entry) -> int:
    """Where in the entry's body the insertion is; `Miss` if that is nowhere."""
    after = entry.after if reference.after is None else reference.after
    if after is None or after > len(entry.body):
        raise Miss("no place for an insertion")
    return len(entry.body) - after


def meant(reference: Reference, entry: Entry) -> bytes:
    """The bytes of the entry that are meant."""
    if reference.wants_reply and entry.reply is None:
        raise Miss("no reply")
    reply = (entry.reply or b"") if reference.wants_reply else b""
    if reference.is_insertion:
        at = place_of(reference, entry)
        return entry.body[at:] + entry.body[:at] + reply
    if reference.edits:
        at = most_added(reference)
        return entry.body[at:] + entry.body[:at] + reply
    if not reference.is_of_runs:
        return entry.body + reply
    parts, at, blocks = [], 0, len(entry.body) // BLOCK
    for left_out, taken in reference.runs:
        at += left_out + taken
        if at > blocks:
            raise Miss("a run beyond the end")
        parts.append(entry.body[(at - taken) * BLOCK : at * BLOCK])
    return b"".join([*parts, reply])


def most_added(reference: Reference) -> int:
    """The place in the entry's body where the first of the largest additions is."""
    places, at = [], 0
    for kept, dropped, added in reference.edits:
        places.append((-added, at + kept))
        at += kept + dropped
    return min(places)[1]


def sized(reference: Reference, size: int) -> Reference:
    """The same with what the last edit adds, of what the blocks hold."""
    *before, (kept, dropped, _) = reference.edits
    left = size - sum(added for _, _, added in before)
    if left < 0:
        raise Broken("edits that add more than there is")
    return replace(reference, edits=(*before, (kept, dropped, left)))


def edited(reference: Reference, old: bytes, added: bytes) -> bytes:
    """The body of which the edits are."""
    out, at, done = b"", 0, 0
    for kept, dropped, more in reference.edits:
        out += old[at : at + kept] + added[done : done + more]
        at, done = at + kept + dropped, done + more
    return out + old[at:]


def ends_of(reference: Reference | None, entry: Entry | None) -> bytes:
    """Those after which the response may be coded."""
    goes_on = reference is not None and reference.wants_reply and not reference.is_of_runs
    return entry.ends if entry is not None and goes_on else b""


def entry_of(
    number: int, body: bytes, scope: Scope, reference: Reference | None, entry: Entry | None
) -> Entry:
    """What is remembered of a body that continues `entry`."""
    new = Entry(number, body, scope)
    if reference is not None and entry is not None:
        if reference.is_insertion:
            new.after = len(entry.body) - place_of(reference, entry)
        if reference.replaces:
            new.replaces = entry.number
    return new


# ---- The frame ----


def dictionary(reference: Reference | None, text: bytes) -> wire.Dictionary:
    """The dictionary of a frame that continues the `text` that is meant."""
    if reference is None:
        return wire.dictionary(wire.REQUEST)
    if reference.edits:
        return wire.dictionary(TABLES + (CONTENT + text)[-NEAR:])
    if reference.is_insertion:
        far = reference.kind - INSERTION & 4
        return wire.prefix(text) if far else wire.dictionary(TABLES + (CONTENT + text)[-NEAR:])
    if len(text) <= NEAR:
        return wire.dictionary(TABLES + CONTENT + text)
    return wire.prefix(wire.REQUEST + text if reference.is_of_runs else text)


def read_frame(size: int, blocks: bytes, use: wire.Dictionary) -> bytes:
    plain, has_headers = size >> 1, size & 1
    head = wire.MAGIC + b"\xa0" + wire.u32(plain)
    if not has_headers:
        head += (len(blocks) << 3 | 2 << 1 | 1).to_bytes(3, "little")
    data = wire.unframe(head + blocks, use, plain, 31)
    if len(data) != plain:
        raise Broken("another size")
    return data


def write_frame(plain: bytes, use: wire.Dictionary, *, headers: bool = False) -> bytes:
    """size, and the blocks: two parts, between which the crc32 goes. With `headers` even where
    they could be left out."""
    coded = wire.frame(plain, use, sized=True)
    blocks = coded[wire.head_size(coded) :]
    first = int.from_bytes(blocks[:3], "little")
    alone = first & 7 == 5 and first >> 3 == len(blocks) - 3
    if alone and not headers:
        return wire.varint(len(plain) << 1) + blocks[3:]
    return wire.varint(len(plain) << 1 | 1) + blocks


# ---- The message ----


def build(stream: int, body: bytes, entry: Entry | None, reference: Reference | None) -> bytes:
    """The message of `body`, which has to be what `reference` to `entry` allows."""
    plain, use = body, dictionary(None, b"")
    if reference is not None:
        assert entry is not None
        use = dictionary(reference, meant(reference, entry))
        if reference.is_insertion:
            at = place_of(reference, entry)
            plain = body[at : len(body) - (len(entry.body) - at)]
        elif reference.edits:
            plain = _additions(reference, body)
    size_and_blocks = Reader(write_frame(plain, use))
    size = size_and_blocks.varint()
    checksum = wire.u32(wire.crc32(body))
    head = write_reference(reference, stream) + wire.varint(size) + checksum
    return head + size_and_blocks.rest()


def _additions(reference: Reference, body: bytes) -> bytes:
    out, at = b"", 0
    for kept, _, added in reference.edits:
        out += body[at + kept : at + kept + added]
        at += kept + added
    return out


def read(
    stream: int,
    message: bytes,
    lookup: Callable[[int], Entry],
    use: Callable[[int], None],
    largest: int,
) -> tuple[bytes, Reference | None, Entry | None]:
    """What a core does, steps 3 to 7: the body, and what it continued.

    `lookup` gives the entry of a number, or raises Miss; `use` is told of it after step 5. Raises
    Broken (400), Miss (409) and TooLarge (413).
    """
    reader = Reader(message)
    reference = read_reference(reader, stream)
    size, checksum = reader.varint(), reader.u32()
    if reference is not None and reference.edits:
        reference = sized(reference, size >> 1)
    entry = None if reference is None else lookup(reference.entry)
    text, before, after, kept = b"", b"", b"", 0
    if reference is not None and entry is not None:
        text = meant(reference, entry)
        if reference.is_insertion:
            at = place_of(reference, entry)
            before, after = entry.body[:at], entry.body[at:]
            kept = len(entry.body)
        elif reference.edits:
            kept = len(entry.body) - sum(dropped for _, dropped, _ in reference.edits)
            if sum(a + b for a, b, _ in reference.edits) > len(entry.body):
                raise Miss("edits beyond the end")
        use(reference.entry)
    if (size >> 1) + kept > largest:
        raise TooLarge
    try:
        body = read_frame(size, reader.rest(), dictionary(reference, text))
        if reference is not None and entry is not None and reference.edits:
            body = edited(reference, entry.body, body)
        body = before + body + after
        if wire.crc32(body) != checksum:
            raise Broken("another checksum")
    except Broken as error:
        if reference is None:
            raise
        raise Miss(str(error)) from None
    return body, reference, entry
