"""Who may use what is not for everyone: the figures, and the endpoints for people.

The one rule: a request is from this machine only if its connection is, and nothing in it says that
somebody passed it on, or that a page of another site made it. What changes something is not for
such pages, wherever they are.
"""

from __future__ import annotations

from m2mproxy.http.faults import ClientFault
from m2mproxy.proxy.pages import is_own_name
from m2mproxy.proxy.response_coding import is_near
from m2mproxy.proxy.routes import Asked

# What reverse proxies add for the client whose request it is, those that add anything.
_PASSED_ON = frozenset((b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"))


def check(who: str, asked: Asked, key: str) -> None:
    """Let a request pass if `who`, "loopback" or "on", has its client; `key` is where that is said.

    Raises:
        ClientFault: 403.
    """
    if who == "loopback" and not _is_from_here(asked):
        message = "this path is for clients on the same machine, by its address or as localhost"
        raise ClientFault(403, "loopback_only", f"{message}, unless {key} says otherwise")


def check_page(asked: Asked) -> None:
    """Let a request pass unless it was made by a page of another site, in whoever's browser:
    browsers name a page's origin with every POST, and nobody else does (RFC 6454 7.3).

    Raises:
        ClientFault: 403.
    """
    own = asked.request.authority.lower()
    for origin in asked.request.headers.values_of(b"origin"):
        if origin.lower().partition(b"://")[2] != own:
            message = "this path is not for pages of other sites"
            raise ClientFault(403, "cross_origin", message)


def _is_from_here(asked: Asked) -> bool:
    request = asked.request
    is_direct = is_near(asked.client) and not request.headers.named(_PASSED_ON)
    return is_direct and is_own_name(request.authority) is not None
