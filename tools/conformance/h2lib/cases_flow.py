"""RFC 9113 5.2 and 6.9: flow control, both ways."""

import json

from h2lib import wire
from h2lib.client import UPPER, Client
from h2lib.suite import Skip, Wrong, case
from h2lib.wire import FLOW_CONTROL_ERROR, INITIAL_WINDOW, MAX_WINDOW

ZERO = {INITIAL_WINDOW: 0}
MIB = 1 << 20

# ---- What the server sends ----


def body_of(c: Client, stream: int, size: int) -> Client:
    """Exactly so much of the body must come, and then no more."""
    reply = c.streams[stream]
    c.in_time(lambda: len(reply.body) >= size, f"{size} octets of DATA on {stream}").quiet(stream)
    if len(reply.body) != size:
        raise Wrong(f"{size} octets of DATA on {stream}", f"{len(reply.body)}")
    return c


def blocked_get(c: Client) -> Client:
    """A GET whose body waits for what the case gives; its HEADERS need no window."""
    c.without_credit().request(1).in_time(lambda: c.streams[1].status == 200, "HEADERS")
    return c


case("6.9.1", "with a window of 1 a DATA frame of 1 octet comes", settings={INITIAL_WINDOW: 1})(
    lambda c: body_of(blocked_get(c), 1, 1)
)


@case("6.9.1", "octet by octet: each WINDOW_UPDATE by 1 lets 1 octet out", settings=ZERO)
def octet_by_octet(c: Client) -> None:
    blocked_get(c)
    for size in range(1, 9):
        body_of(c.give(1, 1), 1, size)


@case("6.9.1", "the connection's window holds for all streams together")
def connection_window(c: Client) -> None:
    count = 65_535 // max(c.target.size, 1) + 1
    if count > 40:
        raise Skip("the body is too small")
    streams = range(1, 2 * count, 2)

    def total() -> int:
        return sum(len(c.streams[stream].body) for stream in streams)

    c.without_credit()
    for stream in streams:
        c.request(stream)
    c.in_time(lambda: total() == 65_535, "65,535 octets in all").quiet()
    c.give(0, 1).in_time(lambda: total() == 65_536, "65,536 octets in all").give(0, MIB)
    for stream in streams:
        c.ok(stream)


case("6.9.1", "a window of 2^31-1 is no error: on the connection, on a stream", settings=ZERO)(
    lambda c: blocked_get(c).give(0, MAX_WINDOW - 65_535).give(1, MAX_WINDOW).ok(1)
)
case("6.9.1", "a connection window above 2^31-1: connection error FLOW_CONTROL_ERROR")(
    lambda c: c.send(wire.window_update(0, MAX_WINDOW) * 2).connection_error(FLOW_CONTROL_ERROR)
)
case("6.9.1", "a stream window above 2^31-1: stream error FLOW_CONTROL_ERROR")(
    lambda c: c.post(1)
    .send(wire.window_update(1, MAX_WINDOW) * 2)
    .stream_error(1, FLOW_CONTROL_ERROR)
)


@case("6.9.2", "an initial window of 0, raised by SETTINGS while the response waits", settings=ZERO)
def raised(c: Client) -> None:
    body_of(blocked_get(c), 1, 0)
    body_of(c.change({INITIAL_WINDOW: 3}), 1, 3)
    c.change({INITIAL_WINDOW: 65_535}).ok(1)


@case("6.9.2", "a window made negative is tracked: nothing until it is positive again")
def negative(c: Client) -> None:
    c.need_size(1_100)
    body_of(blocked_get(c.change({INITIAL_WINDOW: 1_000})), 1, 1_000)
    body_of(c.change({INITIAL_WINDOW: 900}).give(1, 100), 1, 1_000)  # -100, then 0
    body_of(c.give(1, 7), 1, 1_007)


case("6.9.2", "SETTINGS that take a stream's window above 2^31-1: connection FLOW_CONTROL_ERROR")(
    lambda c: c.post(1)
    .send(wire.window_update(1, MAX_WINDOW - 65_535))
    .quiet(1)
    .send(wire.settings({INITIAL_WINDOW: 65_536}))
    .connection_error(FLOW_CONTROL_ERROR)
)


@case("5.2.1", "a stream without window does not hold up another", settings=ZERO)
def blocked_alone(c: Client) -> None:
    c.request(1).request(3).give(3, c.target.size).ok(3)
    body_of(c, 1, 0)


# ---- What the server receives ----


def upload(c: Client, frames: int, size: int, pad: int | None) -> None:
    """Send a body as the server's windows allow; the upstream must count it without padding."""
    c.post(1)
    for _ in range(frames):
        c.await_credit(1, size + (0 if pad is None else pad + 1)).data(1, bytes(size), pad=pad)
    body = c.data(1, b"", end=True).ok(1).body
    if c.target.echoes and json.loads(body)["length"] != frames * size:
        raise Wrong(f"a body of {frames * size} at the upstream", body.decode())


case("6.9.1", "1 MiB of DATA is credited, on the stream and on the connection", slow=True)(
    lambda c: upload(c, 128, 8192, None)
)
case("6.9.1", "1 MiB of DATA with 255 octets of padding each is credited", slow=True)(
    lambda c: upload(c, 128, 8192, 255)
)
case("6.1", "padding counts as a whole: 600 frames of 1 octet and 255 of padding are credited")(
    lambda c: upload(c, 600, 1, 255)
)


@case("6.9", "DATA of streams that were reset is credited to the connection", slow=True)
def credited_after_reset(c: Client) -> None:
    for stream in range(1, 40, 2):
        c.post(stream).await_credit(stream, 16_000).data(stream, bytes(16_000)).reset(stream)
    c.alive()


@case("6.9", "DATA of malformed requests is credited to the connection", slow=True)
def credited_after_malformed(c: Client) -> None:
    for stream in range(1, 40, 2):
        c.post(stream, UPPER).in_time(lambda: c.failed or c.credit[0] >= 16_000, "WINDOW_UPDATE")
        if c.failed:
            raise Skip("a malformed request ends the connection")
        c.data(stream, bytes(16_000))
    c.alive()


@case("6.9.1", "DATA beyond the window: FLOW_CONTROL_ERROR, or as good as any")
def beyond_window(c: Client) -> None:
    c.post(1)
    if min(c.credit[0], c.credit[1]) > MIB:
        raise Skip("the window is larger than 1 MiB")
    while min(c.credit[0], c.credit[1]) >= 0:
        c.data(1, bytes(16_384))
    c.data(1, b"", end=True).either(1, FLOW_CONTROL_ERROR)
