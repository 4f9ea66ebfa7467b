"""RESPONSES of m2m-link(7): the static form of whole bodies, and the two forms of event streams."""

from __future__ import annotations

import contextlib
import re
import zlib
from dataclasses import dataclass, field
from typing import Protocol

from linklib import wire
from linklib.wire import Broken, Reader

# ---- Whole bodies ----

LARGEST_SIZED = 256 << 10
_WINDOW = 8 << 20


def read_whole(data: bytes, dictionary: bytes = wire.RESPONSE, limit: int = 64 << 20) -> bytes:
    if data[:1] == b"\0":
        return wire.unframe(data[1:], wire.dictionary(dictionary), limit)
    return read_sized(data, dictionary)


def read_sized(data: bytes, dictionary: bytes = wire.RESPONSE) -> bytes:
    """The first of the two forms, of which the length may be 0 here."""
    reader, use = Reader(data), wire.dictionary(dictionary)
    length = reader.varint()
    if length > LARGEST_SIZED:
        raise Broken("a longer response than may be")
    checksum = reader.u32()
    body = wire.unframe(wire.MAGIC + reader.rest(), use, length)
    if len(body) != length or wire.crc32(body) != checksum:
        raise Broken("another length, or another checksum")
    return body


def write_whole(body: bytes, dictionary: bytes = wire.RESPONSE, *, sized: bool = True) -> bytes:
    use = wire.dictionary(dictionary)
    if not body or len(body) > LARGEST_SIZED or not sized:
        return b"\0" + wire.frame(body, use, sized=False, checksum=True)
    head = wire.varint(len(body)) + wire.u32(wire.crc32(body))
    return head + wire.frame(body, use, sized=False)[len(wire.MAGIC) :]


# ---- Event streams ----

PLAIN, RECORDS, CODED, WHOLE = 32 << 10, 128 << 10, 132_096, 256 << 20
KEPT, PIECES, SLOTS = 4096, 127, 8
_CUT = b"\0\0\xff\xff"
_QUOTE = re.compile(rb'(?<!\\)"')  # RFC 8259 would count backslashes; the page does not
_NUMBER = re.compile(rb"[0-9]+")


def pieces_of(event: bytes) -> list[bytes]:
    return _QUOTE.split(event)


def counted_on(piece: bytes) -> bytes:
    """The piece with its only number plus one."""
    found = _NUMBER.findall(piece)
    if len(found) != 1 or len(found[0]) > 9 or found[0][:1] == b"0":
        raise Broken("no number to count on")
    return piece.replace(found[0], b"%d" % (int(found[0]) + 1))


@dataclass
class Slot:
    pieces: list[bytes]
    changes: bytes = b""


@dataclass
class Slots:
    """The events that both sides keep, the last one first."""

    slots: list[Slot] = field(default_factory=list)

    def keep(self, slot: Slot, out_of: int | None = None) -> None:
        if out_of is not None:
            del self.slots[out_of]
        self.slots.insert(0, slot)
        del self.slots[SLOTS:]

    def read(self, reader: Reader) -> bytes:
        """The event of the next record."""
        kind = reader.byte()
        if kind in (0x1E, 0x1F):
            event = reader.take(reader.varint())
            if kind == 0x1F:
                pieces = pieces_of(event)
                if len(event) > KEPT or len(pieces) > PIECES:
                    raise Broken("too large to be kept")
                self.keep(Slot(pieces))
            return event
        index, sets = kind & 7, kind & 0x10
        if kind & ~0x17 or index >= len(self.slots):
            raise Broken("no such record, or an empty slot")
        slot = self.slots[index]
        if sets:
            slot.changes = reader.take(reader.byte())
        for change in slot.changes:
            at = change & 0x7F
            if at >= len(slot.pieces):
                raise Broken("no such piece")
            slot.pieces[at] = counted_on(slot.pieces[at]) if change & 0x80 else new_piece(reader)
        event = b'"'.join(slot.pieces)
        if len(event) > KEPT:
            raise Broken("too large to be kept")
        self.keep(slot, index)
        return event

    def write(self, event: bytes) -> bytes:
        """A record of the event, the shortest of those that the page's own sender considers."""
        pieces = pieces_of(event)
        if len(event) > KEPT or len(pieces) > PIECES or not event.endswith(b"\n"):
            return b"\x1e" + wire.varint(len(event)) + event
        best: tuple[int, int, list[int]] | None = None
        for index, slot in enumerate(self.slots):
            if len(slot.pieces) != len(pieces) or slot.pieces[0] != pieces[0]:
                continue
            changed = [at for at, piece in enumerate(pieces) if piece != slot.pieces[at]]
            if len(changed) <= min(32, len(pieces) // 2) and (not best or len(changed) < best[0]):
                best = len(changed), index, changed
        if not best:
            self.keep(Slot(pieces))
            return b"\x1f" + wire.varint(len(event)) + event
        _, index, changed = best
        slot, changes, new = self.slots[index], bytearray(), b""
        for at in changed:
            counts = _counts(slot.pieces[at], pieces[at])
            changes.append(at | (0x80 if counts else 0))
            new += b"" if counts else pieces[at] + b'"'
        same, slot.changes = slot.changes == changes, bytes(changes)
        slot.pieces = pieces
        self.keep(slot, index)
        return (bytes((index,)) if same else bytes((index | 0x10, len(changes))) + changes) + new


def new_piece(reader: Reader) -> bytes:
    """What is before the first quote that is the first byte or has no backslash before it."""
    found = _QUOTE.search(reader.data, reader.at)
    if reader.data[reader.at : reader.at + 1] == b'"':
        end = reader.at
    elif found:
        end = found.start()
    else:
        raise Broken("a piece without its quote")
    piece = reader.take(end - reader.at)
    reader.take(1)
    return piece


def _counts(old: bytes, new: bytes) -> bool:
    try:
        return counted_on(old) == new
    except Broken:
        return False


# ---- Words ----


def _codes(lengths: bytes) -> dict[str, int]:
    """Canonical Huffman codes (RFC 1951, 3.2.2): strings of bits, and the bytes they stand for."""
    codes, code, before = {}, -1, 0
    for length, byte in sorted((length, byte) for byte, length in enumerate(lengths) if length):
        code = (code + 1) << (length - before)
        before = length
        codes[format(code, f"0{length}b")] = byte
    return codes


_DECODE = _codes(wire.SPELLING[:256]), _codes(wire.SPELLING[256:])
_ENCODE = tuple({byte: bits for bits, byte in codes.items()} for codes in _DECODE)


def unspell(coded: bytes) -> bytes:
    out, code = bytearray(), ""
    for bit in "".join(format(byte, "08b") for byte in coded):
        code += bit
        byte = _DECODE[bool(out)].get(code)
        if byte is not None:
            out.append(byte)
            code = ""
    if not 1 <= len(out) <= 253 or len(code) > 7 or "0" in code:
        raise Broken("not spelt as it should be")
    return bytes(out)


def spell(text: bytes) -> bytes | None:
    """None if there is a byte without a code."""
    if not 1 <= len(text) <= 253 or any(
        byte not in _ENCODE[at > 0] for at, byte in enumerate(text)
    ):
        return None
    return spell_any(text)


def bits_of(text: bytes) -> str:
    return "".join(_ENCODE[at > 0][byte] for at, byte in enumerate(text))


def spell_any(text: bytes) -> bytes:
    """The same, however long the text is."""
    bits = bits_of(text)
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


# ---- Batches ----


class Pieces(Protocol):
    """What codes the pieces of a stream after its request, such as `after_request.Before`."""

    window: bytes
    check: bytes

    def passed(self, plain: bytes) -> None: ...

    def write(self, plain: bytes, *, headers: bool = False) -> bytes: ...

    def read(self, coded: bytes) -> bytes: ...


FIRST_BATCHES = 8  # of which one is a piece, or none of the response is
MOST_PIECES = 256


class StreamWriter:
    """Codes an event stream; `words` is the form that spells, and with `pieces` the one after a
    request."""

    def __init__(self, *, words: bool, pieces: Pieces | None = None) -> None:
        self._words, self._pieces = words or pieces is not None, pieces
        self._shift = (2 if pieces else 1) if self._words else 0
        self._check = pieces.check if pieces is not None else b""
        self._slots = Slots()
        self._deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 8, 0, wire.STREAM)
        if pieces is not None:
            self._deflate.compress(pieces.window)
            self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def batch(self, events: list[bytes]) -> bytes:
        """A batch, of at most 32 KiB plain."""
        if self._pieces is not None:
            self._pieces.passed(b"".join(events))
        return self.records(b"".join(self._slots.write(event) for event in events))

    def records(self, records: bytes) -> bytes:
        """The batch that has these records."""
        coded = self._deflate.compress(records) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        coded = coded[: -len(_CUT)]
        if not self._words:
            return self._batch(coded)
        if records[:1] == b"\0" and records.endswith(b'"') and b'"' not in records[:-1]:
            spelt = spell(records[1:-1])
            if spelt is not None and len(spelt) < len(coded):
                # What deflate made is thrown away: the records are in its window, as they should.
                return self._batch(spelt, 1)
        return self._batch(coded)

    def _batch(self, coded: bytes, kind: int = 0) -> bytes:
        first, self._check = self._check, b""
        before = self._batch(first, 3) if first else b""
        return before + wire.varint(len(coded) << self._shift | kind) + coded

    def piece(self, plain: bytes, *, headers: bool = False) -> bytes:
        """A piece, of at most 32 KiB plain."""
        assert self._pieces is not None
        return self._batch(self._pieces.write(plain, headers=headers), 2)

    def stored(self, spelt: bytes) -> None:
        """A spelt batch was sent beside, and is in the window, if it is one."""
        with contextlib.suppress(Broken):
            self._deflate.compress(b"\0" + unspell(spelt) + b'"')
            self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return b"\0"


def _stored(text: bytes) -> bytes:
    """What deflate takes as it is (RFC 1951, section 3.2.4)."""
    size = len(text)
    return b"\0" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + text


class StreamReader:
    """Decodes an event stream in whatever pieces it comes."""

    def __init__(self, *, words: bool, pieces: Pieces | None = None) -> None:
        self._words, self._pieces = words or pieces is not None, pieces
        self._batches = self.pieces = self.fillers = 0
        self._check = pieces.check if pieces is not None else b""
        self._slots = Slots()
        self._inflate = zlib.decompressobj(-15, wire.STREAM)
        self._waiting = b""
        self._spelt_before = _stored(pieces.window) if pieces is not None else b""
        self._total = 0
        self.ended = False

    def feed(self, data: bytes) -> list[bytes]:
        """The plain batches that are whole."""
        self._waiting += data
        out = []
        while not self.ended and (batch := self._next()) is not None:
            out.append(batch)
        if self.ended and self._waiting:
            raise Broken("more after the end")
        return out

    def _next(self) -> bytes | None:
        kind, length = 1, 0
        while kind == 1 and not length:  # fillers
            reader = Reader(self._waiting)
            try:
                number = reader.varint(3)
            except Broken:
                if len(self._waiting) >= 3:
                    raise
                return None
            shift = (2 if self._pieces else 1) if self._words else 0
            length, kind = number >> shift, number & (1 << shift) - 1
            if kind == 1 and not length:
                self._waiting = reader.rest()
                self.fillers += 1
        if length > CODED or (kind == 3 and not length):
            raise Broken("a batch that is too large, or of no kind")
        if not length and not kind:
            self.ended, self._waiting = True, reader.rest()
            return None
        if (kind == 3) != bool(self._check):
            raise Broken("a check where there is none, or none where there is one")
        if kind == 3:
            if len(self._waiting) - reader.at < length:
                return None
            if reader.take(length) != self._check:
                raise Broken("it begins after another response")
            self._check, self._waiting = b"", reader.rest()
            return self._next()
        if kind == 2 and self._batches >= FIRST_BATCHES and not self.pieces:
            raise Broken("a piece after eight batches without one")
        if kind == 2 and self.pieces == MOST_PIECES:
            raise Broken("too many pieces")
        if len(self._waiting) - reader.at < length:
            return None
        coded = reader.take(length)
        self._waiting = reader.rest()
        self._batches += 1
        if kind == 2:
            return self._piece(coded)
        if not kind:
            return self._plain(self._inflated(coded))
        records = b"\0" + unspell(coded) + b'"'
        self._spelt_before += _stored(records)
        return self._plain(records)

    def _piece(self, coded: bytes) -> bytes:
        assert self._pieces is not None
        self.pieces += 1
        return self._counted(self._pieces.read(coded))

    def _inflated(self, coded: bytes) -> bytes:
        try:
            if self._spelt_before:
                self._inflate.decompress(self._spelt_before)
                self._spelt_before = b""
            records = self._inflate.decompress(coded + _CUT, RECORDS + 1)
        except zlib.error as error:
            raise Broken(f"no deflate: {error}") from None
        if len(records) > RECORDS or self._inflate.unconsumed_tail or self._inflate.eof:
            raise Broken("too many records, or a final block")
        return records

    def _plain(self, records: bytes) -> bytes:
        reader, events = Reader(records), bytearray()
        while reader.at < len(records):
            event = self._slots.read(reader)
            if not event:
                raise Broken("an event of no bytes")
            events += event
            if len(events) > PLAIN:
                raise Broken("too much in a batch")
        if self._pieces is not None:
            self._pieces.passed(bytes(events))
        return self._counted(bytes(events))

    def _counted(self, plain: bytes) -> bytes:
        self._total += len(plain)
        if self._total > WHOLE:
            raise Broken("too much in all")
        return plain
