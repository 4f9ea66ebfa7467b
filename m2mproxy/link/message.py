"""A request's body on the link (content coding `m2m-link`).

    varint distance | reference | varint length | u32 crc32, little-endian | zstd frame

An entry has the number of the stream on which its request crossed, so `distance`, this stream's
number less the entry's, names the entry that the frame continues; 0 is the static dictionary. Then
comes, for a distance that is not 0, a varint for what of the entry is meant:

    0 or 2  the body
    1 or 3  the body and the text of its reply
    n + 3   n runs of its blocks, each a varint of blocks left out and a varint of blocks taken

2 and 3 say, too, that this body replaces the entry: once this one is referred to, that one is not
any more.

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
# Level 6 saves 6 % more than 3, and takes little longer for bodies up to this size. 1 fails with
# prefixes of 100 KiB and more: its table is too small for them.
_LEVEL, _LEVEL_OF_LARGE, _LARGE = 6, 3, 64 * 1024
# A body that refers to more pieces than these is better off without.
MOST_RUNS = 64
# What comes before the frame, at most.
MOST_HEAD = 10 * (3 + 2 * MOST_RUNS) + _checksum.size


@dataclass(frozen=True, slots=True)
class Use:
    """What of an entry is meant: `runs` of its body, or all of it where there are none."""

    reply: bool = False
    replaces: bool = False
    runs: tuple[Run, ...] = ()

    def of(self, body: bytes, reply: bytes) -> bytes:
        """Those bytes of an entry.

        Raises:
            WireError: it has no such blocks.
        """
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
        return [write_varint(use.reply + 2 * use.replaces)]
    parts, reached = [write_varint(len(use.runs) + 3)], 0
    for run in use.runs:
        parts += [write_varint(run.first - reached), write_varint(run.blocks)]
        reached = run.first + run.blocks
    return parts


def encode(body: bytes, use: Use | None = None, prefix: bytes = b"") -> Coded:
    """Code `body` after `prefix`, which is what `use` means; None for the static dictionary."""
    if use is None:
        frame = zstd.pack(body, level_for(len(body)), dictionaries.request())
    else:
        level = _LEVEL if len(body) <= _LARGE else _LEVEL_OF_LARGE
        frame = zstd.pack_after(body, level, prefix)
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
    if kind <= 3:
        return Use(reply=bool(kind & 1), replaces=bool(kind & 2)), at
    if kind - 3 > MOST_RUNS:
        raise WireError("the reference has too many pieces")
    runs, reached = [], 0
    for _ in range(kind - 3):
        skipped, at = read_varint(message, at, end)
        count, at = read_varint(message, at, end)
        if not count:
            raise WireError("the reference has an empty piece")
        runs.append(Run(reached + skipped, count))
        reached += skipped + count
    return Use(runs=tuple(runs)), at


def decode(message: bytes, head: Head, prefix: bytes | None, limit: int) -> bytes:
    """The body. `prefix` is what `head` refers to, None for the static dictionary.

    Raises:
        TooLarge: it says that it has more than `limit` bytes.
        WireError: it is damaged, cut short, goes on, or was made after another prefix.
    """
    if head.length > limit:
        raise TooLarge(f"the body decodes to more than {limit} bytes")
    frame = memoryview(message)[head.at :]
    if prefix is None:
        body = zstd.unpack(frame, head.length, dictionaries.request())
    else:
        body = zstd.unpack_after(frame, head.length, prefix)
    if zlib.crc32(body) != head.checksum:
        raise WireError("the body's checksum is not its own")
    return body
