"""A request on its way over a link: its body is held, and coded for the connection that it gets.

What a body can be coded after is what that connection remembers, and which connection that is, is
known only when the request has its stream. So the body is coded then, and again for another
connection.

The one rule: whatever becomes of the link, the upstream gets the client's bytes, in the same
exchange: a body that was missed goes again, coded after nothing, and one that was refused plain.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from m2mproxy.codec.after import Before
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.link.edge import Crossing, Edge
from m2mproxy.link.look import Look
from m2mproxy.link.reply import others, render, secrets
from m2mproxy.link.window import Entry
from m2mproxy.net.connection import Stream
from m2mproxy.proxy import codings
from m2mproxy.proxy.held import MOST_HELD
from m2mproxy.proxy.links import CODING, FIELD, HAVE, HEARS, MISS, UpstreamLinks
from m2mproxy.proxy.upload import Sender, Upload

# Bodies that are worth a reference. What a conversation does not come with is none.
_LEAST = 64
_PATHS = (
    b"/completions",  # of chats, too
    b"/responses",
    b"/messages",
    b":generateContent",  # https://ai.google.dev/api/generate-content
    b":streamGenerateContent",
    b":rawPredict",  # what other vendors' models take, at Google Vertex
    b":streamRawPredict",
    b"/invocations",  # Databricks, SageMaker
    b"/v1/chat",  # Cohere
    b"/api/chat",  # Ollama
    b"/api/generate",
    b"/converse",  # Bedrock
    b"/converse-stream",
    b"/invoke",
    b"/invoke-with-response-stream",
)
# And those that are asked about one, with all of it.
_ASIDE = (
    b"/messages/count_tokens",
    b"/responses/input_tokens",
    b"/responses/compact",
    b":countTokens",
    b"/count-tokens:rawPredict",  # the Messages API's at Google Vertex
    b"/tokenize",  # vLLM, SGLang
)
_REFUSED = (400, 409, 415, 422)
# And of what has shown meanwhile that it is no core: some fail at what they cannot read.
_REFUSED_BY_OTHERS = (*_REFUSED, 500)


def is_turn(request: Request, watched: Headers) -> bool:
    """Whether `request` is likely to be one of a conversation, as far as is known before its body
    is here."""
    size = request.length
    return (
        (size is None or _LEAST <= size <= MOST_HELD)
        and watched.get(b"content-encoding") is None
        and is_of_conversation(request)
        and codings.compresses(codings.media_type(watched))
    )


def is_of_conversation(request: Request) -> bool:
    """Whether `request` is one that conversations come with, by its path."""
    return request.path.endswith(_PATHS + _ASIDE)


def _is_aside(request: Request) -> bool:
    return request.path.endswith(_ASIDE)


class Turn:
    """A body that goes by a link: how, and what becomes of it there. An `Upload`."""

    __slots__ = (
        "_crossing", "_edge", "_headers", "_is_missed", "_is_refused", "_links", "_look",
        "_sender", "_stream", "_why", "before", "entry",
    )  # fmt: skip

    def __init__(self, sender: Sender, links: UpstreamLinks, tenant: bytes, plain: bytes) -> None:
        request = sender.request
        self._sender: Sender | None = sender
        self._links = links
        self._headers = Headers(request.headers)
        self._look: Look | None = Look(tenant, plain, _is_aside(request))
        self._why = ""  # it goes plain
        self._edge: Edge | None = None
        self._crossing: Crossing | None = None
        self._stream: Stream | None = None
        self._is_missed = False
        self._is_refused = False  # it goes plain: a core that should have read it did not
        self.entry: Entry | None = None
        """What the body has become, if the core remembers it and its reply."""
        self.before: Before | None = None
        """What the reply may be coded after, once the core has read the body."""
        sender.show(plain)

    async def fit(self, stream: Stream) -> Upload:
        """See `Upload`. The body is coded for the connection of `stream`, if that is a link."""
        sender, look = self._sender, self._look
        assert sender is not None and look is not None
        edge = self._links.edge(stream.session)
        self._make_plain(sender, len(look.body))
        if self._is_refused:
            self._why = "refused"
        elif edge is None:
            return await sender.unlinked(look.body)
        else:
            await self._encode(sender, edge, look)
        return self

    def _make_plain(self, sender: Sender, size: int) -> None:
        if self._crossing is not None:
            sender.ledger.anew()
        sender.request.headers = Headers(self._headers)
        sender.request.length = size
        self._edge = self._crossing = self.entry = None

    async def _encode(self, sender: Sender, edge: Edge, look: Look) -> None:
        crossing = Crossing(look, self._is_missed)
        for size, step in edge.steps(crossing):
            await sender.run(size, step)
        assert crossing.coded is not None
        if len(crossing.coded.blocks) + len(CODING) >= len(look.body):
            self._why = "no gain"
            return
        self._edge, self._crossing = edge, crossing
        request = sender.request
        request.headers.drop((b"content-length",))  # HTTP/2 needs none, and it costs
        request.headers.append((b"content-encoding", CODING))
        request.length = None

    def start(self, stream: Stream) -> None:
        """See `Upload`."""
        sender, look = self._sender, self._look
        assert sender is not None and look is not None
        self._stream = stream
        sender.put(self._message(stream.id, sender, look.body), stream)

    def _message(self, number: int, sender: Sender, plain: bytes) -> bytes:
        """What goes on the stream of that number, which is known when its head has gone out."""
        edge, crossing = self._edge, self._crossing
        if edge is None or crossing is None:
            sender.ledger.why = self._why
            return plain
        if not number:  # the connection has just ended: the response will say so
            return b""
        message = crossing.message(number)
        sender.later(partial(self._went, edge, crossing, number, len(message)))
        return message

    def _went(self, edge: Edge, crossing: Crossing, number: int, size: int) -> None:
        """The body has left as a message of that size: the books are kept, for which nobody
        waits."""
        edge.sent(crossing, number)
        plain = len(crossing.look.body)
        self._links.counts.add(plain, size)
        if self._sender is not None and crossing is self._crossing:  # it does not go again already
            ledger = self._sender.ledger
            ledger.coded(CODING.decode(), plain)
            ledger.why, ledger.reference = "linked", _reference(crossing)

    def halt(self) -> bool:
        """See `Upload`. The body is held, and is coded for the next connection."""
        return True

    def judge(self, response: Response) -> bool:
        """See `Upload`. What the response says of the link is for us and not for the client."""
        sender, edge, crossing, stream = self._sender, self._edge, self._crossing, self._stream
        if sender is None or edge is None or crossing is None or stream is None:
            return False
        said = response.headers.get(FIELD)
        if said in (HAVE, HEARS):
            self.before = Before.of(crossing.look.body, crossing.ends)
            self.entry = crossing.entry if said == HEARS else None
            sender.later(partial(edge.have, crossing))
            return False
        (edge.miss if said == MISS else edge.unread)(crossing)
        if response.status not in (_REFUSED_BY_OTHERS if edge.is_given_up else _REFUSED):
            return False
        self._links.counts.misses += 1
        self._is_refused = self._is_missed or said != MISS
        if self._is_refused:
            self._links.refused(stream.session, edge)
        self._is_missed = True
        sender.refused(response)
        return True

    def settle(self) -> bool:
        """See `Upload`. What is left is for the reply. While the stream's gate is shut the body is
        still held there."""
        stream, self._stream = self._stream, None
        self._headers = Headers()
        self._sender = self._crossing = self._look = None
        return stream is None or stream.gate.is_open

    def replied(self, messages: list[dict[str, Any]], ends: bytes) -> None:
        """The response is complete."""
        if self._edge is not None and self.entry is not None:
            text = render(messages, self.entry.body)
            self._edge.replied(self.entry, text, secrets(messages), others(messages), ends)


def _reference(crossing: Crossing) -> str:
    """For people: the entry, and `r` for with its reply, or how many blocks of it; "-" for none."""
    base, use = crossing.base, crossing.use
    if base is None:
        return "-"
    blocks = sum(run.blocks for run in use.runs)
    return f"{base.number}{f'/{blocks}' if blocks else 'r' if use.reply else ''}"
