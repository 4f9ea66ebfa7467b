"""RFC 9113 3 and 4: the preface, the frame format, frame sizes, field blocks."""

from h2lib import wire
from h2lib.client import UPPER, Client
from h2lib.suite import Skip, Wrong, case
from h2lib.wire import COMPRESSION_ERROR, CONTINUATION, FRAME_SIZE_ERROR, PROTOCOL_ERROR, frame

# ---- 3.4 Connection preface ----


@case("3.4", "the server's first frame is SETTINGS, without ACK, on stream 0", settings=None)
def server_preface(c: Client) -> None:
    c.send(wire.PREFACE, wire.settings({})).in_time(lambda: bool(c.frames), "a frame")
    first = c.frames[0]
    if (first.type, first.flags & wire.ACK, first.stream) != (wire.SETTINGS, 0, 0):
        raise Wrong("SETTINGS first", c.came())


@case("3.4", "a preface that comes octet by octet is accepted", settings=None)
def preface_in_octets(c: Client) -> None:
    for octet in wire.PREFACE:
        c.send(bytes((octet,)))
    c.change({}).get()


case("3.4", "a preface with a request in the same packet is answered", settings=None)(
    lambda c: c.opened(1)
    .send(wire.PREFACE, wire.settings({}), frame(wire.HEADERS, 5, 1, c.block()))
    .ok(1)
)
case("3.4", "no preface but other text: the connection is closed", settings=None)(
    lambda c: c.send(b"INVALID CONNECTION PREFACE\r\n\r\n").gone()
)
case("3.4", "a preface whose last octets are wrong: the connection is closed", settings=None)(
    lambda c: c.send(wire.PREFACE[:-8] + b"XX\r\n\r\n\r\n", wire.settings({})).gone()
)
case("3.4", "a preface followed by PING, not SETTINGS: PROTOCOL_ERROR", settings=None)(
    lambda c: c.send(wire.PREFACE).connection_error(PROTOCOL_ERROR)
)
case("3.4", "a preface followed by HEADERS, not SETTINGS: PROTOCOL_ERROR", settings=None)(
    lambda c: c.send(wire.PREFACE).request(1).connection_error(PROTOCOL_ERROR)
)

# ---- 4.1 Frame format ----


@case("4.1", "a frame of unknown type is ignored: on the connection, idle, open, closed streams")
def unknown_types(c: Client) -> None:
    unknown = [frame(wire.UNKNOWN, 0xFF, stream, b"unknown") for stream in (0, 1, 2, 9)]
    c.send(*unknown).post(1).send(*unknown).data(1, b"x", end=True).ok(1)
    c.send(*unknown).quiet()


@case("4.1", "undefined flags are ignored: HEADERS, DATA, SETTINGS, WINDOW_UPDATE, PING")
def undefined_flags(c: Client) -> None:
    c.headers(1, c.block(c.fields("POST")), 0xD2, end=False).frame(wire.DATA, 0xF6, 1, b"x")
    c.frame(wire.SETTINGS, 0xFE, 0).frame(wire.WINDOW_UPDATE, 0xFF, 1, wire.u32(1))
    c.frame(wire.PING, 0xFE, 0, b"flagflag")
    c.in_time(lambda: b"flagflag" in c.pongs, "PING ack").data(1, b"x", end=True).ok(1)


@case("4.1", "the reserved bit is ignored: HEADERS, DATA, SETTINGS, PING")
def reserved_bit(c: Client) -> None:
    high = 1 << 31
    c.opened(1).frame(wire.HEADERS, wire.END_HEADERS, high | 1, c.block(c.fields("POST")))
    c.frame(wire.SETTINGS, 0, high).frame(wire.PING, 0, high, b"reserved")
    c.in_time(lambda: b"reserved" in c.pongs, "PING ack")
    c.frame(wire.DATA, wire.END_STREAM, high | 1, b"x").ok(1)


# ---- 4.2 Frame size ----


def too_large(c: Client) -> int:
    """One octet more than the server wants in a frame."""
    size = c.theirs.get(wire.MAX_FRAME, 16_384)
    if size > 1 << 20:
        raise Skip(f"SETTINGS_MAX_FRAME_SIZE is {size}")
    return size + 1


@case("4.2", "a HEADERS frame of 2^14 octets is read: answered, or refused as too large")
def headers_of_16k(c: Client) -> None:
    block = c.block() + b"\x00\x05x-big"
    rest = 16_384 - len(block) - 3
    length = rest - 127  # what an integer of two octets after the prefix says
    block += b"\x7f" + bytes((length & 127 | 128, length >> 7)) + b"v" * rest
    c.headers(1, block).either(1, wire.ENHANCE_YOUR_CALM, wire.REFUSED_STREAM)
    if not c.failed:
        c.alive()


@case("4.2", "CONTINUATION larger than SETTINGS_MAX_FRAME_SIZE: connection FRAME_SIZE_ERROR")
def continuation_too_large(c: Client) -> None:
    lines = [(b"x-%d" % number, b"\xff" * 100) for number in range(too_large(c) // 90)]
    c.opened(1).frame(wire.HEADERS, wire.END_STREAM, 1, c.block())
    c.frame(CONTINUATION, wire.END_HEADERS, 1, c.block(lines)).connection_error(FRAME_SIZE_ERROR)


case("4.2", "a DATA frame of 2^14 octets is accepted")(
    lambda c: c.post(1).await_credit(1, 16_384).data(1, bytes(16_384), end=True).ok(1)
)
case("4.2", "DATA larger than SETTINGS_MAX_FRAME_SIZE: FRAME_SIZE_ERROR")(
    lambda c: c.post(1).data(1, bytes(too_large(c)), end=True).stream_error(1, FRAME_SIZE_ERROR)
)
case("4.2", "HEADERS larger than SETTINGS_MAX_FRAME_SIZE: connection error FRAME_SIZE_ERROR")(
    lambda c: c.headers(1, c.block() + b"\x40" * too_large(c)).connection_error(FRAME_SIZE_ERROR)
)

# ---- 4.3 Field blocks ----

case("4.3", "a field block that cannot be decoded: connection error COMPRESSION_ERROR")(
    lambda c: c.headers(1, b"\x00\x00\x00\x00\x00\xff\xff").connection_error(COMPRESSION_ERROR)
)


def interloper(kind: str, *octets: bytes) -> None:
    case("4.3", f"{kind} inside a field block: connection error PROTOCOL_ERROR")(
        lambda c: c.opened(3).split(1, *octets).connection_error(PROTOCOL_ERROR)
    )


interloper("PRIORITY", frame(wire.PRIORITY, 0, 1, wire.priority(0)))
interloper("DATA", frame(wire.DATA, 0, 1, b"x"))
interloper("PING", frame(wire.PING, 0, 0, b"interlop"))
interloper("RST_STREAM", wire.rst_stream(1))
interloper("HEADERS of another stream", frame(wire.HEADERS, 5, 3, b"\x82\x84\x86"))
interloper("CONTINUATION of another stream", frame(CONTINUATION, 0, 3))


@case("4.3", "the block of a malformed request still changes the table")
def table_after_malformed(c: Client) -> None:
    kept = ("x-kept", "in the table")
    c.request(1, c.fields("GET", UPPER, kept)).malformed(1)
    if not c.failed:
        c.request(5, c.fields("GET", kept)).ok(5)


# ---- 4.3.1 Compression state ----


@case("4.3.1", "after our table shrinks to 0, the next block begins with a table size update")
def shrunk_table(c: Client) -> None:
    c.get()
    if not c.decoder.header_table.dynamic_entries:
        raise Skip("the server keeps no table")
    c.change({wire.HEADER_TABLE_SIZE: 0})
    c.decoder.max_allowed_table_size = 0
    c.get(3)


@case("4.3.1", "a table of 0 from the start is obeyed", settings={wire.HEADER_TABLE_SIZE: 0})
def no_table(c: Client) -> None:
    c.get(1).get(3)
    if c.decoder.header_table.dynamic_entries:
        raise Wrong("no entries in a table of size 0", f"{c.decoder.header_table!r}")
