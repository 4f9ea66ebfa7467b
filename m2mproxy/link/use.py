"""The reference with which a link's message begins: which entry its body is coded after, and which
parts of that entry are meant.

The first varint of a message is 0 for no entry, or half of what the entry's number is less than
that of the stream, times 16, with the kind added:

    0 to 3   the body, with 1 the text of its reply, too; with 2 the new body replaces the entry
    4 to 11  the new body is the entry's with something inserted, which is all that is coded, and
             replaces it: 4, with 1 the reply, too, with 2 the insertion is where the entry's own
             was, with 4 (8 to 11) it is coded after all of that and not only after the end
    12, 13   runs of its blocks, with 1 the text of its reply after them

Then come, if they are not known: for an insertion a varint of how many bytes of the entry's body
follow it; for runs a varint of how many there are, and for each one of blocks left out and one of
blocks taken.

The one rule: whatever is said here of an entry is checked against it before it is made use of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from m2mproxy.codec import dictionaries
from m2mproxy.codec.base import WireError
from m2mproxy.codec.varint import read_varint, write_varint
from m2mproxy.link.match import Run

# Of what is before an insertion so many bytes are enough, and are indexed in 60 µs: what repeats
# something does it soon, and the nearer that is the fewer bits say where.
REACH = 32 * 1024
# A body that refers to more pieces than these is better off without.
MOST_RUNS = 64
_KINDS = 16
_REPLY, _REPLACES = 1, 2
_INSERTED, _WHERE_BEFORE, _FAR, _RUNS = 4, 2, 4, 12


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

    @property
    def goes_on(self) -> bool:
        """Whether it is the next turn after all of an entry and its reply."""
        return self.reply and not self.runs

    def is_near(self, body: bytes, reply: bytes) -> bool:
        """Whether the end of what is meant is enough, or all that there is."""
        if self.tail is not None:
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
            use = Use(self.reply, self.replaces, tail, where_before=True, far=self.far)
        if use.reply and not reply:
            raise WireError("the entry has no reply")
        if use.tail is not None and use.tail > len(body):
            raise WireError("the reference goes beyond its entry")
        if use.runs and use.runs[-1].end > len(body):
            raise WireError("the reference goes beyond its entry")
        return use

    def pieces(self, body: bytes, reply: bytes) -> Iterator[bytes]:
        """The bytes of an entry that are meant, of which what is most alike comes last."""
        if self.runs:
            yield from (body[run.start : run.end] for run in self.runs)
        else:
            at = len(body) - (self.tail or 0)  # what is before the insertion stands nearest to it
            if self.tail:
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
        text = _end_of(pieces, REACH) if self.tail is not None else b"".join(pieces)
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
    if kind > _RUNS:
        raise WireError("the reference is of no known kind")
    kind -= _INSERTED
    tail: int | None = None
    if not kind & _WHERE_BEFORE:
        tail, at = read_varint(message, at, end)
    use = Use(bool(kind & _REPLY), True, tail, (), tail is None, bool(kind & _FAR))
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
