"""One request in flight: a downstream stream, an upstream stream, and a pump each way.

The coroutine below is the whole life of a request, top to bottom. It is stepped by the callbacks
it waits for (http/flow.py), so what arrives leaves in the same loop turn, and a client that leaves
ends the upstream's work in the turn in which that is noticed.

The one rule: whatever happens, `finally` resets both streams and leaves the queue, and nothing in
it waits. What is complete by then is not touched by a reset.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from m2mproxy.http.body import Body
from m2mproxy.http.faults import ClientGone, Fault, UpstreamFault
from m2mproxy.http.flow import Flow, Signal
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.http.negotiation import Accepted, accepted
from m2mproxy.net.connection import Stream
from m2mproxy.net.pool import Wait
from m2mproxy.net.reusable import Tries
from m2mproxy.proxy.coder import Coder
from m2mproxy.proxy.context import Context
from m2mproxy.proxy.errors import fault_reply
from m2mproxy.proxy.held import Held
from m2mproxy.proxy.injector import Injector
from m2mproxy.proxy.intake import answered, invite, named
from m2mproxy.proxy.ledger import Ledger
from m2mproxy.proxy.linked import Linked, is_linked, take_link_field, without_link_field
from m2mproxy.proxy.model import ModelFinder
from m2mproxy.proxy.patience import Patience, Phase
from m2mproxy.proxy.proof import prove
from m2mproxy.proxy.pump import Pump, too_large
from m2mproxy.proxy.record import Record
from m2mproxy.proxy.reply import send_reply
from m2mproxy.proxy.request_coding import WATCHED, CodedRequest, decode, is_coded, whole
from m2mproxy.proxy.response_coding import MARKS, NOT_SHARED, is_near
from m2mproxy.proxy.routes import LocalRoute, UpstreamRoute
from m2mproxy.proxy.scanning import Guard, Inspection
from m2mproxy.proxy.sizing import Sizing, helps
from m2mproxy.proxy.sse import is_event_stream
from m2mproxy.proxy.tap import tap_of
from m2mproxy.proxy.turn import is_of_conversation, is_turn


def _nobody(_: Exchange) -> None:
    """The end has been told already."""


class Exchange(Record):
    """One request on its way, and what became of it."""

    __slots__ = (
        "_accepted", "_coded", "_context", "_done", "_flow", "_held", "_injector", "_is_coded",
        "_linked", "_offers_link", "_on_end", "_patience", "_sizing", "_wait", "request",
    )

    def __init__(
        self,
        context: Context,
        downstream: Stream,
        request: Request,
        on_end: Callable[[Exchange], None],
    ) -> None:
        tallies = context.tallies
        tally = tallies.begin(request) if tallies is not None else None
        super().__init__(downstream, request, context.clock(), tally)
        self._context = context
        self.request = request  # as it goes to the upstream
        self._on_end = on_end
        self._wait: Wait | None = None
        self._done: Signal[None] = Signal()  # the response has passed
        self._accepted: Accepted | None = None
        self._held = Held(context.holds)
        self._sizing: Sizing | None = None  # while the end of the body is waited for
        self._coded: CodedRequest | None = None
        self._linked: Linked | None = None  # where a link has to do with it
        self._offers_link = False  # the client could have one on another connection
        self._is_coded = False  # the response, as it came
        self._injector: Injector | None = None  # for an event stream
        self._patience = Patience(context.config.timeouts, self.started)
        self._flow = Flow(self._run(), self._ended)

    # -- what its surroundings call -------------------------------------------------------------

    def start(self) -> None:
        """Run until something has to be waited for."""
        self.downstream.on_fault = self._flow.throw
        self._flow.start()

    def cancel(self, fault: Fault) -> None:
        """End it now, whatever it is doing."""
        self._flow.throw(fault)

    def check(self, now: float) -> None:
        """Called a few times a second: is it too late, or time to show a sign of life?"""
        fault = self._patience.ends(now, self._download or self._upload, self._upload)
        if fault is not None:
            self._flow.throw(fault)
            return
        if self._injector is not None:
            self._injector.keep_alive(self._patience, now)
        if self._sizing is not None:
            self._sizing.check(now)

    # -- the life of a request ------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            route = self._context.routes.find(self.request)
            if isinstance(route, LocalRoute):
                self._reply(*await answered(route, self.request, self.downstream, self._held))
            else:
                # No name for the upload, which would hold it as long as the response lasts.
                self._relay(route, await self._response(route, await self._prepare(route)))
                await self._done
        except Fault as fault:
            self.fault = fault
            self._answer(fault)
        except Exception as bug:  # reported with its traceback by whoever owns us
            self.bug = bug
            self._answer(Fault("an error inside the proxy"))
        finally:
            self._release()

    async def _prepare(self, route: UpstreamRoute) -> Pump:
        """Turn the client's request into the upstream's; what comes back moves its body."""
        self.forwarded = True
        config, request, body = self._context.config, self.request, self.downstream.body
        if request.length is not None and request.length > config.max_body:
            raise too_large(config.max_body)
        is_http1 = self.downstream.session is None and request.scheme == b"http"
        self._offers_link = is_http1 and self._context.links.enabled
        watched = request.headers.named(WATCHED)
        self._accepted = accepted(watched)
        if is_coded(watched):
            body = await self._decoded(route, body)
            watched = request.headers.named(WATCHED)
        if self._context.guard is not None:
            body = await self._scanned(self._context.guard, body)
        model = None
        if route.router.needs_model(request.target):
            source, held = self.downstream, self._held
            model, body = await named(request, source, body, config.max_body, held)
        self._address(route, model)
        route.responses.add_accept_encoding(request, watched, self._accepted)
        if request.length != 0 and (self.tally is not None or config.logging.access):
            self._finder = self.tally.finder() if self.tally is not None else ModelFinder()
        if route.requests.is_unproven(request):
            stream = await self._stream(route, fresh=True)
            self._patience.enter(Phase.FIRST_BYTE, self._context.clock())
            await prove(stream, route)
        if request.length is None and helps(route, request, watched):
            body = await self._sized(body)
        size = request.length
        if (
            size is not None
            and route.links.is_open
            and is_turn(request, watched)
            and self._held.take(size)
        ):
            return self._uploading(await self._kept_for_link(route, body))
        return await self._coding(route, body, watched)

    async def _scanned(self, guard: Guard, body: Body) -> Body:
        """The body, if the scanner lets it pass."""
        room = self._context.holds.replies
        inspection = self.inspection = Inspection(guard.reads_replies, room)
        return await guard.inspect(self.request, self.downstream, body, inspection, self._held)

    def _address(self, route: UpstreamRoute, model: str | None) -> None:
        """Make target and fields those for the upstream."""
        request = self.request
        request.target = route.target(request.target, model)
        route.forwarding.prepare(request, self.downstream.client)
        request.authority, request.scheme = route.authority, route.scheme

    async def _sized(self, body: Body) -> Body:
        """The body, of which the request says how long it is, if its end came soon."""
        limit = self._context.config.max_body
        ledger = self.ledger = self.ledger or Ledger()
        sizing = self._sizing = Sizing(self._context.clock)
        body = await sizing.of(self.request, self.downstream, body, limit, self._held, ledger)
        self._sizing = None
        return body

    def _new_linked(self) -> Linked:
        return Linked(self._context.later, self._context.holds.replies)

    async def _kept_for_link(self, route: UpstreamRoute, body: Body) -> Body:
        """The body, held so that it can go on a link."""
        invite(self.request, self.downstream)
        linked = self._linked = self._linked or self._new_linked()
        tenant = self._context.links.tenant(self.request, self.downstream.certificate)
        return await linked.hold(self.request, body, tenant, route.links)

    async def _coding(self, route: UpstreamRoute, body: Body, watched: Headers) -> Pump:
        """Code the body for the upstream, link or not, if that reads it."""
        considered = route.requests.considers(self.request, watched)
        if considered:
            invite(self.request, self.downstream)
            self.ledger = self.ledger or Ledger()
            body, self._coded = await route.requests.encode(
                self.request, body, self.ledger, self._context.offload.run, self._held
            )
        else:
            self._why = route.requests.why_not(self.request, watched, considered)
        return self._uploading(body)

    def _uploading(self, body: Body) -> Pump:
        config = self._context.config
        upload = self._upload = Pump(
            body, self._uploaded, self._context.clock, config.max_body, config.limits.retry_body
        )
        held = self._coded or (self._linked.turn if self._linked is not None else None)
        if self._finder is not None and held is None:
            upload.tap = tap_of(None, [self._finder.feed], self._context.later)
        elif self._finder is not None and held is not None:
            self._context.later(partial(self._finder.feed, held.plain))
        return upload

    async def _decoded(self, route: UpstreamRoute, body: Body) -> Body:
        """What the client coded, in plain; left as it is where the upstream reads that very coding,
        and neither a link nor the scanner needs the plain bytes."""
        links, limit = self._context.links, self._context.config.max_body
        run, forms, held = self._context.offload.run, self._context.forms, self._held
        if is_linked(self.request.headers):
            self.ledger, self._linked = Ledger(), self._new_linked()
            return await self._linked.receive(
                self.downstream, self.request, limit, self.ledger, links, run, held
            )
        may_be_linked = route.links.is_open and is_of_conversation(self.request)
        is_read_here = may_be_linked or self._context.guard is not None
        if not is_read_here and route.requests.reads(self.request):
            return body
        invite(self.request, self.downstream)
        self.ledger = Ledger()
        return await decode(self.request, body, limit, self.ledger, run, forms, held)

    async def _response(self, route: UpstreamRoute, upload: Pump) -> Response:
        """Send the request and wait for the head of the response: again, where nobody has
        looked at it (`Tries`), and plain, when the upstream refuses it coded."""
        tries, refused = Tries(), None
        while True:
            stream = await self._stream(route, fresh=tries.failed > 0)
            linked = self._linked
            turn = linked.turn if linked is not None else None
            if linked is not None and turn is not None:
                edge = route.links.edge(stream.session)
                if edge is not None or turn.is_refused:
                    await turn.encode(self.request, edge, self._context.offload.run)
                else:
                    upload, turn = await self._without_link(route, linked, upload), None
            stream.send_request(self.request)
            if turn is not None:
                self.ledger = self.ledger or Ledger()
                upload.close()  # one that goes again has another
                upload = self._uploading(whole(turn.sent(stream.id, self.ledger)))
            now = self._context.clock()
            self.sent = self.sent or now
            self._patience.enter(Phase.FIRST_BYTE, now)
            upload.start(stream)
            try:
                response = await stream.head
            except UpstreamFault as fault:
                if not (tries.one_more(fault) and (upload.halt() or turn is not None)):
                    raise
                self.retried = True
                continue
            if turn is not None and turn.judge(response):
                stream.reset()
                self._refused(upload, response)
                tries = Tries()
                continue
            upload.forget()
            coded, self._coded = self._coded, None  # held no longer than it is of use
            if coded is None or not route.requests.judge(self.request, coded, response):
                break
            stream.reset()
            tries, refused = Tries(), (coded.coding, response.status)
            upload = self._plain_again(route, coded, upload, response)
        if refused is not None and refused[1] == response.status:
            route.requests.forgive(self.request, refused[0])
        self._context.later(partial(self._answered, upload))
        return response

    def _answered(self, upload: Pump) -> None:
        """The request is not sent again: let go of what was held for that."""
        if self._linked is not None and self._linked.turn is not None:
            self._linked.turn.settle()
        if upload.ended:
            self._held.free()
            self._put_away(upload)
            self.request.headers.clear()

    async def _without_link(self, route: UpstreamRoute, linked: Linked, upload: Pump) -> Pump:
        """The connection is none: the body goes as it would have gone without links."""
        upload.close()
        body = linked.leave_link(self.request)
        return await self._coding(route, body, self.request.headers.named(WATCHED))

    def _refused(self, upload: Pump, response: Response) -> None:
        """The upstream did not read the request, which goes again, coded otherwise or plain."""
        assert self.ledger is not None
        self.retried = True
        upload.close()
        self.ledger.refused(upload.moved, response.status)

    def _plain_again(
        self, route: UpstreamRoute, coded: CodedRequest, upload: Pump, response: Response
    ) -> Pump:
        self._refused(upload, response)
        route.requests.readable.learn(response.headers)
        return self._uploading(coded.undo(self.request))

    async def _stream(self, route: UpstreamRoute, fresh: bool) -> Stream:
        full = route.destination.is_full
        wait = self._wait = route.destination.stream(fresh)
        if not wait.done:
            self._patience.enter(Phase.POOL if full else Phase.CONNECT, self._context.clock())
        stream = self.upstream = await wait
        self._wait = None
        self._patience.enter(Phase.CONNECT, self._context.clock())  # coding may take a while
        route.links.edge(stream.session)  # known from now on, should it be one
        stream.on_informational = without_link_field(self.downstream.send_response)
        return stream

    def _coder(self, route: UpstreamRoute, response: Response) -> Coder | None:
        """What changes the response's coding."""
        taken, coding = self._accepted, route.responses
        if taken is None:
            return None
        near = is_near(self.downstream.client)
        marks = response.headers.named(MARKS)
        if marks:
            self._is_coded = marks.get(b"content-encoding") is not None
            route.requests.readable.learn(marks)
            take_link_field(response, marks, route.links)
        if not coding.may_change(taken, near, response, marks, self._offers_link):
            return None
        self.ledger = self.ledger or Ledger()
        shared = self._linked.shared(response) if self._linked is not None else NOT_SHARED
        return coding.plan(self.request, taken, near, response, self.ledger, shared)

    def _relay(self, route: UpstreamRoute, response: Response) -> None:
        """Begin to pass the response on. `_done` tells when it has passed."""
        assert self.upstream is not None
        self.upstream.on_informational = None
        clock = self._context.clock
        self.answered = clock()
        self._patience.enter(Phase.IDLE, self.answered)
        download = self._download = Pump(self.upstream.body, self._downloaded, clock)
        coder = download.coder = self._coder(route, response)
        is_plain = coder is not None or not self._is_coded
        readers = (self.inspection, self._linked) if is_plain else ()
        taps = [tap for each in readers if each is not None for tap in each.taps(response)]
        if self.tally is not None:
            taps += self.tally.taps(response, is_plain, self._context.forms)
        if self._linked is not None:
            self._linked.acknowledge(response)
        if is_event_stream(response) or (coder is not None and coder.carries_events):
            every = self._context.config.sse_keepalive
            self._injector = Injector(download, self.downstream, every)
        boundary = self._injector.boundary.feed if self._injector is not None else None
        (coder or download).tap = tap_of(boundary, taps, self._context.later)
        self.response = response
        self.downstream.send_response(response)
        self.relayed = clock()
        download.start(self.downstream)

    def _uploaded(self, fault: Fault | None) -> None:
        if fault is not None:
            self._flow.throw(fault)
        elif self.answered:
            self._held.free()

    def _downloaded(self, fault: Fault | None) -> None:
        if fault is None:
            self._context.later(self._seen)  # what came last has to be seen before
            self._done.set(None)
        else:
            self._done.fail(fault)

    def _seen(self) -> None:
        """The response has passed, all of it."""
        if self._linked is not None:
            self._linked.complete()
        if self._context.guard is not None and self.inspection is not None:
            self._context.guard.replied(self.inspection)

    # -- answers of our own ---------------------------------------------------------------------

    def _reply(self, response: Response, body: bytes) -> None:
        self.response = response
        if self._linked is not None:
            self._linked.acknowledge(response)
        send_reply(self.downstream, self.method, response, body)

    def _answer(self, fault: Fault) -> None:
        """Tell the client, as far as it can still be told."""
        if isinstance(fault, ClientGone):
            return
        if self.response is None:
            self._reply(*fault_reply(fault, self._context.forms))
        elif self._injector is not None:
            self._injector.fault(fault, self.target)

    def _release(self) -> None:
        self._held.free()
        for reader in (self._linked, self.inspection):
            if reader is not None:
                self._context.later(reader.leave)  # behind `_seen`, which may be to come
        if self._wait is not None:
            self._wait.leave()
        for pump in (self._upload, self._download):
            if pump is not None:
                pump.close()
        if self.upstream is not None:
            self.upstream.reset()
        self.downstream.on_fault = None
        self.downstream.reset()

    def _ended(self, error: BaseException | None) -> None:
        self.bug = self.bug or error
        self.ended = self._context.clock()
        if self.ledger is not None:
            self.ledger.close(self.bytes_up, self.bytes_down)
        on_end, self._on_end = self._on_end, _nobody
        on_end(self)
