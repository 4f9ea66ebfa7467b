"""The reader of chunked bodies against h11: what ours accepts, h11 accepts and reads the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from link import SPLITS, randomly
from mutation import TRAPS, fuzzed, mutated

from m2mproxy.http.headers import Field
from m2mproxy.http.validate import Malformed
from m2mproxy.net.h1_chunked import ChunkedReader

MAX_TRAILERS = 4096
MAX_FIELDS = 16
HEAD = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"

EXTENSIONS = [b"", b"", b"", b";a=1", b";", b' ; a="b;c"', b" ", b"\t", b";\xff", b";" + b"e" * 250]
TRAILERS = [b"X-Sum: 1", b"x-sum: 2", b"etag: \xff", b"Content-Length: 1", b"Host: h", b"x", b" f"]
TRAILERS += [b"Transfer-Encoding: chunked", b"Trailer: x", b"x : 1", b"x:", b":", b"x: a\x01"]
PIECES = [*TRAPS, b"0\r\n\r\n", b"5\r\n", b"\r\n0\r\n", b"f", b"F", b"0x5", b"-1", b"0" * 25, b"g"]


class Read(NamedTuple):
    """What a reader makes of a body that is complete."""

    payload: bytes
    trailers: list[Field]
    rest: bytes


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Chunked bodies, most of them right, and what may follow them."""
    out = b""
    for data in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=4)):
        size = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"00000%x"])) % len(data)
        out += size + draw(st.sampled_from(EXTENSIONS)) + b"\r\n" + data + b"\r\n"
    out += draw(st.sampled_from([b"0", b"000", b"0" * 15, b"0;last"])) + b"\r\n"
    for line in draw(st.lists(st.sampled_from(TRAILERS[:3]), max_size=2)):
        out += line + b"\r\n"
    if draw(st.booleans()):
        out += draw(st.sampled_from(TRAILERS)) + b"\r\n"
    return out + b"\r\n" + draw(st.sampled_from([b"", b"", b"GET / HTTP/1.1\r\n", b"0\r\n\r\n"]))


def by_us(pieces: Iterable[bytes]) -> Read | None:
    """None when the body is refused or not complete. Nothing but Malformed is ever raised."""
    reader = ChunkedReader(MAX_TRAILERS, MAX_FIELDS)
    payload = bytearray()
    rest = b""
    try:
        for piece in pieces:
            rest += piece if reader.done else reader.feed(piece, payload.extend)
    except Malformed:
        return None
    if not reader.done:
        assert not rest
        return None
    return Read(bytes(payload), list(reader.trailers or ()), rest)


def by_h11(body: bytes) -> Read:
    """Raises when h11 refuses the body or finds no end."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    reader.receive_data(HEAD + body)
    payload = bytearray()
    while not isinstance(event := reader.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Request | h11.Data), event
        if isinstance(event, h11.Data):
            payload += event.data
    return Read(bytes(payload), list(event.headers), reader.trailing_data[0])


def check(body: bytes, seed: int) -> None:
    splits = [SPLITS["whole"], SPLITS["bytewise"], randomly(seed)]
    reads = [by_us(split(body)) for split in splits]
    assert reads[0] == reads[1] == reads[2]
    if reads[0] is not None:
        assert reads[0] == by_h11(body)


@fuzzed
@given(bodies(), st.integers(0, 1000))
def test_bodies_are_read_as_h11_reads_them(body: bytes, seed: int) -> None:
    check(body, seed)


@fuzzed
@given(mutated(bodies(), PIECES), st.integers(0, 1000))
def test_mutated_bodies_are_read_as_h11_reads_them(body: bytes, seed: int) -> None:
    check(body, seed)


@fuzzed
@given(st.binary(), st.integers(0, 1000))
def test_any_bytes_are_read_as_h11_reads_them(body: bytes, seed: int) -> None:
    check(body, seed)
    check(b"0\r\n" + body + b"\r\n\r\n", seed)
    check(b"3" + body + b"\r\nabc\r\n0\r\n\r\n", seed)


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_in_every_place_is_read_as_h11_reads_it(byte: int) -> None:
    one = bytes((byte,))
    for body in (
        b"%b3\r\nabc\r\n0\r\n\r\n",
        b"3%b\r\nabc\r\n0\r\n\r\n",
        b"3;x%b\r\nabc\r\n0\r\n\r\n",
        b"3\r%b\nabc\r\n0\r\n\r\n",
        b"3\r\nabc%b\r\n0\r\n\r\n",
        b"3\r\nabc\r%b\n0\r\n\r\n",
        b"3\r\nabc\r\n0%b\r\n\r\n",
        b"3\r\nabc\r\n0\r\n%b\r\n",
        b"3\r\nabc\r\n0\r\nx%b: 1\r\n\r\n",
        b"3\r\nabc\r\n0\r\nx: 1%b\r\n\r\n",
    ):
        check(body % one, byte)


@pytest.mark.parametrize("excess", [-1, 0, 1, 2])
def test_limits_do_not_depend_on_the_pieces(excess: int) -> None:
    check(b"3;" + b"e" * (252 + excess) + b"\r\nabc\r\n0\r\n\r\n", 1)
    check(b"0\r\nx: " + b"v" * (MAX_TRAILERS - 3 + excess) + b"\r\n\r\n", 1)


def test_ordinary_bodies_are_accepted() -> None:
    """Or the tests above would prove little."""
    body = b"3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET "
    read = Read(b"abc0123456789", [(b"x-sum", b"1")], b"GET ")
    assert by_us([body]) == by_us(SPLITS["bytewise"](body)) == by_h11(body) == read
