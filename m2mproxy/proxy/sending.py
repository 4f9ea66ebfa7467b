"""The client's request becomes the upstream's: what is read of it first, what its head says then,
and as what its body goes.

The one rule: as what the body goes is decided here: by a link, where there is one and it is a turn
(turn.py); else coded, where anything is to be said for that (request_coding.py); else as it comes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from m2mproxy.http.body import Body
from m2mproxy.http.faults import Fault
from m2mproxy.http.message import Request, Response
from m2mproxy.http.negotiation import accepted
from m2mproxy.net.connection import Stream
from m2mproxy.proxy.context import Context
from m2mproxy.proxy.gather import chunks, whole
from m2mproxy.proxy.held import Held
from m2mproxy.proxy.intake import WATCHED, decoded, invite, is_coded, named
from m2mproxy.proxy.ledger import Ledger
from m2mproxy.proxy.linked import Linked, is_linked
from m2mproxy.proxy.model import ModelFinder
from m2mproxy.proxy.offload import Run
from m2mproxy.proxy.pump import Pump, too_large
from m2mproxy.proxy.record import Record
from m2mproxy.proxy.response_coding import Reader, is_near
from m2mproxy.proxy.routes import UpstreamRoute
from m2mproxy.proxy.scanning import Guard, Inspection
from m2mproxy.proxy.sizing import Sizing
from m2mproxy.proxy.tap import tap_of
from m2mproxy.proxy.turn import Turn, is_of_conversation, is_turn
from m2mproxy.proxy.upload import AsItComes, Upload


class Sending:
    """One request; the `Sender` of its uploads.

    Attributes:
        request: as it goes to the upstream.
        route: where that is.
        held: the room that its body takes.
        run, later: as of `Sender`.
        reader: who gets the response.
    """

    __slots__ = (
        "_context", "_finder", "_on_end", "_record", "_sizing", "_watched", "held", "later",
        "reader", "request", "route", "run",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        record: Record,
        request: Request,
        route: UpstreamRoute,
        on_end: Callable[[Fault | None], None],
    ) -> None:
        """`record` is that of its exchange, `on_end` as of `Pump`."""
        self._context = context
        self._record = record
        self._on_end = on_end
        self._watched = request.headers.named(WATCHED)
        self._finder: ModelFinder | None = None  # which has seen nothing yet
        self._sizing: Sizing | None = None  # while the end of the body is waited for
        self.request = request
        self.route = route
        self.held = Held(context.holds)
        self.run: Run = context.offload.run
        self.later = context.later
        is_http1 = record.downstream.session is None and request.scheme == b"http"
        may_link = is_http1 and context.links.enabled
        near = is_near(record.downstream.client)
        self.reader = Reader(accepted(self._watched), near, may_link)

    def check(self, now: float) -> None:
        """Called a few times a second: is it too late for what is waited for?"""
        if self._sizing is not None:
            self._sizing.check(now)

    async def prepare(self, prove: Callable[[UpstreamRoute], Awaitable[None]]) -> Upload:
        """Make the client's request one for the upstream, and say as what its body goes. `prove`
        has an upstream show its key."""
        context, record, route, request = self._context, self._record, self.route, self.request
        body, limit = record.downstream.body, context.config.max_body
        route.pages.check(request, self._watched, record.downstream.client)
        if request.length is not None and request.length > limit:
            raise too_large(limit)
        if is_coded(self._watched):
            body = await self._decoded(body)
            self._watched = request.headers.named(WATCHED)
        if context.guard is not None:
            body = await self._scanned(context.guard, body)
        model = None
        if route.router.needs_model(request.target):
            model, body = await named(request, record.downstream, body, limit, self.held)
        request.target = route.target(request.target, model)
        route.forwarding.prepare(request, self._watched, record.downstream.client)
        request.authority, request.scheme = route.authority, route.scheme
        route.responses.add_accept_encoding(request, self._watched, self.reader)
        if request.length != 0 and (record.tally is not None or context.config.logging.access):
            finder = record.tally.finder() if record.tally is not None else ModelFinder()
            record.finder = self._finder = finder
        if route.requests.is_unproven(request):
            await prove(route)
        if request.length is None and self._is_worth_a_length():
            body = await self._sized(body)
        size = request.length
        if size is not None and self._may_be_linked() and self.held.take(size):
            return await self._turn(body, size)
        return await self._coded(body) if self._may_be_coded() else self.as_it_comes(body)

    async def _decoded(self, body: Body) -> Body:
        """What the client coded, in plain; left as it is where the upstream reads that very coding,
        and neither a link nor the scanner needs the plain bytes."""
        context, record, request = self._context, self._record, self.request
        limit, run = context.config.max_body, context.offload.run
        if is_linked(request.headers):
            return await self._linked().receive(
                record.downstream, request, limit, record.books, context.links, run, self.held
            )
        may_be_linked = self.route.links.is_open and is_of_conversation(request)
        is_read_here = may_be_linked or context.guard is not None
        if not is_read_here and self.route.requests.reads(request):
            return body
        return await decoded(
            request, record.downstream, body, limit, record.books, run, context.forms, self.held
        )

    def _linked(self) -> Linked:
        context, record = self._context, self._record
        linked = record.linked = record.linked or Linked(context.later, context.holds.replies)
        return linked

    async def _scanned(self, guard: Guard, body: Body) -> Body:
        """The body, if the scanner lets it pass."""
        record, room = self._record, self._context.holds.replies
        inspection = record.inspection = Inspection(guard.reads_replies, room)
        return await guard.inspect(self.request, record.downstream, body, inspection, self.held)

    def _may_be_linked(self) -> bool:
        return self.route.links.is_open and is_turn(self.request, self._watched)

    def _is_worth_a_length(self) -> bool:
        """Whether it is likely to be coded once the length of its body is known."""
        codes = self.route.requests.codes
        return self._may_be_linked() or bool(codes(self.request, self._watched))

    async def _sized(self, body: Body) -> Body:
        """The body, of which the request says how long it is, if its end came soon."""
        record, limit = self._record, self._context.config.max_body
        sizing = self._sizing = Sizing(self._context.clock)
        body = await sizing.of(
            self.request, record.downstream, body, limit, self.held, record.books
        )
        self._sizing = None
        return body

    async def _turn(self, body: Body, size: int) -> Upload:
        """By a link; but for a body with trailers, which would be lost."""
        request, downstream = self.request, self._record.downstream
        invite(request, downstream)
        tenant = self._context.links.tenant(request, downstream.certificate)
        taken = await chunks(body, size)
        if body.trailers:
            return self.as_it_comes(Body.complete(taken, body.trailers))
        plain = b"".join(taken)  # not the chunks it came in, or it would be held twice
        turn = self._linked().turn = Turn(self, self.route.links, tenant, plain)
        return turn

    def _may_be_coded(self) -> bool:
        """Whether a coding is considered; where none is, the record says why."""
        requests = self.route.requests
        considered = requests.considers(self.request, self._watched)
        if not considered:
            self._record.why_plain = requests.why_not(self.request, self._watched, considered)
        return bool(considered)

    async def _coded(self, body: Body) -> Upload:
        """Coded, if the upstream reads that."""
        invite(self.request, self._record.downstream)
        return await self.route.requests.upload(self, body)

    def let_go(self) -> None:
        """It has gone, all of it, and is not sent again. The connections keep the request, and need
        no fields of it."""
        self.held.free()
        self.request.headers.clear()

    # -- what its uploads ask for, see `Sender` -------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        return self._record.books

    async def unlinked(self, plain: bytes) -> Upload:
        self._linked().turn = None
        body = whole(plain)
        return await self._coded(body) if self._may_be_coded() else self.as_it_comes(body)

    def as_it_comes(self, body: Body) -> Upload:
        upload = self.pump(body)
        finder, self._finder = self._finder, None
        if finder is not None:
            upload.tap = tap_of(None, [finder.feed], self.later)
        return AsItComes(upload)

    def show(self, plain: bytes) -> None:
        finder, self._finder = self._finder, None
        if finder is not None:
            self.later(partial(finder.feed, plain))

    def pump(self, body: Body) -> Pump:
        context, record = self._context, self._record
        record.end_upload()
        upload = record.upload = Pump(
            body,
            self._on_end,
            context.clock,
            context.config.max_body,
            context.config.limits.retry_body,
        )
        return upload

    def put(self, body: bytes, stream: Stream) -> None:
        self._record.end_upload(len(body))
        stream.write(body)
        stream.finish()

    def refused(self, response: Response) -> None:
        record = self._record
        record.books.refused(record.bytes_up, response.status)
        record.end_upload()  # it is counted, though nothing may go after it
