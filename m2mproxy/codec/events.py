"""Event streams between two m2mproxy instances: one raw deflate context, a batch a flush.

What is readable at one moment is one batch. A batch is its coded length as a varint and then what
raw deflate (RFC 1951; window of 32 KiB, the stream dictionary) makes of it up to a sync flush,
whose last four bytes, 00 00 FF FF, are left out as in RFC 7692 7.2.1. A batch of length 0 is the
stream's end, so that one that was cut never looks complete. Before deflate comes the template step
(template.py), unless both sides agree on none.

The one rule: any bytes, in any batches, come out exactly; and a batch holds at most 32 KiB, so that
neither side keeps much or makes much at a time.
"""

from __future__ import annotations

import zlib

from m2mproxy.codec import dictionaries
from m2mproxy.codec.allowance import Allowance
from m2mproxy.codec.base import WireError
from m2mproxy.codec.template import TemplateDecoder, TemplateEncoder
from m2mproxy.codec.varint import read_prefixed, write_varint

_RAW, _LEVEL, _MEMORY = -15, 6, 8
_TAIL = b"\x00\x00\xff\xff"
_END = b"\x00"

_MOST_PLAIN = 32 * 1024  # bytes of a batch
# Records of a batch, at worst one of four bytes for two line ends; and the same coded, at worst.
_MOST_RECORDS = 4 * _MOST_PLAIN
_MOST_CODED = _MOST_RECORDS + 1024


class EventsEncoder:
    """A Transform for the bytes of one stream."""

    __slots__ = ("_deflate", "_held", "_size", "_template")

    def __init__(self, dictionary: bytes | None = None, templates: bool = True) -> None:
        """`dictionary` is the stream dictionary unless another is given."""
        if dictionary is None:
            dictionary = dictionaries.stream()
        self._deflate = zlib.compressobj(
            _LEVEL, zlib.DEFLATED, _RAW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, dictionary
        )
        self._template = TemplateEncoder() if templates else None
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
        if self._template is not None:
            plain = self._template.encode(plain)
        coded = self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        coded = coded[: -len(_TAIL)]
        return write_varint(len(coded)) + coded

    def finish(self) -> list[bytes]:
        return [*self.flush(), _END]


class EventsDecoder:
    """A Transform for what an EventsEncoder made, with the same dictionary and templates."""

    __slots__ = ("_allowance", "_ended", "_inflate", "_partial", "_template")

    def __init__(self, limit: int, dictionary: bytes | None = None, templates: bool = True) -> None:
        """`limit` in bytes, of all that comes out."""
        if dictionary is None:
            dictionary = dictionaries.stream()
        self._allowance = Allowance(limit)
        self._inflate = zlib.decompressobj(_RAW, dictionary)
        self._template = TemplateDecoder() if templates else None
        self._partial = b""  # of a batch
        self._ended = False

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        data = self._partial + bytes(chunk) if self._partial else bytes(chunk)
        out: list[bytes] = []
        at = 0
        while at < len(data):
            if self._ended:
                raise WireError("something follows the stream's end")
            end = read_prefixed(data, at, _MOST_CODED)
            if end is None:
                break
            start, at = end[0], end[1]
            if start == at:
                self._ended = True
            else:
                out.append(self._batch(data[start:at]))
        self._partial = data[at:]
        return out

    def _batch(self, coded: bytes) -> bytes:
        inflate = self._inflate
        try:
            plain = inflate.decompress(coded + _TAIL, _MOST_RECORDS + 1)
        except zlib.error:
            raise WireError("a batch is not deflate") from None
        if inflate.eof or inflate.unconsumed_tail or len(plain) > _MOST_RECORDS:
            raise WireError("a batch ends the stream, or is too large")
        if self._template is not None:
            plain = self._template.decode(plain, _MOST_PLAIN)
        self._allowance.take(len(plain))
        return plain

    def flush(self) -> list[bytes]:
        return []

    def finish(self) -> list[bytes]:
        if not self._ended:
            raise WireError("the event stream is cut short")
        return []
