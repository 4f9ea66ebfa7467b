"""What links remember of one exchange. Its client may be an edge, whose body is decoded here; its
upstream may be a core, to which it goes as a Turn; and on either the reply is remembered.

The one rule: a body is remembered when it is known to be the sender's own, its reply when it is
complete, and whatever goes wrong with a link is told to the edge, never to the application.
"""

from __future__ import annotations

from functools import partial

from m2mproxy.codec import events
from m2mproxy.codec.after import Before
from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.http.body import Body
from m2mproxy.http.faults import ClientFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.link.core import Core, Miss, Received
from m2mproxy.link.reply import ReplyReader, Room, render
from m2mproxy.link.scope import Names, names_in, scope
from m2mproxy.link.window import Entry
from m2mproxy.net.connection import Stream
from m2mproxy.proxy import codings
from m2mproxy.proxy.gather import chunks, whole
from m2mproxy.proxy.held import Held
from m2mproxy.proxy.intake import invite
from m2mproxy.proxy.ledger import Ledger
from m2mproxy.proxy.links import (
    CODING,
    FIELD,
    HAVE,
    HEARS,
    MISSED,
    READS_AFTER,
    Links,
    Shared,
)
from m2mproxy.proxy.offload import Later, Run
from m2mproxy.proxy.pump import too_large
from m2mproxy.proxy.tap import Tap
from m2mproxy.proxy.turn import Turn

# What of a body is decoded without asking for a thread, in plain bytes.
_AT_ONCE = 256 * 1024


def is_linked(headers: Headers) -> bool:
    """Whether a request's body is coded for a link, and in nothing else."""
    return headers.values_of(b"content-encoding") == [CODING]


def _read(received: Received, tenant: bytes, limit: int) -> tuple[bytes, bytes, Names]:
    """The body, whose it is, and what says so."""
    plain = received.decode(limit)
    names = names_in(plain, received.earlier)
    of = scope(tenant, plain, names)
    received.check(of)
    return plain, of, names


class Linked:
    """What is remembered of an exchange."""

    __slots__ = (
        "_before", "_core", "_kept", "_later", "_reader", "_room", "_speaks", "_was_read", "turn",
    )  # fmt: skip

    def __init__(self, later: Later, room: Room) -> None:
        """`later` is for what nobody waits for, `room` for the replies that are read."""
        self._later = later
        self._room = room
        self.turn: Turn | None = None
        """The request, as it goes to an upstream."""
        self._was_read = False  # the body, whether it is remembered or not
        self._speaks = False
        self._before: Before | None = None  # what the reply may be coded after
        self._core: Core | None = None
        self._kept: Entry | None = None
        self._reader: ReplyReader | None = None

    async def receive(
        self,
        stream: Stream,
        request: Request,
        limit: int,
        ledger: Ledger,
        links: Links,
        run: Run,
        held: Held,
    ) -> Body:
        """The body that came coded from an edge, in plain; `request` says so.

        Raises:
            Busy: there is no room for it (503).
            ClientFault: 409 what it continues is not here, 400 it is damaged, 413 it is too large,
                415 on a connection that is no link.
        """
        core = links.core(stream)
        if core is None:
            raise ClientFault(415, "unsupported_coding", "this connection is no m2m-link")
        tenant = links.tenant(request, stream.certificate)
        session = stream.session
        reads = session.settings.get(READS_AFTER) if session is not None else 0  # as said so far
        invite(request, stream)
        data = b"".join(await chunks(stream.body, limit, held))
        try:
            received = core.receive(stream.id, tenant, data)
            work = received.work
            plain, of, names = await run(
                work if work > _AT_ONCE else 0, lambda: _read(received, tenant, limit)
            )
        except Miss:
            raise ClientFault(409, MISSED, "what the body continues is not here") from None
        except TooLarge:
            raise too_large(limit) from None
        except WireError as error:
            message = f"the body cannot be decoded: {error}"
            raise ClientFault(400, "undecodable_body", message) from None
        held.read(len(plain))
        self._core, self._was_read = core, True
        if reads:
            self._before = Before.of(plain, received.ends)
        self._later(partial(self._keep, core, stream.id, tenant, of, received, plain, names))
        ledger.client_in.coding = CODING.decode()
        ledger.client_in.add(len(data), len(plain))
        request.headers.drop((b"content-encoding",))
        request.set_length(len(plain))
        return whole(plain)

    def _keep(
        self,
        core: Core,
        number: int,
        tenant: bytes,
        scope: bytes,
        received: Received,
        body: bytes,
        names: Names,
    ) -> None:
        """Remember the body, and be ready for the reply."""
        self._kept = core.keep(number, tenant, scope, received, body, names)
        events.expect()

    def acknowledge(self, response: Response) -> None:
        """The response is about to leave, in whatever coding: tell the edge that its body was read,
        so that it is not sent again whatever the answer is."""
        self._before = None  # not needed any more, however long the response is
        if self.turn is not None:
            self.turn.before = None
        if self._was_read:
            response.headers.append((FIELD, HEARS if self._reader is not None else HAVE))

    def shared(self, response: Response) -> Shared:
        """What the coding of the response has to know."""
        came = self.turn.before if self.turn is not None else None
        return Shared(self.wants(response), came, self._before)

    def wants(self, response: Response) -> bool:
        """Whether the text of the response is to be remembered, if it can be seen."""
        heard = self.turn is not None and self.turn.entry is not None
        return (heard or self._kept is not None) and 200 <= response.status < 300

    def taps(self, response: Response, kind: codings.Kind) -> list[Tap]:
        """What shall see the plain bytes of the response as they pass."""
        if not self.wants(response):
            return []
        self._reader = ReplyReader(kind is codings.Kind.EVENTS, self._room)
        return [self._reader.feed]

    def speaks(self) -> None:
        """Something of our own stands in the response, which the edge before us sees as the rest,
        and the reader here does not: nothing is coded after it."""
        self._speaks = True

    def complete(self) -> None:
        """The response has passed, all of it."""
        if self._reader is None:
            return
        reader, self._reader = self._reader, None
        messages = reader.finish()
        if not messages:
            return
        if self.turn is not None:
            self.turn.replied(messages, reader.ends)
        if self._core is not None and self._kept is not None:
            ends = b"" if self._speaks else reader.ends
            self._core.replied(self._kept, render(messages, self._kept.body), ends)

    def leave(self) -> None:
        """The exchange is over: what was read of a response that is not complete is none."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.drop()
        if self.turn is not None:
            self.turn.settle()  # it may have had no answer
