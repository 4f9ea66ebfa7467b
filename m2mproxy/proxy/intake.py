"""Request bodies that have to be here as a whole before the request can go on: to be decoded, since
the client coded them; to be read for the model that routing needs, or by an endpoint of our own.

The one rule: a client that waits to be asked for its body is asked once, by us or by the upstream.
"""

from __future__ import annotations

import contextlib

from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.token_native import NoVocabulary
from m2mproxy.http.body import Body
from m2mproxy.http.faults import ClientFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.net.connection import Stream
from m2mproxy.proxy import codings
from m2mproxy.proxy.errors import not_loaded
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.forwarding import LIMITS
from m2mproxy.proxy.gather import chunks, gather, whole
from m2mproxy.proxy.held import Held
from m2mproxy.proxy.ledger import Ledger
from m2mproxy.proxy.model import model_of
from m2mproxy.proxy.offload import Run
from m2mproxy.proxy.pages import MARKS
from m2mproxy.proxy.pump import too_large
from m2mproxy.proxy.routes import Asked, LocalRoute

# What of a request's head is looked at.
WATCHED = MARKS | LIMITS | {b"accept-encoding", b"content-encoding", b"content-type", b"range"}
# What is decoded without asking for a thread, in plain bytes.
_AT_ONCE = 128 * 1024


def invite(request: Request, downstream: Stream) -> None:
    """Ask for the body: we have to read it here, and the upstream, who gets it at once, is not
    asked again."""
    if request.expects_continue:
        request.headers.drop((b"expect",))
        downstream.send_response(Response(100, Headers()))


async def gathered(
    request: Request, downstream: Stream, body: Body, limit: int, held: Held
) -> tuple[bytes, Body]:
    """All of the body, asked for, and a Body that holds the same chunks, counted by `held`.

    Raises:
        ClientFault: more than `limit` bytes (413).
        Busy: there is no room for them (503).
        Fault: what ended the body before its end.
    """
    invite(request, downstream)
    taken = await chunks(body, limit, held)
    return b"".join(taken), Body.complete(taken, body.trailers)


async def named(
    request: Request, downstream: Stream, body: Body, limit: int, held: Held
) -> tuple[str | None, Body]:
    """The model that the body names, and what `gathered` returns; see there."""
    text, body = await gathered(request, downstream, body, limit, held)
    return model_of(text, request.headers.get(b"content-type") or b""), body


async def answered(
    route: LocalRoute, request: Request, source: Stream, held: Held
) -> tuple[Response, bytes]:
    """What a route of our own answers."""
    body = b""
    if route.reads:
        body, _ = await gathered(request, source, source.body, route.reads, held)
    return await route.answer(Asked(request, body, source.client))


# -- what a client coded -------------------------------------------------------------------------

def is_coded(watched: Headers) -> bool:
    """Whether the client coded the body, by what is WATCHED of its head."""
    for name, value in watched:
        if name == b"content-encoding" and codings.applied(watched):
            return True
        if name == b"content-type" and b"x-m2m" in value.lower() and _is_frame(watched):
            return True
    return False


def _is_frame(watched: Headers) -> bool:
    return codings.media_type(watched) in codings.FRAME_TYPES


async def decoded(
    request: Request,
    downstream: Stream,
    body: Body,
    limit: int,
    ledger: Ledger,
    run: Run,
    forms: Forms,
    held: Held,
) -> Body:
    """The body as the client meant it, in place of what it sent; `request` says so.

    Raises:
        Busy: there is no room for it (503).
        ClientFault: 415 an unknown coding or vocabulary, 400 it cannot be decoded, 413 it is too
            large.
    """
    invite(request, downstream)
    headers = request.headers
    names = codings.applied(headers)
    if not forms.can_read(names):
        raise ClientFault(415, "unsupported_coding", forms.why_not(names))
    coded = await gather(body, limit, held)
    try:
        plain = await _read(names, coded, limit, run, forms)
    except TooLarge:
        raise too_large(limit) from None
    except NoVocabulary as error:
        raise not_loaded(error) from None
    except WireError as error:
        raise ClientFault(400, "undecodable_body", f"the body cannot be decoded: {error}") from None
    held.read(len(plain))
    ledger.client_in.coding = forms.label(names) or "m2m"
    ledger.client_in.add(len(coded), len(plain))
    headers.drop((b"content-encoding",))
    if codings.media_type(headers) in codings.FRAME_TYPES:
        headers.put(b"content-type", b"application/json")
    request.set_length(len(plain))
    return whole(plain)


async def _read(
    names: list[bytes], coded: bytes, limit: int, run: Run, forms: Forms
) -> bytes:
    """Here if it is not much, however little it looks: a few KiB can make many MiB."""

    def read(limit: int) -> bytes:
        return forms.decode_request(names, coded, limit)

    if len(coded) <= _AT_ONCE and codings.is_quick(names, coded):
        with contextlib.suppress(TooLarge):
            return read(min(limit, _AT_ONCE))
    return await run(limit, lambda: read(limit))
