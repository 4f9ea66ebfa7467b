"""What a stream holds that may last for hours: no more than it needs to go on."""

from __future__ import annotations

import gc
import sys

from world import SSE_HEAD, World, chunk, post

from m2mproxy.http.headers import Headers
from m2mproxy.proxy.pump import Pump
from m2mproxy.proxy.sse import Boundary


def test_nothing_is_held_of_a_request_whose_response_passes() -> None:
    gc.collect()
    before = [each for each in gc.get_objects() if isinstance(each, Pump)]
    world = World()
    client = world.client()
    client.send(post(b"{}", b"/v1/x", b"x-live: stream"))
    upstream = world.upstream()
    assert b"x-live: stream" in upstream.take()
    upstream.send(SSE_HEAD + chunk(b"data: 1\n\n"))
    world.run()
    assert b"data: 1" in client.take()
    kept = gc.get_objects()
    pumps = [each for each in kept if isinstance(each, Pump)]
    fields = [field for each in kept if isinstance(each, Headers) for field in each]
    assert len(pumps) - len(before) == 1
    assert (b"x-live", b"stream") not in fields
    upstream.send(chunk(b"data: 2\n\n") + b"0\r\n\r\n")
    world.run()
    assert b"data: 2" in client.take()


def test_an_event_that_has_passed_is_not_held() -> None:
    event = b"".join([b"data: ", b"1" * 200, b"\n\n"])
    boundary, count = Boundary(), sys.getrefcount(event)
    boundary.feed(event)
    assert boundary.between_events
    assert sys.getrefcount(event) == count
