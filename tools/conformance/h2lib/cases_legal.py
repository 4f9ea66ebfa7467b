"""What every server must serve: each type of frame in its legal forms, each shape of message."""

from h2lib import wire
from h2lib.client import Client
from h2lib.suite import Wrong, case
from h2lib.wire import PADDED, WITH_PRIORITY, padded, priority

TRAILER = [(b"x-trailer", b"1")]

# ---- 8.1 Messages ----


@case("8.1", "a GET is answered with HEADERS, DATA and one END_STREAM, on the last frame")
def get(c: Client) -> None:
    ends = [f.ends_stream for f in c.get().frames if f.stream == 1]
    if ends.count(True) != 1 or not ends[-1]:
        raise Wrong("END_STREAM on the last frame", c.came())


@case("8.1", "a HEAD is answered without content")
def head(c: Client) -> None:
    if c.request(1, c.fields("HEAD")).ok(1).body:
        raise Wrong("no content", c.came())


@case("8.1", "a POST in several DATA frames, some empty, without content-length, is answered")
def post_in_pieces(c: Client) -> None:
    c.post(1)
    for piece in (b"a", b"", b"bc", b""):
        c.data(1, piece)
    c.data(1, b"d", end=True).ok(1)


case("8.1", "a POST in one DATA frame is answered")(
    lambda c: c.post(1, ("content-length", "4")).data(1, b"test", end=True).ok(1)
)
case("8.1", "a POST with trailers is answered")(
    lambda c: c.post(1).data(1, b"test").request(1, TRAILER).ok(1)
)
case("8.1", "a POST with trailers and no content is answered")(
    lambda c: c.post(1).request(1, TRAILER).ok(1)
)
case("8.1", "trailers may end in a CONTINUATION")(
    lambda c: c.post(1)
    .frame(wire.HEADERS, wire.END_STREAM, 1)
    .frame(wire.CONTINUATION, wire.END_HEADERS, 1, c.block(TRAILER))
    .ok(1)
)

# ---- 5 Several streams ----


@case("5", "twenty streams at once are all answered")
def many(c: Client) -> None:
    for stream in range(1, 40, 2):
        c.request(stream)
    for stream in range(1, 40, 2):
        c.ok(stream)


@case("5", "the DATA of three uploads may be interleaved")
def interleaved(c: Client) -> None:
    for stream in (1, 3, 5):
        c.post(stream, ("content-length", "3"))
    for number in range(3):
        for stream in (5, 1, 3):
            c.data(stream, b"x", end=number == 2)
    for stream in (1, 3, 5):
        c.ok(stream)


@case("5", "a hundred requests one after the other on one connection", slow=True)
def in_turn(c: Client) -> None:
    for stream in range(1, 200, 2):
        c.get(stream)


# ---- 6 Frames ----


def posted(what: str, content: bytes, pad: int) -> None:
    case("6.1", f"DATA {what} is accepted")(
        lambda c: c.post(1).data(1, content, pad=pad, end=True).ok(1)
    )


posted("with padding", b"test", 7)
posted("with a padding of 0", b"test", 0)
posted("that is only padding", b"", 255)


def with_headers(what: str, flags: int, before: bytes, pad: int | None = None) -> None:
    @case("6.2", f"HEADERS with {what} is accepted")
    def run(c: Client) -> None:
        content = before + c.block()
        c.headers(1, content if pad is None else padded(content, pad), flags).ok(1)


with_headers("padding", PADDED, b"", 8)
with_headers("priority", WITH_PRIORITY, priority(0, 255))
with_headers("exclusive priority on an idle stream", WITH_PRIORITY, priority(9, 0, True))
with_headers("priority and padding", PADDED | WITH_PRIORITY, priority(0), 255)


def with_priority(what: str, stream: int, signal: bytes) -> None:
    case("6.3", f"PRIORITY {what} is accepted")(
        lambda c: c.frame(wire.PRIORITY, 0, stream, signal).get(1)
    )


with_priority("of weight 1", 1, priority(0, 0))
with_priority("of weight 256", 1, priority(0, 255))
with_priority("with a dependency", 1, priority(3))
with_priority("with an exclusive dependency", 1, priority(3, exclusive=True))
with_priority("on a later idle stream, which leaves earlier ones idle,", 9, priority(0))

case("6.4", "RST_STREAM on an open stream ends it and nothing else")(
    lambda c: c.post(1).reset(1).quiet(1).alive()
)
case("6.9", "WINDOW_UPDATE is accepted: on the connection, on a stream")(
    lambda c: c.without_credit().give(0, 1).post(1).give(1, 1).data(1, b"x", end=True).ok(1)
)
case("6.9", "the reserved bit of an increment is ignored", should=True)(
    lambda c: c.post(1)
    .frame(wire.WINDOW_UPDATE, 0, 1, wire.u32(1 << 31 | 1))
    .data(1, b"x", end=True)
    .ok(1)
)
case("6.10", "HEADERS with END_STREAM, then a CONTINUATION, split inside a field")(
    lambda c: c.split(1).ok(1)
)


@case("6.10", "several CONTINUATIONs after an empty HEADERS, one of them empty")
def continuations(c: Client) -> None:
    block = c.block()
    c.opened(1).frame(wire.HEADERS, wire.END_STREAM, 1)
    for part in (block[:3], b"", block[3:5]):
        c.frame(wire.CONTINUATION, 0, 1, part)
    c.frame(wire.CONTINUATION, wire.END_HEADERS, 1, block[5:]).ok(1)
