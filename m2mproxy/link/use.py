"""The reference with which a link's message begins: which entry its body is coded after, and which
parts of that entry are meant.

The first varint of a message is 0 for no entry, or half of what the entry's number is less than
that of the stream, times 16, with the kind added:

    0 to 3   the body, with 1 the text of its reply, too; with 2 the new body replaces the entry
    4 to 11  the new body is the entry's with something inserted, which is all that is coded, and
             replaces it: 4, with 1 the reply, too, with 2 the insertion is where the entry's own
             was, with 4 (8 to 11) it is coded after all of that and not only after the end
    12, 13   runs of its blocks, with 1 the text of its reply after them
    14, 15   the new body is the entry's with edits, and replaces it; what they add is all that is
             coded, after the end of what comes before where most is added; with 1 the reply, too

Then come, if they are not known: for an insertion a varint of how many bytes of the entry's body
follow it; for runs a varint of how many there are, and for each one of blocks left out and one of
blocks taken; for edits one of how many there are, and for each one of bytes kept, one of bytes
dropped, and but for the last one of bytes added.

The one rule: whatever is said here of an entry is checked against it before it is made use of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from m2mproxy.codec import dictionaries
from m2mproxy.codec.base import WireError
from m2mproxy.codec.varint import read_varint, write_varint
from m2mproxy.link.edits import MOST_EDITS, Edit
from m2mproxy.link.match import Run

# Of what is before an insertion so many bytes are enough, and are indexed in 60 µs: what repeats
# something does it soon, and the nearer that is the fewer bits say where.
REACH = 32 * 1024
# A body that refers to more pieces than these is better off without.
MOST_RUNS = 64
_KINDS = 16
_REPLY, _REPLACES = 1, 2
_INSERTED, _WHERE_BEFORE, _FAR, _RUNS, _EDITS = 4, 2, 4, 12, 14


@dataclass(frozen=True, slots=True)
class Use:
    """What of an entry is meant: `runs` of its body, or all of it where there are none; and its
    reply."""

    reply: bool = False
    replaces: bool = False
    tail: int | None = None
    """Where the new body is the entry's with an insertion: the bytes of that which follow it."""
    runs: tuple[Run, ...] = ()
    where_before: bool = False
    """The same number of bytes follows the insertion as in the entry itself, of which `tail` is not
    known yet when this was read."""
    far: bool = False
    """An insertion is coded after all that is before it, however much that is."""
    edits: tuple[Edit, ...] = ()
    """What makes the new body of the entry's, where it is no insertion."""

    @property
    def adds(self) -> bool:
        """Whether what the new body has more is all that is coded."""
        return self.tail is not None or bool(self.edits)

    @property
    def goes_on(self) -> bool:
        """Whether it is the next turn after all of an entry and its reply."""
        return self.reply and not self.runs

    def is_near(self, body: bytes, reply: bytes) -> bool:
        """Whether the end of what is meant is enough, or all that there is."""
        if self.adds:
            return not self.far
        return sum(map(len, self.pieces(body, reply))) <= REACH

    def within(self, body: bytes, reply: bytes, tail: int | None) -> Use:
        """The same, of an entry with that body, reply, and `tail` of its own.

        Raises:
            WireError: the entry has not what is meant.
        """
        use = self
        if use.where_before:
            if tail is None:
                raise WireError("the entry is no insertion")
            use = replace(self, tail=tail)
        if use.reply and not reply:
            raise WireError("the entry has no reply")
        if use.tail is not None and use.tail > len(body):
            raise WireError("the reference goes beyond its entry")
        if use.runs and use.runs[-1].end > len(body):
            raise WireError("the reference goes beyond its entry")
        if sum([edit.kept + edit.dropped for edit in use.edits]) > len(body):
            raise WireError("the reference goes beyond its entry")
        return use

    def adding(self, size: int) -> Use:
        """The same, whose edits add so many bytes together, which tells how many the last one does.

        Raises:
            WireError: the others add more.
        """
        if not self.edits:
            return self
        *others, last = self.edits
        left = size - sum([edit.added for edit in others])
        if left < 0:
            raise WireError("the edits add more than there is")
        return replace(self, edits=(*others, last._replace(added=left)))

    def applied(self, body: bytes, added: bytes) -> bytes:
        """The body that is the entry's with its insertion, or its edits."""
        old, new = memoryview(body), memoryview(added)  # each byte is copied once
        if self.tail is not None:
            at = len(body) - self.tail
            return b"".join([old[:at], new, old[at:]])
        parts, at, done = [], 0, 0
        for kept, dropped, more in self.edits:
            parts += [old[at : at + kept], new[done : done + more]]
            at += kept + dropped
            done += more
        return b"".join([*parts, old[at:]])

    def added_in(self, body: bytes, known: bytes) -> bytes:
        """What of the new `body` its insertion, or its edits, add to that `known` of the entry."""
        if self.tail is not None:
            return body[len(known) - self.tail : len(body) - self.tail]
        parts, at = [], 0
        for kept, _, more in self.edits:
            at += kept
            parts.append(body[at : at + more])
            at += more
        return b"".join(parts)

    def _place(self, body: bytes) -> int:
        """Where most is added; the end where all is coded."""
        if not self.edits:
            return len(body) - (self.tail or 0)
        at, place, most = 0, 0, -1
        for kept, dropped, more in self.edits:
            at += kept
            if more > most:
                place, most = at, more
            at += dropped
        return place

    def pieces(self, body: bytes, reply: bytes) -> Iterator[bytes]:
        """The bytes of an entry that are meant, of which what is most alike comes last."""
        if self.runs:
            yield from (body[run.start : run.end] for run in self.runs)
        else:
            at = self._place(body)  # what is before it stands nearest
            if at < len(body):
                yield body[at:]
            yield body[:at]
        if self.reply:
            yield reply

    def prefix(self, body: bytes, reply: bytes) -> bytes:
        """What a frame continues that is not near: all of that; runs leave out much, so what is
        static comes before them."""
        pieces = self.pieces(body, reply)
        return b"".join([dictionaries.request_file(), *pieces] if self.runs else pieces)

    def dictionary(self, body: bytes, reply: bytes) -> bytes:
        """What a near frame is made with: the static dictionary's tables, and the end of its text
        and what is meant."""
        pieces = [dictionaries.request_text(), *self.pieces(body, reply)]
        text = _end_of(pieces, REACH) if self.adds else b"".join(pieces)
        return dictionaries.request_tables() + text


NO_USE = Use()


def _end_of(pieces: list[bytes], size: int) -> bytes:
    """The last `size` bytes of all `pieces`."""
    kept: list[bytes] = []
    for piece in reversed(pieces):
        if size <= 0:
            break
        kept.append(piece[-size:])
        size -= len(kept[-1])
    return b"".join(reversed(kept))


def write(use: Use, distance: int) -> bytes:
    """The beginning of a message. `distance` is even, and 0 for no entry."""
    if not distance:
        return b"\0"
    place = distance // 2 * _KINDS
    if use.runs:
        return b"".join([write_varint(place + _RUNS + use.reply * _REPLY), *_written(use.runs)])
    if use.edits:
        numbers = [place + _EDITS + use.reply * _REPLY, len(use.edits), *chain(*use.edits)]
        return b"".join(map(write_varint, numbers[:-1]))  # what the last one adds is the rest
    kind = use.reply * _REPLY
    if use.tail is None:
        return write_varint(place + kind + use.replaces * _REPLACES)
    kind += _INSERTED + use.where_before * _WHERE_BEFORE + use.far * _FAR
    start = write_varint(place + kind)
    return start if use.where_before else start + write_varint(use.tail)


def _written(runs: tuple[Run, ...]) -> Iterable[bytes]:
    yield write_varint(len(runs))
    reached = 0
    for run in runs:
        yield write_varint(run.first - reached)
        yield write_varint(run.blocks)
        reached = run.first + run.blocks


def read(message: bytes, end: int) -> tuple[int, Use, int]:
    """The distance, what is meant of that entry, and where what follows begins, up to `end`.

    Raises:
        WireError: it says nothing that can be understood.
    """
    place, at = read_varint(message, 0, end)
    distance, kind = place // _KINDS * 2, place % _KINDS
    if not distance:
        if kind:
            raise WireError("the reference is to nothing")
        return 0, Use(), at
    if kind < _INSERTED:
        return distance, Use(bool(kind & _REPLY), bool(kind & _REPLACES)), at
    if kind & ~_REPLY == _RUNS:
        runs, at = _read_runs(message, at, end)
        return distance, Use(bool(kind & _REPLY), runs=runs), at
    if kind >= _EDITS:
        edits, at = _read_edits(message, at, end)
        return distance, Use(bool(kind & _REPLY), True, edits=edits), at
    kind -= _INSERTED
    tail: int | None = None
    if not kind & _WHERE_BEFORE:
        tail, at = read_varint(message, at, end)
    use = Use(
        reply=bool(kind & _REPLY),
        replaces=True,
        tail=tail,
        where_before=tail is None,
        far=bool(kind & _FAR),
    )
    return distance, use, at


def _read_runs(message: bytes, at: int, end: int) -> tuple[tuple[Run, ...], int]:
    many, at = read_varint(message, at, end)
    if not 0 < many <= MOST_RUNS:
        raise WireError("the reference has no piece, or too many")
    runs, reached = [], 0
    for _ in range(many):
        skipped, at = read_varint(message, at, end)
        count, at = read_varint(message, at, end)
        if not count:
            raise WireError("the reference has an empty piece")
        runs.append(Run(reached + skipped, count))
        reached += skipped + count
    return tuple(runs), at


def _read_edits(message: bytes, at: int, end: int) -> tuple[tuple[Edit, ...], int]:
    """How much the last one adds is not said here (`Use.adding`)."""
    many, at = read_varint(message, at, end)
    if not 0 < many <= MOST_EDITS:
        raise WireError("the reference has no edit, or too many")
    edits = []
    for left in range(many - 1, -1, -1):
        kept, at = read_varint(message, at, end)
        dropped, at = read_varint(message, at, end)
        added, at = read_varint(message, at, end) if left else (0, at)
        edits.append(Edit(kept, dropped, added))
    return tuple(edits), at
