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

from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.link.edge import Edge, Look, Plan
from m2mproxy.link.message import NOTHING_KNOWN, Coded
from m2mproxy.link.reply import others, render, secrets
from m2mproxy.link.window import Entry
from m2mproxy.proxy import codings
from m2mproxy.proxy.ledger import Ledger
from m2mproxy.proxy.links import CODING, FIELD, HAVE, HEARS, MISS, LinkCounts
from m2mproxy.proxy.offload import Later, Run
from m2mproxy.proxy.request_coding import MOST_HELD

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
# What of the frame is little work, in bytes, so that a thread is not worth it.
_AT_ONCE = 256 * 1024
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
    """One request's body, its head as it is plain, and how it goes at the moment."""

    def __init__(
        self, request: Request, plain: bytes, tenant: bytes, counts: LinkCounts, later: Later
    ) -> None:
        """`later` is for what nobody waits for."""
        self.plain = plain
        self._later = later
        self.entry: Entry | None = None
        """What the body becomes, once the core has it."""
        self.is_heard = False
        """Whether the core remembers the reply, too."""
        self.before: bytes | None = None
        """What the reply may be coded after, once the core has read the body."""
        self._why = ""  # it goes plain
        self._headers = Headers(request.headers)
        self._is_aside = _is_aside(request)
        self._tenant = tenant
        self._look: Look | None = None  # not yet
        self._counts = counts
        self._edge: Edge | None = None
        self._plan: Plan | None = None
        self._coded: Coded | None = None
        self._fresh = False  # the body was missed
        self.is_refused = False
        """Whether it goes plain, since a core that should have read it did not."""

    def make_plain(self, request: Request) -> None:
        """Make the request plain."""
        request.headers = Headers(self._headers)
        request.length = len(self.plain)
        self._edge = self._plan = self._coded = self.entry = None

    async def encode(self, request: Request, edge: Edge | None, run: Run) -> None:
        """Code the body for the connection that `edge` remembers, if it is a link."""
        self.make_plain(request)
        if edge is None or self.is_refused:
            self._why = "refused"
            return
        plain, size = self.plain, len(self.plain)
        if self._look is None:
            self._look = edge.look(self._tenant, plain, self._is_aside)
            await run(size if size > _AT_ONCE else 0, self._look.find)
        plan = edge.choose(self._look, self._fresh)
        if plan.survey is not None:
            await run(plan.survey.work, plan.survey.find)
            edge.borrow(plan)
        work = max(size, len(plan.known.body))
        coded = await run(work if work > _AT_ONCE else 0, plan.encode)
        plan.known = NOTHING_KNOWN
        if len(coded.blocks) + len(CODING) >= size:
            self._why = "no gain"
            return
        self._edge, self._plan, self._coded = edge, plan, coded
        request.headers.drop((b"content-length",))  # HTTP/2 needs none, and it costs
        request.headers.append((b"content-encoding", CODING))
        request.length = None

    def sent(self, number: int, ledger: Ledger) -> bytes:
        """The request's head went out on the stream of that number: the body's bytes."""
        if self._edge is None or self._plan is None or self._coded is None:
            ledger.why = self._why
            return self.plain
        if not number:  # the connection has just ended: the response will say so
            return b""
        message = self._coded.message(self._plan.distance(number))
        self._coded = None
        self._later(partial(self._remember, self._edge, number, self._plan))
        ledger.coded(CODING.decode(), len(self.plain))
        ledger.why, ledger.reference = "linked", _reference(self._plan)
        self._counts.turns += 1
        self._counts.plain += len(self.plain)
        self._counts.wire += len(message)
        return message

    def _remember(self, edge: Edge, number: int, plan: Plan) -> None:
        self.entry = edge.sent(number, plan)

    def judge(self, response: Response) -> bool:
        """The response came: whether it says that the request was not read, and has to go again.
        What it says of the link is for us and not for the client."""
        if self._plan is None or self._edge is None:
            return False
        said = response.headers.get(FIELD)
        if said in (HAVE, HEARS):
            self.before = self.plain
            if self.entry is not None:
                self._later(partial(self._edge.have, self.entry))
                self.is_heard = said == HEARS
            return False
        self._edge.miss(self._plan if said == MISS else None, self.entry)
        self.entry = None
        if response.status not in (_REFUSED_BY_OTHERS if self._edge.is_given_up else _REFUSED):
            return False
        self._counts.misses += 1
        self.is_refused = self._fresh or said != MISS
        if self.is_refused:
            self._edge.give_up()
        self._fresh = True
        return True

    def settle(self) -> None:
        """The request has its answer and is not sent again: let go of the body."""
        self.plain, self._headers, self._plan, self._look = b"", Headers(), None, None

    def replied(self, messages: list[dict[str, Any]]) -> None:
        """The response is complete."""
        if self._edge is not None and self.entry is not None:
            text = render(messages, self.entry.body)
            self._edge.replied(self.entry, text, secrets(messages), others(messages))


def _reference(plan: Plan) -> str:
    """For people: the entry, and `r` for with its reply, or how many blocks of it; "-" for none."""
    if plan.entry is None:
        return "-"
    blocks = sum(run.blocks for run in plan.use.runs)
    return f"{plan.entry.number}{f'/{blocks}' if blocks else 'r' if plan.use.reply else ''}"
