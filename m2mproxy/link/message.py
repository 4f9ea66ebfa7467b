"""A request's body on the link (content coding `m2m-link`).

    varint distance | reference | varint length | u32 crc32, little-endian | zstd frame

An entry has the number of the stream on which its request crossed, so `distance`, this stream's
number less the entry's, names the entry that the frame continues; 0 is the static dictionary. Then
comes, for a distance that is not 0, a varint for what of the entry is meant:

    0 to 3  the body, with 1 the text of its reply, too
    4 to 7  the same, and the new body is the entry's with something inserted, which is all that
            the frame holds; a varint says how many bytes of the entry's follow it
    n + 7   n runs of its blocks, each a varint of blocks left out and a varint of blocks taken

With 2 this body replaces the entry: once this one is referred to, that one is not any more.

`length` and `crc32` are those of the body as it is. The frame is a bare one (codec/zstd.py), with
the entry's bytes as prefix. Runs of blocks leave out much, so the static dictionary's bytes come
before them.

The one rule: what a peer declares is compared with a limit before anything is made of it, and no
byte of a body leaves here whose length or checksum is another.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from m2mproxy.codec import dictionaries, zstd
from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.static import level_for
from m2mproxy.codec.varint import read_varint, write_varint
from m2mproxy.link.match import Run

_checksum = struct.Struct("<I")
# Level 6 saves 6 % more than 3 and takes three times as long: up to so many bytes, which is about
# 100 µs. 1 fails with prefixes of 100 KiB and more: its table is too small for them.
_LEVEL, _LEVEL_OF_LARGE, _LARGE = 6, 3, 80 * 1024
# A body that refers to more pieces than these is better off without.
MOST_RUNS = 64
# What comes before the frame, at most.
MOST_HEAD = 10 * (3 + 2 * MOST_RUNS) + _checksum.size


@dataclass(frozen=True, slots=True)
class Use:
    """What of an entry is meant: `runs` of its body, or all of it where there are none."""

    reply: bool = False
    replaces: bool = False
    tail: int | None = None
    """Where the new body is the entry's with an insertion: the bytes of that which follow it."""
    runs: tuple[Run, ...] = ()

    def of(self, body: bytes, reply: bytes) -> bytes:
        """Those bytes of an entry.

        Raises:
            WireError: it has no such blocks.
        """
        if self.tail is not None:
            if self.tail > len(body):
                raise WireError("the reference goes beyond its entry")
            at = len(body) - self.tail  # what is before the insertion stands nearest to it
            return body[at:] + body[:at] + (reply if self.reply else b"")
        if not self.runs:
            return body + reply if self.reply else body
        if self.runs[-1].end > len(body):
            raise WireError("the reference goes beyond its entry")
        blocks = [body[run.start : run.end] for run in self.runs]
        return b"".join([dictionaries.request_text(), *blocks])


@dataclass(frozen=True, slots=True)
class Head:
    """What a message says of itself. `distance` is 0 for no entry, `at` where the frame begins."""

    distance: int
    use: Use
    length: int
    checksum: int
    at: int


@dataclass(frozen=True, slots=True)
class Coded:
    """A body's frame, and what it has to be told with it. It does not depend on the stream on which
    it will go."""

    use: Use
    length: int
    checksum: int
    frame: bytes

    def message(self, distance: int) -> bytes:
        """The whole message. `distance` is 0 where the frame continues no entry."""
        return b"".join(
            [
                write_varint(distance),
                *(_reference(self.use) if distance else ()),
                write_varint(self.length),
                _checksum.pack(self.checksum),
                self.frame,
            ]
        )


def _reference(use: Use) -> Sequence[bytes]:
    if not use.runs:
        kind = use.reply + 2 * use.replaces
        if use.tail is None:
            return [write_varint(kind)]
        return [write_varint(kind + 4), write_varint(use.tail)]
    parts, reached = [write_varint(len(use.runs) + 7)], 0
    for run in use.runs:
        parts += [write_varint(run.first - reached), write_varint(run.blocks)]
        reached = run.first + run.blocks
    return parts


def encode(body: bytes, use: Use | None = None, prefix: bytes = b"", base: int = 0) -> Coded:
    """Code `body` after `prefix`, which is what `use` means of an entry with a body of `base`
    bytes; None for the static dictionary."""
    if use is None:
        frame = zstd.pack(body, level_for(len(body)), dictionaries.request())
    else:
        content = body
        if use.tail is not None:
            content = body[base - use.tail : len(body) - use.tail]
        level = _LEVEL if len(content) + len(prefix) <= _LARGE else _LEVEL_OF_LARGE
        frame = zstd.pack_after(content, level, prefix)
    return Coded(use or Use(), len(body), zlib.crc32(body), frame)


def read_head(message: bytes) -> Head:
    """What the message says before its frame.

    Raises:
        WireError: it says nothing that can be understood.
    """
    end = min(len(message), MOST_HEAD)
    distance, at = read_varint(message, 0, end)
    use = Use()
    if distance:
        use, at = _read_use(message, at, end)
    length, at = read_varint(message, at, end)
    if at + _checksum.size > len(message):
        raise WireError("the message is cut short before its frame")
    (checksum,) = _checksum.unpack_from(message, at)
    return Head(distance, use, length, checksum, at + _checksum.size)


def _read_use(message: bytes, at: int, end: int) -> tuple[Use, int]:
    kind, at = read_varint(message, at, end)
    if kind < 8:
        tail = None
        if kind & 4:
            tail, at = read_varint(message, at, end)
        return Use(bool(kind & 1), bool(kind & 2), tail), at
    if kind - 7 > MOST_RUNS:
        raise WireError("the reference has too many pieces")
    runs, reached = [], 0
    for _ in range(kind - 7):
        skipped, at = read_varint(message, at, end)
        count, at = read_varint(message, at, end)
        if not count:
            raise WireError("the reference has an empty piece")
        runs.append(Run(reached + skipped, count))
        reached += skipped + count
    return Use(runs=tuple(runs)), at


def decode(
    message: bytes, head: Head, prefix: bytes | None, limit: int, base: int = 0
) -> bytes:
    """The body. `prefix` is what `head` refers to, of an entry with a body of `base` bytes; None
    for the static dictionary.

    Raises:
        TooLarge: it says that it has more than `limit` bytes.
        WireError: it is damaged, cut short, goes on, or was made after another prefix.
    """
    if head.length > limit:
        raise TooLarge(f"the body decodes to more than {limit} bytes")
    frame, tail = memoryview(message)[head.at :], head.use.tail
    if prefix is None:
        body = zstd.unpack(frame, head.length, dictionaries.request())
    elif tail is None:
        body = zstd.unpack_after(frame, head.length, prefix)
    else:
        if head.length < base:
            raise WireError("the body is shorter than what it contains")
        inserted = zstd.unpack_after(frame, head.length - base, prefix)
        body = b"".join([prefix[tail:base], inserted, prefix[:tail]])
    if zlib.crc32(body) != head.checksum:
        raise WireError("the body's checksum is not its own")
    return body
