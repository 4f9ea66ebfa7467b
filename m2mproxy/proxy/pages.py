"""Requests that a page in a browser made, and not the one who sits before it.

Any page can have its visitor's browser ask an address of that machine, or of its network, and most
of what does harm needs no permission: a POST of text/plain goes without one, and costs what it
costs, though the page may not read the answer (Fetch 3.2). A page whose name comes to mean this
machine once it has been loaded may read it, too (DNS rebinding). Programs say nothing of pages, and
are not concerned.

The one rule: what the operator lends goes with no request of which a browser says that a page made
it, unless that page is one of this machine's own or proxy.web_origins lists it.
"""

from __future__ import annotations

import re

from m2mproxy.http.faults import ClientFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.proxy.providers import Profile, has_credential
from m2mproxy.proxy.response_coding import is_near

ALL = b"*"
# What browsers say of the page that asks, and no page can change (Fetch 2.2.2, "forbidden"). Of a
# GET they say nothing in Origin where it is to the page's own site or asks for no answer that can
# be read, and nothing in Sec-Fetch-Site where it is in cleartext and to no loopback address.
MARKS = frozenset((b"origin", b"sec-fetch-site"))
_ASKED_METHOD = b"access-control-request-method"
_ASKED_FIELDS = b"access-control-request-headers"
_ASKED_NETWORK = b"access-control-request-private-network"
_ALLOW = b"access-control-allow-origin"
_EXPOSE = b"access-control-expose-headers"
_CROSS_ORIGIN = (
    "a page of another site may not use what opens the upstream for the operator, unless "
    "proxy.web_origins lists its origin"
)
_FOREIGN_HOST = (
    "this address is for this machine only, and was asked by a name that any page could have; use "
    "localhost, or list http://NAME:PORT in proxy.web_origins"
)
# Seconds that a browser may remember what it was told: Chrome's limit.
_REMEMBER = b"7200"

# Addresses and names that no page of another site can have been read under. Whoever owns any other
# name can have it mean this machine once its page is in a browser here: to that browser what we
# say is the page's own then.
is_own_name = re.compile(
    rb"(?:\[[^]]*\]|[0-9.]+|[^.:]*|(?:[^:]*\.)?localhost)(?::[0-9]*)?", re.IGNORECASE
).fullmatch
# The origins of pages that this machine serves: what serves them can ask without a browser. Not
# those of a gateway of IPFS, which serves anybody's pages under such names.
_is_local = re.compile(
    rb"https?://(?:\[::1\]|127\.[0-9.]+|(?:[^/:]+(?<!\.ip[fn]s)\.)?localhost)(?::[0-9]+)?",
    re.IGNORECASE,
).fullmatch
# Schemes of programs that have others' pages: extensions of browsers, and IPFS in one.
_is_of_others = re.compile(rb".*-extension|ip[fn]s", re.DOTALL).fullmatch


class Pages:
    """Which pages may ask, and how their browsers are told."""

    def __init__(
        self,
        listed: tuple[str, ...],
        lends: bool,
        is_loopback: bool,
        profile: Profile,
        always: bool = False,
    ) -> None:
        """`listed` are the origins that may, "*" for all. `lends` is whether anything of the
        operator's opens the upstream; `always`, whether that goes also with a request that brings
        a key of its own. `is_loopback` is whether a client at the loopback address can only have
        come to one that is for this machine. `profile` is the upstream's."""
        self._listed = frozenset(origin.encode("ascii") for origin in listed)
        self._hosts = frozenset(origin.partition(b"://")[2] for origin in self._listed)
        self._lends = lends
        self._always = always
        self._is_loopback = is_loopback
        self._profile = profile

    def check(self, request: Request, watched: Headers, client: str) -> None:
        """Let a request pass, unless a page made it that may not. `watched` is what of its head is
        looked at, MARKS among it, `client` its address.

        Raises:
            ClientFault: 403.
        """
        marks = watched.named(MARKS)
        if marks:
            may = not self._lends or self._may_ask(marks, request.authority.lower())
        else:
            may = not self._may_be_rebound(request, client)
        if may or is_preflight(request):
            return
        # A page of another site has had to ask whether it may send a key, and one whose name has
        # come to mean this machine has none that opens anything.
        if not self._always and has_credential(self._profile, request.headers):
            return
        if marks:
            raise ClientFault(403, "cross_origin", _CROSS_ORIGIN)
        raise ClientFault(403, "foreign_host", _FOREIGN_HOST)

    def _may_ask(self, marks: Headers, authority: bytes) -> bool:
        site = marks.get(b"sec-fetch-site", b"")
        if site == b"same-origin":  # also where a proxy before us has changed Host
            return True
        origins = marks.values_of(b"origin")
        if not origins:  # what a page embeds, or sends its visitor to; "none": typed by a person
            return site == b"none"
        return all(self._may(origin, authority) for origin in origins)

    def _may(self, origin: bytes, authority: bytes) -> bool:
        if self.lists(origin) or _is_local(origin):
            return True
        scheme, found, host = origin.lower().partition(b"://")
        if scheme in (b"http", b"https"):
            return host == authority and is_own_name(host) is not None
        # A program's own pages, such as tauri://localhost. Pages without an origin (null) come from
        # anywhere.
        return bool(found) and _is_of_others(scheme) is None

    def _may_be_rebound(self, request: Request, client: str) -> bool:
        """Whether it looks like the one sort of request of which browsers say nothing: a GET of
        what they take for the page's own site. TLS would have shown that it is not.

        Nobody behind us could see that, since Host is the upstream's from here on; so it is asked
        also where nothing is lent.
        """
        if not (self._is_loopback and request.method in (b"GET", b"HEAD")):
            return False
        if request.scheme == b"https" or client == "unix" or not is_near(client):
            return False
        host = request.authority.lower()
        is_named = is_own_name(host) is not None or host in self._hosts
        return not (is_named or ALL in self._listed)

    # -- what browsers are told of pages that are listed ----------------------------------------

    def lists(self, origin: bytes) -> bool:
        """Whether pages of that `origin` are listed."""
        return origin in self._listed or ALL in self._listed

    def visitor(self, request: Request) -> bytes:
        """The origin of the page that asks, if it is listed; else b""."""
        if not self._listed:
            return b""
        origin = request.headers.get(b"origin") or b""
        return origin if origin and self.lists(origin) else b""


def is_preflight(request: Request) -> bool:
    """Whether a browser asks if it may ask (Fetch 3.2.2). Browsers send no keys with that."""
    headers = request.headers
    return request.method == b"OPTIONS" and all(map(headers.values_of, (b"origin", _ASKED_METHOD)))


def permission(request: Request) -> Response:
    """The answer to a preflight of a listed page: it may do what it asks for."""
    headers, asked = Headers(((b"server", b"m2mproxy"),)), request.headers
    admit(headers, asked.get(b"origin") or b"")
    headers.append((b"access-control-allow-methods", asked.get(_ASKED_METHOD) or b""))
    fields = asked.get(_ASKED_FIELDS)
    if fields is not None:
        headers.append((b"access-control-allow-headers", fields))
    if asked.get(_ASKED_NETWORK) == b"true":  # of Chrome 104 to 141; later ones ask their users
        headers.append((b"access-control-allow-private-network", b"true"))
    headers.append((b"access-control-max-age", _REMEMBER))
    return Response(204, headers)


def admit(headers: Headers, origin: bytes) -> None:
    """Have a response say that pages of `origin` may read it, if it does not say so itself."""
    if headers.values_of(_ALLOW) in ([ALL], [origin]):
        return
    headers.drop((_ALLOW,))
    headers.append((_ALLOW, origin))
    if headers.get(_EXPOSE) is None:
        headers.append((_EXPOSE, ALL))
    if not {b"origin", b"*"}.intersection(headers.tokens(b"vary")):
        headers.append((b"vary", b"origin"))
