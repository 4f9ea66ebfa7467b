"""A connection that ends, on transports that say at once what others keep to themselves."""

from __future__ import annotations

import asyncio
import errno
import gc
from typing import Any, cast

import pytest
from world import Pair, World, transport_of

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


@pytest.mark.parametrize("pair", [("1.1", "1.1"), ("2", "2")])
@pytest.mark.parametrize("how", ["die", "close"])
def test_what_is_left_of_a_connection_does_not_keep_its_transport(pair: Pair, how: str) -> None:
    """It can be much, and what refers to itself waits for the collector."""
    world = World(pair=pair)
    world.ask(b"{}")
    world.call().reply(b"ok")
    world.run()
    ends = world.askers[0], world.upstreams[0]
    transports = [transport_of(end) for end in ends]
    left = [cast(Any, each.protocol).connection for each in transports]
    for end in ends:
        getattr(end.transport, how)()
    world.run()
    for transport in transports:
        assert transport.closed
        holders = {type(each).__module__ for each in gc.get_referrers(transport)}
        assert not {name for name in holders if name.startswith("m2mproxy")} - {"m2mproxy.net.tcp"}
    assert len(left) == 2
