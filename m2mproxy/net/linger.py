"""Lingering close: a connection ends so that the peer gets what was written last (RFC 9112 9.6).

The one rule: a peer is waited for as long as it takes something, and no longer.
"""

from __future__ import annotations

import asyncio

from m2mproxy.net.deadline import Deadline
from m2mproxy.net.handshake import Secured


class Linger:
    """A transport that closes once its buffer is empty."""

    __slots__ = ("_deadline", "_seconds", "_transport", "_unsent")

    def __init__(
        self, transport: asyncio.Transport, deadline: Deadline, seconds: float, read_on: bool
    ) -> None:
        """`seconds` is how long the peer may take nothing. `read_on` is for a peer that may still
        be sending: with input unread the kernel would answer with a reset, which can destroy the
        last words before the peer has read them. So we say that we are done, and read on. TLS does
        that by itself, and is told here when nothing is to be read."""
        self._transport = transport
        self._deadline = deadline
        self._seconds = seconds
        self._unsent = transport.get_write_buffer_size()
        deadline.after(seconds)
        tls = transport.get_extra_info("ssl_object")
        if isinstance(tls, Secured):
            tls.awaits_end = read_on
        if read_on and transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:  # the peer has reset it: asyncio's own loop says so here
                transport.close()
        else:
            transport.close()

    def goes_on(self) -> bool:
        """Called at the deadline: whether the peer took something since, and gets more time."""
        unsent = self._transport.get_write_buffer_size()
        if not 0 < unsent < self._unsent:
            return False
        self._unsent = unsent
        self._deadline.after(self._seconds)
        return True
