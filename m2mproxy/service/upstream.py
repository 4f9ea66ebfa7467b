"""The configured upstream, as far as it can be judged before anything is listened to.

The one rule: what makes every request fail stops the start instead, with the key that is to blame.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from m2mproxy.config import Config, ConfigError
from m2mproxy.http.message import Origin
from m2mproxy.net.tls import client_context
from m2mproxy.proxy.forwarding import Forwarding
from m2mproxy.proxy.providers import Router, profile_for

_SOURCE = "configuration"


@dataclass(frozen=True, slots=True)
class Parts:
    """What requests to the upstream are made with."""

    provider: str
    origin: Origin
    router: Router
    forwarding: Forwarding
    tls: ssl.SSLContext | None


def parts(config: Config) -> Parts:
    """Build what the configuration asks for.

    Raises:
        ConfigError: no such provider, a base URL that it cannot have, certificates that cannot be
            read.
    """
    upstream = config.upstream
    path = f"{upstream.path}?{upstream.query}" if upstream.query else upstream.path
    try:
        profile = profile_for(config.provider, upstream.host, upstream.port, path)
    except ValueError as error:
        raise _refusal("proxy.provider", config.provider, error) from None
    try:
        router = Router(profile, upstream.path, upstream.query, config.api_version)
    except ValueError as error:
        raise _refusal("proxy.upstream", str(upstream), error) from None
    return Parts(
        profile.name,
        Origin(upstream.scheme, upstream.host, upstream.port),
        router,
        Forwarding(profile, config.api_key, config.forwarded),
        _tls(config) if upstream.scheme == "https" else None,
    )


def _tls(config: Config) -> ssl.SSLContext:
    try:
        return client_context(config.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise _refusal("proxy.ca_file", config.ca_file, error) from None


def _refusal(key: str, value: str, error: Exception) -> ConfigError:
    return ConfigError(_SOURCE, key, value, reason=str(error))
