"""A link on which everything goes wrong: resets, lost connections, evictions at either end, answers
cut short, in any order. What the application and the model get is right, or an error they can see.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from edge import JSON, SSE, Edge
from test_link import KEY, two, words

from m2mproxy.link.core import Core
from m2mproxy.link.edge import Edge as LinkEdge

SMALL = {"link_credential_memory": "64KiB", "link_connection_memory": "1MiB"}


class Talk:
    """A conversation, as an application has it."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)
        self.history: list[dict[str, Any]] = [{"role": "system", "content": words(60, seed % 3)}]

    def body(self) -> bytes:
        more = {"role": "user", "content": words(self.source.randrange(1, 40), self.seed)}
        self.asked = [*self.history, more]
        return json.dumps({"model": "m", "messages": self.asked}).encode()

    @property
    def seed(self) -> int:
        return self.source.getrandbits(30)

    def message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": words(self.source.randrange(1, 60), self.seed)}

    def answered(self, message: dict[str, Any]) -> None:
        self.history = [*self.asked, message]
        if self.source.random() < 0.1:  # compacted
            self.history = [self.history[0], *self.history[-2:]]


class Trouble:
    """Steps that a seed chooses."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)
        self.edge: Edge = two(**SMALL)
        self.talks = [Talk(seed + number) for number in range(3)]
        self.right = 0

    def windows(self) -> list[Any]:
        found = [each.kept for each in self.edge.upstream_links._met]
        for connection in self.edge.core.proxy._connections:
            session = getattr(connection, "session", None)
            found.append(session.kept if session is not None else None)
        return [each._window for each in found if isinstance(each, Core | LinkEdge)]

    def step(self) -> None:
        source = self.source
        for window in self.windows():
            if source.random() < 0.15:
                window.drop_oldest()
        if source.random() < 0.1:
            self.lose()
        talk = source.choice(self.talks)
        body, message = talk.body(), talk.message()
        ask = self.edge.ask(body, b"/v1/chat/completions", JSON, KEY)
        if source.random() < 0.1:  # in the midst of a request, of a resend
            self.lose()
        if ask.complete or ask.broken:  # it was too late to send it again
            assert ask.status in (0, 502)
            ask.abort()
            return
        call = self.edge.core.calls[-1]
        assert call.body == body
        streamed = source.random() < 0.5
        pieces, head = (events(message), SSE) if streamed else ([reply(message)], JSON)
        call.respond(200, head)
        cut = source.randrange(len(pieces)) if source.random() < 0.2 else None
        for number, piece in enumerate(pieces):
            if number == cut:
                source.choice([call.abort, ask.abort, self.lose])()
                self.edge.run()
                break
            call.send(piece)
            self.edge.run()
        else:
            call.end()
            self.edge.run()
            assert (ask.status, ask.body, ask.complete) == (200, b"".join(pieces), True)
            talk.answered(message)
            self.right += 1
            return
        assert not ask.complete or ask.status >= 500
        ask.abort()
        self.edge.run()

    def lose(self) -> None:
        for wire in self.edge.wires:
            wire.die()
        self.edge.run()


def reply(message: dict[str, Any]) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": message}]}).encode()


def events(message: dict[str, Any]) -> list[bytes]:
    deltas = [{"content": word} for word in message["content"].split()]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_bodies_are_right_or_visibly_none(seed: int) -> None:
    trouble = Trouble(seed)
    for _ in range(40):
        trouble.step()
        for window in trouble.windows():
            assert window.size <= 1 << 20
    assert trouble.right > 10
    trouble.lose()
    trouble.edge.run()
    assert trouble.edge.links.report()["memory"] == 0
    assert trouble.edge.core.links.report()["memory"] == 0
    assert trouble.edge.at_rest and trouble.edge.core.at_rest
