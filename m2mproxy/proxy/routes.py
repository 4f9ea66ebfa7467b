"""Which requests we answer, which go to the upstream, and which nobody knows.

The one rule: only the API's own paths reach an upstream. A path that a server could resolve to
something outside of them (dot segments) is refused, for the operator's key may go with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from m2mproxy.http.faults import ClientFault, WrongMethod
from m2mproxy.http.message import Origin, Request, Response
from m2mproxy.http.validate import has_dot_segment
from m2mproxy.net.pool import Destination
from m2mproxy.proxy.forwarding import Forwarding
from m2mproxy.proxy.links import UpstreamLinks
from m2mproxy.proxy.pages import Pages, is_preflight, permission
from m2mproxy.proxy.request_coding import RequestCoding
from m2mproxy.proxy.response_coding import ResponseCoding
from m2mproxy.proxy.router import DeploymentError, Router

# The one path that is also served without /v1, for clients whose base_url lacks it.
_ALIAS = b"/chat/completions"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a path of our own is asked: the request, its body if that is read, and the client."""

    request: Request
    body: bytes
    client: str


Answer = Callable[[Asked], Awaitable[tuple[Response, bytes]]]


@dataclass(frozen=True, slots=True)
class LocalRoute:
    """A path that the proxy itself answers. `reads` is the largest body that it takes, in bytes; 0
    for one that is not looked at."""

    methods: tuple[bytes, ...]
    answer: Answer
    reads: int = 0


@dataclass(frozen=True, slots=True)
class UpstreamRoute:
    """Where requests go: the origin, its connections, how targets and fields are made for it."""

    origin: Origin
    authority: bytes
    scheme: bytes
    destination: Destination
    router: Router
    forwarding: Forwarding
    requests: RequestCoding
    responses: ResponseCoding
    links: UpstreamLinks
    pages: Pages

    def target(self, client_target: bytes, model: str | None) -> bytes:
        """The upstream's request target.

        Raises:
            ClientFault: the upstream's path needs a model that the request does not name.
        """
        try:
            return self.router.target(client_target, model)
        except DeploymentError as error:
            raise ClientFault(400, "model_required", str(error)) from None


async def _permit(asked: Asked) -> tuple[Response, bytes]:
    return permission(asked.request), b""


# What a page that is listed may send here is for us to say: it is not asked of an upstream that may
# know nothing of browsers, or want a key first.
_PERMISSION = LocalRoute((b"OPTIONS",), _permit)


class Routes:
    """All paths. There is one upstream; more will be a matter of this file."""

    def __init__(self, upstream: UpstreamRoute, local: Mapping[bytes, LocalRoute]) -> None:
        self.upstream = upstream
        self._local = local
        self._within = tuple(path for path in local if path.startswith(b"/v1/"))

    def find(self, request: Request) -> LocalRoute | UpstreamRoute:
        """Who serves `request`.

        Raises:
            ClientFault: 404 unknown path, 405 wrong method, 400 dot segments, 501 CONNECT, TRACE.
        """
        target = request.target
        # To whoever answers the one, a connection is a tunnel from there on; the other brings the
        # request back as it arrived, with the operator's key (RFC 9110 9.3.6 and 9.3.8).
        if request.method == b"CONNECT":
            raise ClientFault(501, "connect_not_supported", "CONNECT is not supported")
        if request.method == b"TRACE":
            raise ClientFault(501, "trace_not_supported", "TRACE is not supported")
        if target.startswith(b"/v1/") or self._is_extra(target):
            path = request.path
            if (b"." in path or b"%" in path) and has_dot_segment(path):
                raise ClientFault(400, "bad_path", "the path has dot segments")
            if self._within and path in self._within:
                return _allowed(self._local[path], request)
            if self.upstream.pages.visitor(request) and is_preflight(request):
                return _PERMISSION
            return self.upstream
        local = self._local.get(request.path)
        if local is not None:
            return _allowed(local, request)
        has = ", ".join(["/v1/... (a base_url ends in /v1)", *_outside(self._local)])
        raise ClientFault(404, "unknown_path", f"unknown path: this proxy has {has}")

    def _is_extra(self, target: bytes) -> bool:
        return target.partition(b"?")[0] == _ALIAS or self.upstream.router.is_native(target)


class OwnRoutes:
    """The paths of an address where nothing is forwarded."""

    def __init__(self, local: Mapping[bytes, LocalRoute]) -> None:
        self._local = local

    def find(self, request: Request) -> LocalRoute:
        """Who serves `request`.

        Raises:
            ClientFault: 404 unknown path, 405 wrong method.
        """
        local = self._local.get(request.path)
        if local is None:
            has = ", ".join(_outside(self._local))
            raise ClientFault(404, "unknown_path", f"unknown path: this address has {has}")
        return _allowed(local, request)


def _outside(local: Iterable[bytes]) -> list[str]:
    """Those of our own paths that are no part of the API."""
    return [path.decode() for path in local if not path.startswith(b"/v1/")]


def _allowed(local: LocalRoute, request: Request) -> LocalRoute:
    if request.method not in local.methods:
        raise WrongMethod(b", ".join(local.methods))
    return local
