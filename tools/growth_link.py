"""The link, what is read of replies, and the whole proxy, for tools/growth.

The one rule: a case is fed as the product feeds it, and what it keeps from one call to the next is
new each time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import growth_shapes as shapes
from growth_case import MOST, Case, KiB, every, in_pieces
from growth_shapes import EVENTS, JSON, REPLIES

from m2mproxy.link import shown
from m2mproxy.link.borrow import places
from m2mproxy.link.edge import Crossing, Edge
from m2mproxy.link.edits import edits
from m2mproxy.link.escapes import spell
from m2mproxy.link.index import chain, last_calls
from m2mproxy.link.look import Look
from m2mproxy.link.match import with_texts, without_marks
from m2mproxy.link.reply import ReplyReader, others, render, secrets
from m2mproxy.link.scope import names_in, scope
from m2mproxy.link.window import Bounds, Memory
from m2mproxy.tokens.usage import UsageReader
from m2mproxy.tokens.written import written

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from edge import ON  # type: ignore[import-not-found]
from edge import Edge as EdgeWorld
from world import World  # type: ignore[import-not-found]

REQUEST = shapes.chat(4 * KiB)
_TENANT = b"tenant"


def _edge() -> Edge:
    bounds = Bounds()
    return Edge(bounds, Memory(MOST), lambda: 0.0)


def _turn(edge: Edge, number: int, body: bytes) -> None:
    crossing = Crossing(Look(_TENANT, body))
    for _, step in edge.steps(crossing):
        step()
    edge.sent(crossing, number)
    edge.have(crossing)


def _two_turns(body: bytes) -> None:
    edge = _edge()
    _turn(edge, 1, body)
    _turn(edge, 3, body[: len(body) // 2] + b'},{"role":"user"' + body[len(body) // 2 :])


def _other_turns(body: bytes) -> None:
    """Bodies that are like one another, and go on with none."""
    edge = _edge()
    for at in range(4):
        _turn(edge, 2 * at + 1, b"%d" % at + body[at:])


def _edits(body: bytes) -> None:
    """Of one that has other bytes here and there, and of one with all of them, in another order."""
    edits(body, b"!".join(body[at : at + 500] for at in range(0, len(body), 501)))
    edits(body, body[len(body) // 2 :] + body[: len(body) // 2])


def _shown_in(reply: bytes) -> None:
    for each in (*shown.texts(reply), *shown.seals(reply)):
        _ = each
    shown.last_seals(reply)
    shown.last_ids(reply)


def link() -> Iterator[Case]:
    yield from every("scope", JSON, lambda body: scope(_TENANT, body, names_in(body)))
    yield from every("shown", JSON, _shown_in)
    yield from every("chain", {"noise": shapes.noise}, lambda body: chain(_TENANT, body))
    yield from every("last calls", JSON, last_calls)
    yield from every("marks", JSON, lambda body: (without_marks(body), with_texts(body)))
    yield from every("places", JSON, places)
    yield from every("edits", JSON, _edits)
    yield from every("spell", JSON, lambda body: spell(body, body))
    yield from every("link turns", JSON, _two_turns)
    yield from every("link surveys", JSON, _other_turns, most=256 * KiB)


def _reply(pieces: list[bytes], is_stream: bool) -> None:
    reader = ReplyReader(is_stream)
    for piece in pieces:
        reader.feed(piece)
    messages = reader.finish()
    render(messages, REQUEST)
    secrets(messages)
    others(messages)


def _use(pieces: list[bytes], is_stream: bool) -> None:
    reader = UsageReader(is_stream)
    for piece in pieces:
        reader.feed(piece)
    _ = reader.usage


def replies() -> Iterator[Case]:
    kinds = ((True, "stream", {**EVENTS, **REPLIES}), (False, "body", REPLIES))
    for is_stream, kind, some in kinds:
        reply, use = partial(_reply, is_stream=is_stream), partial(_use, is_stream=is_stream)
        for size, how in ((16 * KiB, ""), (100, " in pieces")):
            cut = partial(in_pieces, size=size)
            yield from every(f"reply {kind}{how}", some, reply, cut, 480 * KiB)
            yield from every(f"usage {kind}{how}", some, use, cut)
    yield from every("written stream", EVENTS, lambda text: written(text, True))
    yield from every("written body", REPLIES, lambda text: written(text, False))


def _exchange(body: bytes, reply: bytes, kind: bytes, http: str) -> None:
    world = World(pair=(http, http))
    ask = world.ask(body, b"/v1/chat/completions", (b"content-type", b"application/json"))
    world.call().reply(reply, (b"content-type", kind))
    world.run()
    assert ask.body == reply


def _asked(http: str, body: bytes) -> None:
    _exchange(body, b'{"choices":[]}', b"application/json", http)


def _answered(http: str, reply: bytes) -> None:
    _exchange(REQUEST, reply, b"application/json", http)


def _streamed(http: str, reply: bytes) -> None:
    _exchange(REQUEST, reply, b"text/event-stream", http)


def _linked(body: bytes, reply: bytes) -> None:
    edge = EdgeWorld(World(**ON), "2")
    kind = (b"content-type", b"application/json")
    for _ in range(2):
        ask = edge.ask(body, b"/v1/chat/completions", kind)
        edge.core.call().reply(reply, (b"content-type", b"text/event-stream"))
        edge.run()
        assert ask.body == reply


def whole() -> Iterator[Case]:
    for http in ("1.1", "2"):
        yield from every(f"proxy request {http}", JSON, partial(_asked, http))
        yield from every(f"proxy reply {http}", REPLIES, partial(_answered, http))
        yield from every(f"proxy stream {http}", EVENTS, partial(_streamed, http))
    linked = partial(_linked, reply=b"data: [DONE]\n\n")
    yield from every("linked request", JSON, linked, most=256 * KiB)
    yield from every("linked stream", EVENTS, partial(_linked, REQUEST), most=256 * KiB)
