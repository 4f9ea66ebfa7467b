"""One request in flight: a downstream stream, an upstream stream, and a pump each way.

The coroutine below is the whole life of a request, top to bottom. It is stepped by the callbacks
it waits for (http/flow.py), so what arrives leaves in the same loop turn, and a client that leaves
ends the upstream's work in the turn in which that is noticed.

The one rule: whatever happens, `finally` resets both streams and leaves the queue, and nothing in
it waits. What is complete by then is not touched by a reset.
"""

from __future__ import annotations

from collections.abc import Callable

from m2mproxy.http.body import Body
from m2mproxy.http.faults import ClientGone, Fault, UpstreamFault
from m2mproxy.http.flow import Flow, Signal
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.http.negotiation import Accepted, accepted
from m2mproxy.net.connection import Stream
from m2mproxy.net.pool import Wait
from m2mproxy.proxy.coder import Coder
from m2mproxy.proxy.context import Context
from m2mproxy.proxy.errors import fault_reply
from m2mproxy.proxy.held import Held
from m2mproxy.proxy.intake import answered, invite, named
from m2mproxy.proxy.interjection import Interjection
from m2mproxy.proxy.ledger import Ledger
from m2mproxy.proxy.linked import Linked, hear, is_linked, passing
from m2mproxy.proxy.model import ModelFinder, model_in
from m2mproxy.proxy.patience import Patience, Phase
from m2mproxy.proxy.proof import prove
from m2mproxy.proxy.pump import Pump, too_large
from m2mproxy.proxy.reply import send_reply
from m2mproxy.proxy.request_coding import (
    WATCHED,
    Coded,
    decode,
    is_coded,
    whole,
)
from m2mproxy.proxy.response_coding import MARKS, NOT_SHARED, is_near
from m2mproxy.proxy.routes import Local, Upstream
from m2mproxy.proxy.scanning import Inspection
from m2mproxy.proxy.sizing import Sizing, helps
from m2mproxy.proxy.sse import is_event_stream
from m2mproxy.proxy.tap import tap_of
from m2mproxy.proxy.turn import Verdict, is_of_conversation, is_turn


def _nobody(_: Exchange) -> None:
    """The end has been told already."""


class Exchange:
    """One request and what became of it. After the end its attributes are what the log says.

    Times are seconds by the context's clock, 0 where it did not come so far: `started`, `sent` (the
    request's head went out), `answered` (the response's came in), `relayed` (it went out), `ended`.
    """

    __slots__ = (
        "_accepted", "_bytes_up", "_coded", "_context", "_done", "_download", "_finder", "_flow",
        "_held", "_interjection", "_is_clear", "_is_coded", "_linked", "_model", "_on_end",
        "_patience", "_sizing", "_upload", "_wait", "answered", "bug", "downstream",
        "ended", "fault", "forwarded", "inspection", "ledger", "method", "relayed", "request",
        "response", "retried", "sent", "started", "tally", "target", "upstream", "why",
    )

    def __init__(
        self,
        context: Context,
        downstream: Stream,
        request: Request,
        on_end: Callable[[Exchange], None],
    ) -> None:
        self._context = context
        self.downstream = downstream
        self.request = request
        self.method = request.method
        self.target = request.target
        self.response: Response | None = None
        self.fault: Fault | None = None
        self.bug: BaseException | None = None
        self.forwarded = self.retried = False
        self.started = context.clock()
        self.sent = self.answered = self.relayed = self.ended = 0.0
        self._on_end = on_end
        self.upstream: Stream | None = None
        self._wait: Wait | None = None
        self._upload: Pump | None = None
        self._download: Pump | None = None
        self._done: Signal[None] = Signal()
        self.why = ""  # the request is not coded, where there is no ledger to say it
        self.ledger: Ledger | None = None  # where a coding was used, or considered
        tallies = context.tallies
        self.tally = tallies.begin(request) if tallies is not None else None
        self.inspection: Inspection | None = None  # where requests are scanned
        self._accepted: Accepted | None = None
        self._held = Held(context.holds)
        self._sizing: Sizing | None = None  # while the end of the body is waited for
        self._coded: Coded | None = None
        self._linked: Linked | None = None  # where a link has to do with it
        self._is_clear = False  # the client speaks HTTP/1.1, without TLS
        self._is_coded = False  # the response, as it came
        self._finder: ModelFinder | None = None
        self._bytes_up, self._model = 0, ""
        self._interjection: Interjection | None = None  # for an event stream
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
        if self._interjection is not None:
            self._interjection.keep_alive(self._patience, now)
        if self._sizing is not None:
            self._sizing.check(now)

    @property
    def model(self) -> str:
        """The model that the request names; "" when it was not seen."""
        exact = self.inspection.model if self.inspection is not None else ""
        named = self._finder.model if self._finder is not None else self._model
        return exact or named or model_in(self.target)

    @property
    def bytes_up(self) -> int:
        """Bytes of the request's body sent to the upstream."""
        return self._upload.moved if self._upload is not None else self._bytes_up

    @property
    def bytes_down(self) -> int:
        """Bytes of the response's body received from the upstream."""
        return self._download.moved if self._download is not None else 0

    @property
    def added(self) -> float:
        """Seconds that the proxy kept the head of the request and that of the response."""
        return (self.sent - self.started if self.sent else 0.0) + (self.relayed - self.answered)

    # -- the life of a request ------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            route = self._context.routes.find(self.request)
            if isinstance(route, Local):
                self._reply(*await answered(route, self.request, self.downstream, self._held))
            else:
                upload = await self._prepare(route)
                self._relay(route, await self._response(route, upload))
                await self._done
        except Fault as fault:
            self.fault = fault
            self._answer(fault)
        except Exception as bug:  # reported with its traceback by whoever owns us
            self.bug = bug
            self._answer(Fault("an error inside the proxy"))
        finally:
            self._release()

    async def _prepare(self, route: Upstream) -> Pump:
        """Turn the client's request into the upstream's; what comes back moves its body."""
        self.forwarded = True
        config, request, body = self._context.config, self.request, self.downstream.body
        if request.length is not None and request.length > config.max_body:
            raise too_large(config.max_body)
        self._is_clear = request.scheme == b"http" and self.downstream.session is None
        watched = request.headers.named(WATCHED)
        self._accepted = accepted(watched)
        if is_coded(watched):
            body = await self._decoded(route, body)
            watched = request.headers.named(WATCHED)
        source, held = self.downstream, self._held
        if self._context.guard is not None:
            seen = self.inspection = Inspection(self._context.guard.reads_replies)
            body = await self._context.guard.inspect(request, source, body, seen, held)
        model = None
        if route.router.needs_model(request.target):
            model, body = await named(request, source, body, config.max_body, held)
        request.target = route.target(request.target, model)
        route.forwarding.prepare(request, self.downstream.client)
        request.authority, request.scheme = route.authority, route.scheme
        route.responses.ask(request, watched, self._accepted)
        if request.length != 0 and (self.tally is not None or config.logging.access):
            self._finder = self.tally.finder() if self.tally is not None else ModelFinder()
        if route.requests.is_unproven(request):
            stream = await self._stream(route, fresh=True)
            self._patience.enter(Phase.FIRST_BYTE, self._context.clock())
            await prove(stream, route)
        if request.length is None and helps(route, request, watched):
            self.ledger, self._sizing = self.ledger or Ledger(), Sizing(self._context.clock)
            body = await self._sizing.of(request, source, body, config.max_body, held, self.ledger)
            self._sizing = None
        size, is_one = request.length, route.links.is_open and is_turn(request, watched)
        if is_one and size is not None and held.take(size):
            invite(request, source)
            linked = self._linked = self._linked or Linked(self._context.later)
            tenant = self._context.links.tenant(request, self.downstream.certificate)
            body = await linked.take(request, body, tenant, route.links)
            return self._uploading(body)
        return await self._coding(route, body, watched)

    async def _coding(self, route: Upstream, body: Body, watched: Headers) -> Pump:
        """Code the body for the upstream, link or not, if that reads it."""
        considered = route.requests.considers(self.request, watched)
        if considered:
            invite(self.request, self.downstream)
            self.ledger = self.ledger or Ledger()
            body, self._coded = await route.requests.encode(
                self.request, body, self.ledger, self._context.offload.run, self._held
            )
        else:
            self.why = route.requests.why_not(self.request, watched, considered)
        return self._uploading(body)

    def _uploading(self, body: Body) -> Pump:
        config = self._context.config
        upload = self._upload = Pump(
            body, self._uploaded, self._context.clock, config.max_body, config.limits.retry_body
        )
        held = self._coded or (self._linked.turn if self._linked is not None else None)
        if self._finder is not None and held is None:
            upload.tap = self._finder.feed
        elif self._finder is not None and held is not None:
            self._finder.feed(held.plain)
        return upload

    async def _decoded(self, route: Upstream, body: Body) -> Body:
        """What the client coded, unless the upstream reads that very coding, and no more is saved
        by a link."""
        links, limit = self._context.links, self._context.config.max_body
        run, forms, held = self._context.offload.run, self._context.forms, self._held
        if is_linked(self.request.headers):
            self.ledger, self._linked = Ledger(), Linked(self._context.later)
            return await self._linked.receive(
                self.downstream, self.request, limit, self.ledger, links, run, held
            )
        is_one = route.links.is_open and is_of_conversation(self.request)
        if not is_one and route.requests.reads(self.request) and self._context.guard is None:
            return body
        invite(self.request, self.downstream)
        self.ledger = Ledger()
        return await decode(self.request, body, limit, self.ledger, run, forms, held)

    async def _response(self, route: Upstream, upload: Pump) -> Response:
        """Send the request and wait for the head of the response. Once more, when the connection
        turns out to have been closed by the upstream before it saw anything (RFC 9112 9.3.1); and
        plain, when the upstream refuses it coded."""
        again, refused = False, None
        while True:
            stream = await self._stream(route, fresh=again)
            linked = self._linked
            turn = linked.turn if linked is not None else None
            replays = again and turn is None
            if linked is not None and turn is not None:
                edge = route.links.edge(stream.session)
                if edge is not None or turn.is_refused:
                    await turn.dress(self.request, edge, self._context.offload.run)
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
            (upload.replay if replays else upload.start)(stream)
            try:
                response = await stream.head
            except UpstreamFault as fault:
                if again or not (fault.retry and (upload.halt() or turn is not None)):
                    raise
                self.retried = again = True
                continue
            if turn is not None and turn.judge(response) is Verdict.AGAIN:
                stream.reset()
                self._refused(upload, response)
                again = False
                continue
            upload.forget()
            coded, self._coded = self._coded, None  # held no longer than it is of use
            if coded is None or not route.requests.judge(self.request, coded, response):
                break
            stream.reset()
            again, refused = False, (coded.coding, response.status)
            upload = self._plain_again(route, coded, upload, response)
        if refused is not None and refused[1] == response.status:
            route.requests.forgive(self.request, refused[0])
        if turn is not None:
            turn.settle()
        if upload.ended:
            self._held.free()
            self._put_away(upload)
        return response

    async def _without_link(self, route: Upstream, linked: Linked, upload: Pump) -> Pump:
        """The connection is none: the body goes as it would have gone without links."""
        upload.close()
        body = linked.leave(self.request)
        return await self._coding(route, body, self.request.headers.named(WATCHED))

    def _refused(self, upload: Pump, response: Response) -> None:
        """The upstream did not read the request, which goes again, coded otherwise or plain."""
        assert self.ledger is not None
        self.retried = True
        upload.close()
        self.ledger.refused(upload.moved, response.status)

    def _plain_again(
        self, route: Upstream, coded: Coded, upload: Pump, response: Response
    ) -> Pump:
        self._refused(upload, response)
        route.requests.readable.learn(response.headers)
        return self._uploading(coded.undo(self.request))

    def _put_away(self, upload: Pump) -> None:
        """Keep of a finished upload what the log wants: the download may go on for an hour."""
        upload.close()
        self._bytes_up, self._model = self.bytes_up, self.model
        self._upload = self._finder = None

    async def _stream(self, route: Upstream, fresh: bool) -> Stream:
        full = route.destination.is_full
        wait = self._wait = route.destination.stream(fresh)
        if not wait.done:
            self._patience.enter(Phase.POOL if full else Phase.CONNECT, self._context.clock())
        stream = self.upstream = await wait
        self._patience.enter(Phase.CONNECT, self._context.clock())  # coding may take a while
        route.links.edge(stream.session)  # known from now on, should it be one
        stream.on_informational = passing(self.downstream.send_response)
        return stream

    def _coder(self, route: Upstream, response: Response) -> Coder | None:
        """What changes the response's coding."""
        taken, coding = self._accepted, route.responses
        if taken is None:
            return None
        near = is_near(self.downstream.client)
        marks = response.headers.named(MARKS)
        if marks:
            self._is_coded = marks.get(b"content-encoding") is not None
            route.requests.readable.learn(marks)
            hear(response, marks, route.links)
        offers = self._is_clear and self._context.links.enabled
        if not coding.may_change(taken, near, response, marks, offers):
            return None
        self.ledger = self.ledger or Ledger()
        shared = self._linked.shared(response) if self._linked is not None else NOT_SHARED
        return coding.plan(self.request, taken, near, response, self.ledger, shared)

    def _relay(self, route: Upstream, response: Response) -> None:
        """Begin to pass the response on. `_done` tells when it has passed."""
        assert self.upstream is not None
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
            self._linked.say(response)
        if is_event_stream(response) or (coder is not None and coder.carries_events):
            every = self._context.config.sse_keepalive
            self._interjection = Interjection(download, self.downstream, every)
        boundary = self._interjection.boundary.feed if self._interjection is not None else None
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
            self._linked.say(response)
        send_reply(self.downstream, self.method, response, body)

    def _answer(self, fault: Fault) -> None:
        """Tell the client, as far as it can still be told."""
        if isinstance(fault, ClientGone):
            return
        if self.response is None:
            self._reply(*fault_reply(fault, self._context.forms))
        elif self._interjection is not None:
            self._interjection.fault(fault, self.target)

    def _release(self) -> None:
        self._held.free()
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
