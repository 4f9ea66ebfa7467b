"""What codes the next turn of a conversation, or reads it, made while nobody waits for it.

An application sends a conversation again with more behind its last message, and behind the reply.
So when that is complete both ends know what the next body is most likely coded after; and to read
that takes half of the time in which a little is coded.

The one rule: it is used once, and for exactly what it was made for.
"""

from __future__ import annotations

from typing import NamedTuple

from m2mproxy.codec import zstd
from m2mproxy.link.use import Use


class Ready(NamedTuple):
    """What has read what `use` means of an entry."""

    use: Use
    packer: zstd.ReadyPacker | None = None
    unpacker: zstd.ReadyUnpacker | None = None


def next_use(tail: int, reply: bytes) -> Use:
    """What the next turn most likely means of an entry that is an insertion itself, which so many
    bytes follow: all of it, and that it goes on where that ends."""
    return Use(bool(reply), replaces=True, tail=tail, where_before=True)


def to_pack(tail: int, body: bytes, reply: bytes) -> Ready:
    """For the end that codes it."""
    use = next_use(tail, reply)
    return Ready(use, packer=zstd.ReadyPacker(use.dictionary(body, reply)))


def to_unpack(tail: int, body: bytes, reply: bytes) -> Ready:
    """For the end that reads it."""
    use = next_use(tail, reply)
    return Ready(use, unpacker=zstd.ReadyUnpacker(use.dictionary(body, reply)))
