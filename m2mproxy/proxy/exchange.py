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

from m2mproxy.http.faults import ClientGone, Fault, UpstreamFault
from m2mproxy.http.flow import Flow, Signal
from m2mproxy.http.message import Request, Response
from m2mproxy.net.connection import Stream
from m2mproxy.net.pool import Wait
from m2mproxy.net.reusable import Tries
from m2mproxy.proxy.context import Context
from m2mproxy.proxy.delivery import adapt
from m2mproxy.proxy.errors import fault_reply
from m2mproxy.proxy.held import Held
from m2mproxy.proxy.injector import Injector
from m2mproxy.proxy.intake import answered
from m2mproxy.proxy.links import FIELD
from m2mproxy.proxy.pages import admit
from m2mproxy.proxy.patience import Patience, Phase
from m2mproxy.proxy.proof import prove
from m2mproxy.proxy.pump import Pump
from m2mproxy.proxy.record import Record
from m2mproxy.proxy.reply import send_reply
from m2mproxy.proxy.routes import LocalRoute, UpstreamRoute
from m2mproxy.proxy.sending import Sending
from m2mproxy.proxy.upload import Upload


def _nobody(_: Exchange) -> None:
    """The end has been told already."""


class Exchange(Record):
    """One request on its way, and what became of it."""

    __slots__ = (
        "_context", "_done", "_flow", "_injector", "_on_end", "_patience", "_sending", "_visitor",
        "_wait",
    )  # fmt: skip

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
        self._on_end = on_end
        self._sending: Sending | None = None  # until the upstream has all and has answered
        self._wait: Wait | None = None
        self._visitor = b""  # the origin of the page that asks, where it may read the answer
        self._done: Signal[None] = Signal()  # the response has passed
        self._injector: Injector | None = None  # for an event stream
        self._patience = Patience(context.config.timeouts, self.started)
        self._flow = Flow(self._run(request), self._ended)

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
        # What a pump has moved, or has been written as a whole, can wait for the line yet.
        sent_at = self.upstream.moved if self.upstream is not None else 0.0
        if self.upload is not None:
            sent_at = max(sent_at, self.upload.touched)
        fault = self._patience.ends(now, self.download or self.upload, sent_at)
        if fault is not None:
            self._flow.throw(fault)
            return
        speaks = self._injector is not None and self._injector.keep_alive(self._patience, now)
        if speaks and self.linked is not None:
            self.linked.speaks()
        if self._sending is not None:
            self._sending.check(now)

    # -- the life of a request ------------------------------------------------------------------

    async def _run(self, request: Request) -> None:
        try:
            route = self._context.routes.find(request)
            if isinstance(route, LocalRoute):
                await self._answer_here(route, request)
            else:
                self.forwarded = True
                self._visitor = route.pages.visitor(request)
                sending = Sending(self._context, self, request, route, self._uploaded)
                self._sending = sending
                upload = await sending.prepare(self._prove)
                self._relay(sending, await self._response(sending, upload))
                del request, sending, upload  # not to be held as long as the response lasts
                await self._done
        except Fault as fault:
            fault.settle()
            self.fault = fault
            self._answer(fault)
        except Exception as bug:  # reported with its traceback by whoever owns us
            self.bug = bug
            self._answer(Fault("an error inside the proxy"))
        finally:
            self._release()

    async def _prove(self, route: UpstreamRoute) -> None:
        stream = await self._stream(route, fresh=True)
        self._patience.enter(Phase.FIRST_BYTE, self._context.clock())
        await prove(stream, route)

    async def _response(self, sending: Sending, upload: Upload) -> Response:
        """Send the request and wait for the head of the response: again, where nobody has looked at
        it (`Tries`), and otherwise, where the upstream did not read what went."""
        tries = Tries()
        while True:
            stream = await self._stream(sending.route, fresh=tries.failed > 0)
            upload = await upload.fit(stream)
            stream.send_request(sending.request)
            now = self._context.clock()
            self.sent = self.sent or now
            self._patience.enter(Phase.FIRST_BYTE, now)
            upload.start(stream)
            try:
                response = await stream.head
            except UpstreamFault as fault:
                if not (tries.one_more(fault) and upload.halt()):
                    raise
                fault.settle()
                self.retried = True
                continue
            if not upload.judge(response):
                self._context.later(partial(self._settle, upload))
                return response
            stream.reset()
            self.retried = True
            tries = Tries()

    def _settle(self, upload: Upload) -> None:
        """The request is not sent again: let go of what was held for that, and of all of it if it
        has gone, however long the response takes."""
        if upload.settle() and self._sending is not None:
            self._sending.let_go()
            self._sending = None
            self.put_away()

    async def _stream(self, route: UpstreamRoute, fresh: bool) -> Stream:
        pool = route.destination
        stream = None if fresh else pool.at_once()
        if stream is None:
            phase = Phase.POOL if pool.is_full else Phase.CONNECT
            self._patience.enter(phase, self._context.clock())
            self._wait = pool.stream(fresh)
            stream = await self._wait
            self._wait = None
        self.upstream = stream
        self._patience.enter(Phase.CONNECT, self._context.clock())  # coding may take a while
        route.links.edge(stream.session)  # known from now on, should it be one
        stream.on_informational = self._inform
        return stream

    def _inform(self, response: Response) -> None:
        response.headers.drop((FIELD,))  # what it says of links is not for the client
        self.downstream.send_response(response)

    def _relay(self, sending: Sending, response: Response) -> None:
        """Begin to pass the response on. `_done` tells when it has passed."""
        assert self.upstream is not None
        self.upstream.on_informational = None
        clock = self._context.clock
        self.answered = clock()
        self._patience.enter(Phase.IDLE, self.answered)
        download = self.download = Pump(self.upstream.body, self._downloaded, clock)
        self._injector = adapt(self._context, self, sending, response, download)
        self.response = response
        if self._visitor:
            admit(response.headers, self._visitor)
        self.downstream.send_response(response)
        self.relayed = clock()
        download.start(self.downstream)

    def _uploaded(self, fault: Fault | None) -> None:
        if fault is not None:
            self._flow.throw(fault)
        elif self.answered and self._sending is not None:
            self._sending.held.free()

    def _downloaded(self, fault: Fault | None) -> None:
        if fault is None:
            self._context.later(self._seen)  # what came last has to be seen before
            self._done.set(None)
        else:
            self._done.fail(fault)

    def _seen(self) -> None:
        """The response has passed, all of it."""
        if self.linked is not None:
            self.linked.complete()
        if self._context.guard is not None and self.inspection is not None:
            self._context.guard.replied(self.inspection)

    # -- answers of our own ---------------------------------------------------------------------

    async def _answer_here(self, route: LocalRoute, request: Request) -> None:
        held = Held(self._context.holds)
        try:
            self._reply(*await answered(route, request, self.downstream, held))
        finally:
            held.free()

    def _reply(self, response: Response, body: bytes) -> None:
        self.response = response
        if self.linked is not None:
            self.linked.acknowledge(response)
        if self._visitor:
            admit(response.headers, self._visitor)
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
        if self._sending is not None:
            self._sending.held.free()
            self._sending = None
        for reader in (self.linked, self.inspection):
            if reader is not None:
                self._context.later(reader.leave)  # behind `_seen`, which may be to come
        if self._wait is not None:
            self._wait.leave()
        for pump in (self.upload, self.download):
            if pump is not None:
                pump.close()
        if self.upstream is not None:
            self.upstream.on_informational = None
            self.upstream.reset()
        self.downstream.on_fault = None
        self.downstream.reset()

    def _ended(self, error: BaseException | None) -> None:
        self.bug = self.bug or error
        self.ended = self._context.clock()
        on_end, self._on_end = self._on_end, _nobody
        on_end(self)
