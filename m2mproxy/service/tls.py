"""TLS on both legs, made from the configuration.

The one rule: every file that is named is read at the start, even if nothing needs it, and one that
cannot be used stops the start, with the key that names it and the place where that was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import TypeVar

from m2mproxy.config import Config, ConfigError
from m2mproxy.net.certificate import FileFault, Pair
from m2mproxy.net.dial import ALPN
from m2mproxy.net.tls import ClientTls, ServerTls

Leg = TypeVar("Leg", ClientTls, ServerTls)


def client_tls(config: Config) -> ClientTls | None:
    """TLS of an https upstream. Raises ConfigError."""
    tls = config.tls
    secure = config.upstream.scheme == "https"
    if not secure and not config.ca_file and not tls.upstream_cert:
        return None
    pair = Pair(tls.upstream_cert, tls.upstream_key) if tls.upstream_cert else None
    alpn = ALPN[config.upstream_http]
    built = _built(config, lambda: ClientTls(config.ca_file, tls.insecure, pair, alpn))
    return built if secure else None


def server_tls(config: Config) -> ServerTls | None:
    """TLS of the listeners. Raises ConfigError."""
    tls = config.tls
    if not tls.cert:
        return None
    pairs = [Pair(*each) for each in zip_longest(tls.cert, tls.key, fillvalue="")]
    return _built(config, lambda: ServerTls(pairs, tls.client_ca))


def _built(config: Config, build: Callable[[], Leg]) -> Leg:
    try:
        return build()
    except FileFault as fault:
        raise _blamed(config, fault) from None


def _blamed(config: Config, fault: FileFault) -> ConfigError:
    named = (name for name, files in _files(config) if fault.filename in files)
    return config.refusal(next(named), fault.filename, str(fault.strerror))


def _files(config: Config) -> Iterator[tuple[str, tuple[str, ...]]]:
    tls = config.tls
    yield "proxy.ca_file", (config.ca_file,)
    yield "proxy.tls.cert", tls.cert
    yield "proxy.tls.key", tls.key
    for name in ("client_ca", "upstream_cert", "upstream_key"):
        yield f"proxy.tls.{name}", (getattr(tls, name),)
