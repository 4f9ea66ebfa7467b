"""The step before deflate in event streams (events.py): an event as its differences from an earlier
one of the same shape.

Events of one stream have the same keys in the same order, and few values that change. An event is
cut at its quotes, and the last eight that were cut are kept. One that has as many pieces as a kept
one, most of them the same, is written as the pieces that differ. Nothing is parsed: any bytes are
cut at their quotes, and come back.

A batch becomes records, one an event:

    0x00 + slot                         the pieces that differed last time differ again
    0x10 + slot, count, indices         these pieces differ
    0x1e, varint length, bytes          the bytes as they are
    0x1f, varint length, bytes          the same, kept from now on

After the first two come the new pieces in order, each with a quote at its end: the first quote that
is the piece's first byte or does not follow a backslash, which is also where events are cut. An
index of 0x80 or more has no piece: that piece, with 0x80 less, is the old one with its number plus
one. Slot 0 is the event kept last; one that is used again becomes slot 0, as its new self.

The one rule: both sides keep the same events, and nothing is kept that is large.
"""

from __future__ import annotations

import re

from m2mproxy.codec.base import WireError
from m2mproxy.codec.varint import read_varint, write_varint

_SLOTS = 8
_MAX_KEPT = 4096  # bytes of an event
_MAX_PIECES = 127
_MAX_CHANGES = 32
# A batch of so many events that have no more bytes than this on average, such as blank lines, is
# written as it is: each event takes 1 to 3 µs, however short.
_MANY, _SHORT = 16, 16

_SAME, _OTHERS, _PASSED, _KEPT = 0x00, 0x10, 0x1E, 0x1F
_NEXT_NUMBER = 0x80
_BACKSLASH = 0x5C

_cut_with_escapes = re.compile(rb'(?<!\\)"').split
# A piece between strings with one number in it, such as `,"sequence_number":17,`.
_number = re.compile(rb"([^0-9]*+)([1-9][0-9]{0,8}+)([^0-9]*+)").fullmatch


def events_of(batch: bytes) -> list[bytes]:
    """A batch cut behind its blank lines, of whichever kind it has."""
    end = b"\n\n" if b"\n\n" in batch else b"\r\n\r\n"
    *events, rest = batch.split(end)
    events = [event + end for event in events]
    return [*events, rest] if rest else events


def _cut(event: bytes) -> list[bytes]:
    """The pieces of `event`, which a quote between each two joins again."""
    return _cut_with_escapes(event) if b"\\" in event else event.split(b'"')


def _next(piece: bytes) -> bytes | None:
    """`piece` with its number plus one; None where it has not exactly one."""
    match = _number(piece)
    return b"%b%d%b" % (match[1], int(match[2]) + 1, match[3]) if match else None


class _Shape:
    """A kept event: its pieces, and which of them differed when it was last used."""

    __slots__ = ("changes", "pieces")

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.changes = b""


class TemplateEncoder:
    """Batches of one stream, in order."""

    __slots__ = ("_shapes",)

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []

    def encode(self, batch: bytes) -> bytes:
        """The records of a batch, of whatever it is made."""
        end = batch.find(b"\n\n") + 2
        if end == len(batch):
            return self._event(batch)
        events = events_of(batch)
        if len(events) > _MANY and len(events) * _SHORT > len(batch):
            return _literal(_PASSED, batch)
        return b"".join(map(self._event, events))

    def _event(self, event: bytes) -> bytes:
        if len(event) > _MAX_KEPT or not event.endswith(b"\n"):
            return _literal(_PASSED, event)
        pieces = _cut(event)
        if len(pieces) > _MAX_PIECES:
            return _literal(_PASSED, event)
        slot, different = self._nearest(pieces)
        if slot < 0:
            self._shapes.insert(0, _Shape(pieces))
            del self._shapes[_SLOTS:]
            return _literal(_KEPT, event)
        return self._again(slot, pieces, different)

    def _nearest(self, pieces: list[bytes]) -> tuple[int, list[int]]:
        """The slot of the event that differs least, and where; -1 when none is near."""
        count = len(pieces)
        most = min(count // 2, _MAX_CHANGES)
        found, where = -1, [0] * (most + 1)
        for slot, shape in enumerate(self._shapes):
            old = shape.pieces
            if len(old) != count or old[0] != pieces[0]:
                continue
            different = [at for at in range(count) if pieces[at] != old[at]]
            if len(different) < len(where):
                found, where = slot, different
                if len(different) < 3:
                    break
        return found, where

    def _again(self, slot: int, pieces: list[bytes], different: list[int]) -> bytes:
        shape = self._shapes[slot]
        old = shape.pieces
        changes = bytearray()
        new: list[bytes] = []
        for at in different:
            if at % 2 == 0 and _next(old[at]) == pieces[at]:
                changes.append(at | _NEXT_NUMBER)
            else:
                changes.append(at)
                new.append(pieces[at] + b'"')
        shape.pieces = pieces
        if slot:
            self._shapes.insert(0, self._shapes.pop(slot))
        if changes == shape.changes:
            return bytes((_SAME + slot,)) + b"".join(new)
        shape.changes = bytes(changes)
        return bytes((_OTHERS + slot, len(changes))) + changes + b"".join(new)


def _literal(kind: int, event: bytes) -> bytes:
    return bytes((kind,)) + write_varint(len(event)) + event


class TemplateDecoder:
    """Batches of one stream, in order."""

    __slots__ = ("_at", "_records", "_shapes")

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []
        self._records = b""
        self._at = 0

    def decode(self, records: bytes, most: int) -> bytes:
        """The batch.

        Raises:
            WireError: these are no records, or it has more than `most` bytes.
        """
        self._records, self._at = records, 0
        events: list[bytes] = []
        size = 0
        while self._at < len(records):
            event = self._event(records[self._at])
            size += len(event)
            if size > most:
                raise WireError("the batch is too large")
            if not event:  # a hundred thousand of them would fit into a hundred bytes
                raise WireError("an event is empty")
            events.append(event)
        return events[0] if len(events) == 1 else b"".join(events)

    def _event(self, kind: int) -> bytes:
        self._at += 1
        if kind < _SAME + _SLOTS:
            return self._again(kind - _SAME)
        if _OTHERS <= kind < _OTHERS + _SLOTS:
            self._set_changes(kind - _OTHERS)
            return self._again(kind - _OTHERS)
        if kind not in (_PASSED, _KEPT):
            raise WireError("an event begins with no known kind")
        length, at = read_varint(self._records, self._at, len(self._records))
        event = self._take(at, length)
        if kind == _KEPT:
            self._keep(event)
        return event

    def _take(self, at: int, length: int) -> bytes:
        self._at = at + length
        if self._at > len(self._records):
            raise WireError("an event is cut short")
        return self._records[at : self._at]

    def _keep(self, event: bytes) -> None:
        pieces = _cut(event) if len(event) <= _MAX_KEPT else []
        if not 0 < len(pieces) <= _MAX_PIECES:
            raise WireError("an event is too large to be kept")
        self._shapes.insert(0, _Shape(pieces))
        del self._shapes[_SLOTS:]

    def _set_changes(self, slot: int) -> None:
        shape = self._shape(slot)
        count = self._take(self._at, 1)[0]
        changes = self._take(self._at, count)
        if not all(index & ~_NEXT_NUMBER < len(shape.pieces) for index in changes):
            raise WireError("an event has no such piece")
        shape.changes = changes

    def _shape(self, slot: int) -> _Shape:
        if slot >= len(self._shapes):
            raise WireError("no such event was kept")
        return self._shapes[slot]

    def _again(self, slot: int) -> bytes:
        shape = self._shape(slot)
        pieces = shape.pieces
        for index in shape.changes:
            if index < _NEXT_NUMBER:
                pieces[index] = self._piece()
                continue
            following = _next(pieces[index - _NEXT_NUMBER])
            if following is None:
                raise WireError("there is no number to count on")
            pieces[index - _NEXT_NUMBER] = following
        event = b'"'.join(pieces)
        if len(event) > _MAX_KEPT:
            raise WireError("an event is too large to be kept")
        if slot:
            self._shapes.insert(0, self._shapes.pop(slot))
        return event

    def _piece(self) -> bytes:
        records, start = self._records, self._at
        end = records.find(b'"', start)
        while end > start and records[end - 1] == _BACKSLASH:
            end = records.find(b'"', end + 1)
        if end < 0:
            raise WireError("an event is cut short")
        self._at = end + 1
        return records[start:end]
