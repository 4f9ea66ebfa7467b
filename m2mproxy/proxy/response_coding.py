"""Responses: coded for a client that asked for it, decoded for one that did not.

The one rule: a client gets a coding that it named or none, and what is coded already is passed on
as it is to whoever can read it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from m2mproxy.codec import events
from m2mproxy.config import Compression
from m2mproxy.http.faults import UpstreamFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.http.negotiation import Accepted
from m2mproxy.proxy import codings
from m2mproxy.proxy.coder import Coder
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.ledger import Ledger
from m2mproxy.proxy.links import FIELD, OFFER, Shared

# What says something about the bytes as they were coded before (RFC 9110 8.8.1, RFC 9530, 14.3).
_ABOUT_BYTES = (b"content-encoding", b"content-length", b"content-digest", b"content-md5")

NOT_SHARED = Shared()
# Bytes from which a response is smaller with a dictionary, for a client that has it.
_LEAST_FOR_PEERS = 128
# What of a response's head is looked at first.
MARKS = frozenset((b"accept-encoding", b"content-encoding", b"m2m-link"))


class Reader(NamedTuple):
    """Who gets a response, as far as its coding asks."""

    accepted: Accepted
    """What it takes."""
    is_near: bool
    """Whether it is on this machine, where bytes cost nothing to move."""
    may_link: bool
    """Whether it could have a link on another connection."""


class ResponseCoding:
    """How responses are coded: "on", "auto" (for clients elsewhere) or "off"."""

    def __init__(self, config: Compression, upstream_host: str, forms: Forms) -> None:
        """For the responses of the upstream at that host."""
        self.forms = forms
        self._responses = config.responses
        self._min_size = config.min_size
        self._level = config.level
        local = upstream_host in ("localhost", "::1") or upstream_host.startswith("127.")
        self._upstream_is_near = local
        if config.responses != "off":
            events.prepare()

    def add_accept_encoding(self, request: Request, watched: Headers, reader: Reader) -> None:
        """Tell the upstream what can be read here, beside what the client can read."""
        only_sealed = self._responses == "off" or watched.get(b"range") is not None
        peers = self.forms.sealed if only_sealed else self.forms.peers
        if not peers:
            return
        accepted, headers = reader.accepted, request.headers
        only_peers = only_sealed or self._upstream_is_near
        field = (b"accept-encoding", _accept_encoding(accepted, only_peers, peers))
        if len(accepted.values) == 1:
            headers[headers.index((b"accept-encoding", accepted.values[0]))] = field
            return
        headers.drop((b"accept-encoding",))
        headers.append(field)

    def only_we_asked(self, reader: Reader, names: list[bytes]) -> bool:
        """Whether one of these codings of a response is none that the client takes. No such one
        makes nothing of a body: what came without one has lost it on the way."""
        is_off = self._responses == "off"
        peers = self.forms.sealed if is_off else self.forms.peers
        ours = _asked(reader.accepted, is_off or self._upstream_is_near, peers)
        return any(name in ours or name == codings.LINK for name in names)

    def may_change(self, reader: Reader, response: Response, marks: Headers) -> bool:
        """Whether there is anything to do, by the MARKS of its head; for most there is not. To
        another m2mproxy it says what its requests may be coded in (RFC 9110 12.5.3), and that there
        can be a link on another connection.

        Raises:
            UpstreamFault: it has to be sealed, and is not.
        """
        accepted, headers = reader.accepted, response.headers
        peer_asks = is_peer(accepted, self.forms.peers)
        if peer_asks:
            headers.drop((b"accept-encoding",))
            headers.append((b"accept-encoding", self.forms.readable))
            if reader.may_link:
                headers.append((FIELD, OFFER))
        elif any(name == b"accept-encoding" and codings.M2M in value for name, value in marks):
            headers.drop((b"accept-encoding",))  # it was for us: only another m2mproxy says so
        if response.length != 0:
            self.forms.check_response(headers)
        if self._responses == "off":
            # What is coded after a request is for nobody but us, whoever asked for the form in
            # whose place it came.
            is_ours = self.forms.seal is not None or codings.LINK in marks.tokens(
                b"content-encoding"
            )
            return is_ours and response.length != 0
        if peer_asks:
            return response.length != 0
        if not accepted.names_any or (self._responses == "auto" and reader.is_near):
            return marks.get(b"content-encoding") is not None and response.length != 0
        return response.length != 0

    def plan(
        self,
        reader: Reader,
        response: Response,
        media: bytes,
        ledger: Ledger,
        shared: Shared = NOT_SHARED,
    ) -> Coder | None:
        """What the response's body, of that `media` type, has to go through; `response` says so.

        Raises:
            UpstreamFault: it is sealed, and cannot be opened here; or it is coded after a request
                that did not cross on a link.
        """
        accepted, headers = reader.accepted, response.headers
        sealed = self.forms.is_sealed(headers)
        # What the upstream coded would else cross in clear, since our peer's client takes it so.
        seals = not sealed and any(map(accepted.takes, self.forms.sealed))
        if response.length == 0:
            return None
        names = codings.applied(headers)
        if response.status in (206, 304) and not sealed:
            self._is_after(names, NOT_SHARED)  # no part of one is
            return None
        if names:
            ledger.upstream_in.coding = self.forms.label(names)
            changes = seals or (shared.opened and _transforms(headers))
            passes = accepted.takes_all(names) and not changes
            if not self._is_after(names, shared) and (
                passes or not self._reads(names, sealed, seals)
            ):
                ledger.client_out.coding = self.forms.label(names)
                return None
        size = None if names else response.length  # of what is decoded it is not known
        coding = self._coding(reader, headers, media, size)
        into = [coding] if coding else []
        into += filter(accepted.takes, self.forms.sealed)  # at last
        if not (names or into):
            return None
        kind = codings.Kind.of(media)
        if shared.goes is not None:
            into = codings.after_request(into, kind, size)
        decoder = self.forms.decoder(names, kind, before=shared.came) if names else None
        encoder = None
        if into:
            encoder = self.forms.encoder(into, kind, size, self._level, shared.goes)
        _rewrite_head(headers, into)
        response.length = None
        if into:
            ledger.client_out.coding = self.forms.label(into)
        coder = Coder(decoder, encoder, ledger.upstream_in, ledger.client_out)
        coder.filler = codings.filler(into, kind)
        is_lost_without = response.status < 400 and self.only_we_asked(reader, names)
        coder.may_be_empty = not (is_lost_without or sealed)
        return coder

    def _is_after(self, names: list[bytes], shared: Shared) -> bool:
        """Whether these are the coding of a reply after its request."""
        if codings.LINK not in names:
            return False
        if names != [codings.LINK] or shared.came is None:
            raise UpstreamFault("protocol", "the upstream's reply is coded for a link, and not one")
        return True

    def _reads(self, names: list[bytes], sealed: bool, seals: bool) -> bool:
        """Whether what these were applied to is decoded here; what is sealed, or is to be, never
        passes so."""
        if self.forms.can_read_reply(names):
            return sealed or seals or self._responses != "off"
        if sealed:
            raise UpstreamFault("protocol", "the upstream's reply has codings that are not known")
        return False

    def _coding(self, reader: Reader, headers: Headers, media: bytes, size: int | None) -> bytes:
        """What a plain response of that `size`, if it is known, is coded in for the client; b"" for
        nothing."""
        peer = is_peer(reader.accepted, self.forms.peers)
        if self._responses == "off" or (self._responses == "auto" and reader.is_near and not peer):
            return b""
        least = min(_LEAST_FOR_PEERS, self._min_size) if peer else self._min_size
        if size is not None and size < least:
            return b""
        if not (_transforms(headers) and codings.compresses(media)):
            return b""
        return reader.accepted.best(codings.responses(codings.Kind.of(media), size))


def _transforms(headers: Headers) -> bool:
    """Whether the upstream leaves us to change the coding (RFC 9110 7.7)."""
    return b"no-transform" not in headers.tokens(b"cache-control")


@lru_cache(256)
def _accept_encoding(accepted: Accepted, only_peers: bool, peers: tuple[bytes, ...]) -> bytes:
    """Accept-Encoding for the upstream. What the client takes stays as it is."""
    theirs = accepted.values if accepted.names_any else ()
    return b", ".join([*_asked(accepted, only_peers, peers), *theirs])


@lru_cache(256)
def _asked(accepted: Accepted, only_peers: bool, peers: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """What only we ask for: forms of ours, and where the client takes nothing that is decoded here,
    what others have, unless it is to be `only_peers`."""
    ours = tuple(form for form in peers if not accepted.takes(form))
    return ours if only_peers or accepted.names_any else (*ours, *codings.STANDARD)


@lru_cache(256)
def is_peer(accepted: Accepted, peers: tuple[bytes, ...]) -> bool:
    """Whether the client is another m2mproxy, by the forms that one may take."""
    return any(accepted.takes(form) for form in peers)


def _rewrite_head(headers: Headers, names: list[bytes]) -> None:
    """Make the head true for the body as it will be."""
    headers.drop(_ABOUT_BYTES)
    if names:
        headers.append((b"content-encoding", b", ".join(names)))
    if not {b"accept-encoding", b"*"}.intersection(headers.tokens(b"vary")):
        headers.append((b"vary", b"accept-encoding"))
    for at, (name, value) in enumerate(headers):
        if name == b"etag" and not value.startswith(b"W/"):
            headers[at] = (name, b"W/" + value)  # RFC 9110 8.8.1: no longer the same bytes


def is_near(client: str) -> bool:
    """Whether a client, by its address, is on this machine, where bytes cost nothing to move."""
    return client == "unix" or client.startswith(("127.", "[::1]", "[::ffff:127."))
