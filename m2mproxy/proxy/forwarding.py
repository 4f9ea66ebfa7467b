"""What a request carries to the upstream beyond what the client wrote.

The one rule: add, never change. The client's fields stay as they are and in their order; ours
come after them (RFC 9110 7.6.3 Via, RFC 7239 Forwarded, the configured key where the client has
none of its own).
"""

from __future__ import annotations

from functools import lru_cache

from m2mproxy.http.faults import ClientFault
from m2mproxy.http.headers import Field, Headers
from m2mproxy.http.message import Request
from m2mproxy.proxy.pages import is_preflight
from m2mproxy.proxy.providers import Profile, has_credential, key_field

_PSEUDONYM = b"m2mproxy"
_VIA = {
    (1, 0): (b"via", b"1.0 " + _PSEUDONYM),
    (1, 1): (b"via", b"1.1 " + _PSEUDONYM),
    (2, 0): (b"via", b"2 " + _PSEUDONYM),
}
# Bytes of a host and port: of longer ones, which no name server has, the element is not kept.
_LONGEST_HOST = 262
# An edge and a core pass a request on once each; more than this is a loop (RFC 9110 7.6.3).
_MOST_PASSES = 4
# What says that a request goes no further, or in circles.
LIMITS = frozenset((b"upgrade", b"via"))


class Forwarding:
    """Prepares requests for one upstream."""

    def __init__(self, profile: Profile, api_key: str, forwarded: bool) -> None:
        self._profile = profile
        self._key: Field | None = key_field(profile, api_key.encode("ascii")) if api_key else None
        self._forwarded = forwarded

    def prepare(self, request: Request, watched: Headers, client: str) -> None:
        """Complete `request.headers` for the upstream. `watched` is what of them is looked at,
        LIMITS among it, `client` its address.

        Raises:
            ClientFault: 501 for a protocol upgrade, 508 for a request that goes in circles.
        """
        headers = request.headers
        _refuse(watched, headers)
        headers.append(_VIA[request.version])
        if self._forwarded:
            is_kept = len(request.authority) <= _LONGEST_HOST
            make = forwarded_element if is_kept else forwarded_element.__wrapped__
            host = client.rpartition(":")[0]  # without the port, which no two connections share
            headers.append((b"forwarded", make(host, request.authority, request.scheme)))
        if self._key is None or is_preflight(request):
            return
        if not has_credential(self._profile, headers):
            headers.drop(self._profile.credential_headers)  # those that are empty
            headers.append(self._key)


def _refuse(watched: Headers, headers: Headers) -> None:
    """Refuse what is not done, and take out of `headers` what is ignored, by its LIMITS."""
    passes = 0
    for name, value in watched:
        if name == b"via":
            passes += value.count(_PSEUDONYM)
        elif name != b"upgrade":
            continue
        elif value.lower() != b"h2c":
            raise ClientFault(
                501, "upgrade_not_supported", "WebSocket and other upgrades are not supported"
            )
        else:  # RFC 9110 7.8: one that is not wanted is ignored; curl offers it unasked
            headers.drop((b"upgrade",))
    if passes >= _MOST_PASSES:
        message = "the request has passed this proxy before: does its upstream lead back to it?"
        raise ClientFault(508, "loop_detected", message)


@lru_cache(1024)
def forwarded_element(host: str, authority: bytes, scheme: bytes) -> bytes:
    """One element of Forwarded (RFC 7239 4): for, host, proto. `host` is the client's, in brackets
    where it is one of IPv6; "" where it is not known."""
    if not host:
        node = "unknown"
    elif host.startswith("["):
        node = f'"{host}"'
    else:
        node = host
    named = f';host="{authority.decode("ascii")}"' if authority else ""
    return f"for={node}{named};proto={scheme.decode('ascii')}".encode("ascii")
