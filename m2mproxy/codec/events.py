"""Event streams between two m2mproxy instances: one raw deflate context, a batch a flush.

What is readable at one moment is one batch. A batch is its coded length as a varint and then what
raw deflate (RFC 1951; window of 32 KiB, the stream dictionary) makes of it up to a sync flush,
whose last four bytes, 00 00 FF FF, are left out as in RFC 7692 7.2.1. A batch of length 0 is the
stream's end, so that one that was cut never looks complete. Before deflate comes the template step
(template.py), unless both sides agree on none.

In the form with spelling, which is the newer one, the varint is twice the length, plus 1 for a
batch that is spelt: its records are 0x00, a text and a quote, and only the text is there, in a
static code (huffman.py), which makes two thirds of what deflate makes of a word. It goes through
the window all the same, for what repeats it. One of no text is none: FILLER, for whoever has to
send something and has nothing to say.

In the form for replies on a link, for which both ends have what came before them, the varint is
four times the length, plus 1 for a batch that is spelt, and 2 for a large event, which is coded
after that and the large events before it (after.py), and goes through no window. What is kept of
the reply before is in the window when the stream begins; then the first batch is 3, and says which
that is: a stream has no checksum, and would come out wrong where two ends keep different ones.

The one rule: any bytes, in any batches, come out exactly; and a batch holds at most 32 KiB, so that
neither side keeps much or makes much at a time.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache, lru_cache

from m2mproxy.codec import after, dictionaries
from m2mproxy.codec.allowance import Allowance
from m2mproxy.codec.base import WireError
from m2mproxy.codec.huffman import Spelling
from m2mproxy.codec.template import TemplateDecoder, TemplateEncoder, events_of
from m2mproxy.codec.varint import read_prefixed, write_varint

_RAW, _LEVEL, _MEMORY = -15, 6, 8
_TAIL = b"\x00\x00\xff\xff"
_END = b"\x00"
FILLER = b"\x01"

_MOST_PLAIN = 32 * 1024  # bytes of a batch
# Records of a batch, at worst one of four bytes for two line ends; and the same coded, at worst.
_MOST_RECORDS = 4 * _MOST_PLAIN
_MOST_CODED = _MOST_RECORDS + 1024

# A record that is spelt: what it begins and ends with, and how long it is.
_START, _QUOTE = 0x00, 0x22
_SPELT = range(3, 256)
# Bytes of a spelt text that deflate is not asked about: it is seldom better.
_FEW = 8
# The kinds of a batch, in the lowest bits of its varint, as far as there are any.
_DEFLATED, _SPELLED, _LARGE, _CHECK = 0, 1, 2, 3
# Large events one after the other that are more than half new: what comes then is coded as others.
_MOST_NEW = 4
# What was spelt goes through the window when something is deflated, or there is so much of it.
_MOST_WAITING = 4096
_stored = struct.Struct("<BHH")  # a block of RFC 1951 3.2.4, not the last


@cache
def _spelling() -> Spelling:
    return Spelling(dictionaries.spelling())


def prepare() -> None:
    """Make what spelling takes: some milliseconds, for which no stream should have to wait."""
    _spelling()


@lru_cache(2)
def _primed(dictionary: bytes) -> zlib._Compress:
    """A compressor that has read `dictionary`, to be copied: a copy is made in a third of the
    time."""
    return zlib.compressobj(
        _LEVEL, zlib.DEFLATED, _RAW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, dictionary
    )


_spare: list[zlib._Compress] = []  # one at most


def expect() -> None:
    """A stream is likely to come, with the stream dictionary: have its compressor ready."""
    if not _spare:
        _spare.append(_primed(dictionaries.stream()).copy())


def _compressor() -> zlib._Compress:
    """One that has read the stream dictionary: the one that is ready, or a new one."""
    try:
        return _spare.pop()
    except IndexError:
        return _primed(dictionaries.stream()).copy()


def _bits(spells: bool, before: after.Before | None) -> int:
    """How many of the lowest bits of a batch's varint say its kind."""
    return 2 if before is not None else int(spells)


def is_spelt(records: bytes) -> bool:
    """Whether the records of a batch can be."""
    return len(records) in _SPELT and records[0] == _START and records[-1] == _QUOTE


class EventsEncoder:
    """A Transform for the bytes of one stream."""

    __slots__ = (
        "_bits", "_check", "_deflate", "_held", "_history", "_new", "_size", "_spelling",
        "_template", "_waiting",
    )

    def __init__(
        self,
        dictionary: bytes | None = None,
        templates: bool = True,
        spells: bool = True,
        before: after.Before | None = None,
    ) -> None:
        """`dictionary` is the stream dictionary unless another is given; `before` is for the form
        for replies on a link."""
        self._deflate = _compressor() if dictionary is None else _primed(dictionary).copy()
        self._template = TemplateEncoder() if templates else None
        self._spelling = _spelling() if spells else None
        self._history = after.History(before) if before is not None else None
        self._new = 0
        self._bits = _bits(spells, before)
        self._waiting = before.in_window if before is not None else b""  # for the window
        self._check = before.check if before is not None else b""  # until it has left
        self._held: list[bytes | memoryview] = []
        self._size = 0

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """Hold `chunk` for the next flush; what fills a batch leaves at once."""
        if self._size + len(chunk) <= _MOST_PLAIN:
            self._held.append(chunk)
            self._size += len(chunk)
            return []
        out = self.flush()
        view = memoryview(chunk)
        while len(view) > _MOST_PLAIN:
            out.append(self._batch(bytes(view[:_MOST_PLAIN])))
            view = view[_MOST_PLAIN:]
        self._held, self._size = [view], len(view)
        return out

    def flush(self) -> list[bytes]:
        """The batch of what is held."""
        if not self._size:
            return []
        held = self._held
        plain = bytes(held[0]) if len(held) == 1 else b"".join(held)
        self._held, self._size = [], 0
        return [self._batch(plain)]

    def _batch(self, plain: bytes) -> bytes:
        """One batch, or several where there is a large event, or something before it."""
        if self._check:
            check, self._check = self._prefixed(self._check, _CHECK), b""
            return check + self._batch(plain)
        if self._history is None or len(plain) < after.LEAST:
            return self._small(plain)
        out, done, at = b"", 0, 0
        for event in events_of(plain):
            at += len(event)
            if len(event) < after.LEAST:
                continue
            if done < at - len(event):
                out += self._small(plain[done : at - len(event)])
            out += self._large(event) if self._history is not None else self._small(event)
            done = at
        return out + self._small(plain[done:]) if done < at else out

    def _large(self, event: bytes) -> bytes:
        assert self._history is not None
        coded = self._history.encode(event)
        self._new = self._new + 1 if 2 * len(coded) > len(event) else 0
        self._history = self._history.rest() if self._new < _MOST_NEW else None
        return self._prefixed(coded, _LARGE)

    def _small(self, plain: bytes) -> bytes:
        if self._history is not None:
            self._history = self._history.passed(plain)
        records = self._template.encode(plain) if self._template is not None else plain
        if self._spelling is None:
            return self._prefixed(self._deflated(records), _DEFLATED)
        spelt = self._spelling.encode(records[1:-1]) if is_spelt(records) else b""
        if 0 < len(spelt) <= _FEW:
            self._waiting += records
            if len(self._waiting) > _MOST_WAITING:
                self._catch_up()
            return bytes((len(spelt) << self._bits | _SPELLED,)) + spelt
        coded = self._deflated(records)
        if 0 < len(spelt) < len(coded):
            return self._prefixed(spelt, _SPELLED)
        return self._prefixed(coded, _DEFLATED)

    def _prefixed(self, coded: bytes, kind: int) -> bytes:
        return write_varint(len(coded) << self._bits | kind) + coded

    def _deflated(self, records: bytes) -> bytes:
        if self._waiting:
            self._catch_up()
        coded = self._deflate.compress(records) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return coded[: -len(_TAIL)]

    def _catch_up(self) -> None:
        """Let what waits go through the window; the other end does so without its code."""
        self._deflate.compress(self._waiting)
        self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._waiting = b""

    def finish(self) -> list[bytes]:
        return [*self.flush(), _END]


class EventsDecoder:
    """A Transform for what an EventsEncoder made, with the same dictionary, templates, spelling or
    not, and request."""

    __slots__ = (
        "_allowance", "_bits", "_check", "_ended", "_history", "_inflate", "_partial",
        "_spelling", "_template", "_waiting",
    )

    def __init__(
        self,
        limit: int,
        dictionary: bytes | None = None,
        templates: bool = True,
        spells: bool = True,
        before: after.Before | None = None,
    ) -> None:
        """`limit` in bytes, of all that comes out."""
        if dictionary is None:
            dictionary = dictionaries.stream()
        self._allowance = Allowance(limit)
        self._inflate = zlib.decompressobj(_RAW, dictionary)
        self._template = TemplateDecoder() if templates else None
        self._spelling = _spelling() if spells else None
        self._history = after.History(before) if before is not None else None
        self._bits = _bits(spells, before)
        self._waiting = before.in_window if before is not None else b""  # for the window
        self._check = before.check if before is not None else b""  # until it has come
        self._partial = b""  # of a batch
        self._ended = False

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        data = self._partial + bytes(chunk) if self._partial else bytes(chunk)
        out: list[bytes] = []
        at = 0
        while at < len(data):
            if self._ended:
                raise WireError("something follows the stream's end")
            end = read_prefixed(data, at, _MOST_CODED, self._bits)
            if end is None:
                break
            start, at, kind = end
            if start < at and (kind == _CHECK or self._check):
                self._verify(data[start:at], kind)
            elif start < at:
                out.append(self._read(data[start:at], kind))
            elif kind == _DEFLATED:
                self._ended = True
            elif kind != _SPELLED:  # which is a filler
                raise WireError("a batch of no known kind")
        self._partial = data[at:]
        return out

    def _verify(self, coded: bytes, kind: int) -> None:
        """The first batch, where there is something before the stream."""
        if kind != _CHECK or not self._check:
            raise WireError("a stream begins after a reply, or not, and does not say so")
        if coded != self._check:
            raise WireError("a stream begins after a reply of which this end keeps another")
        self._check = b""

    def _read(self, coded: bytes, kind: int) -> bytes:
        if kind == _LARGE and self._history is not None:
            plain = self._history.decode(coded, _MOST_PLAIN)
            self._history = self._history.rest()
            self._allowance.take(len(plain))
            return plain
        if kind > _SPELLED:
            raise WireError("a large event where none is expected")
        plain = self._plain(self._spelt(coded) if kind else self._inflated(coded))
        if self._history is not None:
            self._history = self._history.passed(plain)
        return plain

    def _spelt(self, coded: bytes) -> bytes:
        assert self._spelling is not None
        records = b"\x00%b\x22" % self._spelling.decode(coded, _SPELT[-1] - 2)
        self._waiting += records
        if len(self._waiting) > _MOST_WAITING:
            self._catch_up()
        return records

    def _inflated(self, coded: bytes) -> bytes:
        if self._waiting:
            self._catch_up()
        inflate = self._inflate
        try:
            records = inflate.decompress(coded + _TAIL, _MOST_RECORDS + 1)
        except zlib.error:
            raise WireError("a batch is not deflate") from None
        if inflate.eof or inflate.unconsumed_tail or len(records) > _MOST_RECORDS:
            raise WireError("a batch ends the stream, or is too large")
        return records

    def _catch_up(self) -> None:
        """Let what waits go through the window, as a stored block."""
        size = len(self._waiting)
        try:
            self._inflate.decompress(_stored.pack(0, size, size ^ 0xFFFF) + self._waiting)
        except zlib.error:
            raise WireError("a batch before was not whole") from None
        self._waiting = b""

    def _plain(self, records: bytes) -> bytes:
        plain = records
        if self._template is not None:
            plain = self._template.decode(records, _MOST_PLAIN)
        self._allowance.take(len(plain))
        return plain

    def flush(self) -> list[bytes]:
        return []

    def finish(self) -> list[bytes]:
        if not self._ended:
            raise WireError("the event stream is cut short")
        return []
