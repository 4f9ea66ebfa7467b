"""What the kernel has measured of the way to a peer, read from TCP_INFO (tcp(7), linux/tcp.h): the
round trip, the delivery rate, what is unsent and unacknowledged.

The one rule: what is not known is not guessed. Where the kernel says nothing, there is no answer.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import NamedTuple

# Of the structure: the size of a segment and how many are under way, the smoothed round trip in µs,
# the window in segments, bytes that have not left, and what arrived lately in bytes a second.
_FIELDS = struct.Struct("=16xI4xI40xI8xI60xI12xQ")

# Segments that are under way, and bytes that were acknowledged since the beginning.
_DELIVERED = struct.Struct("=24xI92xQ")


class Path(NamedTuple):
    """The way to a peer at this moment."""

    rtt: float
    """The round trip, in seconds."""
    rate: float
    """Bytes a second that lately arrived, or what the window allows if that is less; above 0."""
    unsent: int
    """Bytes that the kernel has and has not sent."""
    room: int
    """Bytes that it may send before more is acknowledged."""
    segment: int
    """Bytes in a segment."""


def path_of(transport: asyncio.Transport) -> Path | None:
    """What the kernel knows; None for what is no TCP, or no such kernel."""
    said = _said(transport, _FIELDS.size)
    if said is None:
        return None
    segment, sent, rtt, window, unsent, rate = _FIELDS.unpack(said)
    if not (segment and rtt and window):
        return None
    seconds = rtt / 1e6
    by_window = window * segment / seconds
    # What arrived counts until more does, or as much as could: the line may have changed since.
    rate, room = min(rate or by_window, by_window), max(0, window - sent) * segment
    return Path(seconds, rate, unsent, room, segment)


def delivered(transport: asyncio.Transport) -> int | None:
    """Bytes that the peer's machine has acknowledged, if more are under way to it."""
    said = _said(transport, _DELIVERED.size)
    if said is None:
        return None
    sent, count = _DELIVERED.unpack(said)
    return count if sent else None


def _said(transport: asyncio.Transport, size: int) -> bytes | None:
    """The first bytes of what the kernel knows; None for what is no TCP, or no such kernel."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        said: bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    except OSError:
        return None
    return said if len(said) == size else None
