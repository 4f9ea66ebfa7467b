"""The configured upstream, as far as it can be judged before anything is listened to.

The one rule: what makes every request fail stops the start instead, with the key that is to blame
and the place where it was given.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from m2mproxy.config import Config, ConfigError
from m2mproxy.http.message import Origin
from m2mproxy.net.tls import client_context
from m2mproxy.proxy.forwarding import Forwarding
from m2mproxy.proxy.providers import Router, profile_for


@dataclass(frozen=True, slots=True)
class Parts:
    """What requests to the upstream are made with."""

    provider: str
    origin: Origin
    router: Router
    forwarding: Forwarding
    tls: ssl.SSLContext | None


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
        profile.name,
        Origin(upstream.scheme, upstream.host, upstream.port),
        router,
        Forwarding(profile, config.api_key, config.forwarded),
        _tls(config),
    )


def _tls(config: Config) -> ssl.SSLContext | None:
    """The context of an https upstream. A file that is given is read in any case."""
    secure = config.upstream.scheme == "https"
    if not secure and not config.ca_file:
        return None
    try:
        context = client_context(config.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise _unusable(config, error) from None
    return context if secure else None


def _unusable(config: Config, error: OSError) -> ConfigError:
    reason = (error.strerror or str(error)).partition(" (_ssl.c")[0]
    what = "the file" if config.ca_file else "the system's store"
    return config.refusal(
        "proxy.ca_file", config.ca_file, f"{what} has no certificates that can be used ({reason})"
    )
