"""Tokens, names of models, fields of headers and the scanner, for tools/growth.

The one rule: a case is fed as the product feeds it, and what it keeps from one call to the next is
new each time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import orjson
from growth_case import Case, KiB, every, in_pieces
from growth_codec import o200k_loaded
from growth_shapes import JSON, TEXTS, repeated

from m2mproxy.config import prices, printable
from m2mproxy.http.headers import Headers, nominated
from m2mproxy.http.negotiation import weights
from m2mproxy.http.validate import has_dot_segment
from m2mproxy.proxy.codings import applied
from m2mproxy.proxy.model import ModelFinder, model_in, model_of
from m2mproxy.tokens import body as token_bodies
from m2mproxy.tokens.count import Counter
from m2mproxy.tokens.estimate import features_of
from m2mproxy.tokens.models import row_of
from m2mproxy.tokens.pieces import count, windows

# Bytes of texts that are scored at a time.
_STEP = 32 * KiB


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _count(data: bytes) -> None:
    with contextlib.suppress(orjson.JSONDecodeError):
        Counter({}).request(orjson.loads(data), "gpt-4o")


def tokens() -> Iterator[Case]:
    yield from every("estimate", TEXTS, features_of, _text)
    yield from every("windows", TEXTS, lambda text: list(windows(text)), _text)
    yield from every("count o200k", TEXTS, partial(count, o200k_loaded()), _text, 64 * KiB)
    yield from every("count request", JSON, _count)
    yield from every("read prompt", JSON, lambda data: token_bodies.read(data))


def _find_model(pieces: list[bytes]) -> None:
    finder = ModelFinder()
    for piece in pieces:
        finder.feed(piece)


def small() -> Iterator[Case]:
    yield from every("model finder", JSON, _find_model, lambda text: [text])
    yield from every("model finder in pieces", JSON, _find_model, partial(in_pieces, size=50))
    yield from every("model of", JSON, model_of)
    target = {**TEXTS, "slashes": repeated(b"/"), "models": repeated(b"/models/"),
              "colons": repeated(b"/models/a:")}  # fmt: skip
    yield from every("model in target", target, model_in, most=64 * KiB)
    yield from every("dot segments", target, has_dot_segment, most=64 * KiB)
    yield from every("model row", TEXTS, row_of, _text, 64 * KiB)
    row = prices.Price("*a*b*c*-*d", 1, 1, 1, 1, 1)
    table = prices.Prices("USD", (row,) * 20)
    yield from every("prices", TEXTS, table.of, _text, 64 * KiB)
    yield from every("fnmatch", TEXTS, lambda text: fnmatchcase(text, row.pattern), _text)
    codings = {**TEXTS, "codings": repeated(b"gzip;q=0.5,"), "weights": repeated(b";q=1")}
    yield from every("accept-encoding", codings, lambda value: weights([value]), most=64 * KiB)
    yield from every("content-encoding", codings, lambda value: applied(
        Headers([(b"content-encoding", value)])
    ), most=64 * KiB)  # fmt: skip
    yield from every("connection options", codings, lambda value: nominated(value.split(b",")))
    yield from every("printable", TEXTS, printable, _text)


def guard() -> Iterator[Case]:
    from m2mproxy.guard import characters
    from m2mproxy.guard.decoding import READINGS
    from m2mproxy.guard.document import Malformed as NoDocument
    from m2mproxy.guard.document import parse
    from m2mproxy.guard.finding import Finding
    from m2mproxy.guard.scanner import Scanner
    from m2mproxy.guard.windows import windows as guard_windows

    def document(body: bytes) -> None:
        with contextlib.suppress(NoDocument):
            parse(body)

    class Nothing:
        """A scorer that finds nothing, and has no work."""

        work = 0

        def look(self, texts: Any) -> Nothing:
            return self

        def score(self, texts: Any = ()) -> list[tuple[Finding, ...]]:
            return [()] * len(texts)

    yield from every("guard document", JSON, document)
    yield from every("guard characters", TEXTS, lambda text: list(characters.check(text)), _text)
    yield from every("guard windows", TEXTS, lambda text: list(guard_windows(text)), _text)
    for name, reading in READINGS.items():
        yield from every(f"guard reads {name}", TEXTS, reading, _text)
    yield from every("guard walk", JSON, lambda body: Scanner(Nothing()).read(body))


def scorer() -> Iterator[Case]:
    """All that the scanner does with a body, which takes seconds to load."""
    from m2mproxy.cli.guard import build
    from m2mproxy.config import Security
    from m2mproxy.guard.scanner import Scanner

    scores = build(Security())._scorer

    def scan(body: bytes) -> None:
        reading = Scanner(scores).read(body)
        while reading.advance(_STEP) is None:
            pass

    yield from every("guard", JSON, scan, most=64 * KiB)
