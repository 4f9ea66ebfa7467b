"""RFC 9113 5 and 7: stream states, identifiers, concurrency, errors, extensions."""

from collections.abc import Callable

from h2lib import wire
from h2lib.client import UPPER, Client
from h2lib.suite import Skip, Wrong, case
from h2lib.wire import PROTOCOL_ERROR, STREAM_CLOSED, frame

BLOCKED = {wire.INITIAL_WINDOW: 0}  # a GET stays half-closed (remote): its body cannot leave
LATE = [(b"x-late", b"1")]

FRAMES: dict[str, Callable[[Client], Client]] = {
    "DATA": lambda c: c.data(1, b"test", end=True),
    "HEADERS": lambda c: c.request(1, LATE),
    "CONTINUATION": lambda c: c.frame(wire.CONTINUATION, wire.END_HEADERS, 1, c.block(LATE)),
    "WINDOW_UPDATE": lambda c: c.send(wire.window_update(1, 1)),
    "RST_STREAM": lambda c: c.reset(1),
    "PRIORITY": lambda c: c.frame(wire.PRIORITY, 0, 1, wire.priority(0)),
}
LEGAL = ("WINDOW_UPDATE", "RST_STREAM", "PRIORITY")

# ---- 5.1 idle, half-closed (remote), closed: each with every type of frame ----


def idle(name: str, *codes: int) -> None:
    case("5.1", f"idle: {name} is a connection error PROTOCOL_ERROR")(
        lambda c: FRAMES[name](c).connection_error(PROTOCOL_ERROR, *codes)
    )


idle("DATA", STREAM_CLOSED)  # 6.1 says so; h2spec takes either
for _name in ("RST_STREAM", "WINDOW_UPDATE", "CONTINUATION"):
    idle(_name)
case("5.1", "idle: PRIORITY is ignored")(lambda c: FRAMES["PRIORITY"](c).quiet().get())
case("5.1", "idle, a stream of the server's: WINDOW_UPDATE is PROTOCOL_ERROR")(
    lambda c: c.send(wire.window_update(2, 1)).connection_error(PROTOCOL_ERROR)
)


def half_closed(name: str, *codes: int) -> None:
    case("5.1", f"half-closed (remote): {name} is a stream error STREAM_CLOSED", settings=BLOCKED)(
        lambda c: FRAMES[name](c.request(1)).stream_error(1, STREAM_CLOSED, *codes)
    )


half_closed("DATA")
half_closed("HEADERS")
half_closed("CONTINUATION", PROTOCOL_ERROR)  # 6.10


def half_closed_legal(name: str) -> None:
    @case("5.1", f"half-closed (remote): {name} is accepted", settings=BLOCKED)
    def run(c: Client) -> None:
        c.request(1)
        c.streams[1].window += name == "WINDOW_UPDATE"
        FRAMES[name](c).quiet(1)
        if name != "RST_STREAM":
            c.give(1, c.target.size).ok(1)


def closed(name: str, *codes: int) -> None:
    # DATA: 6.1 says MUST, but 5.1 lets it be discarded on every closed stream.
    may = name == "DATA"
    case("5.1", f"closed by our RST_STREAM: {name} is an error STREAM_CLOSED", should=may)(
        lambda c: FRAMES[name](c.post(1).reset(1)).stream_error(1, STREAM_CLOSED, *codes)
    )
    case("5.1", f"closed by END_STREAM both ways: {name} is an error STREAM_CLOSED", should=may)(
        lambda c: FRAMES[name](c.get()).stream_error(1, STREAM_CLOSED, *codes)
    )


closed("DATA")
closed("HEADERS", PROTOCOL_ERROR)  # 5.1.1: the identifier is not new
closed("CONTINUATION", PROTOCOL_ERROR)  # 6.10


def closed_legal(name: str) -> None:
    case("5.1", f"closed by END_STREAM both ways: {name} is ignored")(
        lambda c: FRAMES[name](c.get()).quiet(1).alive()
    )


for _name in LEGAL:
    half_closed_legal(_name)
    closed_legal(_name)


@case("5.1", "closed by the server's RST_STREAM: frames that were on their way are discarded")
def on_their_way(c: Client) -> None:
    request, trailers = c.block(c.fields("POST", UPPER)), c.block(LATE)
    c.opened(1).send(
        frame(wire.HEADERS, wire.END_HEADERS, 1, request),
        frame(wire.DATA, 0, 1, b"on its way"),
        wire.window_update(1, 1),
        frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, 1, trailers),
    )
    c.malformed(1)
    if not c.failed:  # and the trailers are in the table
        c.request(5, [*c.fields(), *LATE]).ok(5)


case("5.1", "closed because a later stream was opened: DATA is an error", should=True)(
    lambda c: FRAMES["DATA"](c.get(3)).stream_error(1, STREAM_CLOSED, PROTOCOL_ERROR)
)

# ---- 5.1.1 Identifiers ----

case("5.1.1", "a stream id that is even is a connection error PROTOCOL_ERROR")(
    lambda c: c.request(2).connection_error(PROTOCOL_ERROR)
)
# The stream counts as closed, so STREAM_CLOSED fits as well (5.1).
case("5.1.1", "a stream id that is lower than an earlier one is a connection error PROTOCOL_ERROR")(
    lambda c: c.request(5).request(3).connection_error(PROTOCOL_ERROR, STREAM_CLOSED)
)
case("5.1.1", "ids may be skipped, up to the largest")(
    lambda c: c.get(3).get(101).get(65_537).get(2**31 - 1)
)

# ---- 5.1.2 Concurrency ----


def fill(c: Client) -> int:
    """Open as many streams as the server allows; the next id."""
    allowed = c.theirs.get(wire.MAX_STREAMS)
    if allowed is None or allowed > 1000:
        raise Skip(f"SETTINGS_MAX_CONCURRENT_STREAMS is {allowed}")
    for number in range(allowed):
        c.post(2 * number + 1)
    return 2 * allowed + 1


@case("5.1.2", "a stream too many is PROTOCOL_ERROR or REFUSED_STREAM", settings=BLOCKED, slow=True)
def one_too_many(c: Client) -> None:
    last = fill(c)
    c.request(last).stream_error(last, PROTOCOL_ERROR, wire.REFUSED_STREAM)


@case("5.1.2", "once a stream has ended another may be opened", settings=BLOCKED, slow=True)
def room_again(c: Client) -> None:
    last = fill(c)
    c.reset(1).request(last).give(last, c.target.size).ok(last)


# ---- 5.3 Priority: RFC 7540's rule; RFC 9113 lets a server ignore the signal ----


def itself(c: Client) -> None:
    if c.either(1, PROTOCOL_ERROR) == "answered":
        c.note = "ignored: RFC 7540 wants PROTOCOL_ERROR, RFC 9113 nothing"


case("5.3.1", "HEADERS that depends on itself: ignored, or PROTOCOL_ERROR (RFC 7540)")(
    lambda c: itself(c.headers(1, wire.priority(1) + c.block(), wire.WITH_PRIORITY))
)
case("5.3.1", "PRIORITY that depends on itself: ignored, or PROTOCOL_ERROR (RFC 7540)")(
    lambda c: itself(
        c.post(1).frame(wire.PRIORITY, 0, 1, wire.priority(1)).data(1, b"", end=True)
    )
)

# ---- 5.4 Errors ----


def bad_ping(c: Client) -> Client:
    """A connection error."""
    return c.frame(wire.PING, 0, 0, b"short")


case("5.4.1", "after a connection error the server closes the TCP connection")(
    lambda c: bad_ping(c).gone()
)
case("5.4.1", "before it closes, the server sends GOAWAY", should=True)(
    lambda c: bad_ping(c).in_time(lambda: c.goaway is not None, "GOAWAY")
)


@case("5.4.1", "GOAWAY names the last stream, neither less nor more", should=True)
def names_last_stream(c: Client) -> None:
    bad_ping(c.get(5)).in_time(lambda: c.goaway is not None, "GOAWAY")
    if c.goaway is None or wire.number(c.goaway.payload) != 5:
        raise Wrong("GOAWAY with last stream 5", f"{c.goaway and c.goaway.payload!r}")


@case("5.4.2", "RST_STREAM is not answered with RST_STREAM")
def no_reset_for_reset(c: Client) -> None:
    c.post(1).reset(1).reset(1)
    c.settle(lambda: c.streams[1].reset is not None)
    c.quiet(1)


@case("5.4.2", "a stream error leaves an open stream of the connection alone")
def others_live(c: Client) -> None:
    c.post(1).request(3, c.fields("GET", UPPER)).malformed(3)
    if not c.failed:
        c.data(1, b"still here", end=True).ok(1)


# ---- 5.5 Extensions: those below 0x20 have been given to ALTSVC and others ----

case("5.5", "an extension frame is ignored: unknown type, any payload, any flags")(
    lambda c: c.send(*(frame(n, n, 0, b"x" * (n % 9)) for n in range(0x20, 256))).quiet()
)
case("5.5", "an extension frame inside a field block is a connection error PROTOCOL_ERROR")(
    lambda c: c.split(1, frame(wire.UNKNOWN, 0, 0, b"x")).connection_error(PROTOCOL_ERROR)
)

# ---- 7 Error codes ----

case("7", "GOAWAY with an unknown error code does nothing special: a PING is answered, or closed")(
    lambda c: c.send(wire.goaway(0xFF)).left_alone()
)
case("7", "RST_STREAM with an unknown error code does nothing special")(
    lambda c: c.post(1).reset(1, 0xFF).quiet(1).alive()
)
