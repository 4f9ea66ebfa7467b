"""RFC 9113 6, but for flow control: what each type of frame may not be."""

from h2lib import wire
from h2lib.client import Client
from h2lib.suite import Wrong, case
from h2lib.wire import FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, frame, settings, u32

END = wire.END_HEADERS | wire.END_STREAM
HEADERS, PADDED = wire.HEADERS, wire.PADDED


def breaks(section: str, what: str, octets: bytes, code: int, *codes: int) -> None:
    """A connection error, sent after the HEADERS of a POST on stream 1."""
    case(section, f"{what}: connection error {wire.code_name(code)}")(
        lambda c: c.post(1).opened(3).send(octets).connection_error(code, *codes)
    )


def resets(section: str, what: str, octets: bytes, code: int) -> None:
    """A stream error on the stream of a POST."""

    @case(section, f"{what}: stream error {wire.code_name(code)}")
    def run(c: Client) -> None:
        c.post(1).send(octets).stream_error(1, code)
        if not c.failed:
            c.alive()


# ---- 6.1 DATA, 6.2 HEADERS ----

breaks("6.1", "DATA on stream 0", frame(wire.DATA, 0, 0, b"x"), PROTOCOL_ERROR)
for _kind, _flags, _stream, _section in (
    (wire.DATA, PADDED, 1, "6.1"),
    (HEADERS, PADDED | END, 3, "6.2"),
):
    for _what, _payload in (("as long as", b"\x04\x82\x84\x86"), ("longer than", b"\x20\x82\x84")):
        breaks(
            *(_section, f"padding {_what} the payload"),
            *(frame(_kind, _flags, _stream, _payload), PROTOCOL_ERROR),
        )
    breaks(
        *(_section, "PADDED without a Pad Length", frame(_kind, _flags, _stream)),
        *(PROTOCOL_ERROR, FRAME_SIZE_ERROR),
    )
breaks("6.2", "HEADERS on stream 0", frame(HEADERS, END, 0, b"\x82\x84\x86"), PROTOCOL_ERROR)
breaks(
    *("6.2", "PRIORITY flag and less than five octets"),
    *(frame(HEADERS, END | wire.WITH_PRIORITY, 3, b"\0\0\0"), FRAME_SIZE_ERROR),
)

# ---- 6.3 PRIORITY, 6.4 RST_STREAM ----

breaks("6.3", "PRIORITY on stream 0", frame(wire.PRIORITY, 0, 0, b"\0" * 5), PROTOCOL_ERROR)
resets("6.3", "PRIORITY of 4 octets", frame(wire.PRIORITY, 0, 1, b"\0" * 4), FRAME_SIZE_ERROR)
breaks("6.4", "RST_STREAM on stream 0", wire.rst_stream(0), PROTOCOL_ERROR)
breaks("6.4", "RST_STREAM on an idle stream", wire.rst_stream(3), PROTOCOL_ERROR)
breaks("6.4", "RST_STREAM of 3 octets", frame(wire.RST_STREAM, 0, 1, b"\0" * 3), FRAME_SIZE_ERROR)


@case("6.4", "after RST_STREAM nothing more comes on the stream", settings={wire.INITIAL_WINDOW: 0})
def nothing_after_reset(c: Client) -> None:
    c.request(1).reset(1).quiet(1)
    before = len(c.frames)
    c.give(1, 65_535).settle()
    if any(f.stream == 1 for f in c.frames[before:]) or c.failed:
        raise Wrong("nothing on stream 1", c.came())


# ---- 6.5 SETTINGS ----

breaks("6.5", "ack with a payload", settings({3: 1}, wire.ACK), FRAME_SIZE_ERROR)
breaks("6.5", "SETTINGS on a stream", frame(wire.SETTINGS, 0, 1), PROTOCOL_ERROR)
breaks("6.5", "a length of 3", frame(wire.SETTINGS, 0, 0, b"\0\3\0"), FRAME_SIZE_ERROR)
breaks("6.5.2", "ENABLE_PUSH of 2", settings({wire.ENABLE_PUSH: 2}), PROTOCOL_ERROR)
breaks("6.5.2", "a window of 2^31", settings({wire.INITIAL_WINDOW: 1 << 31}), FLOW_CONTROL_ERROR)
breaks("6.5.2", "MAX_FRAME_SIZE of 2^14-1", settings({wire.MAX_FRAME: 16_383}), PROTOCOL_ERROR)
breaks("6.5.2", "MAX_FRAME_SIZE of 2^24", settings({wire.MAX_FRAME: 1 << 24}), PROTOCOL_ERROR)

case("6.5", "every defined setting may be sent at any time, also with values of no use")(
    lambda c: c.change({wire.MAX_STREAMS: 0, wire.MAX_HEADER_LIST: 1 << 16, wire.ENABLE_PUSH: 1})
    .get(1)
    .change({wire.HEADER_TABLE_SIZE: 4096, wire.MAX_FRAME: 16_384, wire.ENABLE_PUSH: 0})
    .get(3)
)
case("6.5.2", "an unknown setting is ignored and acknowledged")(
    lambda c: c.change({0xFF: 1, 0x7: 0xFFFFFFFF, 0: 5}).get()
)
case("6.5.2", "the largest values are accepted", settings={wire.INITIAL_WINDOW: 0})(
    lambda c: c.change({wire.HEADER_TABLE_SIZE: 0xFFFFFFFF, wire.MAX_STREAMS: 0xFFFFFFFF})
    .change({wire.INITIAL_WINDOW: wire.MAX_WINDOW, wire.MAX_FRAME: (1 << 24) - 1})
    .without_credit()
    .get()
)


@case("6.5.2", "what the server sends itself is in range, and pushes nothing")
def servers_own(c: Client) -> None:
    theirs = c.get().theirs
    if theirs.get(wire.ENABLE_PUSH) or theirs.get(wire.INITIAL_WINDOW, 0) > wire.MAX_WINDOW:
        raise Wrong("ENABLE_PUSH 0, INITIAL_WINDOW_SIZE up to 2^31-1", str(theirs))
    if not 16_384 <= theirs.get(wire.MAX_FRAME, 16_384) < 1 << 24:
        raise Wrong("MAX_FRAME_SIZE from 2^14 to 2^24-1", str(theirs))


@case("6.5.2", "no DATA frame is larger than our SETTINGS_MAX_FRAME_SIZE")
def frame_size_obeyed(c: Client) -> None:
    c.need_size(16_385)
    if sum(bool(f.type == wire.DATA and f.payload) for f in c.get().frames) < 2:
        raise Wrong("the body in several frames", c.came())


@case("6.5.3", "the last value of a setting counts: window 100, then 1")
def in_order(c: Client) -> None:
    c.change([(wire.INITIAL_WINDOW, 100), (wire.INITIAL_WINDOW, 1)]).without_credit().request(1)
    c.in_time(lambda: len(c.streams[1].body) == 1, "one octet of DATA").quiet(1)


@case("6.5.3", "every SETTINGS is acknowledged, once")
def each_acknowledged(c: Client) -> None:
    c.send(settings({wire.MAX_STREAMS: 7}) * 5).in_time(lambda: c.acks == 6, "six acks in all")
    c.settle()
    if c.acks != 6:
        raise Wrong("six acks in all", f"{c.acks}")


# ---- 6.6 PUSH_PROMISE, 6.7 PING, 6.8 GOAWAY ----

_promise = frame(wire.PUSH_PROMISE, wire.END_HEADERS, 1, u32(2) + b"\x82\x84\x86")
breaks("8.4", "PUSH_PROMISE from a client", _promise, PROTOCOL_ERROR)
breaks("6.6", "PUSH_PROMISE on stream 0", frame(wire.PUSH_PROMISE, 4, 0, u32(2)), PROTOCOL_ERROR)
breaks("6.7", "PING on a stream", frame(wire.PING, 0, 1, b"12345678"), PROTOCOL_ERROR)
breaks("6.7", "PING of 6 octets", frame(wire.PING, 0, 0, b"123456"), FRAME_SIZE_ERROR)
breaks("6.7", "PING of 9 octets", frame(wire.PING, 0, 0, b"123456789"), FRAME_SIZE_ERROR)
breaks("6.8", "GOAWAY on a stream", frame(wire.GOAWAY, 0, 1, b"\0" * 8), PROTOCOL_ERROR)
breaks("6.8", "GOAWAY of 7 octets", frame(wire.GOAWAY, 0, 0, b"\0" * 7), FRAME_SIZE_ERROR)


@case("6.7", "PING is answered with the same data, also while a stream is blocked")
def ping(c: Client) -> None:
    c.change({wire.INITIAL_WINDOW: 0}).request(1)
    data = (b"\0" * 8, b"\xff" * 8, b"m2mproxy")
    c.send(*(frame(wire.PING, 0, 0, octets) for octets in data))
    c.in_time(lambda: tuple(c.pongs) == data, "three PING acks, in order")


@case("6.7", "PING ack is not answered")
def ping_ack(c: Client) -> None:
    c.frame(wire.PING, wire.ACK, 0, b"unasked.").quiet()
    if b"unasked." in c.pongs:
        raise Wrong("no answer to a PING ack", c.came())


case("6.8", "GOAWAY is accepted: a PING is answered, or the connection closed")(
    lambda c: c.send(wire.goaway()).left_alone()
)
case("6.8", "after a client's GOAWAY the streams that are open are finished")(
    lambda c: c.post(1).send(wire.goaway(debug=b"bye")).data(1, b"the rest", end=True).ok(1)
)

# ---- 6.9 WINDOW_UPDATE, 6.10 CONTINUATION ----

_update = frame(wire.WINDOW_UPDATE, 0, 0, b"\0\0\1")
_late = frame(wire.CONTINUATION, wire.END_HEADERS, 1)
breaks("6.9", "WINDOW_UPDATE by 0 on the connection", wire.window_update(0, 0), PROTOCOL_ERROR)
resets("6.9", "WINDOW_UPDATE by 0 on a stream", wire.window_update(1, 0), PROTOCOL_ERROR)
breaks("6.9", "WINDOW_UPDATE of 3 octets", _update, FRAME_SIZE_ERROR)
breaks("6.10", "CONTINUATION on stream 0", frame(wire.CONTINUATION, 4, 0), PROTOCOL_ERROR)
breaks("6.10", "CONTINUATION after END_HEADERS", _late, PROTOCOL_ERROR)
breaks("6.10", "CONTINUATION after DATA", frame(wire.DATA, 0, 1, b"x") + _late, PROTOCOL_ERROR)
case("6.10", "CONTINUATION after CONTINUATION with END_HEADERS: connection error PROTOCOL_ERROR")(
    lambda c: c.split(1).send(_late).connection_error(PROTOCOL_ERROR)
)
