"""A request's body on the link (content coding `m2m-link`).

    reference | varint size | u32 crc32, little-endian | blocks

An entry has the number of the stream on which its request crossed, so the reference (use.py) names
the one that is continued by how far back it is. `size` is how many bytes the blocks hold, times
two, plus one if they are all of a frame's blocks; without, they are one compressed block without
its header (codec/blocks.py). The crc32 is that of the whole body.

The frame is made with the static dictionary; with that one's tables and the last 32 KiB of what is
meant of the entry; or with all of this as prefix.

The one rule: what a peer declares is compared with a limit before anything is made of it, and no
byte of a body leaves here whose length or checksum is another.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace

from m2mproxy.codec import blocks, dictionaries, zstd
from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.static import level_for
from m2mproxy.codec.varint import read_varint, write_varint
from m2mproxy.link import use as reference
from m2mproxy.link.edits import MOST_EDITS, edits
from m2mproxy.link.ready import Ready
from m2mproxy.link.use import REACH, Use

_checksum = struct.Struct("<I")
# What is added and takes more than this may repeat something that is far: both ways are tried.
_MAY_BE_FAR = 384
# What comes before the blocks, at most.
MOST_HEAD = 10 * (3 + 3 * MOST_EDITS) + _checksum.size  # so many runs take less


@dataclass(frozen=True, slots=True)
class Known:
    """What an entry has: its body, the text of its reply, of an insertion how many bytes of the
    body follow it, and what may be ready for what continues it."""

    body: bytes = b""
    reply: bytes = b""
    tail: int | None = None
    ready: Ready | None = None


NOTHING_KNOWN = Known()


@dataclass(frozen=True, slots=True)
class Head:
    """What a message says of itself. `distance` is 0 for no entry, `size` how many bytes the blocks
    hold, `at` where they begin, and `is_one` for a single one without its header."""

    distance: int
    use: Use
    size: int
    is_one: bool
    checksum: int
    at: int


@dataclass(frozen=True, slots=True)
class Coded:
    """A body's blocks, and what has to be told with them. It does not depend on the stream on which
    it will go."""

    use: Use
    size: int
    is_one: bool
    checksum: int
    blocks: bytes

    def message(self, distance: int) -> bytes:
        """The whole message. `distance` is 0 where the frame continues no entry."""
        return b"".join(
            [
                reference.write(self.use, distance),
                write_varint(2 * self.size + (not self.is_one)),
                _checksum.pack(self.checksum),
                self.blocks,
            ]
        )


def encode(body: bytes, use: Use | None = None, known: Known = NOTHING_KNOWN) -> Coded:
    """Code `body` after what `use` means of an entry, of which that is `known`; None for the static
    dictionary."""
    if use is None:
        use, content = Use(), body
        frame = zstd.pack(body, level_for(len(body)), dictionaries.request())
    else:
        use = _edited(use, body, known)
        content, frame, use = _pack(body, use, known)
    some, is_one = blocks.of(frame)
    return Coded(use, len(content), is_one, zlib.crc32(body), some)


def _edited(use: Use, body: bytes, known: Known) -> Use:
    """The same, with what makes `body` of the entry that it replaces, where that is not known."""
    if use.adds or not use.replaces or not (found := edits(known.body, body)):
        return use
    if len(found) == 1 and not found[0].dropped:
        tail = len(known.body) - found[0].kept
        return replace(use, tail=tail, where_before=tail == known.tail)
    return replace(use, edits=found)


def _pack(new: bytes, use: Use, known: Known) -> tuple[bytes, bytes, Use]:
    """What of the body is coded, its frame, and how that came about."""
    body, reply = known.body, known.reply
    content = use.added_in(new, body) if use.adds else new
    if not use.is_near(body, reply):
        return content, zstd.pack_after(content, use.prefix(body, reply)), use
    ready = known.ready
    if ready is not None and ready.packer and ready.use == use and len(content) <= zstd.MOST_READY:
        frame = ready.packer.pack(content)
    else:
        frame = zstd.pack_with(content, use.dictionary(body, reply))
    if len(frame) > _MAY_BE_FAR and use.adds and len(body) + len(reply) > REACH:
        whole = replace(use, edits=()) if use.edits else replace(use, far=True)
        all_of_it = new if use.edits else content
        further = zstd.pack_after(all_of_it, whole.prefix(body, reply))
        if len(further) < len(frame):
            return all_of_it, further, whole
    return content, frame, use


def _unpack_near(frame: bytes, size: int, use: Use, known: Known) -> bytes:
    ready = known.ready
    if ready is not None and ready.unpacker and ready.use == use and size <= zstd.MOST_WINDOW:
        return ready.unpacker.unpack(frame, size)
    dictionary = zstd.once(use.dictionary(known.body, known.reply))
    return zstd.unpack_frame(frame, size, dictionary)


def read_head(message: bytes) -> Head:
    """What the message says before its blocks.

    Raises:
        WireError: it says nothing that can be understood.
    """
    end = min(len(message), MOST_HEAD)
    distance, use, at = reference.read(message, end)
    size, at = read_varint(message, at, end)
    if at + _checksum.size > len(message):
        raise WireError("the message is cut short before its blocks")
    (checksum,) = _checksum.unpack_from(message, at)
    use = use.adding(size >> 1)
    return Head(distance, use, size >> 1, not size & 1, checksum, at + _checksum.size)


def decode(message: bytes, head: Head, use: Use, known: Known, limit: int) -> bytes:
    """The body. `use` is the head's within the entry of which that is `known`.

    Raises:
        TooLarge: it says that it has more than `limit` bytes.
        WireError: it is damaged, cut short, goes on, or was made after something else.
    """
    kept = len(known.body) - sum([edit.dropped for edit in use.edits]) if use.adds else 0
    if kept + head.size > limit:
        raise TooLarge(f"the body decodes to more than {limit} bytes")
    frame = blocks.frame(memoryview(message)[head.at :], head.is_one, head.size)
    if not head.distance:
        body = zstd.unpack_frame(frame, head.size, dictionaries.request())
    elif use.is_near(known.body, known.reply):
        body = _unpack_near(frame, head.size, use, known)
    else:
        prefix = zstd.prefix(use.prefix(known.body, known.reply))
        body = zstd.unpack_frame(frame, head.size, prefix)
    if use.adds:
        body = use.applied(known.body, body)
    if zlib.crc32(body) != head.checksum:
        raise WireError("the body's checksum is not its own")
    return body
