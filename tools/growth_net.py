"""What peers can send over HTTP/1 and HTTP/2, for tools/growth.

The one rule: a case is fed as the product feeds it, and what it keeps from one call to the next is
new each time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import growth_shapes as shapes
from growth_case import MOST, Case, KiB, every, in_pieces
from growth_shapes import TEXTS, Shape, repeated

from m2mproxy.config import Limits
from m2mproxy.http.headers import Headers
from m2mproxy.net.fields import read_request
from m2mproxy.net.h1_chunked import ChunkedReader
from m2mproxy.net.h1_head import request_head, response_head
from m2mproxy.net.h1_message import read_request as read_h1
from m2mproxy.net.h1_reader import MessageReader
from m2mproxy.net.h2_budget import FrameBudget
from m2mproxy.net.h2_frames import FrameReader
from m2mproxy.net.h2_hpack import FieldDecoder, FieldEncoder

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from frames import (  # type: ignore[import-not-found]
    POST,
    PREFACE,
    FrameClient,
    ping,
    raw,
    settings,
    window,
)
from world import World  # type: ignore[import-not-found]

_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: proxy"


def _head(field: Shape) -> Shape:
    return lambda size: _HEAD + field(size)


def _values(shape: Shape) -> Shape:
    return lambda size: b"\r\nx: " + shape(size).translate(None, b"\r\n")


_FIELDS: dict[str, Shape] = {
    **{f"value of {name}": _values(shape) for name, shape in TEXTS.items()},
    "many fields": repeated(b"\r\nx: y"),
    "other fields": lambda size: b"".join(b"\r\nx%d: y" % at for at in range(size // 10)),
    "empty values": repeated(b"\r\nx:"),
    "no colons": repeated(b"\r\nx"),
    "folded lines": repeated(b"\r\n x: y"),
    "spaces before colons": repeated(b"\r\nx : y"),
    "lone spaces": lambda size: b"\r\n" + b"a " * (size // 2),
    "connections": repeated(b"\r\nconnection: x"),
    "options": lambda size: b"\r\nconnection: " + repeated(b"a,")(size),
    "codings": lambda size: b"\r\naccept-encoding: " + repeated(b"gzip;q=0.5,")(size),
    "upgrades": repeated(b"\r\nte: a"),
}
_HEADS: dict[str, Shape] = {
    **{name: _head(shape) for name, shape in _FIELDS.items()},
    "long target": lambda size: b"GET /" + b"a" * size + b" HTTP/1.1\r\nhost: a",
    "long method": lambda size: b"A" * size + b" / HTTP/1.1\r\nhost: a",
    "long host": lambda size: b"GET / HTTP/1.1\r\nhost: " + b"a" * size,
}
_CHUNKS: dict[str, Shape] = {
    "tiny": repeated(b"1\r\na\r\n"),
    "extensions": repeated(b"1;" + b"a" * 200 + b"\r\na\r\n"),
    "quoted": repeated(b'1;a="\\";"\r\na\r\n'),
    "large": repeated(b"400\r\n" + b"a" * 1024 + b"\r\n"),
    "zeros": lambda size: b"0" * size,
    "trailers": lambda size: b"0\r\n" + repeated(b"x: y\r\n")(size) + b"\r\n",
    "open trailers": lambda size: b"0\r\n" + b"x: " + b"a" * size,
}


class _Reader(MessageReader):
    """Reads requests and answers none."""

    __slots__ = ()

    def on_head(self, raw: bytes) -> None:
        self.expect_head()

    def on_payload(self, chunk: Any, is_last: bool = False) -> None:
        pass

    def on_end(self, trailers: Headers | None) -> None:
        self.expect_head()

    def on_ahead(self, held: int) -> None:
        pass


def _read_in_pieces(pieces: list[bytes]) -> None:
    reader = _Reader(Limits())
    for piece in pieces:
        reader.feed(piece)


def _drop(_: Any) -> None:
    pass


def _read_chunks(pieces: list[bytes]) -> None:
    reader = ChunkedReader(64 * KiB, 10_000)
    for piece in pieces:
        reader.feed(piece, _drop)


def http1() -> Iterator[Case]:
    yield from every("h1 request head", _HEADS, lambda head: read_h1(request_head(head, 100_000)))
    yield from every(
        "h1 response head",
        _FIELDS,
        lambda head: response_head(head, 100_000),
        lambda fields: b"HTTP/1.1 200 OK" + fields,
    )
    pieces = partial(in_pieces, size=1400)
    yield from every("h1 head in segments", _HEADS, _read_in_pieces, pieces, 64 * KiB)
    long = {"long target": _HEADS["long target"], "many fields": _HEADS["many fields"]}
    by_byte = partial(in_pieces, size=1)
    yield from every("h1 head by byte", long, _read_in_pieces, by_byte, 64 * KiB)
    pipelined = {"pipelined": repeated(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")}
    yield from every("h1 heads", pipelined, _read_in_pieces, lambda text: [text], 256 * KiB)
    yield from every("h1 chunks", _CHUNKS, _read_chunks, lambda text: [text])
    yield from every("h1 chunks in segments", _CHUNKS, _read_chunks, pieces)
    yield from every("h1 chunks by byte", _CHUNKS, _read_chunks, by_byte, 64 * KiB)


# -- HTTP/2 -------------------------------------------------------------------------------------

_START = settings()
_SENT: dict[str, Shape] = {
    "tiny DATA": repeated(raw(0, 0, 1, b"a")),
    "empty DATA": repeated(raw(0, 0, 1)),
    "padded DATA": repeated(raw(0, 8, 1, b"\x01a\0")),
    "DATA": repeated(raw(0, 0, 1, b"a" * 1024)),
    "SETTINGS": repeated(settings(INITIAL_WINDOW_SIZE=9)),
    "many settings": repeated(raw(4, 0, 0, b"\x00\x04\0\0\0\x09" * 1000)),
    "PING": repeated(ping()),
    "WINDOW_UPDATE": repeated(window(0, 1)),
    "PRIORITY": repeated(raw(2, 0, 1, b"\0\0\0\0\0")),
    "unknown": repeated(raw(99, 0, 0, b"")),
    "RST_STREAM": repeated(raw(3, 0, 1, b"\0\0\0\x08")),
    "CONTINUATION": lambda size: raw(1, 0, 1) + repeated(raw(9, 0, 1, b"a"))(size),
    "empty CONTINUATION": lambda size: raw(1, 0, 1) + repeated(raw(9, 0, 1))(size),
}


def _read_frames(pieces: list[bytes]) -> None:
    reader = FrameReader(FrameBudget(lambda: 0.0, MOST, 1), MOST, in_pieces=True)
    for _ in reader.feed(_START):
        pass
    for piece in pieces:
        for _ in reader.feed(piece):
            pass


def _serve_frames(sent: bytes) -> None:
    client = FrameClient(World(), PREFACE + _START)
    block = client.encoder.encode([*POST, (b"content-type", b"application/json")])
    client.say(raw(1, 4, 1, block), sent)


def _fields_of(text: bytes) -> list[tuple[bytes, bytes]]:
    return [*POST, (b"x", text)]


def _copies(field: tuple[bytes, bytes], text: bytes) -> list[tuple[bytes, bytes]]:
    return [*POST, *[field] * (len(text) // 8)]


def _read_fields(fields: list[tuple[bytes, bytes]]) -> None:
    read_request(fields, False)


def _decode_block(block: bytes) -> None:
    decoder = FieldDecoder()
    decoder.max_header_list_size = 4 << 20  # more than is ever allowed, so that all is read
    decoder.decode(block)


_BLOCKS: dict[str, Shape] = {
    "indexed": repeated(b"\x82"),
    "literals": repeated(b"\x40\x01a\x01b"),
    "plain literals": repeated(b"\x00\x01a\x01b"),
    "huffman": repeated(b"\x40\x81\x1f\x81\x1f"),
    "table sizes": repeated(b"\x20\x3f\xe1\x1f"),
    "table churn": lambda size: b"".join(
        b"\x40\x04%04d\x04%04d" % (at % 10_000, at % 10_000) for at in range(size // 11)
    ),
    "used again": lambda size: b"\x40\x01a\x01b" + b"\xbe" * size,
    "noise": shapes.noise,
}


def _sections(text: bytes) -> list[list[tuple[bytes, bytes]]]:
    """Heads one after the other, of which each has other fields."""
    each = [(b"n%d" % at, b"v%d" % at) for at in range(len(text) // 12)]
    return [each[at : at + 20] for at in range(0, len(each), 20)]


def _encode_sections(sections: list[list[tuple[bytes, bytes]]]) -> None:
    encoder = FieldEncoder()
    for section in sections:
        encoder.encode(section)


def http2() -> Iterator[Case]:
    yield from every("h2 frames", _SENT, _read_frames, lambda text: [text])
    yield from every("h2 frames in segments", _SENT, _read_frames, partial(in_pieces, size=1400))
    yield from every("h2 connection", _SENT, _serve_frames, most=256 * KiB)
    yield from every("hpack decode", _BLOCKS, _decode_block, most=64 * KiB)
    text = dict(TEXTS)
    yield from every("hpack encode", text, lambda one: FieldEncoder().encode(one), _fields_of)
    yield from every(
        "hpack decode value",
        text,
        _decode_block,
        lambda one: FieldEncoder().encode(_fields_of(one)),
    )
    yield Case("hpack encode: many heads", repeated(b"a"), _encode_sections, _sections)
    yield from every("h2 fields", text, _read_fields, _fields_of)
    many = {"cookies": (b"cookie", b"a"), "te": (b"te", b"trailers"), "other": (b"x", b"y")}
    for name, field in many.items():
        copies = partial(_copies, field)
        yield Case(f"h2 fields: many of {name}", repeated(b"a"), _read_fields, copies, 64 * KiB)
