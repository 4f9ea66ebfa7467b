"""Responses: coded for a client that asked for it, decoded for one that did not.

The one rule: a client gets a coding that it named or none, and what is coded already is passed on
as it is to whoever can read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.http.negotiation import Accepted
from m2mproxy.proxy import codings
from m2mproxy.proxy.coder import Coder
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.ledger import Ledger

# What says something about the bytes as they were coded before (RFC 9110 8.8.1, RFC 9530, 14.3).
_ABOUT_BYTES = (b"content-encoding", b"content-length", b"content-digest", b"content-md5")


# What of a response's head is looked at first.
MARKS = frozenset((b"accept-encoding", b"content-encoding", b"m2m-link"))


@dataclass(frozen=True, slots=True)
class ResponseCoding:
    """How responses are coded. `responses` is "on", "auto" (for clients elsewhere) or "off"."""

    responses: str
    min_size: int
    level: int
    upstream_is_near: bool
    forms: Forms

    def ask(self, request: Request, watched: Headers, accepted: Accepted) -> None:
        """Tell the upstream what can be read here, beside what the client can read."""
        if self.responses == "off" or watched.get(b"range") is not None:
            return
        headers = request.headers
        field = (b"accept-encoding", _asked(accepted, self.upstream_is_near, self.forms.peers()))
        if len(accepted.values) == 1:
            headers[headers.index((b"accept-encoding", accepted.values[0]))] = field
            return
        headers.drop((b"accept-encoding",))
        headers.append(field)

    def may_change(
        self, accepted: Accepted, near: bool, response: Response, marks: Headers
    ) -> bool:
        """Whether there is anything to do, by the MARKS of its head; for most there is not. To
        another m2mproxy it says what its requests may be coded in (RFC 9110 12.5.3)."""
        headers = response.headers
        peer_asks = is_peer(accepted)
        if peer_asks:
            headers.drop((b"accept-encoding",))
            headers.append((b"accept-encoding", self.forms.readable()))
        if self.responses == "off":
            return False
        if peer_asks:
            return response.length != 0
        if not accepted.names_any or (self.responses == "auto" and near):
            return marks.get(b"content-encoding") is not None and response.length != 0
        return response.length != 0

    def plan(
        self, request: Request, accepted: Accepted, near: bool, response: Response, ledger: Ledger
    ) -> Coder | None:
        """What the response's body has to go through; `response` says so. `near` is for a client
        on this machine."""
        if response.length == 0 or response.status in (206, 304) or request.method == b"HEAD":
            return None
        headers = response.headers
        names = codings.applied(headers)
        coded = b",".join(names).decode("latin-1")
        if names:
            ledger.upstream_in.coding = coded
            if accepted.takes_all(names) or not self.forms.can_read_all(names):
                ledger.client_out.coding = coded
                return None
        kind = codings.Kind.of(response)
        coding = self._coding(accepted, near, response, bool(names))
        if not (names or coding):
            return None
        decoder = self.forms.reader(names, kind) if names else None
        encoder = self.forms.writer(coding, kind, self.level) if coding else None
        _say(headers, coding)
        response.length = None
        if coding:
            ledger.client_out.coding = coding.decode()
        coder = Coder(decoder, encoder, ledger.upstream_in, ledger.client_out)
        coder.carries_events = kind is codings.Kind.EVENTS
        return coder

    def _coding(self, accepted: Accepted, near: bool, response: Response, was_coded: bool) -> bytes:
        if self.responses == "auto" and near and not is_peer(accepted):
            return b""
        headers, size = response.headers, response.length
        if b"no-transform" in headers.tokens(b"cache-control"):  # RFC 9110 7.7
            return b""
        if size is not None and size < self.min_size and not was_coded:
            return b""
        if not codings.compresses(codings.media_type(headers)):
            return b""
        return accepted.best(codings.responses(codings.Kind.of(response), size))


@lru_cache(256)
def _asked(accepted: Accepted, near: bool, peers: tuple[bytes, ...]) -> bytes:
    """Accept-Encoding for the upstream. What the client takes stays as it is; where it takes
    nothing we decode, if the upstream is elsewhere."""
    ours = [form for form in peers if not accepted.takes(form)]
    if accepted.names_any:
        return b", ".join([*ours, *accepted.values])
    return b", ".join([*ours, *(() if near else codings.STANDARD)])


@lru_cache(256)
def is_peer(accepted: Accepted) -> bool:
    """Whether the client is another m2mproxy."""
    return any(accepted.takes(form) for form in codings.peer_forms())


def _say(headers: Headers, coding: bytes) -> None:
    """Make the head true for the body as it will be."""
    headers.drop(_ABOUT_BYTES)
    if coding:
        headers.append((b"content-encoding", coding))
    if b"accept-encoding" not in headers.tokens(b"vary") and b"*" not in headers.tokens(b"vary"):
        headers.append((b"vary", b"accept-encoding"))
    for at, (name, value) in enumerate(headers):
        if name == b"etag" and not value.startswith(b"W/"):
            headers[at] = (name, b"W/" + value)  # RFC 9110 8.8.1: no longer the same bytes


def is_near(peer: str) -> bool:
    """Whether a client is on this machine, so that nothing between it and us costs anything."""
    return peer == "unix" or peer.startswith(("127.", "[::1]", "[::ffff:127."))
