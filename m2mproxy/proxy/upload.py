"""A request's body on its way to the upstream, in whatever form it goes there.

An exchange does the same with each: it has it made fit for the stream that it got, starts it there,
halts it where that stream failed before anybody looked at it, and asks it what the head of the
response means for it. How it goes, whether it can go again, and what goes in its place where it was
not read is known here, for what goes as it comes; in request_coding.py for what is coded; and in
turn.py for what goes by a link.

The one rule: whatever becomes of the form, the upstream gets the client's bytes, in the same
exchange.
"""

from __future__ import annotations

from typing import Protocol

from m2mproxy.http.body import Body
from m2mproxy.http.message import Request, Response
from m2mproxy.net.connection import Stream
from m2mproxy.proxy.held import Held
from m2mproxy.proxy.ledger import Ledger
from m2mproxy.proxy.offload import Later, Run
from m2mproxy.proxy.pump import Pump


class Upload(Protocol):
    """A body, and how it goes at the moment."""

    async def fit(self, stream: Stream) -> Upload:
        """What is to go on `stream`: this, or what it has to give way to. The request's head says
        so, and is still to be sent."""

    def start(self, stream: Stream) -> None:
        """The head went out on `stream`: let the body follow."""

    def halt(self) -> bool:
        """The stream failed: whether this may go on another one."""

    def judge(self, response: Response) -> bool:
        """The head of a response came: whether the upstream did not read this, so that it goes
        again, otherwise than it did."""

    def settle(self) -> bool:
        """Nothing goes again: let go of what was held for that. Whether all of it has gone."""


class Sender(Protocol):
    """What an upload knows of its exchange."""

    request: Request
    """As it goes to the upstream."""
    held: Held
    run: Run
    """For what takes long."""
    later: Later
    """For what nobody waits for."""

    @property
    def ledger(self) -> Ledger:
        """What crosses, begun when it is first asked for."""

    def show(self, plain: bytes) -> None:
        """The body, for whoever wants to see it. What goes `as_it_comes` is seen as it passes."""

    def pump(self, body: Body) -> Pump:
        """What moves `body` from now on, and nothing that was moved before."""

    def put(self, body: bytes, stream: Stream) -> None:
        """Write a body that is held, all of it."""

    def as_it_comes(self, body: Body) -> Upload:
        """The body as it is."""

    async def unlinked(self, plain: bytes) -> Upload:
        """What goes of a body that was to go by a link, where there is none."""

    def refused(self, response: Response) -> None:
        """The upstream did not read what went: it crossed for nothing."""


class AsItComes:
    """What goes as it comes, and again as long as all that has passed is held."""

    __slots__ = ("_pump",)

    def __init__(self, pump: Pump) -> None:
        self._pump = pump

    async def fit(self, stream: Stream) -> Upload:
        """See `Upload`."""
        return self

    def start(self, stream: Stream) -> None:
        """See `Upload`."""
        self._pump.start(stream)

    def halt(self) -> bool:
        """See `Upload`."""
        return self._pump.halt()

    def judge(self, response: Response) -> bool:
        """See `Upload`."""
        return False

    def settle(self) -> bool:
        """See `Upload`."""
        self._pump.forget()
        return self._pump.ended
