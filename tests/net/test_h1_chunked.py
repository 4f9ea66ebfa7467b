"""The chunked coding, read and written. Whether h11 agrees is tests/fuzz's business."""

from __future__ import annotations

import pytest
from link import Split, bytewise

from m2mproxy.http.body import Chunk
from m2mproxy.http.headers import Headers
from m2mproxy.http.validate import MOST_ADDED_BYTES, Malformed
from m2mproxy.net.h1_chunked import LAST_CHUNK, ChunkedReader, cut, frame, last_chunk

LIMIT = 100
ALL = LIMIT + MOST_ADDED_BYTES
FIELDS = 4


class Reading:
    """A reader, and what it delivered."""

    def __init__(self) -> None:
        self.reader = ChunkedReader(LIMIT, FIELDS)
        self.pieces: list[Chunk] = []
        self.rest = b""

    def feed(self, data: bytes, split: Split | None = None) -> Reading:
        for piece in split(data) if split else (data,):
            if self.reader.done:
                self.rest += piece
            else:
                self.rest += self.reader.feed(piece, self.pieces.append)
        return self

    @property
    def payload(self) -> bytes:
        return b"".join(self.pieces)


# -- what is read -------------------------------------------------------------------------------


def test_payload_is_what_is_between_the_size_lines(split: Split) -> None:
    reading = Reading().feed(b"3\r\nabc\r\n0a\r\n0123456789\r\n0\r\n\r\n", split)
    assert reading.reader.done
    assert reading.payload == b"abc0123456789"
    assert reading.reader.trailers is None
    assert reading.rest == b""


def test_payload_is_delivered_as_it_comes_not_chunk_by_chunk() -> None:
    reading = Reading().feed(b"a\r\n012")
    assert reading.pieces == [b"012"]
    reading.feed(b"3456")
    assert reading.pieces == [b"012", b"3456"]
    reading.feed(b"789\r\n2\r\nab")
    assert reading.pieces == [b"012", b"3456", b"789", b"ab"]
    assert not reading.reader.done


def test_a_piece_that_is_all_payload_is_the_object_that_came() -> None:
    reading = Reading().feed(b"%x\r\n" % 5000)
    piece = b"x" * 5000
    reading.feed(piece)
    assert reading.pieces[0] is piece


def test_what_follows_the_end_is_given_back(split: Split) -> None:
    reading = Reading().feed(b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", split)
    assert reading.reader.done
    assert reading.rest == b"GET / HTTP/1.1\r\n\r\n"


def test_what_follows_the_trailers_is_given_back(split: Split) -> None:
    reading = Reading().feed(b"0\r\nx: 1\r\n\r\n0\r\n\r\n", split)
    assert reading.rest == b"0\r\n\r\n"


def test_extensions_are_read_and_dropped(split: Split) -> None:
    reading = Reading().feed(b'3;a=1;b="\xff"\r\nabc\r\n0;last\r\n\r\n', split)
    assert reading.reader.done
    assert reading.payload == b"abc"


@pytest.mark.parametrize("size", [b"A", b"a", b"00A", b"0" * 14 + b"a"])
def test_sizes_are_hexadecimal(size: bytes, split: Split) -> None:
    reading = Reading().feed(size + b"\r\n0123456789\r\n0\r\n\r\n", split)
    assert reading.payload == b"0123456789"


def test_trailers_are_fields_in_order_with_duplicates(split: Split) -> None:
    reading = Reading().feed(b"0\r\nX-B: 1\r\nx-a:\t2 \r\nX-B:3\r\n\r\n", split)
    assert reading.reader.trailers == [(b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3")]


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b" 3\r\n",
        b"3 \r\n",
        b"3\t\r\n",
        b"3 ;x\r\n",
        b"+3\r\n",
        b"-3\r\n",
        b"0x3\r\n",
        b"3_0\r\n",
        b"g\r\n",
        b"3\n",
        b"3\rx",
        b"3;a\nb\r\n",
        b"3;a\rb\r\n",
        b"3;a\x00\r\n",
        b"3;\x7f\r\n",
        b"3,3\r\n",
        b"\xc2\xb3\r\n",
        b"f" * 16,
        b"0" * 16,
        b"3;" + b"e" * 300,
        b"3\r\nabcd",
        b"3\r\nabc\n",
        b"3\r\nabc\rx",
        b"3\r\nabc0\r\n\r\n",
        b"0\r\n\n\r\n\r\n",
        b"0\r\nx: 1\n\r\n\r\n",
        b"0\r\n x: 1\r\n\r\n",
        b"0\r\nx: 1\r\n y\r\n\r\n",
        b"0\r\nx : 1\r\n\r\n",
        b"0\r\nx\r\n\r\n",
        b"0\r\n: 1\r\n\r\n",
        b"0\r\nx: a\x00b\r\n\r\n",
    ],
)
def test_what_is_not_of_the_grammar_is_refused(body: bytes, split: Split) -> None:
    with pytest.raises(Malformed) as caught:
        Reading().feed(body, split)
    assert caught.value.status == 400


@pytest.mark.parametrize("name", [b"Content-Length", b"transfer-encoding", b"Host", b"trailer"])
def test_trailers_cannot_change_what_the_message_is(name: bytes, split: Split) -> None:
    with pytest.raises(Malformed):
        Reading().feed(b"0\r\nx: 1\r\n%b: 5\r\n\r\n" % name, split)


def test_trailers_may_be_as_large_as_the_limit(split: Split) -> None:
    reading = Reading().feed(b"0\r\nx: " + b"v" * (LIMIT - 1) + b"\r\n\r\n", split)
    assert reading.reader.done


def test_large_trailers_may_come_byte_by_byte() -> None:
    reader = ChunkedReader(1 << 20, 100_000)
    trailers = b"x: y\r\n" * (128 << 10 >> 3)
    for byte in bytewise(b"0\r\n" + trailers + b"\r\n"):
        assert not reader.done
        reader.feed(byte, bool)
    assert reader.done
    assert reader.trailers == [(b"x", b"y")] * (128 << 10 >> 3)


@pytest.mark.parametrize(
    ("size", "end"),
    [(LIMIT, b"\r\n\r\n"), (ALL, b"\r\n\r\n"), (ALL + 1, b"")],
)
def test_larger_trailers_are_refused(size: int, end: bytes, split: Split) -> None:
    with pytest.raises(Malformed) as caught:
        Reading().feed(b"0\r\nx: " + b"v" * size + end, split)
    assert caught.value.status == 431


def test_more_trailers_than_the_limit_are_refused(split: Split) -> None:
    assert Reading().feed(b"0\r\n" + b"x: 1\r\n" * FIELDS + b"\r\n", split).reader.done
    with pytest.raises(Malformed) as caught:
        Reading().feed(b"0\r\n" + b"x: 1\r\n" * (FIELDS + 1) + b"\r\n", split)
    assert caught.value.status == 431


def test_payload_before_a_broken_chunk_has_been_delivered() -> None:
    reading = Reading()
    with pytest.raises(Malformed):
        reading.feed(b"3\r\nabc\r\nzz\r\n")
    assert reading.payload == b"abc"


# -- what is written ----------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"x", b"x" * 10, b"x" * 300])
def test_what_is_framed_is_read_again(payload: bytes) -> None:
    framed = frame(payload)
    assert framed[1] is payload
    assert Reading().feed(b"".join(framed) + LAST_CHUNK).payload == payload


def test_the_last_chunk_carries_the_trailers() -> None:
    assert last_chunk(None) == last_chunk(Headers()) == b"0\r\n\r\n"
    trailers = Headers([(b"x-sum", b"1"), (b"x-t", b"")])
    assert last_chunk(trailers) == b"0\r\nx-sum: 1\r\nx-t: \r\n\r\n"
    assert Reading().feed(last_chunk(trailers)).reader.trailers == trailers


@pytest.mark.parametrize(
    ("start", "end", "kind"), [(0, 10_000, bytes), (1, 9_999, memoryview), (5, 2053, bytes)]
)
def test_small_cuts_are_copies_and_large_ones_views(start: int, end: int, kind: type) -> None:
    data = bytes(range(250)) * 40
    piece = cut(data, start, end)
    assert piece == data[start:end]
    assert type(piece) is kind


def test_a_cut_of_everything_is_the_thing_itself() -> None:
    data = b"x" * 5000
    assert cut(data, 0, 5000) is data
