"""Who may use what is not for everyone: the figures, and the endpoints for people.

The one rule: a request is from this machine only if its connection is, and nothing in it says that
somebody passed it on.
"""

from __future__ import annotations

from m2mproxy.http.faults import ClientFault
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
        message = f"this path is for clients on the same machine, unless {key} says otherwise"
        raise ClientFault(403, "loopback_only", message)


def _is_from_here(asked: Asked) -> bool:
    return is_near(asked.client) and not asked.request.headers.named(_PASSED_ON)
