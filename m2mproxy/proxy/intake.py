"""Request bodies that have to be here as a whole before the request can go on: to be read for the
model that routing needs, or by an endpoint of our own.

The one rule: a client that waits to be asked for its body is asked once, by us or by the upstream.
"""

from __future__ import annotations

from m2mproxy.http.body import Body
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.net.connection import Stream
from m2mproxy.proxy.gather import again, chunks
from m2mproxy.proxy.held import Held
from m2mproxy.proxy.model import model_of
from m2mproxy.proxy.routes import Asked, LocalRoute


def invite(request: Request, downstream: Stream) -> None:
    """Ask for the body: we have to read it here, and the upstream, who gets it at once, is not
    asked again."""
    if request.expects_continue:
        request.headers.drop((b"expect",))
        downstream.send_response(Response(100, Headers()))


async def gathered(
    request: Request, downstream: Stream, body: Body, limit: int, held: Held | None = None
) -> tuple[bytes, Body]:
    """All of the body, asked for, and a Body that holds the same chunks, counted by `held`.

    Raises:
        ClientFault: more than `limit` bytes (413).
        Busy: there is no room for them (503).
        Fault: what ended the body before its end.
    """
    invite(request, downstream)
    taken = await chunks(body, limit, held)
    return b"".join(taken), again(taken, body.trailers)


async def named(
    request: Request, downstream: Stream, body: Body, limit: int, held: Held
) -> tuple[str | None, Body]:
    """The model that the body names, and what `gathered` returns; see there."""
    text, body = await gathered(request, downstream, body, limit, held)
    return model_of(text), body


async def answered(
    route: LocalRoute, request: Request, source: Stream, held: Held
) -> tuple[Response, bytes]:
    """What a route of our own answers."""
    body = b""
    if route.reads:
        body, _ = await gathered(request, source, source.body, route.reads, held)
    return await route.answer(Asked(request, body, source.client))
