"""A connection that ends, on transports that say at once what others keep to themselves."""

from __future__ import annotations

import asyncio
import errno
from typing import Any, cast

from m2mproxy.net.deadline import Deadline
from m2mproxy.net.linger import Linger


class Reset:
    """A transport of asyncio's own loop whose peer has reset the connection."""

    is_closed = False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> None:
        return None

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    def close(self) -> None:
        self.is_closed = True


class Never:
    """A deadline that does not come."""

    def after(self, seconds: float) -> None: ...


def test_a_connection_that_the_peer_has_reset_is_closed() -> None:
    transport = Reset()
    Linger(cast(asyncio.Transport, transport), cast(Deadline, cast(Any, Never())), 1.0, True)
    assert transport.is_closed
