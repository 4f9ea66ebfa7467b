"""Event streams and the forms of bodies, for tools/growth.

The one rule: a case is fed as the product feeds it, and what it keeps from one call to the next is
new each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import growth_shapes as shapes
from growth_case import MOST, Case, KiB, every, in_pieces
from growth_shapes import EVENTS, JSON, TEXTS, Shape, repeated

from m2mproxy.codec import abbreviated, after, coding, frame, legacy, static, token_native
from m2mproxy.codec.base import ABBREVIATED_PREFIX
from m2mproxy.codec.events import EventsDecoder, EventsEncoder
from m2mproxy.codec.routing import describe
from m2mproxy.codec.template import TemplateDecoder, TemplateEncoder, events_of
from m2mproxy.proxy.sse import Boundary
from m2mproxy.tokens.vocabulary import load

_REQUEST = shapes.chat(4 * KiB)


def _code(pieces: list[bytes], kept: list[bytes] | None = None, linked: bool = True) -> None:
    encoder = EventsEncoder(before=after.Before.of(_REQUEST) if linked else None)
    made = kept if kept is not None else []
    for piece in pieces:
        made += encoder.feed(piece)
        made += encoder.flush()
    made += encoder.finish()


def _coded(text: bytes, linked: bool = True) -> list[bytes]:
    made: list[bytes] = []
    _code(in_pieces(text, 16 * KiB), made, linked)
    return made


def _decode(pieces: list[bytes], linked: bool = True) -> None:
    decoder = EventsDecoder(MOST, before=after.Before.of(_REQUEST) if linked else None)
    for piece in pieces:
        decoder.feed(piece)


def _pass_boundary(pieces: list[bytes]) -> None:
    boundary = Boundary()
    for piece in pieces:
        boundary.feed(piece)
        _ = boundary.between_events
    _ = boundary.has_told


_RECORDS: dict[str, Shape] = {
    "empty": repeated(b"\x1e\0"),
    "kept": repeated(b"\x1f\x01\n"),
    "the same": lambda size: b"\x1f\x01\n" + b"\0" * size,
    "the same of pieces": lambda size: b"\x1f\x7e" + b'"' * 125 + b"\n" + b"\0" * size,
    "other pieces": repeated(b'\x1f\x03"""\x10\x01\0"'),
    "escapes": lambda size: b'\x1f\x01"\x10\x01\0' + b'\\"' * size,
    "noise": shapes.noise,
}


def streams() -> Iterator[Case]:
    for linked in (False, True):
        name = "link events" if linked else "events"
        code, decode = partial(_code, linked=linked), partial(_decode, linked=linked)
        large, coded = partial(in_pieces, size=16 * KiB), partial(_coded, linked=linked)
        yield from every(f"{name} encode", EVENTS, code, large)
        yield from every(f"{name} decode", EVENTS, decode, coded)
    yield from every("events encode one by one", EVENTS, _code, events_of)
    yield from every("template encode", EVENTS, lambda text: TemplateEncoder().encode(text))
    yield from every(
        "template decode", _RECORDS, lambda text: TemplateDecoder().decode(text, MOST)
    )
    yield from every("boundary", EVENTS, _pass_boundary, partial(in_pieces, size=1400))
    yield from every("boundary by byte", EVENTS, _pass_boundary, partial(in_pieces, size=1))


@cache
def o200k_loaded() -> Any:
    return load("o200k")


def _ids(text: bytes) -> bytes:
    return token_native.encode(text.decode("utf-8", "replace").encode(), o200k_loaded(), "O")


def _whole_of(coded: str, text: bytes) -> bytes:
    return coding.encode(coded.encode(), text)


def _unpack(coded: str, text: bytes) -> None:
    coding.decode(coded.encode(), text, MOST)


def _stream(coded: str, text: bytes) -> None:
    encoder = coding.encoder(coded.encode())
    for piece in in_pieces(text, 64):
        encoder.feed(piece)
        encoder.flush()
    encoder.finish()


def _renamed(text: bytes) -> bytes:
    return ABBREVIATED_PREFIX + text


def forms() -> Iterator[Case]:
    yield from every("frame encode", JSON, frame.encode)
    yield from every("frame decode", JSON, frame.decode, frame.encode)
    yield from every("frame head", JSON, describe)
    yield from every("abbreviated encode", JSON, abbreviated.encode)
    yield from every("abbreviated decode", JSON, abbreviated.decode, _renamed)
    yield from every("legacy decode", TEXTS, legacy.decode, lambda text: legacy.encode(
        text.decode("utf-8", "replace").encode()
    ))  # fmt: skip
    o200k = {"O": o200k_loaded()}
    yield from every("token-native encode", TEXTS, _ids, most=64 * KiB)
    yield from every(
        "token-native decode", TEXTS, lambda ids: token_native.decode(ids, o200k), _ids
    )
    static_encode = partial(static.encode, way=static.Way.REQUEST)
    yield from every("static encode", TEXTS, static_encode)
    yield from every("static decode", TEXTS, lambda coded: static.decode(
        coded, static.Way.REQUEST, MOST
    ), static_encode)  # fmt: skip
    for name in ("zstd", "br", "gzip", "deflate"):
        yield from every(
            f"{name} decode", TEXTS, partial(_unpack, name), partial(_whole_of, name)
        )
        few = {key: TEXTS[key] for key in ("a", "words", "noise")}
        yield from every(f"{name} events", few, partial(_stream, name), most=64 * KiB)
