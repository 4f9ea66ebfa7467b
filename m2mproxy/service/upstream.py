"""The configured upstream and TLS, as far as they can be judged before anything is listened to.

The one rule: what makes every request fail stops the start instead, with the key that is to blame
and the place where it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from m2mproxy.config import Config
from m2mproxy.http.message import Origin
from m2mproxy.net.pool import Pool
from m2mproxy.net.tls import ClientTls, ServerTls
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.forwarding import Forwarding
from m2mproxy.proxy.links import Links, UpstreamLinks
from m2mproxy.proxy.pages import Pages
from m2mproxy.proxy.providers import Profile, profile_for
from m2mproxy.proxy.request_coding import RequestCoding
from m2mproxy.proxy.response_coding import ResponseCoding
from m2mproxy.proxy.router import Router
from m2mproxy.proxy.routes import UpstreamRoute
from m2mproxy.service.tls import client_tls, server_tls


@dataclass(frozen=True, slots=True)
class Parts:
    """What requests to the upstream are made with, and TLS for both legs."""

    origin: Origin
    profile: Profile
    router: Router
    forwarding: Forwarding
    client_tls: ClientTls | None
    """Towards the upstream; None for one that is not https."""
    server_tls: ServerTls | None
    """Towards clients; None without a certificate."""


def parts(config: Config) -> Parts:
    """Build what the configuration asks for. Connects to nothing.

    Raises:
        ConfigError: no such provider, a base URL that it cannot have, certificates that cannot be
            used.
    """
    upstream = config.upstream
    path = f"{upstream.path}?{upstream.query}" if upstream.query else upstream.path
    try:
        profile = profile_for(config.provider, upstream.host, upstream.port, path)
    except ValueError as error:
        raise config.refusal("proxy.provider", config.provider, str(error)) from None
    try:
        router = Router(profile, upstream.path, upstream.query, config.api_version)
    except ValueError as error:
        raise config.refusal("proxy.upstream", str(upstream), str(error)) from None
    return Parts(
        Origin(upstream.scheme, upstream.host, upstream.port),
        profile,
        router,
        Forwarding(profile, config.api_key, config.forwarded),
        client_tls(config),
        server_tls(config),
    )


def route(
    config: Config, built: Parts, pool: Pool, links: Links, forms: Forms, clock: Callable[[], float]
) -> UpstreamRoute:
    """Where requests go: the upstream that was `built`, over connections of `pool`."""
    origin, coding = built.origin, config.compression
    destination = pool.to(origin)
    return UpstreamRoute(
        origin,
        origin.authority,
        origin.scheme.encode(),
        destination,
        built.router,
        built.forwarding,
        RequestCoding(coding, built.profile, clock, forms),
        ResponseCoding(coding, origin.host, forms),
        UpstreamLinks(links, destination, coding.requests == "auto", config.upstream_http),
        _pages(config, built.profile),
    )


def _pages(config: Config, profile: Profile) -> Pages:
    # A query may be a key, too, and a certificate opens what is behind it.
    always = bool(config.upstream.query or config.tls.upstream_cert)
    lends = always or bool(config.api_key)
    is_loopback = not any(listen.host in ("0.0.0.0", "::") for listen in config.listen)
    return Pages(config.web_origins, lends, is_loopback, profile, always)
